"""What DISC answers, without I/O: questions in, answers out.

==============  ===============================================  ==========================
Service-Type    case                                             Result-Code
==============  ===============================================  ==========================
6               no credentials, realm served                     4001 + Challenges
6               digest right, nonce fresh, its count unused      2001
6               the same again: a retransmission (RFC 6733, 3)   2001
6               digest right, nonce of no use: expired, its      4001 + Challenges, stale
                count used, not ours, from the future
6               `bind_source`, and the nonce was not given to    4001 + Challenges, stale
                this source: whatever the digest is
6               digest wrong, user unknown                       5003; 4001 + Challenges
                                                                 with `rechallenge`
6               digest-uri for elsewhere; algorithm or qop not   the same, with Failed-AVP
                offered; count 0
6               realm not served; credentials malformed, with a  5003, with Failed-AVP
                response of the wrong length among others
6               a user or source that guesses passwords          5003, with Failed-AVP
8               member / not                                     2001 / 4001
any             store cannot be read, or an error of ours        5012
any             malformed                                        as RFC 6733, 7.1 has it
==============  ===============================================  ==========================

Stale is decided only when the digest is right (RFC 7616, 3.3), and an unknown user costs the same
work and gets the same answer as a wrong password, so that nobody learns who exists: where an HA1 is missing
stands one that nobody has.

DISC alone knows that a digest was wrong. So it counts guesses, see `Penalties`, over all SIP servers that ask
it and tell it the source; and it tells them by Failed-AVP which refusals are none.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import time
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

from auth_diameter._core import (
    AaRequest,
    Attempt,
    ConfigError,
    Credentials,
    NonceUses,
    ParseError,
    Penalties,
    Use,
    append_answer,
    digest_response,
    format_challenge,
    verify_many,
)
from auth_diameter.disc.config import ALGORITHMS, DiscConfig
from auth_diameter.logs import Sparing, one_word
from auth_diameter.refusals import Refusals, account_of
from auth_diameter.store.cache import BoundedCache, Cache
from auth_diameter.store.hashes import HA1_DIGITS
from auth_diameter.store.store import (
    Algorithms,
    Candidates,
    HashedUser,
    Key,
    Member,
    Offer,
    Realm,
    Store,
    StoreError,
    User,
)
from auth_diameter.verifier.digest_uri import uri_fits
from auth_diameter.verifier.nonces import CLOCK_DRIFT, Nonces, NonceState

log = logging.getLogger("auth_diameter.disc")

_T = TypeVar("_T")
_Key = tuple[str, str, str]  # a user

# Result-Codes: RFC 6733, 7.1
SUCCESS = 2001
AUTHENTICATION_REJECTED = 4001
AUTHORIZATION_REJECTED = 5003
UNABLE_TO_COMPLY = 5012

_BASES = {algorithm: algorithm.removesuffix("-sess") for algorithm in ALGORITHMS}  # by HA1: RFC 7616, 3.4.2
_MD5 = ("MD5",)
_AUTH = ("auth",)
# Bytes of what is kept at hand, beside those of the store's cache.
_FOLLOWING_ROOM = 6 << 20
_WRONG_ROOM = 6 << 20


class _Case:
    """Credentials that are to be judged.

    :ivar ha1s: what they may have been made with; :ivar ha1: what they were made with, once that is known.
    :ivar known: whether there is such a user.
    :ivar attempt: what it is to those who count guesses; None: it is not counted.
    """

    __slots__ = ("algorithm", "attempt", "credentials", "ha1", "ha1s", "known", "question")

    def __init__(
        self,
        question: AaRequest,
        credentials: Credentials,
        algorithm: str,
        known: bool,
        ha1s: tuple[str, ...],
    ) -> None:
        self.question = question
        self.credentials = credentials
        self.algorithm = algorithm
        self.known = known
        self.ha1s = ha1s
        self.ha1 = ""
        self.attempt: Attempt | None = None


class Outcome(enum.Enum):
    """What became of a question; counted in `Disc.counts`."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    CHALLENGED = enum.auto()
    AUTHORIZED = enum.auto()
    RETRANSMITTED = enum.auto()
    STALE = enum.auto()
    REPLAYED = enum.auto()
    FOREIGN_NONCE = enum.auto()
    WRONG_DIGEST = enum.auto()
    UNKNOWN_USER = enum.auto()
    ALGORITHM_NOT_OFFERED = enum.auto()
    QOP_NOT_OFFERED = enum.auto()
    MALFORMED_RESPONSE = enum.auto()
    COUNT_ZERO = enum.auto()
    OTHER_URI = enum.auto()
    PENALIZED = enum.auto()
    MALFORMED_QOP = enum.auto()
    MALFORMED_CREDENTIALS = enum.auto()
    REALM_NOT_SERVED = enum.auto()
    MEMBER = enum.auto()
    NOT_MEMBER = enum.auto()
    STORE_FAILED = enum.auto()
    FAILED = enum.auto()
    MALFORMED = enum.auto()


# By the parameter that is malformed, where it is one.
_MALFORMED: dict[str | None, Outcome] = {
    "qop": Outcome.MALFORMED_QOP,
    "response": Outcome.MALFORMED_RESPONSE,
}
_REFUSED = (Outcome.UNKNOWN_USER, Outcome.WRONG_DIGEST)  # by whether there is such a user, in the same time

_PROOF = 3600.0  # seconds for which a nonce proves its source: then somebody else may have the address

# Of a nonce that is of no use, by what was found out about it.
_STALE = {
    Use.EXPIRED: Outcome.STALE,
    Use.REPLAYED: Outcome.REPLAYED,
    Use.UNKNOWN: Outcome.FOREIGN_NONCE,
}

# What is refused for another reason than a wrong digest: the code of the AVP that this is about, for
# Failed-AVP (RFC 6733, 7.5).
_FAILED_AVP = {
    Outcome.PENALIZED: 31,  # Calling-Station-Id: RFC 7155, 4.2.6
    Outcome.MALFORMED_RESPONSE: 103,  # Digest-Response and what follows: RFC 5090, 4
    Outcome.OTHER_URI: 109,  # Digest-URI
    Outcome.QOP_NOT_OFFERED: 110,  # Digest-Qop
    Outcome.MALFORMED_QOP: 110,
    Outcome.ALGORITHM_NOT_OFFERED: 111,  # Digest-Algorithm
    Outcome.COUNT_ZERO: 114,  # Digest-Nonce-Count
    Outcome.REALM_NOT_SERVED: 283,  # Destination-Realm: RFC 6733, 6.6
    Outcome.MALFORMED_CREDENTIALS: 401,  # Response, of the dialect
}


# Refusals, for the log; and those of them of which `bind_source` has proven the source before.
_BEFORE = frozenset(
    {
        Outcome.ALGORITHM_NOT_OFFERED,
        Outcome.QOP_NOT_OFFERED,
        Outcome.MALFORMED_RESPONSE,
        Outcome.MALFORMED_QOP,
        Outcome.MALFORMED_CREDENTIALS,
        Outcome.REALM_NOT_SERVED,
    }
)
_BEHIND = frozenset(
    {
        Outcome.WRONG_DIGEST,
        Outcome.UNKNOWN_USER,
        Outcome.COUNT_ZERO,
        Outcome.OTHER_URI,
        Outcome.PENALIZED,
    }
)


class Disc:
    """Judges questions against a store.

    :param store: open for reading; used from one thread at a time.
    """

    def __init__(self, store: Store, config: DiscConfig | None = None, nonces: Nonces | None = None) -> None:
        self._config = config if config is not None else DiscConfig()
        self._nonces = nonces if nonces is not None else Nonces(lifetime=self._config.nonce_lifetime)
        self._accepted = frozenset(self._config.algorithms)
        # OpenSER's module copies one Challenge, and its telephones know MD5 best.
        best = (one for one in ("MD5", "MD5-sess", *self._config.algorithms) if one in self._accepted)
        self._single = (next(best),)
        self._uses = NonceUses(
            self._nonces.remembered, self._config.max_nonces, self._config.nonce_uses, CLOCK_DRIFT
        )
        self._penalties = Penalties() if self._config.penalty else None
        self._attempts: list[Attempt] = []  # of the questions that are being answered
        self.counts: Counter[Outcome] = Counter()
        self._cache = Cache(store, f"questions get {UNABLE_TO_COMPLY} (unable to comply)")
        self._offered: dict[Offer, tuple[str, ...]] = {}  # of what users can do, what they are offered
        # A retransmission is told the same next nonce.
        self._following: BoundedCache[tuple[str, int], str] = BoundedCache(_FOLLOWING_ROOM)
        self._wrong_in_a_row: BoundedCache[_Key, int] = BoundedCache(_WRONG_ROOM)
        self._sparing = Sparing(log)
        self._refusals = Refusals(logging.getLogger("auth_diameter.refused"))
        self._verbose = False
        self._one_challenge = False
        self._server = ""

    def answer(
        self,
        questions: list[AaRequest],
        out: bytearray,
        now: float,
        one_challenge: bool = False,
        server: str = "",
    ) -> None:
        """Writes an answer to each question at the end of `out`, in any order.

        Digests are verified together. :param now: seconds since 1970. :param one_challenge: whether who
        asks can take only one challenge, of MD5. :param server: its address, for the log.
        """
        self._one_challenge = one_challenge
        self._server = server
        self._verbose = log.isEnabledFor(logging.DEBUG)
        before = len(out)
        try:
            if self._cache.is_due(now):
                _at_once(self._cache.check(now))
            cases: list[_Case] = []
            self._look_at(questions, cases, out, now)
            while cases:
                self._judge(cases, out, now)
                cases = self._released(out, now)
            self._attempts.clear()
        except Exception as error:  # noqa: BLE001 - one question must not cost the others their connection
            del out[before:]
            self._forget_attempts(now)
            if len(questions) > 1:
                for question in questions:
                    self.answer([question], out, now, one_challenge, server)
            else:
                self._sparing.exception(error, time.monotonic(), "a question could not be answered")
                self._write(out, questions[0], UNABLE_TO_COMPLY, Outcome.FAILED)

    def _look_at(
        self,
        questions: list[AaRequest],
        cases: list[_Case],
        out: bytearray,
        now: float,
    ) -> None:
        """Answers all but those with credentials to be judged, which go to `cases`."""
        for question in questions:
            if question.fault:
                self._write(out, question, question.fault, Outcome.MALFORMED)
                continue
            try:
                if question.is_group_check:
                    self._answer_group(question, out)
                elif not question.has_credentials:
                    self._challenge_first(question, out, now)
                else:
                    self._collect(question, cases, out, now)
            except StoreError:
                self._write(out, question, UNABLE_TO_COMPLY, Outcome.STORE_FAILED)

    # ------------------------------------------------------------------ credentials

    def _collect(self, question: AaRequest, cases: list[_Case], out: bytearray, now: float) -> None:
        """Looks up what credentials are to be compared with; refuses those that nobody offered to take."""
        try:
            credentials = question.credentials()
        except ParseError as error:
            outcome = _MALFORMED.get(error.parameter, Outcome.MALFORMED_CREDENTIALS)
            self._write(out, question, AUTHORIZATION_REJECTED, outcome)
            return
        assert credentials is not None
        realm = credentials.realm or ""
        served = self._cache.realms.young.get((realm,))
        if (served[0] if served else self._canonical_realm(realm)) is None:
            self._write(out, question, AUTHORIZATION_REJECTED, Outcome.REALM_NOT_SERVED)
            return
        algorithm = credentials.canonical_algorithm
        if algorithm is None or algorithm not in self._accepted:
            self._refuse(question, credentials, out, now, Outcome.ALGORITHM_NOT_OFFERED)
            return
        protection = credentials.protection
        chosen = "auth" if protection is None else protection
        if (chosen not in self._config.qop and chosen not in self._qop(question)) or (
            protection == "auth-int" and not question.body_hash
        ):
            self._refuse(question, credentials, out, now, Outcome.QOP_NOT_OFFERED)
            return
        if self._config.bind_source and self._is_foreign(question, credentials, algorithm, now):
            # A source can be forged, but not a nonce that was given to it: only guesses on such a one count
            # against it, and no other tells anything about the password.
            self._challenge(question, self._name(credentials), realm, True, out, now, Outcome.FOREIGN_NONCE)
            return
        base = _BASES[algorithm]
        look_up = self._hashed_candidates if self._is_hashed(credentials) else self._ha1_candidates
        known, candidates = look_up(credentials.username, realm, base)
        length = HA1_DIGITS[base]
        ha1s = (candidates,) if len(candidates) == length else (candidates[:length], candidates[length:])
        case = _Case(question, credentials, algorithm, known, ha1s)
        if self._may_be_judged(case, out, now):
            cases.append(case)

    def _judge(self, cases: list[_Case], out: bytearray, now: float) -> None:
        right = verify_many([_item(case, ha1) for case in cases for ha1 in case.ha1s])
        index = 0
        for case in cases:
            matched = 0
            # A username with an "@" may have been hashed whole or without its domain.
            for case_ha1 in case.ha1s:
                if right[index]:
                    case.ha1, matched = case_ha1, 1
                index += 1
            login = wrong = False
            try:
                if not matched & case.known:
                    wrong = True
                    self._refuse(case.question, case.credentials, out, now, _REFUSED[case.known])
                else:
                    login = self._let_through(case, out, now)
            except StoreError:
                self._write(out, case.question, UNABLE_TO_COMPLY, Outcome.STORE_FAILED)
            if case.attempt is not None:
                self._end_attempt(case.attempt, login, wrong, now)

    def _let_through(self, case: _Case, out: bytearray, now: float) -> bool:
        """The digest is right: whether that is a login. The nonce may be of no use, or the URI another."""
        question, credentials = case.question, case.credentials
        realm = credentials.realm or ""
        resource = _text(question.resource)
        uri = credentials.uri
        if uri != f"sip:{resource}" and not uri_fits(self._config.uri_policy, uri, resource, realm):
            self._refuse(question, credentials, out, now, Outcome.OTHER_URI)
            return False
        count = credentials.nonce_count
        if not count:
            self._refuse(question, credentials, out, now, Outcome.COUNT_ZERO)
            return False
        use = self._use(case, realm, count, now)
        if use is not Use.FIRST and use is not Use.AGAIN:
            self._challenge(question, self._name(credentials), realm, True, out, now, _STALE[use])
            return False
        if self._config.rechallenge and use is Use.FIRST:
            canonical = self._canonical_realm(realm) or ""
            self._wrong_in_a_row.pop((credentials.username, canonical, _text(question.source)))
        outcome = Outcome.AUTHORIZED if use is Use.FIRST else Outcome.RETRANSMITTED
        self._count(question, outcome)
        # Who has the hash alone is told the name (RFC 7616, 3.4.4). OpenSER's module would not look at it.
        name = self._name(credentials) if self._is_hashed(credentials) and question.end_to_end else None
        if self._config.authentication_info and question.end_to_end:
            self._prove(case, use, name, out, now)
        else:
            append_answer(out, question, SUCCESS, (), None, None, name)
        return use is Use.FIRST

    # ------------------------------------------------------------------ guesses

    def _may_be_judged(self, case: _Case, out: bytearray, now: float) -> bool:
        """Whether it may be judged now. Else it is answered, or held; see `_released`."""
        penalties = self._penalties
        question = case.question
        # Without a source anybody could lock anybody out: that is for the operator to decide.
        if penalties is None or not (question.source or self._config.limit_accounts):
            return True
        credentials = case.credentials
        account = self._name(credentials)
        if self._is_hashed(credentials):
            account = account or credentials.username.lower()  # what is nobody's counts as it is
        attempt = penalties.begin_for(account, credentials.realm or "", _text(question.source), now, case)
        case.attempt = attempt
        self._attempts.append(attempt)
        if attempt.is_refused:
            self._write(out, question, AUTHORIZATION_REJECTED, Outcome.PENALIZED)
            return False
        return not attempt.is_held

    def _end_attempt(self, attempt: Attempt, login: bool, wrong: bool, now: float) -> None:
        assert self._penalties is not None
        if login:
            self._penalties.right(attempt, now)
        elif wrong:
            self._penalties.wrong(attempt, now)
        else:
            self._penalties.neither(attempt, now)

    def _released(self, out: bytearray, now: float) -> list[_Case]:
        """Those that waited for the verdict on the ones just judged: refused, or to be judged now."""
        cases: list[_Case] = []
        if self._penalties is None:
            return cases
        for attempt, case in self._penalties.released:
            if attempt.is_refused:
                self._write(out, case.question, AUTHORIZATION_REJECTED, Outcome.PENALIZED)
            else:
                cases.append(case)
        self._penalties.released.clear()
        return cases

    def _forget_attempts(self, now: float) -> None:
        """Nothing has come of them."""
        if self._penalties is not None:
            for attempt in reversed(self._attempts):  # those that wait come last
                self._penalties.neither(attempt, now)
            self._penalties.released.clear()
        self._attempts.clear()

    # ------------------------------------------------------------------ nonces

    def _use(self, case: _Case, realm: str, count: int, now: float) -> Use:
        """What a use of the nonce means. UNKNOWN: it is not ours."""
        question, nonce, algorithm = case.question, case.credentials.nonce, case.algorithm
        source = self._bound_to(question)
        # A retransmission has the End-to-End Identifier of what it repeats (RFC 6733, 3), and the Session-Id:
        # who replays a digest in many requests of his own would meet the 32 bits of the first one day.
        mark = 0
        if question.end_to_end:
            mark = hash((question.end_to_end, question.session, case.credentials.response))
        use = self._uses.take(nonce, realm, algorithm, source, count, mark, now)
        if use is not Use.UNKNOWN:
            return use
        state = self._nonces.check(nonce, realm, now, algorithm, source)
        if state is NonceState.FRESH:
            made_at = self._nonces.made_at(nonce)
            return self._uses.add(nonce, realm, algorithm, source, count, mark, now, made_at)
        return Use.EXPIRED if state is NonceState.EXPIRED else Use.UNKNOWN

    def _is_foreign(self, question: AaRequest, credentials: Credentials, algorithm: str, now: float) -> bool:
        """Whether the nonce was not given to this source by us, or to who had its address long ago."""
        nonce = credentials.nonce
        source = self._bound_to(question)
        state = self._nonces.check(nonce, credentials.realm or "", now, algorithm, source)
        if state is NonceState.EXPIRED:
            return now - self._nonces.made_at(nonce) > _PROOF
        return state is NonceState.FOREIGN

    def _bound_to(self, question: AaRequest) -> str:
        """The address that a nonce is bound to; "": none."""
        return _text(question.source) if self._config.bind_source else ""

    def _prove(self, one: _Case, use: Use, name: str | None, out: bytearray, now: float) -> None:
        """Success with what Authentication-Info needs (RFC 7616, 3.5): the method is left out of A2."""
        credentials = one.credentials
        nonce, realm = credentials.nonce, credentials.realm or ""
        proof = digest_response(
            one.ha1,
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
        if use is Use.FIRST and (self._used_up(credentials) or self._half_through(nonce, now)):
            following = self._nonces.make(realm, now, one.algorithm, self._bound_to(one.question))
            self._following.put(key, following)
        append_answer(out, one.question, SUCCESS, (), proof, following, name)

    def _used_up(self, credentials: Credentials) -> bool:
        return credentials.qop is None or 0 < self._config.nonce_uses <= credentials.nonce_count

    def _half_through(self, nonce: str, now: float) -> bool:
        return now - self._nonces.made_at(nonce) > self._nonces.lifetime / 2

    def _refuse(
        self,
        question: AaRequest,
        credentials: Credentials,
        out: bytearray,
        now: float,
        outcome: Outcome,
    ) -> None:
        """5003, or a new challenge where that is wanted, but not for ever."""
        if self._config.rechallenge:
            # Who spells the realm in a way of his own is told how HA1 was made, and has no more challenges.
            username, realm = credentials.username, self._canonical_realm(credentials.realm or "") or ""
            key = (username, realm, _text(question.source))
            wrong = (self._wrong_in_a_row.get(key) or 0) + 1
            self._wrong_in_a_row.put(key, wrong)
            if wrong <= self._config.max_challenges:
                self._challenge(question, self._name(credentials), realm, False, out, now, outcome)
                return
        self._write(out, question, AUTHORIZATION_REJECTED, outcome)

    # ------------------------------------------------------------------ challenges

    def _challenge_first(self, question: AaRequest, out: bytearray, now: float) -> None:
        realm = self._canonical_realm(_text(question.destination_realm))
        if realm is None:
            self._write(out, question, AUTHORIZATION_REJECTED, Outcome.REALM_NOT_SERVED)
        else:
            self._challenge(question, None, realm, False, out, now, Outcome.CHALLENGED)

    def _challenge(
        self,
        question: AaRequest,
        username: str | None,
        realm: str,
        stale: bool,
        out: bytearray,
        now: float,
        outcome: Outcome,
    ) -> None:
        """4001 with what this user may choose from.

        :param username: of the credentials; None: there were none, and User-Name says whose request it is.
        """
        config = self._config
        source = self._bound_to(question)
        qop = self._qop(question)
        challenges: list[bytes] = []
        try:
            for algorithm in self._offer(question, username, realm):
                nonce = self._nonces.make(realm, now, algorithm, source)
                challenge = format_challenge(
                    realm, nonce, algorithm=algorithm, qop=qop, stale=stale, userhash=config.userhash
                )
                challenges.append(challenge.encode("utf-8", "surrogateescape"))
        except ConfigError:
            # Credentials can name a realm with a control character (a quoted-pair), a challenge cannot.
            self._write(out, question, AUTHORIZATION_REJECTED, outcome)
            return
        self._count(question, outcome)
        if outcome is Outcome.CHALLENGED:
            append_answer(out, question, AUTHENTICATION_REJECTED, challenges)
            return
        failed = _failed_avp(question, outcome)
        append_answer(out, question, AUTHENTICATION_REJECTED, challenges, failed_avp=failed)

    def _qop(self, question: AaRequest) -> tuple[str, ...]:
        """What this SIP server is offered: OpenSER's module sends no hash of the body."""
        qop = self._config.qop
        return qop if qop == _AUTH or question.end_to_end else _AUTH

    def _offer(self, question: AaRequest, username: str | None, realm: str) -> tuple[str, ...]:
        """The algorithms that this user of this SIP server can use, the most wanted first.

        Who is unknown or can use none of those that are offered gets what most users of the realm get.
        """
        algorithms = self._config.algorithms
        if algorithms == _MD5:
            return _MD5
        if self._one_challenge or not question.end_to_end:
            return self._single
        if username is None:
            username = _text(question.user_name).partition("@")[0]
        offer = self._value(Algorithms(username, realm))
        found = self._offered.get(offer)
        if found is None:
            own, usual = (tuple(one for one in algorithms if _BASES[one] in having) for having in offer)
            found = self._offered[offer] = own or usual or algorithms
        return found

    # ------------------------------------------------------------------ groups

    def _answer_group(self, question: AaRequest, out: bytearray) -> None:
        username, _, domain = _text(question.user_name).partition("@")
        if self._value(Member(username, domain, _text(question.group))):
            self._write(out, question, SUCCESS, Outcome.MEMBER)
        else:
            self._write(out, question, AUTHENTICATION_REJECTED, Outcome.NOT_MEMBER)

    def _write(self, out: bytearray, question: AaRequest, result_code: int, outcome: Outcome) -> None:
        self._count(question, outcome)
        append_answer(out, question, result_code, failed_avp=_failed_avp(question, outcome))

    def _count(self, question: AaRequest, outcome: Outcome) -> None:
        self.counts[outcome] += 1
        if outcome in _BEHIND or outcome in _BEFORE:
            self._note_refusal(question, outcome)
        if self._verbose:
            self._log_question(question, outcome)

    def _log_question(self, question: AaRequest, outcome: Outcome) -> None:
        log.debug(
            "%s about='%s' source=%s server=%s %s",
            outcome.name,
            one_word(_text(question.user_name)),
            one_word(_text(question.source)) or "-",
            self._server or "-",
            f"group='{one_word(_text(question.group))}'"
            if question.is_group_check
            else f"credentials={'yes' if question.has_credentials else 'no'}",
        )

    def _note_refusal(self, question: AaRequest, outcome: Outcome) -> None:
        account = ""
        with contextlib.suppress(ParseError):
            credentials = question.credentials()
            if credentials is not None:
                account = account_of(credentials.username, credentials.realm)
        proven = self._config.bind_source and outcome in _BEHIND
        now = time.monotonic()
        self._refusals.note(account, _text(question.source), outcome.name, proven, now, self._server)

    # ------------------------------------------------------------------ the store, at hand

    def _value(self, key: Key) -> Any:
        """What the store says of `key`.

        :raises StoreError: the store cannot be read.
        """
        found = self._cache.get(key)
        return _at_once(self._cache.fetch([key]))[key] if found is None else found

    def _ha1_candidates(self, username: str, realm: str, algorithm: str) -> tuple[bool, str]:
        """Whether there is such a user, and what to compare its response with: as much in either case.

        That is one HA1, or two in one string.
        """
        users = self._cache.users
        found: Candidates = users.young.get((username, realm, algorithm)) or self._value(
            User(username, realm, algorithm)
        )
        return found

    def _hashed_candidates(self, hashed: str, realm: str, algorithm: str) -> tuple[bool, str]:
        """The same for a hashed username."""
        found = self._value(HashedUser(hashed, realm, algorithm))
        return found.known, found.ha1s

    def _is_hashed(self, credentials: Credentials) -> bool:
        return self._config.userhash and credentials.userhash

    def _name(self, credentials: Credentials) -> str:
        """The username, or whose it is that comes hashed; "" where it is nobody's."""
        algorithm = credentials.canonical_algorithm
        if algorithm is None or not self._is_hashed(credentials):
            return credentials.username
        found = self._value(HashedUser(credentials.username, credentials.realm or "", _BASES[algorithm]))
        return ("", found.username)[found.matches]

    def _canonical_realm(self, realm: str) -> str | None:
        found: str | None = self._value(Realm(realm)).realm
        return found


def _at_once(work: Coroutine[Any, Any, _T]) -> _T:
    """What it comes to, of work that does not wait."""
    try:
        work.send(None)
    except StopIteration as end:
        found: _T = end.value
        return found
    work.close()
    raise RuntimeError("the store waits")


def _item(
    case: _Case, ha1: str
) -> tuple[Credentials, bytes, str] | tuple[Credentials, bytes, str, bytes, bytes]:
    """For verify_many."""
    if case.credentials.protection == "auth-int":
        return case.credentials, case.question.method, ha1, b"", case.question.body_hash
    return case.credentials, case.question.method, ha1


def _failed_avp(question: AaRequest, outcome: Outcome) -> int:
    """What the answer holds in Failed-AVP, 0 for none; OpenSER's module could do nothing with it."""
    return _FAILED_AVP.get(outcome, 0) if question.end_to_end else 0


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
