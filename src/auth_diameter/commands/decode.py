"""``auth-diameter decode``: prints Diameter messages in readable form."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import auth_diameter as ad
from auth_diameter.commands.terminal import fail


@click.command()
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
    """The bytes that `source` names: stdin, a file of bytes or of hexadecimal, or hexadecimal itself."""
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
    except (OSError, ValueError):  # too long for the name of a file, as most messages are
        return False
