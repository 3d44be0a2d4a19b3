"""What several threads may share: eight of them use one object at once, and each gets what it gets alone.

Any thread may use an AuthDiameter, a SipRequest, Credentials, a Message or an Avp, and what a client or DISC
remembers: Decisions, Nonces, NonceUses, NonceIssuers, Users, Penalties, Judge. For one thread at a time, or
for one event loop, are AsyncAuthDiameter, Batch, and all that has the bytes of a connection, such as Framer.

The tests are for an interpreter with the GIL as well as for one without it (PEP 703). ``tests/sanitize.sh
thread`` runs them under ThreadSanitizer, which also finds a race that went well.
"""

from __future__ import annotations

import itertools
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kit.dialect import credentials, sip
from kit.disc import CHALLENGE_VALUE
from kit.hss import SipServer, running
from kit.process import Server, run_python
from kit.sip import DOMAIN, PASSWORD, SOURCE, build_credentials, build_request
from kit.sync_client import new_client, until_let_through
from kit.threads import THREADS, hurried_switches, in_turns, together
from kit.wire import (
    FAILED_AVP,
    NOW,
    RESPONSE,
    USER_GROUP,
    USER_NAME,
    aa_request,
    build_answer,
    credentials_avps,
)

import auth_diameter as ad
from auth_diameter import Avp, Cause, Challenge, Credentials, Message, SipRequest
from auth_diameter._core import (
    AaRequest,
    Batch,
    BoundedValues,
    Decisions,
    Judge,
    NonceIssuers,
    Nonces,
    NonceState,
    NonceUses,
    Penalties,
    RequestStream,
    Uri,
    Use,
    Users,
    authorized_as,
)
from auth_diameter.lab.uac import authorization, make_request, parse_reply
from auth_diameter.store.accounts import Accounts
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome

TURNS = 25


@pytest.fixture(autouse=True)
def _threads_meet() -> Iterator[None]:
    with hurried_switches():
        yield


def test_without_the_gil_the_package_leaves_it_off():
    """A module that does not declare that it can do without switches it on, for the whole process."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("this interpreter has the GIL")
    done = run_python("import sys, auth_diameter.cli; print(sys._is_gil_enabled())")
    assert done == (0, "False\n", "")


# ------------------------------------------------------------------ values: a SIP request

VALUE = build_credentials(
    qop="auth", nc="0000002a", cnonce="c0ffee", opaque='a \\"b\\"', algorithm="SHA-256", response="0" * 64
)
STAR = VALUE.replace('username="alice"', "username*=UTF-8''J%c3%a4s%c3%b8n%20Doe")
DATA = build_request(
    "REGISTER",
    from_='"Alice A." <sip:alice:geheim@siphub.net;transport=tcp>;tag=a1',
    to="<sip:%61lice@siphub.net>",
    extra=(
        f"Authorization: {VALUE}",
        f"Proxy-Authorization: {STAR}",
        "m: <sip:alice@192.0.2.9:5070>;expires=60, <sip:alice@[2001:db8::1]>",
        "Supported: path,\r\n outbound",
    ),
    body="v=0\r\n",
)


def properties(kind: type) -> list[str]:
    """The names of what an object of that class says of itself."""
    return [name for name in vars(kind) if name[0] != "_" and not callable(getattr(kind, name))]


def values_of(thing: Any) -> list[Any]:
    """All that it says of itself, and its repr."""
    return [*(getattr(thing, name) for name in properties(type(thing))), repr(thing)]


# Each is read first by all threads at once.
READS: dict[str, Callable[[SipRequest], Any]] = {
    "properties": lambda request: repr(values_of(request)),
    "credentials": lambda request: [values_of(request.credentials(DOMAIN, p)) for p in (False, True)],
    "contacts": lambda request: (repr(request.contacts), request.contact_headers()),
    "headers": lambda request: (request.header("supported"), request.headers("m"), request.header("X-None")),
    "uris": lambda request: [values_of(request.uri(part)) for part in ("request", "from", "to")],
    "tags": lambda request: (request.tag("from"), request.tag("to"), repr(request)),
}


def test_they_are_read_indeed():
    for kind, some in ((SipRequest, {"source", "contacts"}), (Credentials, {"username"}), (Uri, {"host"})):
        assert some < set(properties(kind))


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_value_of_a_request_is_the_same_for_whoever_reads_it_first(read):
    expected = read(SipRequest(DATA, SOURCE))
    requests = [SipRequest(DATA, SOURCE) for _ in range(TURNS)]
    for found in in_turns(lambda turn, _: read(requests[turn]), TURNS):
        assert found == [expected] * THREADS


def test_the_fingerprint_is_the_same_for_whoever_needs_it_first():
    """It makes the tag in To, which a retransmission must get again; a large request takes a while."""
    data = build_request(body="x" * 60_000)
    expected = SipRequest(data, SOURCE).reply(401, "Unauthorized")
    requests = [SipRequest(data, SOURCE) for _ in range(10 * TURNS)]
    for found in together(lambda _: {request.reply(401, "Unauthorized") for request in requests}):
        assert found == {expected}


@pytest.mark.parametrize("value", [VALUE, STAR], ids=["username", "username*"])
def test_credentials_are_the_same_for_whoever_reads_them_first(value):
    expected = values_of(Credentials.parse(value))
    shared = [Credentials.parse(value) for _ in range(TURNS)]
    for found in in_turns(lambda turn, _: values_of(shared[turn]), TURNS):
        assert found == [expected] * THREADS


def test_a_mark_and_the_name_that_belongs_to_it_are_read_together():
    """Or a group check would ask about the name of one user in the realm of another."""
    marks = [Credentials.parse(build_credentials(f"hash{number}")) for number in range(THREADS)]
    shared = [SipRequest(DATA) for _ in range(TURNS)]

    def mark_and_look(turn: int, number: int) -> list[Any]:
        request, found = shared[turn], []
        for proxy in (number % 2 == 1, number % 3 == 1):
            request.mark_authorized(marks[number], proxy=proxy, username=f"user{number}")
            found.append(authorized_as(request))
        assert request.authorized in marks
        assert request.authorized_username.startswith("user")
        return found

    for turn in in_turns(mark_and_look, TURNS):
        for found, name in itertools.chain(*turn):
            assert found.username == name.replace("user", "hash")


# ------------------------------------------------------------------ values: Diameter messages


def test_a_message_is_the_same_for_all_who_read_it():
    data = aa_request(*credentials_avps(VALUE), Avp(FAILED_AVP, [Avp(USER_NAME, "bob"), Avp(25, b"x")]))

    def read(message: Message) -> Any:
        names = ("code", "flags", "vendor_id", "name", "data", "value")
        avps = [([getattr(avp, name) for name in names], avp.encode(), repr(avp)) for avp in message.avps]
        inside = message.find(FAILED_AVP).avps
        found = message.find(RESPONSE).data, message.find_all(USER_NAME)
        return avps, inside, found, message.encode(), message.name, repr(message), hash(message)

    expected = read(Message.decode(data))
    shared = [Message.decode(data) for _ in range(TURNS)]
    for found in in_turns(lambda turn, _: read(shared[turn]), TURNS):
        assert found == [expected] * THREADS
    assert all(found == shared for found in together(lambda _: [Message.decode(data) for _ in shared]))


# ------------------------------------------------------------------ digests


def test_the_same_credentials_are_verified_by_all_at_once():
    items, expected = [], bytearray()
    for number, algorithm in enumerate(["MD5", "SHA-256", "MD5", "SHA-512-256", "MD5-sess"] * 20):
        challenge = f'Digest realm="{DOMAIN}", nonce="n{number}", qop="auth", algorithm={algorithm}'
        value = authorization(Challenge.parse(challenge), "alice", PASSWORD, "REGISTER", f"sip:{DOMAIN}")
        right = number % 3 != 0
        hashed = ad.ha1("alice", DOMAIN, PASSWORD if right else "guess", algorithm)
        items.append((Credentials.parse(value), "REGISTER", hashed))
        expected.append(right)
    for found, singly in together(lambda _: (ad.verify_many(items), [ad.verify(*item) for item in items])):
        assert found == expected
        assert singly == [byte == 1 for byte in expected]


# ------------------------------------------------------------------ what is counted


def test_each_decision_is_counted():
    decisions = Decisions()
    causes = list(Cause)

    def count(number: int) -> None:
        last = 0
        for turn in range(1000):
            decisions.add(causes[(turn + number) % len(causes)])
            if turn % 100 == 0:
                total = sum(decisions.as_dict().values())
                assert last < total
                last = total

    together(count)
    counted = Counter(
        causes[(turn + number) % len(causes)] for turn in range(1000) for number in range(THREADS)
    )
    assert decisions.as_dict() == counted


# ------------------------------------------------------------------ nonces


def test_no_nonce_is_made_twice_and_all_are_recognised_while_keys_change():
    """The key before is among the new ones, as in a rotation."""
    keys = [bytes([number]) * 16 for number in range(TURNS)]
    nonces = Nonces(keys[0])

    def make(number: int) -> list[str]:
        made = []
        for turn in range(1, 100):
            if number == 0 and turn % 4 == 0:
                nonces.use(keys[turn // 4 :: -1])
            made.append(nonces.make(DOMAIN, NOW))
            assert nonces.check(made[-1], DOMAIN, NOW) is NonceState.FRESH
        return made

    made = list(itertools.chain(*together(make)))
    assert len(set(made)) == len(made)
    assert all(nonces.check(nonce, DOMAIN, NOW) is NonceState.FRESH for nonce in made)


def test_of_all_who_use_a_count_of_a_nonce_one_is_the_first():
    """RFC 7616, 3.4: a second request with the same count is a replay, whichever thread has it."""
    uses = NonceUses(most=1000)
    shared = [f"nonce{number}" for number in range(60)]

    def use(number: int) -> Counter[tuple[str, int]]:
        first: Counter[tuple[str, int]] = Counter()
        for at, nonce in enumerate(shared):
            for count in range(1, 9):
                found = uses.take(nonce, DOMAIN, "MD5", "", count, 0, NOW)
                if found is Use.UNKNOWN:
                    found = uses.add(nonce, DOMAIN, "MD5", "", count, 0, NOW, NOW)
                assert found in (Use.FIRST, Use.REPLAYED)
                first[nonce, count] += found is Use.FIRST
            assert uses.add(f"{number}x{at}", DOMAIN, "MD5", "", 1, 0, NOW, NOW) is Use.FIRST
            assert len(uses) > at
        return first

    first = sum(together(use), Counter())
    assert first == Counter(itertools.product(shared, range(1, 9)))
    assert len(uses) == len(shared) * (1 + THREADS)


def test_the_watch_on_nonces_warns_once():
    """Of two DISC that refuse each other's nonces."""
    watch = NonceIssuers()

    def see(number: int) -> list[tuple[int, int]]:
        warnings = []
        for turn in range(50):
            nonce = f"{number}x{turn}"
            watch.challenged(None, 0, (f'Digest realm="r", nonce="{nonce}"'.encode(),), 1.0)
            stale = f'Digest realm="r", nonce="{nonce}y", stale=true'.encode()
            watch.challenged(nonce, 1, (stale,), 2.0)
            assert len(watch) <= 2 * 50 * THREADS
            if (warning := watch.take_warning()) is not None:
                warnings.append(warning)
        return warnings

    assert list(itertools.chain(*together(see))) == [(0, 1)]


# ------------------------------------------------------------------ what a store has said


def test_users_are_kept_while_others_forget_them():
    users = Users({"user": 4 << 10, "realm": 1 << 20})  # so little that it forgets by itself, too

    def keep(number: int) -> None:
        for turn in range(300):
            name = f"user{turn % 40}"
            key, hashed = (name, DOMAIN, "MD5", "user"), ad.ha1(name, DOMAIN, PASSWORD)
            users.put(key, (True, hashed))
            assert users.get(key) in ((True, hashed), None)
            users.put((f"{name}.net", "realm"), (f"{name}.NET",))
            assert users.get((f"{name}.net", "realm")) in ((f"{name}.NET",), None)
            assert users.count("user") <= 80
            if number == 0 and turn % 50 == 0:
                users.clear("realm" if turn % 100 else None)

    together(keep)


def test_values_are_whole():
    values = BoundedValues(1 << 16)

    def put(number: int) -> None:
        for turn in range(300):
            key = (f"key{turn % 20}",)
            values.put(key, bytes([number]) * (100 + turn % 3))
            found = values.get(key)
            assert found is None or found == found[:1] * len(found)
            if turn % 7 == 0:
                values.pop(key)
            assert len(values) <= (1 << 16) // 64
            if turn % 100 == number:
                values.clear()

    together(put)


# ------------------------------------------------------------------ guesses


def test_five_guesses_are_verified_however_many_threads_guess():
    """Those that are held meanwhile are refused unseen once the five were wrong."""
    penalties = Penalties()
    released: dict[int, threading.Event] = {}

    def guess(number: int) -> Counter[str]:
        found: Counter[str] = Counter()
        for turn in range(TURNS):
            item = number * TURNS + turn
            released[item] = threading.Event()
            attempt = penalties.begin_for("alice", DOMAIN, "192.0.2.1", 0.0, item)
            if attempt.is_held:
                assert released[item].wait(10)
            assert not attempt.is_held
            found["refused" if attempt.is_refused else "verified"] += 1
            penalties.wrong(attempt, 0.0)
            for _, other in penalties.take_released():
                released[other].set()
            assert len(penalties) <= 2
        return found

    found = sum(together(guess), Counter())
    assert found == {"verified": 5, "refused": THREADS * TURNS - 5}
    assert not penalties.has_released


def test_logins_of_many_are_not_held_up_for_ever():
    penalties = Penalties()

    def log_in(number: int) -> None:
        for turn in range(TURNS):
            released = threading.Event()
            attempt = penalties.begin_for(f"user{turn % 3}", DOMAIN, "192.0.2.1", 0.0, released)
            if attempt.is_held:
                assert released.wait(10)
            assert not attempt.is_refused
            penalties.right(attempt, 0.0)
            for _, other in penalties.take_released():
                other.set()

    together(log_in)
    assert penalties.take_released() == []


# ------------------------------------------------------------------ the verifier


def questions_to(nonces: Nonces, user: str, password: str, counts: range) -> list[AaRequest]:
    """Questions about a REGISTER of a user, on one nonce."""
    nonce = nonces.make(DOMAIN, NOW)
    challenge = Challenge.parse(f'Digest realm="{DOMAIN}", nonce="{nonce}", qop="auth"')
    found = []
    for number in counts:
        value = authorization(challenge, user, password, "REGISTER", f"sip:{DOMAIN}", nc=number)
        found.append(aa_request(*credentials_avps(value), number=number))
    return list(RequestStream().feed(b"".join(found)))


def test_one_judge_judges_the_batches_of_all_threads():
    """Each thread has batches of its own, as DISC has for each read."""
    nonces = Nonces(b"sixteen secret bytes")
    uses = NonceUses(310.0, 1000, 0, 10.0)
    config = VerifierConfig(rechallenge=True, authentication_info=True)
    users, penalties = Users({"user": 1 << 20}), Penalties(shared=True)
    judge = Judge(users, nonces, uses, penalties, config, 1 << 16, 1 << 16)
    shared = questions_to(nonces, "shared", PASSWORD, range(1, 33))  # which all threads ask

    def judge_all(number: int) -> Counter[Outcome]:
        found: Counter[Outcome] = Counter()
        requests = shared + questions_to(nonces, f"user{number}", PASSWORD, range(1, 20))
        requests += questions_to(nonces, f"guesser{number}", "guess", range(1, 4))
        for at in range(0, len(requests), 9):
            batch = Batch(requests[at : at + 9], NOW)
            while not batch.judge(judge):
                for key in batch.lacking(judge):
                    known = {"realm": (DOMAIN,), "algorithms": (("MD5",), ("MD5",))}
                    batch.put(key, known.get(key[-1]) or (True, ad.ha1(key[0], DOMAIN, PASSWORD)))
            batch.write(0, len(batch), bytearray())
            tally, _, mistakes = batch.report()
            assert mistakes == []
            for outcome, count in tally:
                found[Outcome(outcome)] += count
        return found

    found = sum(together(judge_all), Counter())
    assert found == {
        Outcome.AUTHORIZED: 32 + THREADS * 19,
        Outcome.REPLAYED: 32 * (THREADS - 1),
        Outcome.WRONG_DIGEST: THREADS * 3,
    }


# ------------------------------------------------------------------ one client


def judge_by_name(connection: Any, questions: list[Message]) -> None:
    """A DISC that knows alice and bob, and lets nobody else in; bob is in no group."""
    answers = []
    for question in questions:
        name = bytes(question.find(USER_NAME).data)
        value = question.find(RESPONSE)
        if question.find(USER_GROUP) is not None:
            answers.append(build_answer(question, 2001 if name.startswith(b"alice") else 5003))
        elif value is None:
            answers.append(build_answer(question, 4001, challenge=CHALLENGE_VALUE))
        elif b'"mallory"' in value.data:
            answers.append(build_answer(question, 5003))
        else:
            answers.append(build_answer(question, 2001))
    connection.send(b"".join(answers))


def from_user(name: str) -> bytes:
    return build_request(
        from_=f"<sip:{name}@siphub.net>;tag=a1", extra=("Authorization: " + build_credentials(name),)
    )


ALICE, BOB, MALLORY, FIRST = from_user("alice"), from_user("bob"), from_user("mallory"), build_request()
SINGLY = {
    ALICE: Cause.AUTHORIZED,
    BOB: Cause.AUTHORIZED,
    MALLORY: Cause.FORBIDDEN,
    FIRST: Cause.CHALLENGED,
    build_request("ACK"): Cause.BYPASSED,
    b"junk": Cause.MALFORMED_REQUEST,
    build_request(from_=None): Cause.NO_IDENTITY,
}


def test_one_client_decides_for_all_and_counts_each(fake_disc):
    disc = fake_disc(judge_by_name)

    def ask(number: int) -> Counter[Cause]:
        causes: Counter[Cause] = Counter()
        for turn in range(TURNS):
            for data, cause in SINGLY.items():
                decision = client.diameter_www_authorize(data, ("$fd", DOMAIN)[turn % 2])
                if not (data == build_request(from_=None) and turn % 2):
                    assert decision.cause is cause, decision
                causes[decision.cause] += 1
            for who, cause in (("From", Cause.MEMBER), ("To", Cause.NOT_MEMBER)):
                decision = client.diameter_is_user_in(ALICE, who, "pstn")
                assert decision.cause is cause, decision
                causes[cause] += 1
            many = client.diameter_www_authorize_many(SINGLY, "$fd")
            assert [decision.cause for decision in many] == list(SINGLY.values())
            causes.update(SINGLY.values())
            if turn % 10 == number:
                client.stats()
                assert sum(client.counts.values()) > 0
        return causes

    with new_client(disc, max_connections=5) as client:
        until_let_through(client)
        before = Counter(client.counts)
        causes = sum(together(ask), Counter())
        before.update(causes)
        assert client.counts == before
        stats = client.stats()
        assert stats.asked == stats.answered
        assert (stats.under_way, stats.waiting) == (0, 0)
        assert len(disc.questions) == stats.asked


def test_all_threads_authorize_one_request_and_check_its_group(fake_disc):
    """The first to be let in marks it, which all others may do at the same time."""
    disc = fake_disc(judge_by_name)
    shared = [SipRequest(ALICE, SOURCE) for _ in range(TURNS)]

    def authorize(turn: int, number: int) -> None:
        request = shared[turn]
        decision = client.diameter_www_authorize(request, "$fd")
        assert (decision.cause, decision.username, decision.realm) == (Cause.AUTHORIZED, "alice", DOMAIN)
        assert client.diameter_is_user_in(request, "Credentials", "pstn").cause is Cause.MEMBER
        assert request.authorized_username == "alice"
        assert decision.headers == ()

    with new_client(disc, use_domain=True) as client:
        until_let_through(client)
        in_turns(authorize, TURNS)


@pytest.mark.parametrize("many", [False, True], ids=["singly", "many"])
def test_all_threads_guess_and_disc_is_asked_five_times(fake_disc, many):
    """The others are held until it is known that those before them were wrong, and are not asked then."""
    disc = fake_disc(judge_by_name)

    def guess(number: int) -> Counter[Cause]:
        if many:
            decisions = client.diameter_www_authorize_many([SipRequest(MALLORY, SOURCE)] * 10, "$fd")
        else:
            request = SipRequest(MALLORY, SOURCE)
            decisions = [client.diameter_www_authorize(request, "$fd") for _ in range(10)]
        assert {decision.status for decision in decisions} == {403}
        return Counter(decision.cause for decision in decisions)

    with new_client(disc) as client:
        until_let_through(client)
        found = sum(together(guess), Counter())
        # A penalty lasts a second. On a slow machine one more guess is verified once it is over.
        asked = sum(b'"mallory"' in question.find(RESPONSE).data for question in disc.questions)
        assert found == {Cause.FORBIDDEN: asked, Cause.PENALIZED: 10 * THREADS - asked}
        assert 5 <= asked <= 8
        assert not client._transport.pool.in_flight


@pytest.mark.parametrize("many", [False, True], ids=["one by one", "many"])
def test_all_threads_guess_at_an_ha1_that_was_delegated(many):
    """Five are judged here, and one more as each penalty ends. Whoever is held is woken by the verdicts."""
    with running(SipServer) as server:
        server.passwords["bob", DOMAIN] = PASSWORD
        config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
        with ad.AuthDiameter(config) as client:
            nonce = Challenge.parse(client.diameter_www_authorize(sip(), DOMAIN).headers[0][1]).nonce

            def guess(number: int) -> Counter[Cause]:
                texts = [
                    credentials(nonce, password="guess", nc=number * TURNS + turn + 1)
                    for turn in range(TURNS)
                ]
                requests = [sip(credentials=text, source=SOURCE) for text in texts]
                if many:
                    decisions = client.diameter_www_authorize_many(requests, DOMAIN)
                else:
                    decisions = [client.diameter_www_authorize(request, DOMAIN) for request in requests]
                return Counter(decision.cause for decision in decisions)

            found = sum(together(guess), Counter())
        judged = found[Cause.FORBIDDEN]
        assert found == {Cause.FORBIDDEN: judged, Cause.PENALIZED: THREADS * TURNS - judged}
        assert 5 <= judged <= 8
        assert len(server.asked) == 1


def test_all_threads_log_in_with_an_ha1_that_was_delegated():
    """Each with a challenge of its own; the logins of half of them are counted, as they have a source."""
    with running(SipServer) as server:
        server.passwords["bob", DOMAIN] = PASSWORD
        config = ad.Config(application="sip", origin_host="sip.h.test", peers=[("127.0.0.1", server.port)])
        with ad.AuthDiameter(config) as client:

            def log_in(number: int) -> set[Cause]:
                nonce = Challenge.parse(client.diameter_www_authorize(sip(), DOMAIN).headers[0][1]).nonce
                texts = [credentials(nonce, password=PASSWORD, nc=turn + 1) for turn in range(TURNS)]
                requests = [sip(credentials=text, source=SOURCE if number % 2 else None) for text in texts]
                return {client.diameter_www_authorize(request, DOMAIN).cause for request in requests}

            assert together(log_in) == [{Cause.AUTHORIZED}] * THREADS
            assert client.counts[Cause.AUTHORIZED] == THREADS * TURNS
        assert len(server.asked) == THREADS


def test_clients_are_closed_while_others_ask(fake_disc):
    """Each call ends: with an answer, or without one."""
    disc = fake_disc(judge_by_name)
    clients = [new_client(disc, timeout=2.0) for _ in range(5)]
    until_let_through(clients[0])

    def ask(turn: int, number: int) -> Cause | None:
        if number == 0:
            clients[turn].close()
            return None
        try:
            return clients[turn].diameter_www_authorize(ALICE, "$fd").cause
        except ad.DiscError:
            return None

    for found in in_turns(ask, len(clients)):
        assert set(found) <= {None, Cause.AUTHORIZED, Cause.DISC_LOST, Cause.DISC_UNREACHABLE}


@pytest.mark.parametrize("back_end", ["DISC", "local"])
def test_all_threads_ask_by_way_of_one_client_of_a_real_back_end(tmp_path, back_end):
    """Challenge, login, group check; each thread as a user of its own."""
    path = tmp_path / "users.sqlite"
    with Accounts.open(str(path), writable=True) as accounts:
        for number in range(THREADS):
            accounts.add_user(f"user{number}", DOMAIN, PASSWORD)
            if number % 2:
                accounts.add_group(f"user{number}", DOMAIN, "pstn")

    def log_in(number: int) -> None:
        account, uri = f"user{number}@{DOMAIN}", f"sip:{DOMAIN}"
        first = client.diameter_www_authorize(make_request("REGISTER", uri, account), "$fd")
        assert first.cause is Cause.CHALLENGED, first
        challenge = parse_reply(first.reply).challenge()
        for nc in range(1, 6):
            value = authorization(challenge, f"user{number}", PASSWORD, "REGISTER", uri, nc=nc)
            headers = [("Authorization", value)]
            request = SipRequest(make_request("REGISTER", uri, account, headers=headers), SOURCE)
            decision = client.diameter_www_authorize(request, "$fd")
            assert (decision.cause, decision.username) == (Cause.AUTHORIZED, f"user{number}"), decision
            expected = Cause.MEMBER if number % 2 else Cause.NOT_MEMBER
            assert client.diameter_is_user_in(request, "Credentials", "pstn").cause is expected
        again = client.diameter_www_authorize(make_request("REGISTER", uri, account, headers=headers), "$fd")
        assert again.cause is Cause.CHALLENGED, "its count was used before"

    if back_end == "local":
        with ad.AuthDiameter(ad.Config(db=str(path))) as client:
            together(log_in)
        return
    with Server("disc", "--db", path) as disc:
        settings = {"diameter_client_host": disc.host, "diameter_client_port": disc.port}
        with ad.AuthDiameter(ad.Config(**settings, timeout=10.0, connect_timeout=5.0)) as client:
            while client.diameter_is_user_in(FIRST, "From", "pstn").cause is not Cause.NOT_MEMBER:
                pass
            together(log_in)


def test_all_threads_use_one_client_that_has_the_users_itself(tmp_path):
    """The same requests from each: each count is let in once; the password changes meanwhile."""
    path = tmp_path / "users.sqlite"
    with Accounts.open(str(path), writable=True) as accounts:
        accounts.add_user("alice", DOMAIN, PASSWORD)
    uri, account = f"sip:{DOMAIN}", f"alice@{DOMAIN}"
    with ad.AuthDiameter(ad.Config(db=str(path), penalty=False)) as client:
        first = client.diameter_www_authorize(make_request("REGISTER", uri, account), "$fd")
        challenge = parse_reply(first.reply).challenge()
        values = [authorization(challenge, "alice", PASSWORD, "REGISTER", uri, nc=nc) for nc in range(1, 65)]
        requests = [
            SipRequest(
                make_request("REGISTER", uri, account, headers=[("Authorization", value)]), (host, 5060)
            )
            for value in values
            for host in ("192.0.2.1", "192.0.2.2")
        ]

        def ask_all(number: int) -> Counter[Cause]:
            if number == 0:
                with Accounts.open(str(path), writable=True) as accounts:
                    accounts.add_user("bob", DOMAIN, PASSWORD)
            if number % 2:
                return Counter(one.cause for one in client.diameter_www_authorize_many(requests, "$fd"))
            return Counter(client.diameter_www_authorize(one, "$fd").cause for one in requests)

        found = sum(together(ask_all), Counter())
        asked = THREADS * len(requests)
        # Of each count the first request is let in, and so are its retransmissions by other threads.
        assert set(found) == {Cause.AUTHORIZED, Cause.CHALLENGED}
        assert found.total() == asked
        assert len(values) <= found[Cause.AUTHORIZED] <= THREADS * len(values)
        assert sum(client.counts.values()) == asked + 1


@pytest.fixture
def local(tmp_path) -> Iterator[ad.AuthDiameter]:
    """A client that has the users itself; none so far."""
    path = tmp_path / "users.sqlite"
    Accounts.open(str(path), writable=True).close()
    with ad.AuthDiameter(ad.Config(db=str(path))) as client:
        yield client


ACK = build_request("ACK")  # of which nothing is asked, but the realm is looked at


def test_all_threads_write_more_realms_than_are_remembered(local):
    """Each is compiled by whichever thread has it first, and forgotten while others use it."""

    def ask(number: int) -> set[Cause]:
        realms = [f"{turn}.$fd" for turn in range(1100)]
        return {local.diameter_www_authorize(ACK, realm).cause for realm in realms}

    assert together(ask) == [{Cause.BYPASSED}] * THREADS


def test_a_list_of_requests_may_change_while_they_are_asked(local):
    """It is copied at first: the requests are decided in several parts, and without the GIL between them."""
    requests = [ACK] * 300
    shared = requests.copy()

    def ask_or_change(number: int) -> None:
        for _ in range(TURNS):
            if number % 4 == 0:
                shared.clear()
                shared.extend(requests)
            else:
                decisions = local.diameter_www_authorize_many(shared, "$fd")
                assert {decision.cause for decision in decisions} <= {Cause.BYPASSED}

    together(ask_or_change)
