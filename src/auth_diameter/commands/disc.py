"""``auth-diameter disc``: runs DISC, the back end of SIP servers."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import click

from auth_diameter.addresses import show
from auth_diameter.commands.diameter import diameter_of, diameter_options, hss_of, hss_options
from auth_diameter.commands.files import nonce_keys, warn_if_others_can_read
from auth_diameter.commands.options import (
    db_option,
    listen_option,
    log_options,
    metrics_option,
    nonce_key_option,
    settings,
    settings_of,
    state_option,
)
from auth_diameter.commands.process import (
    Part,
    allow_connections,
    bind_metrics,
    listening,
    log_to,
    on_hup,
    on_stop,
    run_loop,
    shared_state,
)
from auth_diameter.config import DEFAULT_PORT
from auth_diameter.disc.config import ListenerConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.url import DatabaseName
from auth_diameter.verifier.config import VerifierConfig

if TYPE_CHECKING:
    from auth_diameter.disc.listener import Listener
    from auth_diameter.verifier.nonces import Nonces
    from auth_diameter.verifier.state.redis import RedisState

log = logging.getLogger("auth_diameter.disc")

_OPEN = "anybody who reaches %s may ask: name the networks of your SIP servers with --allow"


@click.command()
@listen_option(f"127.0.0.1:{DEFAULT_PORT}")
@db_option
@nonce_key_option
@state_option
@metrics_option
@log_options
@settings_of(StoreConfig)
@settings_of(VerifierConfig)
@settings_of(ListenerConfig)
@diameter_options
@hss_options
def disc(
    listen: tuple[str, int],
    db: DatabaseName,
    nonce_key: tuple[str, ...],
    state: str | None,
    metrics_at: tuple[str, int] | None,
    log_format: str,
    log_file: str | None,
    **options: Any,
) -> None:
    """Run DISC: challenge, verify and check groups for SIP servers.

    SIGHUP reloads the files of --nonce-key, --allow and --one-challenge and reopens the --log-file, without
    losing a question.
    """
    from auth_diameter.disc.listener import listen as start
    from auth_diameter.disc.server import Disc
    from auth_diameter.store.opening import open_store
    from auth_diameter.verifier.nonces import Nonces

    config = settings(VerifierConfig, options)
    limits = settings(ListenerConfig, options)
    diameter = diameter_of(options, db)
    hss = hss_of(options, db)
    tables = settings(StoreConfig, options)
    reopen = log_to(log_format, log_file)
    keys = nonce_keys(nonce_key, log)
    nonces = Nonces(keys or None, config.nonce_lifetime)
    shared = shared_state(state, keys, config)
    exports = bind_metrics(metrics_at)

    async def work() -> int:
        async with contextlib.AsyncExitStack() as stack:
            store = stack.enter_context(contextlib.closing(await open_store(db, tables, hss)))
            if db.is_file:
                warn_if_others_can_read(db.text, log)
            if shared is not None:
                await stack.enter_async_context(shared)
            server = Disc(store, config, nonces, shared, tables.stale_for)
            with listening(show(*listen)):
                listener = await start(server, *listen, limits)
            peers = await diameter.listen(listener.turns, limits) if diameter is not None else None
            listeners = [listener] if peers is None else [peers, listener]
            stop = on_stop()  # before the address is printed, so that a signal after that is handled
            on_hup([*_reread_keys(nonces, shared, nonce_key), _reread_networks(listeners, options), *reopen])
            if exports:
                from auth_diameter import metrics

                metrics.Exporter(exports[0], metrics.disc(server, listener, peers))
            _say_ready(listener, limits, db)
            if diameter is not None and peers is not None:
                diameter.say_ready(peers)
            await stop.wait()
            for each in listeners:
                await each.aclose()
        counts = ", ".join(f"{outcome.name} {count}" for outcome, count in server.counts.most_common())
        log.info("stopped; answered: %s", counts or "nothing")
        return 0

    allow_connections()
    sys.exit(run_loop(work()))


def _say_ready(listener: Listener, limits: ListenerConfig, db: DatabaseName) -> None:
    addresses = " and ".join(show(*address) for address in listener.addresses)
    if not limits.allow and not all(ip_address(host).is_loopback for host, _ in listener.addresses):
        log.warning(_OPEN, addresses)
    print(f"DISC listening on {addresses}, users from {db}", flush=True)


def _reread_keys(nonces: Nonces, shared: RedisState | None, files: tuple[str, ...]) -> list[Part]:
    """The part of a SIGHUP that reads the key files again; none without key files."""

    def part() -> Callable[[], object]:
        keys = nonce_keys(files, log)

        def use() -> None:
            nonces.use(keys)
            if shared is not None:
                shared.sharing.use_key(keys[0])

        return use

    return [part] if files else []


def _reread_networks(listeners: Sequence[Listener], options: Mapping[str, Any]) -> Part:
    """The part of a SIGHUP that reads the files of networks again."""

    def part() -> Callable[[], object]:
        limits = settings(ListenerConfig, options)

        def use() -> None:
            for listener in listeners:
                listener.use(limits)

        return use

    return part
