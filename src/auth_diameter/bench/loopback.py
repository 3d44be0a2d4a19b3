"""A whole service on loopback: telephones, a SIP host and DISC, the last two in processes of their own.

The telephones are one socket in this process, with requests that were prepared before: each has right
credentials over a challenge that DISC gave, so every reply must be 200. So many are under way at any time.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auth_diameter._core import DatagramBatch, Error
from auth_diameter.bench.programs import LOOPBACK, OURS, Program
from auth_diameter.disc.store import Store
from auth_diameter.uac import authorization, make_request, parse_reply

_DOMAIN = "siphub.net"
_URI = f"sip:{_DOMAIN}"
_USERS = 64
_REQUESTS = 2048  # prepared; DISC does not mind that they come round again
_PATIENCE = 5.0  # seconds without any reply, after which the load gives up
_CALL_ID = b"Call-ID: "


@dataclass(frozen=True)
class Measured:
    """One load. Times are in seconds; the CPU times are those of all requests together."""

    window: int
    replies: int
    took: float
    host_cpu: float
    disc_cpu: float
    load_cpu: float
    latencies: list[float]  # in ascending order

    def latency(self, share: float) -> float:
        """That which so large a share of the requests stayed below."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]

    def limit(self) -> str:
        """What had no time left: SIP host, DISC, the load, or the cores that they share."""
        busy = {"serve": self.host_cpu, "disc": self.disc_cpu, "the load": self.load_cpu}
        name, most = max(busy.items(), key=lambda item: item[1])
        if most >= 0.9 * self.took:
            return name
        cores = len(os.sched_getaffinity(0))
        return f"{cores} cores" if sum(busy.values()) >= 0.75 * self.took * cores else "waiting"


class Telephones:
    """The load on the SIP host at `port`."""

    def __init__(self, port: int) -> None:
        self._address = (LOOPBACK, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((LOOPBACK, 0))
        self._datagrams = DatagramBatch(self._socket.fileno())
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._requests: list[bytes] = []
        self._next = 0

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _receive(self) -> list[bytes]:
        if not self._poll.poll(_PATIENCE * 1000):
            raise Error(f"bench: the SIP host has not answered for {_PATIENCE:.0f} s")
        return [data for data, _ in self._datagrams.receive()]

    def prepare(self) -> None:
        """Asks for a challenge for each user, and makes requests that answer them."""
        local = self._socket.getsockname()
        challenges = []
        for user in range(_USERS):
            asked = make_request("REGISTER", _URI, _account(user), local=local)
            self._datagrams.send([(asked, self._address)])
            reply = parse_reply(self._receive()[0])
            challenge = reply.challenge()
            if challenge is None:
                raise Error(f"bench: expected a challenge, got {reply.status} {reply.reason}")
            challenges.append(challenge)
        for serial in range(_REQUESTS):
            nc, user = divmod(serial, _USERS)
            value = authorization(challenges[user], _name(user), _password(user), "REGISTER", _URI, nc=nc + 1)
            self._requests.append(
                make_request(
                    "REGISTER",
                    _URI,
                    _account(user),
                    local=local,
                    call_id=f"{serial:08d}",
                    cseq=nc + 2,
                    headers=[("Authorization", value), ("Expires", "3600")],
                )
            )

    def load(self, window: int, seconds: float) -> tuple[float, list[float]]:
        """Keeps so many requests under way for so long.

        :returns: seconds until the last reply, and those that each request took.
        :raises Error: a reply is not 200, or none came for a while.
        """
        clock = time.perf_counter
        latencies: list[float] = []
        sent = [0.0] * _REQUESTS
        start = clock()
        self._send(window, sent, start)
        under_way = window
        while under_way:
            replies = self._receive()
            now = clock()
            for data in replies:
                if data[8:12] != b"200 ":
                    reply = parse_reply(data)
                    raise Error(f"bench: expected 200, got {reply.status} {reply.reason}")
                at = data.index(_CALL_ID) + len(_CALL_ID)
                latencies.append(now - sent[int(data[at : at + 8])])
            if now - start < seconds:
                self._send(len(replies), sent, now)
            else:
                under_way -= len(replies)
        return clock() - start, latencies

    def _send(self, count: int, sent: list[float], now: float) -> None:
        first, self._next = self._next, (self._next + count) % _REQUESTS
        serials = [serial % _REQUESTS for serial in range(first, first + count)]
        for serial in serials:
            sent[serial] = now
        self._datagrams.send([(self._requests[serial], self._address) for serial in serials])


def _name(user: int) -> str:
    return f"user{user:02d}"


def _account(user: int) -> str:
    return f"{_name(user)}@{_DOMAIN}"


def _password(user: int) -> str:
    return f"secret {user}"


class Loopback:
    """The service and its load, up and prepared; made by `running`."""

    def __init__(self, disc: Program, host: Program, telephones: Telephones) -> None:
        self._disc = disc
        self._host = host
        self._telephones = telephones

    def measure(self, window: int, seconds: float) -> Measured:
        """One load, with the CPU time that all three took for it."""
        gc.collect()
        gc.disable()
        try:
            host, disc, load = self._host.cpu_seconds(), self._disc.cpu_seconds(), time.process_time()
            took, latencies = self._telephones.load(window, seconds)
            load = time.process_time() - load
            host, disc = self._host.cpu_seconds() - host, self._disc.cpu_seconds() - disc
        finally:
            gc.enable()
        return Measured(window, len(latencies), took, host, disc, load, sorted(latencies))


@contextlib.contextmanager
def running() -> Iterator[Loopback]:
    """DISC over a database of its own, a SIP host that asks it, and telephones, for as long as the block."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-bench-"))
        db = Path(folder) / "bench.sqlite"
        with Store.open(str(db), writable=True) as store:
            for user in range(_USERS):
                store.add_user(_name(user), _DOMAIN, _password(user))
        disc = stack.enter_context(Program([*OURS, "disc", "--listen", f"{LOOPBACK}:0", "--db", db]))
        host = stack.enter_context(serve(disc.port))
        telephones = stack.enter_context(contextlib.closing(Telephones(host.port)))
        telephones.prepare()
        yield Loopback(disc, host, telephones)


def serve(disc_port: int) -> Program:
    """Our SIP host with its default route."""
    return Program([*OURS, "serve", "--listen", f"{LOOPBACK}:0", "--disc", f"{LOOPBACK}:{disc_port}"])
