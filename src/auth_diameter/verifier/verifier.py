"""The verifier: takes questions and returns answers, or the keys that it needs for them. It does no I/O.

The table of `auth_diameter.verifier.outcome` has the verdict for each case. A nonce is reported as stale only
if the digest is right (RFC 7616, 3.3). An unknown user takes the same work and gets the same answer as a
wrong password, so that nobody can find out who exists.

Only the verifier knows that a digest was wrong. So it counts the guesses, over all SIP servers that send the
source; see `Penalties`. The answer to a refused question says which part was refused, and so whether it was a
guess.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from auth_diameter._core import (
    Answer,
    Attempt,
    ConfigError,
    Credentials,
    NonceUses,
    Penalties,
    Question,
    Use,
    Verdict,
    digest_response,
    verify_many,
)
from auth_diameter.store.cache import BoundedCache, Cache
from auth_diameter.store.hashes import HA1_DIGITS
from auth_diameter.store.store import (
    Candidates,
    HashedCandidates,
    HashedUser,
    Member,
    Realm,
    Spelling,
    StoreError,
    User,
)
from auth_diameter.verifier.case import Case
from auth_diameter.verifier.challenges import BASES, Challenges
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.digest_uri import uri_fits
from auth_diameter.verifier.nonces import CLOCK_DRIFT, Nonces, NonceState
from auth_diameter.verifier.outcome import ANSWERS, MALFORMED, PARTS, Outcome
from auth_diameter.verifier.turn import Challenge, Turn

_Key = tuple[str, str, str]

# Bytes of the two caches.
_FOLLOWING_ROOM = 6 << 20
_WRONG_ROOM = 6 << 20

_PROOF = 3600.0  # seconds for which a nonce proves its source; later another host may have the address

_REFUSED = (Outcome.UNKNOWN_USER, Outcome.WRONG_DIGEST)  # indexed by `known`: the same time for both

# Members of enums as module globals: in Python 3.11 the lookup on the class is slow.
_FIRST, _AGAIN, _UNKNOWN = Use.FIRST, Use.AGAIN, Use.UNKNOWN
_FRESH = NonceState.FRESH
_AUTHORIZED, _CHALLENGED = Outcome.AUTHORIZED, Outcome.CHALLENGED
_SUCCESS, _CHALLENGE = Verdict.SUCCESS, Verdict.CHALLENGE

# The outcome for a nonce that cannot be used.
_STALE = {
    Use.EXPIRED: Outcome.STALE,
    Use.REPLAYED: Outcome.REPLAYED,
    Use.UNKNOWN: Outcome.FOREIGN_NONCE,
}
_STALE_OUTCOMES = frozenset(_STALE.values())


class Observer(Protocol):
    """An observer of outcomes and errors, since the verifier itself writes no log."""

    def noted(self, question: Question, outcome: Outcome) -> None:
        """Is told the outcome of a question."""

    def mistaken(self, error: Exception) -> None:
        """Is told an internal error because of which a question could not be answered."""


class Verifier:
    """Judges questions by what the store knows about the subscribers; for one thread at a time.

    Args:
        cache: the cached values.
        observer: is told each outcome and each internal error.
        config: the settings; None for the defaults.
        nonces: makes and recognises the nonces; None for nonces with a random key.

    Attributes:
        counts: the number of questions by `Outcome`.
    """

    def __init__(
        self,
        cache: Cache,
        observer: Observer,
        config: VerifierConfig | None = None,
        nonces: Nonces | None = None,
    ) -> None:
        self._observer = observer
        self._config = config = config if config is not None else VerifierConfig()
        self._nonces = nonces = nonces if nonces is not None else Nonces(lifetime=config.nonce_lifetime)
        self._realms, self._users = cache.realms, cache.users
        self._challenges = Challenges(config, nonces)
        self._accepted = frozenset(config.algorithms)
        self._uses = NonceUses(nonces.remembered, config.max_nonces, config.nonce_uses, CLOCK_DRIFT)
        self._penalties = Penalties() if config.penalty else None
        self._attempts: list[Attempt] = []  # of the questions that are being judged
        self.counts: Counter[Outcome] = Counter()
        # A retransmission must get the same next nonce.
        self._following: BoundedCache[tuple[str, int], str] = BoundedCache(_FOLLOWING_ROOM)
        self._wrong_in_a_row: BoundedCache[_Key, int] = BoundedCache(_WRONG_ROOM)

    def judge(self, turn: Turn) -> None:
        """Answers the questions whose values are cached or fetched; leaves the missing keys in the turn.

        Digests are verified together. A question with missing keys is judged again from the start. So the
        verifier stores nothing about a question until the answer needs no key, or only that for the
        algorithms to offer.
        """
        turn.lacking.clear()
        pending = turn.pending() if turn.found or turn.failures else range(len(turn.questions))
        try:
            self._judge(turn, pending)
        except Exception as error:  # noqa: BLE001 - the other questions of the turn still get answers
            self._forget_attempts(turn.now)
            if len(pending) == 1:
                self._fail(turn, pending[0], error)
            else:
                for index in turn.pending():
                    self._judge_alone(turn, index)
        challenges, turn.challenges = turn.challenges, []
        for challenge in challenges:
            self._challenge_at_last(turn, challenge)
        turn.is_done = not turn.lacking

    def _judge(self, turn: Turn, indices: Iterable[int]) -> None:
        cases: list[Case] = []
        for index in indices:
            try:
                turn.answers[index] = self._look_at(turn, index, cases)
            except StoreError:
                turn.answers[index] = self._end(turn.questions[index], Outcome.STORE_FAILED)
        while cases:
            self._verify(turn, cases)
            cases = self._released(turn)
        self._attempts.clear()

    def _judge_alone(self, turn: Turn, index: int) -> None:
        try:
            self._judge(turn, [index])
        except Exception as error:  # noqa: BLE001 - as above
            self._forget_attempts(turn.now)
            self._fail(turn, index, error)

    def _challenge_at_last(self, turn: Turn, challenge: Challenge) -> None:
        index = challenge.place
        try:
            turn.answers[index] = self._challenge(turn, *challenge)
        except StoreError:
            turn.answers[index] = self._end(turn.questions[index], Outcome.STORE_FAILED)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(turn, index, error)

    def _fail(self, turn: Turn, index: int, error: Exception) -> None:
        self._observer.mistaken(error)
        turn.answers[index] = self._end(turn.questions[index], Outcome.FAILED)

    def _look_at(self, turn: Turn, index: int, cases: list[Case]) -> Answer | None:
        """Answers a question, or puts its credentials into `cases` to be verified.

        Returns:
            The answer; None if credentials are to be verified or a key is missing.
        """
        question = turn.questions[index]
        if question.is_group_check:
            return self._check_group(turn, question)
        credentials = question.credentials
        if credentials is not None:
            return self._collect(turn, index, question, credentials, cases)
        if question.error is not None:
            return self._end(question, MALFORMED.get(question.error.parameter, Outcome.MALFORMED_CREDENTIALS))
        served = self._served(turn, question.realm)
        if served is None:
            return None
        if served.realm is None:
            return self._end(question, Outcome.REALM_NOT_SERVED)
        return self._challenge(turn, index, None, served.realm, _CHALLENGED)

    def _served(self, turn: Turn, realm: str) -> Spelling | None:
        return self._realms.young.get((realm,)) or turn.value(Realm(realm))

    def _check_group(self, turn: Turn, question: Question) -> Answer | None:
        username, _, domain = question.user_name.partition("@")
        is_member = turn.value(Member(username, domain, question.group or ""))
        if is_member is None:
            return None
        return self._end(question, Outcome.MEMBER if is_member else Outcome.NOT_MEMBER)

    def _end(self, question: Question, outcome: Outcome) -> Answer:
        """Counts and reports the outcome; returns the answer for it."""
        self.counts[outcome] += 1
        self._observer.noted(question, outcome)
        return ANSWERS[outcome]

    def _note(self, question: Question, outcome: Outcome) -> None:
        self.counts[outcome] += 1
        self._observer.noted(question, outcome)

    # ------------------------------------------------------------------ credentials

    def _collect(
        self, turn: Turn, index: int, question: Question, credentials: Credentials, cases: list[Case]
    ) -> Answer | None:
        """Looks up the HA1 for credentials; refuses an algorithm or a qop that was not offered."""
        realm = credentials.realm or ""
        served = self._realms.young.get((realm,)) or turn.value(Realm(realm))
        if served is not None and served.realm is None:
            return self._end(question, Outcome.REALM_NOT_SERVED)
        algorithm = credentials.canonical_algorithm
        if algorithm is None or algorithm not in self._accepted:
            if self._name(turn, credentials) is None or served is None:
                return None
            return self._refuse(turn, index, credentials, Outcome.ALGORITHM_NOT_OFFERED)
        base = BASES[algorithm]
        found = self._candidates(turn, credentials, realm, base)
        if found is None or served is None:
            return None
        protection = credentials.protection
        chosen = "auth" if protection is None else protection
        if (chosen not in self._config.qop and chosen not in self._challenges.qop(question)) or (
            protection == "auth-int" and not question.body_hash
        ):
            return self._refuse(turn, index, credentials, Outcome.QOP_NOT_OFFERED)
        if self._config.bind_source and self._is_foreign(question, credentials, algorithm, turn.now):
            # A source address can be forged, but not a nonce bound to it. So only guesses with such a nonce
            # count against the source, and with any other nonce the answer tells nothing about the password.
            return self._challenge(turn, index, self._name(turn, credentials), realm, Outcome.FOREIGN_NONCE)
        candidates, length = found.ha1s, HA1_DIGITS[base]
        ha1s = (candidates,) if len(candidates) == length else (candidates[:length], candidates[length:])
        case = Case(index, question, credentials, algorithm, found.known, ha1s)
        return self._admit(turn, case, cases)

    def _candidates(
        self, turn: Turn, credentials: Credentials, realm: str, base: str
    ) -> Candidates | HashedCandidates | None:
        """The HA1 to compare the response with; as many for an unknown user as for a known one."""
        username = credentials.username
        if self._config.userhash and credentials.userhash:
            return self._hashed(turn, username, realm, base)
        return self._users.young.get((username, realm, base)) or turn.value(User(username, realm, base))

    def _hashed(self, turn: Turn, hashed: str, realm: str, base: str) -> HashedCandidates | None:
        key = HashedUser(hashed, realm, base)
        found: HashedCandidates | None = turn.value(key)
        if found is not None:
            turn.found[key] = found  # the cache may drop the value before the username is needed
        return found

    def _verify(self, turn: Turn, cases: list[Case]) -> None:
        right = verify_many([case.item(ha1) for case in cases for ha1 in case.ha1s])
        index = 0
        for case in cases:
            matched = 0
            # For a username with an "@", the HA1 may be of the whole username or without its domain.
            for case_ha1 in case.ha1s:
                if right[index]:
                    case.ha1, matched = case_ha1, 1
                index += 1
            wrong = not matched & case.known
            answer: Answer | None
            try:
                if wrong:
                    answer = self._refuse(turn, case.index, case.credentials, _REFUSED[case.known])
                else:
                    answer = self._let_through(turn, case)
            except StoreError:
                answer = self._end(case.question, Outcome.STORE_FAILED)
            turn.answers[case.index] = answer
            if case.attempt is not None:
                self._end_attempt(case, answer, wrong, turn.now)

    def _let_through(self, turn: Turn, case: Case) -> Answer | None:
        """Answers credentials whose digest is right: checks the digest-uri, the nonce and the nonce count."""
        question, credentials = case.question, case.credentials
        realm = credentials.realm or ""
        resource, uri = question.resource, credentials.uri
        if uri != f"sip:{resource}" and not uri_fits(self._config.uri_policy, uri, resource, realm):
            return self._refuse(turn, case.index, credentials, Outcome.OTHER_URI)
        count = credentials.nonce_count
        if not count:
            return self._refuse(turn, case.index, credentials, Outcome.COUNT_ZERO)
        use = self._use(case, realm, count, turn.now)
        if use is not _FIRST and use is not _AGAIN:
            return self._challenge(turn, case.index, self._name(turn, credentials), realm, _STALE[use])
        if self._config.rechallenge and use is _FIRST:
            self._wrong_in_a_row.pop(self._wrong_key(turn, question, credentials))
        outcome = _AUTHORIZED if use is _FIRST else Outcome.RETRANSMITTED
        if not question.is_extended:
            return self._end(question, outcome)
        # The SIP server knows only the hash of the username (RFC 7616, 3.4.4), so the answer has the name.
        name = (
            (self._name(turn, credentials) or "").encode("utf-8", "surrogateescape")
            if self._config.userhash and credentials.userhash
            else None
        )
        if self._config.authentication_info:
            self._note(question, outcome)
            return self._prove(case, use, name, turn.now)
        if name is None:
            return self._end(question, outcome)
        self._note(question, outcome)
        return Answer(_SUCCESS, user_name=name)

    def _refuse(self, turn: Turn, index: int, credentials: Credentials, outcome: Outcome) -> Answer | None:
        """Refuses credentials; with `rechallenge` challenges again, up to `max_challenges` times."""
        question = turn.questions[index]
        if self._config.rechallenge:
            key = self._wrong_key(turn, question, credentials)
            wrong = (self._wrong_in_a_row.get(key) or 0) + 1
            self._wrong_in_a_row.put(key, wrong)
            if wrong <= self._config.max_challenges:
                return self._challenge(turn, index, self._name(turn, credentials), key[1], outcome)
        return self._end(question, outcome)

    def _wrong_key(self, turn: Turn, question: Question, credentials: Credentials) -> _Key:
        # The key has the served spelling of the realm, so that other spellings yield no more challenges.
        served = self._served(turn, credentials.realm or "")
        realm = served.realm if served is not None else None
        return credentials.username, realm or "", question.source

    def _challenge(
        self, turn: Turn, index: int, username: str | None, realm: str, outcome: Outcome
    ) -> Answer | None:
        """Challenges the user with the algorithms to offer; stale if the outcome says so.

        Returns:
            The answer; None if the algorithms to offer are still missing. Then the challenge waits in the
            turn.
        """
        question = turn.questions[index]
        offer = None
        key = self._challenges.needs(question, username, realm)
        if key is not None:
            offer = turn.value(key)
            if offer is None:
                turn.challenges.append(Challenge(index, username, realm, outcome))
                return None
        stale = outcome in _STALE_OUTCOMES
        try:
            challenges = self._challenges.make(question, realm, stale, turn.now, offer)
        except ConfigError:
            # Credentials can have a realm with a control character (a quoted-pair). A challenge cannot.
            return self._end(question, outcome)
        self._note(question, outcome)
        return Answer(_CHALLENGE, challenges=challenges, refused=PARTS.get(outcome))

    def _is_hashed(self, credentials: Credentials) -> bool:
        return self._config.userhash and credentials.userhash

    def _name(self, turn: Turn, credentials: Credentials) -> str | None:
        """The username, also for a hashed one.

        Returns:
            The username; "" if no user has this hash; None if the key is missing.
        """
        algorithm = credentials.canonical_algorithm
        if algorithm is None or not self._is_hashed(credentials):
            return credentials.username
        found = self._hashed(turn, credentials.username, credentials.realm or "", BASES[algorithm])
        return None if found is None else ("", found.username)[found.matches]

    # ------------------------------------------------------------------ guesses

    def _admit(self, turn: Turn, case: Case, cases: list[Case]) -> Answer | None:
        """Adds a case to `cases` if it may be verified now; else refuses it or holds it until `_released`."""
        penalties = self._penalties
        question = case.question
        # Without a source, anyone could lock any account. Only the operator may allow that.
        if penalties is None or not (question.source or self._config.limit_accounts):
            cases.append(case)
            return None
        credentials = case.credentials
        account = self._name(turn, credentials) or ""
        if self._is_hashed(credentials):
            account = account or credentials.username.lower()  # an unknown hash counts as an account
        attempt = penalties.begin_for(account, credentials.realm or "", question.source, turn.now, case)
        case.attempt = attempt
        self._attempts.append(attempt)
        if attempt.is_refused:
            return self._end(question, Outcome.PENALIZED)
        if not attempt.is_held:
            cases.append(case)
        return None

    def _end_attempt(self, case: Case, answer: Answer | None, wrong: bool, now: float) -> None:
        assert self._penalties is not None
        assert case.attempt is not None
        if wrong:
            self._penalties.wrong(case.attempt, now)
        elif answer is not None and answer.verdict is _SUCCESS and not case.again:
            self._penalties.right(case.attempt, now)
        else:
            self._penalties.neither(case.attempt, now)

    def _released(self, turn: Turn) -> list[Case]:
        """Returns the held cases that may be verified now, and refuses the others.

        They were held until the verdict on the cases just verified.
        """
        cases: list[Case] = []
        if self._penalties is None:
            return cases
        for attempt, case in self._penalties.released:
            if attempt.is_refused:
                turn.answers[case.index] = self._end(case.question, Outcome.PENALIZED)
            else:
                cases.append(case)
        self._penalties.released.clear()
        return cases

    def _forget_attempts(self, now: float) -> None:
        """Ends all attempts without a verdict."""
        if self._penalties is not None:
            for attempt in reversed(self._attempts):  # held attempts are at the end
                self._penalties.neither(attempt, now)
            self._penalties.released.clear()
        self._attempts.clear()

    # ------------------------------------------------------------------ nonces

    def _use(self, case: Case, realm: str, count: int, now: float) -> Use:
        """Records a use of the nonce and returns its kind; `Use.UNKNOWN` for a foreign nonce."""
        question, nonce, algorithm = case.question, case.credentials.nonce, case.algorithm
        source = question.source if self._config.bind_source else ""
        # A retransmission has the `request_id` of the original request.
        request_id = question.request_id
        mark = hash((request_id, case.credentials.response)) if request_id else 0
        use = self._uses.take(nonce, realm, algorithm, source, count, mark, now)
        if use is _UNKNOWN:
            state = self._nonces.check(nonce, realm, now, algorithm, source)
            if state is _FRESH:
                made_at = self._nonces.made_at(nonce)
                use = self._uses.add(nonce, realm, algorithm, source, count, mark, now, made_at)
            elif state is NonceState.EXPIRED:
                use = Use.EXPIRED
        case.again = use is _AGAIN
        return use

    def _is_foreign(self, question: Question, credentials: Credentials, algorithm: str, now: float) -> bool:
        """Whether the nonce does not prove the source.

        It was made for another source or not by us, or so long ago that another host may have the address
        now.
        """
        nonce = credentials.nonce
        source = self._challenges.source(question)
        state = self._nonces.check(nonce, credentials.realm or "", now, algorithm, source)
        if state is NonceState.EXPIRED:
            return now - self._nonces.made_at(nonce) > _PROOF
        return state is NonceState.FOREIGN

    def _prove(self, case: Case, use: Use, name: bytes | None, now: float) -> Answer:
        """A success with the values of Authentication-Info (RFC 7616, 3.5).

        The proof is a response whose A2 has no method.
        """
        credentials = case.credentials
        nonce, realm = credentials.nonce, credentials.realm or ""
        proof = digest_response(
            case.ha1,
            "",
            credentials.uri,
            nonce,
            algorithm=credentials.algorithm or "MD5",
            qop=credentials.qop,
            nc=credentials.nc,
            cnonce=credentials.cnonce,
        )
        key = (nonce, credentials.nonce_count)
        following = self._following.get(key)
        if use is _FIRST and (self._used_up(credentials) or self._half_through(nonce, now)):
            source = self._challenges.source(case.question)
            following = self._nonces.make(realm, now, case.algorithm, source)
            self._following.put(key, following)
        nextnonce = following.encode("ascii") if following is not None else None
        return Answer(_SUCCESS, response_auth=proof.encode("ascii"), nextnonce=nextnonce, user_name=name)

    def _used_up(self, credentials: Credentials) -> bool:
        return credentials.qop is None or 0 < self._config.nonce_uses <= credentials.nonce_count

    def _half_through(self, nonce: str, now: float) -> bool:
        return now - self._nonces.made_at(nonce) > self._nonces.lifetime / 2
