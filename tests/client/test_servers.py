"""`Config(db=…)` and DISC with a database server: each way into a client, with PostgreSQL, MariaDB and Redis.

What a store says is in tests/store; here is that nobody waits who need not, and that all get their answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from kit.databases import DatabaseServer
from kit.doors import BACK_ENDS, DOORS
from kit.forked import in_child
from kit.machine import PATIENCE, wait_until
from kit.phone import ALICE, Phone
from kit.process import Server
from kit.redis_server import RedisServer
from kit.sip import DOMAIN, PASSWORD
from kit.stores import Database, RedisDatabase, ServerDatabase, fresh, server_of
from kit.uac import Account, Uac

import auth_diameter as ad
from auth_diameter import Cause

KINDS = ("PostgreSQL", "MariaDB", "Redis")
WAYS = [
    (back_end, door) for back_end in BACK_ENDS for door in DOORS if back_end == "local" or "-" not in door
]

Open = Callable[..., Phone]


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with fresh(request.param) as found:
        found.add("alice", PASSWORD)
        found.insert("grp", username="alice", domain=DOMAIN, grp="voicemail")
        yield found


@pytest.fixture
def server(database: Database) -> Iterator[DatabaseServer | RedisServer]:
    """The server, which goes on at the end of the test whatever was done to it."""
    assert isinstance(database, ServerDatabase | RedisDatabase)
    yield database.server
    database.server.thaw()


@pytest.fixture(params=WAYS, ids="-".join)
def open_door(request: pytest.FixtureRequest, database: Database) -> Iterator[Open]:
    """Opens the way into a client with these settings; a test calls it once."""
    back_end, door = request.param
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Phone:
            config = stack.enter_context(BACK_ENDS[back_end](database.url, **settings))
            return Phone(stack.enter_context(DOORS[door](config)))

        yield start


# --- every way ----------------------------------------------------------------------------------------


def test_who_is_let_in_and_who_is_not(open_door: Open) -> None:
    phone = open_door()
    assert phone.logs_in()
    assert not phone.logs_in(password="wrong")
    assert phone.door.is_user_in(phone.request, "From", "voicemail")
    assert not phone.door.is_user_in(phone.request, "From", "staff")
    stranger = Phone(phone.door, Account("mallory"))
    assert not stranger.logs_in()
    challenge = phone.challenge()
    header = ALICE.answer(challenge)
    assert phone.send(header)
    phone.source = ("198.51.100.7", 5060)
    assert not phone.send(header)


def test_a_new_password_counts_within_a_second(open_door: Open, database: Database) -> None:
    phone = open_door(penalty=False)
    assert phone.logs_in()
    other = ad.ha1("alice", DOMAIN, "another")
    database.set_ha1("alice", other)
    deadline = time.monotonic() + PATIENCE
    while not phone.logs_in(password="another"):
        assert time.monotonic() < deadline
    assert not phone.logs_in()


def test_users_at_hand_go_on_while_the_server_hangs(
    open_door: Open, server: DatabaseServer | RedisServer
) -> None:
    """Others get 500 after `db_timeout`; when the server goes on, so do they."""
    phone = open_door(penalty=False, db_timeout=0.5)
    assert phone.logs_in()
    stranger = Phone(phone.door, Account("bob"))
    challenge = phone.challenge()
    server.freeze()
    try:
        assert phone.logs_in()
        assert not phone.logs_in(password="wrong")
        assert stranger.answer(challenge).status in (500, 503)
        assert phone.logs_in()
    finally:
        server.thaw()
    wait_until(lambda: stranger.answer(challenge).cause is Cause.FORBIDDEN)


# --- threads ------------------------------------------------------------------------------------------


@pytest.fixture
def auth(database: Database) -> Iterator[ad.AuthDiameter]:
    with ad.AuthDiameter(ad.Config(db=database.url, penalty=False, db_timeout=0.5)) as auth:
        yield auth


def challenge_of(auth: ad.AuthDiameter) -> bytes:
    reply = auth.diameter_www_authorize(ALICE.request(), "$fd").reply
    assert reply is not None
    return reply


def send(auth: ad.AuthDiameter, account: Account, challenge: bytes, **changes: Any) -> ad.Decision:
    return auth.diameter_www_authorize(
        account.request("REGISTER", account.answer(challenge, **changes)), "$fd"
    )


def test_many_threads_get_each_their_own_answer(auth: ad.AuthDiameter, database: Database) -> None:
    """They wait for the database together, and none gets the answer of another."""
    accounts = [Account(f"u{number}", f"password {number}") for number in range(40)]
    for account in accounts[::2]:
        database.add(account.name, account.password)
    challenge = challenge_of(auth)
    with ThreadPoolExecutor(16) as threads:
        found = list(
            threads.map(
                lambda account, nc: send(auth, account, challenge, nc=nc).authorized, accounts, range(1, 41)
            )
        )
    assert found == [number % 2 == 0 for number in range(40)]


def test_a_caller_may_be_in_an_event_loop_of_its_own(auth: ad.AuthDiameter) -> None:
    async def work() -> bool:
        return send(auth, ALICE, challenge_of(auth)).authorized

    assert asyncio.run(work())


def test_a_child_has_connections_of_its_own(auth: ad.AuthDiameter, database: Database) -> None:
    database.add("bob", "builder")
    challenge = challenge_of(auth)
    assert send(auth, ALICE, challenge)
    bob = Account("bob", "builder")
    assert in_child(lambda: send(auth, bob, challenge, nc=2).authorized)
    assert send(auth, bob, challenge, nc=3)


@pytest.mark.usefixtures("ctrl_c_is_heeded")
def test_who_interrupts_a_thread_that_waits_breaks_nothing(
    auth: ad.AuthDiameter, server: DatabaseServer | RedisServer
) -> None:
    """Ctrl-C while the database hangs; what was waited for is given up."""
    challenge = challenge_of(auth)
    server.freeze()
    timer = threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,))
    timer.start()

    def ask_for_ever() -> None:
        while True:
            send(auth, Account("bob"), challenge)

    with pytest.raises(KeyboardInterrupt):
        ask_for_ever()
    timer.join()
    server.thaw()
    wait_until(lambda: send(auth, ALICE, challenge).authorized)


def test_a_closed_client_asks_nobody(auth: ad.AuthDiameter) -> None:
    challenge = challenge_of(auth)
    auth.close()
    with pytest.raises(ad.DiscError):
        send(auth, ALICE, challenge)


# --- an event loop ------------------------------------------------------------------------------------


def test_an_event_loop_goes_on_while_the_database_hangs(
    database: Database, server: DatabaseServer | RedisServer
) -> None:
    """A request whose user is at hand is decided while one before it waits."""

    async def work() -> None:
        config = ad.Config(db=database.url, penalty=False, db_timeout=0.5)
        async with ad.AsyncAuthDiameter(config) as auth:
            challenge = (await auth.diameter_www_authorize(ALICE.request(), "$fd")).reply
            assert challenge is not None

            def request(account: Account, **changes: Any) -> bytes:
                return account.request("REGISTER", account.answer(challenge, **changes))

            assert await auth.diameter_www_authorize(request(ALICE), "$fd")
            server.freeze()
            stranger = asyncio.ensure_future(auth.diameter_www_authorize(request(Account("bob")), "$fd"))
            many = asyncio.ensure_future(
                auth.diameter_www_authorize_many(
                    [request(Account("bob")), b"junk", request(ALICE, nc=3)], "$fd"
                )
            )
            await asyncio.sleep(0)
            assert await auth.diameter_www_authorize(request(ALICE, nc=2), "$fd")
            assert not stranger.done()
            assert (await stranger).status == 500
            assert [bool(decision) for decision in await many] == [False, False, True]
            server.thaw()

    asyncio.run(work())


def test_a_request_that_nobody_waits_for_any_more_harms_nobody(
    database: Database, server: DatabaseServer | RedisServer
) -> None:
    async def work() -> None:
        config = ad.Config(db=database.url, penalty=False, db_timeout=0.5)
        async with ad.AsyncAuthDiameter(config) as auth:
            challenge = (await auth.diameter_www_authorize(ALICE.request(), "$fd")).reply
            assert challenge is not None
            server.freeze()
            bob = Account("bob")
            asked = auth.diameter_www_authorize(bob.request("REGISTER", bob.answer(challenge)), "$fd")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asked, 0.05)
            server.thaw()
            async with asyncio.timeout(PATIENCE):
                while not await auth.diameter_www_authorize(
                    ALICE.request("REGISTER", ALICE.answer(challenge)), "$fd"
                ):
                    await asyncio.sleep(0.05)

    asyncio.run(work())


# --- serve --------------------------------------------------------------------------------------------


@pytest.fixture
def sip(database: Database) -> Iterator[Server]:
    with Server(
        "serve", "--db", database.url, "--workers", "2", "--no-penalty", "--db-timeout", "0.5"
    ) as found:
        yield found


def test_serve_with_workers(sip: Server, database: Database) -> None:
    """The default route: a batch whose users are not at hand waits, and others do not."""
    database.add("bob", "builder")
    assert ":hush" not in sip.line
    with contextlib.ExitStack() as stack:
        phones = [stack.enter_context(Uac()) for _ in range(8)]
        for phone in phones:
            phone.to = sip.address
            assert phone.call("REGISTER", phone.answer(phone.call())).status == 200
            assert phone.call("REGISTER", phone.answer(phone.call(), password="wrong")).status == 403


def test_serve_ends_in_order_while_the_database_hangs(
    sip: Server, server: DatabaseServer | RedisServer
) -> None:
    """Requests that wait for it get a 503 or 500, and none is lost."""
    with Uac() as phone:
        phone.to = sip.address
        header = phone.answer(phone.call())
        server.freeze()
        phone.send(phone.request("REGISTER", header))
        done = sip.stop()
        assert done.status == 0
        assert phone.receive().status in (500, 503)


def test_a_database_that_cannot_be_used_is_said_at_once(database: Database) -> None:
    wrong = database.url.replace("correct%20horse", "wrong")
    if wrong == database.url:
        pytest.skip("this server lets in everybody")
    for make in (ad.AuthDiameter, ad.AsyncAuthDiameter):
        with pytest.raises(ad.ConfigError, match="the password is wrong") as error:
            make(ad.Config(db=wrong))
        assert "wrong@" not in str(error.value)
    assert server_of(database.kind).running
