"""A row that Kamailio's auth_db lets in with some settings is let in by us with the same settings.

Both read the same table of the same database at the same time, and both are SIP servers: Kamailio with its
modules auth_db and db_postgres, db_mysql or db_sqlite, and `serve --db`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kit.process import Server
from kit.stores import DOMAIN, KINDS, Database, ServerDatabase, fresh
from kit.uac import Uac

from auth_diameter.store.hashes import compute_ha1

pytestmark = pytest.mark.peers

CONFIGURATION = Path(__file__).parent / "auth_db.cfg"
MODULES = {
    "SQLite": ("db_sqlite", "sqlite", "kamailio-sqlite-modules"),
    "PostgreSQL": ("db_postgres", "postgres", "kamailio-postgres-modules"),
    "MariaDB": ("db_mysql", "mysql", "kamailio-mysql-modules"),
}

HA1 = compute_ha1("alice", DOMAIN, "secret")
HA1B = compute_ha1(f"alice@{DOMAIN}", DOMAIN, "secret")
OLD = compute_ha1("alice", DOMAIN, "former")


class Case(NamedTuple):
    """A row, the parameters of auth_db and our options."""

    row: dict[str, str]
    theirs: dict[str, str | int]
    ours: tuple[str, ...]
    username: str = "alice"


CALCULATED: dict[str, str | int] = {"CALCULATE_HA1": 1, "PASSWORD_COLUMN": "password"}
CASES = {
    "password only": Case({"password": "secret"}, CALCULATED, ()),
    "password only, calculated": Case({"password": "secret"}, CALCULATED, ("--calculate-ha1",)),
    "both agree, calculated": Case(
        {"password": "secret", "ha1": HA1, "ha1b": HA1B}, CALCULATED, ("--calculate-ha1",)
    ),
    "both agree, by ha1": Case({"password": "secret", "ha1": HA1, "ha1b": HA1B}, {}, ()),
    "ha1 old, password new": Case(
        {"password": "secret", "ha1": OLD, "ha1b": OLD}, CALCULATED, ("--calculate-ha1",)
    ),
    "HA1 kept in password": Case(
        {"password": HA1}, {"PASSWORD_COLUMN": "password"}, ("--password-column", "password")
    ),
    "domain empty": Case(
        {"password": "secret", "domain": ""},
        {**CALCULATED, "USE_DOMAIN": 0},
        ("--calculate-ha1", "--no-domain"),
    ),
    "domain empty, by ha1": Case({"ha1": HA1, "domain": ""}, {"USE_DOMAIN": 0}, ("--no-domain",)),
    "username with the domain, by ha1b": Case({"ha1": HA1, "ha1b": HA1B}, {}, (), f"alice@{DOMAIN}"),
    "names of one's own": Case(
        {"ha1": HA1},
        {
            "TABLE": "people",
            "USER_COLUMN": "login",
            "DOMAIN_COLUMN": "realm",
            "PASSWORD_COLUMN": "hash",
        },
        (
            "--table",
            "people",
            "--user-column",
            "login",
            "--domain-column",
            "realm",
            "--password-column",
            "hash",
        ),
    ),
}
OWN_NAMES = {"username": "login", "domain": "realm", "ha1": "hash"}


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    with fresh(request.param) as found:
        yield found


def fill(database: Database, case: Case) -> None:
    """The table with alice; her row is the case's."""
    row = {"username": "alice", "domain": DOMAIN, **case.row}
    table = str(case.theirs.get("TABLE", "subscriber"))
    if table != "subscriber":
        columns = ", ".join(f"{name} VARCHAR(64)" for name in (*OWN_NAMES.values(), "ha1b"))
        database.run(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, {columns})")
        row = {"id": "1", "ha1b": "", **{OWN_NAMES[name]: value for name, value in row.items()}}
        if database.kind == "PostgreSQL":
            database.run(f"GRANT SELECT ON {table} TO ours")
    database.insert(table, **row)


def their_url(database: Database) -> str:
    """The database as Kamailio names it: by a user of its own, whose password needs no escapes."""
    scheme = MODULES[database.kind][1]
    if not isinstance(database, ServerDatabase):
        return f"{scheme}:///{database.url}"
    if database.kind == "PostgreSQL":
        database.run(
            "DO $$ BEGIN CREATE ROLE kamailio LOGIN PASSWORD 'kamailio';"
            " EXCEPTION WHEN duplicate_object THEN NULL; END $$;"
            " GRANT SELECT ON ALL TABLES IN SCHEMA public TO kamailio"
        )
    else:
        database.run("GRANT ALL ON *.* TO kamailio@'%' IDENTIFIED BY 'kamailio'")
    return f"{scheme}://kamailio:kamailio@127.0.0.1:{database.server.port}/{database.name}"


@pytest.fixture
def kamailio(
    peer: Callable[..., str],
    start: Callable[..., Any],
    free_udp_port: Callable[[], int],
    unavailable_peer: Callable[[str], None],
    tmp_path: Path,
) -> Callable[[Database, Case], tuple[str, int]]:
    """Starts Kamailio for a case; returns the address it listens on."""

    def run(database: Database, case: Case) -> tuple[str, int]:
        module, _, package = MODULES[database.kind]
        program = peer("kamailio", package="kamailio")
        if not any(Path("/usr/lib").glob(f"*/kamailio/modules/{module}.so")):
            unavailable_peer(f"{module} is not installed; it is in the Debian package {package}")
        host, port = "127.0.0.1", free_udp_port()
        values: dict[str, str | int] = {
            "DB_MODULE": f"{module}.so",
            "DB_URL": their_url(database),
            "TABLE": "subscriber",
            "USER_COLUMN": "username",
            "DOMAIN_COLUMN": "domain",
            "PASSWORD_COLUMN": "ha1",
            "CALCULATE_HA1": 0,
            "USE_DOMAIN": 1,
            **case.theirs,
        }
        defines: list[object] = []
        for name, value in values.items():
            defines += ["-A", f'{name}="{value}"' if isinstance(value, str) else f"{name}={value}"]
        server = start(
            program, "-f", CONFIGURATION, "-DD", "-E", "-m", "64", "-M", "16",
            "-P", tmp_path / "kamailio.pid", "-w", tmp_path, "-Y", tmp_path,
            "-l", f"udp:{host}:{port}", *defines,
        )  # fmt: skip

        def is_up() -> bool:
            with Uac((host, port)) as phone:
                phone.send(phone.request("OPTIONS"))
                return (phone.receive_bytes(0.1) or b"").startswith(b"SIP/2.0 200 ")

        server.wait_until(is_up, "an answer to OPTIONS")
        return host, port

    return run


def verdicts(address: tuple[str, int], username: str) -> tuple[bool, bool, bool]:
    """Who is let in: the right password, a wrong one, and a stranger with the right one."""

    def is_let_in(name: str, password: str) -> bool:
        with Uac(address) as phone:
            challenge = phone.call()
            assert challenge.status == 401
            header = phone.answer(challenge, username=name, password=password)
            return phone.call("REGISTER", header).status == 200

    stranger = username.replace("alice", "mallory")
    return is_let_in(username, "secret"), is_let_in(username, "former"), is_let_in(stranger, "secret")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_row_that_auth_db_lets_in_is_let_in(
    database: Database,
    kamailio: Callable[..., tuple[str, int]],
    start_ours: Callable[..., Server],
    case: Case,
) -> None:
    fill(database, case)
    theirs = verdicts(kamailio(database, case), case.username)
    ours = verdicts(
        start_ours("serve", "--db", database.url, "--no-penalty", *case.ours).address, case.username
    )
    assert theirs == ours == (True, False, False)
