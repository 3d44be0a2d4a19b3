"""Addresses as text: ``HOST:PORT`` parsed and shown."""

from __future__ import annotations

from collections.abc import Iterable

from auth_diameter._core import ConfigError


def show(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_address(text: str, default_port: int | None = None, name: str = "address") -> tuple[str, int]:
    """Parses ``HOST:PORT``, ``HOST``, ``[IPv6]:PORT`` or a bare IPv6 address to (host, port).

    Args:
        text: the address.
        default_port: port of a text without one; None: the text must have one. Port 0 is allowed, for
            listening.
        name: what the address is, for the message.

    Raises:
        ConfigError: `text` is none of these; the message starts with `name`.
    """
    host, port_text = text.strip(), ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ConfigError(f"{name} {text!r}: expected [IPv6]:PORT")
        port_text = rest[1:]
    elif host.count(":") == 1:
        host, _, port_text = host.partition(":")
    if not host or (not port_text and default_port is None):
        raise ConfigError(f"{name} {text!r}: expected HOST:PORT")
    if not port_text:
        assert default_port is not None
        return host, default_port
    if not port_text.isascii() or not port_text.isdigit() or int(port_text) > 65535:
        raise ConfigError(f"{name} {text!r}: the port is not a number up to 65535")
    return host, int(port_text)


def parse_peers(hosts: str, default_port: int) -> tuple[tuple[str, int], ...]:
    """Parses ``"a, b:3001"`` to ((a, default_port), (b, 3001)).

    Raises:
        ConfigError: see `parse_address`.
    """
    if not isinstance(hosts, str) or not hosts.strip():
        raise ConfigError(f"diameter_client_host: expected a host, not {hosts!r}")
    return tuple(parse_address(part, default_port, "diameter_client_host") for part in hosts.split(","))


def checked_peers(name: str, peers: object) -> tuple[tuple[str, int], ...]:
    """The value of a setting as a tuple of (host, port).

    Raises:
        ConfigError: it is no sequence of such pairs, or has none.
    """
    pairs = tuple(peers) if isinstance(peers, Iterable) and not isinstance(peers, str) else ()
    if not pairs:
        raise ConfigError(f"{name}: expected one (host, port) at least, not {peers!r}")
    for pair in pairs:
        if (
            not isinstance(pair, tuple | list)
            or len(pair) != 2
            or not isinstance(pair[0], str)
            or not pair[0]
        ):
            raise ConfigError(f"{name}: expected (host, port), not {pair!r}")
        check_port(name, pair[1])
    return tuple((host, port) for host, port in pairs)


def check_port(name: str, port: object) -> None:
    """Checks that the value of a setting is a TCP port.

    Raises:
        ConfigError: it is none.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 1 <= port <= 65535:
        raise ConfigError(f"{name}: expected a port from 1 to 65535, not {port!r}")
