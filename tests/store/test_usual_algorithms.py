"""What most users of a realm have, in tables of all sizes and forms."""

import pytest
from kit.lookups import algorithms, canonical_realm, usual_algorithms, version
from kit.tables import HA1, HA1B, KAMAILIO, SHA_256, SHA_512, run_sql
from kit.tables import select as ask

from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore

MD5, ALL = ("MD5",), ("MD5", "SHA-256", "SHA-512-256")

TABLES = {
    "ours": None,
    "Kamailio's": KAMAILIO
    + "ALTER TABLE subscriber ADD ha1_sha256 TEXT; ALTER TABLE subscriber ADD ha1_sha512t256 TEXT",
    "without numbers": "CREATE TABLE subscriber (username TEXT, domain TEXT, password TEXT, ha1 TEXT,"
    " ha1_sha256 TEXT, ha1_sha512t256 TEXT, PRIMARY KEY (username, domain)) WITHOUT ROWID",
    "without an index": "CREATE TABLE subscriber (username TEXT, domain TEXT, password TEXT, ha1 TEXT,"
    " ha1_sha256 TEXT, ha1_sha512t256 TEXT)",
}


@pytest.fixture(params=TABLES)
def table(request, path):
    """An empty database of each form."""
    if TABLES[request.param] is None:
        Accounts.create(path).close()
    else:
        run_sql(path, TABLES[request.param])
    return path


def add(path, realm, *, md5=0, every=0, prefix="u"):
    """Users of a realm with MD5 alone, and with all algorithms; the names of the latter come last."""
    run_sql(
        path,
        "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n)"
        " INSERT INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256)"
        f" SELECT printf('{prefix}%07d', n), '{realm}', '{HA1}', iif(n > {md5}, '{SHA_256}', ''),"
        f" iif(n > {md5}, '{SHA_512}', '') FROM n LIMIT {md5 + every}",
    )


def test_it_is_what_most_users_of_the_realm_have(table):
    add(table, "old.net", md5=3, every=2)
    add(table, "new.net", md5=2, every=3)
    add(table, "even.net", md5=2, every=2)
    with SqliteStore.open(table) as store:
        assert usual_algorithms(store, "old.net") == MD5
        assert usual_algorithms(store, "NEW.net") == ALL
        assert usual_algorithms(store, "even.net") == ALL  # one of two as frequent, always the same
        assert usual_algorithms(store, "other.net") == ()


def test_all_spellings_of_a_realm_are_one(table):
    add(table, "a.net", md5=3)
    add(table, "A.net", every=4, prefix="v")
    add(table, "A.NET", md5=2, prefix="w")
    with SqliteStore.open(table) as store:
        assert usual_algorithms(store, "a.Net") == MD5


def test_a_plain_password_serves_every_algorithm_and_who_has_nothing_does_not_count(table):
    run_sql(
        table,
        "INSERT INTO subscriber (username, domain, password, ha1, ha1_sha256, ha1_sha512t256) VALUES"
        " ('a', 'a.net', 'secret', '', '', ''), ('b', 'a.net', '', '', '', ''),"
        " ('c', 'a.net', '', '', '', '')",
    )
    with SqliteStore.open(table) as store:
        assert usual_algorithms(store, "a.net") == ALL


def test_kamailios_table_has_md5_alone(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, HA1B))
    assert usual_algorithms(store, "siphub.net") == MD5


def test_of_a_large_realm_users_all_over_the_table_are_looked_at(table):
    """Its first users by name, who came first, are others than most.

    Where rows have no numbers, by which to find some of them, they have to do.
    """
    add(table, "big.net", md5=2000, every=6000)
    add(table, "small.net", md5=1, prefix="v")
    numbered = "WITHOUT ROWID" not in ask(table, "SELECT group_concat(sql) FROM sqlite_master")[0][0]
    with SqliteStore.open(table) as store:
        assert usual_algorithms(store, "big.net") == (ALL if numbered else MD5)


def test_a_small_realm_beside_large_ones_has_its_own(path):
    Accounts.create(path).close()
    add(path, "big.net", every=8000)
    add(path, "small.net", md5=3, every=1)
    with SqliteStore.open(path) as store:
        assert usual_algorithms(store, "big.net") == ALL
        assert usual_algorithms(store, "small.net") == MD5


def test_it_is_looked_up_once_and_again_after_a_change(table):
    add(table, "a.net", md5=3)
    with SqliteStore.open(table) as store:
        asked = []
        store.database.connection.set_trace_callback(asked.append)
        assert usual_algorithms(store, "a.net") == MD5
        assert any("nullif" in query for query in asked)
        asked.clear()
        assert usual_algorithms(store, "A.net") == MD5
        assert not any("nullif" in query for query in asked)
        add(table, "a.net", every=4, prefix="v")
        version(store)
        assert usual_algorithms(store, "a.net") == ALL


def test_what_took_long_is_not_looked_up_after_every_change(path):
    Accounts.create(path).close()
    add(path, "a.net", md5=3)
    with SqliteStore.open(path) as store:
        assert usual_algorithms(store, "a.net") == MD5
        store._usual.pace.done(1e9)
        add(path, "a.net", every=4, prefix="v")
        add(path, "b.net", every=1)
        version(store)
        assert usual_algorithms(store, "a.net") == MD5
        assert usual_algorithms(store, "b.net") == ALL


@pytest.mark.parametrize("users", [1000, 50_000])
def test_the_work_does_not_grow_with_the_table(path, users):
    """Counted in steps of SQLite's machine, not in time."""
    Accounts.create(path).close()
    add(path, "a.net", md5=users)
    with SqliteStore.open(path) as store:
        canonical_realm(store, "a.net")
        steps = []
        store.database.connection.set_progress_handler(lambda: steps.append(1), 1000)
        assert usual_algorithms(store, "a.net") == MD5
    assert len(steps) < 60


def test_a_user_who_is_not_there_has_what_most_have(table):
    add(table, "a.net", md5=2, every=3)
    with SqliteStore.open(table) as store:
        assert algorithms(store, "u0000001", "a.net") == MD5
        assert algorithms(store, "u0000005@a.net", "a.net") == ALL
        for nobody in ("a", "u0000000", "u00000011", "z", "u0000001@b.net", "", "u0000009@a.net"):
            assert algorithms(store, nobody, "a.net") == ALL
