"""``auth-diameter serve``: runs a SIP/UDP server that asks DISC."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Callable
from typing import Any

import click

import auth_diameter as ad
from auth_diameter.addresses import show
from auth_diameter.client.pseudovars import DEFAULT_REALM, compile_template
from auth_diameter.commands.options import (
    disc_option,
    listen_option,
    log_options,
    metrics_option,
    settings,
    settings_of,
)
from auth_diameter.commands.process import (
    Part,
    bind_metrics,
    listening,
    log_to,
    on_hup,
    on_stop,
    read_anew,
    run_loop,
)

_BY_HAND = ("diameter_client_host", "diameter_client_port", "peers")  # set by --disc

# These differ from the library. Our DISC counts wrong passwords by source, so it is told the source. And a
# user must not pass for one of the same name in another domain.
_PRESETS = {"tell_source": True, "use_domain": True}

log = logging.getLogger("auth_diameter.serve")


@click.command()
@listen_option("127.0.0.1:5060")
@disc_option
@click.option("--route", metavar="FILE.py", help="Python file with async def request_route(request, auth).")
@click.option(
    "--realm",
    metavar="TEXT",
    help="Realm of the default route, where there is no --route; may have pseudo-variables."
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
    route: str | None,
    realm: str | None,
    workers: int,
    metrics_at: tuple[str, int] | None,
    log_format: str,
    log_file: str | None,
    **options: Any,
) -> None:
    """Run a SIP/UDP server that asks DISC about each request.

    It keeps no bindings: 200 to a REGISTER repeats its Contacts with their expiry, and that is all. SIGHUP
    reads the --route script anew and opens the --log-file anew, without losing a request.

    Where all requests come from one proxy's address, --no-penalty keeps one guesser from holding up all. DISC
    is then told no address either, unless --tell-source is given.
    """
    from auth_diameter.host.bind import bind
    from auth_diameter.host.route import Route, load_route
    from auth_diameter.host.server import Host
    from auth_diameter.host.workers import Workers

    if route is not None and realm is not None:
        raise click.UsageError("--realm is the default route's; a --route names its own")
    compile_template(realm or DEFAULT_REALM)  # an error in the realm is reported at once
    if not options["penalty"] and not _is_given("tell_source"):
        # All requests come from one address, which DISC must not penalize either.
        options["tell_source"] = False
    config = settings(ad.Config, options, diameter_client_host=disc_hosts)
    reopen = log_to(log_format, log_file)
    script = load_route(route) if route is not None else None
    with listening(show(*listen)):
        sockets = bind(*listen, workers)
    exports = bind_metrics(metrics_at, workers)  # each worker has a port of its own, in a row
    at = show(*sockets[0].getsockname()[:2])

    def say_ready() -> None:
        of = f" in {workers} processes" if workers > 1 else ""
        print(f"SIP/UDP listening on {at}{of}, asking DISC at {disc_hosts}", flush=True)

    def read_route(use: Callable[[Route], object]) -> list[Part]:
        def part() -> Callable[[], object]:
            assert route is not None
            found = load_route(route)
            return lambda: use(found)

        return [part] if route is not None else []

    def remember_route(found: Route) -> None:  # for workers that are started later
        nonlocal script
        script = found

    async def work(sock: socket.socket, parent: int | None, ready: Callable[[], object]) -> int:
        async with ad.AsyncAuthDiameter(config) as auth:
            host = Host(sock, auth, script, realm or DEFAULT_REALM)
            stop = on_stop(parent)
            parts = [*read_route(host.use_route), *reopen]
            on_hup(parts, logging.INFO if parent is None else logging.DEBUG)
            if exports:
                from auth_diameter import metrics

                export = exports[sockets.index(sock)]
                metrics.Exporter(export, metrics.client(auth), metrics.host(host))
            ready()
            at_start = asyncio.create_task(_say_who_is_unreachable(auth)) if sock is sockets[0] else None
            await stop.wait()
            if at_start is not None:
                at_start.cancel()
            await host.aclose()
        return 0

    if workers == 1:
        sys.exit(run_loop(work(sockets[0], None, say_ready)))
    family = Workers(
        sockets,
        lambda sock, parent, up: run_loop(work(sock, parent, up)),
        lambda: read_anew([*read_route(remember_route), *reopen]),
    )
    family.start()
    say_ready()
    family.run()


async def _say_who_is_unreachable(auth: ad.AsyncAuthDiameter) -> None:
    for address, why in await auth.unreachable():
        log.warning(
            "DISC at %s cannot be reached: %s; start auth-diameter disc there, or name another with --disc",
            address,
            why,
        )


def _is_given(option: str) -> bool:
    """Whether an option is given, on the command line or otherwise, rather than at its default."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not None and source is not click.core.ParameterSource.DEFAULT
