"""The set-up of deploy/compose.yaml, run as processes: the same programs with the same options and files.

Only what is a container's own differs: host names are addresses, and paths are where the files are. Kamailio
asks for the name of both DISC, as in the containers' network; `names.c` stands in for its name server.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kit.compose import DEPLOY, Compose
from kit.databases import PostgreSql, running
from kit.process import Program, Server, run_command, run_ours
from kit.redis_server import RedisServer
from kit.uac import Uac

pytestmark = pytest.mark.peers

COMPOSE = Compose()
DOMAIN = COMPOSE.option("kamailio", "-AREALM=").strip('"')
ALICE = {"name": "alice", "password": "open sesame", "domain": DOMAIN}
BOB = {"name": "bob", "password": "swordfish", "domain": DOMAIN}
ADDRESSES = {"disc1": "127.0.0.1", "disc2": "127.0.0.2"}  # both on one port, as two containers are
NAME = COMPOSE.option("kamailio", "-ADISC_HOST=").strip('"')  # of both


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of secrets that deploy/make-secrets has made."""
    folder = tmp_path_factory.mktemp("deploy")
    assert run_command(DEPLOY / "make-secrets", folder).status == 0
    return folder / "secrets"


@pytest.fixture(scope="module")
def database(secrets: Path) -> Iterator[str]:
    """HOST:PORT/NAME of the database, as PostgreSQL's image, `roles.sh` and `setup` make it; with users."""
    password = secrets / "postgresql_password"
    for server in running(PostgreSql):
        name = server.database(tables=False)
        server.run(f"ALTER ROLE postgres PASSWORD '{password.read_text()}'")
        psql = Path(str(PostgreSql._program("psql"))).parent
        done = run_command(
            "bash", DEPLOY / "roles.sh",
            env={
                "POSTGRES_USER": "postgres", "POSTGRES_DB": name, "SECRETS": str(secrets),
                "PGHOST": str(server.folder), "PGPORT": str(server.port),
                "PATH": f"{psql}:{os.environ['PATH']}",
            },
        )  # fmt: skip
        assert done == (0, "", "")
        place = f"127.0.0.1:{server.port}/{name}"
        for service, arguments in (("setup", None), ("manage", ("user", "add"))):
            for person in (ALICE, BOB) if arguments else (None,):
                words = COMPOSE.command(service, {"/run/secrets": secrets})
                if person is not None:
                    words[:2] = [*arguments, f"{person['name']}@{person['domain']}", "--password-stdin"]
                url = COMPOSE.services[service]["environment"]["AUTH_DIAMETER_DB"]
                done = run_ours(
                    *words,
                    stdin=f"{person['password']}\n".encode() if person else b"",
                    env={"AUTH_DIAMETER_DB": url.replace("postgresql/kamailio", place)},
                )
                assert done.status == 0, done
        yield place


@pytest.fixture(scope="module")
def name_server(peer: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What has Kamailio look the name of DISC up in a file."""
    made = tmp_path_factory.mktemp("names") / "names.so"
    done = run_command(
        peer("cc", package="gcc"), "-shared", "-fPIC", "-o", made, Path(__file__).parent / "names.c"
    )
    assert done.status == 0, done
    return made


@dataclass
class Running:
    """What runs.

    Attributes:
        discs: by their names.
        phone: makes a telephone before Kamailio.
        addresses: the file of what the name of DISC stands for.
        children: workers of Kamailio.
    """

    discs: dict[str, Server]
    phone: Callable[..., Uac]
    addresses: Path
    children: int

    def kill(self, name: str) -> None:
        """Kills a DISC; its address is no longer known."""
        self.discs[name].kill()
        self.name(*(other for other in self.discs if other != name))

    def name(self, *discs: str) -> None:
        """Has the name of DISC stand for these."""
        made = self.addresses.with_suffix(".new")
        made.write_text("".join(f"{self.discs[disc].host}\n" for disc in discs))
        made.replace(self.addresses)


@pytest.fixture
def service(
    database: str,
    secrets: Path,
    tmp_path: Path,
    peer: Callable[..., str],
    start: Callable[..., Program],
    free_udp_port: Callable[[], int],
    name_server: Path,
) -> Iterator[Running]:
    """All of it, up."""
    program = peer("kamailio", package="kamailio")
    with RedisServer() as state:
        discs: dict[str, Server] = {}
        port = 0
        try:
            for name, host in ADDRESSES.items():
                words = COMPOSE.command(
                    name,
                    {
                        "valkey://valkey:6379/0": state.url,
                        "postgresql/kamailio": database,
                        "/run/secrets": secrets,
                        "172.28.30.0/24": "127.0.0.0/8",
                    },
                )
                words.remove(f"--listen={COMPOSE.option(name, '--listen=')}")
                discs[name] = Server(*words, listen=f"{host}:{port}")
                port = discs[name].port
            addresses = tmp_path / "addresses"
            address = ("127.0.0.1", free_udp_port())
            found = Running(discs, lambda **who: Uac(address, **who), addresses, children=4)
            found.name(*discs)
            words = COMPOSE.command(
                "kamailio",
                {
                    "/etc/kamailio/auth-diameter.cfg": DEPLOY / "kamailio.cfg",
                    "/run/kamailio": tmp_path,
                    "0.0.0.0:5060": f"{address[0]}:{address[1]}",
                    "DISC_PORT=3000": f"DISC_PORT={port}",
                },
            )
            names = ("env", f"LD_PRELOAD={name_server}", f"NAMES_OF={NAME}", f"NAMES_IN={addresses}")
            kamailio = start(*names, program, *words[1:])
            ping = ("bash", DEPLOY / "options-ping", *address)
            kamailio.wait_until(lambda: run_command(*ping).status == 0, "a reply to its health check")
            yield found
        finally:
            for server in discs.values():
                server.__exit__()


def replies_until(phone: Uac, wanted: int, most: int, *credentials: Any) -> list[int]:
    """Asks until this status comes; the statuses before it, of which there may be so many."""
    before: list[int] = []
    while True:
        phone.send(phone.request("REGISTER", *credentials))
        data = phone.receive_bytes()
        assert data is not None, "no reply came"
        status = int(data.split()[1])
        if status == wanted:
            return before
        before.append(status)
        assert len(before) <= most, before


def test_a_telephone_is_challenged_and_let_in(service):
    with service.phone(**ALICE) as phone:
        challenged, registered = phone.log_in()
    assert (challenged.status, registered.status) == (401, 200)
    assert registered.header("Contact")


def test_nobody_registers_for_somebody_else(service):
    with service.phone(**ALICE) as phone:
        challenged = phone.call()
        wrong = phone.call("REGISTER", phone.answer(challenged, password="guessed"))
        credentials = phone.answer(phone.call())
        with service.phone(**BOB) as other:
            another = other.call("REGISTER", credentials)
    assert (wrong.status, another.status) == (403, 403)
    assert another.reason == "Not Your Account"


def test_the_health_check_of_disc_knows_whether_it_answers(service):
    """Its command line, with this shell, and this Python for the one in the image."""
    how, line = COMPOSE.services["disc1"]["healthcheck"]["test"]
    assert how == "CMD-SHELL"
    line = line.replace("/etc/auth-diameter/probe.sip", str(DEPLOY / "probe.sip"))
    line = line.replace("127.0.0.1:3000", service.discs["disc1"].where)
    assert run_command("sh", "-c", line).status == 0
    assert run_command("sh", "-c", line.replace(DOMAIN, "nobody.invalid")).status == 0
    service.kill("disc1")
    assert run_command("sh", "-c", line).status != 0


def test_when_one_disc_is_killed_telephones_still_register(service):
    """Each worker of Kamailio loses one request at most; challenges and counts of the dead DISC are valid."""
    with service.phone(**ALICE) as phone:
        challenged = phone.call()
        used = phone.answer(challenged, nc=1)
        assert phone.call("REGISTER", used).status == 200
        fresh = phone.answer(challenged, nc=2)

        service.kill("disc1")
        lost = replies_until(phone, 200, service.children, fresh)
        assert set(lost) <= {500}

        # A replay, which the other DISC has not seen itself.
        for _ in range(service.children + 1):
            if (again := phone.call("REGISTER", used)).status != 500:
                break
        assert again.status == 401
        assert "stale=true" in (again.header("WWW-Authenticate") or "")


def test_when_both_are_killed_nobody_is_let_in_until_one_is_back(service):
    with service.phone(**ALICE) as phone:
        challenged = phone.call()
        credentials = phone.answer(challenged)
        service.kill("disc2")
        service.discs["disc1"].kill()
        statuses = [phone.call("REGISTER", credentials).status for _ in range(2 * service.children)]
        assert set(statuses) == {500}
        service.discs["disc1"].start()
        assert set(replies_until(phone, 200, 2 * service.children, credentials)) <= {500}
