"""A whole service under load on loopback: telephones, and a SIP server and DISC in processes of their own.

The telephones share one socket in this process. Each request is new: no other has its branch, tag, Call-ID or
nonce count. It is signed when it is sent, with a nonce from DISC, so every reply must be a 200. The number of
requests in flight is constant.

The other side is checked as well: `serve` must not have taken any request for a retransmission, and DISC must
have authorized as many new requests as there were replies.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from auth_diameter._core import DatagramBatch, Error, digest_response, ha1
from auth_diameter.bench.programs import COUNTING, LOOPBACK, OURS, Program
from auth_diameter.lab.uac import make_request, parse_reply
from auth_diameter.store.accounts import Accounts

_DOMAIN = "siphub.net"
_URI = f"sip:{_DOMAIN}"
_USERS = 64
_PATIENCE = 5.0  # seconds without any reply until the load fails
_CNONCE = "0a4f113b"
_CALL_ID = b"Call-ID: "
_REGISTER = "\r\n".join(
    (
        f"REGISTER {_URI} SIP/2.0",
        "Via: SIP/2.0/UDP {local};branch=z9hG4bK%08d;rport",
        "Max-Forwards: 70",
        "From: <sip:{account}>;tag=%08d",
        "To: <sip:{account}>",
        "Call-ID: %08d",
        "CSeq: %d REGISTER",
        "Contact: <sip:{name}@{local}>",
        'Authorization: Digest username="{name}", realm="{realm}", nonce="{nonce}", '
        f'uri="{_URI}", algorithm=MD5, qop=auth, nc=%08x, cnonce="{_CNONCE}", response="%b"',
        "Expires: 3600",
        "Content-Length: 0",
        "\r\n",
    )
)


@dataclass(frozen=True)
class Measured:
    """The result of one load.

    Attributes:
        window: number of requests in flight.
        replies: number of replies.
        took: seconds from the first request to the last reply.
        host_cpu: CPU seconds of the SIP server for all requests.
        disc_cpu: CPU seconds of DISC for all requests.
        load_cpu: CPU seconds of this process for all requests.
        latencies: seconds from each request to its reply, in ascending order.
    """

    window: int
    replies: int
    took: float
    host_cpu: float
    disc_cpu: float
    load_cpu: float
    latencies: list[float]

    def latency(self, share: float) -> float:
        """The latency below which that share of the requests stayed."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]

    def limit(self) -> str:
        """What was at its limit: the SIP server, DISC, the load, or the cores that they share."""
        busy = {"serve": self.host_cpu, "disc": self.disc_cpu, "the load": self.load_cpu}
        name, most = max(busy.items(), key=lambda item: item[1])
        if most >= 0.9 * self.took:
            return name
        cores = len(os.sched_getaffinity(0))
        return f"{cores} cores" if sum(busy.values()) >= 0.75 * self.took * cores else "waiting"


class Telephones:
    """The load on a SIP server.

    Args:
        port: its port on loopback.
    """

    def __init__(self, port: int) -> None:
        self._address = (LOOPBACK, port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((LOOPBACK, 0))
        self._datagrams = DatagramBatch(self._socket.fileno())
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._users: list[_User] = []
        self._serial = 0  # serial number of the last request

    def close(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _receive(self) -> list[bytes]:
        if not self._poll.poll(_PATIENCE * 1000):
            raise Error(f"bench: the SIP host has not answered for {_PATIENCE:.0f} s")
        return [data for data, _ in self._datagrams.receive()]

    def prepare(self) -> None:
        """Gets a new challenge for each user, so that no nonce expires during the load.

        Raises:
            Error: a reply has no challenge, or none came.
        """
        local = self._socket.getsockname()
        self._users = []
        for user in range(_USERS):
            asked = make_request("REGISTER", _URI, _account(user), local=local)
            self._datagrams.send([(asked, self._address)])
            reply = parse_reply(self._receive()[0])
            challenge = reply.challenge()
            if challenge is None:
                raise Error(f"bench: expected a challenge, got {reply.status} {reply.reason}")
            pattern = _REGISTER.format(
                local=f"{local[0]}:{local[1]}",
                account=_account(user),
                name=_name(user),
                realm=challenge.realm,
                nonce=challenge.nonce,
            )
            self._users.append(_User(pattern.encode(), challenge.nonce, _secret(user)))

    def load(self, window: int, seconds: float) -> tuple[float, list[float]]:
        """Keeps a number of requests in flight for some time.

        Args:
            window: number of requests in flight.
            seconds: how long to send requests.

        Returns:
            The seconds until the last reply, and the seconds that each request took.

        Raises:
            Error: a reply is not a 200, or matches no request in flight, or no reply came for a while.
        """
        clock = time.perf_counter
        latencies: list[float] = []
        in_flight: dict[int, float] = {}  # when each was sent, by its serial number
        start = clock()
        self._send(window, in_flight, start)
        while in_flight:
            replies = self._receive()
            now = clock()
            for data in replies:
                if data[8:12] != b"200 ":
                    reply = parse_reply(data)
                    raise Error(f"bench: expected 200, got {reply.status} {reply.reason}")
                at = data.index(_CALL_ID) + len(_CALL_ID)
                sent = in_flight.pop(int(data[at : at + 8]), None)
                if sent is None:
                    raise Error("bench: a reply belongs to no request in flight")
                latencies.append(now - sent)
            if now - start < seconds:
                self._send(len(replies), in_flight, now)
        return clock() - start, latencies

    def _send(self, count: int, in_flight: dict[int, float], now: float) -> None:
        made = [self._make() for _ in range(count)]
        for serial, _ in made:
            in_flight[serial] = now
        self._datagrams.send([(data, self._address) for _, data in made])

    def _make(self) -> tuple[int, bytes]:
        """A new request, and its serial number, which is its Call-ID."""
        self._serial += 1
        user = self._users[self._serial % _USERS]
        user.count += 1
        count = f"{user.count:08x}"
        response = digest_response(
            user.ha1, "REGISTER", _URI, user.nonce, qop="auth", nc=count, cnonce=_CNONCE
        )
        serial = self._serial
        values = (serial, serial, serial, user.count + 1, user.count, response.encode())
        return serial, user.pattern % values


@dataclass(slots=True)
class _User:
    """A telephone's account, with its challenge.

    Attributes:
        pattern: its request, with placeholders for what differs in each.
        nonce: the nonce of the challenge.
        ha1: HA1 of its password.
        count: how often the nonce was used.
    """

    pattern: bytes
    nonce: str
    ha1: str
    count: int = 0


def _name(user: int) -> str:
    return f"user{user:02d}"


def _account(user: int) -> str:
    return f"{_name(user)}@{_DOMAIN}"


def _password(user: int) -> str:
    return f"secret {user}"


def _secret(user: int) -> str:
    return ha1(_name(user), _DOMAIN, _password(user))


class Loopback:
    """The service and its load, started and ready; made by `running`."""

    def __init__(self, disc: Program, host: Program, telephones: Telephones) -> None:
        self._disc = disc
        self._host = host
        self._telephones = telephones

    def measure(self, window: int, seconds: float) -> Measured:
        """Measures one load, with the CPU time of all three processes.

        Args:
            window: number of requests in flight.
            seconds: how long to send requests.

        Raises:
            Error: see `Telephones.load` and `check_asked`.
        """
        self._telephones.prepare()
        before = self._host.counters(), self._disc.counters()
        gc.collect()
        gc.disable()
        try:
            host, disc, load = self._host.cpu_seconds(), self._disc.cpu_seconds(), time.process_time()
            took, latencies = self._telephones.load(window, seconds)
            load = time.process_time() - load
            host, disc = self._host.cpu_seconds() - host, self._disc.cpu_seconds() - disc
        finally:
            gc.enable()
        check_asked(len(latencies), self._host.counters() - before[0], self._disc.counters() - before[1])
        return Measured(window, len(latencies), took, host, disc, load, sorted(latencies))


def check_asked(replies: int, host: Counter[str], disc: Counter[str]) -> None:
    """Checks that the replies belong to as many new requests, by the counters of both servers.

    Args:
        replies: number of 200 replies.
        host: what the SIP server has counted meanwhile.
        disc: what DISC has counted meanwhile.

    Raises:
        Error: some requests were retransmissions, or DISC did not authorize each of them.
    """
    again = host["auth_diameter_sip_retransmissions_total"]
    name = 'auth_diameter_disc_answers_total{outcome="%s"}'
    let_in = disc[name % "authorized"]
    others = sorted(
        key.split('"')[1] + f" {count:,}"
        for key, count in disc.items()
        if key.startswith(name.partition("{")[0]) and key != name % "authorized"
    )
    if again or let_in != replies or others:
        raise Error(
            f"bench: of {replies:,} replies, serve took {again:,} from its memory of retransmissions; "
            f"DISC let in {let_in:,} new requests, and answered others: {', '.join(others) or 'none'}"
        )


@contextlib.contextmanager
def running() -> Iterator[Loopback]:
    """Runs DISC with a database of its own, a SIP server that asks it, and telephones, during the block."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="auth-diameter-bench-"))
        db = Path(folder) / "bench.sqlite"
        with Accounts.open(str(db), writable=True) as accounts:
            for user in range(_USERS):
                accounts.add_user(_name(user), _DOMAIN, _password(user))
        listen = ("--listen", f"{LOOPBACK}:0")
        disc = stack.enter_context(Program([*OURS, "disc", *listen, "--db", db, *COUNTING]))
        host = stack.enter_context(serve(disc.port, *COUNTING))
        telephones = stack.enter_context(contextlib.closing(Telephones(host.port)))
        yield Loopback(disc, host, telephones)


def serve(disc_port: int, *options: str) -> Program:
    """Starts our SIP server with its default route."""
    return Program(
        [*OURS, "serve", "--listen", f"{LOOPBACK}:0", "--disc", f"{LOOPBACK}:{disc_port}", *options]
    )
