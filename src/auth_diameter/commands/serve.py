"""``auth-diameter serve``: runs a SIP/UDP server that asks DISC."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

import auth_diameter as ad
from auth_diameter.addresses import show
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.client.realm import DEFAULT_REALM
from auth_diameter.commands.files import nonce_keys, warn_if_others_can_read
from auth_diameter.commands.options import (
    db_options,
    disc_option,
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
    bind_metrics,
    listening,
    log_to,
    on_hup,
    on_stop,
    reload,
    run_loop,
)
from auth_diameter.store.url import DatabaseName

if TYPE_CHECKING:
    from auth_diameter.host.route import Route

# Set by --disc, --db and --nonce-key.
_BY_HAND = (
    "diameter_client_host",
    "diameter_client_port",
    "peers",
    "db",
    "db_password",
    "nonce_key",
    "state",
)

# These differ from the library. Our DISC counts wrong passwords by source, so it is told the source. And a
# user must not pass for one of the same name in another domain.
_PRESETS = {"tell_source": True, "use_domain": True}

_AT_START = 0.5  # seconds for a connection to DISC before `serve` says that it is ready

log = logging.getLogger("auth_diameter.serve")


@click.command()
@listen_option("127.0.0.1:5060")
@disc_option
@db_options(
    required=False,
    what="Verify credentials here, and ask no DISC. Database with the subscribers",
    in_environment=False,
)
@nonce_key_option
@state_option
@click.option("--route", metavar="FILE.py", help="Python file with async def request_route(request, auth).")
@click.option(
    "--realm",
    metavar="TEXT",
    help="Realm of the default route, if there is no --route; may have pseudo-variables."
    f"  [default: {DEFAULT_REALM}]",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the address.",
)
@metrics_option
@log_options
@settings_of(ad.Config, without=_BY_HAND, presets=_PRESETS)
def serve(
    listen: tuple[str, int],
    disc_hosts: str,
    db: DatabaseName | None,
    nonce_key: tuple[str, ...],
    state: str | None,
    route: str | None,
    realm: str | None,
    workers: int,
    metrics_at: tuple[str, int] | None,
    log_format: str,
    log_file: str | None,
    **options: Any,
) -> None:
    """Run a SIP/UDP server that asks DISC about each request, or verifies credentials itself (--db).

    It stores no bindings: its 200 to a REGISTER only repeats the Contacts with their expiry. SIGHUP reloads
    the --route script and the files of --nonce-key and reopens the --log-file, without losing a request.

    If all requests come from the address of one proxy, use --no-penalty, or one guesser delays everybody.
    DISC is then told no source either, unless --tell-source is given.

    The settings from --algorithms on are those of `auth-diameter disc`, and need --db.
    """
    from auth_diameter.host.bind import bind
    from auth_diameter.host.workers import Workers

    if db is not None and _is_given("disc_hosts"):
        raise click.UsageError("--db: no DISC is asked with it; leave --disc out")
    if options["application"] == "cx" and db is None:
        raise click.UsageError("--application cx: name the HSS with --db cx://HOST/REALM")
    if nonce_key and db is None:
        raise click.UsageError("--nonce-key is for --db; without it, DISC makes the nonces")
    if state is not None and db is None:
        raise click.UsageError("--state is for --db; without it, DISC counts")
    if route is not None and realm is not None:
        raise click.UsageError("--realm is for the default route; a --route script names its own")
    compile_template(realm or DEFAULT_REALM)  # an error in the realm is reported at once
    if not options["penalty"] and not _is_given("tell_source"):
        # All requests come from one address, which DISC must not penalize either.
        options["tell_source"] = False
    reopen = log_to(log_format, log_file)
    if options["application"] != "disc" and not _is_given("disc_hosts"):
        disc_hosts = "localhost"  # with the port of what is spoken
    if db is None:
        config = settings(ad.Config, options, diameter_client_host=disc_hosts)
        at = ", ".join(show(*address) for address in config.addresses())
        asking = f"asking {'DISC' if config.application == 'disc' else config.application} at {at}"
    else:
        config = settings(
            ad.Config,
            options,
            db=db.text,
            db_password=db.password,
            nonce_key=nonce_keys(nonce_key, log) or None,
            state=state,
        )
        if db.is_file:
            warn_if_others_can_read(db.text, log)
        asking = f"users from {db}"
    if config.is_standard and workers > 1:
        raise click.UsageError("--workers: a peer accepts one connection of each --origin-host")
    serving = _Serving(config, nonce_key, route, realm or DEFAULT_REALM, reopen)
    with listening(show(*listen)):
        serving.sockets = sockets = bind(*listen, workers)
    serving.exports = bind_metrics(metrics_at, workers)  # each worker has a port of its own, in a row
    at = show(*sockets[0].getsockname()[:2])

    def say_ready() -> None:
        of = f" in {workers} processes" if workers > 1 else ""
        print(f"SIP/UDP listening on {at}{of}, {asking}", flush=True)

    if workers == 1:
        sys.exit(run_loop(serving.work(sockets[0], None, say_ready)))
    family = Workers(
        sockets,
        lambda sock, parent, up: run_loop(serving.work(sock, parent, up)),
        lambda: reload([*serving.read_route(serving.use_route), *serving.read_keys(), *reopen]),
    )
    family.start()
    say_ready()
    family.run()


class _Serving:
    """What the processes of one `serve` have in common, and what each of them does.

    Args:
        config: how DISC is asked, or what the local back end does.
        nonce_key: the files of the nonce keys.
        route: path of the route script, or None for the default route.
        realm: realm of the default route.
        reopen: what SIGHUP does besides reading the route script again.

    Attributes:
        sockets: one for each process.
        exports: sockets for metrics, one for each process, or none.
    """

    def __init__(
        self,
        config: ad.Config,
        nonce_key: Sequence[str],
        route: str | None,
        realm: str,
        reopen: Sequence[Part],
    ) -> None:
        from auth_diameter.host.route import load_route

        # Made before the processes are forked, which share what the local back end remembers.
        self._auth = ad.AsyncAuthDiameter(config)
        self._nonce_key = nonce_key
        self._path = route
        self._realm = realm
        self._reopen = reopen
        self._load = load_route
        self._route = load_route(route) if route is not None else None
        self.sockets: list[socket.socket] = []
        self.exports: list[socket.socket] = []

    def read_route(self, use: Callable[[Route], object]) -> list[Part]:
        """The part of a SIGHUP that reads the route script again; none for the default route."""
        path = self._path
        if path is None:
            return []

        def part() -> Callable[[], object]:
            found = self._load(path)
            return lambda: use(found)

        return [part]

    def read_keys(self) -> list[Part]:
        """The part of a SIGHUP that reads the key files again; none without key files."""

        def part() -> Callable[[], object]:
            keys = nonce_keys(self._nonce_key, log)
            return lambda: self._auth.use_nonce_keys(keys)

        return [part] if self._nonce_key else []

    def use_route(self, found: Route) -> None:
        """Keeps a new route for workers that are started later."""
        self._route = found

    async def work(self, sock: socket.socket, parent: int | None, ready: Callable[[], object]) -> int:
        """Serves on one socket until a signal ends it; returns the exit status.

        Args:
            sock: one of `sockets`.
            parent: process ID of the parent, or None without workers.
            ready: called when requests are served.
        """
        from auth_diameter.host.server import Host

        async with self._auth as auth:
            host = Host(sock, auth, self._route, self._realm)
            stop = on_stop(parent)
            parts = [*self.read_route(host.use_route), *self.read_keys(), *self._reopen]
            on_hup(parts, logging.INFO if parent is None else logging.DEBUG)
            if self.exports:
                from auth_diameter import metrics

                export = self.exports[self.sockets.index(sock)]
                metrics.Exporter(export, metrics.client(auth), metrics.host(host))
            at_start = asyncio.create_task(_connect(auth, tell=sock is self.sockets[0]))
            if parent is None:  # else others wait until this worker is ready
                await asyncio.wait([at_start], timeout=_AT_START)
            ready()
            await stop.wait()
            at_start.cancel()
            await host.aclose()
        return 0


async def _connect(auth: ad.AsyncAuthDiameter, *, tell: bool) -> None:
    """Opens a connection to each DISC, if each can be reached; `tell`: logs those that cannot."""
    unreachable = await auth.unreachable()
    if not unreachable:
        await auth.connect()
    for address, why in unreachable if tell else ():
        log.warning(
            "DISC at %s cannot be reached: %s; start auth-diameter disc there, or name another with --disc",
            address,
            why,
        )


def _is_given(option: str) -> bool:
    """Whether an option is given, on the command line or otherwise, rather than at its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not None and source is not click.core.ParameterSource.DEFAULT
