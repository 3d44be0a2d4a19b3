"""The command line.

Exit status: 0 done; 1 refused (`check`), or a step went wrong (`demo`); 2 unusable arguments or
configuration, with one line that says what and where.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import errno
import io
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Literal, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import auth_diameter as ad
from auth_diameter.config import parse_address
from auth_diameter.logs import Formatter, visible

Network = IPv4Network | IPv6Network

console = Console(highlight=False, soft_wrap=True)


def run() -> None:
    """The entry point: every expected failure is one line on stderr."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="auth_diameter_plain")
    try:
        status = main.main(prog_name="auth-diameter", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(status)
    except click.Abort as abort:
        if isinstance(abort.__cause__, KeyboardInterrupt):
            sys.exit(130)
        fail("aborted")
    except click.UsageError as error:
        where = f" ({error.ctx.command_path} --help)" if error.ctx is not None else ""
        fail(f"{error.format_message()}{where}")
    except click.ClickException as error:
        fail(error.format_message())
    except ad.Error as error:
        fail(str(error))
    except BrokenPipeError:
        # The reader of our output has seen enough; what is left must not fail once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)  # as click has it
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def fail(message: str) -> NoReturn:
    """One line on stderr, and exit status 2."""
    print(f"auth-diameter: {visible(' '.join(message.split()))}", file=sys.stderr)
    sys.exit(2)


_PLAIN = str.maketrans(
    {"│": "|", "─": "-", "├": "|", "┤": "|", "►": ">", "◄": "<"}
    | {"→": "->", "✓": "ok", "✗": "wrong", "–": "-", "…": "..."}
)


def _in_plain_letters(error: UnicodeError) -> tuple[str, int]:
    """What a terminal that has no UTF-8 gets for a character that it cannot show."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


codecs.register_error("auth_diameter_plain", _in_plain_letters)


def run_loop(work: Coroutine[Any, Any, int]) -> int:
    """Runs `work` on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    except ModuleNotFoundError:
        factory = asyncio.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def on_stop(parent: int | None = None) -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; a second one ends the program at once.

    :param parent: a file descriptor that becomes readable when a worker shall end.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)

    def handle() -> None:
        stop.set()
        for name in signals:
            loop.remove_signal_handler(name)
        if parent is not None:
            loop.remove_reader(parent)

    for name in signals:
        loop.add_signal_handler(name, handle)
    if parent is not None:
        loop.add_reader(parent, handle)
    return stop


def allow_connections() -> None:
    """Raises the number of files, and so of connections, to what the system allows this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextlib.contextmanager
def listening(text: str, option: str = "--listen") -> Iterator[None]:
    """Turns the errors of binding an address into one line that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ad.ConfigError(
                f"{text} is in use: stop the program that has it, or choose another with {option}"
            ) from None
        if error.errno == errno.EACCES:
            raise ad.ConfigError(f"{text}: not allowed; ports below 1024 are root's") from None
        raise ad.ConfigError(f"cannot listen on {text}: {error.strerror or error}") from None


def bind_metrics(at: tuple[str, int] | None, count: int = 1) -> list[socket.socket]:
    """Sockets for metrics, one for each process; none where there are to be none."""
    if at is None:
        return []
    try:
        from auth_diameter.metrics import bind
    except ModuleNotFoundError as error:
        raise ad.ConfigError(f"--metrics: no {error.name}; pip install 'auth-diameter[server]'") from None
    with listening(show(at), "--metrics"):
        sockets = bind(*at, count)
    ports = " and ".join(f"http://{show(sock.getsockname()[:2])}/metrics" for sock in sockets)
    logging.getLogger("auth_diameter.metrics").info("metrics at %s", ports)
    return sockets


def show(address: tuple[str, int]) -> str:
    """``HOST:PORT``, with brackets around IPv6."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def address(text: str) -> tuple[str, int]:
    """The (host, port) of HOST:PORT on the command line."""
    try:
        return parse_address(text, None, "address")
    except ad.ConfigError as error:
        raise click.BadParameter(str(error)) from None


def network(text: str) -> Network:
    """The network of NETWORK on the command line; an address alone is a network of one."""
    try:
        return ip_network(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def peers(text: str) -> str:
    """`text` as it is, when each part between commas is the HOST:PORT of a DISC."""
    for part in text.split(","):
        host, port = address(part if ":" in part else f"{part}:{DEFAULT_PORT}")
        if not port:
            raise click.BadParameter(f"address {show((host, port))!r}: no DISC is on port 0")
    return text


def address_or_port(text: str) -> tuple[str, int]:
    """As `address`; a port alone is one of loopback."""
    return address(f"127.0.0.1:{text}" if text.isdigit() else text)


def names(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part.strip() for part in text.split(","))


DEFAULT_PORT = 3000  # of DISC
disc_option = click.option(
    "--disc",
    "disc_hosts",
    type=peers,
    metavar="HOST:PORT[,…]",
    default=f"localhost:{DEFAULT_PORT}",
    show_default=True,
    help="DISC to ask; several with commas.",
)
database = click.option(
    "--db",
    required=True,
    metavar="FILE",
    envvar="AUTH_DIAMETER_DB",
    help="SQLite database with Kamailio's tables. [env: AUTH_DIAMETER_DB]",
)


metrics_option = click.option(
    "--metrics",
    "metrics_at",
    type=address_or_port,
    metavar="[HOST:]PORT",
    help="Serve metrics for Prometheus there; a port alone is one of loopback.",
)


class Group(click.Group):
    """Commands; without one, the help, on stderr because nothing was done."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, but for no arguments at all."""
        if not args:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(ad.__version__, message="auth-diameter %(version)s")
@click.option("-v", "--verbose", is_flag=True, help="Log more: of DISC, every question.")
def main(verbose: bool) -> None:
    """SIP digest authentication with a Diameter back end."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


# ---------------------------------------------------------------------------------- servers


@main.command()
@click.option("--listen", type=address, metavar="HOST:PORT", default="127.0.0.1:3000", show_default=True)
@database
@click.option(
    "--algorithms",
    type=names,
    default="MD5",
    show_default=True,
    metavar="NAME[,…]",
    help="Offered in this order: MD5, SHA-256, SHA-512-256, each also with -sess.",
)
@click.option(
    "--qop", type=names, default="auth", show_default=True, metavar="NAME[,…]", help="auth, auth-int."
)
@click.option(
    "--one-challenge",
    type=network,
    multiple=True,
    metavar="NETWORK",
    help="SIP servers there can take one challenge only, as Kamailio's C module; may be repeated.",
)
@click.option("--rechallenge", is_flag=True, help="Answer wrong credentials with a new challenge, not 403.")
@click.option(
    "--max-challenges",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    metavar="N",
    help="With --rechallenge, so many in a row for a user and source.",
)
@click.option(
    "--nonce-lifetime",
    type=click.FloatRange(1, 86400),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="How long a challenge may be answered.",
)
@click.option(
    "--nonce-uses",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="How often a challenge may be answered; 1: once, 0: as often as the client counts.",
)
@click.option(
    "--nonce-key",
    multiple=True,
    metavar="FILE",
    help="File of 16 secret bytes or more; several DISC with the same one accept each other's challenges. "
    "May be repeated: the first makes challenges, all are accepted.",
)
@click.option(
    "--bind-source", is_flag=True, help="A challenge may be answered from the address alone that got it."
)
@click.option("--userhash", is_flag=True, help="Offer that the username may come hashed.")
@click.option("--authentication-info", is_flag=True, help="Prove the server's side, too, in 200 replies.")
@click.option(
    "--uri-policy",
    type=click.Choice(["host", "strict", "off"]),
    default="host",
    show_default=True,
    help="How near the digest-uri must be to the Request-URI.",
)
@click.option(
    "--allow",
    type=network,
    multiple=True,
    metavar="NETWORK",
    help="Take connections from this network only, as 192.0.2.0/24 or 2001:db8::1; may be repeated.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    default=32_768,
    show_default=True,
    metavar="N",
    help="Connections in all.",
)
@click.option(
    "--max-per-source",
    type=click.IntRange(1),
    default=16_384,
    show_default=True,
    metavar="N",
    help="Connections from one IPv4 address or IPv6 /64; three quarters of all at most.",
)
@metrics_option
def disc(
    listen: tuple[str, int],
    db: str,
    algorithms: tuple[str, ...],
    qop: tuple[str, ...],
    one_challenge: tuple[Network, ...],
    rechallenge: bool,
    max_challenges: int,
    nonce_lifetime: float,
    nonce_uses: int,
    nonce_key: tuple[str, ...],
    bind_source: bool,
    userhash: bool,
    authentication_info: bool,
    uri_policy: Literal["host", "strict", "off"],
    allow: tuple[Network, ...],
    max_connections: int,
    max_per_source: int,
    metrics_at: tuple[str, int] | None,
) -> None:
    """Run DISC: challenge, verify and check groups for SIP servers."""
    from auth_diameter.disc.config import DiscConfig
    from auth_diameter.disc.listener import ListenerConfig
    from auth_diameter.disc.listener import listen as start
    from auth_diameter.disc.nonce import Nonces
    from auth_diameter.disc.server import Disc
    from auth_diameter.disc.store import Store

    config = DiscConfig(
        algorithms=algorithms,
        qop=qop,
        nonce_lifetime=nonce_lifetime,
        nonce_uses=nonce_uses,
        bind_source=bind_source,
        userhash=userhash,
        authentication_info=authentication_info,
        uri_policy=uri_policy,
        rechallenge=rechallenge,
        max_challenges=max_challenges,
    )
    nonces = Nonces([_nonce_key(file) for file in nonce_key] or None, nonce_lifetime)
    limits = ListenerConfig(
        allow=allow,
        one_challenge=one_challenge,
        max_connections=max_connections,
        max_per_source=max_per_source,
    )
    log = logging.getLogger("auth_diameter.disc")
    exports = bind_metrics(metrics_at)

    async def work() -> int:
        with Store.open(db) as store:
            server = Disc(store, config, nonces)
            with listening(show(listen)):
                listener = await start(server, *listen, limits)
            stop = on_stop()  # before anyone is told that we are there
            if exports:
                from auth_diameter import metrics

                metrics.Exporter(exports[0], metrics.disc(server, listener))
            addresses = " and ".join(map(show, listener.addresses))
            if not allow and not all(ip_address(host).is_loopback for host, _ in listener.addresses):
                log.warning(
                    "anybody who reaches %s may ask: name the networks of your SIP servers with --allow",
                    addresses,
                )
            print(f"DISC listening on {addresses}, users from {db}", flush=True)
            await stop.wait()
            await listener.aclose()
        counts = ", ".join(f"{outcome.name} {count}" for outcome, count in server.counts.most_common())
        log.info("stopped; answered: %s", counts or "nothing")
        return 0

    allow_connections()
    sys.exit(run_loop(work()))


def _nonce_key(file: str) -> bytes:
    try:
        with open(file, "rb") as source:
            key = source.read(4096)  # of a device that never ends, too
    except OSError as error:
        raise ad.ConfigError(f"--nonce-key {file}: {error.strerror}") from None
    if len(key) < 16:
        raise ad.ConfigError(f"--nonce-key {file}: expected 16 secret bytes or more, not {len(key)}")
    return key


@main.command()
@click.option("--listen", type=address, metavar="HOST:PORT", default="127.0.0.1:5060", show_default=True)
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
    """Run a SIP/UDP server that lets through whom DISC knows."""
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


# ---------------------------------------------------------------------------------- the database


@main.group(cls=Group)
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
    password = _password(account, password_stdin)
    with Store.open(db, writable=True) as store:
        new = store.add_user(name, domain, password, replace=replace)
    print(f"{'added' if new else 'changed'} {account}")


def _password(account: str, from_stdin: bool) -> str:
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

    count = 0
    with Store.open(db) as store:
        for count, found in enumerate(store.users(domain), 1):  # noqa: B007 - shown at the end
            print(visible(" ".join([str(found), *store.groups(found.username, found.domain)])))
    # Not on stdout: what reads that gets users alone.
    print(f"{count} user{'s' if count != 1 else ''}", file=sys.stderr)


@user.command("import")
@click.argument("file", metavar="FILE.csv|-")
@click.option("--replace", is_flag=True, help="Change users who exist instead of refusing the file.")
@database
def user_import(file: str, replace: bool, db: str) -> None:
    """Import subscribers from CSV.

    Its columns are username,domain,password or username,domain,ha1[,ha1b], and with either [,groups],
    separated by semicolons. Nothing is written if a row is bad; the line is named. An import that was
    interrupted is completed by the same command.
    """
    from auth_diameter.disc.csvimport import CsvError, import_csv
    from auth_diameter.disc.store import Store

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

    try:
        source = sys.stdin.buffer if file == "-" else open(file, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None
    try:
        with Store.open(db, writable=True) as store, bar:
            done = import_csv(store, source, name=file, replace=replace, progress=progress)
    except CsvError as error:
        for problem in error.problems[:20]:
            print(visible(problem), file=sys.stderr)
        fail(f"{file}: nothing was imported")
    finally:
        if file != "-":
            source.close()
    there = f", {done.unchanged} there already" if done.unchanged else ""
    print(f"{done.added} added, {done.replaced} changed{there}, {done.memberships} group memberships")


@main.group(cls=Group)
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
        groups = store.groups(*split_account(account))
        if not groups and store.stored_domain(*split_account(account)) is None:
            raise ad.ConfigError(f"no user {account} in {db}")
    for name in groups:
        print(visible(name))


def _must_exist(db: str) -> None:
    if not Path(db).exists():
        raise ad.ConfigError(f"{db}: no such file; auth-diameter user add makes one")


# ---------------------------------------------------------------------------------- looking


@main.command()
@click.argument("file", metavar="FILE|-")
@disc_option
@click.option("--realm", default="$fd", show_default=True, help="Text with pseudo-variables, or empty.")
@click.option("--proxy/--www", default=None, help="Which function to ask. [default: www for REGISTER]")
@click.option(
    "--group", "group_name", metavar="GROUP", help="After that, ask whether the user is in a group."
)
def check(file: str, disc_hosts: str, realm: str, proxy: bool | None, group_name: str | None) -> None:
    """Ask DISC about one SIP request; print decision and reply.

    The exit status is 0 when it is let through, 1 when it is refused, and 2 when DISC does not answer.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None
    # Files from an editor end their lines with LF alone, which SIP does not know, and often lack the
    # empty line at the end.
    if b"\r\n" not in data:
        data = data.replace(b"\n", b"\r\n")
    if b"\r\n\r\n" not in data:
        data = data.rstrip(b"\r\n") + b"\r\n\r\n"
    try:
        request = ad.SipRequest(data)
    except ad.ParseError as error:
        raise ad.ConfigError(f"{file}: {error}") from None
    config = ad.Config(diameter_client_host=disc_hosts)
    with ad.AuthDiameter(config) as auth:
        use_proxy = proxy if proxy is not None else request.method != "REGISTER"
        ask = auth.diameter_proxy_authorize if use_proxy else auth.diameter_www_authorize
        decision = ask(request, realm)
        _print_decision(ask.__name__, decision)
        if decision and group_name is not None:
            decision = auth.diameter_is_user_in(request, "Credentials", group_name)
            print()
            _print_decision("diameter_is_user_in", decision)
    if decision.cause in _NO_ANSWER:
        fail(f"no answer from DISC at {disc_hosts}: {decision.cause.value}; is auth-diameter disc running?")
    sys.exit(0 if decision else 1)


_NO_ANSWER = (ad.Cause.DISC_UNREACHABLE, ad.Cause.DISC_TIMEOUT, ad.Cause.DISC_LOST)


def _print_decision(function: str, decision: ad.Decision) -> None:
    for name, value in (
        ("function", function),
        ("decision", "let through" if decision else "refused"),
        ("cause", f"{decision.cause.name}: {decision.cause.value}"),
        ("return code", decision.return_code),
        ("username", decision.username or "–"),
        ("realm", decision.realm or "–"),
    ):
        print(f"{name:<12} {visible(str(value))}")
    if decision.reply is not None:
        print()
        for line in decision.reply.decode("utf-8", "replace").rstrip().split("\r\n"):
            print(visible(line))


@main.command()
@click.argument("source", metavar="HEX|FILE|-")
def decode(source: str) -> None:
    """Print Diameter messages from hexadecimal or a file."""
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
    elif _is_file(source):
        raw = Path(source).read_bytes()
    else:
        try:
            return bytes.fromhex(source.removeprefix("0x"))
        except ValueError:
            shown = source if len(source) <= 40 else f"{source[:40]}…"
            raise ad.ConfigError(f"{shown}: neither a file nor hexadecimal") from None
    try:
        return bytes.fromhex(raw.decode("ascii"))
    except ValueError:
        return raw


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # longer than any file's name, as most messages are
        return False


@main.command()
@click.option("--full", is_flag=True, help="Print every message whole.")
def demo(full: bool) -> None:
    """Play digest authentication on loopback; print its ladder.

    Both phases, a wrong password, and a group check, with everything it needs. The exit status is 0 when
    every step went as it should.
    """
    from auth_diameter.demo import play

    sys.exit(run_loop(play(console, full)))


@main.command()
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 600),
    default=20,
    show_default=True,
    help="For about how long to measure.",
)
def bench(seconds: float) -> None:
    """Measure this machine; print a table.

    Each step of a request, beside what does the same without this package, and whole requests on
    loopback. Without the peers to compare with, only what is here.
    """
    from auth_diameter.bench import HEADER, run
    from auth_diameter.bench.report import table

    bar = Progress(
        BarColumn(),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        auto_refresh=False,  # by a thread, which would be measured too
        transient=True,
    )
    with bar:
        task = bar.add_task("", total=1.0)

        def progress(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done, refresh=True)

        rows = run(seconds, progress)
    table(HEADER, rows)
