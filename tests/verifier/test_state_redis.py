"""The connection to Redis: away and back, whatever the server does. A real one, or one that says anything."""

import asyncio
import contextlib
import logging
import subprocess
from collections import Counter

import pytest
from kit.asker import KEY, REALM, Asker
from kit.machine import PATIENCE
from kit.redis_server import RedisServer
from kit.sip import PASSWORD
from kit.wire import NOW

from auth_diameter._core import Batch, ConfigError, RequestStream, mark_asker
from auth_diameter.disc.server import NOBODY
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome
from auth_diameter.verifier.state import kept as module
from auth_diameter.verifier.state.redis import RedisState
from auth_diameter.verifier.state.urls import parse_url
from auth_diameter.verifier.verifier import sharing_of

try:
    import uvloop
except ModuleNotFoundError:
    uvloop = None


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "disc.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", REALM, PASSWORD)
    with SqliteStore.open(path) as opened:
        yield opened


@pytest.fixture
def redis():
    with RedisServer(enable_debug_command="yes") as server:
        yield server


@pytest.fixture(
    params=["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not uvloop, reason="no uvloop"))]
)
def play(request):
    """Runs a scenario on an event loop."""

    def run(scenario):
        factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(asyncio.wait_for(scenario, PATIENCE))

    return run


def state_at(url):
    return RedisState(parse_url(url), sharing_of(VerifierConfig(), KEY), clock=lambda: NOW)


class Peer:
    """A DISC with a state, asked from an event loop."""

    def __init__(self, users, state):
        self.asker = Asker(users, None, state)
        self.asker.source = "192.0.2.1"
        self.state = state

    def begin(self, *questions: bytes) -> Batch:
        requests = RequestStream().feed(b"".join(questions))
        mark_asker(requests, NOBODY, one_challenge=False)
        return self.asker.disc.begin(requests, NOW)

    async def ask(self, *questions: bytes):
        """The outcomes, by name and number."""
        before = Counter(self.asker.counts)
        batch = self.begin(*questions)
        if not batch.is_done:
            await self.asker.disc.finish(batch, NOW)
        return {outcome.name: n for outcome, n in (Counter(self.asker.counts) - before).items()}

    def question(self, **changes):
        return self.asker.question(self.asker.respond(**changes))

    async def until(self, reachable: bool) -> None:
        while self.state.stats.reachable is not reachable:
            await asyncio.sleep(0.005)

    async def until_away(self) -> None:
        """Asks until the state is away: it is noticed by asking."""
        while self.state.stats.reachable:
            await self.ask(self.question())


@pytest.fixture
def peers(users):
    """DISC with a state of their own at a URL."""

    @contextlib.asynccontextmanager
    async def start(url, count=1):
        async with contextlib.AsyncExitStack() as stack:
            states = [await stack.enter_async_context(state_at(url)) for _ in range(count)]
            yield [Peer(users, state) for state in states]

    return start


def lines(caplog, text):
    return [record for record in caplog.records if text in record.getMessage()]


@pytest.mark.parametrize("scheme", ["redis", "valkey", "unix", "database"])
def test_it_is_there(scheme, redis, peers, play, caplog):
    url = {
        "redis": redis.url,
        "valkey": redis.url.replace("redis:", "valkey:"),
        "unix": f"unix://{redis.socket}",
        "database": redis.url[:-1] + "7",
    }[scheme]

    async def scenario():
        async with peers(url, 2) as (first, second):
            question = first.question()
            assert await first.ask(question) == {"AUTHORIZED": 1}
            assert await second.ask(question) == {"RETRANSMITTED": 1}
            assert (first.state.stats.turns, first.state.stats.records, first.state.stats.alone) == (1, 1, 0)

    play(scenario())
    assert not caplog.records


def test_many_turns_at_once_get_their_own_replies(redis, peers, play):
    async def scenario():
        async with peers(redis.url, 2) as (first, second):
            used, fresh = first.question(), [second.question() for _ in range(50)]
            await first.ask(used)
            batches = [second.begin(each) for each in (*fresh[:25], used, *fresh[25:])]
            await asyncio.gather(*(second.asker.disc.finish(batch, NOW) for batch in batches))
            assert second.asker.counts[Outcome.AUTHORIZED] == 50
            assert second.asker.counts[Outcome.RETRANSMITTED] == 1

    play(scenario())


def test_a_server_that_stands_still_is_away_and_comes_back(redis, peers, play, caplog):
    async def scenario():
        async with peers(redis.url, 2) as (first, second):
            redis.process.freeze()
            question = first.question()
            assert await first.ask(question) == {"AUTHORIZED": 1}
            assert first.state.stats.reachable is False
            for _ in range(9):
                batch = first.begin(first.question(password="guess"))
                assert batch.is_done or first.asker.disc.share(batch, lambda: None)
                assert batch.is_done, "while it is away nobody waits"
            await second.until_away()
            redis.process.thaw()
            await first.until(True)
            await second.until(True)
            second.asker.end_to_end = None
            assert (await second.ask(question)) in ({"RETRANSMITTED": 1}, {"PENALIZED": 1})
            assert await second.ask(second.question(password="guess")) == {"PENALIZED": 1}
            assert first.state.stats.kept == 0

    play(scenario())
    assert len(lines(caplog, "is away: no answer within 50 ms")) == 2
    assert len(lines(caplog, "is back")) == 2


def test_a_server_that_is_killed_and_started_again(redis, peers, play, caplog):
    async def scenario():
        async with peers(redis.url, 2) as (first, second):
            await first.ask(first.question())
            redis.kill()
            await first.until(False)
            await second.until(False)
            question = first.question()
            assert await first.ask(question) == {"AUTHORIZED": 1}
            await asyncio.to_thread(redis.start)
            await first.until(True)
            await second.until(True)
            assert first.state.stats.late == 1
            assert second.state.stats.alone == 0
            assert await second.ask(question) == {"RETRANSMITTED": 1}
            assert await second.ask(second.question()) == {"AUTHORIZED": 1}

    play(scenario())
    assert lines(caplog, "is away: the connection was closed")
    assert [record.levelname for record in lines(caplog, "questions written late: 1, lost: 0")] == ["WARNING"]


def test_nobody_is_there_at_the_start(free_port, peers, play, caplog):
    async def scenario():
        async with peers(f"redis://127.0.0.1:{free_port}/0") as (peer,):
            assert await peer.ask(peer.question()) == {"AUTHORIZED": 1}
            assert peer.state.stats.kept == 1

    play(scenario())
    (away,) = lines(caplog, "is away")
    assert "efused" in away.getMessage() or "onnect call failed" in away.getMessage()
    assert lines(caplog, "what was counted while it was away is lost")


def test_flushed_scripts_are_loaded_again(redis, peers, play, caplog):
    async def scenario():
        async with peers(redis.url) as (peer,):
            await asyncio.to_thread(redis.say, "SCRIPT", "FLUSH")
            batches = [peer.begin(peer.question()) for _ in range(5)]
            await asyncio.gather(*(peer.asker.disc.finish(batch, NOW) for batch in batches))
            assert peer.asker.counts[Outcome.AUTHORIZED] == 5
            assert peer.state.stats.records == 5
            assert peer.state.stats.reachable

    play(scenario())
    assert not caplog.records


def test_a_full_server_is_away_until_it_has_room(redis, peers, play, caplog):
    async def scenario():
        async with peers(redis.url) as (peer,):
            await asyncio.to_thread(redis.say, "CONFIG", "SET", "maxmemory", "1")
            assert await peer.ask(peer.question()) == {"AUTHORIZED": 1}
            assert not peer.state.stats.reachable
            asked = redis.commands()
            while redis.commands() < asked + 3:  # it is tried again and again
                await asyncio.sleep(0.01)
            assert not peer.state.stats.reachable
            await asyncio.to_thread(redis.say, "CONFIG", "SET", "maxmemory", "0")
            await peer.until(True)
            assert await peer.ask(peer.question()) == {"AUTHORIZED": 1}

    play(scenario())
    assert len(lines(caplog, "is away: OOM")) == 1
    assert len(lines(caplog, "is back")) == 1


def test_passwords(users, peers, play, caplog):
    async def scenario(server):
        url = f"127.0.0.1:{server.port}"
        async with peers(f"redis://:s3cret-of-redis@{url}") as (peer,):
            assert await peer.ask(peer.question()) == {"AUTHORIZED": 1}
            assert peer.state.stats.records == 1
            assert "s3cret" not in repr(peer.state)
        async with peers(f"redis://:wr0ng-of-redis@{url}") as (peer,):
            assert await peer.ask(peer.question()) == {"AUTHORIZED": 1}
            assert peer.state.stats.alone == 1
        async with peers(f"redis://{url}") as (peer,):
            assert not peer.state.stats.reachable

    with RedisServer(requirepass="s3cret-of-redis") as server:
        play(scenario(server))
    assert len(lines(caplog, "is away: WRONGPASS")) == 1
    assert len(lines(caplog, "is away: NOAUTH")) == 1
    assert "s3cret" not in caplog.text
    assert "wr0ng" not in caplog.text


def test_a_server_that_evicts_is_warned_about_once(peers, play, caplog):
    async def scenario(server):
        async with peers(server.url) as (peer,):
            await asyncio.to_thread(server.say, "CLIENT", "KILL", "TYPE", "normal")
            await peer.until(False)
            await peer.until(True)

    with RedisServer(maxmemory_policy="allkeys-lru") as server:
        play(scenario(server))
    assert len(lines(caplog, "maxmemory-policy is allkeys-lru")) == 1


def test_more_than_can_be_kept_is_dropped_from_the_oldest(free_port, peers, play, monkeypatch, caplog):
    monkeypatch.setattr(module, "_MOST", 10)

    async def scenario():
        async with peers(f"redis://127.0.0.1:{free_port}/0") as (peer,):
            for _ in range(15):
                await peer.ask(peer.question())
            stats = peer.state.stats
            assert (stats.alone, stats.kept, stats.dropped) == (15, 10, 5)

    play(scenario())
    assert lines(caplog, "what was counted while it was away is lost")


# --- a server that says anything ----------------------------------------------------------------------------


class Liar(asyncio.Protocol):
    """A server that takes the greeting, and says `reply` to each turn."""

    def __init__(self, reply):
        self.reply = reply

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if b"EVALSHA" in data:
            self.transport.write(self.reply)
        elif b"INFO" in data:
            self.transport.write(b"$0\r\n\r\n")
        else:
            self.transport.write(b"$0\r\n\r\n")


@pytest.mark.parametrize(
    "reply",
    [
        b"-LOADING Redis is loading the dataset in memory\r\n",
        b"-READONLY You can't write against a read only replica.\r\n",
        b"-ERR \x1b[31m\r\n",
        b"$-1\r\n",
        b"$abc\r\n",
        b"$99999999\r\n",
        b"*1\r\n:1\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$1\r\n",
        b"",
        b"$1\r\n\1\r\n$1\r\n\1\r\n",
    ],
)
def test_whatever_it_says_the_question_is_answered(reply, peers, play, caplog):
    async def scenario():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Liar(reply), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with peers(f"redis://127.0.0.1:{port}/0") as (peer,):
                assert peer.state.stats.reachable
                assert await peer.ask(peer.question()) == {"AUTHORIZED": 1}
                await peer.until(False)

    play(scenario())
    assert len(lines(caplog, "is away")) == 1
    assert "\x1b" not in caplog.text


@pytest.mark.parametrize("reply", [b"$0\r\n\r\n", b"$2\r\n\1\1\r\n", b"+OK\r\n", b":1\r\n"])
def test_a_reply_to_other_questions_lets_nobody_in(reply, peers, play):
    async def scenario():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Liar(reply), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with peers(f"redis://127.0.0.1:{port}/0") as (peer,):
                assert await peer.ask(peer.question()) == {"FAILED": 1}

    play(scenario())


# --- TLS ----------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    try:
        subprocess.run(command, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("openssl cannot make a certificate here")
    return key, cert


def test_tls(certificate, tmp_path, users, play, caplog):
    import ssl

    key, cert = certificate
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)

    async def scenario():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Liar(b"$1\r\n\1\r\n"), "127.0.0.1", 0, ssl=context)
        async with server:
            at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with state_at(f"rediss://{at}/?ssl_ca_certs={cert}") as state:
                assert await Peer(users, state).ask(Peer(users, state).question()) == {"AUTHORIZED": 1}
                assert state.stats.records == 1
            async with state_at(f"rediss://{at}/") as state:
                assert not state.stats.reachable, "nobody vouches for that certificate"

    play(scenario())
    assert len(lines(caplog, "is away")) == 1


def test_a_file_without_certificates_is_an_error(tmp_path):
    file = tmp_path / "none.pem"
    file.write_text("nothing\n")
    with pytest.raises(ConfigError, match="state: "):
        state_at(f"rediss://localhost/?ssl_ca_certs={file}")
    logging.getLogger("auth_diameter.state")
