"""``auth-diameter decode``: prints Diameter messages in readable form."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

import auth_diameter as ad
from auth_diameter.commands.terminal import fail


@click.command()
@click.argument("source", metavar="HEX|FILE|-")
def decode(source: str) -> None:
    """Print Diameter messages from hexadecimal, a file of messages, or a capture (pcap, pcapng)."""
    from auth_diameter.commands.capture import is_capture

    data = _bytes_of(source)
    count = 0
    for text in _of_capture(data) if is_capture(data) else _of_messages(data):
        if count:
            print()
        print(text)
        count += 1
    if not count:
        fail("no Diameter message in the capture" if is_capture(data) else "no bytes to decode")


def _of_messages(data: bytes) -> Iterator[str]:
    """The text of each message, in bytes that hold nothing else."""
    framer = ad.Framer()
    number = 1
    try:
        for message in framer.feed(data):
            yield _text_of(message)
            number += 1
    except ad.ParseError as error:
        fail(f"message {number}: {error}")
    if framer.pending:
        fail(f"message {number} is cut off: {framer.pending} bytes of it are there")


def _of_capture(data: bytes) -> Iterator[str]:
    """The text of each message in a capture: when it passed between whom, and what it says."""
    from auth_diameter.commands.capture import messages_in

    try:
        for seconds, source, target, message in messages_in(data):
            head = f"{seconds:.6f} s  {source} → {target}"
            try:
                yield f"{head}\n{_text_of(message)}"
            except ad.ParseError as error:
                yield f"{head}\n{len(message)} bytes that are no message: {error}"
    except ad.ConfigError as error:
        fail(str(error))


def _text_of(message: bytes) -> str:
    return ad.format_message(ad.Message.decode(message, limit=(1 << 24) - 1), secrets=True)


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
