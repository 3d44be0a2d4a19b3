"""The group check ``diameter_is_user_in(who, group)``: whose membership it asks, and its return codes.

``who`` says where the user and the domain come from; case is ignored:

===========  ===================================================================================
Request-URI  the Request-URI
To           the URI of To
From         the URI of From
Credentials  username and realm of credentials that were found right on this request before
===========  ===================================================================================

The return codes are those of OpenSER's module: 1 the user is a member; -1 the user is not a member, or DISC
failed; -2 To, -3 From is missing or malformed; -4 the request has no authorized credentials; -5 the URI names
no user, or the request is malformed elsewhere. `decision` has them in its tables. There is no SIP reply.
"""

from __future__ import annotations

from typing import Literal

from auth_diameter._core import ConfigError, ParseError, Question, SipRequest, authorized_as, group_check
from auth_diameter.client.pseudovars import check_text
from auth_diameter.decision import FIELD_CODES, RULINGS, Cause, Decision

# For each URI: what `SipRequest.uri` calls it, and its header field, if it is in one.
_URIS: dict[str, tuple[Literal["request", "from", "to"], str | None]] = {
    "request-uri": ("request", None),
    "to": ("to", "To"),
    "from": ("from", "From"),
}
_SOURCES = frozenset({*_URIS, "credentials"})


def source_of(who: str, group: str) -> str:
    """Checks the arguments of a routing script.

    Returns:
        `who` in lower case, for `ask`.

    Raises:
        ConfigError: `who` is none of the four sources, or `group` is empty.
    """
    source = who.lower() if isinstance(who, str) else ""
    if source not in _SOURCES:
        check_text("who", who)
        raise ConfigError(f"who {who!r}: expected Request-URI, To, From or Credentials")
    check_text("group", group)
    if not group:
        raise ConfigError("group: expected a name")
    return source


def ask(request: SipRequest, source: str, group: str, *, use_domain: bool) -> Question | Decision:
    """Makes the question whether a user is in a group.

    Args:
        request: the request.
        source: where the user comes from, see `source_of`.
        group: the group's name.
        use_domain: whether the user is named as ``user@domain`` instead of ``user``.

    Returns:
        The Question; or the Decision, if the request names no user.
    """
    if source == "credentials":
        credentials, username = authorized_as(request)
        if credentials is None or username is None:
            return decide(Cause.NOT_AUTHORIZED)
        user = username.partition("@")[0]
        domain: str | None = credentials.realm
    else:
        which, field = _URIS[source]
        uri = request.uri(which)
        if uri is None:
            return decide(Cause.NO_IDENTITY, field=field)
        user, domain = uri.account or "", uri.host
    realm = request.request_host
    if not user or realm is None or (use_domain and not domain):
        return decide(Cause.NO_IDENTITY)
    return group_check(request, realm, f"{user}@{domain}" if use_domain else user, group)


def malformed(error: ParseError) -> Decision:
    """The decision on bytes that are no SIP request."""
    return decide(Cause.MALFORMED_REQUEST, field=error.header)


def decide(cause: Cause, question: Question | None = None, field: str | None = None) -> Decision:
    """The decision of a group check.

    Args:
        cause: the reason.
        question: the question, if it was made.
        field: name of the header field that is missing or malformed; None: the fault is elsewhere.
    """
    code = RULINGS[cause].group_code
    if field is not None:
        code = FIELD_CODES.get(field, code)
    return Decision(code, cause, username=question and question.user_name)
