"""The verifier: takes questions and returns answers, or the keys that it needs for them. It does no I/O.

The table of `auth_diameter.verifier.outcome` has the verdict for each case. A nonce is reported as stale only
if the digest is right (RFC 7616, 3.3). An unknown user takes the same work and gets the same answer as a
wrong password, so that nobody can find out who exists.

The answer to a refused question says which part was refused, and so whether it was a guess.

The checks have files of their own: `guesses`, `digest_uri`, `nonce_check` for the nonce and its count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from auth_diameter._core import (
    Answer,
    ConfigError,
    Credentials,
    Question,
    Use,
    Verdict,
    verify_many,
)
from auth_diameter.store.cache import BoundedCache, Cache
from auth_diameter.store.hashes import HA1_DIGITS
from auth_diameter.store.store import (
    Candidates,
    HashedCandidates,
    Member,
    Realm,
    Spelling,
    StoreError,
    User,
)
from auth_diameter.verifier import userhash
from auth_diameter.verifier.authentication_info import AuthenticationInfo
from auth_diameter.verifier.case import Case
from auth_diameter.verifier.challenges import BASES, Challenges
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.digest_uri import uri_fits
from auth_diameter.verifier.guesses import Guesses
from auth_diameter.verifier.nonce_check import NonceCheck
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.outcome import ANSWERS, MALFORMED, PARTS, Outcome
from auth_diameter.verifier.turn import Challenge, Turn

_Key = tuple[str, str, str]

_WRONG_ROOM = 6 << 20  # bytes of the numbers of wrong credentials in a row

_REFUSED = (Outcome.UNKNOWN_USER, Outcome.WRONG_DIGEST)  # indexed by `known`: the same time for both

# Members of enums as module globals: in Python 3.11 the lookup on the class is slow.
_FIRST, _AGAIN = Use.FIRST, Use.AGAIN
_AUTHORIZED, _CHALLENGED = Outcome.AUTHORIZED, Outcome.CHALLENGED
_SUCCESS, _CHALLENGE = Verdict.SUCCESS, Verdict.CHALLENGE

# The outcome for a nonce that cannot be used.
_STALE = {
    Use.EXPIRED: Outcome.STALE,
    Use.REPLAYED: Outcome.REPLAYED,
    Use.UNKNOWN: Outcome.FOREIGN_NONCE,
}


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
        uses: the nonces that were used, and their counts.
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
        self._accepts_userhash = config.userhash
        self._nonce_check = NonceCheck(config, nonces)
        self.uses = self._nonce_check.uses
        self._authentication_info = AuthenticationInfo(config, nonces)
        self._guesses = Guesses(config)
        self.counts: Counter[Outcome] = Counter()
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
            self._guesses.forget(turn.now)
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
        self._guesses.attempts.clear()

    def _judge_alone(self, turn: Turn, index: int) -> None:
        try:
            self._judge(turn, [index])
        except Exception as error:  # noqa: BLE001 - as above
            self._guesses.forget(turn.now)
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
            realm = credentials.realm or ""
        elif question.error is None:
            realm = question.realm
        else:
            return self._end(question, MALFORMED.get(question.error.parameter, Outcome.MALFORMED_CREDENTIALS))
        if self._config.bind_source:
            turn.sources[index] = question.source
        served: Spelling | None = self._realms.young.get((realm,)) or turn.value(Realm(realm))
        if served is not None:
            if served.realm is None:
                return self._end(question, Outcome.REALM_NOT_SERVED)
            if credentials is None:
                return self._challenge(turn, index, None, served.realm, _CHALLENGED)
        if credentials is None:
            return None
        return self._collect(turn, index, credentials, realm, served, cases)

    def _check_group(self, turn: Turn, question: Question) -> Answer | None:
        username, _, domain = question.user_name.partition("@")
        is_member = turn.value(Member(username, domain, question.group or ""))
        if is_member is None:
            return None
        return self._end(question, Outcome.MEMBER if is_member else Outcome.NOT_MEMBER)

    def _end(self, question: Question, outcome: Outcome) -> Answer:
        """Counts and reports the outcome; returns the answer for it, if the answer has no other values."""
        self.counts[outcome] += 1
        self._observer.noted(question, outcome)
        return ANSWERS[outcome]

    # ------------------------------------------------------------------ credentials

    def _collect(
        self,
        turn: Turn,
        index: int,
        credentials: Credentials,
        realm: str,
        served: Spelling | None,
        cases: list[Case],
    ) -> Answer | None:
        """Looks up the HA1 for credentials; refuses an algorithm or a qop that was not offered.

        A realm that is not known yet lets the credentials wait, but the keys that they need are looked up.
        """
        question = turn.questions[index]
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
        if self._config.bind_source and self._nonce_check.is_foreign(
            credentials, algorithm, turn.sources[index], turn.now
        ):
            # A source address can be forged, but not a nonce bound to it. So only guesses with such a nonce
            # count against the source, and with any other nonce the answer tells nothing about the password.
            return self._challenge(turn, index, self._name(turn, credentials), realm, Outcome.FOREIGN_NONCE)
        candidates, length = found.ha1s, HA1_DIGITS[base]
        ha1s = (candidates,) if len(candidates) == length else (candidates[:length], candidates[length:])
        case = Case(index, question, credentials, realm, algorithm, found, ha1s)
        attempt = self._guesses.begin(case, turn.now)
        if attempt is None:
            cases.append(case)
        elif attempt.is_refused:
            return self._end(question, Outcome.PENALIZED)
        elif not attempt.is_held:
            cases.append(case)
        return None

    def _candidates(
        self, turn: Turn, credentials: Credentials, realm: str, base: str
    ) -> Candidates | HashedCandidates | None:
        """The HA1 to compare the response with; as many for an unknown user as for a known one."""
        if self._accepts_userhash and credentials.userhash:
            return userhash.find(turn, credentials, realm, base)
        username = credentials.username
        return self._users.young.get((username, realm, base)) or turn.value(User(username, realm, base))

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
                self._guesses.end(case, answer, turn.now, wrong=wrong)

    def _released(self, turn: Turn) -> list[Case]:
        """Returns the held cases that may be verified now, and refuses the others.

        They were held until the verdict on the cases just verified.
        """
        cases: list[Case] = []
        for case in self._guesses.released():
            if case.attempt is not None and case.attempt.is_refused:
                turn.answers[case.index] = self._end(case.question, Outcome.PENALIZED)
            else:
                cases.append(case)
        return cases

    def _let_through(self, turn: Turn, case: Case) -> Answer | None:
        """Answers credentials whose digest is right: checks the digest-uri, the nonce and the nonce count."""
        question, credentials = case.question, case.credentials
        resource, uri = question.resource, credentials.uri
        if uri != f"sip:{resource}" and not uri_fits(self._config.uri_policy, uri, resource, case.realm):
            return self._refuse(turn, case.index, credentials, Outcome.OTHER_URI)
        count = credentials.nonce_count
        if not count:
            return self._refuse(turn, case.index, credentials, Outcome.COUNT_ZERO)
        use = self._nonce_check.use(case, count, turn.sources[case.index], turn.now)
        if use is not _FIRST and use is not _AGAIN:
            return self._challenge(turn, case.index, self._name(turn, credentials), case.realm, _STALE[use])
        if self._config.rechallenge and use is _FIRST:
            self._wrong_in_a_row.pop(self._wrong_key(turn, question, credentials))
        outcome = _AUTHORIZED if use is _FIRST else Outcome.RETRANSMITTED
        if not question.is_extended:
            return self._end(question, outcome)
        answer = self._end(question, outcome)
        # The SIP server knows only the hash of the username (RFC 7616, 3.4.4), so the answer has the name.
        name = None
        if self._accepts_userhash and isinstance(case.found, HashedCandidates):
            name = userhash.username(case.found).encode("utf-8", "surrogateescape")
        if self._config.authentication_info:
            return self._authentication_info.success(case, use, name, turn.sources[case.index], turn.now)
        return answer if name is None else Answer(_SUCCESS, user_name=name)

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
        served = turn.value(Realm(credentials.realm or ""))
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
        try:
            challenges = self._challenges.make(turn, index, username, realm, outcome)
        except ConfigError:
            # Credentials can have a realm with a control character (a quoted-pair). A challenge cannot.
            return self._end(question, outcome)
        if challenges is None:
            turn.challenges.append(Challenge(index, username, realm, outcome))
            return None
        self._end(question, outcome)
        return Answer(_CHALLENGE, challenges=challenges, refused=PARTS.get(outcome))

    def _name(self, turn: Turn, credentials: Credentials) -> str | None:
        """The username, also for a hashed one.

        Returns:
            The username; "" if no user has this hash; None if the key is missing.
        """
        algorithm = credentials.canonical_algorithm
        if algorithm is None or not self._accepts_userhash:
            return credentials.username
        return userhash.name_of(turn, credentials, BASES[algorithm])
