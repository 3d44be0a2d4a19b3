"""Options that several commands have, and the values that options take."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, TypeVar

import click

import auth_diameter as ad
from auth_diameter.config import parse_address

Network = IPv4Network | IPv6Network

DEFAULT_PORT = 3000  # of DISC

_Command = TypeVar("_Command", bound=Callable[..., Any])


# ---------------------------------------------------------------------------------- values


def show(address: tuple[str, int]) -> str:
    """``HOST:PORT``, with brackets around IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(text: str) -> tuple[str, int]:
    """The (host, port) of HOST:PORT on the command line."""
    try:
        return parse_address(text, None, "address")
    except ad.ConfigError as error:
        raise click.BadParameter(str(error)) from None


def network(text: str) -> Network:
    """The network of NETWORK on the command line; an address alone is a network of one."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def peers(text: str) -> str:
    """`text` as it is, when each part between commas is the HOST:PORT of a DISC."""
    for part in text.split(","):
        host, port = address(part if ":" in part else f"{part}:{DEFAULT_PORT}")
        if not port:
            raise click.BadParameter(f"address {show((host, port))!r}: no DISC is on port 0")
    return text


def address_or_port(text: str) -> tuple[str, int]:
    """As `address`; a port alone is one of loopback."""
    return address(f"127.0.0.1:{text}" if text.isdigit() else text)


def names(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in text.split(","))


def database(text: str) -> str:
    """The path of the database that --db names."""
    from auth_diameter.disc.schema import database_path  # here: not every command needs SQLite

    if not text:
        raise click.BadParameter("the name of the database is empty")
    try:
        return database_path(text)
    except ad.ConfigError as error:
        raise click.BadParameter(str(error)) from None


# ---------------------------------------------------------------------------------- options


def listen_option(default: str) -> Callable[[_Command], _Command]:
    """The address of a server."""
    return click.option("--listen", type=address, metavar="HOST:PORT", default=default, show_default=True)


disc_option = click.option(
    "--disc",
    "disc_hosts",
    type=peers,
    metavar="HOST:PORT[,…]",
    default=f"localhost:{DEFAULT_PORT}",
    show_default=True,
    help="DISC to ask; several with commas.",
)

db_option = click.option(
    "--db",
    type=database,
    required=True,
    metavar="FILE",
    envvar="AUTH_DIAMETER_DB",
    help="SQLite database with Kamailio's tables, a path or sqlite:///PATH. [env: AUTH_DIAMETER_DB]",
)

metrics_option = click.option(
    "--metrics",
    "metrics_at",
    type=address_or_port,
    metavar="[HOST:]PORT",
    help="Serve metrics for Prometheus there; a port alone is one of loopback.",
)


# ---------------------------------------------------------------------------------- groups


class Group(click.Group):
    """Commands; without one, the help, on stderr because nothing was done."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but for no arguments at all."""
        if not args:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)
