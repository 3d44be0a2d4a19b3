"""Pseudo-variables of OpenSER in a realm, such as ``$fd``: compiled once, expanded for each request.

The variables are those whose value depends on the request and its source alone. ``$$`` is a dollar sign, and
``$(fd)`` is the same as ``$fd``. A value that the request lacks is the empty string. The domains of From and
To are the exception: a template that needs a missing one expands to None, because the request cannot be
judged.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from operator import attrgetter
from typing import Literal

from auth_diameter._core import ConfigError, Credentials, ParseError, SipRequest

Expand = Callable[[SipRequest], str | None]


def _part(which: Literal["request", "from", "to"], what: str, request: SipRequest) -> str | None:
    uri = request.uri(which)
    if uri is None:
        return None if what == "host" else ""
    return getattr(uri, what) or ""


def _port(request: SipRequest) -> str:
    uri = request.uri("request")
    if uri is None:
        return ""
    return str(uri.port or (5061 if uri.scheme == "sips" else 5060))  # RFC 3261, 19.1.2


def _header(name: str, request: SipRequest) -> str:
    return request.header(name) or ""


def _source(index: int, request: SipRequest) -> str:
    return str(request.source[index]) if request.source is not None else ""


def _first_credentials(request: SipRequest) -> Credentials | None:
    for name in ("Authorization", "Proxy-Authorization"):
        for value in request.headers(name):
            try:
                return Credentials.parse(value)
            except ParseError:
                continue
    return None


def _digest(what: Callable[[Credentials], str | None], request: SipRequest) -> str:
    found = _first_credentials(request)
    return (what(found) or "") if found is not None else ""


_VARIABLES: dict[str, Expand] = {
    "fd": attrgetter("from_host"),
    "fu": lambda request: request.from_uri or "",
    "fU": partial(_part, "from", "user"),
    "ft": lambda request: request.tag("from") or "",
    "td": attrgetter("to_host"),
    "tu": lambda request: request.to_uri or "",
    "tU": partial(_part, "to", "user"),
    "tt": lambda request: request.tag("to") or "",
    "rd": lambda request: request.request_host or "",
    "ru": lambda request: request.request_uri or "",
    "rU": partial(_part, "request", "user"),
    "rm": attrgetter("method"),
    "rp": _port,
    "rz": partial(_part, "request", "scheme"),
    "rv": lambda request: "SIP/2.0",
    "od": lambda request: request.request_host or "",
    "ou": lambda request: request.request_uri or "",
    "oU": partial(_part, "request", "user"),
    "ci": attrgetter("call_id"),
    "cs": lambda request: str(request.cseq),
    "ct": partial(_header, "Contact"),
    "cT": partial(_header, "Content-Type"),
    "cl": partial(_header, "Content-Length"),
    "bs": lambda request: str(len(request.body)),
    "rb": lambda request: request.body.decode("utf-8", "surrogateescape"),
    "ml": lambda request: str(request.data_size),
    "si": partial(_source, 0),
    "sp": partial(_source, 1),
    "ua": partial(_header, "User-Agent"),
    "rt": partial(_header, "Refer-To"),
    "di": partial(_header, "Diversion"),
    "re": partial(_header, "Remote-Party-ID"),
    "ai": partial(_header, "P-Asserted-Identity"),
    "pu": partial(_header, "P-Preferred-Identity"),
    "au": partial(_digest, lambda c: c.username.partition("@")[0]),
    "aU": partial(_digest, attrgetter("username")),
    "ad": partial(_digest, lambda c: c.username.partition("@")[2]),
    "ar": partial(_digest, attrgetter("realm")),
    "adu": partial(_digest, attrgetter("uri")),
    "aa": partial(_digest, attrgetter("algorithm")),
}

_TOKEN = re.compile(
    r"\$(?:(?P<dollar>\$)"
    r"|\(hdr\((?P<header_paren>[^()$\s]+)\)\)"
    r"|hdr\((?P<header>[^()$\s]+)\)"
    r"|\((?P<paren>\w+)\)"
    r"|(?P<name>[A-Za-z]+))"
)


def _lookup(text: str, name: str, position: int) -> tuple[Expand, int]:
    """Finds the longest variable that `name` begins with.

    Returns:
        The variable, and the length of its name in characters.
    """
    for length in (3, 2):
        known = _VARIABLES.get(name[:length])
        if known is not None and len(name) >= length:
            return known, length
    raise ConfigError(
        f"realm {text!r}: unknown pseudo-variable ${name} at character {position}; "
        "a dollar sign of its own is written $$"
    )


def check_text(name: str, text: object) -> None:
    """Checks that a value is text that UTF-8 can hold.

    Args:
        name: what the value is, for the message.
        text: the value.

    Raises:
        ConfigError: it is no str, or UTF-8 cannot hold it.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{name}: expected text, not {text!r}")
    if text.isascii():
        return
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise ConfigError(f"{name} {text!r}: no UTF-8 at character {error.start}") from None


@lru_cache(maxsize=1024)
def compile_template(text: str) -> Expand:
    """Compiles `text` to a function that expands it for a request.

    Returns:
        The function. Its result is None when the request lacks a domain of From or To that the text needs.

    Raises:
        ConfigError: `text` has an unknown pseudo-variable, or a lone dollar sign; the message names the
            place.
    """
    check_text("realm", text)
    parts: list[str | Expand] = []
    at = 0
    while True:
        dollar = text.find("$", at)
        if dollar < 0:
            parts.append(text[at:])
            break
        parts.append(text[at:dollar])
        match = _TOKEN.match(text, dollar)
        if match is None:
            raise ConfigError(f"realm {text!r}: no pseudo-variable after $ at character {dollar}")
        at = match.end()
        if match["dollar"]:
            parts.append("$")
        elif name := match["header"] or match["header_paren"]:
            parts.append(partial(_header, name))
        elif match["paren"]:
            known, length = _lookup(text, match["paren"], dollar)
            if length != len(match["paren"]):
                raise ConfigError(f"realm {text!r}: unknown pseudo-variable $({match['paren']})")
            parts.append(known)
        else:
            known, length = _lookup(text, match["name"], dollar)
            parts.append(known)
            at = dollar + 1 + length
    return _join([part for part in parts if part != ""])


def _join(parts: list[str | Expand]) -> Expand:
    if all(isinstance(part, str) for part in parts):
        constant = "".join(part for part in parts if isinstance(part, str))
        return lambda request: constant
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0]

    def expand(request: SipRequest) -> str | None:
        texts = [part if isinstance(part, str) else part(request) for part in parts]
        return None if None in texts else "".join(text for text in texts if text is not None)

    return expand
