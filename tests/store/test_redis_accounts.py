"""Subscribers and groups in Redis, listed, changed and imported: what is in which key afterwards."""

from __future__ import annotations

import io
import threading

import pytest
from kit.accounts import add_sha_2
from kit.redis_server import RedisServer
from kit.stores import DOMAIN, KINDS, fresh
from kit.tables import HA1, HA1B, SHA_256, SHA_512

from auth_diameter import ConfigError
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.csvimport import import_csv
from auth_diameter.store.engines import run
from auth_diameter.store.hashes import compute_ha1
from auth_diameter.store.importing import BadRowsError, Imported, Options, import_users
from auth_diameter.store.opening import open_subscribers
from auth_diameter.store.redis_layout import LOCK
from auth_diameter.store.storeimport import StoreSource
from auth_diameter.store.url import database_name

CSV = "username,domain,password,groups\n"
HASHES = "\t".join((HA1, HA1B, SHA_256, SHA_512))


@pytest.fixture(scope="module")
def one_server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(one_server):
    """A Redis without a key."""
    one_server.say("FLUSHALL")
    return one_server


def using(server, work, *, writable=True, **config):
    with open_subscribers(database_name(server.url), StoreConfig(**config), writable=writable) as accounts:
        return work(accounts)


def imported(server, content, *, writable=True, **how):
    how = {"batch": 2, **how}
    return using(
        server,
        lambda a: import_csv(a, io.BytesIO(content.encode()), name="users.csv", options=Options(**how)),
        writable=writable,
    )


def contents(server):
    """All users and groups, by the rest of their keys."""
    found = {}
    for key in server.say("KEYS", "ad:[ug]:*"):
        found[key.decode().removeprefix("ad:")] = server.say("GET", key).decode()
    return found


def realms(server):
    return sorted(name.decode() for name in server.say("SMEMBERS", "ad:realms"))


def add(*names, domain=DOMAIN, password="secret", **options):
    def work(accounts):
        return [accounts.add_user(name, domain, password, **options) for name in names]

    return work


# --- users --------------------------------------------------------------------------------------------


def test_a_user_is_one_value_with_hashes_and_no_password(server):
    assert using(server, add("alice")) == [True]
    assert contents(server) == {f"u:{DOMAIN}:alice": HASHES}
    assert realms(server) == [DOMAIN]
    assert sorted(server.say("KEYS", "*")) == [b"ad:layout", b"ad:realms", b"ad:u:siphub.net:alice"]


def test_the_password_is_stored_where_ha1_is_calculated(server):
    using(server, add("alice"), calculate_ha1=True)
    assert contents(server) == {f"u:{DOMAIN}:alice": f"{HASHES}\tsecret"}


def test_another_password_leaves_the_groups_and_nothing_of_the_former(server):
    using(server, add("alice", password="old"), calculate_ha1=True)
    using(server, lambda a: a.add_group("alice", DOMAIN, "staff"))
    with pytest.raises(ConfigError, match=r"alice@siphub\.net exists already; use --replace"):
        using(server, add("alice"))
    assert using(server, add("alice", domain="SIPHUB.net", replace=True)) == [False]
    assert contents(server)[f"u:{DOMAIN}:alice"] == f"{HASHES}\t\tstaff"


def test_a_realm_keeps_the_spelling_that_it_has(server):
    server.say("SADD", "ad:realms", "SIPHub.NET")
    using(server, add("alice"))
    ha1 = compute_ha1("alice", "SIPHub.NET", "secret")
    assert contents(server)[f"u:{DOMAIN}:alice"].startswith(ha1)
    assert realms(server) == ["SIPHub.NET"]
    (user,) = using(server, lambda a: list(a.users()), writable=False)
    assert (str(user), user.ha1, user.plain_password) == ("alice@SIPHub.NET", ha1, False)


def test_users_are_listed_by_domain_and_name(server):
    for username, domain in [("bob", "b.net"), ("Zoe", "a.net"), ("émile", "b.net"), ("x", "[ab].net")]:
        using(server, add(username, domain=domain))
    server.say("SET", "ad:u:b.net:\xff".encode("latin-1"), "written by somebody else")

    def look(accounts):
        listed = ["x@[ab].net", "Zoe@a.net", "bob@b.net", "émile@b.net"]
        assert [str(user) for user in accounts.users()] == listed
        assert [str(user) for user in accounts.users("B.NET")] == listed[2:]
        assert [str(user) for user in accounts.users("[ab].net")] == listed[:1]
        assert list(accounts.users("?.net")) == []

    using(server, look, writable=False)


def test_the_last_user_of_a_realm_takes_it_along(server):
    using(server, add("alice", "bob"))
    using(server, add("carol", domain=f"x.{DOMAIN}"))
    assert using(server, lambda a: a.delete_user("alice", "SIPHUB.NET")) is True
    assert realms(server) == [DOMAIN, f"x.{DOMAIN}"]
    assert using(server, lambda a: a.delete_user("alice", DOMAIN)) is False
    assert using(server, lambda a: a.delete_user("bob", DOMAIN)) is True
    assert realms(server) == [f"x.{DOMAIN}"]


@pytest.mark.parametrize("name", ["a:b", "a\tb", "\udcff"])
def test_names_that_nobody_can_have(server, name):
    with pytest.raises(ConfigError):
        using(server, add(name))
    with pytest.raises(ConfigError):
        using(server, lambda a: a.add_group(name, DOMAIN, "staff"))
    assert using(server, lambda a: a.groups(name, ""), writable=False) == ()
    assert server.say("KEYS", "*") == []


# --- groups -------------------------------------------------------------------------------------------


def test_groups_are_with_the_user_and_by_the_name_alone(server):
    for domain in (DOMAIN, "b.net"):
        using(server, add("alice", domain=domain))

    def change(accounts):
        assert accounts.add_group("alice", DOMAIN, "staff") is True
        assert accounts.add_group("alice", "SIPHUB.net", "guests") is True
        assert accounts.add_group("alice", DOMAIN, "staff") is False
        assert accounts.add_group("alice", "b.net", "staff") is True
        assert accounts.groups("alice", "") == accounts.groups("alice", DOMAIN) == ("guests", "staff")

    using(server, change)
    found = contents(server)
    assert found["g:alice"] == f"b.net\tstaff\n{DOMAIN}\tguests;staff"
    assert found[f"u:{DOMAIN}:alice"] == f"{HASHES}\t\tguests;staff"
    using(server, lambda a: a.delete_user("alice", DOMAIN))
    assert contents(server)["g:alice"] == "b.net\tstaff"
    assert using(server, lambda a: a.delete_group("alice", "b.net", "staff")) is True
    assert using(server, lambda a: a.delete_group("alice", "b.net", "staff")) is False
    assert list(contents(server)) == ["u:b.net:alice"]


def test_only_a_user_who_exists_is_in_a_group(server):
    with pytest.raises(ConfigError, match=r"bob@siphub\.net does not exist"):
        using(server, lambda a: a.add_group("bob", DOMAIN, "staff"))
    assert contents(server) == {}


# --- several commands at once -------------------------------------------------------------------------


def test_commands_that_write_take_turns(server):
    """Both have read the same groups otherwise, and the second would write over what the first has."""
    using(server, add("alice"))

    def other():
        using(server, lambda a: a.add_group("alice", DOMAIN, "two"))

    def work(accounts):
        with accounts.session.changing():
            thread.start()
            accounts.put_group("alice", DOMAIN, "one")

    thread = threading.Thread(target=other)
    using(server, work)
    thread.join()
    assert contents(server)["g:alice"] == f"{DOMAIN}\tone;two"


def test_a_command_that_took_too_long_writes_nothing(server):
    def work(accounts):
        with accounts.session.changing():
            accounts.insert([("alice", DOMAIN, HA1, "", "", "", "")])
            server.say("SET", LOCK, "another's")

    with pytest.raises(ConfigError, match="took too long, and another command has written"):
        using(server, work)
    assert (contents(server), server.say("GET", LOCK)) == ({}, b"another's")


def test_a_lock_of_a_command_that_was_killed_ends(server):
    server.say("SET", LOCK, "its", "PX", 50)

    def work(accounts):
        with accounts.session.changing():
            assert 0 < server.say("PTTL", LOCK) <= 10_000
            accounts.insert([("alice", DOMAIN, HA1, "", "", "", "")])

    using(server, work)
    assert server.say("GET", LOCK) is None
    assert list(contents(server)) == [f"u:{DOMAIN}:alice"]


def test_nothing_is_written_by_a_block_that_raises(server):
    def work(accounts):
        def fail():
            with accounts.session.changing():
                accounts.insert([("alice", DOMAIN, HA1, "", "", "", "")])
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert server.say("KEYS", "*") == []
        accounts.add_user("bob", DOMAIN, "x")

    using(server, work)
    assert list(contents(server)) == [f"u:{DOMAIN}:bob"]


def test_each_change_reads_anew(server):
    def work(accounts):
        add("alice")(accounts)
        accounts.add_group("alice", DOMAIN, "one")
        server.say("SET", f"ad:u:{DOMAIN}:alice", f"{HA1}\t\t\t\t\tone;by hand")
        accounts.add_group("alice", DOMAIN, "two")
        assert accounts.groups("alice", DOMAIN) == ("by hand", "one", "two")

    using(server, work)


def test_a_server_that_takes_no_changes(server):
    using(server, add("alice"))
    before = contents(server)
    server.say("REPLICAOF", "127.0.0.1", "1")
    try:
        with pytest.raises(ConfigError, match="cannot be written to; is it a replica"):
            using(server, add("bob"))
        server.say("REPLICAOF", "NO", "ONE")
        server.say("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(ConfigError, match="memory is full; see maxmemory"):
            using(server, add("bob"))
    finally:
        server.say("CONFIG", "SET", "maxmemory", "0")
        server.say("REPLICAOF", "NO", "ONE")
    assert contents(server) == before


def test_opened_for_reading_nothing_is_written(server):
    with pytest.raises(ConfigError, match="opened for reading only"):
        using(server, add("alice"), writable=False)


# --- imports ------------------------------------------------------------------------------------------


def test_an_import_of_several_batches_with_groups(server):
    rows = "".join(f"u{n},d{n % 2}.net,p{n},staff;g{n % 2}\n" for n in range(5))
    assert imported(server, CSV + rows) == Imported(5, 0, 0, 10)
    assert imported(server, CSV + rows) == Imported(0, 0, 5, 0)
    found = contents(server)
    assert found["g:u3"] == "d1.net\tg1;staff"
    assert found["u:d1.net:u3"].startswith(compute_ha1("u3", "d1.net", "p3"))
    assert found["u:d1.net:u3"].endswith("\t\tg1;staff")
    assert (len(found), realms(server)) == (10, ["d0.net", "d1.net"])


def test_existing_users_are_refused_by_line_or_replaced(server):
    using(server, add("alice"))
    using(server, lambda a: a.add_group("alice", DOMAIN, "old"))
    rows = f"{CSV}bob,{DOMAIN},x,\nalice,{DOMAIN},y,new\n"
    with pytest.raises(BadRowsError, match=r"line 3: .*alice@siphub\.net exists already"):
        imported(server, rows)
    assert f"u:{DOMAIN}:bob" not in contents(server)
    assert imported(server, rows, replace=True) == Imported(1, 1, 0, 1)
    value = contents(server)[f"u:{DOMAIN}:alice"]
    assert value.startswith(compute_ha1("alice", DOMAIN, "y"))
    assert value.endswith("\t\tnew;old")


def test_sync_deletes_who_is_no_longer_in_the_file(server):
    using(server, add("alice", "bob"))
    using(server, add("carol", domain="gone.net"))
    using(server, lambda a: a.add_group("carol", "gone.net", "staff"))
    rows = f"{CSV}bob,SIPHUB.net,secret,\n"
    assert imported(server, rows, sync=True, dry_run=True, writable=False) == Imported(0, 0, 1, 0, deleted=2)
    assert len(contents(server)) == 4
    assert imported(server, rows, sync=True) == Imported(0, 0, 1, 0, deleted=2)
    assert list(contents(server)) == [f"u:{DOMAIN}:bob"]
    assert realms(server) == [DOMAIN]


def test_a_user_who_appears_between_the_passes_stops_the_import(server):
    def progress(stage, done, total):
        server.say("SET", f"ad:u:{DOMAIN}:bob", HA1)

    rows = f"{CSV}alice,{DOMAIN},x,\nbob,{DOMAIN},x,\n"
    with pytest.raises(ConfigError, match=r"bob@siphub\.net exists already.*0 of 2 users are imported"):
        imported(server, rows, replace=True, progress=progress)
    assert contents(server) == {f"u:{DOMAIN}:bob": HA1}


def test_a_user_who_is_deleted_between_the_passes_stays_so(server):
    using(server, add("alice", "bob"))

    def progress(stage, done, total):
        if stage == "check":
            server.say("DEL", f"ad:u:{DOMAIN}:alice")

    rows = f"{CSV}alice,{DOMAIN},x,staff\nbob,{DOMAIN},x,staff\n"
    imported(server, rows, replace=True, progress=progress)
    assert sorted(contents(server)) == ["g:bob", f"u:{DOMAIN}:bob"]


def copied(source, target):
    names = [database_name(source), database_name(target)]

    def work():
        with (
            open_subscribers(names[0], StoreConfig()) as others,
            open_subscribers(names[1], StoreConfig(), writable=True) as accounts,
        ):
            return import_users(accounts, StoreSource(others), Options())

    return run(work, *names)


@pytest.mark.parametrize("kind", KINDS)
def test_from_tables_to_redis_and_back(server, kind):
    hashed = compute_ha1("bob", "Realm.net", "x")
    with fresh(kind) as source, fresh(kind) as target:
        source.insert("subscriber", username="alice", domain=DOMAIN, password="secret")
        source.insert("subscriber", username="bob", domain="Realm.net", ha1=hashed)
        source.insert("grp", username="bob", domain="realm.NET", grp="staff")
        assert copied(source.url, server.url) == Imported(2, 0, 0, 1)
        assert contents(server) == {
            f"u:{DOMAIN}:alice": HASHES,
            "u:realm.net:bob": f"{hashed}\t\t\t\t\tstaff",
            "g:bob": "realm.net\tstaff",
        }
        assert realms(server) == ["Realm.net", DOMAIN]
        add_sha_2(target)
        assert copied(server.url, target.url) == Imported(2, 0, 0, 1)
        assert copied(server.url, target.url) == Imported(0, 0, 2, 0)
        assert target.select("SELECT username, domain, ha1, ha1_sha256 FROM subscriber ORDER BY 1") == [
            ("alice", DOMAIN, HA1, SHA_256),
            ("bob", "Realm.net", hashed, ""),
        ]
        assert target.select("SELECT username, domain, grp FROM grp") == [("bob", "Realm.net", "staff")]
