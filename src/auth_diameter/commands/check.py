"""``auth-diameter check``: asks DISC about one SIP request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

import auth_diameter as ad
from auth_diameter.client.realm import DEFAULT_REALM
from auth_diameter.commands.options import disc_option, settings, settings_of
from auth_diameter.commands.terminal import fail
from auth_diameter.config import DEFAULT_PORT
from auth_diameter.logs import visible
from auth_diameter.standard import StandardConfig


@click.command()
@click.argument("file", metavar="FILE|-")
@disc_option
@click.option(
    "--realm", default=DEFAULT_REALM, show_default=True, help="Realm, with pseudo-variables, or empty."
)
@click.option(
    "--proxy/--www", default=None, help="Which function to call. [default: www for REGISTER, else proxy]"
)
@click.option(
    "--group", "group_name", metavar="GROUP", help="If it is let through, ask whether the user is in GROUP."
)
@settings_of(StandardConfig, without=("watchdog", "delegation_lifetime"))
def check(
    file: str, disc_hosts: str, realm: str, proxy: bool | None, group_name: str | None, **options: Any
) -> None:
    """Ask DISC, or another Diameter server (--application), about one SIP request; print decision and reply.

    The exit status is 0 when it is let through, 1 when it is refused, and 2 when DISC does not answer.
    """
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise ad.ConfigError(f"{file}: {error.strerror}") from None
    request = _parse(data, file)
    if options["application"] != "disc" and disc_hosts == f"localhost:{DEFAULT_PORT}":
        disc_hosts = "localhost"  # with the port of what is spoken
    config = settings(ad.Config, options, diameter_client_host=disc_hosts)
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
        advice = (
            "see its log: does its --allow name this machine?"
            if decision.cause is ad.Cause.DISC_LOST
            else "is auth-diameter disc running?"
            if config.application == "disc"
            else "is it running, and is that its port?"
        )
        server = "DISC" if config.application == "disc" else "the Diameter server"
        fail(f"no answer from {server} at {disc_hosts}: {decision.cause.value}; {advice}")
    if config.application == "cx" and decision.cause is ad.Cause.DISC_REFUSED:
        fail(f"no HA1 from the HSS at {disc_hosts}: is it running, and does it know {config.origin_host}?")
    sys.exit(0 if decision else 1)


def _parse(typed: bytes, file: str) -> ad.SipRequest:
    """Parses a request as an editor saves it: lines end with LF alone, the last, empty line may be missing.

    Raises:
        ConfigError: it is no request; the offset in the message is that in the file.
    """
    has_cr = b"\r\n" in typed
    data = typed if has_cr else typed.replace(b"\n", b"\r\n")
    if b"\r\n\r\n" not in data:
        data = data.rstrip(b"\r\n") + b"\r\n\r\n"
    try:
        return ad.SipRequest(data)
    except ad.ParseError as error:
        offset = error.offset if has_cr else error.offset - data.count(b"\r", 0, error.offset)
        raise ad.ConfigError(f"{file}: {error.reason} (at byte {min(offset, len(typed))})") from None


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
