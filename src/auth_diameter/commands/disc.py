"""``auth-diameter disc``: DISC for SIP servers."""

from __future__ import annotations

import logging
import sys
from ipaddress import ip_address
from typing import Literal

import click

import auth_diameter as ad
from auth_diameter.commands.options import (
    DEFAULT_PORT,
    Network,
    db_option,
    listen_option,
    metrics_option,
    names,
    network,
    show,
)
from auth_diameter.commands.process import allow_connections, bind_metrics, listening, on_stop, run_loop


@click.command()
@listen_option(f"127.0.0.1:{DEFAULT_PORT}")
@db_option
@click.option(
    "--algorithms",
    type=names,
    default="MD5",
    show_default=True,
    metavar="NAME[,…]",
    help="Offered in this order: MD5, SHA-256, SHA-512-256, each also with -sess.",
)
@click.option(
    "--qop", type=names, default="auth", show_default=True, metavar="NAME[,…]", help="auth, auth-int."
)
@click.option(
    "--one-challenge",
    type=network,
    multiple=True,
    metavar="NETWORK",
    help="SIP servers there can take one challenge only, as Kamailio's C module; may be repeated.",
)
@click.option("--rechallenge", is_flag=True, help="Answer wrong credentials with a new challenge, not 403.")
@click.option(
    "--max-challenges",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="N",
    help="With --rechallenge, so many in a row for a user and source.",
)
@click.option(
    "--nonce-lifetime",
    type=click.FloatRange(1, 86400),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long a challenge may be answered.",
)
@click.option(
    "--nonce-uses",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="How often a challenge may be answered; 1: once, 0: as often as the client counts.",
)
@click.option(
    "--nonce-key",
    multiple=True,
    metavar="FILE",
    help="File of 16 secret bytes or more; several DISC with the same one accept each other's challenges. "
    "May be repeated: the first makes challenges, all are accepted.",
)
@click.option(
    "--bind-source", is_flag=True, help="A challenge may be answered from the address alone that got it."
)
@click.option("--userhash", is_flag=True, help="Offer that the username may come hashed.")
@click.option("--authentication-info", is_flag=True, help="Prove the server's side, too, in 200 replies.")
@click.option(
    "--uri-policy",
    type=click.Choice(["host", "strict", "off"]),
    default="host",
    show_default=True,
    help="How near the digest-uri must be to the Request-URI.",
)
@click.option(
    "--allow",
    type=network,
    multiple=True,
    metavar="NETWORK",
    help="Take connections from this network only, as 192.0.2.0/24 or 2001:db8::1; may be repeated.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    default=32_768,
    show_default=True,
    metavar="N",
    help="Connections in all.",
)
@click.option(
    "--max-per-source",
    type=click.IntRange(1),
    default=16_384,
    show_default=True,
    metavar="N",
    help="Connections from one IPv4 address or IPv6 /64; three quarters of all at most.",
)
@metrics_option
def disc(
    listen: tuple[str, int],
    db: str,
    algorithms: tuple[str, ...],
    qop: tuple[str, ...],
    one_challenge: tuple[Network, ...],
    rechallenge: bool,
    max_challenges: int,
    nonce_lifetime: float,
    nonce_uses: int,
    nonce_key: tuple[str, ...],
    bind_source: bool,
    userhash: bool,
    authentication_info: bool,
    uri_policy: Literal["host", "strict", "off"],
    allow: tuple[Network, ...],
    max_connections: int,
    max_per_source: int,
    metrics_at: tuple[str, int] | None,
) -> None:
    """Run DISC: challenge, verify and check groups for SIP servers."""
    from auth_diameter.disc.config import DiscConfig
    from auth_diameter.disc.listener import ListenerConfig
    from auth_diameter.disc.listener import listen as start
    from auth_diameter.disc.nonce import Nonces
    from auth_diameter.disc.server import Disc
    from auth_diameter.disc.store import Store

    config = DiscConfig(
        algorithms=algorithms,
        qop=qop,
        nonce_lifetime=nonce_lifetime,
        nonce_uses=nonce_uses,
        bind_source=bind_source,
        userhash=userhash,
        authentication_info=authentication_info,
        uri_policy=uri_policy,
        rechallenge=rechallenge,
        max_challenges=max_challenges,
    )
    nonces = Nonces([_nonce_key(file) for file in nonce_key] or None, nonce_lifetime)
    limits = ListenerConfig(
        allow=allow,
        one_challenge=one_challenge,
        max_connections=max_connections,
        max_per_source=max_per_source,
    )
    log = logging.getLogger("auth_diameter.disc")
    exports = bind_metrics(metrics_at)

    async def work() -> int:
        with Store.open(db) as store:
            server = Disc(store, config, nonces)
            with listening(show(listen)):
                listener = await start(server, *listen, limits)
            stop = on_stop()  # before anyone is told that we are there
            if exports:
                from auth_diameter import metrics

                metrics.Exporter(exports[0], metrics.disc(server, listener))
            addresses = " and ".join(map(show, listener.addresses))
            if not allow and not all(ip_address(host).is_loopback for host, _ in listener.addresses):
                log.warning(
                    "anybody who reaches %s may ask: name the networks of your SIP servers with --allow",
                    addresses,
                )
            print(f"DISC listening on {addresses}, users from {db}", flush=True)
            await stop.wait()
            await listener.aclose()
        counts = ", ".join(f"{outcome.name} {count}" for outcome, count in server.counts.most_common())
        log.info("stopped; answered: %s", counts or "nothing")
        return 0

    allow_connections()
    sys.exit(run_loop(work()))


def _nonce_key(file: str) -> bytes:
    try:
        with open(file, "rb") as source:
            key = source.read(4096)  # of a device that never ends, too
    except OSError as error:
        raise ad.ConfigError(f"--nonce-key {file}: {error.strerror}") from None
    if len(key) < 16:
        raise ad.ConfigError(f"--nonce-key {file}: expected 16 secret bytes or more, not {len(key)}")
    return key
