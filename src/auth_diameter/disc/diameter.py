"""The listener of standard Diameter: the connections of peers, with RFC 4740 and Cx.

A connection begins with a CER (RFC 6733, 5.3); anything else closes it. From then on each MAR goes to the
same `Turns` as the questions of the dialect, and gets its MAA: of RFC 4740, and of Cx if the peer is told
HA1. The other messages are answered here::

    message                                          answer
    ────────────────────────────────────────────────────────────────────────────────────────
    CER, DWR, DPR, and the answers DWA, DPA          see `auth_diameter.diameter.peer_machine`
    UAR, SAR, LIR of Cx; PPA, RTA                    see `auth_diameter.disc.hss` and `pushes`
    a request of an application that is not ours     3007 (application unsupported)
    another command of RFC 4740 or Cx, or unknown    3001 (command unsupported)
    AVPs that cannot be read                         5014 (invalid AVP length)
    any other answer                                 none: nothing was asked

The limits of a connection are those of the dialect, see `ListenerConfig`. The CER has to be complete within
the time for a question.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from auth_diameter._core import CxMarRequest, DiameterServer, Framer, Message, ParseError, Received
from auth_diameter.diameter.base import (
    APPLICATION_UNSUPPORTED,
    CAPABILITIES_EXCHANGE,
    COMMAND_UNSUPPORTED,
    DISCONNECT_PEER,
    INVALID_AVP_LENGTH,
    INVALID_HDR_BITS,
    PROXIABLE,
    Node,
    answer,
    result_of,
    text_of,
)
from auth_diameter.diameter.capabilities import Refusal, cea, read_cer
from auth_diameter.diameter.cx import CX
from auth_diameter.disc.admission import Admission, ConnectionEvent
from auth_diameter.disc.config import DiameterConfig, ListenerConfig
from auth_diameter.disc.connection import Connection
from auth_diameter.disc.hss import Hss
from auth_diameter.disc.listener import Listener, bind
from auth_diameter.disc.peers import Peer, Peers
from auth_diameter.disc.server import Asker
from auth_diameter.disc.turns import Turns

_BASE_APPLICATION = 0
_LONGEST = (1 << 24) - 1  # bytes of a message (RFC 6733, 3)
_MAA = "Multimedia-Auth-Answer"


class PeerConnection(Connection):
    """The connection of a peer.

    Args:
        peers: the peers of this DISC.
        server: what this DISC says of itself.
        hss: what Cx asks; None: no peer is told HA1.
        turns: as for `Connection`, and so are the others.
        admission: the limits.
        host: address of the peer.
        address: the same with its port, for the log.
        source: the network of the address.

    Attributes:
        peer: the peer once its capabilities are known; None: not yet, or no longer.
        local: our own address on the connection.
        certificate: of the peer; None: the connection has no TLS.
    """

    def __init__(
        self,
        peers: Peers,
        server: DiameterServer,
        hss: Hss | None,
        turns: Turns,
        admission: Admission,
        host: str,
        address: str,
        source: str | bytes,
    ) -> None:
        self._messages = server.stream(admission.config.max_question)
        super().__init__(turns, admission, host, address, source, self._messages)
        self._peers = peers
        self._hss = hss  # None from the CER on, if the peer has no part in it
        self._asked_when: dict[Received, int] = {}  # `Hss.changes` of when a MAR came that is judged now
        self._answering: set[asyncio.Task[None]] = set()
        self._later: list[Message] = []  # of the base protocol, behind questions that have no answer so far
        self._no_cer: asyncio.TimerHandle | None = None
        self._node: Node | None = None  # this DISC, as the peer knows it
        self.peer: Peer | None = None
        self.local = ""
        self.certificate: Mapping[str, Any] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Is open; with TLS, behind the handshake."""
        super().connection_made(transport)
        self.local = transport.get_extra_info("sockname")[0]
        self.certificate = transport.get_extra_info("peercert")
        patience = self._admission.config.max_question_time
        self._no_cer = asyncio.get_running_loop().call_later(
            patience, self._give_up, ConnectionEvent.NO_CAPABILITIES, f"no CER came within {patience:g} s"
        )

    def connection_lost(self, error: Exception | None) -> None:
        """Is closed."""
        super().connection_lost(error)
        self._know_capabilities()
        if self.peer is not None:
            self._peers.lost(self.peer)

    def use(self, config: ListenerConfig) -> None:
        """Takes nothing from the settings: RFC 4740 has one challenge only (9.5)."""

    def eof_received(self) -> bool:
        """Keeps the connection for the answers, if it has no TLS, which ends both directions at once."""
        return super().eof_received() and self.certificate is None

    def finish(self, patience: float) -> None:
        """Leaves the peer with a DPR, whose DPA closes the connection; without a CER, closes it at once."""
        if self.peer is not None:
            self._peers.stop(self.peer)
        else:
            self.end()

    def _give_up(self, event: ConnectionEvent, reason: str) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():  # two time limits may end together
            super()._give_up(event, reason)

    def transmit(self, message: Message) -> None:
        """Sends a message."""
        assert self._transport is not None
        if not message.is_request:
            self._count(message)
        if not self._transport.is_closing():
            self._transport.write(message.encode())

    def _count(self, message: Message) -> None:
        self._peers.answers[message.name, result_of(message) or 0] += 1

    def answered(self, answers: bytearray, requests: list[Received]) -> None:
        """Sends the answers to these MAR; an HSS notes whose HA1 is in them."""
        if self._asked_when and self._hss is not None and self.peer is not None:
            # Answers may be missing, and longer than what they repeat.
            for asked, said in zip(requests, Framer(_LONGEST).feed(answers), strict=False):
                since = self._asked_when.pop(asked)
                if isinstance(asked, CxMarRequest):
                    self._hss.told(asked, said, since, self.peer)
        super().answered(answers, requests)

    def _send(self, answers: bytearray, number: int) -> None:
        """Sends answers, and then those to what came behind the questions."""
        super()._send(answers, number)
        if self._later and not self._unanswered:
            later, self._later = self._later, []
            for message in later:
                if self.peer is not None:
                    self._peers.received(self.peer, message)

    # ------------------------------------------------------------------ what is received

    def _take(self, data: bytes) -> list[Received]:
        found = self._messages.feed(data)
        if self.peer is not None and not self._messages.has_others:
            questions = cast(list[Received], found)  # nearly always
        else:
            questions = self._take_each(found)
        if questions and self.peer is not None:
            self._peers.heard(self.peer)
            if self._hss is not None:
                self._asked_when.update(dict.fromkeys(questions, self._hss.changes))
        return questions

    def _take_each(self, found: Sequence[Received | bytes]) -> list[Received]:
        """Takes what is no MAR; returns the others."""
        questions: list[Received] = []
        for item in found:
            if self.peer is None:
                if self._has_ended or isinstance(item, Received) or not self._begin(item):
                    self._end_without_capabilities("its first message is no CER")
                    return []
            elif isinstance(item, Received):
                questions.append(item)
            else:
                self._take_other(item, has_questions=bool(questions))
        return questions

    def _begin(self, data: bytes) -> bool:
        """Takes the first message; returns whether it is a CER."""
        try:
            message = Message.decode(data)
        except ParseError:
            return False
        if message.command != CAPABILITIES_EXCHANGE or not message.is_request or message.application_id:
            return False
        node = self._peers.node_for((text_of(message, "Origin-Host") or "").lower(), self)
        if message.flags & PROXIABLE:  # RFC 6733, 7.1.3
            self._refuse(answer(node, message, INVALID_HDR_BITS), "its CER has the P flag")
            return True
        try:
            told = read_cer(node, message)
            self._peers.check(told, self)
        except Refusal as refusal:
            self._refuse(cea(node, self.local, message, refusal), refusal.why)
            return True
        self._know_capabilities()
        self._node = node
        self._messages.tells_ha1 = self._peers.tells_ha1(told.host, self)
        self._messages.takes_any_nonce = self._peers.makes_nonces(told.host)
        self.asker = Asker(told.host, one_challenge=True)
        refused = self._peers.open(self, message, told)
        if refused is not None:
            self._refuse(refused, f"{told.host} has a connection already")
        elif self._hss is not None and self._messages.tells_ha1 and told.has(CX):
            self._hss.pushes.opened(told.host)
        else:
            self._hss = None
        return True

    def _refuse(self, message: Message, why: str) -> None:
        self.transmit(message)
        self._end_without_capabilities(why)

    def _end_without_capabilities(self, why: str) -> None:
        if not self._has_ended:
            self._know_capabilities()
            self._note(ConnectionEvent.NO_CAPABILITIES, why)
            self.end()

    def _know_capabilities(self) -> None:
        if self._no_cer is not None:
            self._no_cer.cancel()
            self._no_cer = None

    def _take_other(self, data: bytes, *, has_questions: bool) -> None:
        """Takes a message that is no MAR."""
        assert self.peer is not None
        assert self._node is not None
        node = self._node
        try:
            message = Message.decode(data)
        except ParseError:
            header = _header_of(data)
            if header.is_request:
                self.transmit(answer(node, header, INVALID_AVP_LENGTH))
            return
        if message.command == DISCONNECT_PEER and message.is_request and (has_questions or self._unanswered):
            self._later = self._later or [message]  # one DPR is enough
        elif not self._peers.received(self.peer, message):
            self._take_of_application(self.peer, node, message)

    def _take_of_application(self, peer: Peer, node: Node, message: Message) -> None:
        if self._hss is not None and message.application_id == CX:
            if not message.is_request:
                self._hss.pushes.answered(peer.name, message)
                return
            if self._hss.answers(message):
                self._unanswered += 1
                task = asyncio.get_running_loop().create_task(self._answer(self._hss, peer, message))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
                self._pause_if_busy()
                return
        if message.is_request:
            of_vendors = (application for _, application in node.vendor_applications)
            is_ours = message.application_id in (_BASE_APPLICATION, *node.applications, *of_vendors)
            self.transmit(answer(node, message, COMMAND_UNSUPPORTED if is_ours else APPLICATION_UNSUPPORTED))

    async def _answer(self, hss: Hss, peer: Peer, message: Message) -> None:
        said = await hss.answer(message, peer)
        self._count(said)
        self._send(bytearray(said.encode()), 1)


def _header_of(data: bytes) -> Message:
    """A message without its AVPs."""
    return Message.decode(data[:1] + (20).to_bytes(3, "big") + data[4:20])


class DiameterListener(Listener):
    """The listener of standard Diameter; see `listen`.

    Args:
        turns: judges the questions.
        sockets: the listening sockets.
        limits: the limits on connections.
        config: the settings.
        tls: what connections are encrypted with; None: they are not.

    Attributes:
        peers: the peers.
        server: what this DISC says of itself, and counts.
        hss: what Cx asks; None: no peer is told HA1.
    """

    def __init__(
        self,
        turns: Turns,
        sockets: list[socket.socket],
        limits: ListenerConfig,
        config: DiameterConfig,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.peers = Peers(config)
        self.server = DiameterServer(
            config.origin_host,
            config.origin_realm,
            own_addresses=config.own_addresses,
            tells_unknown=config.tell_unknown,
        )
        self.hss = Hss(turns.disc, self.peers) if config.tell_ha1 else None
        super().__init__(turns, sockets, limits, tls)

    @property
    def answers(self) -> Counter[tuple[str, int]]:
        """The number of answers by command and Result-Code."""
        found = self.peers.answers.copy()
        for (_, result), count in self.server.answers.items():
            found[_MAA, result] += count
        return found

    def _connection(self, host: str, peer: str, source: str | bytes) -> Connection:
        return PeerConnection(
            self.peers, self.server, self.hss, self._turns, self._admission, host, peer, source
        )

    async def aclose(self) -> None:
        """As `Listener.aclose`; pushes nothing more."""
        if self.hss is not None:
            self.hss.pushes.close()
        await super().aclose()


async def listen(
    turns: Turns,
    host: str,
    port: int,
    config: DiameterConfig,
    limits: ListenerConfig | None = None,
    tls: ssl.SSLContext | None = None,
) -> DiameterListener:
    """Listens for peers on every address of `host`.

    Args:
        turns: judges the questions.
        host: a name or an address.
        port: the TCP port; 0 for one that is free on all addresses.
        config: the settings.
        limits: the limits on connections; None for the defaults.
        tls: what connections are encrypted with; None: they are not.

    Returns:
        The listener, which accepts connections from now on.

    Raises:
        OSError: DISC cannot listen on an address.
    """
    sockets = await bind(host, port)
    return DiameterListener(turns, sockets, limits if limits is not None else ListenerConfig(), config, tls)
