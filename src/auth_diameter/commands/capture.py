"""The Diameter messages in a capture (pcap, pcapng): TCP streams put together, and SCTP chunks.

A stream whose beginning was not captured is read from its first segment on. What is no Diameter, such as SIP
or TLS, is passed over.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeAlias

import dpkt  # type: ignore[import-untyped]

import auth_diameter as ad
from auth_diameter.addresses import show

# Of pcap with microseconds and with nanoseconds, in either byte order, and of pcapng
_MAGIC = tuple(map(bytes.fromhex, ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a")))
_SYN = 0x02
_WINDOW = 1 << 31  # half of the sequence numbers: what is farther behind was seen before (RFC 9293, 3.4)
_MOST_EARLY = 1000  # segments that are kept until those before them come
_RAW = (12, 14, 101)  # link types of IP without a frame
_LINKS = {0: dpkt.loopback.Loopback, 1: dpkt.ethernet.Ethernet, 113: dpkt.sll.SLL, 276: dpkt.sll2.SLL2}

_Ends: TypeAlias = tuple[bytes, int, bytes, int]  # addresses and ports of sender and receiver


class Passed(NamedTuple):
    """A message, and between whom it passed.

    Attributes:
        seconds: since the first packet of the capture.
        source: HOST:PORT of the sender.
        target: HOST:PORT of the receiver.
        data: the message.
    """

    seconds: float
    source: str
    target: str
    data: bytes


class _Stream:
    """One direction of a TCP connection."""

    def __init__(self, start: int) -> None:
        self._next = start  # the sequence number of the next byte
        self._early: dict[int, bytes] = {}
        self._framer: ad.Framer | None = ad.Framer(limit=(1 << 24) - 1)

    def take(self, number: int, data: bytes) -> Iterator[bytes]:
        """The messages that are complete with a segment."""
        if len(self._early) < _MOST_EARLY:
            self._early[number] = max(data, self._early.get(number, b""), key=len)
        found = True
        while found and self._framer is not None:
            found = False
            for start in list(self._early):
                behind = (self._next - start) % (1 << 32)
                if behind >= _WINDOW:
                    continue  # a gap is before it
                fresh = self._early.pop(start)[behind:]
                if fresh:
                    found = True
                    self._next = (self._next + len(fresh)) % (1 << 32)
                    yield from self._messages(fresh)

    def _messages(self, data: bytes) -> Iterator[bytes]:
        if self._framer is None:
            return
        try:
            yield from self._framer.feed(data)
        except ad.ParseError:
            self._framer = None  # it is no Diameter, or no longer


def is_capture(data: bytes) -> bool:
    """Whether bytes are those of a pcap or pcapng file."""
    return data.startswith(_MAGIC)


def messages_in(data: bytes) -> Iterator[Passed]:
    """The Diameter messages in a capture, in the order in which their last bytes were captured.

    Raises:
        ConfigError: the capture is damaged.
    """
    streams: dict[_Ends, _Stream] = {}
    first: float | None = None
    try:
        reader = dpkt.pcap.UniversalReader(io.BytesIO(data))
        link = reader.datalink()
        for seconds, frame in reader:
            first = seconds if first is None else first
            packet = _packet(link, frame)
            if packet is None:
                continue
            for ends, message in _messages(packet, streams):
                source, sport, target, dport = ends
                yield Passed(seconds - first, _shown(source, sport), _shown(target, dport), message)
    except (dpkt.Error, ValueError) as error:
        raise ad.ConfigError(f"a capture that cannot be read: {error}") from None


def _shown(address: bytes, port: int) -> str:
    return show(str(ip_address(address)), port)


def _packet(link: int, frame: bytes) -> Any:
    """The IP packet in a frame; None: there is none."""
    try:
        if link in _RAW:
            return dpkt.ip.IP(frame) if frame[:1] < b"\x60" else dpkt.ip6.IP6(frame)
        inner = _LINKS[link](frame).data
    except (dpkt.Error, KeyError):
        return None
    return inner if isinstance(inner, dpkt.ip.IP | dpkt.ip6.IP6) else None


def _messages(packet: Any, streams: dict[_Ends, _Stream]) -> Iterator[tuple[_Ends, bytes]]:
    """The messages that are complete with a packet."""
    segment = packet.data
    if isinstance(segment, dpkt.tcp.TCP):
        ends = (packet.src, segment.sport, packet.dst, segment.dport)
        begins = bool(segment.flags & _SYN)
        if begins or ends not in streams:
            streams[ends] = _Stream((segment.seq + begins) % (1 << 32))
        if segment.data:
            for message in streams[ends].take((segment.seq + begins) % (1 << 32), segment.data):
                yield ends, message
    elif isinstance(segment, dpkt.sctp.SCTP):
        ends = (packet.src, segment.sport, packet.dst, segment.dport)
        for chunk in segment.chunks:
            if chunk.type == dpkt.sctp.DATA:
                message = bytes(chunk.data)[12:]
                if len(message) >= 20 and message[0] == 1:
                    yield ends, message
