"""The outcomes of the three functions: each `Cause`, with its status and return code.

The status goes to the SIP client. The return code goes to the routing script, as in OpenSER's module: 1 for a
request that is let through, 0 for a malformed one, below 0 for a refused one. Compiled code has the same
tables, see rulings.pxd.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

Headers: TypeAlias = Sequence[tuple[str, str]]


class Cause(enum.Enum):
    """The reason of a decision; its value is the text for logs and for `check`."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    AUTHORIZED = "DISC accepted the credentials"
    MEMBER = "DISC says that the user is in the group"
    BYPASSED = "ACK and CANCEL are never challenged"
    CHALLENGED = "DISC sent a challenge: there are no credentials for the realm, or their nonce is stale"
    RECHALLENGED = "DISC sent another challenge: the credentials are wrong, or their nonce is not DISC's"
    FORBIDDEN = "DISC refused the credentials: wrong password, unknown user, or algorithm or qop not offered"
    UNKNOWN_ALGORITHM = "DISC refused the credentials: their algorithm is not in RFC 7616"
    UNKNOWN_QOP = "DISC refused the credentials: their qop is neither auth nor auth-int"
    REALM_NOT_SERVED = "DISC has no subscribers in this realm"
    PENALIZED = "this user or source sent too many wrong credentials"
    NOT_MEMBER = "DISC says that the user is not in the group"
    NOT_AUTHORIZED = "no authorize function has accepted credentials of this request"
    MALFORMED_REQUEST = "the request breaks the grammar of SIP"
    MALFORMED_CREDENTIALS = "the Digest header for the realm breaks the grammar, and no other is valid"
    MALFORMED_QOP = "the credentials have a qop without nc or cnonce, or several qop"
    MALFORMED_RESPONSE = "the response in the credentials is not a digest of their algorithm"
    NO_IDENTITY = "From, To or the Request-URI is missing, or lacks the host or the user that is needed"
    TOO_LARGE = "the question to DISC would exceed max_diameter_message"
    DISC_REFUSED = "DISC answered with an error"
    DISC_UNUSABLE = "DISC's answer cannot be used"
    DISC_TIMEOUT = "DISC did not answer in time"
    DISC_LOST = "the connection to DISC broke before the answer came"
    DISC_UNREACHABLE = "no DISC can be reached"
    OVERLOADED = "DISC is overloaded: too many questions wait for it"
    UNASKED_SUCCESS = "the answer is a success, and no credentials were asked about"
    OTHER_SESSION = "the answer has the Session-Id of another question"
    OTHER_SCHEME = "the answer has another authentication scheme than Digest"
    UNFIT_HA1 = "the answer has an HA1 of a wrong length, or for another user or realm"
    SEVERAL_ITEMS = "the answer has several authentication items where one belongs"


class Ruling(NamedTuple):
    """The reply and the return codes that a `Cause` leads to.

    Attributes:
        status: status of the SIP reply; `CHALLENGE`: that of the `Role`; None: there is no reply.
        return_code: return code of ``diameter_www_authorize`` and ``diameter_proxy_authorize``.
        group_code: return code of ``diameter_is_user_in``, which never makes a reply.
    """

    status: int | None
    return_code: int
    group_code: int = -1


CHALLENGE: Final = 0  # stands for 401 or 407
UNAVAILABLE: Final = 503  # the default of `Config.unavailable_status`

_FORBIDDEN = Ruling(403, -5)
_MALFORMED = Ruling(400, 0)
_UNAVAILABLE = Ruling(UNAVAILABLE, -5)
_UNUSABLE = Ruling(500, -5)

RULINGS: Final = {
    Cause.AUTHORIZED: Ruling(None, 1),
    Cause.MEMBER: Ruling(None, 1, 1),
    Cause.BYPASSED: Ruling(None, 1),
    Cause.CHALLENGED: Ruling(CHALLENGE, -5),
    Cause.RECHALLENGED: Ruling(CHALLENGE, -5),
    Cause.FORBIDDEN: _FORBIDDEN,
    Cause.UNKNOWN_ALGORITHM: _FORBIDDEN,
    Cause.UNKNOWN_QOP: _FORBIDDEN,
    Cause.REALM_NOT_SERVED: _FORBIDDEN,
    Cause.PENALIZED: _FORBIDDEN,
    Cause.NOT_MEMBER: Ruling(None, -1),
    Cause.NOT_AUTHORIZED: Ruling(None, -4, -4),
    Cause.MALFORMED_REQUEST: Ruling(400, 0, -5),
    Cause.MALFORMED_CREDENTIALS: _MALFORMED,
    Cause.MALFORMED_QOP: _MALFORMED,
    Cause.MALFORMED_RESPONSE: _MALFORMED,
    Cause.NO_IDENTITY: Ruling(400, 0, -5),
    Cause.TOO_LARGE: Ruling(400, 0, -5),
    Cause.DISC_REFUSED: _UNUSABLE,
    Cause.DISC_UNUSABLE: _UNUSABLE,
    Cause.DISC_TIMEOUT: _UNAVAILABLE,
    Cause.DISC_LOST: _UNAVAILABLE,
    Cause.DISC_UNREACHABLE: _UNAVAILABLE,
    Cause.OVERLOADED: _UNAVAILABLE,
    Cause.UNASKED_SUCCESS: _UNUSABLE,
    Cause.OTHER_SESSION: _UNUSABLE,
    Cause.OTHER_SCHEME: _UNUSABLE,
    Cause.UNFIT_HA1: _UNUSABLE,
    Cause.SEVERAL_ITEMS: _UNUSABLE,
}

# Return code of a group check whose fault is in one of these header fields; otherwise it is `group_code`.
FIELD_CODES: Final = {"To": -2, "From": -3}

# RFC 3261, 21
REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    407: "Proxy Authentication Required",
    500: "Server Internal Error",
    503: "Service Unavailable",
    505: "Version Not Supported",
}


class Role(NamedTuple):
    """The role in which a SIP server authenticates: UAS or proxy (RFC 3261, 22.2 and 22.3).

    Attributes:
        status: status of a challenge.
        challenge: header field of a challenge.
        info: header field of the server's own proof (RFC 7616, 3.5).
    """

    status: int
    challenge: str
    info: str


UAS: Final = Role(401, "WWW-Authenticate", "Authentication-Info")
PROXY: Final = Role(407, "Proxy-Authenticate", "Proxy-Authentication-Info")
