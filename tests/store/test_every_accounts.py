"""Users and groups, listed and changed in every kind of database, in the operator's own tables."""

from __future__ import annotations

import pytest
from kit.accounts import SHA_2, add_sha_2, using, using_name
from kit.stores import DOMAIN, KINDS, fresh
from kit.tables import HA1, HA1B, SHA_256, SHA_512

from auth_diameter import ConfigError
from auth_diameter.store.hashes import compute_ha1
from auth_diameter.store.names import username_flaw
from auth_diameter.store.store import Member, StoreError, User
from auth_diameter.store.url import database_name

SERVERS = KINDS[1:]
ROWS = "SELECT username, domain, password, ha1, ha1b FROM subscriber ORDER BY domain, username"


@pytest.fixture(params=KINDS)
def database(request):
    with fresh(request.param) as found:
        yield found


@pytest.fixture(params=SERVERS)
def server(request):
    with fresh(request.param) as found:
        yield found


def refused(database, work, **options):
    """The message of a change that is refused: one line with the database, and no secret."""
    with pytest.raises(ConfigError) as error:
        using(database, work, **options)
    message = str(error.value)
    assert "\n" not in message
    assert "secret" not in message
    assert HA1 not in message
    return message


def add(name="alice", domain=DOMAIN, password="secret", **options):
    return lambda accounts: accounts.add_user(name, domain, password, **options)


# --- users ------------------------------------------------------------------------------------------------


def test_a_user_is_stored_by_hash_and_never_by_password(database):
    """Kamailio's own table has no columns for SHA-2; they are not added unasked."""
    assert using(database, lambda a: (add()(a), a.stored_algorithms, a.lacks_sha_2)) == (True, ("MD5",), True)
    assert database.select(ROWS) == [("alice", DOMAIN, "", HA1, HA1B)]
    (found,) = database.fetch(User("alice", DOMAIN, "MD5"))
    assert (found.known, found.ha1s) == (True, HA1)


def test_columns_for_sha_2_are_filled_where_they_are(database):
    add_sha_2(database)
    using(database, add())
    assert database.select(f"SELECT ha1, ha1b, {', '.join(SHA_2)} FROM subscriber") == [
        (HA1, HA1B, SHA_256, SHA_512)
    ]


def test_an_existing_users_password_is_replaced_only_when_asked_for(database):
    add_sha_2(database)
    database.insert("subscriber", username="alice", domain=DOMAIN, password="old secret", ha1="0" * 32)
    assert "alice@siphub.net exists already; use --replace" in refused(database, add())
    assert using(database, add(domain="SIPHUB.net", replace=True)) is False
    assert database.select(ROWS) == [("alice", DOMAIN, "", HA1, HA1B)]


def test_users_are_listed_by_domain_and_name_whatever_the_collation(database):
    names = [("bob", "b.net"), ("Zoe", "a.net"), ("alice", "b.net"), ("émile", "b.net"), ("Bob2", "b.net")]
    for username, domain in names:
        database.add(username, domain=domain)
    listed = ["Zoe@a.net", "Bob2@b.net", "alice@b.net", "bob@b.net", "émile@b.net"]

    def look(accounts):
        assert [str(user) for user in accounts.users()] == listed
        assert [str(user) for user in accounts.users("B.NET")] == listed[1:]
        assert list(accounts.users("c.net")) == []
        return accounts.count_users()

    assert using(database, look, writable=False) == len(names)


def test_a_list_says_who_has_a_plain_password_and_shows_no_secret(database):
    database.insert("subscriber", username="alice", domain=DOMAIN, password="secret")
    (user,) = using(database, lambda accounts: list(accounts.users()), writable=False)
    assert (user.plain_password, user.ha1) == (True, "")
    assert "secret" not in repr(user)


def test_deleting_a_user_takes_the_groups_along_in_any_spelling_of_the_domain(database):
    for name in ("alice", "bob"):
        database.add(name)
        database.insert("grp", username=name, domain="SIPHub.net", grp="staff")
    assert using(database, lambda accounts: accounts.delete_user("alice", "SIPHub.NET")) is True
    assert using(database, lambda accounts: accounts.delete_user("alice", DOMAIN)) is False
    assert database.select("SELECT username FROM grp") == [("bob",)]
    assert database.select("SELECT username FROM subscriber") == [("bob",)]


def test_a_realm_keeps_the_spelling_that_it_has(database):
    database.add("bob", domain="SIPHub.NET")
    using(database, add())
    assert database.select("SELECT domain, ha1 FROM subscriber WHERE username = 'alice'") == [
        ("SIPHub.NET", compute_ha1("alice", "SIPHub.NET", "secret"))
    ]


def test_a_row_in_another_spelling_gets_the_ha1_of_the_one_that_challenges_have(database):
    """The row keeps its own."""
    database.add("bob")
    database.add("alice", "old", "SIPHub.NET")
    assert using(database, add(replace=True)) is False
    assert database.select("SELECT domain, ha1 FROM subscriber WHERE username = 'alice'") == [
        ("SIPHub.NET", HA1)
    ]


HOSTILE = [
    "' OR 1=1 --",
    'a"b`c',
    "%s",
    "%(its_username)s",
    ":username",
    "$1",
    "a\\",
    "a\\'b",
    "$[0]",
    "100%",
    "_",
    "é",
    "e\u0301",
    "日本",
    "😀",
    "a b",
    "{}",
    "NULL",
]


def test_hostile_names_are_names(database):
    """Each is another user's, and nobody else's row is touched."""
    assert all(map(username_flaw, HOSTILE)) is False
    names = [name.replace(":", ";") for name in HOSTILE]

    def play(accounts):
        for name in names:
            assert accounts.add_user(name, DOMAIN, "secret") is True
            assert accounts.add_group(name, DOMAIN, name.replace(";", ".")) is True
        assert sorted(user.username for user in accounts.users()) == sorted(names)
        for name in names:
            assert accounts.groups(name, DOMAIN) == (name.replace(";", "."),)
        for left, name in enumerate(reversed(names)):
            assert accounts.delete_user(name, DOMAIN) is True
            assert accounts.count_users() == len(names) - left - 1

    using(database, play)
    assert database.select("SELECT grp FROM grp") == []


def test_a_name_that_no_database_can_have_is_nobodys(database):
    database.add("alice")

    def play(accounts):
        assert accounts.delete_user("al\0ice", DOMAIN) is False
        assert accounts.groups("al\0ice", DOMAIN) == ()
        assert accounts.stored_domain("\udcff", DOMAIN) is None
        with pytest.raises(ConfigError, match="a name that is not UTF-8"):
            accounts.delete_user("\udcff", DOMAIN)
        return accounts.count_users()

    assert using(database, play) == 1


# --- groups -----------------------------------------------------------------------------------------------


def test_a_member_is_one_until_taken_out(database):
    database.add("alice")

    def play(accounts):
        assert accounts.add_group("alice", "SIPHub.net", "voicemail") is True
        assert accounts.add_group("alice", DOMAIN, "voicemail") is False
        assert accounts.add_group("alice", DOMAIN, "admin") is True
        assert (
            accounts.groups("alice", "SIPHUB.net") == accounts.groups("alice", "") == ("admin", "voicemail")
        )
        assert accounts.groups("alice", "other.net") == accounts.groups("Alice", DOMAIN) == ()

    using(database, play)
    assert database.fetch(Member("alice", DOMAIN, "voicemail")) == [True]
    assert using(database, lambda accounts: accounts.delete_group("alice", DOMAIN, "Voicemail")) is False
    assert using(database, lambda accounts: accounts.delete_group("alice", "SIPHub.net", "voicemail")) is True
    assert database.select("SELECT grp FROM grp") == [("admin",)]


def test_only_a_user_can_be_put_into_a_group(database):
    message = refused(database, lambda accounts: accounts.add_group("alice", DOMAIN, "staff"))
    assert message == "user alice@siphub.net does not exist; add it first"


def test_a_membership_has_the_servers_time(database):
    database.add("alice")
    using(database, lambda accounts: accounts.add_group("alice", DOMAIN, "staff"))
    now = "datetime()" if database.kind == "SQLite" else "LOCALTIMESTAMP"
    (between,) = database.select(
        f"SELECT count(*) FROM grp WHERE last_modified <= {now} AND last_modified > '2026-01-01 00:00:00'"
    )
    assert between == ("1",)


def test_without_a_table_of_groups_there_are_users_alone(database):
    database.run("DROP TABLE grp")
    database.add("alice")

    def look(accounts):
        return accounts.groups("alice", DOMAIN), accounts.delete_group("alice", DOMAIN, "x")

    if database.kind == "SQLite":  # opened for writing, it gets Kamailio's missing tables
        assert using(database, look) == ((), False)
        return
    assert using(database, look) == ((), False)
    message = refused(database, lambda accounts: accounts.add_group("alice", DOMAIN, "staff"))
    assert "has no table 'grp'; see --group-table, or let auth-diameter db upgrade create it" in message


# --- byte for byte ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["U1", "ú1", "Ú1"])
def test_one_user_is_never_changed_for_another(database, other):
    """MariaDB's usual collation finds ``u1`` for all of these."""
    database.add("u1", "first")
    database.insert("grp", username="u1", domain=DOMAIN, grp="staff")
    theirs = f"SELECT * FROM subscriber WHERE ha1 = '{compute_ha1('u1', DOMAIN, 'first')}'"
    before = database.select(theirs)

    def play(accounts):
        assert accounts.stored_domain(other, DOMAIN) is None
        assert accounts.delete_user(other, DOMAIN) is False
        assert accounts.delete_group(other, DOMAIN, "staff") is False
        assert accounts.delete_group("u1", DOMAIN, "Staff") is False
        assert accounts.groups(other, DOMAIN) == ()

    using(database, play)
    if database.kind == "MariaDB":
        message = refused(database, add(other, replace=True))
        assert (
            f"to the collation of table 'subscriber', {other}@{DOMAIN} is the same user as u1@{DOMAIN}"
            in message
        )
    else:
        assert using(database, add(other, replace=True)) is True
    assert database.select(theirs) == before
    assert database.select("SELECT grp FROM grp") == [("staff",)]


def test_where_the_table_takes_both_each_is_its_own(mariadb):
    mariadb.run("ALTER TABLE subscriber DROP INDEX account_idx")
    for name in ("u1", "U1", "u1 "):
        mariadb.add(name, "first")

    def play(accounts):
        assert accounts.add_user("U1", DOMAIN, "second", replace=True) is False
        assert [user.username for user in accounts.users()] == ["U1", "u1", "u1 "]

    using(mariadb, play)
    found = dict(mariadb.select("SELECT username, ha1 FROM subscriber"))
    assert found == {
        "U1": compute_ha1("U1", DOMAIN, "second"),
        "u1": compute_ha1("u1", DOMAIN, "first"),
        "u1 ": compute_ha1("u1 ", DOMAIN, "first"),
    }
    using(mariadb, lambda accounts: accounts.delete_user("u1", DOMAIN))
    assert sorted(mariadb.select("SELECT username FROM subscriber")) == [("U1",), ("u1 ",)]


def test_columns_that_are_filled_up_with_spaces(server):
    """CHAR of PostgreSQL; Kamailio's tables have VARCHAR."""
    server.run(
        "CREATE TABLE padded (username CHAR(64) NOT NULL, domain CHAR(64) NOT NULL, ha1 CHAR(64) NOT NULL)"
    )

    def play(accounts):
        accounts.add_user("alice", DOMAIN, "secret")
        assert accounts.add_user("alice", DOMAIN, "other", replace=True) is False
        (user,) = accounts.users(DOMAIN)
        assert (str(user), user.ha1) == ("alice@siphub.net", compute_ha1("alice", DOMAIN, "other"))
        assert accounts.delete_user("alice", DOMAIN) is True

    using(server, play, table="padded")


# --- the operator's own tables ----------------------------------------------------------------------------

OPENSIPS = (
    "CREATE TABLE sip_users (username CHAR(64) DEFAULT '' NOT NULL, domain CHAR(64) DEFAULT '' NOT NULL,"
    " password VARCHAR(25) DEFAULT '' NOT NULL, ha1 VARCHAR(64) DEFAULT '' NOT NULL,"
    " ha1_sha256 VARCHAR(64) DEFAULT '' NOT NULL, ha1_sha512t256 VARCHAR(64) DEFAULT '' NOT NULL)"
)


def test_opensips_columns(database):
    database.run(OPENSIPS)
    assert using(database, lambda a: (add()(a), a.lacks_sha_2), table="sip_users") == (True, False)
    assert database.select("SELECT password, ha1, ha1_sha256, ha1_sha512t256 FROM sip_users") == [
        ("", HA1, SHA_256, SHA_512)
    ]


def quoted(database, name):
    return f"`{name}`" if database.kind == "MariaDB" else f'"{name}"'


def reserved(database, schema=""):
    """Tables whose names, and those of their columns, are words of SQL."""
    q = {word: quoted(database, word) for word in ("user", "group", "order", "select", "from")}
    database.run(
        f"CREATE TABLE {schema}{q['user']} ({q['order']} VARCHAR(64), {q['select']} VARCHAR(64),"
        f" {q['from']} VARCHAR(128));"
        f"CREATE TABLE {schema}{q['group']} (username VARCHAR(64), domain VARCHAR(64), grp VARCHAR(64));"
    )
    return {
        "table": "user",
        "group_table": "group",
        "user_column": "order",
        "domain_column": "select",
        "password_column": "from",
    }


def play_in_own_tables(accounts):
    assert accounts.add_user("alice", DOMAIN, "other") is True
    assert accounts.add_user("alice", DOMAIN, "secret", replace=True) is False
    assert accounts.add_group("alice", DOMAIN, "staff") is True
    (user,) = accounts.users(DOMAIN)
    assert (str(user), user.ha1) == ("alice@siphub.net", HA1)
    assert accounts.groups("alice", DOMAIN) == ("staff",)


def test_names_of_tables_and_columns_may_be_words_of_sql(database):
    names = reserved(database)
    using(database, play_in_own_tables, **names)
    (found,) = database.fetch(User("alice", DOMAIN, "MD5"), **names)
    assert found.ha1s == HA1


def test_a_table_may_be_in_another_schema(database):
    schema = {"SQLite": "main.", "PostgreSQL": "sip.", "MariaDB": ""}[database.kind]
    if database.kind == "PostgreSQL":
        database.run("CREATE SCHEMA sip; GRANT USAGE ON SCHEMA sip TO ours")
    names = reserved(database, schema)
    if database.kind == "PostgreSQL":
        database.run("GRANT ALL ON ALL TABLES IN SCHEMA sip TO ours")
    if database.kind == "MariaDB":
        schema = f"{database.name}."
    names |= {table: f"{schema}{names[table]}" for table in ("table", "group_table")}
    using(database, play_in_own_tables, **names)


def test_sql_that_writes_names_in_capitals(server):
    """SQL folds them; the operator who names the table as in CREATE TABLE means the same one."""
    server.run("CREATE TABLE Sip_Users (UserName VARCHAR(64), Domain VARCHAR(64), HA1 VARCHAR(64))")
    names = {"table": "Sip_Users", "user_column": "UserName"}
    using(server, add(), **names)
    assert server.select("SELECT username, ha1 FROM {}".format("Sip_Users")) == [("alice", HA1)]


def test_the_ha1_may_be_in_a_column_of_its_own(database):
    database.run("ALTER TABLE subscriber ADD COLUMN digest VARCHAR(64) DEFAULT '' NOT NULL")
    using(database, add(), password_column="digest")
    assert database.select("SELECT password, ha1, digest FROM subscriber") == [("", HA1, HA1)]
    database.insert("subscriber", username="bob", domain=DOMAIN, digest=HA1, ha1="0" * 32)
    users = using(database, lambda accounts: list(accounts.users()), password_column="digest")
    assert [user.ha1 for user in users] == [HA1, HA1]


def test_where_ha1_is_calculated_the_password_is_stored(database):
    """The operator's choice (auth_db's calculate_ha1); no other password is left in the row."""
    database.insert("subscriber", username="alice", domain=DOMAIN, password="old", ha1="0" * 32)
    config = {"calculate_ha1": True}
    assert using(database, lambda a: (add(replace=True)(a), a.lacks_sha_2), **config) == (False, False)
    assert database.select(ROWS) == [("alice", DOMAIN, "secret", HA1, HA1B)]
    (found,) = database.fetch(User("alice", DOMAIN, "MD5"), **config)
    assert found.ha1s == HA1
    (user,) = using(database, lambda accounts: list(accounts.users()), writable=False, **config)
    assert user.plain_password


def test_a_password_that_is_too_long_for_its_column_is_not_cut(server):
    """MariaDB without strict mode would cut it, and nobody could log in."""
    if server.kind == "MariaDB":
        server.run("SET GLOBAL sql_mode = ''")
    server.run(OPENSIPS)
    message = refused(server, add(password="s" * 26), table="sip_users", calculate_ha1=True)
    assert "too long for its column" in message
    assert server.select("SELECT count(*) FROM sip_users") == [("0",)]


def test_users_without_domains(database):
    database.run("CREATE TABLE phones (username VARCHAR(64), password VARCHAR(64))")
    config = {"table": "phones", "domain": False, "calculate_ha1": True}

    def play(accounts):
        assert accounts.add_user("100", "", "secret") is True
        assert accounts.add_user("101", DOMAIN, "secret") is True
        assert accounts.add_user("101", "other.net", "new", replace=True) is False
        assert [str(user) for user in accounts.users()] == ["100", "101"]
        assert list(accounts.users(DOMAIN)) == []
        assert accounts.add_group("100", "", "staff") is True
        assert accounts.groups("100", "any.net") == ("staff",)
        assert accounts.delete_user("101", "") is True

    using(database, play, **config)
    assert database.select("SELECT username, password FROM phones") == [("100", "secret")]
    (found,) = database.fetch(User("100", "any.net", "MD5"), **config)
    assert found.ha1s == compute_ha1("100", "any.net", "secret")


def test_ha1_is_of_a_realm_where_rows_have_no_domain(database):
    database.run("CREATE TABLE phones (username VARCHAR(64), ha1 VARCHAR(64))")
    config = {"table": "phones", "domain": False}
    assert "must be written user@domain" in refused(database, add(domain=""), **config)
    using(database, add(), **config)
    assert database.select("SELECT * FROM phones") == [("alice", HA1)]


def test_without_domains_a_name_must_be_ones_alone(database):
    for domain in ("a.net", "b.net"):
        database.add("alice", domain=domain)
    for change in (add(replace=True), lambda accounts: accounts.delete_user("alice", "")):
        message = refused(database, change, domain=False)
        assert (
            "2 rows have the username 'alice'; domains tell them apart, so leave --no-domain out" in message
        )
    assert len(database.select(ROWS)) == 2


def test_a_column_that_is_not_ours_and_needs_a_value(database):
    database.run(
        "CREATE TABLE shop (username VARCHAR(64), domain VARCHAR(64), ha1 VARCHAR(64), customer INT NOT NULL)"
    )
    message = refused(database, add(), table="shop")
    assert message.endswith("table 'shop' needs a value in column 'customer'; give that column a default")


# --- what goes wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"table": "nope"}, "has no table 'nope'; see --table"),
        ({"user_column": "nope"}, "table 'subscriber' has no column 'nope'; see --user-column"),
        ({"domain_column": "nope"}, "has no column 'nope'; see --domain-column, or --no-domain for"),
        ({"password_column": "nope"}, "has no column 'nope'; see --password-column"),
        ({"calculate_ha1": True, "password_column": "nope"}, "has no column 'nope'; see --password-column"),
    ],
    ids=str,
)
@pytest.mark.parametrize("writable", [False, True])
def test_a_table_or_column_that_is_not_there(database, config, what, writable):
    message = refused(database, add(), writable=writable, **config)
    assert what.removesuffix("; see --table") in message
    assert message.startswith(str(database_name(database.url)))


def test_a_table_with_passwords_alone_gets_no_ha1(database):
    database.run("CREATE TABLE plain (username VARCHAR(64), domain VARCHAR(64), password VARCHAR(64))")
    using(database, lambda accounts: list(accounts.users()), table="plain", writable=False)
    assert "has no column 'ha1' to write to" in refused(database, add(), table="plain")


def test_who_may_only_read_reads(server):
    server.add("alice")
    reader = "reader" + server.name
    if server.kind == "PostgreSQL":
        server.run(f"CREATE ROLE {reader} LOGIN PASSWORD 'x'; GRANT SELECT ON subscriber, grp TO {reader}")
    else:
        server.run(
            f"CREATE USER {reader}@'%' IDENTIFIED BY 'x'; GRANT SELECT ON subscriber TO {reader}@'%';"
            f"GRANT SELECT ON grp TO {reader}@'%'"
        )
    name = database_name(f"{server.server.kind}://{reader}@127.0.0.1:{server.server.port}/{server.name}", "x")
    assert using_name(name, lambda accounts: accounts.count_users(), writable=False) == 1
    assert using_name(name, lambda accounts: [str(user) for user in accounts.users()], writable=True) == [
        "alice@siphub.net"
    ]
    with pytest.raises(ConfigError) as error:
        using_name(name, add("bob"))
    assert str(error.value).startswith(
        f"{name}: the user may not change the tables; GRANT SELECT, INSERT, UPDATE, DELETE ON them lets it"
    )


def test_a_list_is_read_only_even_for_who_may_write(server):
    with pytest.raises(ConfigError, match="opened for reading only"):
        using(server, add(), writable=False)


def test_a_name_that_its_column_cannot_have(mariadb):
    mariadb.run("ALTER TABLE subscriber CONVERT TO CHARACTER SET latin1")
    using(mariadb, add("é"))
    assert "characters that its column cannot have" in refused(mariadb, add("日本"))
    assert [str(user) for user in using(mariadb, lambda a: list(a.users()), writable=False)] == [
        "é@siphub.net"
    ]


def test_text_of_another_encoding():
    """SQL_ASCII keeps whatever bytes it is given."""
    with fresh("PostgreSQL") as database:
        odd = f"{database.name}_odd"
        program = database.server
        program.run(f"CREATE DATABASE {odd} ENCODING 'SQL_ASCII' TEMPLATE template0 OWNER ours")
        program.run(
            "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT); GRANT ALL ON subscriber TO ours;"
            r"INSERT INTO subscriber VALUES (E'caf\351', 'siphub.net', '')",
            odd,
        )
        name = database_name(program.url(odd))
        with pytest.raises(StoreError) as error:
            using_name(name, lambda accounts: list(accounts.users()), writable=False)
        assert str(error.value) == f"{name}: has text that is not UTF-8; see the ENCODING of the database"


def test_a_name_that_the_encoding_of_the_database_cannot_have():
    with fresh("PostgreSQL") as database:
        latin = f"{database.name}_latin"
        program = database.server
        program.run(f"CREATE DATABASE {latin} ENCODING 'LATIN1' TEMPLATE template0 OWNER ours")
        program.run(
            "CREATE TABLE subscriber (username TEXT, domain TEXT, ha1 TEXT); GRANT ALL ON subscriber TO ours",
            latin,
        )
        name = database_name(program.url(latin))
        assert using_name(name, add("é")) is True
        with pytest.raises(ConfigError, match="characters that the ENCODING of the database cannot have"):
            using_name(name, add("日本"))


def test_a_server_that_lets_nobody_in(server):
    url = server.url.replace("horse", "hush")
    for name, what in (
        (database_name(url), "the password is wrong"),
        (database_name(server.server.url(server.name, password=False), "hush"), "the password is wrong"),
        (database_name(server.url.replace(str(server.server.port), "1")), "nothing listens there"),
    ):
        with pytest.raises(ConfigError, match=what) as error:
            using_name(name, add())
        assert str(error.value).startswith(f"{name}: ")
        assert "hush" not in str(error.value)
