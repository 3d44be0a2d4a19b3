"""`Config.state`: what one client has seen, those of all hosts have seen. With threads and with a loop."""

import asyncio
import contextlib
import threading

import pytest
from kit.forked import in_child
from kit.machine import PATIENCE, wait_until
from kit.process import Server, assert_one_line, run_ours
from kit.redis_server import RedisServer
from kit.sip import DOMAIN, PASSWORD
from kit.uac import Account, Uac

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter.lab.uac import parse_reply
from auth_diameter.store.accounts import Accounts
from auth_diameter.verifier.state.blocking import BlockingRedisState

HERE = ("192.0.2.1", 5060)
ALICE = Account()
KEY = b"the same key for all hosts"


@pytest.fixture
def redis():
    with RedisServer() as server:
        yield server


@pytest.fixture
def config(db, redis):
    def make(**more):
        return ad.Config(**{"db": str(db), "nonce_key": KEY, "state": redis.url, **more})

    return make


def request(*headers, source=HERE):
    return ad.SipRequest(ALICE.request("REGISTER", *headers), source)


class Threads:
    """A client for threads."""

    def __init__(self, config):
        self.auth = ad.AuthDiameter(config)

    def ask(self, asked):
        return self.auth.diameter_www_authorize(asked, "$fd")

    def close(self):
        self.auth.close()


class Loop:
    """A client for an event loop, which has a thread of its own."""

    def __init__(self, config):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.auth = ad.AsyncAuthDiameter(config)

    def ask(self, asked):
        return self._run(self.auth.diameter_www_authorize(asked, "$fd"))

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self):
        self._run(self.auth.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


@pytest.fixture(params=[Threads, Loop], ids=["threads", "loop"])
def client(request, config):
    """Makes a client, of one kind in each test."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            made = request.param(config(**settings))
            stack.callback(made.close)
            return made

        yield make


def credentials(client, password=PASSWORD):
    """A header for a challenge of this client."""
    return ALICE.answer(client.ask(request()).reply, password=password)


def attempt(client, password=PASSWORD):
    return client.ask(request(credentials(client, password))).cause


def test_a_replay_at_another_client_is_challenged_anew(client):
    first, second = client(), client()
    header = credentials(first)
    assert first.ask(request(header)).cause is Cause.AUTHORIZED
    replayed = second.ask(request(header))
    assert replayed.cause is Cause.CHALLENGED
    assert parse_reply(replayed.reply).challenge().stale


def test_the_same_request_at_another_client_is_a_retransmission(client):
    first, second = client(), client()
    same = request(credentials(first))
    assert [each.ask(same).cause for each in (first, second, second)] == [Cause.AUTHORIZED] * 3


def test_guesses_add_up_and_the_right_password_tells_nothing(client):
    three = [client() for _ in range(3)]
    for number in range(5):
        assert attempt(three[number % 3], "guess") is Cause.FORBIDDEN
    assert [attempt(each) for each in three] == [Cause.PENALIZED] * 3


def test_a_client_and_a_disc_count_together(client, db, redis, tmp_path):
    key = tmp_path / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    here = client()
    with (
        Server("disc", "--db", db, "--nonce-key", key, "--state", redis.url) as disc,
        ad.AuthDiameter(ad.Config(diameter_client_host=disc.where, tell_source=True, penalty=False)) as there,
    ):
        for number in range(5):
            asked = request(credentials(here, "guess"))
            decision = here.ask(asked) if number % 2 else there.diameter_www_authorize(asked, "$fd")
            assert decision.cause is Cause.FORBIDDEN
        right = request(credentials(here))
        assert here.ask(right).cause is there.diameter_www_authorize(right, "$fd").cause is Cause.PENALIZED


def test_many_together(client):
    first, second = client(), client()
    headers = [credentials(first) for _ in range(20)]
    used = [request(each) for each in headers[:10]]
    assert {first.ask(each).cause for each in used} == {Cause.AUTHORIZED}
    asked = [request(each) for each in headers]
    if isinstance(second, Threads):
        decisions = second.auth.diameter_www_authorize_many(asked, "$fd")
    else:
        decisions = second._run(second.auth.diameter_www_authorize_many(asked, "$fd"))
    assert [decision.cause for decision in decisions] == [Cause.CHALLENGED] * 10 + [Cause.AUTHORIZED] * 10


def test_auth_int(client):
    """Python decides on it; all else is as with auth."""
    first, second = client(qop=("auth-int",)), client(qop=("auth-int",))
    header = ALICE.answer(first.ask(request()).reply, body=b"")
    assert first.ask(request(header)).cause is Cause.AUTHORIZED
    assert second.ask(request(header)).cause is Cause.CHALLENGED


def test_while_redis_is_away_each_goes_on(client, redis, caplog):
    first, second = client(), client()
    attempt(first)
    attempt(second)
    redis.process.freeze()
    header = credentials(first)
    assert first.ask(request(header)).cause is Cause.AUTHORIZED
    assert not first.auth.state.reachable
    assert [attempt(first) for _ in range(3)] == [Cause.AUTHORIZED] * 3
    redis.process.thaw()
    wait_until(lambda: attempt(first) is Cause.AUTHORIZED and first.auth.state.reachable)
    wait_until(lambda: attempt(second) is Cause.AUTHORIZED and second.auth.state.reachable)
    assert first.auth.state.kept == 0
    assert second.ask(request(header)).cause is Cause.CHALLENGED
    assert sum("is away" in message for message in caplog.messages) >= 1


def test_redis_is_killed_and_comes_back(client, redis):
    first = client()
    attempt(first)
    redis.kill()
    assert [attempt(first) for _ in range(3)] == [Cause.AUTHORIZED] * 3
    assert not first.auth.state.reachable
    redis.start()
    wait_until(lambda: attempt(first) is Cause.AUTHORIZED and first.auth.state.reachable)
    assert first.auth.state.kept == 0


@pytest.mark.parametrize("url", ["unix", "password", "database"])
def test_other_ways_to_it(url, client, redis):
    where = {
        "unix": f"unix://{redis.socket}",
        "password": f"redis://default:any@127.0.0.1:{redis.port}",
        "database": f"{redis.url[:-1]}5",
    }[url]
    redis.say("ACL", "SETUSER", "default", "on", ">any", "nopass")
    first, second = client(state=where), client(state=where)
    same = request(credentials(first))
    assert first.ask(same).cause is second.ask(same).cause is Cause.AUTHORIZED
    assert first.auth.state.records == second.auth.state.records == 1


def test_nobody_is_there(client, free_port):
    here = client(state=f"redis://127.0.0.1:{free_port}/0")
    assert attempt(here) is Cause.AUTHORIZED
    assert here.auth.state.alone == 1


def test_a_server_that_forgets_the_script(client, redis):
    here = client()
    attempt(here)
    redis.say("SCRIPT", "FLUSH")
    assert attempt(here) is Cause.AUTHORIZED
    assert here.auth.state.records == 2


def test_keys_are_replaced(config):
    """One that has a new key counts as another that began with it."""
    key = b"another key for all hosts"
    with contextlib.ExitStack() as stack:
        two = [Loop(config()), Loop(config(nonce_key=key))]
        for each in two:
            stack.callback(each.close)
        two[0].auth.use_nonce_keys([key])
        for number in range(5):
            attempt(two[number % 2], "guess")
        assert attempt(two[0]) is attempt(two[1]) is Cause.PENALIZED


@pytest.mark.parametrize("kind", [Threads, Loop])
def test_a_server_that_evicts_is_warned_about_once(kind, config, redis, caplog):
    redis.say("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    here = kind(config())
    try:
        attempt(here)
    finally:
        here.close()
    assert sum("maxmemory-policy is allkeys-lru" in message for message in caplog.messages) == 1


def test_a_child_has_a_connection_of_its_own(config):
    with ad.AuthDiameter(config()) as auth:
        assert auth.diameter_www_authorize(request(), "$fd").cause is Cause.CHALLENGED
        here = Threads.__new__(Threads)
        here.auth = auth
        used = request(credentials(here))
        assert here.ask(used).cause is Cause.AUTHORIZED

        def child():
            assert here.ask(used).cause is Cause.AUTHORIZED
            assert attempt(here) is Cause.AUTHORIZED
            return auth.state.reachable

        assert in_child(child) is True
        assert attempt(here) is Cause.AUTHORIZED
        assert auth.state.reachable


def test_who_is_interrupted_leaves_no_reply_to_others(config, monkeypatch):
    with ad.AuthDiameter(config()) as auth, ad.AuthDiameter(config()) as other:
        here, there = Threads.__new__(Threads), Threads.__new__(Threads)
        here.auth, there.auth = auth, other
        attempt(here)
        used = credentials(there)
        assert there.ask(request(used)).cause is Cause.AUTHORIZED
        interrupted = request(credentials(here))

        def ctrl_c(self):
            monkeypatch.undo()
            raise KeyboardInterrupt

        monkeypatch.setattr(BlockingRedisState, "_read", ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            here.ask(interrupted)
        assert here.ask(request(used)).cause is Cause.CHALLENGED
        assert here.auth.state.reachable


def test_with_many_files_open(config):
    """select() knows the first 1,024 only."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 3000:
        pytest.skip("this machine permits too few")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3000, hard))
    files = [open("/dev/null") for _ in range(1100)]  # noqa: SIM115
    try:
        with ad.AuthDiameter(config()) as auth:
            here = Threads.__new__(Threads)
            here.auth = auth
            assert attempt(here) is Cause.AUTHORIZED
            assert auth.state.records == 1
    finally:
        for file in files:
            file.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_threads_ask_at_once(config):
    with ad.AuthDiameter(config()) as auth, ad.AuthDiameter(config()) as other:
        here = Threads.__new__(Threads)
        here.auth = auth
        headers = [credentials(here) for _ in range(40)]
        used = [request(each) for each in headers]
        causes = []

        def work(mine):
            causes.extend(here.ask(each).cause for each in mine)

        threads = [threading.Thread(target=work, args=(used[n::8],)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert causes == [Cause.AUTHORIZED] * 40
        here.auth = other
        assert {here.ask(request(each)).cause for each in headers} == {Cause.CHALLENGED}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"nonce_key": None}, "state: needs a nonce_key"),
        ({"state": ""}, "state: expected the URL"),
        ({"state": 7}, "state: expected the URL"),
        ({"db": None, "nonce_key": None}, "state: a setting of DISC"),
    ],
)
def test_settings_that_cannot_be_used(settings, message, config):
    with pytest.raises(ad.ConfigError, match=message):
        config(**settings)


def test_a_url_of_something_else(config):
    with pytest.raises(ad.ConfigError, match="state: expected a URL"):
        ad.AuthDiameter(config(state="http://u:s3cret@host/"))


def test_the_url_is_in_no_repr(config):
    assert "s3cret" not in repr(config(state="redis://:s3cret@host/0"))


# --- serve --------------------------------------------------------------------------------------------------


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "nonce.key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("workers", [1, 2])
def test_two_serve(workers, db, key, redis):
    options = ("--db", db, "--nonce-key", key, "--state", redis.url, "--workers", workers)
    with Server("serve", *options) as first, Server("serve", *options) as second:
        with Uac(first.address) as uac:
            challenge = uac.ask(uac.request())
            header = uac.answer(challenge)
            assert uac.ask(uac.request("REGISTER", header)).status == 200
        with Uac(second.address) as uac:
            assert uac.ask(uac.request("REGISTER", header)).status == 401
        for number in range(5):
            with Uac((first, second)[number % 2].address) as uac:
                guess = uac.answer(uac.ask(uac.request()), password="guess")
                assert uac.ask(uac.request("REGISTER", guess)).status == 403
        for server in (first, second):
            with Uac(server.address) as uac:
                right = uac.answer(uac.ask(uac.request()))
                assert uac.ask(uac.request("REGISTER", right)).status == 403
            assert server.stop().status == 0


def test_serve_without_db_or_key(db, redis, key):
    assert_one_line(run_ours("serve", "--state", redis.url), "--state", "--db")
    assert_one_line(run_ours("serve", "--db", db, "--state", redis.url), "--state", "nonce_key")


def test_a_new_user_is_known(db, config):
    with Accounts.open(db, writable=True) as store:
        store.add_user("bob", DOMAIN, PASSWORD)
    with ad.AuthDiameter(config()) as auth:
        assert auth.diameter_www_authorize(request(), "$fd").cause is Cause.CHALLENGED
