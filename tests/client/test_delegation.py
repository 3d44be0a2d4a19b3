"""HA1 that RFC 4740 servers delegate with their challenges: 6.3, and what must not be taken for it."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from kit.dialect import credentials, sip, sip_bytes
from kit.hss import SipServer, running
from kit.machine import PATIENCE
from kit.neighbour import MULTIMEDIA_AUTH

import auth_diameter as ad
from auth_diameter._core import Answer, Challenge, Question
from auth_diameter.decision import Cause, Decision

REALM = "siphub.net"


@pytest.fixture
def server() -> Iterator[SipServer]:
    with running(SipServer) as found:
        found.passwords["bob", REALM] = "secret"  # the user of To in `sip`
        found.passwords["carol", REALM] = "hers"
        yield found


@pytest.fixture(params=["threads", "threads, bytes", "threads, many", "asyncio"])
def door(request: pytest.FixtureRequest, server: SipServer) -> Iterator[Door]:
    made = Door(server, request.param)
    yield made
    made.close()


class Door:
    """A client of the server, for threads or for asyncio."""

    def __init__(self, server: SipServer, form: str = "threads", **settings: Any) -> None:
        config = ad.Config(
            application="sip",
            origin_host="sip.h.test",
            peers=[("127.0.0.1", server.port)],
            **{"penalty": False} | settings,
        )
        self._form = form
        self._loop = asyncio.new_event_loop() if form == "asyncio" else None
        self._auth: Any = ad.AuthDiameter(config) if self._loop is None else ad.AsyncAuthDiameter(config)

    def authorize(self, **given: Any) -> Decision:
        """The decision on a request; what is given is as for `sip`."""
        source = given.pop("source", None)
        data = sip_bytes(**given)
        if self._form == "threads, many":
            decisions: list[Decision] = self._auth.diameter_www_authorize_many([data], REALM)
            assert len(decisions) == 1
            return decisions[0]
        request = data if self._form == "threads, bytes" else ad.SipRequest(data, source)
        outcome = self._auth.diameter_www_authorize(request, REALM)
        if self._loop is None:
            assert isinstance(outcome, Decision)
            return outcome
        return self._loop.run_until_complete(_awaited(outcome))

    @property
    def counts(self) -> dict[Cause, int]:
        counts: dict[Cause, int] = self._auth.counts
        return counts

    def close(self) -> None:
        if self._loop is None:
            self._auth.close()
        else:
            self._loop.run_until_complete(self._auth.aclose())
            self._loop.close()


async def _awaited(outcome: Any) -> Decision:
    decision: Decision = await outcome
    return decision


def nonce_of(decision: Decision) -> str:
    assert decision.cause is Cause.CHALLENGED
    return Challenge.parse(decision.headers[0][1]).nonce


def with_credentials(door: Door, nonce: str, to: str = "bob", **given: Any) -> Decision:
    """The decision on a REGISTER for the address of `to`."""
    return door.authorize(to=f"<sip:{to}@siphub.net>", credentials=credentials(nonce, **given))


def test_right_credentials_need_no_second_mar(door: Door, server: SipServer) -> None:
    nonce = nonce_of(door.authorize())
    decision = with_credentials(door, nonce)
    assert (decision.cause, decision.username, decision.realm) == (Cause.AUTHORIZED, "bob", REALM)
    assert with_credentials(door, nonce, nc=2).cause is Cause.AUTHORIZED
    assert len(server.asked) == 1
    assert (door.counts[Cause.AUTHORIZED], door.counts[Cause.CHALLENGED]) == (2, 1)


def test_right_ones_are_marked(server: SipServer) -> None:
    """As `SipRequest.authorized` says."""
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    with ad.AuthDiameter(config) as auth:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        for nc, realm in enumerate((REALM, "$fd", "", "$(fd)"), 1):
            request = sip(credentials=credentials(nonce, nc=nc))
            assert auth.diameter_www_authorize(request, realm).cause is Cause.AUTHORIZED
            assert request.authorized_username == "bob"
    assert len(server.asked) == 1


def test_a_retransmission_is_let_in_again(door: Door, server: SipServer) -> None:
    nonce = nonce_of(door.authorize())
    text = credentials(nonce)
    assert door.authorize(credentials=text).cause is Cause.AUTHORIZED
    assert door.authorize(credentials=text).cause is Cause.AUTHORIZED
    assert len(server.asked) == 1


def test_several_at_once(server: SipServer) -> None:
    """In their order, whether the server is asked about them or not."""
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    with ad.AuthDiameter(config) as auth:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        texts = [
            None,
            credentials(nonce),
            credentials(nonce, password="guess", nc=2),
            credentials(nonce, nc=3),
        ]
        requests = [sip(credentials=text) for text in texts]
        found = auth.diameter_www_authorize_many([*requests, sip("ACK")], REALM)
        assert [decision.cause for decision in found] == [
            Cause.CHALLENGED, Cause.AUTHORIZED, Cause.FORBIDDEN, Cause.AUTHORIZED, Cause.BYPASSED,
        ]  # fmt: skip
        assert auth.counts[Cause.AUTHORIZED] == 2
        assert sum(auth.counts.values()) == 6


def test_wrong_ones_are_refused_here(door: Door, server: SipServer) -> None:
    nonce = nonce_of(door.authorize())
    decision = with_credentials(door, nonce, password="guess")
    assert (decision.cause, decision.status) == (Cause.FORBIDDEN, 403)
    assert len(server.asked) == 1


def test_a_replay_gets_another_challenge(door: Door, server: SipServer) -> None:
    """RFC 7616, 3.3: stale, since the digest is right."""
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce).cause is Cause.AUTHORIZED
    decision = door.authorize(credentials=credentials(nonce), from_="<sip:alice@siphub.net>;tag=2")
    assert decision.cause is Cause.CHALLENGED
    challenge = Challenge.parse(decision.headers[0][1])
    assert (challenge.nonce, challenge.stale) == ("nonce1", True)
    assert "SIP-Auth-Data-Item" not in {avp.name for avp in server.asked[-1].avps}
    assert with_credentials(door, challenge.nonce).cause is Cause.AUTHORIZED


def test_a_nonce_is_of_its_user(door: Door) -> None:
    """Whoever is challenged as somebody else gets nothing by it."""
    bobs = nonce_of(door.authorize())
    carols = nonce_of(door.authorize(to="<sip:carol@siphub.net>"))
    assert with_credentials(door, carols, "carol", user="carol", password="hers").cause is Cause.AUTHORIZED
    # carol's HA1, under bob's nonce and bob's name
    decision = with_credentials(door, bobs, user="bob", hashed="carol", password="hers")
    assert decision.cause is Cause.FORBIDDEN
    # bob's HA1, under the name of carol: the response does not have the name
    decision = with_credentials(door, bobs, user="carol", hashed="bob", nc=2)
    assert decision.cause is Cause.FORBIDDEN
    # carol's own credentials, under bob's nonce
    assert with_credentials(door, bobs, user="carol", password="hers", nc=3).cause is Cause.FORBIDDEN


def test_a_nonce_is_of_its_address(door: Door, server: SipServer) -> None:
    """RFC 4740, 8.8: a user may register some addresses alone, and the server has looked at one of them."""
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce).cause is Cause.AUTHORIZED
    assert with_credentials(door, nonce, "carol", nc=2).cause is Cause.FORBIDDEN
    assert len(server.asked) == 2
    server.verdict = 2001
    assert with_credentials(door, nonce, "carol", nc=3).cause is Cause.AUTHORIZED
    assert len(server.asked) == 3


def test_a_server_that_does_not_say_whose_it_is_is_asked_about_the_other_spelling(
    door: Door, server: SipServer
) -> None:
    """Without User-Name the HA1 may be that of the username with its domain, or of the one without."""
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce, user="bob@siphub.net", hashed="bob").cause is Cause.AUTHORIZED
    assert len(server.asked) == 1
    server.verdict = 2001
    assert with_credentials(door, nonce, user="bob@siphub.net", nc=2).cause is Cause.AUTHORIZED
    assert len(server.asked) == 2


def test_another_algorithm_is_refused_and_is_no_guess(server: SipServer) -> None:
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    with ad.AuthDiameter(config) as auth:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        for nc in range(1, 40):
            text = credentials(nonce, nc=nc, algorithm="SHA-256")
            request = sip(credentials=text, source=("192.0.2.7", 5060))
            assert auth.diameter_www_authorize(request, REALM).cause is Cause.FORBIDDEN


def test_user_name_says_whose_it_is(door: Door, server: SipServer) -> None:
    """The username of the digest need not be that of the address."""
    server.user_name = "robert"
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce).cause is Cause.FORBIDDEN
    assert with_credentials(door, nonce, user="robert", hashed="bob", nc=2).cause is Cause.AUTHORIZED


def test_a_nonce_of_nobody_is_left_to_the_server(door: Door, server: SipServer) -> None:
    server.verdict = 2001
    assert with_credentials(door, "other").cause is Cause.AUTHORIZED
    assert len(server.asked) == 1


def test_without_ha1_the_server_judges(door: Door, server: SipServer) -> None:
    """Scenario A."""
    server.delegates = False
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce).cause is Cause.FORBIDDEN
    assert len(server.asked) == 2


def test_ha1_of_another_realm_is_refused(door: Door, server: SipServer) -> None:
    server.realm = "other.net"
    server.passwords["bob", "other.net"] = "secret"
    decision = door.authorize()
    assert (decision.cause, decision.status) == (Cause.UNFIT_HA1, 500)


def test_ha1_with_a_cnonce_is_not_kept(door: Door, server: SipServer) -> None:
    """9.5.6.1: with MD5-sess HA1 has a cnonce that nobody has chosen yet."""
    server.authenticate = [("Digest-Algorithm", "MD5-sess")]
    nonce = nonce_of(door.authorize())
    with_credentials(door, nonce, algorithm="MD5-sess")
    assert len(server.asked) == 2


def test_another_algorithm_is_refused(door: Door) -> None:
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce, algorithm="SHA-256").cause is Cause.FORBIDDEN


def test_it_counts_for_its_lifetime(server: SipServer) -> None:
    door = Door(server, delegation_lifetime=0.3)
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce).cause is Cause.AUTHORIZED
    time.sleep(0.4)
    decision = with_credentials(door, nonce, nc=2)
    assert decision.cause is Cause.CHALLENGED
    assert Challenge.parse(decision.headers[0][1]).nonce == "nonce1"
    door.close()


def test_a_connection_that_others_can_read(server: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """HA1 is not taken from it, and the server judges."""
    monkeypatch.setattr("auth_diameter.client.delegated.is_private", lambda transport: False)
    door = Door(server)
    nonce = nonce_of(door.authorize())
    with_credentials(door, nonce)
    assert len(server.asked) == 2
    door.close()
    door = Door(server, plain_ha1=True)
    nonce = nonce_of(door.authorize())
    assert with_credentials(door, nonce).cause is Cause.AUTHORIZED
    door.close()


def test_guesses_count(server: SipServer) -> None:
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    source = ("192.0.2.7", 5060)
    with ad.AuthDiameter(config) as auth:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        causes = []
        for nc in range(1, 40):
            text = credentials(nonce, password=f"guess{nc}", nc=nc)
            causes.append(auth.diameter_www_authorize(sip(credentials=text, source=source), REALM).cause)
        right = sip(credentials=credentials(nonce, nc=50), source=source)
        assert auth.diameter_www_authorize(right, REALM).cause is Cause.PENALIZED
        elsewhere = sip(credentials=credentials(nonce, nc=51), source=("192.0.2.8", 5060))
        assert auth.diameter_www_authorize(elsewhere, REALM).cause is Cause.AUTHORIZED
    assert causes[0] is Cause.FORBIDDEN
    assert causes[-1] is Cause.PENALIZED
    assert len(server.asked) == 1


def test_a_login_forgives_the_guesses_before_it(server: SipServer) -> None:
    """Four wrong in a row, again and again, and never a penalty."""
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    source = ("192.0.2.7", 5060)
    with ad.AuthDiameter(config) as auth:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        for nc in range(1, 41):
            wrong = nc % 5 != 0
            text = credentials(nonce, password="guess" if wrong else "secret", nc=nc)
            found = auth.diameter_www_authorize(sip(credentials=text, source=source), REALM)
            assert found.cause is (Cause.FORBIDDEN if wrong else Cause.AUTHORIZED)


@pytest.mark.parametrize("form", ["threads", "asyncio"])
def test_guesses_count_for_a_source_without_a_host(server: SipServer, form: str) -> None:
    """Then the account alone counts, and right credentials wait for the end of the penalty as well."""
    door = Door(server, form, penalty=True)
    source = ("", 5060)
    nonce = nonce_of(door.authorize())
    causes = [
        door.authorize(source=source, credentials=credentials(nonce, password="guess", nc=nc)).cause
        for nc in range(1, 40)
    ]
    assert causes[:5] == [Cause.FORBIDDEN] * 5
    assert causes[-1] is Cause.PENALIZED
    assert door.authorize(source=source, credentials=credentials(nonce, nc=50)).cause is Cause.PENALIZED
    door.close()


def test_a_replay_is_noticed_once(server: SipServer) -> None:
    """After sixteen, a retransmission counts as one, too: eight leave the others as they are."""
    door = Door(server)
    nonce = nonce_of(door.authorize())
    text = credentials(nonce)
    assert door.authorize(credentials=text).cause is Cause.AUTHORIZED
    for number in range(15):
        replay = door.authorize(credentials=text, from_=f"<sip:alice@siphub.net>;tag=r{number}")
        assert replay.cause is Cause.CHALLENGED
    assert door.authorize(credentials=text).cause is Cause.AUTHORIZED
    door.close()


SOURCE = ("192.0.2.7", 5060)


def five_attempts(auth: Any) -> Callable[[], None]:
    """Begins five attempts, so that the next one is held; returns what ends them without a verdict."""
    penalties = auth._authorizer.penalties
    attempts = [penalties.begin_for("bob", REALM, SOURCE[0], time.monotonic(), None) for _ in range(5)]

    def end() -> None:
        for attempt in attempts:
            penalties.neither(attempt, time.monotonic())

    return end


@pytest.mark.parametrize("server_uri", [None, "sip:sip.h.test"], ids=["compiled", "with SAR"])
@pytest.mark.parametrize("right", [False, True])
def test_a_thread_that_is_held_goes_on_when_a_verdict_was_found_here(
    server: SipServer, right: bool, server_uri: str | None
) -> None:
    """Its credentials are judged here as well: the server does not know which nonce counts were used."""
    config = ad.Config(
        application="sip",
        origin_host="sip.h.test",
        peers=[("127.0.0.1", server.port)],
        server_uri=server_uri,
        timeout=2 * PATIENCE,  # nobody waits for that
    )
    with ad.AuthDiameter(config) as auth, ThreadPoolExecutor(1) as executor:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        end = five_attempts(auth)
        held = sip(credentials=credentials(nonce), source=SOURCE)
        waiting = executor.submit(auth.diameter_www_authorize, held, REALM)
        assert not wait([waiting], 0.2).done
        end()
        text = credentials(nonce, nc=2, password="secret" if right else "guess")
        auth.diameter_www_authorize(sip(credentials=text, source=SOURCE), REALM)
        assert waiting.result(PATIENCE).cause is Cause.AUTHORIZED
    assert sum(asked.command == MULTIMEDIA_AUTH for asked in server.asked) == 1


@pytest.mark.parametrize("right", [False, True])
def test_a_task_that_is_held_goes_on_when_a_verdict_was_found_here(server: SipServer, right: bool) -> None:
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])

    async def work() -> Decision:
        async with ad.AsyncAuthDiameter(config) as auth:
            nonce = nonce_of(await auth.diameter_www_authorize(sip(), REALM))
            end = five_attempts(auth)
            held = sip(credentials=credentials(nonce), source=SOURCE)
            waiting = asyncio.ensure_future(auth.diameter_www_authorize(held, REALM))
            await asyncio.sleep(0)
            end()
            text = credentials(nonce, nc=2, password="secret" if right else "guess")
            await auth.diameter_www_authorize(sip(credentials=text, source=SOURCE), REALM)
            found: Decision = await asyncio.wait_for(waiting, PATIENCE)
            assert auth._transport.pool.in_flight.size == 0
            return found

    assert asyncio.run(work()).cause is Cause.AUTHORIZED
    assert len(server.asked) == 1


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_nonce_that_ended_while_its_credentials_were_held(
    server: SipServer, in_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server makes another challenge then."""
    config = ad.Config(
        application="sip",
        origin_host="sip.h.test",
        peers=[("127.0.0.1", server.port)],
        delegation_lifetime=0.5,
    )

    async def work() -> Decision:
        async with ad.AsyncAuthDiameter(config) as auth:
            nonce = nonce_of(await auth.diameter_www_authorize(sip(), REALM))
            end = five_attempts(auth)
            held = sip(credentials=credentials(nonce), source=SOURCE)
            waiting = asyncio.ensure_future(auth.diameter_www_authorize(held, REALM))
            await asyncio.sleep(0.6)
            end()
            auth._released()
            found: Decision = await asyncio.wait_for(waiting, PATIENCE)
            assert auth._transport.pool.in_flight.size == 0
            return found

    def work_in_threads() -> Decision:
        deadlines: list[float] = []
        with ad.AuthDiameter(config) as auth, ThreadPoolExecutor(1) as executor:
            nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
            end = five_attempts(auth)
            held = sip(credentials=credentials(nonce), source=SOURCE)
            ask = auth._transport.ask

            def noted(question: Question) -> Answer | Cause:
                deadlines.append(question.deadline)
                return ask(question)

            monkeypatch.setattr(auth, "_ask", noted)
            waiting = executor.submit(auth.diameter_www_authorize, held, REALM)
            assert not wait([waiting], 0.6).done
            released_at = time.monotonic()
            end()
            auth._policy.released()
            decision = waiting.result(PATIENCE)
        # It has what is left of its time limit, and not a new one.
        assert released_at < deadlines[0] < released_at + config.timeout - 0.5
        return decision

    decision = asyncio.run(work()) if in_loop else work_in_threads()
    assert decision.cause is Cause.CHALLENGED
    assert Challenge.parse(decision.headers[0][1]).stale
    assert len(server.asked) == 2


@pytest.mark.parametrize("in_loop", [False, True])
def test_a_replay_that_was_held_is_judged_here(server: SipServer, in_loop: bool) -> None:
    """The server would let it in: it does not know which nonce counts were used."""
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])

    def batch(nonce: str) -> list[ad.SipRequest]:
        """The server is asked about five, and the sixth, a replay, waits for them."""
        texts = [*(credentials(f"foreign{number}") for number in range(5)), credentials(nonce)]
        return [
            sip(credentials=text, source=SOURCE, from_=f"<sip:x@siphub.net>;tag={number}")
            for number, text in enumerate(texts)
        ]

    async def work() -> list[Decision]:
        async with ad.AsyncAuthDiameter(config) as auth:
            nonce = nonce_of(await auth.diameter_www_authorize(sip(), REALM))
            await auth.diameter_www_authorize(sip(credentials=credentials(nonce)), REALM)
            server.verdict = 2001
            return await auth.diameter_www_authorize_many(batch(nonce), REALM)

    def work_in_threads() -> list[Decision]:
        with ad.AuthDiameter(config) as auth:
            nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
            auth.diameter_www_authorize(sip(credentials=credentials(nonce)), REALM)
            server.verdict = 2001
            return auth.diameter_www_authorize_many(batch(nonce), REALM)

    causes = [decision.cause for decision in (asyncio.run(work()) if in_loop else work_in_threads())]
    assert causes == [Cause.AUTHORIZED] * 5 + [Cause.CHALLENGED]


def test_a_nonce_that_is_used_up_wakes_who_waited_for_its_credentials(server: SipServer) -> None:
    """Though the server does not answer the question for another nonce."""
    config = ad.Config(
        application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)], timeout=2.0
    )
    with ad.AuthDiameter(config) as auth, ThreadPoolExecutor(2) as executor:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        auth.diameter_www_authorize(sip(credentials=credentials(nonce)), REALM)
        server.answers = False
        penalties = auth._authorizer.penalties
        assert penalties is not None
        attempts = [penalties.begin_for("bob", REALM, SOURCE[0], time.monotonic(), None) for _ in range(5)]
        replay = sip(credentials=credentials(nonce), source=SOURCE, from_="<sip:x@siphub.net>;tag=r")
        first = executor.submit(auth.diameter_www_authorize, replay, REALM)
        assert not wait([first], 0.1).done
        right = sip(credentials=credentials(nonce, nc=2), source=SOURCE)
        second = executor.submit(auth.diameter_www_authorize, right, REALM)
        assert not wait([second], 0.1).done
        penalties.neither(attempts.pop(), time.monotonic())
        auth._policy.released()
        assert second.result(PATIENCE).cause is Cause.AUTHORIZED
        assert not first.done()
        assert first.result(PATIENCE).cause is Cause.DISC_TIMEOUT


def test_a_held_question_ends_once_although_a_callback_asks_again(server: SipServer) -> None:
    """Two expire together, and the callback of the first one asks while the second is told."""
    config = ad.Config(
        application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)], timeout=0.4
    )
    ended: list[str] = []
    complaints: list[Any] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, said: complaints.append(said))
        async with ad.AsyncAuthDiameter(config) as auth:
            await auth.diameter_www_authorize(sip(), REALM)
            server.answers = False
            penalties = auth._authorizer.penalties
            assert penalties is not None
            for _ in range(4):
                penalties.begin_for("bob", REALM, SOURCE[0], time.monotonic(), None)

            def first(decision: Decision) -> None:
                ended.append("first")
                auth.ask(sip(), REALM, lambda decision: ended.append("new"))

            auth.ask(sip(credentials=credentials("one"), source=SOURCE), REALM, first)
            other = sip(credentials=credentials("two"), source=SOURCE, from_="<sip:x@siphub.net>;tag=2")
            auth.ask(other, REALM, lambda decision: ended.append("held"))
            auth.ask(sip(from_="<sip:x@siphub.net>;tag=3"), REALM, lambda decision: ended.append("third"))
            assert len(auth._transport.pool.held) == 1
            await asyncio.sleep(0)
            time.sleep(0.5)  # both are late at once
            await asyncio.sleep(0.5)
            assert auth._transport.pool.in_flight.size == 0

    asyncio.run(work())
    assert sorted(ended) == ["first", "held", "new", "third"]
    assert complaints == []


def test_right_credentials_need_no_question(server: SipServer, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    with ad.AuthDiameter(config) as auth:
        nonce = nonce_of(auth.diameter_www_authorize(sip(), REALM))
        monkeypatch.setattr(auth, "_decide", None)
        monkeypatch.setattr(auth, "_authorizer", None)
        for nc in range(1, 4):
            data = sip_bytes(credentials=credentials(nonce, nc=nc))
            assert auth.diameter_www_authorize(data, "$fd").cause is Cause.AUTHORIZED
        monkeypatch.undo()


def test_a_client_that_nobody_has_is_freed(server: SipServer) -> None:
    """At once, so that its connections are closed."""
    auth = ad.AuthDiameter(
        ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
    )
    alive = weakref.ref(auth)
    del auth
    assert alive() is None
