"""``auth-diameter db``: the tables of the subscribers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import auth_diameter as ad
from auth_diameter.commands.options import Group, db_option, settings, table_options
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.url import DatabaseName


@click.group(cls=Group)
def db() -> None:
    """Prepare the database of the subscribers."""


@db.command("upgrade")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print the SQL alone; change nothing.")
@click.option(
    "--notify/--no-notify",
    default=True,
    show_default=True,
    help="Whether PostgreSQL tells DISC of changes by triggers (LISTEN auth_diameter).",
)
@db_option
@table_options
def db_upgrade(yes: bool, dry_run: bool, notify: bool, db: DatabaseName, **options: Any) -> None:
    """Add what is missing: tables, columns for HA1 by SHA-2, and in PostgreSQL triggers.

    Prints the SQL first, and asks. Nothing of Kamailio's or OpenSIPS' is changed, and no row.
    """
    from auth_diameter.store.engines import open_session, run
    from auth_diameter.store.upgrade import apply, plan

    config = settings(StoreConfig, options)
    if db.is_file and not Path(db.text).exists():
        raise ad.ConfigError(f"{db}: no such file; auth-diameter user add creates it")

    if db.kind == "redis":
        print(f"{db}: has no tables, so there is nothing to upgrade")
        return

    def find() -> Any:
        with open_session(db, config, writable=False) as session:
            return plan(session, config, notify=notify)

    steps = run(find, db)
    if not steps:
        print(f"{db}: nothing is missing")
        return
    for step in steps:
        print(f"-- {step.what}")
        for statement in step.statements:
            print(f"{statement};")
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ad.ConfigError(f"{db}: nothing was changed; confirm with --yes")
        if not click.confirm(f"Change {db}?"):
            raise ad.ConfigError(f"{db}: nothing was changed")

    def change() -> None:
        with open_session(db, config, writable=True, tables=False) as session:
            apply(session, steps)

    run(change, db)
    print(f"{db}: done")
