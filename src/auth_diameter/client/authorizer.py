"""The three functions as decisions, without I/O.

Each function takes a request. It returns a decision, or the question that DISC must answer first::

    request ──► www_authorize ─┬─► Decision                                  let through or refused at once
                               └─► Question ──► DISC ──► Answer ──► conclude ──► Decision
                                                  └────► nothing ──► fail ─────► Decision

The return codes are those that a configuration script of OpenSER sees: 1 lets the request through, 0 means
that it is malformed, and a negative code refuses it for a reason that the function lists.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, TypeAlias

from auth_diameter._core import (
    Answer,
    ConfigError,
    ParseError,
    Penalties,
    Question,
    SipRequest,
    ask,
    authentication,
    judge,
    mark_authorized,
    question_room,
    quote,
)
from auth_diameter.client import group_check
from auth_diameter.client.delegated import Delegated
from auth_diameter.client.nonce_watch import NonceWatch
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.client.registrar import Registrar
from auth_diameter.config import Config
from auth_diameter.decision import (
    PROXY,
    RULINGS,
    UAS,
    UNAVAILABLE,
    Cause,
    Decision,
    Headers,
    refuse,
    retry_after,
)
from auth_diameter.diameter.speaking import application_of
from auth_diameter.verifier.outcome import Outcome

__all__ = ["Authorizer", "Request", "malformed"]

Request: TypeAlias = SipRequest | bytes | bytearray | memoryview

_NONE: list[Question] = []  # shared, since `released` mostly has nothing to return

# The causes of a refusal that have a realm: they are about the credentials for it.
_MALFORMED = frozenset({Cause.MALFORMED_CREDENTIALS, Cause.MALFORMED_QOP, Cause.MALFORMED_RESPONSE})

# Members of enums, and their rulings, as module globals: in Python 3.11 the lookup on the class is slow.
_AUTHORIZED, _CHALLENGED = Cause.AUTHORIZED, Cause.CHALLENGED
_USED_UP = frozenset({Outcome.STALE, Outcome.REPLAYED, Outcome.FOREIGN_NONCE})
_AUTHORIZED_CODE = RULINGS[Cause.AUTHORIZED].return_code
_BYPASSED = Decision(RULINGS[Cause.BYPASSED].return_code, Cause.BYPASSED)


class Authorizer:
    """The decisions for one `Config`; thread-safe.

    The only state is that of the penalties for wrong passwords, see `Penalties`, and of the `NonceWatch`.
    Every `now` is in seconds, monotonic. A question that `is_held` must not be asked before `released`
    returns it. Each question is ended exactly once, by `conclude` or `fail`.

    Args:
        config: the settings.
        penalties: those that processes have in common that are forked later; None: each counts alone.

    Attributes:
        use_domain: whether a group check names the user as ``user@domain``.
        penalties: the attempts to verify credentials; None: they are not counted here.
        watch: notes which DISC accepts which nonces; None: there is one DISC only.
        delegated: HA1 that servers delegate; None: they do not.
        registrar: tells servers of registrations that were judged here; None: they are not told. Set by the
            owner.
    """

    def __init__(self, config: Config, penalties: Penalties | None = None) -> None:
        self.use_domain = config.use_domain
        self._application = application_of(config) if config.database is None else None
        self._has_groups = not config.is_standard
        self._max_size = config.max_sip_message
        self._max_headers = config.max_sip_headers
        self._max_question = config.max_diameter_message if config.database is None else sys.maxsize
        self._tell_source = config.tell_source
        # The local back end counts guesses itself, as DISC does.
        self.penalties: Penalties | None = None
        self._shares_penalties = penalties is not None
        if config.penalty and config.database is None:
            self.penalties = penalties if penalties is not None else Penalties()
        self.delegated = Delegated(config) if config.application == "sip" else None
        self.registrar: Registrar | None = None
        addresses = config.addresses()
        self.watch = NonceWatch(addresses) if len(addresses) > 1 else None
        self._unavailable_status = config.unavailable_status
        self._unavailable_headers: Headers = ()
        if config.unavailable_status == UNAVAILABLE:
            self._unavailable_headers = retry_after(config.retry_after)

    def read(self, data: bytes | bytearray | memoryview, source: Sequence[Any] | None = None) -> SipRequest:
        """Parses a request, within the configured limits.

        Args:
            data: the datagram.
            source: (host, port, …) that it came from; None: not known.

        Raises:
            ParseError: see `SipRequest`.
        """
        return SipRequest(data, source, max_size=self._max_size, max_headers=self._max_headers)

    def read_or_refuse(self, request: Request) -> SipRequest | Decision:
        """Parses a request, within the configured limits; the Decision on bytes that are no SIP request."""
        try:
            return self.read(request) if not isinstance(request, SipRequest) else request
        except ParseError as error:
            return malformed(error)

    def refuse_penalized(self, question: Question) -> Decision:
        """The decision on credentials that are refused unseen, because of guesses before them."""
        return _refuse(question, Cause.PENALIZED)

    # ------------------------------------------------------------------ the functions

    def www_authorize(self, request: Request, realm: str, now: float) -> Question | Decision:
        """``diameter_www_authorize(realm)``: authenticates by Authorization; a challenge is a 401.

        Return codes: 1 the credentials are right, or the request is an ACK or CANCEL; 0 the request is
        malformed and gets a 400; -5 it is refused.

        Args:
            request: the request, parsed or as bytes.
            realm: text that may contain pseudo-variables; see `realm` for an empty one.
            now: seconds, monotonic.

        Returns:
            The Decision, or the Question to ask DISC first.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return self._authorize(request, realm, now, proxy=False)

    def proxy_authorize(self, request: Request, realm: str, now: float) -> Question | Decision:
        """``diameter_proxy_authorize(realm)``: authenticates by Proxy-Authorization; a challenge is a 407.

        All else is as in `www_authorize`.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return self._authorize(request, realm, now, proxy=True)

    def _authorize(self, request: Request, realm: str, now: float, *, proxy: bool) -> Question | Decision:
        expand = compile_template(realm)
        if type(request) is not SipRequest:
            read = self.read_or_refuse(request)
            if type(read) is not SipRequest:
                assert isinstance(read, Decision)
                return read
            request = read
        outcome, used = ask(
            request, expand(request), proxy, self._tell_source, self._max_question, self._application
        )
        if type(outcome) is not Question:
            assert isinstance(outcome, Cause)
            if outcome is _BYPASSED.cause:
                return _BYPASSED
            return refuse(request, outcome, realm=used if outcome in _MALFORMED else None)
        question, credentials = outcome, outcome.credentials
        if credentials is not None and self.penalties is not None:
            attempt = self.penalties.begin(credentials, question.realm, request.source, now, question)
            if attempt is not None:
                if attempt.is_refused:
                    return self.refuse_penalized(question)
                question.attempt = attempt
        if credentials is not None and self.delegated is not None and not is_held(question):
            return self.judge(question, now)
        return question

    def judge(self, question: Question, now: float) -> Question | Decision:
        """The decision on credentials whose nonce came with HA1; others are a Question for the server."""
        assert self.delegated is not None
        return self.judged(question, self.delegated.outcome(question, now), now)

    def judge_released(self, question: Question, now: float) -> Question | Decision:
        """As `judge`, of a question that was held and may be asked now; itself if no HA1 is delegated."""
        if question.credentials is None or self.delegated is None:
            return question
        return self.judge(question, now)

    def judged(self, question: Question, outcome: int, now: float) -> Question | Decision:
        """As `judge`, of credentials with that outcome; 0: the server is to be asked."""
        if not outcome:
            if question_room(question, self._application) <= self._max_question:
                return question
            self._end_attempt(question, now, wrong=False)
            return refuse(question.request, Cause.TOO_LARGE)
        found = Outcome(outcome)
        if found in _USED_UP:
            return self._ask_anew(question, now)
        if found not in (Outcome.AUTHORIZED, Outcome.RETRANSMITTED):
            # A wrong digest alone is a guess.
            self._end_attempt(question, now, wrong=found is Outcome.WRONG_DIGEST)
            return _refuse(question, Cause.DISC_REFUSED if found is Outcome.FAILED else Cause.FORBIDDEN)
        self._end_attempt(question, now, wrong=False, right=True)
        assert question.credentials is not None
        question.request.mark_authorized(question.credentials, proxy=question.proxy)
        if self.registrar is not None and question.request.is_register:
            self.registrar.registered(question)
        username = question.credentials.username
        return Decision(_AUTHORIZED_CODE, _AUTHORIZED, None, None, username, question.realm)

    def _ask_anew(self, question: Question, now: float) -> Question:
        """The Question for another challenge, instead of one with credentials whose nonce is used up."""
        self._end_attempt(question, now, wrong=False)
        anew = authentication(question.request, question.realm, None, question.proxy, question.tells_source)
        anew.is_stale = True
        return anew

    def require_groups(self) -> None:
        """Raises ConfigError with standard Diameter, which knows no groups."""
        if not self._has_groups:
            raise ConfigError("diameter_is_user_in: standard Diameter has no groups, unlike DISC")

    def is_user_in(self, request: Request, who: str, group: str) -> Question | Decision:
        """``diameter_is_user_in(who, group)``: checks whether a user is in a group; never makes a SIP reply.

        See `group_check` for the return codes.

        Args:
            request: the request, parsed or as bytes.
            who: ``Request-URI``, ``To``, ``From`` or ``Credentials``; case is ignored.
            group: the group's name.

        Returns:
            The Decision, or the Question to ask DISC first.

        Raises:
            ConfigError: `who` is not one of these, or `group` is empty; or standard Diameter is spoken, which
                knows no groups.
        """
        self.require_groups()
        source = group_check.source_of(who, group)
        if type(request) is not SipRequest:
            try:
                request = self.read(request)
            except ParseError as error:
                return group_check.malformed(error)
        outcome = group_check.ask(request, source, group, use_domain=self.use_domain)
        if type(outcome) is Question and question_room(outcome) > self._max_question:
            return group_check.decide(Cause.TOO_LARGE)
        return outcome

    # ------------------------------------------------------------------ how questions end

    def conclude(self, question: Question, answer: Answer, now: float) -> Decision:
        """The decision on a question that DISC answered; marks right credentials on the request."""
        cause, wrong = judge(question, answer)
        if question.is_group_check:
            return group_check.decide(cause, question)
        if cause is not _AUTHORIZED:
            return self._conclude_refusal(question, answer, cause, now, wrong=wrong)
        username = mark_authorized(question, answer)
        if self.watch is not None:
            self.watch.authorized(question, now)
        attempt = question.attempt
        if attempt is not None and self.penalties is not None:
            question.attempt = None
            self.penalties.right(attempt, now)
        headers = _authentication_info(question, answer) if answer.response_auth or answer.nextnonce else ()
        return Decision(_AUTHORIZED_CODE, _AUTHORIZED, None, None, username, question.realm, headers)

    def _conclude_refusal(
        self, question: Question, answer: Answer, cause: Cause, now: float, *, wrong: bool
    ) -> Decision:
        """The decision on a request that is not let in: a challenge or a refusal."""
        delegated = self.delegated if answer.delegated is not None else None
        if delegated is not None and not delegated.fits(question, answer):
            cause, wrong = Cause.UNFIT_HA1, False
        if question.attempt is not None:
            self._end_attempt(question, now, wrong=wrong)
        if cause is not _CHALLENGED and cause is not Cause.RECHALLENGED:
            return _refuse(question, cause)
        if delegated is not None:
            delegated.keep(question, answer, now)
        if self.watch is not None:
            self.watch.challenged(question, answer.challenges, now)
        role = PROXY if question.proxy else UAS
        # RFC 8760, 2.4: one header field for each challenge, in the order of preference.
        values = [value.decode("utf-8", "surrogateescape") for value in answer.challenges]
        if question.is_stale:
            values = [value if "stale=" in value else f"{value}, stale=true" for value in values]
        return _refuse(question, cause, role.status, tuple([(role.challenge, value) for value in values]))

    def _end_attempt(self, question: Question, now: float, *, wrong: bool, right: bool = False) -> None:
        """Counts the verdict on credentials, or that there was none, for their user and source."""
        attempt = question.attempt
        if attempt is not None and self.penalties is not None:
            question.attempt = None
            if right:
                self.penalties.right(attempt, now)
            elif wrong:
                self.penalties.wrong(attempt, now)
            else:
                self.penalties.neither(attempt, now)

    def released(self) -> list[Question]:
        """The questions that were held and now may be asked; to be called after a question has ended.

        Each question is returned once. One that `is_refused` is not asked; it ends with the Cause PENALIZED.
        """
        if self.penalties is None or not self.penalties.has_released:
            return _NONE
        return [question for _, question in self.penalties.take_released()]

    def after_fork(self) -> None:
        """Forgets in the child the attempts under way, which end in the parent."""
        if self.penalties is not None and not self._shares_penalties:
            self.penalties = Penalties()
        # A thread of the parent may have held their locks.
        if self.delegated is not None:
            self.delegated.after_fork()
        if self.registrar is not None:
            self.registrar.after_fork()

    def fail(self, question: Question, cause: Cause, now: float) -> Decision:
        """The decision on a question without a usable answer, mostly 503 with Retry-After.

        Args:
            question: the question.
            cause: why there is no answer; PENALIZED for a held question that `is_refused`.
            now: seconds, monotonic.
        """
        if question.is_group_check:
            return group_check.decide(cause, question)
        if question.attempt is not None:
            self._end_attempt(question, now, wrong=False)
        if RULINGS[cause].status != UNAVAILABLE:
            return _refuse(question, cause)
        return _refuse(question, cause, self._unavailable_status, self._unavailable_headers)

    def overloaded(self, request: SipRequest) -> Decision:
        """The decision on a request that is refused without a question, because DISC is overloaded."""
        return self.unavailable(request, Cause.OVERLOADED)

    def unavailable(self, request: SipRequest, cause: Cause) -> Decision:
        """The decision on a request about which nobody can be asked, mostly 503 with Retry-After."""
        return refuse(request, cause, self._unavailable_status, self._unavailable_headers)


def _authentication_info(question: Question, answer: Answer) -> Headers:
    """The Authentication-Info header: the server's proof (rspauth) and the next nonce (RFC 7616, 3.5)."""
    credentials = question.credentials
    assert credentials is not None
    values = []
    if answer.nextnonce is not None:
        values.append(f'nextnonce="{answer.nextnonce.decode("ascii")}"')
    if answer.response_auth is not None:
        cnonce = credentials.cnonce
        if credentials.qop is not None and cnonce is not None:
            # The client chose the cnonce. If it does not fit into one line, the whole header is left out.
            if not cnonce.isprintable():
                return ()
            values += [f"qop={credentials.qop}", f"cnonce={quote(cnonce)}", f"nc={credentials.nc}"]
        values.append(f'rspauth="{answer.response_auth.decode("ascii")}"')
    return (((PROXY if question.proxy else UAS).info, ", ".join(values)),)


def is_held(question: Question) -> bool:
    """Whether a question waits for the verdict on earlier ones; see `Authorizer.released`."""
    return question.attempt is not None and question.attempt.is_held


def is_refused(question: Question) -> bool:
    """Whether the verdict on earlier questions was a penalty, so that this one is refused."""
    return question.attempt is not None and question.attempt.is_refused


def _refuse(question: Question, cause: Cause, status: int | None = None, headers: Headers = ()) -> Decision:
    """The refusal of the request that `question` is about."""
    credentials = question.credentials
    username = credentials.username if credentials is not None else None
    return refuse(question.request, cause, status, headers, question.realm, username)


def malformed(error: ParseError) -> Decision:
    """The decision on bytes that are no SIP request: a 400 if a reply can be addressed."""
    if error.request is not None:
        return refuse(error.request, Cause.MALFORMED_REQUEST)
    ruling = RULINGS[Cause.MALFORMED_REQUEST]
    return Decision(ruling.return_code, Cause.MALFORMED_REQUEST, ruling.status)
