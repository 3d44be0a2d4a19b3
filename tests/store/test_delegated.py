"""An HSS as a store: HA1 over Cx (3GPP TS 29.228, 6.3), and what it tells at once (6.2, 6.5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from kit.dialect import DIGEST, sip
from kit.hss import MULTIMEDIA_AUTH, Hss, running
from kit.machine import PATIENCE, until

import auth_diameter as ad
from auth_diameter.decision import Cause
from auth_diameter.diameter.base import CAPABILITIES_EXCHANGE, DISCONNECT_PEER, avp_named, value_of
from auth_diameter.diameter.cx import PUSH_PROFILE, REGISTRATION_TERMINATION
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.delegated import DelegatedStore
from auth_diameter.store.opening import open_store, open_subscribers
from auth_diameter.store.store import (
    Algorithms,
    Candidates,
    HashedUser,
    Key,
    Member,
    Offer,
    Realm,
    Spelling,
    StoreBusyError,
    StoreError,
    User,
)
from auth_diameter.store.url import database_name

REALM = "siphub.net"
ALICE = User("alice", REALM, "MD5")
BOB = User("bob", REALM, "MD5")


@pytest.fixture
def hss() -> Iterator[Hss]:
    with running(Hss) as found:
        found.passwords["alice", REALM] = "secret"
        yield found


def standard(**settings: Any) -> ad.Config:
    return ad.Config(application="sip", origin_host="scscf.h.test", **settings)


@asynccontextmanager
async def opened(hss: Hss, path: str = "", **settings: Any) -> AsyncIterator[DelegatedStore]:
    """A store that asks the HSS, and has left it in the end."""
    url = database_name(f"cx://127.0.0.1:{hss.port}{path}")
    store = await open_store(url, StoreConfig(), standard(**settings))
    assert isinstance(store, DelegatedStore)
    try:
        yield store
    finally:
        store.close()
        if store.leaving is not None:
            await store.leaving


def looked_up(hss: Hss, *keys: Any, path: str = "", **settings: Any) -> Any:
    """What the store says; or what it raises."""

    async def work() -> Any:
        async with opened(hss, path, **settings) as store:
            return await store.fetch(keys)

    return asyncio.run(work())


def test_ha1_of_a_user(hss: Hss) -> None:
    assert looked_up(hss, ALICE) == {ALICE: Candidates(True, ad.ha1("alice", REALM, "secret"))}


def test_the_username_is_asked_for_as_it_is_spelled(hss: Hss) -> None:
    """HA1 belongs to User-Name: with a domain in it, it is another one."""
    hss.passwords[f"alice@{REALM}", REALM] = "secret"
    key = User(f"alice@{REALM}", REALM, "MD5")
    assert looked_up(hss, key)[key].ha1s == ad.ha1(f"alice@{REALM}", REALM, "secret")
    [asked] = hss.asked
    named = {avp.name: avp.value for avp in asked.avps}
    assert (named["User-Name"], named["Public-Identity"]) == (f"alice@{REALM}", f"sip:alice@{REALM}")


def test_an_unknown_user_has_an_ha1_of_no_password(hss: Hss) -> None:
    key = User("nobody", REALM, "MD5")
    found = looked_up(hss, key)[key]
    assert (found.known, len(found.ha1s)) == (False, 32)


def test_a_second_algorithm(hss: Hss) -> None:
    hss.algorithms = ("MD5", "SHA-256")
    keys = (ALICE, User("alice", REALM, "SHA-256"), Algorithms("alice", REALM))
    found = looked_up(hss, *keys)
    assert found[keys[1]].ha1s == ad.ha1("alice", REALM, "secret", algorithm="SHA-256")
    assert found[keys[2]] == Offer(("MD5", "SHA-256"), ("MD5", "SHA-256"))
    assert len(hss.asked) == 1, "one question for all of them"


def test_an_algorithm_that_it_has_not_lets_nobody_in(hss: Hss) -> None:
    key = User("alice", REALM, "SHA-256")
    found = looked_up(hss, key)[key]
    assert (found.known, len(found.ha1s)) == (False, 64)


def test_what_an_hss_does_not_know(hss: Hss) -> None:
    hashed, member = HashedUser("0" * 32, REALM, "MD5"), Member("alice", "", "voicemail")
    found = looked_up(hss, hashed, member)
    assert (found[hashed].known, found[member]) == (False, False)
    assert hss.asked == []


def test_the_realm_of_the_url_alone_is_served(hss: Hss) -> None:
    here, other = Realm("SIPHUB.net"), Realm("other.net")
    found = looked_up(hss, here, other, path=f"/{REALM}")
    assert (found[here], found[other]) == (Spelling("SIPHUB.net"), Spelling(None))
    assert looked_up(hss, other)[other] == Spelling("other.net"), "without one, any is"


@pytest.mark.parametrize("name", ["a" * 256, "a\0", "a\udcff"], ids=["too long", "NUL", "no text"])
def test_a_name_that_nobody_can_have_is_unknown_without_a_question(hss: Hss, name: str) -> None:
    """Strangers choose names, as long as a SIP message. The values are those of any unknown user."""
    for username, realm in ((name, REALM), ("alice", name)):
        keys = User(username, realm, "MD5"), User(username, realm, "SHA-256"), Algorithms(username, realm)
        found = looked_up(hss, *keys)
        assert [(found[key].known, len(found[key].ha1s)) for key in keys[:2]] == [(False, 32), (False, 64)]
        assert found[keys[2]] == Offer(("MD5",), ("MD5",))
    assert looked_up(hss, Realm(name)) == {Realm(name): Spelling(None)}
    assert hss.asked == []


def test_the_longest_name_is_asked_about(hss: Hss) -> None:
    name = "a" * 255
    hss.passwords[name, REALM] = "secret"
    key = User(name, REALM, "MD5")
    assert looked_up(hss, key)[key].known


# ------------------------------------------------------------------ a user who cannot be looked up


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"realm": "other.net"}, "HA1 of another user or realm"),
        ({"user_name": "bob"}, "HA1 of another user or realm"),
        ({"result": 5012}, "answers 5012"),
        ({"result": 3002}, "no HSS can be reached"),
        ({"result": 3004}, "too many questions"),
        ({"result": 3006}, "no HSS can be reached"),
    ],
)
def test_an_answer_without_ha1_is_an_error_of_its_user(hss: Hss, change: dict[str, Any], why: str) -> None:
    for name, value in change.items():
        setattr(hss, name, value)
    error = looked_up(hss, ALICE)[ALICE]
    assert type(error) is StoreBusyError
    assert why in str(error)
    assert ad.ha1("alice", REALM, "secret") not in str(error)


def test_the_other_users_of_a_fetch_have_their_values(hss: Hss) -> None:
    hss.results["alice"] = 3002
    hss.passwords["bob", REALM] = "secret"
    here = Realm(REALM)
    found = looked_up(hss, ALICE, BOB, here)
    assert type(found[ALICE]) is StoreBusyError
    assert (found[BOB].known, found[here]) == (True, Spelling(REALM))
    assert len(hss.asked) == 2, "nobody is asked about twice"


def test_a_question_that_times_out_is_an_error_of_its_user(hss: Hss) -> None:
    """A relay may wait for the HSS of another realm."""
    hss.unanswered.add("alice")

    async def work() -> Any:
        async with opened(hss) as store:
            late = asyncio.create_task(store.fetch([ALICE]))
            while not late.done():
                assert not (await store.fetch([BOB]))[BOB].known
                await asyncio.sleep(0.1)
            return [(await late)[ALICE], (await store.fetch([BOB]))[BOB]]

    error, other = asyncio.run(work())
    assert type(error) is StoreBusyError
    assert "did not answer in time" in str(error)
    assert not other.known


def test_an_hss_that_answers_nobody_cannot_be_asked(hss: Hss) -> None:
    """The first question itself may be at fault; the next one shows that it was not."""
    hss.answers = False

    async def work() -> None:
        async with opened(hss) as store:
            assert type((await store.fetch([ALICE]))[ALICE]) is StoreBusyError
            with pytest.raises(StoreError, match="did not answer in time") as raised:
                await store.fetch([BOB])
            assert type(raised.value) is StoreError

    asyncio.run(work())


def test_an_hss_that_refuses_connections_cannot_be_asked(hss: Hss, free_port: int) -> None:
    hss.port = free_port
    with pytest.raises(StoreError, match="no HSS can be reached") as raised:
        looked_up(hss, ALICE, Realm(REALM))
    assert type(raised.value) is StoreError


def test_the_hss_of_one_realm_is_not_all(hss: Hss, free_port: int) -> None:
    """Only if the servers of all realms are down, the store fails."""
    far = User("alice", "far.net", "MD5")
    realms = {"far.net": [("127.0.0.1", free_port)]}

    async def work() -> None:
        async with opened(hss, realms=realms) as store:
            found = await store.fetch([far])
            assert type(found[far]) is StoreBusyError
            assert (await store.fetch([ALICE]))[ALICE].known
            hss.port = free_port
        async with opened(hss, realms=realms) as store:
            found = await store.fetch([far])
            assert type(found[far]) is StoreBusyError, "the others were not tried so far"
            for user in (ALICE, far):
                with pytest.raises(StoreError) as raised:
                    await store.fetch([user])
                assert type(raised.value) is StoreError

    asyncio.run(work())


def test_ha1_in_clear_from_another_machine(hss: Hss, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is as good as a password."""
    monkeypatch.setattr("auth_diameter.store.delegated.is_private", lambda transport: False)
    with pytest.raises(StoreError, match="without TLS"):
        looked_up(hss, ALICE)
    assert looked_up(hss, ALICE, plain_ha1=True)[ALICE].known


def test_its_users_have_no_commands_here() -> None:
    with pytest.raises(ad.ConfigError, match="has its own commands"):
        open_subscribers(database_name("cx://hss/siphub.net"), StoreConfig())


@pytest.mark.parametrize(
    "url", ["cx://", "cx:///realm", "cx://user:pw@hss/realm", "cx://hss/a/b", "cx://hss?x"]
)
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ad.ConfigError) as error:
        ad.AuthDiameter(ad.Config(db=url, origin_host="scscf.h.test"))
    assert "pw" not in str(error.value)


# ------------------------------------------------------------------ a client of it


class Client:
    """A client with an HSS, and a telephone's requests."""

    def __init__(self, hss: Hss, **settings: Any) -> None:
        self.auth = ad.AuthDiameter(
            ad.Config(db=f"cx://127.0.0.1:{hss.port}/{REALM}", origin_host="scscf.h.test", **settings)
        )

    def cause(self, password: str = "secret", user: str = "alice") -> Cause:
        challenge = self.auth.diameter_www_authorize(sip(), REALM)
        assert challenge.cause is Cause.CHALLENGED
        nonce = ad._core.Challenge.parse(challenge.headers[0][1]).nonce
        given = {"qop": "auth", "nc": "00000001", "cnonce": "abc"}
        response = ad.digest_response(
            ad.ha1(user, REALM, password), "REGISTER", f"sip:{REALM}", nonce, **given
        )
        text = (
            f'Digest username="{user}", realm="{REALM}", nonce="{nonce}", uri="sip:{REALM}", '
            f'response="{response}", qop=auth, nc=00000001, cnonce="abc"'
        )
        return self.auth.diameter_www_authorize(sip(credentials=text), REALM).cause


def test_decisions(hss: Hss) -> None:
    client = Client(hss)
    assert client.cause() is Cause.AUTHORIZED
    assert client.cause("wrong") is Cause.FORBIDDEN
    assert client.cause(user="nobody") is Cause.FORBIDDEN
    assert len(hss.asked) == 2, "each user is asked about once"
    client.auth.close()


def test_a_realm_that_a_relay_cannot_reach_takes_nothing_from_others(hss: Hss) -> None:
    """Else a stranger who names it would keep everybody out."""
    client = Client(hss)
    hss.results["stranger"] = 3002
    assert client.cause(user="stranger") is Cause.DISC_REFUSED
    assert client.cause() is Cause.AUTHORIZED
    client.auth.close()


def test_application_cx_is_the_same(hss: Hss) -> None:
    with ad.AuthDiameter(
        ad.Config(
            application="cx",
            origin_host="scscf.h.test",
            diameter_client_host="127.0.0.1",
            diameter_client_port=hss.port,
        )
    ) as auth:
        client = Client.__new__(Client)
        client.auth = auth
        assert client.cause() is Cause.AUTHORIZED


def test_what_it_says_is_kept_for_its_lifetime_at_most(hss: Hss) -> None:
    hss.more = (avp_named("Authorization-Lifetime", 1),)
    client = Client(hss)
    assert client.cause() is Cause.AUTHORIZED
    hss.passwords["alice", REALM] = "new"
    time.sleep(1.1)
    assert client.cause() is Cause.FORBIDDEN
    assert client.cause("new") is Cause.AUTHORIZED
    client.auth.close()


def test_so_is_that_a_user_is_unknown(hss: Hss) -> None:
    client = Client(hss, delegation_lifetime=0.5)
    assert client.cause(user="carol") is Cause.FORBIDDEN
    hss.passwords["carol", REALM] = "secret"
    assert client.cause(user="carol") is Cause.FORBIDDEN
    time.sleep(0.6)
    assert client.cause(user="carol") is Cause.AUTHORIZED
    client.auth.close()


@pytest.mark.parametrize("command", [PUSH_PROFILE, REGISTRATION_TERMINATION])
def test_what_it_tells_counts_at_once(hss: Hss, command: int) -> None:
    """A new password (29.228, 6.5), and a user who is gone (6.2)."""
    client = Client(hss)
    assert client.cause() is Cause.AUTHORIZED
    hss.passwords["alice", REALM] = "new"
    assert client.cause() is Cause.AUTHORIZED, "nobody has told so far"
    told = hss.ask(command, avp_named("User-Name", "alice"))
    named = {avp.name: avp.value for avp in told.avps}
    assert named["Result-Code"] == 2001
    assert named["Session-Id"] == "hss.h.test;1;2"
    assert client.cause() is Cause.FORBIDDEN
    assert client.cause("new") is Cause.AUTHORIZED
    client.auth.close()


@pytest.mark.parametrize("command", [PUSH_PROFILE, REGISTRATION_TERMINATION])
@pytest.mark.parametrize("place", ["ahead", "behind"])
def test_what_it_tells_while_it_is_asked_counts_too(hss: Hss, place: str, command: int) -> None:
    """The answer may be older than what it tells. Whoever waits gets it, and nobody after that."""
    getattr(hss, place)[MULTIMEDIA_AUTH] = hss.request(command, avp_named("User-Name", "alice"))
    client = Client(hss)
    assert client.cause() is Cause.AUTHORIZED
    hss.passwords["alice", REALM] = "new"
    assert client.cause() is Cause.FORBIDDEN
    assert client.cause("new") is Cause.AUTHORIZED
    assert len(hss.asked) == 2, "the second answer is kept"
    client.auth.close()
    [told] = hss.told
    assert value_of(told, "Result-Code") == 2001


def test_whoever_comes_after_a_push_does_not_wait_for_an_older_answer(hss: Hss) -> None:
    hss.unanswered.add("alice")

    async def work() -> None:
        async with opened(hss) as store:
            older = asyncio.create_task(store.fetch([ALICE]))
            await until(lambda: hss.asked)
            await asyncio.to_thread(hss.ask, PUSH_PROFILE, avp_named("User-Name", "alice"))
            hss.unanswered.clear()
            assert (await store.fetch([ALICE]))[ALICE].known
            assert not older.done()
            assert isinstance((await older)[ALICE], StoreBusyError)
            again = await asyncio.to_thread(hss.ask, PUSH_PROFILE, avp_named("User-Name", "alice"))
            assert value_of(again, "Result-Code") == 2001, "the failure takes nothing from the newer answer"

    asyncio.run(work())


def test_nothing_is_remembered_of_users_who_are_forgotten(hss: Hss) -> None:
    hss.results["bob"] = 3002

    async def work() -> None:
        async with opened(hss, delegation_lifetime=0.1) as store:
            await store.fetch([ALICE, BOB, User("alice", "other.net", "MD5")])
            assert store._realms == {"alice": {REALM, "other.net"}}
            await until(lambda: not store._kept)
            assert store._realms == {}

    asyncio.run(work())


def test_a_push_is_a_change_and_the_end_of_a_lifetime_is_none(hss: Hss) -> None:
    """Who tells others of changes looks at all users after each."""
    told: list[tuple[bool, bool]] = []

    def changed(keys: Collection[Key] | None = None, *, expired: bool = False) -> None:
        told.append((keys is not None and ALICE in keys, expired))

    async def work() -> None:
        async with opened(hss, delegation_lifetime=0.5) as store:
            store.watch(changed)
            await store.fetch([ALICE])
            await asyncio.to_thread(hss.ask, PUSH_PROFILE, avp_named("User-Name", "alice"))
            await store.fetch([ALICE])
            await until(lambda: len(told) == 2)

    asyncio.run(work())
    assert told == [(True, False), (True, True)]


def test_a_push_about_somebody_else(hss: Hss) -> None:
    """5001: the user is not known here."""
    client = Client(hss)
    client.cause()
    told = hss.ask(PUSH_PROFILE, avp_named("User-Name", "bob"))
    [result] = [avp for avp in told.avps if avp.name == "Experimental-Result"]
    assert [inner.value for inner in result.value] == [10415, 5001]
    client.auth.close()


def test_an_hss_that_comes_back(hss: Hss) -> None:
    client = Client(hss, delegation_lifetime=0.2)
    assert client.cause() is Cause.AUTHORIZED
    hss.hang_up()
    time.sleep(0.3)
    assert client.cause() is Cause.AUTHORIZED
    client.auth.close()


def test_a_client_that_is_closed_while_an_hss_hangs_says_nothing_of_it(
    hss: Hss, caplog: pytest.LogCaptureFixture
) -> None:
    hss.answers = False

    async def work() -> int | None:
        config = ad.Config(db=f"cx://127.0.0.1:{hss.port}", origin_host="scscf.h.test", db_timeout=PATIENCE)
        async with ad.AsyncAuthDiameter(config) as auth:
            asked = sip(credentials=DIGEST.format("alice"))
            task = asyncio.ensure_future(auth.diameter_www_authorize(asked, REALM))
            await until(lambda: hss.asked)
        return (await task).status

    assert asyncio.run(work()) == 500
    assert "requests get 500" not in caplog.text


def test_a_store_that_is_closed_before_it_has_a_connection_fails_the_lookup(hss: Hss) -> None:
    async def work() -> None:
        async with opened(hss) as store:
            lookup = asyncio.create_task(store.fetch([ALICE]))
            await asyncio.sleep(0)  # it has asked for the connection
            store.close()
            with pytest.raises(StoreError, match="the connection to HSS broke"):
                await lookup
            assert store._asking == {}

    asyncio.run(work())


def test_nothing_is_kept_once_it_is_closed(hss: Hss) -> None:
    """An answer and a timer may come while the HSS is left."""

    async def work() -> None:
        store = await open_store(database_name(f"cx://127.0.0.1:{hss.port}"), StoreConfig(), standard())
        assert isinstance(store, DelegatedStore)
        await store.fetch([ALICE])
        loop = asyncio.get_running_loop()
        store.close()
        store._keep(("bob", REALM), 1.0)
        store._expire(loop)
        assert list(store._kept) == [("alice", REALM)]
        assert store.leaving is not None
        await store.leaving

    asyncio.run(work())


@pytest.mark.parametrize("command", [PUSH_PROFILE, REGISTRATION_TERMINATION])
def test_an_hss_may_tell_something_while_it_is_left(hss: Hss, command: int) -> None:
    hss.ahead[DISCONNECT_PEER] = hss.request(command, avp_named("User-Name", "alice"))
    errors: list[dict[str, Any]] = []

    async def work() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
        async with opened(hss) as store:
            await store.fetch([ALICE])

    asyncio.run(work())
    assert hss.ahead == {}
    assert errors == []


def test_an_event_loop(hss: Hss) -> None:
    async def work() -> list[Cause]:
        config = ad.Config(db=f"cx://127.0.0.1:{hss.port}", origin_host="scscf.h.test")
        async with ad.AsyncAuthDiameter(config) as auth:
            decisions = await auth.diameter_www_authorize_many(
                [sip(), sip(credentials=DIGEST.format("alice"))], REALM
            )
            return [decision.cause for decision in decisions]

    assert asyncio.run(work()) == [Cause.CHALLENGED, Cause.FORBIDDEN]


def test_a_client_that_is_closed_has_left_the_hss(hss: Hss) -> None:
    """RFC 6733, 5.4. The loop may end with the next line."""

    async def work() -> None:
        config = ad.Config(db=f"cx://127.0.0.1:{hss.port}/{REALM}", origin_host="scscf.h.test")
        async with ad.AsyncAuthDiameter(config) as auth:
            asked = sip(credentials=DIGEST.format("alice"))
            assert (await auth.diameter_www_authorize(asked, REALM)).cause is Cause.FORBIDDEN

    asyncio.run(work())
    assert hss.base == [CAPABILITIES_EXCHANGE, DISCONNECT_PEER]
