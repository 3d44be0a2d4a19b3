"""The messages of a SIP user agent client that answers challenges: for the demo, the benchmark and tests."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from auth_diameter._core import Challenge, ParseError, digest_response, ha1, quote, user_hash


def authorization(
    challenge: Challenge,
    username: str,
    password: str,
    method: str,
    uri: str,
    *,
    nc: int = 1,
    cnonce: str | None = None,
    body: bytes = b"",
    qop: str | None = "auth",
    userhash: bool = False,
) -> str:
    """The value of an Authorization header field that answers `challenge` (RFC 7616, 3.4).

    Args:
        challenge: the challenge.
        username: the username.
        password: the password.
        method: the method of the request.
        uri: the digest URI, mostly the Request-URI.
        nc: nonce count: the number of requests with this nonce, this one included.
        cnonce: the client nonce; None: a random one.
        body: the body of the request, which is hashed for auth-int.
        qop: the qop to choose if it is offered, else the first one offered; None: no qop, as in RFC 2069.
        userhash: whether the username is sent hashed (RFC 7616, 3.4.4).
    """
    shown = user_hash(username, challenge.realm, challenge.algorithm) if userhash else username
    fields = [
        f"username={quote(shown)}",
        f"realm={quote(challenge.realm)}",
        f"nonce={quote(challenge.nonce)}",
        f"uri={quote(uri)}",
        f"algorithm={challenge.algorithm}",
    ]
    if challenge.opaque is not None:
        fields.append(f"opaque={quote(challenge.opaque)}")
    if userhash:
        fields.append("userhash=true")
    protection = _protection(challenge, qop, nc, cnonce)
    if protection:
        fields += [
            f"qop={protection['qop']}",
            f"nc={protection['nc']}",
            f"cnonce={quote(protection['cnonce'])}",
        ]
    hashed = ha1(username, challenge.realm, password, challenge.algorithm)
    response = digest_response(
        hashed, method, uri, challenge.nonce, algorithm=challenge.algorithm, body=body, **protection
    )
    fields.append(f'response="{response}"')
    return "Digest " + ", ".join(fields)


def _protection(challenge: Challenge, qop: str | None, nc: int, cnonce: str | None) -> dict[str, str]:
    """The parameters of the digest that only a qop has; empty without one, as in RFC 2069."""
    if not challenge.qop or qop is None:
        return {}
    return {
        "qop": qop if qop in challenge.qop else challenge.qop[0],
        "nc": f"{nc:08x}",
        "cnonce": cnonce if cnonce is not None else secrets.token_hex(8),
    }


@dataclass(slots=True)
class Reply:
    """A SIP response, as far as a digest client needs it.

    Attributes:
        status: the status code.
        reason: the reason phrase.
        headers: name and value of each header field, in order.
    """

    status: int
    reason: str
    headers: list[tuple[str, str]] = field(repr=False)  # no challenge in a repr

    def header(self, name: str) -> str | None:
        """The value of the first header field of that name, in any case; None: there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def challenges(self) -> list[Challenge]:
        """The Digest challenges of a 401 or 407, in the order of preference (RFC 8760, 2.3)."""
        names = ("www-authenticate", "proxy-authenticate")
        return [Challenge.parse(value) for name, value in self.headers if name.lower() in names]

    def challenge(self) -> Challenge | None:
        """The first of `challenges`; None: there is none."""
        return next(iter(self.challenges()), None)


def parse_reply(data: bytes) -> Reply:
    """Parses a SIP response of this package.

    Raises:
        ParseError: `data` is no SIP response.
    """
    head, _, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    version, _, rest = first.partition(" ")
    code, _, reason = rest.partition(" ")
    if version != "SIP/2.0" or not code.isdigit():
        raise ParseError("not a SIP response", 0)
    pairs = (line.partition(":") for line in lines)
    return Reply(int(code), reason, [(name.strip(), value.strip()) for name, _, value in pairs])


def make_request(
    method: str,
    uri: str,
    account: str,
    *,
    to: str | None = None,
    local: tuple[str, int] = ("127.0.0.1", 5060),
    call_id: str | None = None,
    cseq: int = 1,
    headers: Sequence[tuple[str, str]] = (),
) -> bytes:
    """Makes a SIP request as a telephone sends it.

    Args:
        method: the method.
        uri: the Request-URI.
        account: ``user@domain`` of From.
        to: the URI of To; None: the account.
        local: (host, port) of the telephone.
        call_id: the Call-ID; None: a random one.
        cseq: the CSeq number.
        headers: further header fields, as (name, value).
    """
    host = f"[{local[0]}]" if ":" in local[0] else local[0]
    token = secrets.token_hex(6)
    lines = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{local[1]};branch=z9hG4bK-{token};rport",
        "Max-Forwards: 70",
        f"From: <sip:{account}>;tag={token}",
        f"To: <{to if to is not None else 'sip:' + account}>",
        f"Call-ID: {call_id if call_id is not None else token + '@' + host}",
        f"CSeq: {cseq} {method}",
        f"Contact: <sip:{account.partition('@')[0]}@{host}:{local[1]}>",
        *(f"{name}: {value}" for name, value in headers),
        "Content-Length: 0",
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"
