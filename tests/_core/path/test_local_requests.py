"""The way of requests that are judged where they arrive: what needs no Python, what does, and its replies.

The other side of most tests is DISC itself, in this process: the replies of both must be the same.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from host.datagrams import datagrams
from kit.path import SETTINGS, Way
from kit.sip import DOMAIN
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter._core import Question, RequestStream, SipRequest, Transactions
from auth_diameter.bench.programs import resident_bytes
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.disc.server import Disc
from auth_diameter.lab.uac import parse_reply
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import StoreError
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces

KEY = b"sixteen secret bytes"
SOURCE = ("192.0.2.9", 4711)
SOURCE6 = ("2001:db8::7", 5060, 0, 0)
ALICE = Account()


_OPEN: list[Callable[[], None]] = []  # what closes the databases of a test


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop()()


class LocalWay:
    """A `LocalRequests` with the users of a database; a test hands datagrams in, and takes the replies.

    Attributes:
        ended: the Questions that went to Python, and the Decisions on them.
    """

    def __init__(self, db: Path, *, realm: str = "$fd", **settings: Any) -> None:
        self.auth = AsyncAuthDiameter(ad.Config(db=str(db), nonce_key=KEY, **settings))
        assert self.auth._local is not None
        _OPEN.append(self.auth._local.close)
        self.ended: list[tuple[Question, ad.Decision]] = []
        self.path = self.auth.request_path(
            -1,
            Transactions(1 << 20),
            lambda question: lambda decision: self.ended.append((question, decision)),
            realm=realm,
            amplification=SETTINGS["amplification"],
            one_challenge=SETTINGS["one_challenge"],
        )

    def take(self, *datagrams: bytes, source: Any = SOURCE) -> list[bytes]:
        for data in datagrams:
            self.path.take(data, source, 0.0)
        return [reply for reply, _ in self.path.departures.take()]

    def ask(self, data: bytes, source: Any = SOURCE) -> bytes:
        (reply,) = self.take(data, source=source)
        return reply

    @property
    def counts(self) -> dict[Cause, int]:
        return {cause: count for cause, count in self.auth.counts.items() if count}


class DiscWay:
    """The same with a DISC of this process behind a connection."""

    def __init__(self, db: Path, *, realm: str = "$fd", penalty: bool = True, **settings: Any) -> None:
        self.store = SqliteStore.open(db)
        _OPEN.append(self.store.close)
        self.disc = Disc(self.store, VerifierConfig(penalty=penalty, **settings), Nonces(KEY))
        self.way = Way(realm=realm, tells_source=True)

    def take(self, data: bytes, source: Any = SOURCE) -> list[bytes]:
        self.way.take(data, source=source)
        out = bytearray()
        self.disc.answer(RequestStream().feed(self.way.wires[0].take_unsent()), out, time.time())
        self.odd = self.way.answer(bytes(out))
        return self.way.replies()


def status(reply: bytes) -> int:
    return int(reply[8:11])


def login(way: LocalWay, method: str = "INVITE", source: Any = SOURCE, **changes: Any) -> bytes:
    """The request that answers the challenge to another."""
    challenged = way.ask(ALICE.request(method), source)
    return ALICE.request(method, ALICE.answer(challenged, method, **changes))


# ------------------------------------------------------------------ what needs no Python


@pytest.fixture
def way(db: Path) -> Iterator[LocalWay]:
    """One that has been asked before: the store was opened, and says nothing new for half a second."""
    way = LocalWay(db)
    way.ask(ALICE.request())
    yield way
    assert way.path.slow == way.path.in_slots == 0
    assert not way.path.has_odd
    assert way.ended == []


def test_a_challenge_and_right_credentials(way: LocalWay) -> None:
    for method in ("REGISTER", "INVITE"):
        assert status(way.ask(login(way, method))) == 200
    assert way.counts == {Cause.CHALLENGED: 3, Cause.AUTHORIZED: 2}


def test_a_retransmission_gets_the_same_reply(way: LocalWay) -> None:
    """RFC 3261, 17.2.2. It is not judged again: its count would be a replay."""
    data = login(way)
    assert way.ask(data) == way.ask(data)
    assert way.path.retransmissions == 1


def test_a_replay_is_challenged(way: LocalWay) -> None:
    data = login(way)
    assert status(way.ask(data)) == 200
    challenge = parse_reply(way.ask(data, ("192.0.2.10", 4711))).challenge()
    assert challenge is not None
    assert challenge.stale


def test_wrong_credentials_are_noted_for_the_log(way: LocalWay) -> None:
    """By their outcome: the store knows more than the SIP server tells."""
    assert status(way.ask(login(way, password="wrong"))) == 403
    assert status(way.ask(login(way, username="mallory"))) == 403
    notes, others = way.path.take_notes()
    assert [(outcome.name, account, host, times) for outcome, account, host, times in notes] == [
        ("WRONG_DIGEST", f"alice@{DOMAIN}", SOURCE[0], 1),
        ("UNKNOWN_USER", f"mallory@{DOMAIN}", SOURCE[0], 1),
    ]
    assert others == 0


def test_guesses_are_refused_unseen(way: LocalWay) -> None:
    for _ in range(5):
        assert status(way.ask(login(way, password="wrong"))) == 403
    assert status(way.ask(login(way))) == 403
    assert way.counts[Cause.PENALIZED] == 1
    assert status(way.ask(login(way, source=SOURCE6), SOURCE6)) == 200


def test_ipv6(way: LocalWay) -> None:
    assert status(way.ask(login(way, source=SOURCE6), SOURCE6)) == 200


@pytest.mark.parametrize("settings", [{"algorithms": ("SHA-256", "MD5")}, {"algorithms": ("SHA-512-256",)}])
def test_other_algorithms(db: Path, settings: dict[str, Any]) -> None:
    way = LocalWay(db, **settings)
    way.ask(ALICE.request())
    assert status(way.ask(login(way))) == 200
    assert way.path.slow == 0


def test_a_hashed_username(db: Path) -> None:
    """RFC 7616, 3.4.4. Nobody asks for the name behind it: the reply does not tell it."""
    way = LocalWay(db, userhash=True)
    assert status(way.ask(login(way, userhash=True))) == 200
    assert way.path.slow == 0


def test_what_the_store_is_asked_for_needs_no_request_in_python(db: Path) -> None:
    """The first request of each user: the keys are fetched, and it goes on as it is."""
    way = LocalWay(db)
    assert status(way.ask(login(way, username="alice"))) == 200
    assert status(way.ask(login(way, username="bob"))) == 403
    assert way.path.slow == 0


def test_each_read_has_the_time_of_its_own(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonces grow old, and what the store says counts for half a second."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now)
    way = LocalWay(db, nonce_lifetime=300)
    data = login(way)
    now += 400
    challenge = parse_reply(way.ask(data)).challenge()
    assert challenge is not None
    assert challenge.stale
    with Accounts.open(str(db), writable=True) as accounts:
        accounts.add_user("alice", DOMAIN, "through the looking-glass", replace=True)
    now += 0.5
    assert status(way.ask(login(way))) == 403


@pytest.mark.parametrize("settings", [{}, {"authentication_info": True}], ids=["compiled", "in Python"])
def test_many_requests_leave_nothing_behind(db: Path, settings: dict[str, Any]) -> None:
    """Each gives its slot back, and what was worked out for it: some kilobytes."""
    way = LocalWay(db, **settings)
    challenged = way.ask(ALICE.request())

    def serve(start: int, stop: int) -> None:
        for nc in range(start, stop):
            way.take(ALICE.request("REGISTER", ALICE.answer(challenged, nc=nc)))
            way.ended.clear()

    serve(1, 1000)
    before = resident_bytes([os.getpid()])
    serve(1000, 6000)
    assert resident_bytes([os.getpid()]) - before < 5_000_000
    assert way.counts == {Cause.CHALLENGED: 1, Cause.AUTHORIZED: 5999}


# ------------------------------------------------------------------ what does


def test_authentication_info(db: Path) -> None:
    """RFC 7616, 3.5: its header field is made in Python."""
    way = LocalWay(db, authentication_info=True)
    assert way.take(login(way)) == []
    ((question, decision),) = way.ended
    assert decision.authorized
    assert [name for name, _ in decision.headers] == ["Proxy-Authentication-Info"]
    assert question.request.source == SOURCE
    assert (way.path.slow, way.path.in_slots) == (1, 0)
    assert way.counts == {Cause.CHALLENGED: 1, Cause.AUTHORIZED: 1}


def test_auth_int(db: Path) -> None:
    """The body is hashed in Python."""
    way = LocalWay(db, qop=("auth-int",))
    assert way.take(login(way, qop="auth-int")) == []
    (request,) = way.path.take_odd()
    assert isinstance(request, SipRequest)


def test_a_store_that_cannot_be_read(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    way = LocalWay(db)

    async def fails(*_: object) -> None:
        raise StoreError("users: gone")

    monkeypatch.setattr(SqliteStore, "fetch", fails)
    assert way.take(ALICE.request()) == []
    ((_, decision),) = way.ended
    assert (decision.status, decision.cause) == (500, Cause.DISC_REFUSED)


def test_a_mistake_in_python_leaves_the_request_to_be_tried_again(db: Path) -> None:
    """What is left of a read without an answer is odd, and no slot is lost."""
    way = LocalWay(db)
    local = way.auth._local
    assert local is not None
    mistakes: list[Exception] = []
    local.report = mistakes.append  # type: ignore[method-assign]
    local._closed = True
    assert way.take(ALICE.request(), ALICE.request()) == []
    assert len(way.path.take_odd()) == len(mistakes) == 2
    local._closed = False
    assert status(way.ask(ALICE.request())) == 407 - 6  # a REGISTER


# ------------------------------------------------------------------ as DISC would

_NONCE = re.compile(rb'nonce="[0-9a-f]{56}"')


def shown(replies: list[bytes]) -> list[bytes]:
    """Without what must differ: each nonce is another."""
    return [_NONCE.sub(b'nonce="another"', reply) for reply in replies]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"algorithms": ("SHA-256", "MD5"), "userhash": True},
        {"rechallenge": True, "uri_policy": "strict", "penalty": False},
        {"bind_source": True},
    ],
    ids=["default", "algorithms", "rechallenge", "bind_source"],
)
def test_each_datagram_has_the_reply_that_disc_would_give(db: Path, settings: dict[str, Any]) -> None:
    """Hostile input, forms of credentials, damaged requests: the same bytes, or both leave it to Python."""
    here, there = LocalWay(db, **settings), DiscWay(db, **settings)
    compared = 0
    for name, data in datagrams().items():
        if len(data) > 65_000 or name.endswith(" ws_bomb"):  # DISC is not asked: the question is too large
            continue
        replies, expected = here.take(data), there.take(data)
        odd = [type(one) for one in here.path.take_odd()]
        expected_odd = [type(one) for one in there.way.path.take_odd()] + [
            SipRequest for question, _ in there.odd
        ]
        if len(odd) + len(here.ended) == len(expected_odd) == 1:
            here.ended.clear()
            continue
        assert (shown(replies), odd) == (shown(expected), expected_odd), data
        compared += len(replies)
    assert compared > 500
