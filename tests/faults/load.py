"""A steady load, and a record of what became of each request.

It is an open loop: a request is sent when it is due, whatever became of those before it, and its time is
counted from then on. Each request is of another subscriber, and DISC's verdict depends on who that is, so
that an answer that was meant for another request shows::

    subscriber  0, 4, 8 …   sends no credentials         must be challenged for a domain of its own
                1, 5, 9 …   has a wrong password         must be forbidden
                2, 3, 6 …   has the right one            must be let through
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from kit.uac import Uac

from auth_diameter import AsyncAuthDiameter, AuthDiameter, Config, Decision
from auth_diameter._core import Challenge, format_challenge
from auth_diameter.diameter.stats import PoolStats
from auth_diameter.lab.uac import authorization, make_request
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.csvimport import import_csv
from auth_diameter.verifier.nonces import Nonces

LOOPBACK = "127.0.0.1"
RATE = 200.0  # requests a second
SUBSCRIBERS = 512
DOMAINS = 64
KEY = b"the key of all DISC in these tests"
PATIENCE = 5.0  # seconds for the last answers

_AHEAD = 200  # of them, that are started before the load
_THREADS = 1024  # more than wait at a time: the rate, times twice the time limit


# ---------------------------------------------------------------------- who asks


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One of `SUBSCRIBERS`."""

    index: int

    @property
    def name(self) -> str:
        """The user part of the address."""
        return f"user{self.index:03d}"

    @property
    def domain(self) -> str:
        """The domain, and the realm."""
        return f"d{self.index % DOMAINS:02d}.example"

    @property
    def expected(self) -> int:
        """The SIP status that DISC's verdict leads to."""
        return (401, 403, 200, 200)[self.index % 4]

    def request(self, nonces: Nonces, serial: int, local: tuple[str, int], now: float) -> bytes:
        """A REGISTER, whose Call-ID is `serial`."""
        headers = []
        if self.expected != 401:
            challenge = Challenge.parse(format_challenge(self.domain, nonces.make(self.domain, now)))
            value = authorization(challenge, self.name, "right", "REGISTER", f"sip:{self.domain}", nc=1)
            headers.append(("Authorization", value))
        account = f"{self.name}@{self.domain}"
        return make_request(
            "REGISTER", f"sip:{self.domain}", account, local=local, call_id=f"{serial:08d}", headers=headers
        )


def make_database(path: Path) -> None:
    """DISC's database with all subscribers."""
    rows = ["username,domain,password"]
    for subscriber in map(Subscriber, range(SUBSCRIBERS)):
        password = "other" if subscriber.expected == 403 else "right"
        rows.append(f"{subscriber.name},{subscriber.domain},{password}")
    with Accounts.create(str(path)) as store:
        import_csv(store, io.BytesIO("\n".join(rows).encode()), name="subscribers")


# ---------------------------------------------------------------------- what became of it


class Answered(NamedTuple):
    """An answer: when it came, in monotonic seconds, its status, its cause or "", and the SIP reply."""

    at: float
    status: int
    cause: str
    reply: bytes


@dataclass(slots=True)
class Entry:
    """A request: when it was due, in monotonic seconds, and each answer."""

    serial: int
    due: float
    subscriber: Subscriber
    answers: list[Answered] = field(default_factory=list)

    @property
    def status(self) -> int | None:
        """Of the first answer; None while there is none."""
        return self.answers[0].status if self.answers else None

    @property
    def good(self) -> bool:
        """Whether it has the answer that DISC's verdict leads to."""
        return self.status == self.subscriber.expected

    @property
    def took(self) -> float:
        """Seconds to the first answer."""
        return self.answers[0].at - self.due if self.answers else float("inf")

    def answered(self, status: int, reply: bytes | None, cause: str = "") -> None:
        """Notes an answer. A challenge for somebody else's domain is status 0."""
        reply = reply or b""
        if status == 401 and f'realm="{self.subscriber.domain}"'.encode() not in reply:
            status = 0
        self.answers.append(Answered(time.monotonic(), status, cause, reply))


class Record(list[Entry]):
    """Entries in the order in which they were due."""

    def between(self, start: float, end: float = float("inf")) -> Record:
        """Those due in that time."""
        return Record(entry for entry in self if start <= entry.due < end)

    @property
    def good(self) -> Record:
        """Those with the answer of DISC's verdict."""
        return Record(entry for entry in self if entry.good)

    @property
    def bad(self) -> Record:
        """Those with another answer or without."""
        return Record(entry for entry in self if not entry.good)

    @property
    def lost(self) -> int:
        """How many have no answer."""
        return sum(not entry.answers for entry in self)

    @property
    def twice(self) -> int:
        """How many have more than one."""
        return sum(len(entry.answers) > 1 for entry in self)

    @property
    def swapped(self) -> int:
        """How many have an answer that neither DISC's verdict on them nor a fault of DISC leads to."""
        return sum(entry.status not in (None, 500, 503, entry.subscriber.expected) for entry in self)

    @property
    def strays(self) -> Counter[str]:
        """The status and cause of those without the answer of DISC's verdict, and how often."""
        return Counter(
            f"{entry.status} {entry.answers[0].cause}".strip() if entry.answers else "none"
            for entry in self.bad
        )

    @property
    def let_in(self) -> int:
        """How many were let in without right credentials."""
        return sum(entry.status == 200 != entry.subscriber.expected for entry in self)

    def with_status(self, status: int) -> Record:
        """Those with this one."""
        return Record(entry for entry in self if entry.status == status)

    def slowest(self, share: float = 1.0) -> float:
        """Seconds that so large a share was answered in; 0 where there are no entries."""
        times = sorted(entry.took for entry in self)
        return times[min(int(len(times) * share), len(times) - 1)] if times else 0.0


# ---------------------------------------------------------------------- the loads


class Load:
    """So many requests a second, from the beginning of the block to its end or `stop`.

    Attributes:
        record: the requests so far.
        clock_offset: seconds by which the clock of DISC, in whose challenges it is, differs from ours.
    """

    name = "?"

    def __init__(self, rate: float = RATE) -> None:
        self.record = Record()
        self.clock_offset = 0.0
        self._rate = rate
        self._nonces = Nonces(KEY)
        self._local = (LOOPBACK, 5060)
        self._stopping = threading.Event()
        self._pacer = threading.Thread(target=self._pace, name=f"load on {self.name}", daemon=True)

    def _pace(self) -> None:
        start = time.monotonic()
        for serial in range(1 << 30):
            due = start + serial / self._rate
            subscriber = Subscriber(serial % SUBSCRIBERS)
            request = subscriber.request(self._nonces, serial, self._local, time.time() + self.clock_offset)
            if self._stopping.wait(max(0.0, due - time.monotonic())):
                return
            entry = Entry(serial, due, subscriber)
            self.record.append(entry)
            self._send(entry, request)

    def stats(self) -> PoolStats | None:
        """Of its client; None where that is in another process, or its questions are those of a database."""
        return None

    def _send(self, entry: Entry, request: bytes) -> None:
        raise NotImplementedError

    def _finish(self) -> None:
        raise NotImplementedError

    def stop(self, patience: float | None = None) -> Record:
        """Sends no more, and waits for the answers under way, for `patience` or `PATIENCE` at most."""
        self._stopping.set()
        self._pacer.join()
        wait_until(lambda: not self.record.lost, PATIENCE if patience is None else patience)
        return self.record

    def __enter__(self) -> Self:
        self._pacer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._pacer.join()
        self._finish()


def note(entry: Entry, decision: Decision) -> None:
    status = 200 if decision else decision.status or 0
    entry.answered(status, decision.reply, decision.cause.name)


def _stats_of(auth: AuthDiameter | AsyncAuthDiameter) -> PoolStats | None:
    return auth.stats() if auth.config.database is None else None


class ThreadsLoad(Load):
    """One `AuthDiameter`, and a thread for each call that waits."""

    name = "threads"

    def __init__(self, config: Config, rate: float = RATE) -> None:
        super().__init__(rate)
        self._auth = AuthDiameter(config)
        self._threads = ThreadPoolExecutor(_THREADS, "caller")
        # Those that wait at a time are there before it: while one is started, no other request goes out.
        ready = threading.Barrier(_AHEAD + 1)
        for _ in range(_AHEAD):
            self._threads.submit(ready.wait)
        ready.wait()

    def stats(self) -> PoolStats | None:
        """See `Load.stats`."""
        return _stats_of(self._auth)

    def _send(self, entry: Entry, request: bytes) -> None:
        self._threads.submit(self._ask, entry, request)

    def _ask(self, entry: Entry, request: bytes) -> None:
        note(entry, self._auth.diameter_www_authorize(request, "$fd"))

    def _finish(self) -> None:
        self._auth.close()
        self._threads.shutdown()


class AsyncLoad(Load):
    """One `AsyncAuthDiameter`, in a loop of its own."""

    name = "asyncio"

    def __init__(self, config: Config, rate: float = RATE) -> None:
        super().__init__(rate)
        self._auth = AsyncAuthDiameter(config)
        self._loop = asyncio.new_event_loop()
        self._runner = threading.Thread(target=self._run, name="loop of the load", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner.start()

    def stats(self) -> PoolStats | None:
        """See `Load.stats`."""
        return _stats_of(self._auth)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        self._loop.run_until_complete(self._auth.aclose())
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    def _send(self, entry: Entry, request: bytes) -> None:
        self._loop.call_soon_threadsafe(self._begin, entry, request)

    def _begin(self, entry: Entry, request: bytes) -> None:
        task = self._loop.create_task(self._ask(entry, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, entry: Entry, request: bytes) -> None:
        note(entry, await self._auth.diameter_www_authorize(request, "$fd"))

    def _finish(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._runner.join()


class UdpLoad(Load):
    """A telephone for all subscribers, which asks a SIP host over UDP and sends nothing again.

    Args:
        port: of the SIP host.
        copies: how often each request is sent, `step` requests after the one before.
    """

    name = "serve"

    def __init__(self, port: int, rate: float = RATE, *, copies: int = 1, step: int = 20) -> None:
        super().__init__(rate)
        self._copies, self._step = copies, step
        self._requests: dict[int, bytes] = {}  # by serial: those that are to be sent again
        self._uac = Uac((LOOPBACK, port))
        self._local = self._uac.local
        self._ending = threading.Event()
        self._receiver = threading.Thread(target=self._receive, name="telephone", daemon=True)
        self._receiver.start()

    def _send(self, entry: Entry, request: bytes) -> None:
        self._uac.send(request)
        if self._copies > 1:
            self._requests[entry.serial] = request
            for copy in range(1, self._copies):
                if before := self._requests.get(entry.serial - copy * self._step):
                    self._uac.send(before)

    def _receive(self) -> None:
        while not self._ending.is_set():
            reply = self._uac.receive_bytes(0.1)  # after which it looks whether it is to end
            if reply is None:
                continue
            at = reply.index(b"Call-ID: ") + 9
            serial = int(reply[at : at + 8])
            self.record[serial].answered(int(reply[8:11]), reply)

    def _finish(self) -> None:
        self._ending.set()
        self._receiver.join()
        self._uac.close()


@contextlib.contextmanager
def running(loads: list[Load]) -> Iterator[list[Load]]:
    """All of them together."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(load) for load in loads]


def wait_until(what: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether `what` came true in that time."""
    deadline = time.monotonic() + seconds
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
