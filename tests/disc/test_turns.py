"""What all connections ask in one turn of the loop is judged together."""

import asyncio

import pytest
from kit.machine import PATIENCE

import auth_diameter as ad
from auth_diameter._core import RequestStream
from auth_diameter.disc.listener import listen
from auth_diameter.disc.server import Asker, Disc
from auth_diameter.disc.turns import Turns
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Member

REALM = "siphub.net"


class Counted:
    """A store that counts fetches, and gives way to others before it answers, as one over a network does."""

    def __init__(self, store):
        self.name = store.name
        self.waits = True
        self.version = store.version
        self.asked = []
        self._store = store

    def watch(self, changed):
        pass

    async def fetch(self, keys):
        self.asked.append(list(keys))
        await asyncio.sleep(0)
        return await self._store.fetch(keys)


@pytest.fixture
def counted(tmp_path):
    path = tmp_path / "users.sqlite"
    with Accounts.create(path) as accounts:
        accounts.add_user("alice", REALM, "wonderland")
        accounts.add_group("alice", REALM, "staff")
    with SqliteStore.open(path) as store:
        yield Counted(store)


def member(number, group):
    avps = [
        ad.Avp(283, REALM),
        ad.Avp(404, b"8"),
        ad.Avp(1, f"alice@{REALM}"),
        ad.Avp(405, group),
    ]
    return ad.Message(265, avps, application_id=1, hop_by_hop=number).encode()


def test_what_all_connections_ask_in_one_turn_is_one_fetch(counted):
    async def scenario():
        turns = Turns(Disc(counted))
        heard = {}

        class Peer:
            asker = Asker("192.0.2.1")

            def answered(self, answers, requests):
                heard.setdefault(self, bytearray()).extend(answers)
                if len(heard) == len(peers):
                    done.set_result(None)

        done = asyncio.get_running_loop().create_future()
        peers = [Peer() for _ in range(5)]
        for number, peer in enumerate(peers):
            requests = RequestStream().feed(member(number, "staff") + member(100 + number, f"no{number}"))
            turns.add(peer, requests)
        assert counted.asked == [], "the turn has not ended"
        await asyncio.wait_for(done, PATIENCE)
        for number, peer in enumerate(peers):
            answers = [ad.Message.decode(one) for one in ad.Framer().feed(heard[peer])]
            assert [answer.hop_by_hop for answer in answers] == [number, 100 + number]
            assert [answer.find(268).value for answer in answers] == [2001, 4001]

    asyncio.run(scenario())
    (keys,) = counted.asked
    assert len(keys) == len(set(keys)) == 6, "alice in staff is one key, whoever asks"


def test_many_questions_in_one_read_are_answered_in_order(counted):
    """More than are judged together, and more than may wait: the connection is not read meanwhile."""
    numbers = range(3000)

    async def scenario():
        listener = await listen(Disc(counted), "127.0.0.1", 0)
        try:
            reader, writer = await asyncio.open_connection(*listener.address)
            writer.write(b"".join(member(number, "staff" if number % 2 else "none") for number in numbers))
            framer, answers = ad.Framer(), []
            while len(answers) < len(numbers):
                answers += framer.feed(await asyncio.wait_for(reader.read(1 << 16), PATIENCE))
            writer.close()
        finally:
            await listener.aclose()
        return {message.hop_by_hop: message.find(268).value for message in map(ad.Message.decode, answers)}

    answers = asyncio.run(scenario())
    assert answers == {number: 2001 if number % 2 else 4001 for number in numbers}


def test_no_more_than_256_questions_are_judged_together(counted):
    """This bounds the memory for their answers, whichever connections they came on."""

    async def scenario():
        disc = Disc(counted)
        begin, sizes, answered = disc.begin, [], []

        def watch(requests, now):
            sizes.append(len(requests))
            return begin(requests, now)

        disc.begin = watch
        turns = Turns(disc)

        class Peer:
            asker = Asker()

            def answered(self, answers, requests):
                answered.append(len(requests))

        for count in (200, 56, 1, 300, 10):
            turns.add(Peer(), RequestStream().feed(member(1, "staff") * count))
        while sum(answered) < 567:
            await asyncio.sleep(0)
        return sizes

    assert asyncio.run(asyncio.wait_for(scenario(), PATIENCE)) == [256, 1, 256, 44, 10]


def test_a_store_that_waits_holds_up_no_question_that_needs_it_not(counted):
    async def scenario():
        disc = Disc(counted)
        turns = Turns(disc)
        order = []

        class Peer:
            asker = Asker()

            def __init__(self, name):
                self.name = name

            def answered(self, answers, requests):
                order.append(self.name)

        unknown = ad.Message(265, [ad.Avp(283, "nowhere.net"), ad.Avp(404, b"6")], application_id=1).encode()
        turns.add(Peer("first"), RequestStream().feed(unknown))
        while not order:
            await asyncio.sleep(0)
        blocked = asyncio.get_running_loop().create_future()
        counted.fetch = lambda keys: blocked
        turns.add(Peer("waits"), RequestStream().feed(member(1, "staff")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        turns.add(Peer("at hand"), RequestStream().feed(unknown))
        while len(order) < 2:
            await asyncio.sleep(0)
        blocked.set_result({Member("alice", REALM, "staff"): True})
        while len(order) < 3:
            await asyncio.sleep(0)
        return order

    assert asyncio.run(scenario()) == ["first", "at hand", "waits"]


def test_a_turn_that_fails_closes_its_connections_and_no_others(counted):
    """Nobody waits for an answer that will not come: a closed connection's questions are asked elsewhere."""

    async def scenario():
        disc = Disc(counted)
        reports, closed, answered = [], [], []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

        def fail(*arguments):
            raise ZeroDivisionError

        class Peer:
            asker = Asker()

            def answered(self, answers, requests):
                answered.append((self, bytes(answers), requests))

            def abort(self):
                closed.append(self)

        turns = Turns(disc)
        one, other = Peer(), Peer()
        requests = RequestStream().feed(member(1, "staff") * 2)
        for step in ("begin", "finish", "write"):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(disc, step, fail)
                turns.add(one, requests)
                while len(answered) < 1:
                    await asyncio.sleep(0)
            assert (answered.pop(), closed.pop()) == ((one, b"", requests), one)
            assert isinstance(reports.pop()["exception"], ZeroDivisionError)
        turns.add(other, requests)
        while not answered:
            await asyncio.sleep(0)
        assert answered[0][0] is other
        assert answered[0][1]
        assert (closed, reports) == ([], [])

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))


def test_a_connection_that_cannot_take_its_answers_costs_no_other_one_its_own(counted):
    async def scenario():
        reports, closed, answered = [], [], []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reports.append(context))

        class Peer:
            asker = Asker()

            def __init__(self, *, fails):
                self.fails = fails

            def answered(self, answers, requests):
                if self.fails:
                    raise ZeroDivisionError
                answered.append(bytes(answers))

            def abort(self):
                closed.append(self)

        turns = Turns(Disc(counted))
        bad, good = Peer(fails=True), Peer(fails=False)
        for peer in (bad, good):
            turns.add(peer, RequestStream().feed(member(1, "staff")))
        while not answered:
            await asyncio.sleep(0)
        assert closed == [bad]
        assert [type(report["exception"]) for report in reports] == [ZeroDivisionError]

    asyncio.run(asyncio.wait_for(scenario(), PATIENCE))
