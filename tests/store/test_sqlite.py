"""What DISC asks its database: who is a subscriber, with which HA1, in which groups."""

import logging

import pytest
from kit.tables import HA1, HA1B, KAMAILIO, OPENSIPS, SHA_256, SHA_512, run_sql

from auth_diameter.store import schema
from auth_diameter.store.accounts import Store, User
from auth_diameter.store.names import compute_ha1


def test_the_username_is_case_sensitive_and_the_realm_is_not(store):
    store.add_user("alice", "SIPHub.net", "secret")
    assert store.ha1("alice", "siphub.net") == HA1
    assert store.ha1("alice", "SIPHUB.NET") == HA1
    assert store.ha1("Alice", "siphub.net") is None
    assert store.ha1("alice", "other.net") is None


@pytest.mark.parametrize("name", ["\udcff", "a\0b", "' OR 1=1 --", "a" * 100_000, ""])
def test_a_name_that_nobody_can_have_is_just_unknown(store, name):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1(name, "siphub.net") is None
    assert store.ha1("alice", name) is None
    assert store.ha1_candidates(f"{name}@siphub.net", "siphub.net") == ()
    assert store.serves(name) is False
    assert store.is_member(name, "", "staff") is False
    assert store.groups(name, name) == ()
    assert list(store.users(name)) == []


# --- Kamailio's own table -------------------------------------------------------------------------


def test_kamailios_table_is_read_as_it_is(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", HA1, HA1B))
    assert store.ha1("alice", "siphub.net") == HA1
    assert list(store.users()) == [User("alice", "siphub.net", HA1, plain_password=True)]


def test_ha1_comes_from_a_plain_password_where_there_is_no_hash(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert store.ha1("alice", "siphub.net") == HA1
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)


def test_a_plain_password_is_hashed_with_the_realm_as_the_client_spells_it(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert store.ha1("alice", "SIPHub.net") == compute_ha1("alice", "SIPHub.net", "secret")


def test_neither_hash_nor_password_is_no_user(kamailio):
    store = kamailio(("alice", "siphub.net", "", "", ""))
    assert store.ha1("alice", "siphub.net") is None
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == ()


def test_a_hash_in_capital_letters_is_the_same_hash(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1.upper(), HA1B.upper()))
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)


@pytest.mark.parametrize("stored", ["geheim", HA1[:-1], HA1 + "0", "g" * 32, b"\xff" * 32])
def test_an_unusable_hash_is_no_user_and_one_warning_without_it(kamailio, caplog, stored):
    store = kamailio(("alice", "siphub.net", "secret", stored, ""))
    with caplog.at_level(logging.WARNING):
        assert store.ha1("alice", "siphub.net") is None
        assert store.ha1("alice", "siphub.net") is None
    (record,) = caplog.records
    assert "ha1 of user 'alice' in realm 'siphub.net' is not 32 hex digits" in record.message
    assert str(stored) not in record.message
    assert [user.ha1 for user in store.users()] == [""]


def test_a_password_that_is_not_utf_8_is_never_quoted(kamailio):
    store = kamailio()
    run_sql(
        kamailio.path,
        "INSERT INTO subscriber (username, domain, password)"
        " VALUES ('alice', 'siphub.net', CAST(x'67FC6E' AS TEXT))",
    )
    assert store.ha1("alice", "siphub.net") == compute_ha1("alice", "siphub.net", b"g\xfcn")
    assert len(list(store.users())) == 1


TABLES = {
    "ours": None,
    "Kamailio's": KAMAILIO,
    "without numbers": "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT, ha1b TEXT,"
    " PRIMARY KEY (username, domain)) WITHOUT ROWID",
    "without an index": "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT, ha1b TEXT)",
}


@pytest.fixture
def table(request, path):
    """A database of the form that the parameter names."""
    if TABLES[request.param] is None:
        Store.create(path).close()
    else:
        run_sql(path, TABLES[request.param])
    return path


@pytest.mark.parametrize("table", TABLES, indirect=True)
def test_the_row_of_a_neighbour_is_nobodys(table):
    """An unknown user gets another one's row from the database, at either end of the index, too."""
    rows = {(user, domain) for domain in ("b.net", "d.net") for user in ("bob", "dave")}
    for user, domain in rows:
        run_sql(
            table,
            "INSERT INTO subscriber (username, domain, ha1, ha1b)"
            f" VALUES ('{user}', '{domain}', '{HA1}', '{HA1B}')",
        )
    with Store.open(table) as store:
        found = {
            (user, domain)
            for domain in ("a.net", "b.net", "c.net", "d.net", "e.net")
            for user in ("", "alice", "bob", "bob ", "carol", "dave", "eve")
            for asked in (user, f"{user}@{domain}")
            if store.ha1_candidates(asked, domain)
        }
    assert found == rows


@pytest.mark.parametrize("table", ["ours", "Kamailio's"], indirect=True)
def test_every_lookup_goes_by_an_index(table):
    with Store.open(table) as store:
        for select in (store._select, store._select_other):
            plan = store._connection.execute(
                f"EXPLAIN QUERY PLAN {select}", {"username": "a", "domain": "b"}
            ).fetchall()
            steps = [step[3].decode() for step in plan]
            assert steps[0].startswith("SEARCH subscriber USING INTEGER PRIMARY KEY")
            assert steps[2].startswith("SEARCH subscriber USING COVERING INDEX")
            assert not any("TEMP B-TREE" in step for step in steps)


def test_a_new_spelling_of_a_domain_is_seen_when_the_data_version_is(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    assert store.ha1("bob", "siphub.net") is None
    kamailio(("bob", "SIPHub.NET", "", HA1B, ""))
    store.data_version()
    assert store.ha1("bob", "siphub.net") == HA1B


def test_a_domain_in_capital_letters_is_found_in_any_spelling(kamailio):
    store = kamailio(
        ("alice", "SIPHub.NET", "", HA1, ""),
        ("bob", "siphub.net", "", HA1B, ""),
    )
    for realm in ("siphub.net", "SIPHUB.NET", "SIPHub.NET"):
        assert store.ha1("alice", realm) == HA1
        assert store.ha1("bob", realm) == HA1B


def test_the_spelling_asked_for_wins_over_others(kamailio):
    store = kamailio(("alice", "SIPHub.NET", "", HA1, ""), ("alice", "siphub.net", "", HA1B, ""))
    assert store.ha1("alice", "SIPHub.NET") == HA1
    assert store.ha1("alice", "siphub.net") == HA1B
    assert store.ha1("alice", "SIPHUB.NET") == HA1B


def test_a_database_without_groups_has_no_members(tmp_path):
    path = tmp_path / "plain.sqlite"
    run_sql(path, "CREATE TABLE subscriber (username TEXT, domain TEXT, password TEXT)")
    with Store.open(path) as store:
        assert store.is_member("alice", "siphub.net", "staff") is False
        assert store.groups("alice", "siphub.net") == ()


# --- usernames with a domain ----------------------------------------------------------------------


def test_a_username_with_the_realm_gives_ha1b_first_and_then_ha1(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1B, HA1)
    assert store.ha1_candidates("alice@SIPHub.net", "siphub.net") == (HA1B, HA1)
    assert store.ha1_at("alice@siphub.net", "siphub.net") == HA1B
    assert store.ha1_candidates("alice", "siphub.net") == (HA1,)


def test_a_username_with_another_domain_than_the_realm_is_nobody(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1_candidates("alice@other.net", "siphub.net") == ()
    assert store.ha1_at("alice@other.net", "siphub.net") is None


def test_a_username_may_itself_hold_an_at_sign(store):
    store.add_user("alice@work", "siphub.net", "secret")
    own = compute_ha1("alice@work", "siphub.net", "secret")
    assert store.ha1_candidates("alice@work", "siphub.net") == (own,)
    assert len(store.ha1_candidates("alice@work@siphub.net", "siphub.net")) == 2


def test_without_ha1b_only_the_part_before_the_at_sign_is_left(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, ""))
    assert store.ha1_candidates("alice@siphub.net", "siphub.net") == (HA1,)


# --- realms ---------------------------------------------------------------------------------------


def test_a_realm_is_served_as_long_as_it_has_a_subscriber(store):
    assert store.served_realms() == frozenset()
    store.add_user("alice", "siphub.net", "secret")
    store.add_user("bob", "example.org", "secret")
    assert store.served_realms() == {"siphub.net", "example.org"}
    assert store.serves("SIPHub.net")
    assert store.canonical_realm("SIPHub.net") == "siphub.net"
    store.delete_user("alice", "siphub.net")
    assert not store.serves("siphub.net")
    assert store.canonical_realm("siphub.net") is None


def test_realms_are_found_with_and_without_an_index_on_the_domain(kamailio, path):
    reader = kamailio(*(("u", f"d{n}.net", "", HA1, "") for n in range(50)))
    with Store.create(path) as indexed:
        for number in range(50):
            indexed.add_user("u", f"d{number}.net", "secret")
        assert indexed.served_realms() == reader.served_realms()
        assert len(indexed.served_realms()) == 50


def test_a_long_scan_is_not_repeated_at_every_change(kamailio, monkeypatch):
    store = kamailio(("alice", "a.net", "", HA1, ""))
    monkeypatch.setattr(schema, "_SHORT_SCAN", -1.0)
    monkeypatch.setattr(schema, "_SCAN_SHARE", 1e9)
    assert store.serves("a.net")
    kamailio(("alice", "b.net", "", HA1, ""))
    assert not store.serves("b.net")
    assert store.ha1("alice", "b.net") == HA1  # the lookup itself needs no scan


# --- groups ---------------------------------------------------------------------------------------


def test_an_empty_domain_is_any_domain(store):
    store.add_user("alice", "a.net", "secret")
    store.add_group("alice", "a.net", "staff")
    assert store.is_member("alice", "", "staff")
    assert store.groups("alice", "") == ("staff",)
    assert not store.is_member("alice", "b.net", "staff")
    assert not store.is_member("bob", "", "staff")


def test_groups_in_kamailios_table_are_found_in_any_spelling(kamailio):
    store = kamailio(
        ("alice", "SIPHub.NET", "staff"),
        ("alice", "siphub.net", "guests"),
        table="grp (username, domain, grp)",
    )
    assert store.is_member("alice", "siphub.net", "staff")
    assert store.is_member("alice", "SIPHUB.net", "guests")
    assert store.groups("alice", "siphub.net") == ("guests", "staff")


# --- HA1 by SHA-2 ---------------------------------------------------------------------------------


def test_a_new_user_has_an_ha1_of_every_algorithm(store):
    store.add_user("alice", "siphub.net", "secret")
    assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
    assert store.ha1("alice", "siphub.net", "SHA-512-256") == SHA_512
    assert store.ha1_candidates("alice@siphub.net", "siphub.net", "SHA-256") == (SHA_256,)
    assert store.algorithms("alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    assert store.algorithms("alice@siphub.net", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


def test_a_plain_password_serves_every_algorithm(kamailio):
    store = kamailio(("alice", "siphub.net", "secret", "", ""))
    assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
    assert store.algorithms("alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    whole = compute_ha1("alice@siphub.net", "siphub.net", "secret", "SHA-512-256")
    assert store.ha1_candidates("alice@siphub.net", "siphub.net", "SHA-512-256") == (whole, SHA_512)


def test_a_table_of_kamailio_has_md5_alone(kamailio):
    store = kamailio(("alice", "siphub.net", "", HA1, HA1B))
    assert store.algorithms("alice", "siphub.net") == ("MD5",)
    assert store.ha1_candidates("alice", "siphub.net", "SHA-256") == ()


def test_a_table_of_opensips_is_used_as_it_is(path):
    run_sql(path, OPENSIPS)
    run_sql(
        path,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256, ha1_sha512t256)"
        f" VALUES ('alice', 'siphub.net', '{HA1}', '{SHA_256}', '{SHA_512.upper()}')",
    )
    with Store.open(path) as store:
        assert store.ha1("alice", "siphub.net") == HA1
        assert store.ha1("alice", "siphub.net", "SHA-256") == SHA_256
        assert store.ha1("alice", "siphub.net", "SHA-512-256") == SHA_512
    with Store.open(path, writable=True) as store:
        store.add_user("bob", "siphub.net", "builder")
        assert store.algorithms("bob", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")


@pytest.mark.parametrize("stored", ["0" * 32, "0" * 63, "g" * 64])
def test_an_ha1_of_another_length_is_none(path, stored, caplog):
    run_sql(path, OPENSIPS)
    run_sql(
        path,
        "INSERT INTO subscriber (username, domain, ha1, ha1_sha256)"
        f" VALUES ('alice', 'siphub.net', '{HA1}', '{stored}')",
    )
    with Store.open(path) as store:
        assert store.ha1("alice", "siphub.net", "SHA-256") is None
    assert "ha1_sha256 of user 'alice' in realm 'siphub.net' is not 64 hex digits" in caplog.text
    assert stored not in caplog.text
