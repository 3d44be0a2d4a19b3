"""``auth-diameter bench``: measures this machine."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=20,
    show_default=True,
    help="Measure for about this long.",
)
def bench(seconds: float) -> None:
    """Measure this machine; print a table.

    It times each step of a request, beside another package that does the same, and whole requests on
    loopback. Packages that are not installed are left out.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    from auth_diameter.bench import HEADER, run
    from auth_diameter.bench.report import table

    bar = Progress(
        BarColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        auto_refresh=False,  # a refresh thread would be measured, too
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0)

        def progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done, refresh=True)

        rows = run(seconds, progress)
    table(HEADER, rows)
