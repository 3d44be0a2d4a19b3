"""The grammars once more, slow and plain, for tests to compare the compiled parsers with.

Each function reads bytes the way its RFC writes the rule, with regular expressions and slices, and raises
RefusedError for what the grammar has not. Where the package takes more than the RFC, on purpose, a comment
says so.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple

TOKEN_CHARS = rb"A-Za-z0-9\-.!%*_+`'~"  # RFC 3261, 25.1
TOKEN = rb"[%s]+" % TOKEN_CHARS
LWS = rb"(?:\r\n[ \t]|[ \t])*"  # that, too, where it may be empty; \r\n goes on in the next line
# Any byte above 0x7f, though RFC 3261 wants them to be UTF-8.
QUOTED = rb'"(?:[^\x00-\x08\x0a-\x1f\x7f"\\]|\r\n[ \t]|\\[\x00-\x09\x0b\x0c\x0e-\x7f])*"'
ESCAPED = rb"%[0-9A-Fa-f]{2}"


class RefusedError(Exception):
    """The grammar does not have it."""


def text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


# ---------------------------------------------------------------------- Digest: RFC 7616, 3.4

KNOWN = {
    "username", "username*", "realm", "nonce", "uri", "response", "algorithm", "cnonce", "nc", "qop",
    "opaque", "userhash", "stale", "domain", "charset",
}  # fmt: skip
# RFC 8187, 3.2.1. The language may be anything: nobody reads it.
EXT_VALUE = rb"(?i:UTF-8)'[^']*'(?:%s|[A-Za-z0-9!#$&+\-.^_`|~])*" % ESCAPED
PARAM = re.compile(
    rb"(?P<name>[%s]*?(?P<star>\*)|[%s]+)%s=%s(?P<value>%s|(?(star)[%s#$&^|]+|[%s]+))"
    % (TOKEN_CHARS, TOKEN_CHARS, LWS, LWS, QUOTED, TOKEN_CHARS, TOKEN_CHARS)
)


def unquoted(value: bytes) -> bytes:
    """The text of a quoted string; a fold, with all white space behind it, is one space (RFC 3261, 7.3.1)."""
    if not value.startswith(b'"'):
        return value
    return re.sub(
        rb"\\(.)|\r\n[ \t\r\n]*",
        lambda found: found[1] if found[1] is not None else b" ",
        value[1:-1],
        flags=re.DOTALL,
    )


def credentials(value: bytes) -> list[tuple[str, str]]:
    """The parameters in order, names in lower case."""
    scheme = re.match(LWS + rb"(?i:Digest)(?=[ \t\r]|\Z)", value)
    if scheme is None:
        raise RefusedError
    at = scheme.end()
    raw: dict[str, bytes] = {}
    pairs = []
    first = True
    while True:
        at = re.compile(LWS).match(value, at).end()
        if at == len(value):
            break
        # Empty elements of a list are passed over (RFC 9110, 5.6.1.2); before the first there is no comma.
        if value[at : at + 1] == b",":
            at += 1
            first = True
            continue
        param = PARAM.match(value, at) if first else None
        if param is None:
            raise RefusedError
        at = param.end()
        first = False
        name = param["name"].decode().lower()
        if name in raw or len(inner(param["value"])) > 1024:
            raise RefusedError
        raw[name] = inner(param["value"])
        pairs.append((name, text(unquoted(param["value"]))))
    if len(raw.keys() - KNOWN) > 16:
        raise RefusedError
    if not raw.keys() >= {"realm", "nonce", "uri", "response"} or ("username" in raw) == ("username*" in raw):
        raise RefusedError
    algorithm = raw.get("algorithm", b"md5").lower().removesuffix(b"-sess")
    digits = {b"md5": b"32", b"sha-256": b"64", b"sha-512-256": b"64"}.get(algorithm, b"32}|[0-9A-Fa-f]{64")
    if raw.get("qop") == b"":
        del raw["qop"]  # it stands for none
    wanted = {
        "response": rb"[0-9A-Fa-f]{%s}" % digits,
        "nc": rb"[0-9A-Fa-f]{8}",
        "qop": TOKEN,
        "username*": EXT_VALUE,
    }
    for name, rule in wanted.items():
        if name in raw and not re.fullmatch(rule, raw[name], re.DOTALL):
            raise RefusedError
    if "qop" in raw and not raw.keys() >= {"nc", "cnonce"}:
        raise RefusedError
    return pairs


def inner(value: bytes) -> bytes:
    """What stands between the quotes, as it stands there."""
    return value[1:-1] if value.startswith(b'"') else value


# ---------------------------------------------------------------------- URIs: RFC 3261, 25.1; RFC 3966


def any_of(characters: bytes) -> bytes:
    return rb"(?:[A-Za-z0-9\-_.!~*'()" + re.escape(characters) + rb"]|%s)" % ESCAPED


USER = any_of(b"&=+$,;?/#")  # "#" as it is, too
PARAM_CHAR = any_of(b"[]/:&+$")
HEADER_CHAR = any_of(b"[]/?:+$")
# A password may hold what a user may; "_" stands in host names of container networks, and of their form no
# more is asked than that they begin with a letter, a digit or "_".
SIP_URI = re.compile(
    rb"(?P<scheme>(?i:sips?)):(?:(?P<user>%(user)s+)(?::%(user)s*)?@)?"
    rb"(?P<host>\[[^\]]*\]|[A-Za-z0-9_][A-Za-z0-9\-._]*)(?::(?P<port>[0-9]+))?"
    rb"(?P<params>(?:;%(param)s+(?:=%(param)s+)?)*)"
    rb"(?:\?%(header)s+=%(header)s*(?:&%(header)s+=%(header)s*)*)?"
    % {b"user": USER, b"param": PARAM_CHAR, b"header": HEADER_CHAR},
    re.DOTALL,
)
TEL_URI = re.compile(
    rb"(?P<scheme>(?i:tel)):"
    rb"(?P<user>\+(?=[\-.()]*[0-9])[0-9\-.()]+|(?=[\-.()]*[0-9A-Fa-f*#])[0-9A-Fa-f*#\-.()]+)"
    rb"(?P<params>(?:;%(param)s+(?:=%(param)s+)?)*)"
    rb"(?:\?%(header)s+=%(header)s*(?:&%(header)s+=%(header)s*)*)?"
    % {b"param": PARAM_CHAR, b"header": HEADER_CHAR}
)
OTHER_URI = re.compile(rb"(?P<scheme>[A-Za-z][A-Za-z0-9+\-.]*):%s+" % any_of(b";/?:@&=+$,"))


class Uri(NamedTuple):
    scheme: str
    user: str | None
    host: str | None
    port: int | None
    parameters: tuple[tuple[str, str | None], ...]


def uri(value: bytes) -> Uri:
    if re.match(rb"(?i:sips?|tel):", value):
        found = SIP_URI.fullmatch(value) or TEL_URI.fullmatch(value)
    else:
        found = OTHER_URI.fullmatch(value)
    if found is None:
        raise RefusedError
    parts = found.groupdict()
    host, port = parts.get("host"), parts.get("port")
    if host is not None and host.startswith(b"["):
        ipv6(host[1:-1])
    if port is not None and not 0 < int(port) < 65536:
        raise RefusedError
    pairs = (item.partition("=") for item in text(parts.get("params") or b"").split(";")[1:])
    return Uri(
        text(parts["scheme"]).lower(),
        text(parts["user"]) if parts.get("user") else None,
        text(host) if host else None,
        int(port) if port else None,
        tuple((name, value if equal else None) for name, equal, value in pairs),
    )


def ipv6(address: bytes) -> None:
    """One ":::" stands for "::", which a mistake in RFC 3261's grammar asks for (RFC 5118, 4.10)."""
    words = text(address)
    if not words.startswith(":::"):
        words = words.replace(":::", "::", 1)
    try:
        if "%" in words or "/" in words:
            raise RefusedError
        IPv6Address(words)
    except AddressValueError:
        raise RefusedError from None


# ---------------------------------------------------------------------- Diameter: RFC 6733, 3 and 4.1


class Avp(NamedTuple):
    code: int
    flags: int
    vendor_id: int | None
    data: bytes


class Message(NamedTuple):
    flags: int
    command: int
    application_id: int
    hop_by_hop: int
    end_to_end: int
    avps: tuple[Avp, ...]


def number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def avps(data: bytes) -> tuple[Avp, ...]:
    found = []
    while data:
        if len(data) < 8:
            raise RefusedError
        code, flags, length = number(data[:4]), data[4], number(data[5:8])
        head = 12 if flags & 0x80 else 8
        padded = length + -length % 4
        if length < head or padded > len(data):
            raise RefusedError
        found.append(Avp(code, flags, number(data[8:12]) if flags & 0x80 else None, data[head:length]))
        data = data[padded:]
    return tuple(found)


def message(data: bytes) -> Message:
    if len(data) < 20 or data[0] != 1 or number(data[1:4]) != len(data) or len(data) % 4 or len(data) > 65536:
        raise RefusedError
    return Message(
        data[4],
        number(data[5:8]),
        number(data[8:12]),
        number(data[12:16]),
        number(data[16:20]),
        avps(data[20:]),
    )


def messages(data: bytes) -> list[bytes]:
    """What a stream holds, up to the end or the place where no message can begin."""
    found = []
    while len(data) >= 4 and data[0] == 1:
        length = number(data[1:4])
        if length < 20 or length % 4 or not length <= min(len(data), 65536):
            break
        found.append(data[:length])
        data = data[length:]
    return found
