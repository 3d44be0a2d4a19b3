"""Subscribers in Redis: keys written by hand, notices of changes, and a server that fails."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess

import pytest
from kit.redis_server import RedisServer
from kit.tables import HA1, HA1B, SHA_256, SHA_512
from redis.asyncio.connection import Connection

from auth_diameter import ConfigError
from auth_diameter.store import redis
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.lookups import AskedUser
from auth_diameter.store.opening import open_store, open_subscribers
from auth_diameter.store.per_process import PerProcessStore
from auth_diameter.store.redis_lookups import Redis
from auth_diameter.store.store import Algorithms, Member, Realm, StoreError, User
from auth_diameter.store.url import database_name

DOMAIN = "siphub.net"
#: The rights without which nothing can be looked up.
READING = ("+get", "+mget", "+smembers", "+scan")
ALICE = User("alice", DOMAIN, "MD5")


@pytest.fixture(scope="module")
def one_server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(one_server):
    """A Redis without a key, and with its settings as they are by default."""
    for command in (
        ("FLUSHALL",),
        ("CONFIG", "SET", "notify-keyspace-events", ""),
        ("CONFIG", "RESETSTAT"),
    ):
        one_server.say(*command)
    return one_server


def serve(server, **users):
    """Writes users of `DOMAIN` as an operator does by hand."""
    server.say("SADD", "ad:realms", DOMAIN)
    for username, value in users.items():
        server.say("SET", f"ad:u:{DOMAIN}:{username}", value)


def with_store(server, work, *, url=None, password=None, **config):
    async def run():
        store = await open_store(database_name(url or server.url, password), StoreConfig(**config))
        with contextlib.closing(store):
            return await work(store)

    return asyncio.run(run())


def fetch(server, *keys, **options):
    async def work(store):
        found = await store.fetch(keys)
        return [found[key] for key in keys]

    return with_store(server, work, **options)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


# --- the layout ---------------------------------------------------------------------------------------


def test_a_value_may_be_ha1_alone(server):
    serve(server, alice=HA1)
    assert fetch(server, ALICE)[0].ha1s == HA1
    assert fetch(server, Realm("SipHub.NET"))[0].realm == DOMAIN


def test_all_fields_of_a_value(server):
    serve(server, alice=f"{HA1}\t{HA1B}\t{SHA_256}\t{SHA_512}\tsecret\tstaff;voicemail\tmore")
    names = ("MD5", "SHA-256", "SHA-512-256")
    assert [one.ha1s for one in fetch(server, *(User("alice", DOMAIN, name) for name in names))] == [
        HA1,
        SHA_256,
        SHA_512,
    ]
    assert fetch(server, User(f"alice@{DOMAIN}", DOMAIN, "MD5"))[0].ha1s == HA1B + HA1
    assert fetch(server, Algorithms("alice", DOMAIN))[0].own == names
    assert fetch(server, Member("alice", DOMAIN, "staff"), Member("alice", DOMAIN, "")) == [True, False]


def test_a_password_counts_where_there_is_no_hash_or_where_ha1_is_calculated(server):
    serve(server, alice="\t\t\t\tsecret", bob=f"{'0' * 32}\t\t\t\tx")
    assert fetch(server, ALICE)[0].ha1s == HA1
    old, new = (
        fetch(server, User("bob", DOMAIN, "MD5"), calculate_ha1=calculate)[0].ha1s
        for calculate in (False, True)
    )
    assert old == "0" * 32 != new


def test_a_user_without_a_domain_is_any_of_that_name(server):
    serve(server, alice=HA1)
    server.say("SET", "ad:g:alice", "a.net\tstaff\nb.net\tvoicemail;guests")
    groups = [Member("alice", "", group) for group in ("staff", "guests", "b.net", "")]
    assert fetch(server, *groups) == [True, True, False, False]


def test_a_colon_ends_no_domain(server):
    """A realm may be an IPv6 address. No username has a colon, but a client can send one."""
    server.say("SADD", "ad:realms", "2001:db8::1", "2001:db8:")
    server.say("SET", "ad:u:2001:db8::1:alice", HA1)
    right, wrong = fetch(server, User("alice", "2001:DB8::1", "MD5"), User("1:alice", "2001:db8:", "MD5"))
    assert (right.known, wrong.known) == (True, False)


def test_a_key_that_is_no_string_is_nobodys(server):
    serve(server, alice=HA1)
    server.say("LPUSH", f"ad:u:{DOMAIN}:bob", "x")
    assert [one.known for one in fetch(server, ALICE, User("bob", DOMAIN, "MD5"))] == [True, False]


def test_a_later_layout_is_refused(server):
    server.say("SET", "ad:layout", "2")
    with pytest.raises(ConfigError, match="has a layout of a later version"):
        fetch(server, ALICE)


def test_one_command_for_all_users_and_memberships(server):
    serve(server, alice=HA1)

    async def work(store):
        server.say("CONFIG", "RESETSTAT")
        await store.fetch([ALICE, User("bob", DOMAIN, "MD5"), Member("alice", "", "x"), Realm(DOMAIN)])
        return server.say("INFO", "commandstats")

    stats = with_store(server, work)
    assert b"cmdstat_mget:calls=1," in stats
    assert not {b"cmdstat_get:", b"cmdstat_scan:"} & set(stats.split())


def test_an_unknown_user_gets_the_value_of_a_stranger(server):
    """So that the same is done with it as with that of a known one."""
    serve(server, alice=f"{HA1}\t{HA1B}")

    async def work(store):
        await store.fetch([ALICE])
        asked = [AskedUser(0, name, DOMAIN) for name in ("nobody", "alice")]
        (connection, tables) = store._connections._free[0], store._survey.tables
        return (await Redis().look_up(connection, tables, asked, []))[0]

    (_, known, *unknowns), (_, _, *alices) = with_store(server, work)
    assert (known, unknowns) == (False, alices)


def test_keys_of_others_are_left_alone(server):
    for number in range(20):
        server.say("SET", f"other:{number}", "x")
    serve(server, alice=HA1)
    assert fetch(server, Algorithms("nobody", DOMAIN))[0].usual == ("MD5",)


# --- changes ------------------------------------------------------------------------------------------


def told(server, work):
    """How often `changed` was called in `work`, by a store that listens."""

    async def run(store):
        calls = []
        store.watch(lambda: calls.append(1))
        await store.version()
        calls.clear()
        await work(store, calls)
        return len(calls)

    return with_store(server, run)


def test_what_our_commands_publish_is_told_at_once(server):
    async def work(store, calls):
        before = await store.version()
        server.say("PUBLISH", "ad:changed", "")
        await until(lambda: calls)
        assert await store.version() > before

    assert told(server, work) == 1


@pytest.mark.parametrize("flags", ["KA", "Kg$sxe"])
def test_changes_of_keys_are_told_where_the_server_has_them_on(server, flags):
    server.say("CONFIG", "SET", "notify-keyspace-events", flags)

    async def work(store, calls):
        serve(server, alice=HA1)
        await until(lambda: calls)

    assert told(server, work) == 1


@pytest.mark.parametrize("flags", ["", "EA", "g$sxe", "K$", "K$sxe", "Kg$sx"])
def test_notices_that_leave_out_some_changes_are_not_trusted(server, flags):
    """Those of other channels, and those without deleted or expired keys."""
    server.say("CONFIG", "SET", "notify-keyspace-events", flags)

    async def work(store):
        return store._survey.tables.more["tells"]

    assert with_store(server, work) is False


def test_changes_are_told_through_the_store_of_a_process(server):
    async def work():
        store = PerProcessStore(database_name(server.url), StoreConfig(), in_background=True)
        with contextlib.closing(store):
            told = asyncio.Event()
            store.watch(told.set)
            await store.version()
            told.clear()
            server.say("PUBLISH", "ad:changed", "")
            async with asyncio.timeout(60):
                await told.wait()

    asyncio.run(work())


def test_many_changes_are_told_together(server):
    """The first at once, the others a second later."""
    server.say("CONFIG", "SET", "notify-keyspace-events", "KA")

    async def work(store, calls):
        for number in range(200):
            server.say("SET", f"ad:u:{DOMAIN}:u{number}", HA1)
        await until(lambda: len(calls) > 1)

    assert told(server, work) == 2


@pytest.mark.parametrize("flags", ["", "KA"])
def test_a_database_that_is_emptied_is_noticed(server, flags):
    """No server tells of FLUSHDB."""
    server.say("CONFIG", "SET", "notify-keyspace-events", flags)
    serve(server, alice=HA1)

    async def work(store):
        before = await store.version()
        store._surveyed_version = before  # the next survey, which would see it, is not due
        server.say("FLUSHDB")
        async with asyncio.timeout(60):
            while await store.version() == before:
                await asyncio.sleep(0.05)
        return (await store.fetch([ALICE]))[ALICE].known

    assert with_store(server, work) is False


def test_as_long_as_nobody_writes_values_go_on(server):
    """INFO counts what is written, so values need not be looked up each second."""
    serve(server, alice=HA1)

    async def work(store):
        await store.version()
        await asyncio.sleep(0)
        store._changed_at = 0.0  # long ago
        first = await store.version()
        store._changed_at = 0.0
        assert await store.version() == first
        server.say("SET", "other", "x")
        store._changed_at = 0.0
        assert await store.version() > first

    with_store(server, work)


def test_a_user_with_few_rights_can_read(server):
    """Without INFO, CONFIG and SUBSCRIBE, values count for a second."""
    serve(server, alice=HA1)
    server.say("ACL", "SETUSER", "ours", "on", ">horse", "~ad:*", *READING)

    async def work(store):
        first = await store.version()
        store._changed_at = 0.0
        assert await store.version() > first
        return (await store.fetch([ALICE]))[ALICE].ha1s

    url = f"redis://ours@127.0.0.1:{server.port}/0"
    assert with_store(server, work, url=url, password="horse") == HA1


def test_the_rights_that_the_documentation_names(server):
    more = ("+dbsize", "+info", "+config|get", "+subscribe", "+psubscribe")
    server.say("ACL", "SETUSER", "disc", "on", ">horse", "~ad:*", "&*", *READING, *more)
    url = f"redis://disc@127.0.0.1:{server.port}/0"

    async def work(store):
        told = asyncio.Event()
        store.watch(told.set)
        await store.version()
        told.clear()
        with open_subscribers(database_name(commands, "horse"), StoreConfig(), writable=True) as accounts:
            accounts.add_user("alice", DOMAIN, "secret")
            accounts.add_group("alice", DOMAIN, "staff")
            accounts.delete_user("alice", DOMAIN)
        async with asyncio.timeout(60):
            await told.wait()

    writing = ("+@read", "+@write", "+@transaction", "+@connection", "+publish")
    server.say("ACL", "SETUSER", "commands", "on", ">horse", "~ad:*", "&ad:*", *writing)
    commands = f"redis://commands@127.0.0.1:{server.port}/0"
    with_store(server, work, url=url, password="horse")
    server.say("ACL", "SETUSER", "commands", "-publish")
    with (
        pytest.raises(ConfigError, match="the user may not do this"),
        open_subscribers(database_name(commands, "horse"), StoreConfig(), writable=True) as accounts,
    ):
        accounts.add_user("alice", DOMAIN, "secret")
    assert server.say("KEYS", "ad:u:*") == []


# --- how it is reached --------------------------------------------------------------------------------


def test_a_socket(server):
    serve(server, alice=HA1)
    assert fetch(server, ALICE, url=f"unix://{server.socket}")[0].known
    assert fetch(server, ALICE, url=f"unix://{server.socket}?db=1")[0].known is False


def test_valkeys_urls_are_the_same(server):
    serve(server, alice=HA1)
    assert fetch(server, ALICE, url=server.url.replace("redis:", "valkey:"))[0].known


@pytest.mark.parametrize(
    ("url", "kind", "options"),
    [
        ("redis://h", "tcp", {"host": "h", "port": 6379, "db": 0}),
        ("redis://[::1]:7000/3", "tcp", {"host": "::1", "port": 7000, "db": 3}),
        ("redis://u%40x:p%2F@h/0", "tcp", {"username": "u@x", "password": "p/"}),
        ("redis://:p@h/0", "tcp", {"password": "p"}),
        ("redis://u@h/0", "tcp", {"username": "u", "password": "from a file"}),
        ("valkeys://h/1?ssl_ca_certs=/ca", "tls", {"ssl_ca_certs": "/ca", "ssl_check_hostname": True}),
        ("rediss://h/1?ssl_check_hostname=no", "tls", {"ssl_check_hostname": False}),
        ("unix:///run/redis.sock?db=2", "unix", {"path": "/run/redis.sock", "db": 2}),
    ],
)
def test_what_a_url_names(url, kind, options):
    target = redis.target_of(database_name(url, "from a file"))
    assert target.kind == kind
    assert {name: target.options.get(name) for name in options} == options
    assert "p" not in repr(target).removeprefix("Target('tcp'").removeprefix("Target(")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://h/kamailio", "by its number"),
        ("redis://h/1/2", "by its number"),
        ("redis://h:port/0", "is no URL"),
        ("redis://:hush@h/0?retry=1", "unknown option 'retry'"),
        ("redis://h/0?ssl_ca_certs=x", "unknown option 'ssl_ca_certs'"),
        ("unix:///s?db=x", "by its number"),
    ],
)
def test_what_a_url_cannot_be(url, words):
    with pytest.raises(ConfigError, match=words) as error:
        redis.target_of(database_name(url))
    assert "hush" not in str(error.value)


@pytest.mark.parametrize(
    ("config", "option"),
    [
        ({"table": "phones"}, "--table"),
        ({"group_table": "g"}, "--group-table"),
        ({"user_column": "name"}, "--user-column"),
        ({"domain_column": "name"}, "--domain-column"),
        ({"password_column": "name"}, "--password-column"),
        ({"domain": False}, "--no-domain"),
    ],
    ids=str,
)
def test_settings_of_tables_do_not_apply(config, option):
    with pytest.raises(ConfigError, match=f"has no tables, so {option} does not apply"):
        fetch(None, ALICE, url="redis://127.0.0.1:1/0", **config)


# --- a server that fails ------------------------------------------------------------------------------


def refused(server, **options):
    """The one line that says why."""
    with pytest.raises(ConfigError) as error:
        fetch(server, ALICE, **options)
    message = str(error.value)
    assert message.startswith(("redis://", "rediss://", "unix://"))
    assert "\n" not in message
    assert "hush" not in message
    return message.partition(": ")[2]


def test_passwords():
    with RedisServer(requirepass="correct horse") as server:
        assert fetch(server, ALICE, password="correct horse")[0].known is False
        assert refused(server) == "needs a password; see --db-password-file"
        wrong = "the password is wrong or missing, or there is no such user"
        assert refused(server, password="hush") == wrong
        url = f"redis://ours:hush@127.0.0.1:{server.port}/0"
        assert refused(server, url=url) == wrong


def test_nothing_there(server):
    assert refused(server, url="redis://127.0.0.1:1/0") == "nothing listens there; is Redis running?"
    assert refused(server, url="unix:///nowhere/x") == "there is no such socket or file; is Redis running?"
    assert refused(server, url=server.url.replace("/0", "/99")) == "has no database of this number"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_tls(tmp_path):
    """The server's certificate must be of an authority that counts, and for this host."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    new += (
        "-subj",
        "/CN=redis",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        key,
        "-out",
        certificate,
    )
    subprocess.run(new, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {"tls_port": str(port), "tls_cert_file": str(certificate), "tls_key_file": str(key)}
    with RedisServer(**options, tls_auth_clients="no", tls_ca_cert_file=str(certificate)) as server:
        serve(server, alice=HA1)
        url = f"rediss://127.0.0.1:{port}/0"
        assert refused(server, url=url) == "TLS failed: check ssl_ca_certs"
        assert fetch(server, ALICE, url=f"{url}?ssl_ca_certs={certificate}")[0].known
        wrong = f"rediss://localhost:{port}/0?ssl_ca_certs={certificate}"
        assert refused(server, url=wrong) == "TLS failed: check ssl_ca_certs"
        assert fetch(server, ALICE, url=f"{wrong}&ssl_check_hostname=no")[0].known


def test_a_replica_without_its_master(server):
    server.say("CONFIG", "SET", "replica-serve-stale-data", "no")
    server.say("REPLICAOF", "127.0.0.1", "1")
    try:
        assert refused(server) == "the server is a replica that has lost its master"
    finally:
        server.say("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("LOADING Redis is loading the dataset in memory", "is reading its data"),
        ("OOM command not allowed when used memory > 'maxmemory'.", "memory is full"),
        ("READONLY You can't write against a read only replica.", "is it a replica?"),
        ("MISCONF Redis is configured to save RDB snapshots", "cannot save them"),
        ("NOPERM this user has no permissions to run the 'get' command", "an ACL with"),
        ("CROSSSLOT Keys in request don't hash to the same slot", "is a cluster"),
        ("ERR max number of clients reached", "too many connections"),
        ("ERR something with a value", "error ERR"),
    ],
)
def test_what_a_server_says_in_words(line, words):
    error = Connection()._parser.parse_error(line)  # as the client makes it
    assert words in redis.describe(error)
    assert "value" not in redis.describe(error).removeprefix("error ERR")


def test_a_frozen_server_costs_a_deadline_and_comes_back(server):
    serve(server, alice=HA1)

    async def work(store):
        server.process.freeze()
        try:
            with pytest.raises(StoreError, match="does not answer"):
                await store.fetch([ALICE])
        finally:
            server.process.thaw()
        return await patiently(store)

    assert with_store(server, work, db_timeout=0.2).known


def test_a_server_that_was_killed_is_used_again_when_it_is_back():
    with RedisServer() as server:

        async def work(store):
            lost = asyncio.Event()
            await store.version()
            store.watch(lost.set)
            server.kill()
            async with asyncio.timeout(60):
                await lost.wait()  # what happens meanwhile is not told
            with pytest.raises(StoreError):
                await store.fetch([ALICE])
            server.start()
            serve(server, alice=HA1)
            assert (await patiently(store)).known
            # It listens again, too.
            told = asyncio.Event()
            store.watch(told.set)
            await store.version()
            server.say("PUBLISH", "ad:changed", "")
            async with asyncio.timeout(60):
                await told.wait()

        with_store(server, work)


def test_connections_that_the_server_has_closed_cost_nothing(server):
    serve(server, alice=HA1)

    async def work(store):
        await store.fetch([ALICE])
        server.say("CLIENT", "KILL", "TYPE", "normal")
        return (await store.fetch([ALICE]))[ALICE].known

    assert with_store(server, work)


async def patiently(store):
    """Alice, as soon as the store can be read."""
    async with asyncio.timeout(60):
        while True:
            try:
                return (await store.fetch([ALICE]))[ALICE]
            except StoreError:
                await asyncio.sleep(0.01)
