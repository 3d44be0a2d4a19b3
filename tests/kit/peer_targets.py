"""What holds for any bytes of a neighbour: in its CER and CEA, and in any order of what happens to a peer.

`fuzz/peers.py` has them tried with bytes that cover more and more, and `tests/diameter` with random ones.
"""

from __future__ import annotations

import math

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

    def __init__(self, takes_newer: bool) -> None:
        self.now = 0.0
        self.machine = PeerMachine(NODE, TW, takes_newer=takes_newer, jitter=lambda: 0.5)
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
    if not data:
        return
    driver = _Driver(takes_newer=bool(data[0] & 1))
    for code in data[1:64]:
        _happen(driver, code)
        driver.check()


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
    replaces = driver.machine._takes_newer and driver.machine.open_side is Side.RESPONDER
    if Side.RESPONDER in driver.sides and not replaces:
        assert not driver.machine.incoming(asked, read_cer(NODE, asked), ADDRESS, driver.now)
        assert value_of(driver.machine.refuse(asked, ADDRESS), "Result-Code") != SUCCESS
        return
    taken = driver.machine.incoming(asked, read_cer(NODE, asked), ADDRESS, driver.now)
    if replaces:
        assert taken
        assert isinstance(driver.machine.outputs.pop(0), Disconnect)
        driver.closed(Side.RESPONDER)
    if taken:
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
