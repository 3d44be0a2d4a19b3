"""``auth-diameter serve``: a SIP/UDP server that asks DISC."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

import click

import auth_diameter as ad
from auth_diameter.commands.options import disc_option, listen_option, metrics_option, show
from auth_diameter.commands.process import bind_metrics, listening, on_stop, run_loop


@click.command()
@listen_option("127.0.0.1:5060")
@disc_option
@click.option("--route", metavar="FILE.py", help="Python file with async def request_route(request, auth).")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    default=1,
    show_default=True,
    metavar="N",
    help="Processes that share the address.",
)
@click.option(
    "--no-penalty",
    is_flag=True,
    help="Look at credentials however many were wrong: for a host behind a proxy, whose address all share.",
)
@click.option("--tell-source", is_flag=True, help="Tell DISC the address of the UAC, for its --bind-source.")
@metrics_option
def serve(
    listen: tuple[str, int],
    disc_hosts: str,
    route: str | None,
    workers: int,
    no_penalty: bool,
    tell_source: bool,
    metrics_at: tuple[str, int] | None,
) -> None:
    """Run a SIP/UDP server that lets through whom DISC knows.

    It keeps no bindings: 200 to a REGISTER repeats its Contacts with their expiry, and that is all.
    """
    from auth_diameter.host import Host, bind, load_route
    from auth_diameter.workers import Workers

    config = ad.Config(diameter_client_host=disc_hosts, penalty=not no_penalty, tell_source=tell_source)
    script = load_route(route) if route is not None else None
    with listening(show(listen)):
        sockets = bind(*listen, workers)
    exports = bind_metrics(metrics_at, workers)  # of each worker a port of its own, in a row
    at = show(sockets[0].getsockname()[:2])

    def say_ready() -> None:
        of = f" in {workers} processes" if workers > 1 else ""
        print(f"SIP/UDP listening on {at}{of}, asking DISC at {disc_hosts}", flush=True)

    async def work(sock: socket.socket, parent: int | None, ready: Callable[[], object]) -> int:
        async with ad.AsyncAuthDiameter(config) as auth:
            host = Host(sock, auth, script)
            stop = on_stop(parent)
            if exports:
                from auth_diameter import metrics

                export = exports[sockets.index(sock)]
                metrics.Exporter(export, metrics.client(auth), metrics.host(host))
            ready()
            await stop.wait()
            await host.aclose()
        return 0

    if workers == 1:
        sys.exit(run_loop(work(sockets[0], None, say_ready)))
    family = Workers(sockets, lambda sock, parent, up: run_loop(work(sock, parent, up)))
    family.start()
    say_ready()
    family.run()
