"""Turns: the requests of all connections in one turn of the event loop, judged together.

So the store is asked once for all of them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import Final, Protocol

from auth_diameter._core import Batch, Received, mark_asker
from auth_diameter.disc.server import Asker, Disc


class Connection(Protocol):
    """A connection that sends requests.

    Attributes:
        asker: the SIP server at its other end.
    """

    asker: Asker

    def answered(self, answers: bytearray, requests: list[Received]) -> None:
        """Takes the answers to these requests.

        Args:
            answers: the encoded answers, in the order of the requests; empty: there are none.
            requests: what is answered.
        """

    def abort(self) -> None:
        """Closes the connection at once."""


_Gathered = list[tuple[Connection, list[Received]]]

#: Requests judged together at most. This bounds the memory for the answers; a store gains nothing from more.
_MOST: Final = 256

#: Requests that are told to shared state together at least, if there are as many. A larger turn goes to it in
#: two parts, so that it counts the first while the second is judged.
_SHARED: Final = 32


class Turns:
    """Collects requests until the turn of the loop ends, judges them, and distributes the answers.

    Requests that need only cached values are answered at the start of the next turn of the loop. The others
    wait for the store and delay no later turn.

    Args:
        disc: answers the requests.
    """

    def __init__(self, disc: Disc) -> None:
        self._disc = disc
        self._loop = asyncio.get_running_loop()
        self._gathered: deque[tuple[Connection, list[Received]]] = deque()
        self._size = 0  # of `_gathered`, in requests
        self._waiting: set[asyncio.Task[None]] = set()

    @property
    def disc(self) -> Disc:
        """What answers the requests."""
        return self._disc

    def add(self, connection: Connection, requests: list[Received]) -> None:
        """Adds requests to the current turn; `Connection.answered` gets the answers.

        The turn ends early when it has enough to be judged together.
        """
        asker = connection.asker
        mark_asker(requests, asker, asker.one_challenge)
        if not self._gathered:
            self._loop.call_soon(self._end_turn)
        size = len(requests)
        if size <= _MOST:
            self._gathered.append((connection, requests))
        else:
            for start in range(0, size, _MOST):
                self._gathered.append((connection, requests[start : start + _MOST]))
        self._size += size
        if self._size >= _MOST:
            self._end_turn()

    def _end_turn(self) -> None:
        gathered, self._gathered = self._gathered, deque()
        most = _MOST if self._disc.state is None else min(_MOST, max(_SHARED, (self._size + 1) // 2))
        self._size = 0
        now = time.time()
        while gathered:
            part: _Gathered = []
            size = 0
            while gathered and (not part or size + len(gathered[0][1]) <= most):
                part.append(gathered.popleft())
                size += len(part[-1][1])
            self._judge(part, now)

    def _judge(self, gathered: _Gathered, now: float) -> None:
        requests: list[Received] = []
        for _, each in gathered:
            requests += each
        try:
            batch = self._disc.begin(requests, now)
        except Exception as error:  # noqa: BLE001 - the other questions of this turn of the loop get answers
            self._give_up(gathered, error)
            return
        if batch.is_done:
            self._hand_out(gathered, batch)
        elif not self._disc.share(batch, partial(self._go_on, gathered, batch, now)):
            self._go_on(gathered, batch, now)

    def _go_on(self, gathered: _Gathered, batch: Batch, now: float) -> None:
        """Answers the requests of a batch that need nothing more, or fetches what they need."""
        if batch.is_done:
            self._hand_out(gathered, batch)
            return
        task = self._loop.create_task(self._finish(gathered, batch, now))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _finish(self, gathered: _Gathered, batch: Batch, now: float) -> None:
        try:
            await self._disc.finish(batch, now)
        except Exception as error:  # noqa: BLE001 - as above
            self._give_up(gathered, error)
        else:
            self._hand_out(gathered, batch)

    def _hand_out(self, gathered: _Gathered, batch: Batch) -> None:
        start = 0
        for index, (connection, requests) in enumerate(gathered):
            out = bytearray()
            stop = start + len(requests)
            try:
                self._disc.write(batch, start, stop, out)
            except Exception as error:  # noqa: BLE001 - whose answers these were would be guessed
                self._give_up(gathered[index:], error)
                return
            start = stop
            try:
                connection.answered(out, requests)
            except Exception as error:  # noqa: BLE001 - the other connections get their answers
                self._report(error)
                connection.abort()

    def _give_up(self, gathered: _Gathered, error: Exception) -> None:
        """Closes the connections whose questions could not be answered; their SIP servers ask again."""
        self._report(error)
        for connection, requests in gathered:
            connection.abort()
            connection.answered(bytearray(), requests)

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler({"message": "questions could not be answered", "exception": error})
