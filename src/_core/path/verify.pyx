"""The rules by which questions are judged; the table of `auth_diameter.verifier.outcome` has the verdicts.

A nonce is reported as stale only if the digest is right (RFC 7616, 3.3). An unknown user takes the same work and
gets the same answer as a wrong password, so that nobody can find out who exists. The answer to a refused question
says which part was refused, and so whether it was a guess.

A question goes through these steps; `Batch` goes through them with all of its questions::

    look_at ─┬─► done             without credentials, malformed, refused before the digest matters, a group check,
             │                    HA1 that is told (delegate)
             ├─► lacks keys       which the store is asked for; then it is judged again from here
             └─► check ─► put_checks ─► (digests of all) ─► conclude ─┬─► done
                                                                      └─► a challenge that lacks a key
                                                                          ─► challenge_at_last ─► done

With shared state, `conclude` decides and stores what it decides, but what was verified is answered by
path/share.pyx, once the state has counted it. Until then nobody learns whether the digest is right: the state may
know of a penalty or of a replay that this back end has not seen.

Nothing is stored about a question before its answer lacks no key, or only that for the algorithms to offer.
"""

import os

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from auth_diameter._core.auth.answer cimport VERDICT_CHALLENGE
from auth_diameter._core.base.lock cimport ad_look, ad_look_at, ad_show_at
from auth_diameter._core.base.chars cimport ad_is_hex
from auth_diameter._core.base.quoting cimport is_quotable
from auth_diameter._core.base.scratch cimport ad_scratch_take, ad_scratch_take_plain
from auth_diameter._core.base.shared cimport ad_shared_wait
from auth_diameter._core.base.span cimport Span, lower
from auth_diameter._core.diameter.received cimport HA1_WITH_CHALLENGE
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, MD5
from auth_diameter._core.digest.lanes cimport Check, verify_responses
from auth_diameter._core.digest.params cimport (
    QOP_AUTH, QOP_AUTH_INT, QOP_NONE, QOP_UNKNOWN, RESPONSE, DigestFields,
)
from auth_diameter._core.path.case cimport (
    base_name, before_at, behind_at, is_login, is_own_address, read_case, response_of, takes_any_nonce,
    tells_ha1, true_name, uses_nonce,
)
from auth_diameter._core.path.challenges cimport add_challenge, binding_of, put_authentication_info
from auth_diameter._core.path.digest_uri cimport uri_fits
from auth_diameter._core.path.findings cimport Finding, find_finding
from auth_diameter._core.path.inquiry cimport (
    STAGE_CHALLENGE, STAGE_CHECK, STAGE_DONE, STAGE_HELD, STAGE_NEW, STAGE_SHARE, Case, Work,
)
from auth_diameter._core.path.outcome cimport (
    ALGORITHM_NOT_OFFERED, AUTHORIZED, CHALLENGED, DELEGATED, COUNT_ZERO, FAILED, FOREIGN_NONCE, MEMBER,
    NOT_MEMBER, OTHER_ADDRESS, OTHER_URI, PENALIZED, QOP_NOT_OFFERED, REALM_NOT_SERVED, REPLAYED, RETRANSMITTED,
    STALE, UNKNOWN_USER, WRONG_DIGEST, is_stale, part_of, verdict_of, why_of,
)
from auth_diameter._core.path.settings cimport Offered, name_of_algorithm, offers_of, set_rules
from auth_diameter._core.state.delegations cimport Delegated
from auth_diameter._core.state.nonce_counts cimport (
    USE_AGAIN, USE_EXPIRED, USE_FIRST, USE_REPLAYED, USE_UNKNOWN, NonceUses,
)
from auth_diameter._core.state.nonces cimport (
    NONCE_EXPIRED, NONCE_FOREIGN, NONCE_FRESH, Binding, Nonces, nonce_made_at,
)
from auth_diameter._core.state.keys cimport Network
from auth_diameter._core.state.penalties cimport ADMITTED, MUST_WAIT, REFUSED, Penalties
from auth_diameter._core.state.users cimport (
    KIND_ALGORITHMS, KIND_HASHED, KIND_MEMBER, KIND_REALM, KIND_USER, MAX_HA1S, Kind, Users, read_candidates,
    read_member, read_realm,
)
from auth_diameter._core.state.values cimport (
    Key, values_copy, values_drop, values_free, values_init, values_put,
)

# Seconds for which a nonce proves its source; later another host may have the address
cdef double PROOF = 3600.0

cdef double CHECK_SECONDS = 0.5     # between two looks at the store, as in auth_diameter.store.cache


cdef inline Case *first_held(const Work *work) noexcept nogil:
    """The first case that waits for verdicts, or NULL."""
    cdef size_t i
    for i in range(work.count):
        if work.cases[i].stage == STAGE_HELD:
            return &work.cases[i]
    return NULL


cdef inline bint has_realm_of(const Case *case, const Case *other) noexcept nogil:
    """Whether credentials are for the same realm as those of another case, whose realm is known to be served."""
    return (other.served.n != 0 and case.realm.n == other.realm.n != 0
            and memcmp(case.realm.p, other.realm.p, case.realm.n) == 0)


cdef inline bint is_same(Span a, Span b) noexcept nogil:
    return a.n == b.n and (a.n == 0 or memcmp(a.p, b.p, a.n) == 0)


# ---------------------------------------------------------------------------------- the rules


@cython.final
cdef class Judge:
    """Judges questions by what the store has said, by its settings, and by what it remembers; thread-safe.

    Args:
        users: Users, what the store has said.
        nonces: Nonces, which makes and recognises nonces.
        uses: NonceUses, the counts of nonces.
        penalties: Penalties that are shared, or None: guesses are not counted.
        config: VerifierConfig.
        wrong_room: bytes for the numbers of wrong credentials in a row, with `rechallenge`.
        following_room: bytes for the next nonces that were told, with `authentication_info`.

    Attributes:
        sharing: Sharing, how questions are told to the state that other back ends share; None: there is none.
        delegations: Delegations, what servers have delegated; then credentials are judged by that alone, and it
            makes no challenges. None: the store has HA1.
        check_at: float, when the store is to be looked at again, seconds since 1970: until then `users` may be
            believed. For compiled code that asks `may_judge`; 0 at first.
    """

    def __init__(self, Users users not None, Nonces nonces not None, NonceUses uses not None, Penalties penalties,
                 config not None, size_t wrong_room, size_t following_room):
        cdef uint64_t secret[2]
        if self.users is not None:
            raise TypeError("a Judge is made once")
        if penalties is not None and not penalties.shared:
            raise TypeError("penalties: expected shared ones")
        set_rules(&self.rules, config)
        secret[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        secret[1] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        if not (values_init(&self.wrong_in_a_row, wrong_room if config.rechallenge else 0, secret)
                and values_init(&self.following, following_room if config.authentication_info else 0, secret)):
            raise MemoryError()
        self.rules.penalty = penalties is not None
        self.penalties = penalties
        self.users = users
        self.nonces = nonces
        self.uses = uses

    @property
    def check_at(self):
        """When the store is to be looked at again, float."""
        return ad_look_at(&self.look_at_store)

    @check_at.setter
    def check_at(self, double when):
        ad_show_at(&self.look_at_store, when)

    def __dealloc__(self):
        values_free(&self.wrong_in_a_row)
        values_free(&self.following)

    cdef bint may_judge(self, double now) noexcept nogil:
        cdef double when = ad_look_at(&self.look_at_store)
        # After a step back of the clock the time is too far ahead, and does not count.
        return when - CHECK_SECONDS <= now < when

    cdef bint judge_work(self, Work *work) noexcept nogil:
        """Judges all cases that have no answer, as far as they do not lack keys; False without memory."""
        cdef Case *case
        cdef size_t i
        for i in range(work.count):
            case = &work.cases[i]
            if case.stage == STAGE_NEW:
                self.look_at(work, case)
            elif case.stage == STAGE_CHALLENGE:
                self.challenge_at_last(work, case)
            if case.stage == STAGE_CHECK:
                self.begin_attempt(work, case)
        return self.verify_in_turn(work)

    cdef bint judge_to_the_end(self, Work *work) noexcept nogil:
        """Judges as `judge_work` does, and waits for verdicts of other threads and processes."""
        cdef bint done = self.judge_work(work)
        cdef Case *held = first_held(work)
        cdef int rounds = 0
        while done and held != NULL:
            if not ad_shared_wait(&rounds):
                self.begin_at_last(work, held)
            elif self.begin_held(work):
                rounds = 0          # verdicts do come
            done = self.verify_in_turn(work)
            held = first_held(work)
        return done

    cdef bint verify_in_turn(self, Work *work) noexcept nogil:
        """Verifies all digests that need no verdict of others; False without memory."""
        while self.verify(work):
            if not self.begin_held(work):
                return True
        return False

    cdef bint begin_held(self, Work *work) noexcept nogil:
        """Begins the attempts that waited for verdicts, in order; False if none got further."""
        cdef bint further = False
        cdef size_t i
        for i in range(work.count):
            if work.cases[i].stage == STAGE_HELD:
                work.cases[i].stage = STAGE_CHECK
                self.begin_attempt(work, &work.cases[i])
                further |= work.cases[i].stage != STAGE_HELD
        return further

    cdef bint verify(self, Work *work) noexcept nogil:
        """Verifies the digests of all cases that lack nothing, and answers them; False without memory."""
        cdef size_t count = 0, used = 0, i
        cdef Check *checks
        for i in range(work.count):
            count += work.cases[i].stage == STAGE_CHECK
        if not count:
            return True
        checks = <Check *>ad_scratch_take_plain(&work.scratch, count * MAX_HA1S * sizeof(Check))
        if checks == NULL:
            return False
        for i in range(work.count):
            if work.cases[i].stage == STAGE_CHECK:
                work.cases[i].first_check = used
                used += self.put_checks(&work.cases[i], checks + used)
        if not verify_responses(checks, used, &work.scratch):
            return False
        for i in range(work.count):
            if work.cases[i].stage == STAGE_CHECK:
                self.conclude(work, &work.cases[i], checks)
                self.end_attempt(work, &work.cases[i])
        return True

    cdef bint is_counted(self, const Case *case) noexcept nogil:
        """Whether credentials that are wrong count as a guess.

        Without a source, anyone could lock any account. Only the operator may allow that.
        """
        return self.rules.penalty and (case.ask.told.source.n or self.rules.limit_accounts)

    cdef Span account_of(self, Work *work, const Case *case) noexcept nogil:
        """The account at which wrong credentials are a guess: a hash that no user has is one of its own."""
        cdef Span name = true_name(case)
        cdef uint8_t *room
        cdef size_t i
        if name.n or not case.userhash:
            return name
        room = <uint8_t *>ad_scratch_take(&work.scratch, case.username.n)
        if room == NULL:
            return name
        for i in range(case.username.n):
            room[i] = lower(case.username.p[i])
        return Span(room, case.username.n)

    cdef void begin_attempt(self, Work *work, Case *case) noexcept nogil:
        """Begins an attempt, if it is counted; it may be refused, or have to wait."""
        cdef Network source
        cdef int state
        if not self.is_counted(case):
            return
        source = self.penalties.network_of(case.ask.told.source)
        if self.sharing is not None and ad_look(&self.sharing.reachable):
            state = self.penalties.begin_shared_trial(
                self.account_of(work, case), case.realm, source, work.now, &case.trial)
        else:
            state = self.penalties.begin_trial(
                self.account_of(work, case), case.realm, source, work.now, &case.trial)
        if state == REFUSED:
            self.end(case, PENALIZED)
        elif state == MUST_WAIT:
            case.stage = STAGE_HELD

    cdef void begin_at_last(self, Work *work, Case *case) noexcept nogil:
        """Begins an attempt that waits for a verdict that does not come: its process was killed, or stopped."""
        case.stage = STAGE_CHECK
        if self.penalties.begin_trial_at_last(
                self.account_of(work, case), case.realm, self.penalties.network_of(case.ask.told.source), work.now,
                &case.trial) == REFUSED:
            self.end(case, PENALIZED)

    cdef void end_attempt(self, const Work *work, Case *case) noexcept nogil:
        """Ends an attempt with the verdict on the credentials."""
        if case.trial.state != ADMITTED:
            return
        if case.wrong:
            self.penalties.wrong_trial(&case.trial, work.now)
        elif is_login(case):
            self.penalties.right_trial(&case.trial, work.now)
        else:
            self.penalties.neither_trial(&case.trial, work.now)

    cdef void forget_attempt(self, const Work *work, Case *case) noexcept nogil:
        """Ends an attempt without a verdict."""
        if case.trial.state == ADMITTED:
            self.penalties.neither_trial(&case.trial, work.now)

    cdef void end(self, Case *case, int outcome) noexcept nogil:
        """Ends a case with an answer that has no other values than its outcome gives it."""
        case.outcome = outcome
        case.stage = STAGE_DONE
        memset(&case.answer, 0, sizeof(case.answer))
        case.answer.verdict = verdict_of(outcome)
        case.answer.refused = part_of(outcome)
        case.answer.why = why_of(outcome)

    cdef Key key_of(self, const Case *case, Kind kind) noexcept nogil:
        """The key of this kind that the case needs."""
        cdef Key key
        memset(&key, 0, sizeof(key))
        if kind == KIND_REALM:
            if case.ask.terms != NULL and not case.is_here:
                key.part[0] = case.ask.terms.destination
            elif case.ask.credentials != NULL:
                key.part[0] = case.realm
            elif case.ask.terms != NULL:
                key.part[0] = case.ask.terms.realm[case.tried]
            else:
                key.part[0] = case.ask.told.realm
        elif kind == KIND_MEMBER:
            key.part[0] = before_at(case.ask.told.user_name)
            key.part[1] = behind_at(case.ask.told.user_name)
            key.part[2] = case.ask.told.group
        elif kind == KIND_ALGORITHMS:
            key.part[0] = case.challenged_name
            key.part[1] = case.challenged_realm
        else:
            key.part[0] = case.username
            key.part[1] = case.realm
            key.part[2] = base_name(
                case.ask.credentials.algorithm if case.ask.credentials != NULL else case.algorithm)
        return key

    cdef int value(self, Work *work, Case *case, Kind kind, Span *out) noexcept nogil:
        """What the store says for the key of this kind that the case needs.

        Returns:
            1: it is known. 0: it is missing, which is noted. -1: it cannot be known, and the case has ended.
        """
        cdef Key key = self.key_of(case, kind)
        cdef int status = self.users.look_up(kind, &key, &work.scratch, out)
        cdef Finding *found
        if status > 0:
            return 1
        if status < 0:
            self.end(case, FAILED)
            return -1
        found = find_finding(&work.found, kind, &key)
        if found == NULL:
            case.lacks |= 1u << kind
            return 0
        if found.failure:
            case.error = found.error
            self.end(case, found.failure)
            return -1
        out[0] = found.value
        return 1

    cdef void look_at(self, Work *work, Case *case) noexcept nogil:
        """Answers a question, or finds all that its digest is verified with, or notes which keys are missing."""
        cdef int served
        case.lacks = 0
        if case.ask.is_group_check:
            self.check_group(work, case)
        elif case.ask.malformed:
            self.end(case, case.ask.malformed)
        elif case.ask.credentials != NULL and not read_case(work, case, self.rules.userhash):
            self.end(case, FAILED)
        elif self.delegations is not None:
            self.collect_delegated(work, case)
        elif tells_ha1(case):
            self.delegate(work, case)
        else:
            served = self.find_realm(work, case)
            if case.stage == STAGE_DONE:
                return
            if case.ask.credentials != NULL:
                self.collect(work, case)
            elif served:
                self.challenge(work, case, before_at(case.ask.told.user_name), case.served, CHALLENGED)

    cdef void delegate(self, Work *work, Case *case) noexcept nogil:
        """Tells the HA1 of a user to a SIP server that verifies credentials itself.

        With RFC 4740 that comes with a challenge, which an unknown user gets, too. Guesses are not counted: it is
        the SIP server that sees them.
        """
        cdef const Offered *single = &self.rules.offered[self.rules.single]
        cdef bint with_challenge = case.ask.terms.ha1 == HA1_WITH_CHALLENGE
        cdef bint has_ha1
        cdef Span found
        case.username = case.ask.terms.user
        case.algorithm = single.base if with_challenge else MD5
        if self.find_realm(work, case) <= 0 or case.stage == STAGE_DONE:
            return
        case.realm = case.served
        if self.value(work, case, KIND_USER, &found) <= 0:
            return
        if not read_candidates(found, &case.found):
            self.end(case, FAILED)
            return
        # Where there is none, another text stands in its place: it is the same for all, and must not be told.
        has_ha1 = case.found.known and ad_is_hex(case.found.ha1[0].p, case.found.ha1[0].n)
        if not case.found.known and not with_challenge:
            self.end(case, UNKNOWN_USER)
        elif case.found.known and case.ask.terms.own_address and not is_own_address(case):
            self.end(case, OTHER_ADDRESS)
        elif with_challenge:
            self.challenge(work, case, case.username, case.served, CHALLENGED)
            # With a session algorithm HA1 holds a cnonce that nobody has chosen yet (RFC 4740, 9.5.6.1).
            if has_ha1 and case.stage == STAGE_DONE and case.answer.challenges and not single.sess:
                self.tell_ha1(case)
        elif has_ha1:
            self.end(case, DELEGATED)
            self.tell_ha1(case)
        else:
            self.end(case, FAILED)

    cdef void tell_ha1(self, Case *case) noexcept nogil:
        """Adds the HA1 of the username as it is spelled: the first is that with its domain, if it has one."""
        case.outcome = DELEGATED
        case.answer.ha1 = case.found.ha1[0]
        case.answer.realm = case.served
        case.answer.user_name = case.username       # whose it is, if the MAR did not say

    cdef void check_group(self, Work *work, Case *case) noexcept nogil:
        cdef Span found
        if self.value(work, case, KIND_MEMBER, &found) > 0:
            self.end(case, MEMBER if read_member(found) else NOT_MEMBER)

    cdef int find_realm(self, Work *work, Case *case) noexcept nogil:
        """Finds how the realm is spelled; one that is not served ends the case. Returns what `value` does."""
        cdef Span found
        cdef int status
        if case.ask.terms != NULL and not case.is_here:
            if case.ask.terms.destination.n:
                status = self.value(work, case, KIND_REALM, &found)
                if status > 0 and not read_realm(found, &case.served):
                    self.end(case, REALM_NOT_SERVED)
                if status <= 0 or case.stage == STAGE_DONE:
                    return status
            case.is_here = True
        if case != work.cases and has_realm_of(case, case - 1):
            case.served = (case - 1).served     # most batches are of one realm
            return 1
        while True:
            status = self.value(work, case, KIND_REALM, &found)
            if status <= 0 or read_realm(found, &case.served):
                return status
            case.tried += 1
            if case.ask.credentials != NULL or case.ask.terms == NULL or case.tried >= case.ask.terms.realms:
                self.end(case, REALM_NOT_SERVED)
                return status

    cdef void collect(self, Work *work, Case *case) noexcept nogil:
        """Looks up the HA1 for credentials; refuses an algorithm or a qop that was not offered.

        A realm that is not known yet lets the credentials wait, but the keys that they need are looked up.
        """
        cdef const DigestFields *fields = case.ask.credentials
        cdef bint accepted = self.rules.accepts[fields.sess][fields.algorithm]
        cdef Kind kind = KIND_HASHED if case.userhash else KIND_USER
        cdef int qop = QOP_AUTH if fields.qop == QOP_NONE else fields.qop
        cdef Span found
        if fields.algorithm == ALGORITHM_UNKNOWN:
            case.userhash = False       # there is no hash to look for
        elif accepted or case.userhash:
            if self.value(work, case, kind, &found) <= 0:
                return
            if not read_candidates(found, &case.found):
                self.end(case, FAILED)
                return
        if case.lacks:
            return
        if not accepted:
            self.refuse(work, case, ALGORITHM_NOT_OFFERED)
        elif (not (self.rules.qops >> qop & 1 or (qop == QOP_AUTH and not case.ask.extended))
                or (qop == QOP_AUTH_INT and not case.ask.told.body_hash.n)):
            self.refuse(work, case, QOP_NOT_OFFERED)
        elif self.refuses_foreign(case) and self.is_foreign(work, case):
            # A source address can be forged, but not a nonce bound to it. So only guesses with such a nonce
            # count against the source, and with any other nonce the answer tells nothing about the password.
            self.challenge(work, case, true_name(case), case.realm, FOREIGN_NONCE)
        else:
            case.stage = STAGE_CHECK

    cdef void collect_delegated(self, Work *work, Case *case) noexcept nogil:
        """Takes the HA1 that came with the nonce, if it is that of these credentials.

        Otherwise the digest is verified all the same, and is wrong.
        """
        cdef const DigestFields *fields = case.ask.credentials
        cdef Delegated found
        cdef int status = self.delegations.find(case.nonce, &work.scratch, &found) if fields != NULL else 0
        if status <= 0:
            self.end(case, FOREIGN_NONCE if status == 0 else FAILED)
            return
        case.served = found.realm
        case.made, case.until = found.made, found.until
        case.userhash = False
        case.found.count = 1
        case.found.ha1[0] = found.ha1
        case.found.known = (
            (is_same(case.username, found.username)
             or (found.other_name.n != 0 and is_same(case.username, found.other_name)))
            and is_same(case.realm, found.realm))
        if fields.algorithm != found.algorithm or fields.sess:
            self.end(case, ALGORITHM_NOT_OFFERED)
        elif fields.qop == QOP_UNKNOWN or (fields.qop == QOP_AUTH_INT and not case.ask.told.body_hash.n):
            self.end(case, QOP_NOT_OFFERED)
        else:
            case.stage = STAGE_CHECK

    cdef bint refuses_foreign(self, const Case *case) noexcept nogil:
        """Whether a nonce that is not ours gets a challenge, whatever the digest."""
        if case.ask.terms == NULL:
            return self.rules.bind_source
        return not case.ask.terms.takes_any_nonce and (self.rules.bind_source or case.ask.terms.challenges_foreign)

    cdef bint is_foreign(self, const Work *work, const Case *case) noexcept nogil:
        """Whether the nonce does not prove the source, before the digest is verified.

        It was made for another source or not by us, or so long ago that another host may have the address now.
        """
        cdef Binding bound = binding_of(
            &self.rules, case, case.realm,
            name_of_algorithm(case.ask.credentials.algorithm, case.ask.credentials.sess))
        cdef int state
        if self.uses.is_in_use(case.nonce, &bound, work.now):
            return False        # it was checked when it was first used
        state = self.nonces.check_nonce(case.nonce, &bound, work.now)
        if state == NONCE_EXPIRED:
            return work.now - nonce_made_at(case.nonce) > PROOF
        return state == NONCE_FOREIGN

    cdef size_t put_checks(self, Case *case, Check *checks) noexcept nogil:
        """Writes the checks of a digest, one for each HA1 that it may have been made with.

        Returns:
            Their number, which depends only on the username and the realm.
        """
        cdef int i
        for i in range(case.found.count):
            checks[i].of = response_of(case, case.found.ha1[i])
            checks[i].given = case.ask.credentials.value[RESPONSE]
        return <size_t>case.found.count

    cdef void conclude(self, Work *work, Case *case, const Check *checks) noexcept nogil:
        """Answers credentials whose digest was verified; `checks` are those of the batch."""
        cdef bint matched = False, right
        cdef int i
        # For a username with an "@", the HA1 may be of the whole username or without its domain.
        for i in range(case.found.count):
            right = checks[case.first_check + <size_t>i].right
            if right:
                case.ha1 = case.found.ha1[i]
            matched |= right
        case.wrong = not matched & case.found.known
        if case.wrong:
            # The same time for both
            case.outcome = UNKNOWN_USER + (WRONG_DIGEST - UNKNOWN_USER) * case.found.known
        else:
            case.outcome = self.weigh(work, case)
        if self.is_shared(case):
            case.stage = STAGE_SHARE
        else:
            self.settle(work, case)

    cdef bint is_shared(self, const Case *case) noexcept nogil:
        """Whether shared state is to be asked before credentials whose digest was verified are answered.

        Whoever may have a penalty there must not learn that the digest is right, from whatever refusal.
        """
        return self.sharing is not None and (self.is_counted(case) or uses_nonce(case))

    cdef int weigh(self, Work *work, Case *case) noexcept nogil:
        """The outcome for credentials whose digest is right: by the digest-uri, the nonce and the nonce count."""
        cdef Span resource = case.ask.told.resource
        cdef bint same = (case.uri.n == resource.n + 4 and memcmp(case.uri.p, b"sip:", 4) == 0
                          and memcmp(case.uri.p + 4, resource.p, resource.n) == 0)
        cdef int how
        if not same and not uri_fits(self.rules.uri_policy, case.uri, resource, case.realm):
            return OTHER_URI
        if case.ask.terms != NULL and case.ask.terms.own_address and not is_own_address(case):
            return OTHER_ADDRESS
        if not case.count:
            return COUNT_ZERO
        if takes_any_nonce(case):
            return AUTHORIZED
        how = self.use(work, case)
        if how == USE_FIRST:
            return AUTHORIZED
        if how == USE_AGAIN:
            return RETRANSMITTED
        return STALE if how == USE_EXPIRED else REPLAYED if how == USE_REPLAYED else FOREIGN_NONCE

    cdef void settle(self, Work *work, Case *case) noexcept nogil:
        """Answers credentials whose digest was verified, by the outcome that was decided."""
        if case.outcome == AUTHORIZED or case.outcome == RETRANSMITTED:
            self.let_in(work, case)
        elif is_stale(case.outcome) and self.delegations is not None:
            self.end(case, case.outcome)    # the server makes the next nonce
        elif is_stale(case.outcome):
            self.challenge(work, case, true_name(case), case.realm, case.outcome)
        else:
            self.refuse(work, case, case.outcome)

    cdef void let_in(self, Work *work, Case *case) noexcept nogil:
        """Ends a case with a success: AUTHORIZED or RETRANSMITTED."""
        cdef Key key
        case.again = case.outcome == RETRANSMITTED
        if self.rules.rechallenge and not case.again:
            key = self.wrong_key(case)
            values_drop(&self.wrong_in_a_row, &key)
        self.end(case, case.outcome)
        if case.ask.extended:
            # The SIP server knows only the hash of the username (RFC 7616, 3.4.4), so the answer has the name.
            if case.userhash:
                case.answer.user_name = case.found.username
            if self.rules.authentication_info and not takes_any_nonce(case):
                put_authentication_info(&self.rules, self.nonces, &self.following, work, case)

    cdef int use(self, const Work *work, Case *case) noexcept nogil:
        """Records a use of the nonce; returns one of USE_…, USE_UNKNOWN for a foreign nonce."""
        cdef Binding bound = binding_of(
            &self.rules, case, case.realm,
            name_of_algorithm(case.ask.credentials.algorithm, case.ask.credentials.sess))
        cdef uint64_t mark = self.mark_of(case)
        cdef int how, state
        if self.delegations is not None and work.now > case.until:
            return USE_EXPIRED
        how = self.uses.take_use(case.nonce, &bound, case.count, mark, work.now)
        if how != USE_UNKNOWN:
            return how
        if self.delegations is not None:
            return self.uses.add_use(case.nonce, &bound, case.count, mark, work.now, case.made)
        state = self.nonces.check_nonce(case.nonce, &bound, work.now)
        if state == NONCE_FRESH:
            return self.uses.add_use(case.nonce, &bound, case.count, mark, work.now, nonce_made_at(case.nonce))
        return USE_EXPIRED if state == NONCE_EXPIRED else USE_UNKNOWN

    cdef uint64_t mark_of(self, const Case *case) noexcept nogil:
        """What a retransmission of the question is known by here."""
        return self.uses.mark_of(
            case.ask.told.serial, case.ask.told.session, case.ask.credentials.value[RESPONSE])

    cdef void refuse(self, Work *work, Case *case, int outcome) noexcept nogil:
        """Refuses credentials; with `rechallenge` challenges again, up to `max_challenges` times."""
        cdef Key key
        cdef Span found
        cdef uint32_t wrong = 0
        if self.rules.rechallenge:
            key = self.wrong_key(case)
            if values_copy(&self.wrong_in_a_row, &key, &work.scratch, &found) > 0 and found.n == sizeof(wrong):
                memcpy(&wrong, found.p, sizeof(wrong))
            wrong += 1
            values_put(&self.wrong_in_a_row, &key, Span(<const uint8_t *>&wrong, sizeof(wrong)))
            if wrong <= self.rules.max_challenges:
                self.challenge(work, case, true_name(case), case.served, outcome)
                return
        self.end(case, outcome)

    cdef Key wrong_key(self, const Case *case) noexcept nogil:
        # With the served spelling of the realm, so that other spellings yield no more challenges.
        cdef Key key
        key.part[0] = case.username
        key.part[1] = case.served
        key.part[2] = case.ask.told.source
        return key

    cdef void challenge(self, Work *work, Case *case, Span name, Span realm, int outcome) noexcept nogil:
        """Challenges a user; stale if the outcome says so."""
        case.outcome = outcome
        case.challenged_name = name
        case.challenged_realm = realm
        case.stage = STAGE_CHALLENGE
        self.challenge_at_last(work, case)

    cdef void challenge_at_last(self, Work *work, Case *case) noexcept nogil:
        """Writes the challenge that was decided, with the algorithms to offer, unless these are missing."""
        cdef int outcome = case.outcome, i
        cdef uint32_t chosen = 1u << self.rules.single
        cdef Span found
        case.lacks = 0
        # RFC 4740 has room for one challenge alone (9.5).
        if (not self.rules.always_single and case.ask.extended and not case.ask.one_challenge
                and case.ask.terms == NULL):
            if self.value(work, case, KIND_ALGORITHMS, &found) <= 0:
                return
            chosen = offers_of(&self.rules, found)
        self.end(case, outcome)
        if not is_quotable(case.challenged_realm):
            # Credentials can have a realm with a control character (a quoted-pair). A challenge cannot.
            return
        case.answer.verdict = VERDICT_CHALLENGE
        for i in range(self.rules.offers):
            if chosen >> i & 1 and not add_challenge(
                    &self.rules, self.nonces, work, case, &self.rules.offered[i]):
                self.end(case, FAILED)
                return
