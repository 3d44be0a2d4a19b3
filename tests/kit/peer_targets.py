"""What holds for any bytes of a neighbour: in its CER and CEA, and in any order of what happens to a peer.

`fuzz/peers.py` has them tried with bytes that cover more and more, and `tests/diameter` with random ones. Of
the peer machine every state can be tried, see `every_state`.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from auth_diameter._core import Message, ParseError
from auth_diameter.diameter.base import (
    DEVICE_WATCHDOG,
    DISCONNECT_PEER,
    SUCCESS,
    Node,
    answer,
    avp_named,
    request,
    value_of,
)
from auth_diameter.diameter.capabilities import Capabilities, Refusal, cea, cer, read_cea, read_cer
from auth_diameter.diameter.peer_machine import (
    Cause,
    Connect,
    Disconnect,
    FailBack,
    FailOver,
    Leaving,
    Opened,
    PeerMachine,
    Transmit,
)
from auth_diameter.diameter.peer_states import MachineState, Side
from auth_diameter.standard import is_identity

TW = 6.0
NODE = Node(host="m.example.net", realm="example.net", applications=(6,), state_id=7)
# Elections: one peer that wins, and one that loses.
PEERS = tuple(
    Node(host=f"{name}.example.net", realm="example.net", applications=(6,), state_id=8) for name in "az"
)
STRANGER = Node(host="a.example.net", realm="example.net", applications=(4,), state_id=9)
ADDRESS = "192.0.2.1"


def _messages() -> tuple[Message, ...]:
    """One of each kind that a peer sends, right and wrong."""
    made: list[Message] = []
    for node in (*PEERS, STRANGER):
        asked = cer(node, ADDRESS, 1)
        made += [asked, cea(node, ADDRESS, cer(NODE, ADDRESS, 2))]
    node = PEERS[0]
    watch = request(node, DEVICE_WATCHDOG, [*node.origin()], 3)
    made += [watch, answer(node, watch, SUCCESS), cea(node, ADDRESS, made[0], Refusal(5010, "no"))]
    for cause in (0, 1, 2, 7):
        avps = [*node.origin(), avp_named("Disconnect-Cause", cause)]
        made.append(request(node, DISCONNECT_PEER, avps, 4))
    made += [answer(node, made[-1], SUCCESS), Message(286, [*node.origin()], application_id=6, flags=0xC0)]
    return tuple(made)


MESSAGES = _messages()


def read_capabilities(data: bytes) -> None:
    """Reads bytes as CER and as CEA; the answer to a CER can be sent, and says what was decided."""
    try:
        message = Message.decode(data)
    except ParseError:
        return
    try:
        told, refusal = read_cer(NODE, message), None
    except Refusal as found:
        told, refusal = None, found
    made = Message.decode(cea(NODE, ADDRESS, message, refusal).encode())
    assert value_of(made, "Result-Code") == (SUCCESS if refusal is None else refusal.result)
    assert (made.hop_by_hop, made.end_to_end) == (message.hop_by_hop, message.end_to_end)
    for capabilities in (told, _told_by(message)):
        if capabilities is not None:
            assert is_identity(capabilities.host), capabilities
            assert is_identity(capabilities.realm), capabilities
            assert capabilities.has(6)
            assert capabilities.product.isprintable()


def _told_by(message: Message) -> Capabilities | None:
    """What a message says, read as a CEA."""
    try:
        return read_cea(NODE, message, None)
    except Refusal as found:
        refusal = found
    assert refusal.why.isprintable()
    return None


class _Driver:
    """Carries out what a machine wants, and checks that it makes sense."""

    def __init__(self) -> None:
        self.now = 0.0
        self.machine = PeerMachine(NODE, TW, jitter=lambda: 0.5)
        self.sides: set[Side] = set()
        self.connecting = False
        self.opened: Side | None = None

    def drain(self) -> list[Message]:
        """Carries the outputs out; the messages among them."""
        sent: list[Message] = []
        outputs, self.machine.outputs[:] = self.machine.outputs[:], []
        for output in outputs:
            match output:
                case Connect():
                    assert not self.connecting
                    assert Side.INITIATOR not in self.sides
                    self.connecting = True
                case Transmit(side, message):
                    assert side in self.sides, "a message for a connection that is not there"
                    assert Message.decode(message.encode()) == message
                    sent.append(message)
                case Disconnect(side, _):
                    assert side in self.sides, "a connection is closed that is not there"
                    self.closed(side)
                case Opened(side, capabilities):
                    assert side in self.sides
                    assert capabilities.has(6)
                    self.opened = side
                case FailOver() | FailBack() | Leaving():
                    pass
        # RFC 6733, 5.6, Timeout and Error: an attempt to connect is given up as well.
        if self.machine.state not in (MachineState.WAIT_CONN_ACK, MachineState.ELECT):
            self.connecting = False
        return sent

    def copy(self) -> _Driver:
        """A driver in the same state, whose outputs are carried out."""
        assert not self.machine.outputs
        other, machine = copy.copy(self), copy.copy(self.machine)
        machine.outputs, machine._addresses = [], dict(machine._addresses)
        machine.watchdog = copy.copy(machine.watchdog)
        other.machine, other.sides = machine, set(self.sides)
        return other

    def key(self) -> Hashable:
        """The same for two drivers to which the same can happen. Times are relative to now."""
        machine, watchdog = vars(self.machine), self.machine.watchdog
        parts = [(name, machine[name]) for name in machine if name not in _FIXED and name != "watchdog"]
        parts += [(name, getattr(watchdog, name)) for name in watchdog.__slots__ if name not in _FIXED]
        parts += [("sides", self.sides), ("connecting", self.connecting), ("opened", self.opened)]
        return tuple((name, _plain(value, self.now)) for name, value in parts)

    def closed(self, side: Side) -> None:
        self.sides.discard(side)
        if self.opened is side:
            self.opened = None

    def check(self) -> None:
        machine = self.machine
        if machine.open_side is not None:
            assert machine.open_side in self.sides, "open without a connection"
            assert machine.open_side is self.opened, "open without capabilities"
        if machine.state is MachineState.CLOSED:
            assert not self.sides, "closed with a connection"
        assert not math.isnan(machine.due)
        if machine.open_side is not None:
            assert machine.due < math.inf, "open, and nobody watches"


def run_machine(data: bytes) -> None:
    """Plays what the bytes say: each is something that happens to a peer."""
    driver = _Driver()
    for code in data[:63]:
        _happen(driver, code)
        driver.check()


# What a machine is made with, and what is for the log alone.
_FIXED = frozenset({"outputs", "_node", "_names", "_jitter", "_interval", "_cea_within", "_why"})


def _plain(value: Any, now: float) -> Hashable:
    if isinstance(value, float):
        return value - now
    if isinstance(value, Message):
        return value.encode()[:12], value.encode()[20:]  # without its identifiers
    if isinstance(value, dict | set):
        return frozenset(value)
    assert isinstance(value, Hashable)
    return value


def _codes(step: float) -> Iterable[int]:
    """One for each thing that can happen; time goes on by a step, or until something is due."""
    which = {0: [0], 1: [0, 1], 2: [0, 1], 3: range(len(MESSAGES)), 4: range(len(MESSAGES)), 5: [0, 1]}
    which |= {6: range(len(Cause)), 7: [1, int(4 * step)]}
    return [what | one << 3 for what in which for one in which[what]]


@dataclass(frozen=True)
class Walk:
    """What `every_state` found.

    Attributes:
        states: number of states.
        happened: number of things that happened, each thing in each state.
        dead_ends: number of states from which the peer can never be open again, or never be closed.
    """

    states: int
    happened: int
    dead_ends: int


def every_state(step: float) -> Walk:
    """Has everything happen in every state that a machine can get into, after however many events.

    Args:
        step: seconds by which time goes on, in quarters of a second. Nothing happens in between.
    """
    codes = list(_codes(step))
    assert all(code < 256 for code in codes)
    start = _Driver()
    numbers = {start.key(): 0}
    before: dict[int, list[int]] = defaultdict(list)
    opened, closed = set(), {0}
    todo = [start]
    for number, driver in enumerate(todo):  # it grows meanwhile
        for code in codes:
            after = driver.copy()
            _happen(after, code)
            after.check()
            found = numbers.setdefault(after.key(), len(numbers))
            before[found].append(number)
            if found == len(todo):
                todo.append(after)
                if after.machine.open_side is not None:
                    opened.add(found)
                elif after.machine.state is MachineState.CLOSED:
                    closed.add(found)
        todo[number] = start  # it is done, and takes memory
    ways = [_all_before(goal, before) for goal in (opened, closed)]
    return Walk(len(numbers), len(numbers) * len(codes), 2 * len(numbers) - sum(map(len, ways)))


def _all_before(goal: set[int], before: dict[int, list[int]]) -> set[int]:
    """The states from which one of these can be reached."""
    found, todo = set(goal), list(goal)
    while todo:
        fresh = {state for state in before[todo.pop()] if state not in found}
        found |= fresh
        todo += fresh
    return found


def _happen(driver: _Driver, code: int) -> None:
    machine, now = driver.machine, driver.now
    what, which = code & 7, code >> 3
    if what == 0:
        machine.start(now)
    elif what == 1 and driver.connecting:
        driver.connecting = False
        if which & 1:
            driver.sides.add(Side.INITIATOR)
            machine.connected(ADDRESS, now)
        else:
            machine.not_connected(now)
    elif what == 2:
        _come_in(driver, PEERS[which & 1])
    elif what in (3, 4):
        _receive(driver, Side.INITIATOR if what == 3 else Side.RESPONDER, MESSAGES[which % len(MESSAGES)])
    elif what == 5:
        side = Side.INITIATOR if which & 1 else Side.RESPONDER
        if side in driver.sides:
            driver.closed(side)
            machine.lost(side, now)
    elif what == 6:
        machine.stop(tuple(Cause)[which % 3], now)
    elif what == 7:
        driver.now = now = max(now, machine.due) if which & 1 and machine.due < math.inf else now + which / 4
        machine.expire(now)
        assert machine.due > now, "due at once again"
    driver.drain()


def _come_in(driver: _Driver, peer: Node) -> None:
    """A connection that the peer opens, with its CER."""
    asked = cer(peer, ADDRESS, 5)
    if Side.RESPONDER in driver.sides:
        assert not driver.machine.incoming(asked, read_cer(NODE, asked), ADDRESS, driver.now)
        assert value_of(driver.machine.refuse(asked, ADDRESS), "Result-Code") != SUCCESS
        return
    if driver.machine.incoming(asked, read_cer(NODE, asked), ADDRESS, driver.now):
        driver.sides.add(Side.RESPONDER)


def _receive(driver: _Driver, side: Side, message: Message) -> None:
    if side not in driver.sides:
        return
    is_open = driver.machine.open_side is side
    driver.drain()
    driver.machine.received(side, message, driver.now)
    sent = driver.drain()
    answers = [told for told in sent if not told.is_request and told.end_to_end == message.end_to_end]
    if is_open and message.is_request and message.application_id == 0:
        assert len(answers) == 1, "each request of the base protocol has one answer (RFC 6733, 5)"
        assert answers[0].hop_by_hop == message.hop_by_hop
    assert len(answers) <= 1
