"""``auth-diameter user`` and ``auth-diameter group``: the subscribers of DISC, and their groups."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

import auth_diameter as ad
from auth_diameter.commands.files import warn_if_others_can_read
from auth_diameter.commands.options import Group, db_option, db_options, settings, table_options
from auth_diameter.commands.terminal import fail
from auth_diameter.logs import visible
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.url import MEMORY, DatabaseName

if TYPE_CHECKING:  # SQLAlchemy takes a moment, and no other command needs it
    from auth_diameter.store.importing import Imported, Source
    from auth_diameter.store.subscribers import Subscribers

_log = logging.getLogger(__name__)


@click.group(cls=Group)
def user() -> None:
    """Add, delete, list and import subscribers."""


@user.command("add")
@click.argument("account", metavar="USER@DOMAIN")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--replace", is_flag=True, help="Change the password of an existing user.")
@db_option
@table_options
def user_add(account: str, password_stdin: bool, replace: bool, db: DatabaseName, **options: Any) -> None:
    """Add a subscriber; a file is created if there is none.

    HA1 is stored, never the password; with --calculate-ha1, the password.
    """
    config = settings(StoreConfig, options)
    name, domain = _split(account, config)
    password = _password(account, from_stdin=password_stdin)

    def add(accounts: Subscribers) -> str:
        new = accounts.add_user(name, domain, password, replace=replace)
        realm = accounts.spelling_for(domain) if domain else ""
        _note_sha_2(accounts)
        stored = f"HA1 for {', '.join(accounts.stored_algorithms)}"
        if config.calculate_ha1:
            stored = "the password"
        where = f" in realm {realm}" if realm else ""
        typed = f" (not {domain}: challenges have the spelling of the database)" if realm != domain else ""
        done = "added" if new else "changed"
        return f"{done} {name}{'@' * bool(realm)}{realm}: {stored}{where}{typed}"

    print(visible(_use(add, db, config, writable=True)))


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
@table_options
def user_del(account: str, db: DatabaseName, **options: Any) -> None:
    """Delete a subscriber and all memberships."""
    config = settings(StoreConfig, options)
    name, domain = _split(account, config)
    _must_exist(db)

    def delete(accounts: Subscribers) -> None:
        if not accounts.delete_user(name, domain):
            raise ad.ConfigError(f"no user {account} in {db}")

    _use(delete, db, config, writable=True)
    print(f"deleted {account}")


@user.command("list")
@click.argument("only", metavar="[DOMAIN]", required=False)
@db_option
@table_options
def user_list(only: str | None, db: DatabaseName, **options: Any) -> None:
    """List subscribers, all or of one domain, with their groups."""
    if only is not None and "@" in only:
        rest = only.rpartition("@")[2]
        raise ad.ConfigError(f"{only}: expected DOMAIN; auth-diameter user list {rest} lists its users")

    def show(accounts: Subscribers) -> int:
        from auth_diameter.store.subscribers import BATCH

        count = 0
        spellings = accounts.group_spellings()
        found = accounts.users(only)
        while batch := list(islice(found, BATCH)):
            groups = accounts.groups_of([(each.username, each.domain) for each in batch], spellings)
            for each, its in zip(batch, groups, strict=True):
                print(visible(" ".join([str(each), *its])))
            count += len(batch)
        return count

    count = _use(show, db, settings(StoreConfig, options))
    # On stderr, so that stdout has only users.
    print(f"{count} user{'s' if count != 1 else ''}", file=sys.stderr)


@user.command("import")
@click.argument("file", metavar="[FILE.csv|-]", required=False)
@db_options(option="--from", required=False, what="Import the subscribers of this database instead")
@click.option("--replace", is_flag=True, help="Change existing users instead of refusing the file.")
@click.option(
    "--sync", is_flag=True, help="As --replace, and delete the users who are not in the file. Asks first."
)
@click.option("--yes", is_flag=True, help="Do not ask before users are deleted.")
@click.option("--dry-run", is_flag=True, help="Check all, and say what would be done; write nothing.")
@db_option
@table_options
def user_import(
    file: str | None,
    from_name: DatabaseName | None,
    replace: bool,
    sync: bool,
    yes: bool,
    dry_run: bool,
    db: DatabaseName,
    **options: Any,
) -> None:
    """Import subscribers from CSV, or from another database (--from).

    The header line names the columns: username,domain,password or username,domain,ha1[,ha1b], and with either
    [,groups]. Other columns are ignored, so a dump of Kamailio's table will do. The separator is a comma, a
    semicolon or a tab; several groups are separated by semicolons, or by commas if semicolons separate the
    columns. If a row is bad, nothing is imported and its line is named.

    In PostgreSQL and MariaDB all is imported or nothing. In SQLite and Redis an import may be
    interrupted: to complete it, repeat the command.
    """
    from auth_diameter.store.importing import BadRowsError, import_users
    from auth_diameter.store.importing import Options as How

    if (file is None) == (from_name is None):
        raise click.UsageError("name a FILE.csv, or - for stdin, or a database with --from")
    config = settings(StoreConfig, options)
    if dry_run and db.is_file and not Path(db.text).exists():
        db = DatabaseName("sqlite", MEMORY, db.shown)  # as empty as a new file
    bar = _Bar()

    def confirm(deleted: int, total: int) -> bool:
        users = "user is" if deleted == 1 else "users are"
        what = f"{db}: {deleted} {users} not among the {total} of {name}"
        if yes:
            return True
        if file == "-" or not sys.stdin.isatty():
            raise ad.ConfigError(f"{what}, and would be deleted: confirm with --yes")
        with bar.away():
            return click.confirm(f"{what}. Delete them?")

    how = How(replace=replace, sync=sync, dry_run=dry_run, progress=bar.show, confirm=confirm)
    with contextlib.ExitStack() as stack:
        name = "stdin" if file == "-" else file or str(from_name)
        stream = None if file is None else stack.enter_context(_open_source(file))
        stack.enter_context(bar)

        def work(accounts: Subscribers) -> Imported:
            _note_sha_2(accounts)
            with _source(accounts, stream, name, from_name) as source:
                return import_users(accounts, source, how)

        try:
            done = _use(work, db, config, *([from_name] if from_name else []), writable=not dry_run)
        except BadRowsError as error:
            bar.end()
            for problem in error.problems:
                print(visible(problem), file=sys.stderr)
            fail(f"{name}: nothing was imported")
    if done.not_used:
        print(visible(f"{name}: columns not used: {', '.join(done.not_used)}"), file=sys.stderr)
    there = f", {done.unchanged} there already" if done.unchanged else ""
    gone = f", {done.deleted} deleted" if sync else ""
    print(
        f"{'would be: ' if dry_run else ''}{done.added} added, {done.replaced} changed{there}{gone},"
        f" {done.memberships} group memberships"
    )


@contextlib.contextmanager
def _source(
    accounts: Subscribers, stream: BinaryIO | None, name: str, other: DatabaseName | None
) -> Iterator[Source]:
    """The rows of a CSV file, or of another database."""
    if other is None:
        from auth_diameter.store.csvimport import CsvSource

        assert stream is not None
        yield CsvSource(stream, name, domains=accounts.has_domains)
        return
    from auth_diameter.store.opening import open_subscribers
    from auth_diameter.store.storeimport import StoreSource

    with open_subscribers(other, StoreConfig()) as others:
        yield StoreSource(others)


def _open_source(file: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if file == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    try:
        return open(file, "rb")
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None


class _Bar:
    """A bar on stderr for each step of an import, if that is a terminal. Use it as a context manager."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description:>6}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> None:
        self._bar.start()

    def __exit__(self, *error: object) -> None:
        self.end()

    def end(self) -> None:
        """Leaves the bar as it is."""
        self._bar.stop()

    def show(self, step: str, done: int, total: int | None) -> None:
        """Shows how far a step has come."""
        if step not in self._tasks:
            for ended in self._tasks.values():
                self._bar.update(ended, total=self._bar.tasks[ended].completed)
            self._tasks[step] = self._bar.add_task(step, total=total)
        self._bar.update(self._tasks[step], completed=done, total=total)

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """A block in which something else is on the terminal."""
        self._bar.stop()
        yield
        self._bar.start()


@click.group(cls=Group)
def group() -> None:
    """Add, delete and list group memberships."""


@group.command("add")
@click.argument("account", metavar="USER@DOMAIN")
@click.argument("name", metavar="GROUP")
@db_option
@table_options
def group_add(account: str, name: str, db: DatabaseName, **options: Any) -> None:
    """Put a subscriber into a group."""
    config = settings(StoreConfig, options)
    names = _split(account, config)
    _must_exist(db)
    new = _use(lambda accounts: accounts.add_group(*names, name), db, config, writable=True)
    print(f"{account} is {'now' if new else 'already'} in {name}")


@group.command("del")
@click.argument("account", metavar="USER@DOMAIN")
@click.argument("name", metavar="GROUP")
@db_option
@table_options
def group_del(account: str, name: str, db: DatabaseName, **options: Any) -> None:
    """Take a subscriber out of a group."""
    config = settings(StoreConfig, options)
    names = _split(account, config)
    _must_exist(db)
    if not _use(lambda accounts: accounts.delete_group(*names, name), db, config, writable=True):
        raise ad.ConfigError(f"{account} is not in {name}")
    print(f"{account} is no longer in {name}")


@group.command("list")
@click.argument("account", metavar="USER@DOMAIN")
@db_option
@table_options
def group_list(account: str, db: DatabaseName, **options: Any) -> None:
    """List the groups of a subscriber."""
    config = settings(StoreConfig, options)
    names = _split(account, config)

    def find(accounts: Subscribers) -> tuple[str, ...]:
        groups = accounts.groups(*names)
        if not groups and accounts.stored_domain(*names) is None:
            raise ad.ConfigError(f"no user {account} in {db}")
        return groups

    for name in _use(find, db, config):
        print(visible(name))


def _use(
    work: Callable[[Subscribers], Any],
    db: DatabaseName,
    config: StoreConfig,
    *others: DatabaseName,
    writable: bool = False,
) -> Any:
    """Opens a database, calls what uses it, and warns if others can read it.

    Args:
        work: is called with the open database.
        db: the database.
        config: the names of its tables and columns.
        *others: databases that `work` opens itself.
        writable: whether the database is changed.

    Returns:
        What `work` returns.
    """
    from auth_diameter.store.engines import run
    from auth_diameter.store.opening import open_subscribers

    def use() -> Any:
        with open_subscribers(db, config, writable=writable) as accounts:
            return work(accounts)

    found = run(use, db, *others)
    if writable and db.is_file:
        warn_if_others_can_read(db.text, _log)  # once it is closed, SQLite's files beside it are gone
    return found


def _note_sha_2(accounts: Subscribers) -> None:
    if accounts.lacks_sha_2 and accounts.session.writable:
        _log.warning(
            "%s: table '%s' has no columns for HA1 by SHA-2, so its users have MD5 alone; auth-diameter db "
            "upgrade adds them",
            accounts.session.name,
            accounts.config.table,
        )


def _split(account: str, config: StoreConfig) -> tuple[str, str]:
    """The username and the domain; where domains do not count, there may be none.

    Raises:
        ConfigError: it is no user@domain.
    """
    from auth_diameter.store.names import split_account

    if not config.domain and "@" not in account:
        return account, ""
    return split_account(account)


def _must_exist(db: DatabaseName) -> None:
    if db.is_file and not Path(db.text).exists():
        raise ad.ConfigError(f"{db}: no such file; auth-diameter user add creates it")
