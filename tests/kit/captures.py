"""Exchanges between Diameter programs of others, captured: tests/vectors/diameter, a message on each line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from auth_diameter import Message

FOLDER = Path(__file__).parents[1] / "vectors" / "diameter"
NAMES = sorted(path.stem for path in FOLDER.glob("*.hex"))


class Captured(NamedTuple):
    """A message as it passed.

    Attributes:
        capture: the name of the exchange.
        seconds: since its start.
        source: TCP port of the sender.
        target: TCP port of the receiver.
        data: the bytes.
    """

    capture: str
    seconds: float
    source: int
    target: int
    data: bytes

    @property
    def message(self) -> Message:
        return Message.decode(self.data)


def captured(name: str) -> list[Captured]:
    """The messages of one exchange, in order."""
    found = []
    for line in (FOLDER / f"{name}.hex").read_text(encoding="ascii").splitlines():
        seconds, source, target, _, _, digits = line.split()
        found.append(Captured(name, float(seconds), int(source), int(target), bytes.fromhex(digits)))
    return found


def every_captured() -> list[Captured]:
    """The messages of all exchanges."""
    return [message for name in NAMES for message in captured(name)]


def answers_of(name: str, command: int) -> list[bytes]:
    """The answers with a command in one exchange."""
    messages = [(one.data, one.message) for one in captured(name)]
    return [data for data, message in messages if message.command == command and not message.is_request]
