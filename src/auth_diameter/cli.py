"""The command line.

Exit status: 0 done; 1 refused (`check`), or a step went wrong (`demo`); 2 unusable arguments or
configuration, with one line that says what and where.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import auth_diameter as ad
from auth_diameter.config import parse_address

console = Console(highlight=False, soft_wrap=True)


def run() -> None:
    """The entry point: every expected failure is one line on stderr."""
    try:
        main.main(prog_name="auth-diameter", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.Abort:
        fail("aborted")
    except click.UsageError as error:
        where = f" ({error.ctx.command_path} --help)" if error.ctx is not None else ""
        fail(f"{error.format_message()}{where}")
    except click.ClickException as error:
        fail(error.format_message())
    except ad.Error as error:
        fail(str(error))
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output has seen enough
    except KeyboardInterrupt:
        sys.exit(130)


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit status 2."""
    print(f"auth-diameter: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Runs `work` on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ModuleNotFoundError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


async def until_stopped() -> None:
    """Waits for SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await stop.wait()


@contextlib.contextmanager
def listening(text: str) -> Iterator[None]:
    """Turns the errors of binding an address into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ad.ConfigError(
                f"{text} is in use: stop the program that has it, or choose another with --listen"
            ) from None
        if error.errno == errno.EACCES:
            raise ad.ConfigError(f"{text}: not allowed; ports below 1024 are root's") from None
        raise ad.ConfigError(f"cannot listen on {text}: {error.strerror or error}") from None


def show(address: tuple[str, int]) -> str:
    """``HOST:PORT``, with brackets around IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Address(click.ParamType[tuple[str, int]]):
    """HOST:PORT on the command line."""

    name = "HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        """(host, port); a usage error where it is not of that form."""
        if isinstance(value, tuple):
            return value
        try:
            return parse_address(value, None, "address")
        except ad.ConfigError as error:
            self.fail(str(error), param, ctx)


ADDRESS = Address()
database = click.option(
    "--db",
    required=True,
    metavar="FILE",
    envvar="AUTH_DIAMETER_DB",
    help="SQLite database with Kamailio's tables. [env: AUTH_DIAMETER_DB]",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ad.__version__, message="auth-diameter %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def main(verbose: bool) -> None:
    """SIP digest authentication with a Diameter back end."""
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


# ---------------------------------------------------------------------------------- servers


@main.command()
@click.option("--listen", type=ADDRESS, default="127.0.0.1:3000", show_default=True)
@database
@click.option("--rechallenge", is_flag=True, help="Answer wrong credentials with a new challenge, not 403.")
@click.option(
    "--nonce-lifetime",
    type=click.FloatRange(1, 86400),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a challenge may be answered.",
)
def disc(listen: tuple[str, int], db: str, rechallenge: bool, nonce_lifetime: float) -> None:
    """Run DISC: challenge, verify and check groups for SIP servers."""
    from auth_diameter.disc.listener import listen as start
    from auth_diameter.disc.server import Disc, DiscConfig
    from auth_diameter.disc.store import Store

    config = DiscConfig(nonce_lifetime=nonce_lifetime, rechallenge=rechallenge)

    async def work() -> int:
        with Store.open(db) as store:
            with listening(show(listen)):
                listener = await start(Disc(store, config), *listen)
            print(f"DISC listening on {show(listener.address)}, users from {db}", flush=True)
            await until_stopped()
            await listener.aclose()
        return 0

    sys.exit(run_loop(work()))


@main.command()
@click.option("--listen", type=ADDRESS, default="127.0.0.1:5060", show_default=True)
@click.option(
    "--disc",
    "disc_hosts",
    default="localhost:3000",
    show_default=True,
    metavar="HOST:PORT[,…]",
    help="DISC to ask; several with commas.",
)
@click.option("--route", metavar="FILE.py", help="Python file with async def request_route(request, auth).")
def serve(listen: tuple[str, int], disc_hosts: str, route: str | None) -> None:
    """Run a SIP/UDP server that lets through whom DISC knows."""
    from auth_diameter.host import load_route
    from auth_diameter.host import serve as start

    config = ad.Config(diameter_client_host=disc_hosts)
    script = load_route(route) if route is not None else None

    async def work() -> int:
        async with ad.AsyncAuthDiameter(config) as auth:
            with listening(show(listen)):
                host = await start(auth, *listen, script)
            print(f"SIP/UDP listening on {show(host.address)}, asking DISC at {disc_hosts}", flush=True)
            await until_stopped()
            await host.aclose()
        return 0

    sys.exit(run_loop(work()))


# ---------------------------------------------------------------------------------- the database


@main.group()
def user() -> None:
    """Add, delete, list and import subscribers."""


@user.command("add")
@click.argument("account", metavar="USER@DOMAIN")
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin, one line.")
@click.option("--replace", is_flag=True, help="Change the password of a user who exists.")
@database
def user_add(account: str, password_stdin: bool, replace: bool, db: str) -> None:
    """Add a subscriber; the file is made where there is none. HA1 is stored, never the password."""
    from auth_diameter.disc.store import Store, split_account

    name, domain = split_account(account)
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt(f"Password of {account}", hide_input=True, confirmation_prompt=True)
    if not password:
        raise ad.ConfigError("the password is empty")
    with Store.open(db, writable=True) as store:
        new = store.add_user(name, domain, password, replace=replace)
    print(f"{'added' if new else 'changed'} {account}")


@user.command("del")
@click.argument("account", metavar="USER@DOMAIN")
@database
def user_del(account: str, db: str) -> None:
    """Delete a subscriber and all memberships."""
    from auth_diameter.disc.store import Store, split_account

    name, domain = split_account(account)
    _must_exist(db)
    with Store.open(db, writable=True) as store:
        if not store.delete_user(name, domain):
            raise ad.ConfigError(f"no user {account} in {db}")
    print(f"deleted {account}")


@user.command("list")
@click.argument("domain", required=False)
@database
def user_list(domain: str | None, db: str) -> None:
    """List subscribers, all or of one domain, with their groups."""
    from auth_diameter.disc.store import Store

    with Store.open(db) as store:
        table = Table("user", "domain", "groups", box=None, header_style="bold")
        count = 0
        for found in store.users(domain):
            table.add_row(found.username, found.domain, " ".join(store.groups(found.username, found.domain)))
            count += 1
    console.print(table)
    console.print(f"{count} user{'s' if count != 1 else ''}")


@user.command("import")
@click.argument("file", metavar="FILE.csv|-")
@click.option("--replace", is_flag=True, help="Change users who exist instead of refusing the file.")
@database
def user_import(file: str, replace: bool, db: str) -> None:
    """Import subscribers from CSV, columns username,domain,password (or ha1[,ha1b]) [,groups].

    Nothing is written if a row is bad; the line is named.
    """
    from auth_diameter.disc.csvimport import CsvError, import_csv
    from auth_diameter.disc.store import Store

    bar = Progress(
        TextColumn("{task.description:>6}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    tasks: dict[str, Any] = {}

    def progress(step: str, done: int, total: int | None) -> None:
        if step not in tasks:
            tasks[step] = bar.add_task(step, total=total)
        bar.update(tasks[step], completed=done, total=total)

    try:
        source = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None
    try:
        with Store.open(db, writable=True) as store, bar:
            done = import_csv(store, source, name=file, replace=replace, progress=progress)
    except CsvError as error:
        for problem in error.problems[:20]:
            print(problem, file=sys.stderr)
        fail(f"{file}: nothing was imported")
    finally:
        if file != "-":
            source.close()
    print(f"{done.added} added, {done.replaced} changed, {done.memberships} group memberships")


@main.group()
def group() -> None:
    """Add, delete and list group memberships."""


@group.command("add")
@click.argument("account", metavar="USER@DOMAIN")
@click.argument("name", metavar="GROUP")
@database
def group_add(account: str, name: str, db: str) -> None:
    """Put a subscriber into a group."""
    from auth_diameter.disc.store import Store, split_account

    _must_exist(db)
    with Store.open(db, writable=True) as store:
        new = store.add_group(*split_account(account), name)
    print(f"{account} is {'now' if new else 'already'} in {name}")


@group.command("del")
@click.argument("account", metavar="USER@DOMAIN")
@click.argument("name", metavar="GROUP")
@database
def group_del(account: str, name: str, db: str) -> None:
    """Take a subscriber out of a group."""
    from auth_diameter.disc.store import Store, split_account

    _must_exist(db)
    with Store.open(db, writable=True) as store:
        if not store.delete_group(*split_account(account), name):
            raise ad.ConfigError(f"{account} is not in {name}")
    print(f"{account} is no longer in {name}")


@group.command("list")
@click.argument("account", metavar="USER@DOMAIN")
@database
def group_list(account: str, db: str) -> None:
    """List the groups of a subscriber."""
    from auth_diameter.disc.store import Store, split_account

    with Store.open(db) as store:
        for name in store.groups(*split_account(account)):
            print(name)


def _must_exist(db: str) -> None:
    if not Path(db).exists():
        raise ad.ConfigError(f"{db}: no such file; auth-diameter user add makes one")


# ---------------------------------------------------------------------------------- looking


@main.command()
@click.argument("file", metavar="FILE|-")
@click.option("--disc", "disc_hosts", default="localhost:3000", show_default=True, metavar="HOST:PORT[,…]")
@click.option("--realm", default="$fd", show_default=True, help="Text with pseudo-variables, or empty.")
@click.option("--proxy/--www", default=None, help="Which function to ask. [default: www for REGISTER]")
@click.option(
    "--group", "group_name", metavar="GROUP", help="After that, ask whether the user is in a group."
)
def check(file: str, disc_hosts: str, realm: str, proxy: bool | None, group_name: str | None) -> None:
    """Ask DISC about one SIP request from a file; print the decision and the reply."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None
    # Files from an editor end their lines with LF alone, which SIP does not know.
    if b"\r\n" not in data:
        data = data.replace(b"\n", b"\r\n")
    try:
        request = ad.SipRequest(data)
    except ad.ParseError as error:
        raise ad.ConfigError(f"{file}: {error}") from None
    config = ad.Config(diameter_client_host=disc_hosts)
    with ad.AuthDiameter(config) as auth:
        use_proxy = proxy if proxy is not None else request.method != "REGISTER"
        ask = auth.diameter_proxy_authorize if use_proxy else auth.diameter_www_authorize
        decision = ask(request, realm)
        _print_decision(ask.__name__, decision, disc_hosts)
        if decision and group_name is not None:
            decision = auth.diameter_is_user_in(request, "Credentials", group_name)
            _print_decision("diameter_is_user_in", decision, disc_hosts)
    sys.exit(0 if decision else 1)


def _print_decision(function: str, decision: ad.Decision, disc_hosts: str) -> None:
    table = Table(box=None, show_header=False)
    table.add_row("function", function)
    table.add_row("decision", "let through" if decision else "refused")
    table.add_row("cause", f"{decision.cause.name}: {decision.cause.value}")
    table.add_row("return code", str(decision.return_code))
    table.add_row("username", decision.username or "–")
    table.add_row("realm", decision.realm or "–")
    console.print(table)
    if decision.cause is ad.Cause.DISC_UNREACHABLE:
        console.print(f"Is DISC running at {disc_hosts}? Start it with: auth-diameter disc --db FILE.sqlite")
    if decision.reply is not None:
        console.print()
        print(decision.reply.decode("utf-8", "replace").replace("\r\n", "\n").rstrip())


@main.command()
@click.argument("source", metavar="HEX|FILE|-")
def decode(source: str) -> None:
    """Print a Diameter message, or a stream of them, from hexadecimal or a file."""
    data = _bytes_of(source)
    framer = ad.Framer()
    count = 0
    try:
        for message in framer.feed(data):
            if count:
                print()
            print(ad.format_message(ad.Message.decode(message), secrets=True))
            count += 1
    except ad.ParseError as error:
        fail(f"message {count + 1}: {error}")
    if framer.pending:
        fail(f"message {count + 1} is cut off: {framer.pending} bytes of it are there")
    if not count:
        fail("no bytes to decode")


def _bytes_of(source: str) -> bytes:
    """What `source` names: stdin, a file of bytes or of hexadecimal, or hexadecimal itself."""
    if source == "-":
        raw = sys.stdin.buffer.read()
    elif Path(source).is_file():
        raw = Path(source).read_bytes()
    else:
        try:
            return bytes.fromhex(source.removeprefix("0x"))
        except ValueError:
            raise ad.ConfigError(f"{source[:40]}: neither a file nor hexadecimal") from None
    try:
        return bytes.fromhex(raw.decode("ascii"))
    except ValueError:
        return raw


@main.command()
@click.option("--full", is_flag=True, help="Print every message whole.")
def demo(full: bool) -> None:
    """Play both phases of digest authentication and a group check on loopback."""
    from auth_diameter.demo import play

    sys.exit(run_loop(play(console, full)))
