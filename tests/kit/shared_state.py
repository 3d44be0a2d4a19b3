"""Shared state without an event loop: the script that counts, in a real server, with the test's own clock."""

from __future__ import annotations

import socket
from collections.abc import Callable
from string import Template
from typing import Any

from kit.asker import KEY
from kit.redis_server import RedisServer, encode, read
from kit.wire import NOW

from auth_diameter._core import PENALTY_RULES, RECORDS
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.state import script as of_state
from auth_diameter.verifier.state.state import StateStats
from auth_diameter.verifier.verifier import sharing_of


def script(**rules: int) -> bytes:
    """The script, with other rules, and with the time as its third argument."""
    text = of_state.source().replace("call('TIME')", "{math.floor(ARGV[3]), ARGV[3] % 1 * 1000000}")
    assert text.count("ARGV[3]") >= 2, "it asks for the time otherwise"
    return Template(text).substitute(PENALTY_RULES | rules, **RECORDS).encode()


class Server:
    """A Redis with the script, for the states of several DISC.

    Attributes:
        now: seconds since 1970; it stands still unless the test moves it.
        turns: the records that were told, in order.
    """

    def __init__(self, redis: RedisServer, **rules: int) -> None:
        self._redis = redis
        self._script = script(**rules)
        self.now = NOW
        self.turns: list[bytes] = []
        self._connect()

    def _connect(self) -> None:
        self._sock = socket.create_connection(("127.0.0.1", self._redis.port), 10)
        self._replies = self._sock.makefile("rb")

    def count(self, records: bytes, late: object = 0) -> bytes:
        """What the script says."""
        self.turns.append(records)
        self._sock.sendall(encode("EVAL", self._script, 0, records, str(late), f"{self.now:.3f}"))
        reply = read(self._replies)
        assert isinstance(reply, bytes), reply
        return reply

    def crash(self) -> None:
        """Kills the server and starts it again: it has what its last snapshot has."""
        self.close()
        self._redis.kill()
        self._redis.start()
        self._connect()

    def forget(self) -> None:
        """Makes the server empty, as a restart does."""
        self._redis.say("FLUSHALL")

    def state(self, **settings: Any) -> State:
        """Of one more DISC with these settings."""
        state = State(self, **settings)
        self.count(state.sharing.header(self.now))
        self.turns.clear()
        return state

    def close(self) -> None:
        self._replies.close()
        self._sock.close()


class State:
    """Shared state of one DISC, which answers at once.

    Attributes:
        away: whether it does not answer; what was told then is in `kept`.
        answer: makes other replies of those of the server.
    """

    def __init__(self, server: Server, key: bytes = KEY, **settings: Any) -> None:
        self._server = server
        self.sharing = sharing_of(VerifierConfig(**settings), key)
        self.stats = StateStats()
        self.kept: list[bytes] = []
        self.answer: Callable[[bytes], bytes] = lambda reply: reply
        self.away = False

    @property
    def away(self) -> bool:
        return not self.sharing.is_reachable

    @away.setter
    def away(self, value: bool) -> None:
        self.sharing.is_reachable = not value

    async def ready(self) -> None:
        """As `SharedState`."""

    def tell(self, records: bytes, done: Callable[[bytes | None], object]) -> None:
        """As `SharedState`."""
        if self.away:
            self.kept.append(records)
            done(None)
        else:
            done(self.answer(self._server.count(records)))

    def come_back(self) -> None:
        """Writes what was kept, and answers again."""
        for records in self.kept:
            self._server.count(records, late=int(self._server.now))
        self.kept.clear()
        self.away = False
