"""``auth-diameter user`` and ``auth-diameter group``: the subscribers of DISC, and their groups."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

import auth_diameter as ad
from auth_diameter.commands.files import warn_if_others_can_read
from auth_diameter.commands.options import Group, db_option
from auth_diameter.commands.terminal import fail
from auth_diameter.logs import visible
from auth_diameter.store.url import DatabaseName

_log = logging.getLogger(__name__)


@click.group(cls=Group)
def user() -> None:
    """Add, delete, list and import subscribers."""


@user.command("add")
@click.argument("account", metavar="USER@DOMAIN")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--replace", is_flag=True, help="Change the password of an existing user.")
@db_option
def user_add(account: str, password_stdin: bool, replace: bool, db: DatabaseName) -> None:
    """Add a subscriber; the file is created if there is none. HA1 is stored, never the password."""
    from auth_diameter.store.accounts import Accounts
    from auth_diameter.store.names import split_account

    name, domain = split_account(account)
    password = _password(account, from_stdin=password_stdin)
    with Accounts.open(db.text, writable=True) as accounts:
        new = accounts.add_user(name, domain, password, replace=replace)
        realm, algorithms = accounts.spelling_for(domain), ", ".join(accounts.stored_algorithms)
    warn_if_others_can_read(db.text, _log)  # once it is closed, SQLite's files beside it are gone
    typed = f" (not {domain}: challenges have the spelling of the database)" if realm != domain else ""
    done = "added" if new else "changed"
    print(visible(f"{done} {name}@{realm}: HA1 for {algorithms} in realm {realm}{typed}"))


def _password(account: str, *, from_stdin: bool) -> str:
    if from_stdin:
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
        try:
            password = line.decode()
        except UnicodeDecodeError:
            raise ad.ConfigError("the password is not UTF-8") from None
    elif sys.stdin.isatty():
        password = click.prompt(f"Password of {account}", hide_input=True, confirmation_prompt=True)
    else:
        raise ad.ConfigError("no terminal to ask for the password on: give it with --password-stdin")
    if not password:
        raise ad.ConfigError("the password is empty")
    return password


@user.command("del")
@click.argument("account", metavar="USER@DOMAIN")
@db_option
def user_del(account: str, db: DatabaseName) -> None:
    """Delete a subscriber and all memberships."""
    from auth_diameter.store.accounts import Accounts
    from auth_diameter.store.names import split_account

    name, domain = split_account(account)
    _must_exist(db)
    with Accounts.open(db.text, writable=True) as accounts:
        if not accounts.delete_user(name, domain):
            raise ad.ConfigError(f"no user {account} in {db}")
    print(f"deleted {account}")


@user.command("list")
@click.argument("domain", required=False)
@db_option
def user_list(domain: str | None, db: DatabaseName) -> None:
    """List subscribers, all or of one domain, with their groups."""
    from auth_diameter.store.accounts import Accounts

    if domain is not None and "@" in domain:
        rest = domain.rpartition("@")[2]
        raise ad.ConfigError(f"{domain}: expected DOMAIN; auth-diameter user list {rest} lists its users")

    count = 0
    with Accounts.open(db.text) as accounts:
        for count, found in enumerate(accounts.users(domain), 1):  # noqa: B007 - shown at the end
            print(visible(" ".join([str(found), *accounts.groups(found.username, found.domain)])))
    # On stderr, so that stdout has only users.
    print(f"{count} user{'s' if count != 1 else ''}", file=sys.stderr)


@user.command("import")
@click.argument("file", metavar="FILE.csv|-")
@click.option("--replace", is_flag=True, help="Change existing users instead of refusing the file.")
@db_option
def user_import(file: str, replace: bool, db: DatabaseName) -> None:
    """Import subscribers from CSV.

    The header line names the columns: username,domain,password or username,domain,ha1[,ha1b], and with either
    [,groups]. Other columns are ignored, so a dump of Kamailio's table will do. The separator is a comma, a
    semicolon or a tab; several groups are separated by semicolons, or by commas if semicolons separate the
    columns. If a row is bad, nothing is imported and its line is named. To complete an interrupted import,
    repeat the command.
    """
    from auth_diameter.store.accounts import Accounts
    from auth_diameter.store.csvimport import CsvError, import_csv

    name = "stdin" if file == "-" else file
    try:
        with (
            _open_source(file) as source,
            Accounts.open(db.text, writable=True) as accounts,
            _progress_bar() as progress,
        ):
            done = import_csv(accounts, source, name=name, replace=replace, progress=progress)
    except CsvError as error:
        for problem in error.problems[:20]:
            print(visible(problem), file=sys.stderr)
        fail(f"{name}: nothing was imported")
    warn_if_others_can_read(db.text, _log)
    if done.not_used:
        print(visible(f"{name}: columns not used: {', '.join(done.not_used)}"), file=sys.stderr)
    there = f", {done.unchanged} there already" if done.unchanged else ""
    print(f"{done.added} added, {done.replaced} changed{there}, {done.memberships} group memberships")


def _open_source(file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return open(file, "rb")
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None


@contextlib.contextmanager
def _progress_bar() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr for each step of an import, if that is a terminal; gives what reports the progress."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
    tasks: dict[str, Any] = {}

    def progress(step: str, done: int, total: int | None) -> None:
        if step not in tasks:
            for ended in tasks.values():
                bar.update(ended, total=bar.tasks[ended].completed)
            tasks[step] = bar.add_task(step, total=total)
        bar.update(tasks[step], completed=done, total=total)

    with bar:
        yield progress


@click.group(cls=Group)
def group() -> None:
    """Add, delete and list group memberships."""


@group.command("add")
@click.argument("account", metavar="USER@DOMAIN")
@click.argument("name", metavar="GROUP")
@db_option
def group_add(account: str, name: str, db: DatabaseName) -> None:
    """Put a subscriber into a group."""
    from auth_diameter.store.accounts import Accounts
    from auth_diameter.store.names import split_account

    _must_exist(db)
    with Accounts.open(db.text, writable=True) as accounts:
        new = accounts.add_group(*split_account(account), name)
    warn_if_others_can_read(db.text, _log)
    print(f"{account} is {'now' if new else 'already'} in {name}")


@group.command("del")
@click.argument("account", metavar="USER@DOMAIN")
@click.argument("name", metavar="GROUP")
@db_option
def group_del(account: str, name: str, db: DatabaseName) -> None:
    """Take a subscriber out of a group."""
    from auth_diameter.store.accounts import Accounts
    from auth_diameter.store.names import split_account

    _must_exist(db)
    with Accounts.open(db.text, writable=True) as accounts:
        if not accounts.delete_group(*split_account(account), name):
            raise ad.ConfigError(f"{account} is not in {name}")
    print(f"{account} is no longer in {name}")


@group.command("list")
@click.argument("account", metavar="USER@DOMAIN")
@db_option
def group_list(account: str, db: DatabaseName) -> None:
    """List the groups of a subscriber."""
    from auth_diameter.store.accounts import Accounts
    from auth_diameter.store.names import split_account

    with Accounts.open(db.text) as accounts:
        groups = accounts.groups(*split_account(account))
        if not groups and accounts.stored_domain(*split_account(account)) is None:
            raise ad.ConfigError(f"no user {account} in {db}")
    for name in groups:
        print(visible(name))


def _must_exist(db: DatabaseName) -> None:
    if not Path(db.text).exists():
        raise ad.ConfigError(f"{db}: no such file; auth-diameter user add creates it")
