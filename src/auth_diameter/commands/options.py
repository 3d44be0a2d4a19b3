"""Options that several commands share, and the parsing of option values."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import logging
import os
import re
import types
from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import click

import auth_diameter as ad
from auth_diameter.addresses import parse_address, show
from auth_diameter.commands.files import warn_if_others_can_read
from auth_diameter.config import DEFAULT_PORT
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.url import DatabaseName, database_name

Network = IPv4Network | IPv6Network

_T = TypeVar("_T")
_Command = TypeVar("_Command", bound=Callable[..., Any])

_log = logging.getLogger(__name__)


# ---------------------------------------------------------------------------------- values


def address(text: str) -> tuple[str, int]:
    """Parses HOST:PORT.

    Raises:
        click.BadParameter: it is no address.
    """
    try:
        return parse_address(text, None, "address")
    except ad.ConfigError as error:
        raise click.BadParameter(str(error)) from None


def _network(text: str) -> Network:
    """Parses a network.

    Raises:
        ValueError: `text` is none. If it has host bits set, the message says what to write.
    """
    try:
        return ip_network(text)
    except ValueError as error:
        try:
            meant = ip_network(text, strict=False)
        except ValueError:
            raise error from None
        raise ValueError(f"{error}: write {meant}, or {text.partition('/')[0]} alone") from None


class NetworkText(str):
    """NETWORK or @FILE as given on the command line; a file is read again on SIGHUP."""

    __slots__ = ()

    def networks(self, option: str) -> tuple[Network, ...]:
        """The network, or the networks in the file: one a line, ``#`` begins a comment.

        Args:
            option: the option's name, for messages.

        Raises:
            ConfigError: the file cannot be read, a line of it is no network, or it has no network at all.
        """
        if not self.startswith("@"):
            return (_network(self),)
        name = f"{option} {self[1:]}"
        try:
            with open(self[1:], encoding="utf-8-sig") as source:
                lines = source.readlines()
        except UnicodeDecodeError:
            raise ad.ConfigError(f"{name}: is not UTF-8") from None
        except (OSError, ValueError) as error:
            raise ad.ConfigError(f"{name}: {getattr(error, 'strerror', error)}") from None
        found: list[Network] = []
        for number, line in enumerate(lines, 1):
            text = line.partition("#")[0].strip()
            try:
                found += [_network(text)] if text else []
            except ValueError as error:
                raise ad.ConfigError(f"{name}, line {number}: {error}") from None
        if not found:
            raise ad.ConfigError(f"{name}: no network in it")  # no network would mean: any address
        return tuple(found)


def network(text: str) -> NetworkText:
    """Parses NETWORK or @FILE; a single address is a network of one.

    Raises:
        click.BadParameter: it is no network.
    """
    if not text.startswith("@"):
        try:
            _network(text)
        except ValueError as error:
            raise click.BadParameter(str(error)) from None
    return NetworkText(text)


def networks(texts: Collection[NetworkText], option: str) -> tuple[Network, ...]:
    """All networks of an option that may be repeated.

    Args:
        texts: the values of the option.
        option: its name, for messages.

    Raises:
        ConfigError: see `NetworkText.networks`.
    """
    return tuple(each for text in texts for each in text.networks(option))


def peers(text: str) -> str:
    """Checks HOST:PORT[,…], the addresses of DISC.

    Returns:
        `text` as it is.

    Raises:
        click.BadParameter: a part is no address, or has port 0.
    """
    for part in text.split(","):
        host, port = address(part if ":" in part else f"{part}:{DEFAULT_PORT}")
        if not port:
            raise click.BadParameter(f"address {show(host, port)!r}: no DISC is on port 0")
    return text


def address_or_port(text: str) -> tuple[str, int]:
    """Parses HOST:PORT, or a port alone, which is on loopback.

    Raises:
        click.BadParameter: it is neither.
    """
    return address(f"127.0.0.1:{text}" if text.isdigit() else text)


def names(text: str) -> tuple[str, ...]:
    """Parses names separated by commas."""
    return tuple(part.strip() for part in text.split(","))


def database(text: str) -> DatabaseName:
    """The database that --db names.

    Raises:
        click.BadParameter: it names none.
    """
    if not text:
        raise click.BadParameter("the name of the database is empty")
    try:
        return database_name(text)
    except ad.ConfigError as error:
        raise click.BadParameter(str(error)) from None


def number_or_none(text: str) -> float | None:
    """Parses a number, or ``none`` for no limit.

    Raises:
        click.BadParameter: it is neither.
    """
    if text == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a number nor none") from None


# ---------------------------------------------------------------------------------- settings


def settings_of(
    kind: type, without: Collection[str] = (), presets: Mapping[str, object] | None = None
) -> Callable[[_Command], _Command]:
    """Adds an option for each field of a dataclass: its name, type, default and documentation.

    A field that is a mapping gets none.

    Args:
        kind: the dataclass.
        without: fields that get no option here.
        presets: defaults that differ from those of the class.
    """
    hints, docs = get_type_hints(kind), _docs(kind)
    own = kind.__annotations__  # its own options come before those of its bases
    fields = sorted(dataclasses.fields(kind), key=lambda field: field.name not in own)
    fields = [
        field for field in fields if field.name not in without and Mapping not in _origins(hints[field.name])
    ]

    def decorate(command: _Command) -> _Command:
        for field in reversed(fields):  # the last decorator is the first option in --help
            default = (presets or {}).get(field.name, field.default)
            option = _option(field.name, hints[field.name], default, docs.get(field.name, ""))
            command = option(command)
        return command

    return decorate


def _origins(hint: object) -> list[object]:
    """What a type hint is of: of a union, each."""
    return [
        get_origin(each) or each
        for each in (get_args(hint) if get_origin(hint) is types.UnionType else [hint])
    ]


def settings(kind: type[_T], values: Mapping[str, Any], **fixed: object) -> _T:
    """Makes the dataclass from the options that `settings_of` added.

    Args:
        kind: the dataclass.
        values: the options' values, by parameter; other parameters are ignored.
        **fixed: values of other fields.

    Raises:
        ConfigError: a file of networks cannot be used.
        click.BadParameter: another value cannot be used.
    """
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        value = values.get(field.name)
        if field.name not in fixed and field.name in values:
            if isinstance(value, tuple) and any(isinstance(each, NetworkText) for each in value):
                value = networks(value, option_name(field.name))
            fixed[field.name] = value
    try:
        return kind(**fixed)
    except ad.ConfigError as error:
        name, _, reason = str(error).partition(": ")
        if name not in fixed:
            raise
        raise click.BadParameter(reason, param_hint=f"'{option_name(name)}'") from None


def option_name(field: str) -> str:
    """The option of a field: ``--max-delay`` for ``max_delay``."""
    return f"--{field.replace('_', '-')}"


def _option(name: str, hint: object, default: object, text: str) -> Callable[[_Command], _Command]:
    option = option_name(name)
    more: dict[str, Any] = {}
    kind: Any
    if hint is bool:
        option, kind = f"{option}/--no-{option[2:]}", None
    elif get_origin(hint) is Literal:
        kind = click.Choice(get_args(hint))
    elif hint is str:
        kind, more = str, {"metavar": "NAME"}
    elif hint == tuple[str, ...]:
        kind, more = names, {"metavar": "NAME[,…]"}
        default = ",".join(default) if isinstance(default, tuple) else default
    elif hint == tuple[Network, ...]:
        kind, more = network, {"metavar": "NETWORK|@FILE", "multiple": True}
        text += " Such as 192.0.2.0/24, or a file with one a line; may be repeated."
    elif hint == str | None:
        kind, more = str, {"metavar": "FILE" if text.startswith("File ") else "NAME"}
    elif get_origin(hint) is types.UnionType:
        kind, more = number_or_none, {"metavar": "SECONDS|none"}
        default = "none" if default is None else default
    else:
        unit = text.partition(" ")[0].upper()
        kind, more = hint, {"metavar": unit if unit in ("SECONDS", "BYTES") else "N"}
    return click.option(
        option,
        name,
        type=kind,
        default=default,
        show_default=default not in ((), "", None),
        help=text,
        **more,
    )


def _docs(kind: type) -> dict[str, str]:
    """The first sentence of the documentation below each field in the source, of its bases as well."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if dataclasses.is_dataclass(each):
            found |= _own_docs(each)
    return found


def _own_docs(kind: type) -> dict[str, str]:
    try:
        source = inspect.getsource(kind)
    except OSError:  # the source is not installed, so the options have no help
        return {}
    [definition] = ast.parse(source).body
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, str] = {}
    name = None
    for node in definition.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and name:
            sentence = " ".join(re.split(r"(?<=\.)\s", str(node.value.value))[0].split())
            found[name] = re.sub(r"`+([^`]+)`+", r"\1", sentence)
        name = (
            node.target.id if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) else None
        )
    return found


# ---------------------------------------------------------------------------------- options


def listen_option(default: str) -> Callable[[_Command], _Command]:
    """The option --listen, with the address of a server."""
    return click.option(
        "--listen",
        type=address,
        metavar="HOST:PORT",
        default=default,
        show_default=True,
        help="Address to listen on; port 0: any free port.",
    )


nonce_key_option = click.option(
    "--nonce-key",
    multiple=True,
    metavar="FILE",
    help="File of 16 secret bytes or more; servers with the same one accept each other's challenges. "
    "May be repeated: the first makes challenges, all are accepted.",
)

disc_option = click.option(
    "--disc",
    "disc_hosts",
    type=peers,
    metavar="HOST:PORT[,…]",
    default=f"localhost:{DEFAULT_PORT}",
    show_default=True,
    help="DISC to ask; several, separated by commas.",
)


def db_options(
    *,
    required: bool = True,
    what: str = "Database with the subscribers",
    option: str = "--db",
    in_environment: bool = True,
) -> Callable[[_Command], _Command]:
    """The options --db and --db-password-file; `db` is a `DatabaseName` with its password, or None.

    Args:
        required: whether there must be a database.
        what: how the help of --db begins.
        option: another name for --db, and the parameter and the environment variables with it.
        in_environment: whether the environment may name the database, too.
    """
    variable = f"AUTH_DIAMETER_{option[2:].upper()}"
    name = click.option(
        option,
        f"{option[2:]}_name" if option != "--db" else "db",
        type=database,
        callback=_with_password,
        required=required,
        metavar="FILE|URL",
        envvar=variable if in_environment else None,
        help=f"{what}: the path of an SQLite file, or postgresql://USER@HOST/DATABASE, "
        "mysql://USER@HOST/DATABASE (MariaDB, too) or redis://HOST/NUMBER (Valkey, too); or an HSS, "
        "cx://HOST/REALM." + (f" [env: {variable}]" if in_environment else ""),
    )
    password = click.option(
        f"{option}-password-file",
        metavar="FILE",
        is_eager=True,  # before --db, which takes the password along
        expose_value=False,
        callback=_keep_password,
        help=f"File with the password for {option}, which `ps` shows in a URL. "
        f"[env: {variable}_PASSWORD: the password itself]",
    )
    return lambda command: name(password(command))


def _keep_password(ctx: click.Context, parameter: click.Parameter, file: str | None) -> None:
    option = parameter.opts[0].removesuffix("-password-file")
    variable = f"AUTH_DIAMETER_{option[2:].upper()}_PASSWORD"
    ctx.meta[option] = os.environ.get(variable) if file is None else _first_line(parameter.opts[0], file)


def _with_password(
    ctx: click.Context, parameter: click.Parameter, name: DatabaseName | None
) -> DatabaseName | None:
    return name and dataclasses.replace(name, password=ctx.meta[parameter.opts[0]])


def _first_line(option: str, file: str) -> str:
    """The password in a file: its first line.

    Raises:
        ConfigError: the file cannot be read, or has no password.
    """
    try:
        with open(file, "rb") as source:
            line = source.readline(4096).rstrip(b"\r\n").decode()
    except UnicodeDecodeError:
        raise ad.ConfigError(f"{option} {file}: is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise ad.ConfigError(f"{option} {file}: {getattr(error, 'strerror', error)}") from None
    if not line:
        raise ad.ConfigError(f"{option} {file}: its first line is empty")
    warn_if_others_can_read(file, _log)
    return line


db_option = db_options()

#: What a command that only manages users needs of `StoreConfig`: tables and columns.
table_options = settings_of(StoreConfig, without=("db_timeout", "stale_for"))

state_option = click.option(
    "--state",
    metavar="URL",
    envvar="AUTH_DIAMETER_STATE",
    help="Redis or Valkey in which servers with the same --nonce-key and settings count nonces and guesses "
    "together: redis://HOST:PORT/N, rediss://…, valkey://…, unix:///PATH. [env: AUTH_DIAMETER_STATE]",
)

metrics_option = click.option(
    "--metrics",
    "metrics_at",
    type=address_or_port,
    metavar="[HOST:]PORT",
    help="Serve Prometheus metrics there; a port alone is that of loopback.",
)


def log_options(command: _Command) -> _Command:
    """Adds the options --log-format and --log-file."""
    for option in (
        click.option(
            "--log-file", metavar="FILE", help="Append the log to FILE instead of stderr; SIGHUP reopens it."
        ),
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="json: one object a line.",
        ),
    ):
        command = option(command)
    return command


# ---------------------------------------------------------------------------------- groups


class Group(click.Group):
    """A group of commands; without a command it prints its help on stderr, since nothing was done."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parses as click does, except when there are no arguments."""
        if not args:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)
