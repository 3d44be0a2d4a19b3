"""Options of ``auth-diameter disc`` for standard Diameter beside the dialect."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, TypeVar

import click

import auth_diameter as ad
from auth_diameter.addresses import parse_address, show
from auth_diameter.commands.options import option_name, settings, settings_of
from auth_diameter.commands.process import listening
from auth_diameter.disc.config import DiameterConfig, ListenerConfig
from auth_diameter.standard import STANDARD_PORT, TLS_PORT, StandardConfig
from auth_diameter.store.url import DatabaseName

if TYPE_CHECKING:
    import ssl

    from auth_diameter.disc.diameter import DiameterListener
    from auth_diameter.disc.turns import Turns

log = logging.getLogger("auth_diameter.disc")

_Command = TypeVar("_Command", bound=Callable[..., Any])

_TLS_FILES = {
    "tls_cert": "Certificate of this DISC, PEM: TLS comes first, before the CER.",
    "tls_key": "Private key of --tls-cert, PEM.",
    "tls_ca": "Authorities that certify the peers, PEM; each peer has to show a certificate.",
}
_UNPROVEN = "peers prove no identity: anybody who reaches %s can be any --peer; use --tls-cert, or --allow"


def diameter_options(command: _Command) -> _Command:
    """Adds the options of standard Diameter."""
    names = ("origin_host", "origin_realm", "peer", "own_nonces", "tell_ha1")
    command = settings_of(DiameterConfig, without=names)(command)
    for name, text in reversed(_TLS_FILES.items()):
        command = click.option(option_name(name), name, metavar="FILE", help=text)(command)
    for name, text in (
        ("tell_ha1", "Peer that is told HA1, as good as a password, such as an S-CSCF with Cx; over TLS."),
        ("own_nonces", "Peer whose SIP servers make the nonces, as OpenSIPS does: no replay is recognised."),
        ("peer", "Peer that may connect; may be repeated. Without it: any, from loopback addresses alone."),
    ):
        command = click.option(option_name(name), name, metavar="FQDN", multiple=True, help=text)(command)
    for name, metavar, text in (
        ("origin_realm", "REALM", "Realm of this DISC."),
        ("origin_host", "FQDN", "Diameter identity of this DISC."),
        (
            "diameter",
            "HOST[:PORT]",
            f"Standard Diameter (RFC 4740); port {STANDARD_PORT}, with TLS {TLS_PORT}.",
        ),
    ):
        command = click.option(option_name(name), name, metavar=metavar, help=text)(command)
    return command


@dataclass(frozen=True)
class Diameter:
    """Where standard Diameter is spoken, and how.

    Attributes:
        address: (host, port).
        config: the settings.
        tls: what connections are encrypted with; None: they are not.
    """

    address: tuple[str, int]
    config: DiameterConfig
    tls: ssl.SSLContext | None

    async def listen(self, turns: Turns, limits: ListenerConfig) -> DiameterListener:
        """Listens for peers.

        Raises:
            ConfigError: the address cannot be bound.
        """
        from auth_diameter.disc.diameter import listen

        with listening(show(*self.address), "--diameter"):
            return await listen(turns, *self.address, self.config, limits, self.tls)

    def say_ready(self, listener: DiameterListener) -> None:
        """Prints where peers are listened for."""
        addresses = " and ".join(show(*address) for address in listener.addresses)
        allow = listener.limits.allow
        local = all(ip_address(host).is_loopback for host, _ in listener.addresses)
        if self.config.peer and self.tls is None and not allow and not local:
            log.warning(_UNPROVEN, addresses)
        kind = "Diameter with TLS" if self.tls is not None else "Diameter"
        print(f"{kind} listening on {addresses}, as {self.config.origin_host}", flush=True)


#: Options that are also for an HSS as the database (--db cx://…).
_OF_HSS = ("origin_host", "origin_realm", *_TLS_FILES)

#: What `disc` has of `StandardConfig`: the rest is set otherwise.
hss_options = settings_of(
    StandardConfig,
    without=[
        name
        for name in StandardConfig.__dataclass_fields__
        if name not in ("delegation_lifetime", "plain_ha1")
    ],
)


def hss_of(options: Mapping[str, Any], db: DatabaseName) -> StandardConfig | None:
    """Who we are to an HSS as the database; None: it is another database.

    Raises:
        click.BadParameter: a value cannot be used.
    """
    if db.kind != "cx":
        return None
    names = (*_OF_HSS, "watchdog", "delegation_lifetime", "plain_ha1")
    return settings(StandardConfig, {name: options[name] for name in names}, application="cx")


def diameter_of(options: Mapping[str, Any], db: DatabaseName) -> Diameter | None:
    """Standard Diameter as the options have it; None without --diameter.

    Args:
        options: the values of all options.
        db: the database; some of the options are for an HSS as well.

    Raises:
        ConfigError: an option is missing, or needs --diameter; or a file cannot be used.
        click.BadParameter: another value cannot be used.
    """
    where = options["diameter"]
    needing = ("origin_host", "origin_realm", "peer", "own_nonces", "tell_ha1", *_TLS_FILES)
    if where is None:
        for name in needing:
            if options[name] and not (db.kind == "cx" and name in _OF_HSS):
                raise ad.ConfigError(
                    f"{option_name(name)}: is of standard Diameter; add --diameter HOST:PORT"
                )
        return None
    for name, example in (("origin_host", "disc.example.net"), ("origin_realm", "example.net")):
        if not options[name]:
            option = option_name(name)
            raise ad.ConfigError(
                f"--diameter: peers know this DISC by {option}; add it, such as {option} {example}"
            )
    tls = _context_of(options)
    address = parse_address(where, TLS_PORT if tls is not None else STANDARD_PORT, "--diameter")
    return Diameter(address, settings(DiameterConfig, options), tls)


def _context_of(options: Mapping[str, Any]) -> ssl.SSLContext | None:
    files = [options[name] for name in _TLS_FILES]
    if not any(files):
        return None
    for name in _TLS_FILES:
        if not options[name]:
            raise ad.ConfigError(f"TLS needs three files: add {option_name(name)} FILE")
    from auth_diameter.disc.tls import server_context

    return server_context(*files)
