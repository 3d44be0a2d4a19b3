"""``auth-diameter demo``: plays digest authentication on loopback."""

from __future__ import annotations

import logging
import sys

import click

from auth_diameter.commands.process import run_loop


@click.command()
@click.option("--full", is_flag=True, help="Print every message whole.")
def demo(full: bool) -> None:
    """Play digest authentication on loopback; print its ladder.

    It shows both rounds, a wrong password and a group check. DISC, a SIP server and a telephone are included.
    The exit status is 0 if every step went as it should.
    """
    from rich.console import Console

    from auth_diameter.lab.demo import play

    refused = logging.getLogger("auth_diameter.refused")
    level = refused.level
    refused.setLevel(logging.WARNING)  # the ladder shows refusals already
    try:
        status = run_loop(play(Console(highlight=False, soft_wrap=True), full=full))
    finally:
        refused.setLevel(level)
    sys.exit(status)
