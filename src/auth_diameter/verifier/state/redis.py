"""Shared state in Redis or Valkey: one script counts all questions of a turn.

::

    connecting ──► catching up ──► reachable        a command for each turn
        ▲               │              │
        └──── away ◄────┴──────────────┘            closed, an error, or no answer within 50 ms

While it is away, or catching up, nobody waits for it: each turn is answered by the memory of this process,
and its records are kept. They are written when it is back, before it is asked again.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from auth_diameter._core import Sharing
from auth_diameter.verifier.state import script
from auth_diameter.verifier.state.kept import Kept, count_of, warn_of_eviction
from auth_diameter.verifier.state.resp import Link, Reply, ServerError
from auth_diameter.verifier.state.state import BACK_OFF, DEADLINE, StateStats
from auth_diameter.verifier.state.urls import StateUrl

_CONNECT: Final = 1.0  # seconds to connect, and for a command that nobody waits for
_GRACE: Final = 0.002  # seconds in which an answer is read that came while this process was busy
_CATCH_UP: Final = 2_000  # chunks that are written late before the state is asked again
_STEADY: Final = 5.0  # seconds after which a connection counts as good


class _Trouble(Exception):  # noqa: N818 - it never leaves this module
    """The server cannot be used; the text says why."""


class _Turn:
    """The records of a turn that the server was sent.

    Attributes:
        records: the records.
        done: gets the reply, or None.
        deadline: seconds of the loop.
    """

    __slots__ = ("deadline", "done", "records")

    def __init__(self, records: bytes, done: Callable[[bytes | None], object], deadline: float) -> None:
        self.records = records
        self.done = done
        self.deadline = deadline


class RedisState:
    """Shared state in a Redis or Valkey server; for one event loop.

    ::

        async with RedisState(parse_url("redis://localhost/1"), sharing) as state:
            state.tell(records, done)

    It is entered also if the server cannot be reached: then it is away.

    Args:
        url: where the server is.
        sharing: how questions are told to it.
        clock: seconds since 1970.
        warns: whether it warns of a server that evicts keys, once.

    Attributes:
        sharing: as above.
        stats: what it was told.
    """

    def __init__(
        self, url: StateUrl, sharing: Sharing, clock: Callable[[], float] = time.time, *, warns: bool = True
    ) -> None:
        self.sharing = sharing
        self.stats = StateStats()
        self._url = url
        self._tls = url.tls_context()
        self._clock = clock
        self._link: Link | None = None  # None while it is away
        self._turns: deque[_Turn] = deque()  # that have no answer
        self._kept = Kept(url.name, self.stats)
        self._timer: asyncio.TimerHandle | None = None
        self._over = asyncio.Event()  # of the connection
        self._tried = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closed = False
        self._reason = "it is not connected"  # why it is away
        self._warned = not warns

    async def __aenter__(self) -> RedisState:
        await self.ready()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.aclose()

    async def ready(self) -> None:
        """As `SharedState.ready`."""
        if self._task is None and not self._closed:
            self._task = asyncio.get_running_loop().create_task(self._stay_connected())
        if not self._tried.is_set():
            await self._tried.wait()

    def close(self) -> None:
        """Closes the connection; what is kept is lost."""
        self._closed = True
        self._tried.set()
        if self._task is not None:
            self._task.cancel()
        link = self._link
        self._leave()
        if link is not None:
            link.close()
        self._kept.drop()

    async def aclose(self) -> None:
        """The same, and waits until it is done."""
        self.close()
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def tell(self, records: bytes, done: Callable[[bytes | None], object]) -> None:
        """As `SharedState.tell`; `done` is called after 50 ms at most."""
        link = self._link
        if link is None:
            self._kept.say_away(self._reason)
            self._kept.keep(records)
            done(None)
            return
        loop = asyncio.get_running_loop()
        self._turns.append(_Turn(records, done, loop.time() + DEADLINE))
        if self._timer is None:
            self._timer = loop.call_later(DEADLINE, self._look_at_deadline, loop, None)
        link.ask(script.count(records), self._answered)

    def _answered(self, reply: Reply) -> None:
        """Takes the reply to the oldest turn. None: `_leave` has answered it."""
        if reply is None or not self._turns:
            return
        turn = self._turns[0]
        if isinstance(reply, ServerError):
            if script.is_unknown(reply.text) and self._link is not None:
                # The server was restarted, or its scripts were flushed. Replies come in the order of
                # commands: this turn is behind all others now.
                self._turns.rotate(-1)
                self._link.ask(script.load_and_count(turn.records), self._answered)
            else:
                self._lose(reply.text)
            return
        self._turns.popleft()
        self.stats.turns += 1
        self.stats.records += count_of(turn.records)
        turn.done(reply)

    # ------------------------------------------------------------------ away and back

    def _look_at_deadline(self, loop: asyncio.AbstractEventLoop, late: _Turn | None) -> None:
        """Gives the server up if the oldest turn is late; `late`: that turn, if it was late before."""
        self._timer = None
        if not self._turns:
            return
        turn = min(self._turns, key=lambda each: each.deadline)
        left = turn.deadline - loop.time()
        if left > 0:
            self._timer = loop.call_later(left, self._look_at_deadline, loop, None)
        elif turn is late:
            self._lose(f"no answer within {DEADLINE * 1000:.0f} ms")
        else:
            # If it is this process that was late, the answer is there to be read.
            self._timer = loop.call_later(_GRACE, self._look_at_deadline, loop, turn)

    def _lose(self, reason: str) -> None:
        link = self._link
        if link is not None:
            self._kept.say_away(reason)
            self._lost(link, reason)
            link.close()

    def _lost(self, link: Link, reason: str) -> None:
        if link is self._link:
            self._reason = reason
            if self._turns or link.is_garbled:
                self._kept.say_away(reason)
            self._leave()
            self._over.set()

    def _leave(self) -> None:
        """Goes on without the server. What it was sent last, it may count twice."""
        self._link = None
        self.sharing.is_reachable = self.stats.reachable = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        turns, self._turns = self._turns, deque()
        for turn in turns:
            self._kept.keep(turn.records)
        for turn in turns:
            turn.done(None)

    # ------------------------------------------------------------------ connecting

    async def _stay_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pause = BACK_OFF[0]
        while True:
            began = loop.time()
            try:
                link = await self._connect()
                self._tried.set()
                while self._kept and not self._over.is_set():
                    await self._write_chunk(link)
            except _Trouble as error:
                self._lose(str(error))
                self._kept.say_away(str(error))
            except Exception as error:  # noqa: BLE001 - it is tried again
                self._lose(type(error).__name__)
                self._kept.say_away(f"{type(error).__name__}: {error}")
            else:
                await self._over.wait()
            self._tried.set()
            if loop.time() - began > _STEADY:
                pause = BACK_OFF[0]
                if not self._kept:
                    continue  # servers close connections that nobody uses
            await asyncio.sleep(pause * random.uniform(0.75, 1.25))  # noqa: S311 - no secret
            pause = min(2 * pause, BACK_OFF[1])

    async def _connect(self) -> Link:
        """Connects, writes what was kept, and has the turns counted there from then on.

        Returns:
            The connection.

        Raises:
            _Trouble: the server cannot be used.
        """
        self._over.clear()
        broken: list[str] = []

        def lost(link: Link, reason: str) -> None:
            broken.append(reason)
            self._lost(link, reason)

        link = Link(lost)
        try:
            await self._dial(link)
            await self._greet(link)
            chunks = _CATCH_UP  # this process may answer faster than they are written
            while self._kept and chunks:
                await self._write_chunk(link)
                chunks -= 1
            if broken:
                raise _Trouble(broken[0])
        except BaseException:
            link.close()
            raise
        self._link = link
        self.sharing.is_reachable = self.stats.reachable = True
        self._kept.say_back()
        return link

    async def _dial(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        url = self._url
        try:
            async with asyncio.timeout(_CONNECT):
                if url.path:
                    await loop.create_unix_connection(lambda: link, url.path)
                else:
                    await loop.create_connection(lambda: link, url.host, url.port, ssl=self._tls)
        except TimeoutError:
            raise _Trouble(f"no connection within {_CONNECT:.0f} s") from None
        except OSError as error:
            raise _Trouble(error.strerror or str(error) or type(error).__name__) from None

    async def _greet(self, link: Link) -> None:
        """Logs in, and tries whether the script may count."""
        # One after the other, since an error says which of them it is about.
        for each in script.greeting(self._url, self.sharing.header(self._clock())):
            await self._ask_alone(link, each)
        if not self._warned:
            self._warned = True
            with contextlib.suppress(_Trouble):  # it may be forbidden
                warn_of_eviction(self._url.name, await self._ask_alone(link, script.MEMORY))

    async def _write_chunk(self, link: Link) -> None:
        """Writes the oldest of what was kept."""
        chunk, now = self._kept.take_chunk(), self._clock()
        try:
            async with asyncio.TaskGroup() as tasks:
                for records in chunk:
                    tasks.create_task(self._ask_alone(link, script.count_late(records, now)))
        except BaseExceptionGroup as errors:
            self._kept.put_back(chunk)
            raise _Trouble(str(errors.exceptions[0])) from None
        except BaseException:
            self._kept.put_back(chunk)
            raise
        self._kept.written(chunk)

    async def _ask_alone(self, link: Link, data: bytes) -> bytes:
        """Asks what no turn waits for.

        Raises:
            _Trouble: there is no answer, or an error.
        """
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

        def done(reply: Reply) -> None:
            if not answer.done():
                answer.set_result(reply)

        link.ask(data, done)
        try:
            async with asyncio.timeout(_CONNECT):
                reply = await answer
        except TimeoutError:
            raise _Trouble(f"no answer within {_CONNECT:.0f} s") from None
        if reply is None:
            raise _Trouble("the connection was closed")
        if isinstance(reply, ServerError):
            raise _Trouble(reply.text)
        return reply

    def __repr__(self) -> str:
        return f"<RedisState {self._url.name} reachable={self.stats.reachable}>"
