"""`storm.py`'s model beside a real storm: `serve` with a DISC that answers so many questions a second.

The telephones are one Python thread on loopback. Each begins within the first second, sends a REGISTER
without credentials and then one with them, sends again by the timers of RFC 3261, waits as a 503's
Retry-After says, and after a 500 as RFC 5626, 4.5 does. The DISC is our stub, which answers at a fixed
rate; so the machine is not the limit, and the model knows the only cost.
"""

from __future__ import annotations

import heapq
import random
import re
import select
import socket
import time
from collections import Counter
from typing import Any, NamedTuple

import common
from storm_model import (
    BASE_TIME,
    CHALLENGED,
    FAILED,
    LET_IN,
    MAX_TIME,
    REFUSED,
    T1,
    T2,
    Result,
    Setup,
    Storm,
)

import auth_diameter as ad

REGISTER = (
    "REGISTER sip:siphub.net SIP/2.0\r\n"
    "Via: SIP/2.0/UDP {source};branch=z9hG4bK-{call}\r\n"
    "Max-Forwards: 70\r\n"
    "From: <sip:u{number:07d}@siphub.net>;tag={call}\r\n"
    "To: <sip:u{number:07d}@siphub.net>\r\n"
    "Call-ID: {call}\r\n"
    "CSeq: 1 REGISTER\r\n"
    "Contact: <sip:u{number:07d}@{source}>;expires=3600\r\n"
    "{credentials}Content-Length: 0\r\n\r\n"
)
CREDENTIALS = (
    'Authorization: Digest username="u{number:07d}", realm="siphub.net", nonce="{nonce}", '
    'uri="sip:siphub.net", response="{response}", algorithm=MD5, cnonce="0a4f113b", qop=auth, nc={nc}\r\n'
)
_REPLY = re.compile(rb"SIP/2\.0 (\d{3}) .*?\r\nCall-ID: (\S+)\r\n", re.DOTALL)
_RETRY_AFTER = re.compile(rb"\r\nRetry-After: (\d+)")
_NONCE = re.compile(rb'nonce="([^"]+)"')


class Transaction(NamedTuple):
    """A request under way.

    Attributes:
        number: of the telephone.
        step: what it is to bring.
        begun: seconds, monotonic.
        data: the request.
    """

    number: int
    step: int
    begun: float
    data: bytes


class Telephones:
    """Telephones behind one socket, until all are registered or have given up.

    They are the users of `discload`, and answer a challenge right. After a 503 to credentials they use the
    same nonce again, with the next count.
    """

    def __init__(self, port: int, count: int, seed: int) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.bind((common.LOOPBACK, 0))
        self._socket.connect((common.LOOPBACK, port))
        self._socket.setblocking(False)
        self._source = "{}:{}".format(*self._socket.getsockname())
        self._count = count
        self._random = random.Random(seed)
        self._calls = 0
        self._under_way: dict[str, Transaction] = {}
        self._nonces: dict[int, tuple[str, int]] = {}  # of a telephone, with its last count
        self._timers: list[tuple[float, int, str, int, float]] = []
        self._failures: Counter[int] = Counter()  # of a telephone
        self.counts: Counter[str] = Counter()
        self.registered: list[float] = []
        self.given_up = 0
        self.late = 0.0  # seconds by which this thread was late at the most

    def run(self) -> None:
        """Plays the storm; `registered` has seconds from its begin."""
        self._start = time.monotonic()
        for number in range(self._count):
            self._later(self._start + self._random.random(), "", number, CHALLENGED)
        while len(self.registered) + self.given_up < self._count:
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                due, _, call, number, interval = heapq.heappop(self._timers)
                self.late = max(self.late, now - due)
                self._due(call, number, interval)
            wait = max(0.0, self._timers[0][0] - now) if self._timers else 1.0
            if select.select([self._socket], [], [], wait)[0]:
                self._receive()
        self._socket.close()

    def _later(self, when: float, call: str, number: int, interval: float) -> None:
        self._calls += 1
        heapq.heappush(self._timers, (when, self._calls, call, number, interval))

    def _due(self, call: str, number: int, interval: float) -> None:
        """A telephone begins a request, `interval` being its step; or sends one again."""
        now = time.monotonic()
        if not call:
            self._begin(number, int(interval), now)
        elif (transaction := self._under_way.get(call)) is not None:
            if now < transaction.begun + 64 * T1:
                self._send(call, transaction, interval, now)
            else:
                del self._under_way[call]
                self.given_up += 1

    def _begin(self, number: int, step: int, now: float) -> None:
        self._calls += 1
        call = f"{number}-{self._calls}"
        credentials = self._credentials(number) if step == LET_IN else ""
        data = REGISTER.format(source=self._source, call=call, number=number, credentials=credentials)
        transaction = self._under_way[call] = Transaction(number, step, now, data.encode())
        self._send(call, transaction, T1, now)

    def _credentials(self, number: int) -> str:
        nonce, count = self._nonces[number]
        self._nonces[number] = nonce, count + 1
        nc = f"{count + 1:08x}"
        ha1 = ad.ha1(f"u{number:07d}", "siphub.net", f"p{number:07d}")
        response = ad.digest_response(
            ha1, "REGISTER", "sip:siphub.net", nonce, qop="auth", nc=nc, cnonce="0a4f113b"
        )
        return CREDENTIALS.format(number=number, nonce=nonce, response=response, nc=nc)

    def _send(self, call: str, transaction: Transaction, interval: float, now: float) -> None:
        self._socket.send(transaction.data)
        self.counts["sent"] += 1
        when = min(now + interval, transaction.begun + 64 * T1)
        self._later(when, call, transaction.number, min(2 * interval, T2))

    def _receive(self) -> None:
        for _ in range(256):
            try:
                reply = self._socket.recv(65535)
            except BlockingIOError:
                return
            found = _REPLY.match(reply)
            if found is None:
                raise SystemExit(f"bench: not a reply: {reply!r}")
            transaction = self._under_way.pop(found[2].decode(), None)
            if transaction is None:  # the reply to a retransmission
                continue
            now, status = time.monotonic(), int(found[1])
            self.counts[str(status)] += 1
            if status == CHALLENGED and (nonce := _NONCE.search(reply)):
                self._nonces[transaction.number] = nonce[1].decode(), 0
                self._begin(transaction.number, LET_IN, now)
            elif status == LET_IN:
                self.registered.append(now - self._start)
            elif status == REFUSED and (seconds := _RETRY_AFTER.search(reply)):
                self._later(now + int(seconds[1]), "", transaction.number, transaction.step)
            elif status == FAILED:
                self._failures[transaction.number] += 1
                longest = min(MAX_TIME, BASE_TIME * 2.0 ** self._failures[transaction.number])
                pause = self._random.uniform(longest / 2, longest)
                self._later(now + pause, "", transaction.number, CHALLENGED)
            else:
                raise SystemExit(f"bench: an unexpected reply: {reply!r}")


def report(
    phones: Telephones, count: int, model: Result, more: list[tuple[str, float, float]]
) -> dict[str, Any]:
    """Prints both sides; the figures.

    Args:
        phones: those that have played the storm.
        count: how many they are.
        model: the same in the model.
        more: further figures of both, by their names.
    """
    pairs: list[tuple[str, float, float]] = [
        (f"{share:.0%} registered after, s", phones.registered[round(share * count) - 1], until)
        for share in (0.5, 0.99, 1.0)
        if (until := model.until(share)) is not None and len(phones.registered) >= share * count
    ]
    pairs += [
        ("requests a telephone", phones.counts["sent"] / count, model.counts["sent"] / count),
        *(
            (f"{status} a telephone", phones.counts[status] / count, model.counts[status] / count)
            for status in ("503", "500")
        ),
        *more,
    ]
    rows = [
        (what, f"{real:.2f}", f"{said:.2f}", f"{said / real if real else 1:.2f}")
        for what, real, said in pairs
    ]
    common.table(("what", "real", "model", "model / real"), rows)
    print(
        f"given up: {phones.given_up} and {model.given_up}; "
        f"the load was late by {phones.late * 1000:.0f} ms at most"
    )
    return {what: {"real": real, "model": said} for what, real, said in pairs}


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--telephones", type=int, default=5_000)
    parser.add_argument(
        "--capacity", type=float, default=1_000.0, help="questions a second that DISC answers"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with (
        common.tools("discstub") as folder,
        common.Stub(folder, "-c", options.capacity) as stub,
        common.serve(stub.port, "--no-penalty") as host,  # all telephones have one address
    ):
        phones = Telephones(host.port, options.telephones, options.seed)
        phones.run()
        asked = stub.asked()
    each, count = 1 / options.capacity, options.telephones
    model = Storm(
        Setup(telephones=count, weight=1, servers=1, link=0.0, challenge=each, verify=each, seed=options.seed)
    ).run()
    questions = ("questions to DISC a telephone", asked / count, model.counts["questions"] / count)
    common.finish(options, {"figures": report(phones, count, model, [questions])})


if __name__ == "__main__":
    main()
