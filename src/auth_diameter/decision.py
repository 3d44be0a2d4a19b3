"""The decisions of the three functions, and how a refusal is made.

Each `Cause` with its status and return code is in `_core/auth/causes.py`.
"""

from __future__ import annotations

from auth_diameter._core import (
    FIELD_CODES,
    PROXY,
    REASONS,
    RULINGS,
    UAS,
    UNAVAILABLE,
    Cause,
    Decision,
    Headers,
    Role,
    Ruling,
    SipRequest,
)

__all__ = [
    "FIELD_CODES",
    "PROXY",
    "REASONS",
    "RULINGS",
    "UAS",
    "UNAVAILABLE",
    "Cause",
    "Decision",
    "Headers",
    "Role",
    "Ruling",
    "refuse",
    "retry_after",
]


def retry_after(seconds: int) -> Headers:
    """The Retry-After header field of a 503 (RFC 3261, 20.33); none for 0 seconds."""
    return (("Retry-After", str(seconds)),) if seconds else ()


def refuse(
    request: SipRequest,
    cause: Cause,
    status: int | None = None,
    headers: Headers = (),
    realm: str | None = None,
    username: str | None = None,
) -> Decision:
    """Makes a refusal with its complete reply.

    Args:
        request: the request.
        cause: why it is refused.
        status: status of the reply; None: that of `cause`. To be given if `cause` stands for several: 401 or
            407, 500 or 503.
        headers: header fields of the reply, as (name, value).
        realm: the realm, for the Decision.
        username: the user, for the Decision.
    """
    ruling = RULINGS[cause]
    if status is None:
        status = ruling.status
    assert status
    reply = request.reply(status, REASONS[status], headers)
    return Decision(ruling.return_code, cause, status, reply or None, username, realm, headers)
