"""The three functions as decisions, without I/O.

Each begins with a request and says at once what to do, or what DISC must be asked::

    request ──► www_authorize ─┬─► Decision                                  ACK, 400
                               └─► Question ──► DISC ──► Answer ──► conclude ──► Decision
                                                  └────► nothing ──► fail ─────► Decision

The return codes are what a configuration script of OpenSER sees: 1 let through; 0 malformed; below 0
refused, for the reasons that each function lists.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

from auth_diameter._core import (
    Answer,
    Challenge,
    ConfigError,
    Credentials,
    ParseError,
    Penalties,
    Question,
    SipRequest,
    authentication,
    group_check,
    quote,
)
from auth_diameter.client.nonce_watch import NonceWatch
from auth_diameter.client.pseudovars import check_text, compile_template
from auth_diameter.config import Config
from auth_diameter.decision import PROXY, REASONS, RULINGS, UAS, Cause, Decision, Headers, refuse

__all__ = ["Authorizer", "Request", "malformed"]

Request: TypeAlias = SipRequest | bytes | bytearray | memoryview

_NONE: list[Question] = []  # no question, the usual answer

_MALFORMED: dict[str | None, Cause] = {"qop": Cause.MALFORMED_QOP, "response": Cause.MALFORMED_RESPONSE}

# The causes of nearly all decisions, as names of this module: in Python 3.11 a member costs a search.
_AUTHORIZED = Cause.AUTHORIZED
_CHALLENGED = Cause.CHALLENGED

_SUCCESS = 2001  # DIAMETER_SUCCESS: RFC 6733, 7.1.2
_AUTHENTICATION_REJECTED = 4001  # RFC 6733, 7.1.4: the dialect's "ask again, with this challenge"
_AUTHORIZATION_REJECTED = 5003  # RFC 6733, 7.1.5
_SERVICE_AUTHENTICATION = ord("6")
_SERVICE_GROUP_CHECK = ord("8")
_CALLING_STATION_ID = 31  # RFC 7155, 4.2.6; in Failed-AVP: it is the source that is refused

# Where a group check takes its user from, and the return code where that is missing.
_PARTS: dict[str, tuple[Literal["request", "from", "to"], int]] = {
    "request-uri": ("request", -5),
    "to": ("to", -2),
    "from": ("from", -3),
}


class Authorizer:
    """The decisions for one `Config`; any thread may use it.

    It remembers nothing but who guesses passwords, see `Penalties`; `now` are seconds, monotonic. A question
    that `is_held` is not to be asked before it is `released`; each is ended once, by `conclude` or `fail`.
    """

    def __init__(self, config: Config) -> None:
        self.use_domain = config.use_domain
        self._max_size = config.max_sip_message
        self._max_headers = config.max_sip_headers
        self._max_question = config.max_diameter_message
        self._tell_source = config.tell_source
        self._penalties = Penalties() if config.penalty else None
        self._watch = NonceWatch() if len(config.addresses()) > 1 else None
        self._unavailable_status = config.unavailable_status
        self._unavailable_headers: Headers = ()
        if config.retry_after:
            self._unavailable_headers = (("Retry-After", str(config.retry_after)),)

    def read(self, data: bytes | bytearray | memoryview, source: Sequence[Any] | None = None) -> SipRequest:
        """A request within the configured limits. :raises ParseError: see `SipRequest`."""
        return SipRequest(data, source, max_size=self._max_size, max_headers=self._max_headers)

    # ------------------------------------------------------------------ the functions

    def www_authorize(self, request: Request, realm: str, now: float) -> Question | Decision:
        """``diameter_www_authorize(realm)``: Authorization, challenged with 401.

        Return codes: 1 right credentials, or ACK or CANCEL; 0 malformed, 400 was made; -5 refused.

        :raises ConfigError: an unknown pseudo-variable in `realm`.
        """
        return self._authorize(request, realm, False, now)

    def proxy_authorize(self, request: Request, realm: str, now: float) -> Question | Decision:
        """``diameter_proxy_authorize(realm)``: Proxy-Authorization, challenged with 407; else the same."""
        return self._authorize(request, realm, True, now)

    def _authorize(self, request: Request, realm: str, proxy: bool, now: float) -> Question | Decision:
        expand = compile_template(realm)
        if type(request) is not SipRequest:
            try:
                request = self.read(request)
            except ParseError as error:
                return malformed(error)
        if request.is_ack_or_cancel:
            return Decision(1, Cause.BYPASSED)
        # The user is that of To for a REGISTER, else that of From.
        host = request.to_host if request.is_register else request.from_host
        used = expand(request)
        if used == "":
            used = request.from_host if proxy else host
        # From may be a URI without a host, such as tel: or urn:, where the realm does not come from it; To of
        # a REGISTER is a SIP or SIPS URI (RFC 3261, 10.2), and so has one.
        if not used or (not host and (request.is_register or request.from_uri is None)):
            return refuse(request, Cause.NO_IDENTITY)
        try:
            credentials = request.credentials(used, proxy)
        except ParseError as error:
            cause = _MALFORMED.get(error.parameter, Cause.MALFORMED_CREDENTIALS)
            return refuse(request, cause, realm=used)
        question = authentication(request, used, credentials, proxy, self._max_question, self._tell_source)
        if question is None:
            return refuse(request, Cause.TOO_LARGE)
        if credentials is not None and self._penalties is not None:
            attempt = self._penalties.begin(credentials, used, request.source, now, question)
            if attempt is not None:
                if attempt.is_refused:
                    return self._penalized(question)
                question.attempt = attempt
        return question

    def is_user_in(self, request: Request, who: str, group: str) -> Question | Decision:
        """``diameter_is_user_in(who, group)``: never a SIP reply.

        :param who: ``Request-URI``, ``To``, ``From`` or ``Credentials``, in any case.
        :param group: the group's name.

        Return codes: 1 a member; -1 not a member, or DISC failed; -2 To, -3 From missing or
        malformed; -4 no authorized credentials; -5 the URI names no user.

        :raises ConfigError: another `who`, or a group without a name.
        """
        check_text("who", who)
        check_text("group", group)
        source = who.lower()
        if source not in _PARTS and source != "credentials":
            raise ConfigError(f"who {who!r}: expected Request-URI, To, From or Credentials")
        if not group:
            raise ConfigError("group: expected a name")
        if type(request) is not SipRequest:
            try:
                request = self.read(request)
            except ParseError as error:
                code = {"To": -2, "From": -3}.get(error.header or "", -5)
                return Decision(code, Cause.MALFORMED_REQUEST)
        if source == "credentials":
            credentials, username = request.authorized, request.authorized_username
            if credentials is None or username is None:
                return _decide_group(Cause.NOT_AUTHORIZED)
            user = username.partition("@")[0]
            domain: str | None = credentials.realm
        else:
            part, code = _PARTS[source]
            uri = request.uri(part)
            if uri is None:
                return Decision(code, Cause.NO_IDENTITY)
            user, domain = uri.account or "", uri.host
        realm = request.request_host
        if not user or realm is None or (self.use_domain and not domain):
            return _decide_group(Cause.NO_IDENTITY)
        name = f"{user}@{domain}" if self.use_domain else user
        question = group_check(request, realm, name, group, self._max_question)
        return question if question is not None else _decide_group(Cause.TOO_LARGE)

    # ------------------------------------------------------------------ their ends

    def conclude(self, question: Question, answer: Answer, now: float) -> Decision:
        """The decision that DISC's answer leads to; right credentials are marked on the request."""
        username = question.let_in(answer)
        if username is None:
            return self._conclude_refusal(question, answer, now)
        realm = question.realm
        if self._watch is not None:
            self._watch.authorized(question, now)
        attempt = question.attempt
        if attempt is not None and self._penalties is not None:
            question.attempt = None
            self._penalties.right(attempt, now)
        headers = _authentication_info(question, answer) if answer.response_auth or answer.nextnonce else ()
        return Decision(1, _AUTHORIZED, None, None, username, realm, headers)

    def _conclude_refusal(self, question: Question, answer: Answer, now: float) -> Decision:
        if question.is_group_check:
            return self._conclude_group(question, answer)
        if question.attempt is not None:
            self._end_attempt(question, _is_guess(answer), now)
        credentials = question.credentials
        username = credentials.username if credentials is not None else None
        realm = question.realm
        request = question.request
        code = answer.result_code
        if answer.fault is not None or (code == _SUCCESS and credentials is not None):
            return refuse(request, Cause.DISC_UNUSABLE, None, (), realm, username)
        if code == _AUTHENTICATION_REJECTED and answer.service_type == _SERVICE_AUTHENTICATION:
            if not answer.challenges:
                return refuse(request, Cause.DISC_UNUSABLE, None, (), realm, username)
            if self._watch is not None:
                self._watch.challenged(question, answer.challenges, now)
            cause = _CHALLENGED
            if credentials is not None and not any(map(_is_stale, answer.challenges)):
                cause = Cause.RECHALLENGED
            role = PROXY if question.proxy else UAS
            # Each in a header field of its own, in the order of preference: RFC 8760, 2.4.
            headers = tuple(
                [(role.challenge, value.decode("utf-8", "surrogateescape")) for value in answer.challenges]
            )
            return refuse(request, cause, role.status, headers, realm, username)
        if code in (_AUTHORIZATION_REJECTED, _AUTHENTICATION_REJECTED):
            if credentials is not None and answer.failed_avp == _CALLING_STATION_ID:
                return self._penalized(question)
            cause = Cause.REALM_NOT_SERVED if code == _AUTHORIZATION_REJECTED else Cause.FORBIDDEN
            if credentials is not None:
                cause = _why_forbidden(credentials)
            return refuse(request, cause, None, (), realm, username)
        return refuse(request, Cause.DISC_REFUSED, None, (), realm, username)

    def _end_attempt(self, question: Question, wrong: bool, now: float) -> None:
        """The credentials are judged, or nobody will judge them: what they count for who sent them."""
        attempt = question.attempt
        if attempt is not None and self._penalties is not None:
            question.attempt = None
            if wrong:
                self._penalties.wrong(attempt, now)
            else:
                self._penalties.neither(attempt, now)

    def released(self) -> list[Question]:
        """The questions that were held and are no longer, each once; to be looked at when one has ended.

        One that `is_refused` is not to be asked, but ended with the Cause PENALIZED.
        """
        if self._penalties is None or not self._penalties.released:
            return _NONE
        found: list[Question] = []
        with contextlib.suppress(IndexError):  # another thread may take some of them
            while True:
                found.append(self._penalties.released.popleft()[1])
        return found

    def after_fork(self) -> None:
        """In the child: what its parent has under way will not end here."""
        if self._penalties is not None:
            self._penalties = Penalties()

    def _penalized(self, question: Question) -> Decision:
        credentials = question.credentials
        username = credentials.username if credentials is not None else None
        return refuse(question.request, Cause.PENALIZED, None, (), question.realm, username)

    def _conclude_group(self, question: Question, answer: Answer) -> Decision:
        if answer.fault is not None:
            return _decide_group(Cause.DISC_UNUSABLE, question)
        if answer.result_code == _SUCCESS:
            if answer.service_type not in (0, _SERVICE_GROUP_CHECK):
                return _decide_group(Cause.DISC_UNUSABLE, question)
            return _decide_group(Cause.MEMBER, question)
        if answer.result_code in (_AUTHENTICATION_REJECTED, _AUTHORIZATION_REJECTED):
            return _decide_group(Cause.NOT_MEMBER, question)
        return _decide_group(Cause.DISC_REFUSED, question)

    def fail(self, question: Question, cause: Cause, now: float) -> Decision:
        """The decision where DISC gave no answer: 503 with Retry-After, or -1 for a group check.

        :param cause: why; PENALIZED for a question that was held and `is_refused`: 403.
        """
        if question.is_group_check:
            return _decide_group(cause, question)
        self._end_attempt(question, False, now)
        if cause is Cause.PENALIZED:
            return self._penalized(question)
        credentials: Credentials | None = question.credentials
        username = credentials.username if credentials is not None else None
        return self._unavailable(question.request, cause, question.realm, username)

    def overloaded(self, request: SipRequest) -> Decision:
        """The decision on a request that DISC is not even asked about, because it has too much to do."""
        return self._unavailable(request, Cause.OVERLOADED)

    def _unavailable(
        self, request: SipRequest, cause: Cause, realm: str | None = None, username: str | None = None
    ) -> Decision:
        status = self._unavailable_status
        headers = self._unavailable_headers if status == 503 else ()
        return refuse(request, cause, status, headers, realm, username)


def _authentication_info(question: Question, answer: Answer) -> Headers:
    """What the server proves in its turn, and the nonce to come (RFC 7616, 3.5)."""
    credentials = question.credentials
    assert credentials is not None
    values = []
    if answer.nextnonce is not None:
        values.append(f'nextnonce="{answer.nextnonce.decode("ascii")}"')
    if answer.response_auth is not None:
        cnonce = credentials.cnonce
        if credentials.qop is not None and cnonce is not None:
            # It was the client's choice; what cannot be repeated in one line is left out with the proof.
            if not cnonce.isprintable():
                return ()
            values += [f"qop={credentials.qop}", f"cnonce={quote(cnonce)}", f"nc={credentials.nc}"]
        values.append(f'rspauth="{answer.response_auth.decode("ascii")}"')
    return (((PROXY if question.proxy else UAS).info, ", ".join(values)),)


def _why_forbidden(credentials: Credentials) -> Cause:
    """As far as it can be told from here; an unknown user and a wrong password are one refusal."""
    if credentials.canonical_algorithm is None:
        return Cause.UNKNOWN_ALGORITHM
    return Cause.UNKNOWN_QOP if credentials.protection == "" else Cause.FORBIDDEN


def is_held(question: Question) -> bool:
    """Whether it waits for the verdict on others before it; see `Authorizer.released`."""
    return question.attempt is not None and question.attempt.is_held


def is_refused(question: Question) -> bool:
    """Whether that verdict was a penalty."""
    return question.attempt is not None and question.attempt.is_refused


def _is_guess(answer: Answer) -> bool:
    """Whether DISC says that the digest was wrong: it refuses it, or wants another without calling it stale.

    Not where it refuses something else about the credentials, which it tells by Failed-AVP.
    """
    if answer.fault is not None or answer.failed_avp:
        return False
    code = answer.result_code
    if code == _AUTHENTICATION_REJECTED and answer.service_type == _SERVICE_AUTHENTICATION:
        return bool(answer.challenges) and not any(map(_is_stale, answer.challenges))
    return code in (_AUTHORIZATION_REJECTED, _AUTHENTICATION_REJECTED)


def _is_stale(challenge: bytes) -> bool:
    """Whether the digest was right and only its nonce too old (RFC 7616, 3.3)."""
    try:
        return Challenge.parse(challenge).stale
    except ParseError:
        return False


def _decide_group(cause: Cause, question: Question | None = None) -> Decision:
    """The end of a group check, which never replies."""
    return Decision(RULINGS[cause].group_code, cause, username=question and question.user_name)


def malformed(error: ParseError) -> Decision:
    """The decision on bytes that are no SIP request: 400 where a reply can be addressed."""
    reply = error.request.reply(400, REASONS[400]) if error.request is not None else b""
    return Decision(0, Cause.MALFORMED_REQUEST, 400, reply or None)
