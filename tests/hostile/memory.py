"""Resident memory while bad messages come in: `serve`, `disc`, and the client's answer path.

Each is warmed up, then gets its part of the load in ten rounds; growth is the last reading less that
after the warm-up. The messages are all of the sets, in turn. Run as a script:

    PYTHONPATH=tests python tests/hostile/memory.py --count 1000000
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count, cycle, islice
from pathlib import Path

from hostile import corpora
from hostile.mutants import BASES
from hostile.play import MSGID, SOURCE
from hostile.processes import Phone, fill, stop
from kit.answer_stream import AnswerStream
from kit.disc import FakeConnection, FakeDisc
from kit.machine import wait_until
from kit.process import Server
from kit.sip import DOMAIN, RIGHT
from kit.wire import Connection, build_answer

from auth_diameter import Config, SipRequest
from auth_diameter.client.authorizer import Authorizer

ROUNDS = 10
MIB = 1 << 20
MOST = 65_507  # bytes of a datagram over IPv4

Load = Callable[[int], None]


def own_bytes() -> int:
    """Resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def watch(
    resident: Callable[[], int], flood: AbstractContextManager[Load], warmup: int, total: int
) -> list[float]:
    """MiB after the warm-up and after each round."""
    with flood as load:
        load(warmup)
        readings = [resident() / MIB]
        for _ in range(ROUNDS):
            load(total // ROUNDS)
            readings.append(resident() / MIB)
    return readings


def datagrams() -> list[bytes]:
    """All that can be sent to a SIP server, the requests among it with every Digest header."""
    found = [*corpora.sip_requests().values(), *corpora.torture_requests().values()]
    found += [
        corpora.register("Authorization: %s").replace(b"%s", header.value)
        for header in corpora.digest_headers().values()
    ]
    return [data for data in found if len(data) <= MOST]


def messages() -> list[bytes]:
    """All that can be said to a client, or to DISC."""
    sets = (corpora.diameter_malformed(), corpora.diameter_real(), corpora.disc_captured(), BASES)
    return [data for each in sets for data in each.values()]


@contextmanager
def flood_serve(host: tuple[str, int]) -> Iterator[Load]:
    """Datagrams, none twice, for that would be a retransmission; every fiftieth is a good one.

    First they fill the memory that `serve` has for retransmissions, so that it has all it may have: that of
    replies, 48 MiB, for a reply repeats every Via; and each page of the index to them, 9 MiB.
    """
    stranger, alice = Phone(host), Phone(host)
    numbers = count()

    def send(datagrams: Iterable[bytes]) -> None:
        for data in datagrams:
            number = next(numbers)
            # What stands behind a body does not count (RFC 3261, 18.3).
            stranger.send(data[: MOST - 12] + b"%012d" % number)
            if number % 50 == 49:
                alice.call()
                while stranger.receive_bytes(0.0) is not None:
                    pass

    send([corpora.register("Via: SIP/2.0/UDP 192.0.2.2;branch=" + "a" * 60_000)] * 1300)
    send([corpora.register()] * 15_000)
    source = cycle(datagrams())
    yield lambda total: send(islice(source, total))
    stranger.close()
    alice.close()


@contextmanager
def flood_disc(address: tuple[str, int]) -> Iterator[Load]:
    """Messages one behind the other, on a new connection wherever DISC hangs up or would wait."""
    source = cycle(messages())
    good = Connection(address)

    def load(total: int) -> None:
        server = Connection(address)
        for number, data in enumerate(islice(source, total)):
            server.send(data)
            size = int.from_bytes(data[1:4], "big")
            if data[:1] != b"\1" or size < 20 or size % 4 or size != len(data):
                server.close()
                server = Connection(address)
            elif number % 20 == 19:
                good.ask()
                server.look()
        server.close()
        good.ask()

    yield load
    good.close()


@contextmanager
def flood_client() -> Iterator[Load]:
    """Answers to a question, through the stream to the decision."""
    authorizer = Authorizer(Config(penalty=False))
    request = SipRequest(RIGHT, SOURCE)
    source = cycle([*messages(), build_answer(MSGID, 4001, challenge=b"Digest x=\0")])

    def load(total: int) -> None:
        stream = AnswerStream()
        for data in islice(source, total):
            question = authorizer.www_authorize(request, DOMAIN, 0.0)
            for asked, answer in stream.feed(data, {MSGID: question}):
                assert not authorizer.conclude(asked, answer, 0.0) or answer.code == 2001
            if stream.fault is not None or stream.pending:
                stream = AnswerStream()

    yield load


# ------------------------------------------------------------------ while DISC hangs

# What is large, whether DISC reads what it is asked, and whether the memory of replies is full before:
# replies with a large Via would fill it.
HANGING = (
    ("body", True, False),
    ("credentials", True, False),
    ("credentials", False, False),
    ("via", True, True),
)

LARGE = 60_000  # bytes of a request, nearly all that a datagram takes
_QUEUE = (
    1 << 20
)  # bytes that may wait in the socket of `serve`, a quarter of what it takes, so that none is lost


class HangingDisc(FakeDisc):
    """A DISC that never answers.

    Args:
        reads: whether it takes what it is asked.
    """

    def __init__(self, *, reads: bool) -> None:
        super().__init__()
        self._reads = reads
        self._over = threading.Event()

    def read(self, connection: FakeConnection) -> None:
        """Keeps nothing."""
        if self._reads:
            while connection.sock.recv(1 << 20):
                pass
        else:
            self._over.wait()

    def stop(self) -> None:
        """See `FakeDisc.stop`."""
        self._over.set()
        super().stop()


def _large(where: str, number: int, method: str = "REGISTER") -> bytes:
    """A request of `LARGE` bytes like no other, large by that part of it."""
    via = f";branch=z9hG4bK{number:012d}"
    lines, body = [], ""
    if where == "via":
        via += ";x=" + "x" * LARGE
    elif where == "credentials":
        # They go to DISC as they are: a question is nearly as large as one may be, 32 KiB.
        lines = [f"Authorization: {corpora.DIGEST},{' ' * 32_000}x=1"]
        body = "x" * (LARGE - 32_000)
    else:
        body = "x" * LARGE
    data = "\r\n".join(
        [
            f"{method} sip:example.com SIP/2.0",
            f"Via: SIP/2.0/UDP 127.0.0.1:5060{via};rport",
            f"From: <sip:alice@example.com>;tag={number}",
            "To: <sip:alice@example.com>",
            f"Call-ID: {number}",
            f"CSeq: 1 {method}",
            *lines,
            f"Content-Length: {len(body)}",
            "",
            body,
        ]
    ).encode()
    assert LARGE <= len(data) <= MOST
    return data


def _socket_of(port: int) -> tuple[int, int]:
    """Bytes that wait in the UDP socket on `port` of 127.0.0.1, and datagrams that it has lost (proc(5))."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == f"0100007F:{port:04X}":
            return int(fields[4].partition(":")[2], 16), int(fields[12])
    raise AssertionError(f"nobody has UDP port {port}")


class Flood:
    """Datagrams to the SIP host, no faster than it takes them: none is lost."""

    def __init__(self, serve: Server) -> None:
        self._serve = serve
        self.phone = Phone(serve.address)
        self.sent = 0

    def send(self, data: bytes) -> None:
        """One; the replies so far are thrown away."""
        self.phone.send(data)
        self.sent += 1
        if self.sent % 8 == 0:
            wait_until(lambda: _socket_of(self._serve.address[1])[0] < _QUEUE)
            while self.phone.receive_bytes(0.0) is not None:
                pass

    def finish(self) -> None:
        """Until all have been read."""
        wait_until(lambda: _socket_of(self._serve.address[1])[0] == 0)
        assert _socket_of(self._serve.address[1])[1] == 0, "some were lost, so that they cost nothing"

    def fill_transactions(self) -> None:
        """Fills the memory that `serve` has for retransmissions: 48 MiB of replies, and the index to them.

        A CANCEL is answered at once, and its reply repeats its Via.
        """
        for number in range(1000):
            self.send(_large("via", number, "CANCEL"))
        for number in range(8_000):
            self.send(corpora.register(f"X: {number}").replace(b"REGISTER", b"CANCEL"))
        self.finish()


def peak_while_disc_hangs(where: str, total: int, *, reads: bool, filled: bool) -> float:
    """MiB that `serve` has at most more than before, with so many large requests and no answer of DISC.

    At the end it must answer a small request, if only with 503.

    Args:
        where: what is large: "body", "via" or "credentials".
        reads: see `HangingDisc`.
        filled: whether its memory of retransmissions, which has a bound of its own, is full before.
    """
    with (
        HangingDisc(reads=reads) as disc,
        Server("serve", "--disc", disc.where) as serve,
    ):
        flood = Flood(serve)
        if filled:
            flood.fill_transactions()
        status = Path(f"/proc/{serve.pid}")
        (status / "clear_refs").write_text("5")  # the peak counts from now on (proc(5))
        before = serve.resident_bytes()
        for number in range(total):
            flood.send(_large(where, number))
        flood.finish()
        while flood.phone.receive_bytes(0.0) is not None:
            pass
        with Phone(serve.address) as small:
            reply = small.call()
        assert reply.status == 503, reply.status
        found = re.search(r"VmHWM:\s+(\d+) kB", (status / "status").read_text())
        assert found is not None
        flood.phone.close()
        stop(serve)
    return int(found[1]) / 1024 - before / MIB


def measure(total: int, warmup: int) -> dict[str, list[float]]:
    """MiB after the warm-up and each round, for each of the three."""
    found = {"client": watch(own_bytes, flood_client(), warmup, total)}
    with tempfile.TemporaryDirectory() as folder:
        database = fill(Path(folder) / "users.sqlite")
        with (
            Server("disc", "--db", database) as disc,
            Server("serve", "--no-penalty", "--disc", disc.where) as serve,
        ):
            found["serve"] = watch(serve.resident_bytes, flood_serve(serve.address), warmup, total)
            found["disc"] = watch(disc.resident_bytes, flood_disc(disc.address), warmup, total)
            stop(serve)
            stop(disc)
    return found


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description="Resident memory while bad messages come in.")
    parser.add_argument(
        "--count", type=int, default=1_000_000, help="bad messages to each, after the warm-up"
    )
    parser.add_argument("--warmup", type=int, default=100_000, help="before the first reading")
    parser.add_argument("--large", type=int, default=10_000, help="large requests while DISC hangs")
    options = parser.parse_args()
    began = time.monotonic()
    found = measure(options.count, options.warmup)
    print(f"{options.count:,} bad messages to each, {time.monotonic() - began:.0f} s")
    for name, mib in found.items():
        print(
            f"{name:<8}{mib[0]:8.2f} MiB, {mib[-1]:8.2f} at the end, growth {mib[-1] - mib[0]:+.2f}", end="  "
        )
        print(" ".join(f"{reading:.1f}" for reading in mib))
    for where, reads, filled in HANGING:
        peak = peak_while_disc_hangs(where, options.large, reads=reads, filled=filled)
        how = f"DISC {'reads' if reads else 'does not read'} and never answers"
        print(f"serve, {how}, {options.large:,} requests large by {where}: growth {peak:+.1f} MiB")


if __name__ == "__main__":
    main()
