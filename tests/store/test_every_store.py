"""What every store says, whatever database it is in: the same for SQLite, PostgreSQL, MariaDB and Redis.

The tables are those that Kamailio's own scripts create. Redis has none, so it skips what is about tables.
"""

from __future__ import annotations

import asyncio

import pytest
from kit.stores import DOMAIN, EVERY_KIND, KINDS, fresh
from kit.tables import HA1, HA1B, SHA_256, SHA_512

from auth_diameter import ConfigError
from auth_diameter._core import user_hash
from auth_diameter.store.hashes import candidates, compute_ha1
from auth_diameter.store.store import Algorithms, HashedUser, Member, Offer, Realm, User


@pytest.fixture(params=EVERY_KIND)
def database(request):
    with fresh(request.param) as found:
        yield found


def user(name, realm=DOMAIN, algorithm="MD5"):
    return User(name, realm, algorithm)


def ha1s(database, *keys, **config):
    """The HA1 of each user, "" for one who is not known."""
    return [found.ha1s if found.known else "" for found in database.fetch(*keys, **config)]


# --- users --------------------------------------------------------------------------------------------


def test_the_username_is_compared_byte_for_byte_and_the_realm_without_case(database):
    """RFC 4343 for the realm. MariaDB's collation finds ``U1``, ``u1 `` and ``ú1`` for ``u1``."""
    for name in ("alice", "u1"):
        database.add(name)
    others = ["Alice", "alice ", " alice", "álice", "U1", "u1 ", "ú1", "u", "u1x", "", "%", "u_"]
    names = ["alice", "u1", *others]
    assert [bool(found) for found in ha1s(database, *map(user, names))] == [
        True,
        True,
        *[False] * len(others),
    ]
    assert ha1s(database, user("alice", "SIPHUB.net"), user("alice", "other.net")) == [HA1, ""]


def test_users_of_several_domains_are_several(database):
    for domain in (DOMAIN, "b.example"):
        database.add("100", f"of {domain}", domain)
    found = ha1s(database, user("100"), user("100", "b.example"), user("100", "c.example"))
    assert found == [
        compute_ha1("100", DOMAIN, f"of {DOMAIN}"),
        compute_ha1("100", "b.example", "of b.example"),
        "",
    ]


def test_a_username_with_the_domain_has_two_ha1(database):
    """RFC 7616, 3.4.2: the HA1 may be of the whole username, or of the part before the "@"."""
    database.add("alice")
    whole, other = database.fetch(user("alice@siphub.net"), user("alice@other.net"))
    assert (whole.known, whole.ha1s) == (True, HA1B + HA1)
    assert not other.known


def test_the_hash_of_the_whole_username_is_md5_alone(database):
    """Kamailio's ha1b. With SHA-2 a row without a password has nothing for such a username."""
    database.add("alice")
    (found,) = database.fetch(user("alice@siphub.net", algorithm="SHA-256"))
    assert (found.known, found.ha1s) == (False, 2 * candidates((None,), "SHA-256").ha1s)


def test_a_name_that_nobody_can_have_is_unknown_and_holds_up_no_other(database):
    """One NUL, lone surrogate or overlong name must not fail the statement for all users of a turn."""
    database.add("alice")
    odd = [
        "\udcff",
        "a\0b",
        "' OR 1=1 --",
        "a" * 100_000,
        "",
        "\\",
        '"',
        "%s",
        "$1",
        "{}",
        "ü" * 70,
        "\U0001f600",
        "alice\n",
        "\n",
        "bob\nalice",
    ]
    found = ha1s(database, *map(user, odd), user("alice"), *(user("alice", name) for name in odd))
    assert found == [""] * len(odd) + [HA1] + [""] * len(odd)


def test_many_users_are_looked_up_together(database):
    names = [f"u{number:03d}" for number in range(300)]
    database.add_all({name: f"of {name}" for name in names[::3]})
    found = ha1s(database, *map(user, names))
    known = set(names[::3])
    assert found == [compute_ha1(name, DOMAIN, f"of {name}") if name in known else "" for name in names]


def test_for_an_unknown_user_there_is_the_same_work_and_an_ha1_of_nobody(database):
    """The number of HA1 depends on the name alone. There are users before, between and behind these."""
    for name in ("bob", "mallory"):
        database.add(name)
    for name in ("alice", "carol", "zoe"):
        one, two = database.fetch(user(name), user(f"{name}@{DOMAIN}"))
        assert (one.known, len(one.ha1s), two.known, len(two.ha1s)) == (False, 32, False, 64)
        assert one.ha1s == candidates((None,), "MD5").ha1s


# --- algorithms ---------------------------------------------------------------------------------------


def test_a_plain_password_serves_every_algorithm_where_there_is_no_hash(database):
    database.insert("subscriber", username="alice", domain=DOMAIN, password="secret")
    algorithms = ("MD5", "SHA-256", "SHA-512-256")
    assert ha1s(database, *(user("alice", algorithm=one) for one in algorithms)) == [HA1, SHA_256, SHA_512]
    assert database.fetch(Algorithms("alice", DOMAIN)) == [Offer(algorithms, algorithms)]


def test_the_columns_of_opensips_for_sha_2(database):
    """CHAR is padded with spaces in PostgreSQL; OpenSIPS has no ha1b."""
    database.run("ALTER TABLE subscriber ADD COLUMN ha1_sha256 CHAR(64) NOT NULL DEFAULT ''")
    database.run("ALTER TABLE subscriber ADD COLUMN ha1_sha512t256 CHAR(64) NOT NULL DEFAULT ''")
    database.run("ALTER TABLE subscriber DROP COLUMN ha1b")
    database.insert(
        "subscriber", username="alice", domain=DOMAIN, ha1=HA1, ha1_sha256=SHA_256, ha1_sha512t256=SHA_512
    )
    database.insert("subscriber", username="bob", domain=DOMAIN, ha1=HA1)
    algorithms = ("MD5", "SHA-256", "SHA-512-256")
    assert ha1s(database, *(user("alice", algorithm=one) for one in algorithms)) == [HA1, SHA_256, SHA_512]
    alice, bob = database.fetch(Algorithms("alice", DOMAIN), Algorithms("bob", DOMAIN))
    assert alice.own == algorithms
    assert bob.own == ("MD5",)


# As OpenSIPS' scripts of 2.2 to 3.1 have it, and those from 3.2 on: without `ha1b`, all of it CHAR in MySQL.
OLDER = ("email_address", "ha1", "ha1b")
NEWER = ("ha1", "ha1_sha256", "ha1_sha512t256")


@pytest.mark.parametrize("columns", [OLDER, NEWER], ids=["older", "newer"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_tables_of_opensips_are_used_as_they_are(kind, columns):
    """Its own scripts make CHAR columns in MySQL, and a group table of MyISAM."""
    identity, text, engines = {
        "SQLite": ("INTEGER PRIMARY KEY", "CHAR", ("", "")),
        "PostgreSQL": ("SERIAL PRIMARY KEY", "VARCHAR", ("", "")),
        "MariaDB": (
            "INT(10) UNSIGNED AUTO_INCREMENT PRIMARY KEY",
            "CHAR",
            (" ENGINE=InnoDB", " ENGINE=MyISAM"),
        ),
    }[kind]

    def table(name, texts, key, engine):
        wide = ", ".join(f"{each} {text}(64) DEFAULT '' NOT NULL" for each in texts)
        unique = f"CONSTRAINT {name}_account_idx UNIQUE ({key})"
        return f"CREATE TABLE {name} (id {identity} NOT NULL, {wide}, {unique}){engine};"

    with fresh(kind, tables=False) as database:
        names = ("username", "domain", "password", *columns)
        database.run(
            table("subscriber", names, "username, domain", engines[0])
            + table("grp", ("username", "domain", "grp"), "username, domain, grp", engines[1])
        )
        hashed = {"ha1": HA1, "ha1b": HA1B, "ha1_sha256": SHA_256, "ha1_sha512t256": SHA_512.upper()}
        values = {column: hashed.get(column, "") for column in columns}
        database.insert("subscriber", username="alice", domain=DOMAIN, **values)
        database.insert("subscriber", username="bob", domain=DOMAIN, password="builder")
        database.insert("grp", username="alice", domain=DOMAIN, grp="staff")
        assert ha1s(database, user("alice"), user("alice "), user("bob")) == [
            HA1,
            "",
            compute_ha1("bob", DOMAIN, "builder"),
        ]
        by_sha = ha1s(database, *(user("alice", DOMAIN, name) for name in ("SHA-256", "SHA-512-256")))
        assert by_sha == (["", ""] if columns is OLDER else [SHA_256, SHA_512])
        assert database.fetch(Member("alice", DOMAIN, "staff"), Member("bob", DOMAIN, "staff")) == [
            True,
            False,
        ]


def test_a_hash_that_is_none_lets_nobody_in_and_is_named_once(database, caplog):
    database.insert("subscriber", username="alice", domain=DOMAIN, ha1="oops, a password")
    assert ha1s(database, user("alice"), user("alice")) == [""] * 2
    assert caplog.text.count("is not 32 hex digits") == 1
    assert "oops" not in caplog.text


def test_upper_case_digits_and_null_are_read(database):
    database.run("ALTER TABLE subscriber DROP COLUMN ha1b")
    database.run("ALTER TABLE subscriber ADD COLUMN ha1b VARCHAR(128)")  # which may be NULL
    database.insert("subscriber", username="alice", domain=DOMAIN, ha1=HA1.upper())
    assert ha1s(database, user("alice")) == [HA1]


def test_a_hashed_username_is_found(database):
    """RFC 7616, 3.4.4."""
    for name in ("alice", "bob"):
        database.add(name)
    alice, nobody = database.fetch(
        HashedUser(user_hash("alice", DOMAIN, "MD5"), DOMAIN, "MD5"),
        HashedUser(user_hash("carol", DOMAIN, "MD5"), DOMAIN, "MD5"),
    )
    assert (alice.known, alice.matches, alice.username, alice.ha1s) == (True, True, "alice", HA1)
    assert (nobody.known, nobody.matches) == (False, False)


# --- realms and groups --------------------------------------------------------------------------------


def test_hashed_usernames_are_kept_of_a_few_realms_where_any_realm_is_served(database):
    """The sender of a request names the realm, and all usernames are in memory for each."""
    database.insert("subscriber", username="alice", domain="", password="secret")

    async def work(store):
        for number in range(12):
            realm = f"r{number}.example"
            key = HashedUser(user_hash("alice", realm, "SHA-256"), realm, "SHA-256")
            assert (await store.fetch([key]))[key].known
        return len(getattr(store, "_hashed", None) or store._scans)

    assert database.with_store(work, domain=False) == 8


def test_a_realm_is_served_in_the_spelling_of_the_table(database):
    database.add("alice", domain="SIPHub.net")
    database.add("bob", domain="b.example")
    realms = ["siphub.NET", "b.example", "c.example", "", "a\0b", "\udcff"]
    assert [found.realm for found in database.fetch(*map(Realm, realms))] == [
        "SIPHub.net",
        "b.example",
        *[None] * 4,
    ]


def test_an_empty_table_serves_nobody(database):
    assert database.fetch(Realm(DOMAIN))[0].realm is None
    assert ha1s(database, user("alice")) == [""]
    assert database.fetch(Algorithms("alice", DOMAIN)) == [Offer((), ())]


def test_groups(database):
    """Names byte for byte, the domain without case; "" stands for any domain."""
    database.add("alice")
    database.insert("grp", username="alice", domain="SipHub.net", grp="voicemail")
    asked = [
        (("alice", "", "voicemail"), True),
        (("alice", DOMAIN, "voicemail"), True),
        (("alice", "other.net", "voicemail"), False),
        (("alice", DOMAIN, "Voicemail"), False),
        (("Alice", DOMAIN, "voicemail"), False),
        (("alice", DOMAIN, "staff"), False),
        (("a\0", DOMAIN, "voicemail"), False),
        (("alice", DOMAIN, "\udcff"), False),
    ]
    assert database.fetch(*(Member(*names) for names, _ in asked)) == [there for _, there in asked]


def test_groups_and_users_are_looked_up_together(database):
    database.add("alice")
    database.insert("grp", username="alice", domain=DOMAIN, grp="voicemail")
    keys = [Member("alice", "", "voicemail"), user("alice"), Member("bob", "", "voicemail"), Realm(DOMAIN)]
    member, alice, stranger, realm = database.fetch(*keys)
    assert (member, alice.ha1s, stranger, realm.realm) == (True, HA1, False, DOMAIN)


def test_without_a_table_of_groups_nobody_is_in_one(database):
    database.add("alice")
    database.run("DROP TABLE grp")
    assert database.fetch(Member("alice", "", "voicemail"), user("alice"))[0] is False


# --- the conventions of auth_db -----------------------------------------------------------------------

OLD = compute_ha1("alice", DOMAIN, "former")


@pytest.mark.parametrize(
    ("row", "config"),
    [
        ({"password": "secret"}, {}),
        ({"password": "secret"}, {"calculate_ha1": True}),
        ({"password": "secret", "ha1": HA1}, {}),
        ({"password": "secret", "ha1": HA1}, {"calculate_ha1": True}),
        ({"password": "secret", "ha1": OLD}, {"calculate_ha1": True}),
        ({"password": HA1}, {"password_column": "password"}),
        ({"ha1b": "secret"}, {"calculate_ha1": True, "password_column": "ha1b"}),
        ({"password": "secret", "domain": ""}, {"calculate_ha1": True, "domain": False}),
        ({"ha1": HA1, "domain": ""}, {"domain": False}),
    ],
    ids=str,
)
def test_a_row_counts_as_auth_db_has_it(database, row, config):
    database.insert("subscriber", **{"username": "alice", "domain": DOMAIN, **row})
    assert ha1s(database, user("alice"), user("bob"), **config) == [HA1, ""]


@pytest.mark.parametrize(
    ("row", "config"),
    [
        ({"password": "secret"}, {"password_column": "ha1"}),
        ({"ha1": HA1, "ha1b": HA1B}, {"calculate_ha1": True}),
        ({"password": "secret", "ha1": HA1}, {"calculate_ha1": True, "password_column": "ha1b"}),
    ],
    ids=str,
)
def test_what_does_not_count_lets_nobody_in(database, row, config):
    """The columns beside the one that is named, and a hash where HA1 is calculated."""
    database.insert("subscriber", **{"username": "alice", "domain": DOMAIN, **row})
    assert ha1s(database, user("alice"), user(f"alice@{DOMAIN}"), **config) == [""] * 2


def test_without_domains_every_realm_is_served_as_it_is_spelled(database):
    database.insert("subscriber", username="alice", domain="", password="secret")
    config = {"domain": False, "calculate_ha1": True}
    assert database.fetch(Realm("A.example"), **config)[0].realm == "A.example"
    assert ha1s(database, user("alice", "A.example"), **config) == [
        compute_ha1("alice", "A.example", "secret")
    ]


def test_tables_and_columns_have_names_of_ones_own(database):
    """Even reserved words."""
    mark = "`" if database.kind == "MariaDB" else '"'
    table, *columns = (f"{mark}{name}{mark}" for name in ("order", "select", "from", "key"))
    text = ", ".join(f"{column} VARCHAR(64)" for column in columns)
    database.run(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {text})")
    database.insert(table, id="1", **dict(zip(columns, ("alice", DOMAIN, HA1), strict=True)))
    if database.kind == "PostgreSQL":
        database.run(f"GRANT SELECT ON {table} TO ours")
    config = {
        "table": "order",
        "user_column": "select",
        "domain_column": "from",
        "password_column": "key",
    }
    assert ha1s(database, user("alice"), **config) == [HA1]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"table": "nothing"}, "has no table 'nothing'"),
        ({"user_column": "nothing"}, "table 'subscriber' has no column 'nothing'"),
        ({"domain_column": "nothing"}, "table 'subscriber' has no column 'nothing'"),
        ({"password_column": "nothing"}, "table 'subscriber' has no column 'nothing'"),
    ],
    ids=str,
)
def test_what_is_missing_is_said_in_one_line(database, config, words):
    with pytest.raises(ConfigError) as error:
        database.fetch(user("alice"), **config)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert "horse" not in str(error.value)


# --- changes ------------------------------------------------------------------------------------------


def test_a_change_is_noticed_within_a_second(database):
    """By the version, at which the cache looks every half second."""
    database.add("alice")

    async def work(store):
        before = await store.version()
        await store.fetch([user("alice")])
        database.set_ha1("alice", OLD)
        async with asyncio.timeout(30):
            while await store.version() == before:
                await asyncio.sleep(0.05)
        return (await store.fetch([user("alice")]))[user("alice")].ha1s

    assert database.with_store(work) == OLD


def test_a_hashed_username_of_a_new_user_is_found_some_time_after(database):
    database.add("alice")
    bob = HashedUser(user_hash("bob", DOMAIN, "MD5"), DOMAIN, "MD5")

    async def work(store):
        assert not (await store.fetch([bob]))[bob].known
        database.add("bob")
        async with asyncio.timeout(30):
            while not (await store.fetch([bob]))[bob].known:
                await store.version()
                await asyncio.sleep(0.05)
        return True

    assert database.with_store(work)


def test_a_new_realm_is_served_some_time_after(database):
    database.add("alice")

    async def work(store):
        await store.fetch([Realm("b.example")])
        database.add("bob", domain="b.example")
        async with asyncio.timeout(30):
            while (await store.fetch([Realm("b.example")]))[Realm("b.example")].realm is None:
                await store.version()
                await asyncio.sleep(0.05)
        return True

    assert database.with_store(work)
