"""Addresses as text: ``HOST:PORT`` read and shown, and whom an address counts for."""

from __future__ import annotations

from ipaddress import ip_address

from auth_diameter._core import ConfigError


def show(host: str, port: int) -> str:
    """``HOST:PORT``, with brackets around IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def network_of(host: str) -> str | int:
    """Whom an IP address counts for: itself in IPv4, its /64 in IPv6, all of which one host may have."""
    return int(ip_address(host)) >> 64 if ":" in host else host


def parse_address(text: str, default_port: int | None = None, name: str = "address") -> tuple[str, int]:
    """``HOST:PORT``, ``HOST``, ``[IPv6]:PORT`` or a bare IPv6 address, as (host, port).

    Args:
        default_port: for a text without a port; None: there must be one. Port 0 is allowed, for those who
            listen.

    Raises:
        ConfigError: it is none of these; the message starts with `name`.
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
    """``"a, b:3001"`` as ((a, default_port), (b, 3001)).

    Raises:
        ConfigError: see parse_address.
    """
    if not isinstance(hosts, str) or not hosts.strip():
        raise ConfigError(f"diameter_client_host: expected a host, not {hosts!r}")
    return tuple(parse_address(part, default_port, "diameter_client_host") for part in hosts.split(","))
