"""``auth-diameter demo``: plays digest authentication on loopback."""

from __future__ import annotations

import logging
import sys

import click

from auth_diameter.commands.process import run_loop
from auth_diameter.standard import APPLICATIONS, ApplicationName


@click.command()
@click.option("--full", is_flag=True, help="Print every message whole.")
@click.option(
    "--application",
    type=click.Choice(APPLICATIONS),
    default="disc",
    show_default=True,
    help="What SIP server and DISC speak: the dialect, or standard Diameter with RFC 4740 or Cx.",
)
def demo(full: bool, application: ApplicationName) -> None:
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
        status = run_loop(play(Console(highlight=False, soft_wrap=True), full=full, application=application))
    finally:
        refused.setLevel(level)
    sys.exit(status)
