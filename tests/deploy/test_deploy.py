"""deploy/: what can be known of it without an engine; tests/peers/test_deploy.py runs it as processes."""

import ipaddress
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
from kit.compose import ACCOUNT, DEPLOY, Compose
from kit.machine import unused_udp_port
from kit.places import ROOT
from kit.process import run_command
from kit.uas import EasySipServer

import auth_diameter as ad
from auth_diameter.cli import main as cli

COMPOSE = Compose()
SERVICES = sorted(COMPOSE.services)
OURS = [name for name in SERVICES if COMPOSE.services[name]["image"] == "auth-diameter-disc"]
DISCS = ["disc1", "disc2"]
EACH = pytest.mark.parametrize("name", SERVICES)


def is_one_shot(service):
    return service["restart"] == "no"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """A folder in which deploy/make-secrets was run."""
    folder = tmp_path_factory.mktemp("deploy")
    done = run_command(DEPLOY / "make-secrets", folder)
    assert done == (0, "", "")
    return folder


# --- every service -----------------------------------------------------------------------------------------


@EACH
def test_each_service_is_confined(name):
    service = COMPOSE.services[name]
    user, group = service["user"].split(":")
    assert 0 not in (int(user), int(group))
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & service.keys()
    limits = service["deploy"]["resources"]["limits"]
    assert float(limits["cpus"]) > 0
    assert re.fullmatch(r"\d+[MG]", limits["memory"])
    assert limits["pids"] > 0
    assert service["logging"]["options"]["max-size"]


@EACH
def test_each_service_that_stays_has_a_health_check_and_comes_back(name):
    service = COMPOSE.services[name]
    if is_one_shot(service):
        assert "healthcheck" not in service
    else:
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert service["restart"] == "unless-stopped"


@EACH
def test_what_a_service_names_is_there(name):
    service, whole = COMPOSE.services[name], COMPOSE.whole
    assert COMPOSE.networks(name) <= whole["networks"].keys()
    assert set(service.get("secrets", ())) <= whole["secrets"].keys()
    assert {each["source"] for each in service.get("configs", ())} <= whole["configs"].keys()
    assert {each.partition(":")[0] for each in service.get("volumes", ())} <= whole["volumes"].keys()
    for other, how in service.get("depends_on", {}).items():
        healthy = "healthcheck" in COMPOSE.services[other]
        assert how["condition"] != "service_healthy" or healthy
        assert (how["condition"] == "service_completed_successfully") == is_one_shot(COMPOSE.services[other])


def test_nothing_is_declared_in_vain():
    for kind in ("networks", "secrets", "configs", "volumes"):
        used = json.dumps([service.get(kind, ()) for service in COMPOSE.services.values()])
        assert all(f'"{name}' in used for name in COMPOSE.whole[kind]), kind


def test_every_file_that_is_named_is_there():
    for config in COMPOSE.whole["configs"].values():
        assert (DEPLOY / config["file"]).is_file()
    for name in SERVICES:
        if build := COMPOSE.services[name].get("build"):
            context = DEPLOY / build["context"]
            assert context.resolve() == ROOT
            dockerfile = (context / build["dockerfile"]).read_text(encoding="utf-8")
            assert f" AS {build['target']}\n" in dockerfile


def test_the_build_gets_what_it_needs_and_no_secret():
    """All else is left out: a context with secrets/ would have them in a layer of an image."""
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line for line in lines if line and not line.startswith("#")]
    taken = {pattern.removeprefix("!") for pattern in patterns[1:]}
    assert patterns[0] == "*"
    assert all(pattern.startswith("!") for pattern in patterns[1:])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert taken == {
        "pyproject.toml", "CMakeLists.txt", "src", project["readme"], *project["license-files"],
    }  # fmt: skip
    assert all((ROOT / name).exists() for name in taken)


def test_images_have_a_version():
    for name in SERVICES:
        service = COMPOSE.services[name]
        assert "build" in service or re.search(r":\d+-\w+$", service["image"])
    bases = re.findall(r"^FROM (\S+) AS", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    assert bases
    assert all(re.search(r":\S*(bookworm|\d)", base) for base in bases)


# --- secrets -----------------------------------------------------------------------------------------------


def test_the_secrets_of_the_file_are_those_that_are_made(secrets):
    named = {secret["file"] for secret in COMPOSE.whole["secrets"].values()}
    assert named == {str(path.relative_to(secrets)) for path in (secrets / "secrets").iterdir()}


def test_secrets_are_secret_and_different(secrets):
    made = list((secrets / "secrets").iterdir())
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in made)
    assert (secrets / "secrets").stat().st_mode & 0o077 == 0
    texts = [path.read_text() for path in made]
    assert len(set(texts)) == len(texts)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{32,}=*", text) for text in texts)


def test_the_account_is_the_owner_of_the_secrets_and_not_root(secrets):
    variables = dict(line.split("=") for line in (secrets / ".env").read_text().splitlines())
    service = Compose(variables).services["disc1"]
    owners = {f"{path.stat().st_uid}:{path.stat().st_gid}" for path in (secrets / "secrets").iterdir()}
    assert owners == {service["user"]}
    assert not service["user"].startswith("0:")


def test_secrets_that_are_there_stay(secrets):
    before = {path: path.read_bytes() for path in (secrets / "secrets").iterdir()}
    assert run_command(DEPLOY / "make-secrets", secrets).status == 0
    assert before == {path: path.read_bytes() for path in (secrets / "secrets").iterdir()}


def test_git_leaves_the_secrets_out():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/deploy/secrets/" in ignored
    assert "/deploy/.env" in ignored


def test_without_its_account_nothing_starts():
    with pytest.raises(KeyError, match="OWNER: run deploy/make-secrets first"):
        Compose({})


def test_no_password_is_in_the_file():
    for name in SERVICES:
        service = COMPOSE.services[name]
        for word in (*service.get("command", ()), *service.get("environment", {}).values()):
            assert urlsplit(str(word).partition("=")[2]).password is None
        for key in service.get("environment", {}):
            assert "PASSWORD" not in key or key.endswith("_FILE")
        # What is read from a file is a secret that this service has.
        words = json.dumps([service.get("command"), service.get("environment")])
        for secret in re.findall(r"/run/secrets/(\w+)", words):
            assert secret in service["secrets"]


# --- commands ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_our_commands_take_these_options(name, secrets, monkeypatch):
    """They are parsed to the end, with each value checked; the files are those of make-secrets."""
    for variable, value in COMPOSE.services[name].get("environment", {}).items():
        monkeypatch.setenv(variable, value)
    words = COMPOSE.command(name, {"/run/secrets": secrets / "secrets"})
    command, context = cli, None
    while isinstance(command, click.Group):
        word, *words = words
        context = click.Context(command, parent=context, info_name=word)
        command = command.get_command(context, word)
        assert command is not None, word
    made = command.make_context(word, words, parent=context)
    if "db" in made.params:
        assert made.params["db"].password == (secrets / "secrets" / f"{account(name)}_password").read_text()


def account(name):
    """The secret with the password of the account as which a service uses the database."""
    user = urlsplit(database_of(name)).username
    return "postgresql" if user == "postgres" else user


def database_of(name):
    environment = COMPOSE.services[name].get("environment", {})
    return environment.get("AUTH_DIAMETER_DB") or COMPOSE.option(name, "--db=")


def test_the_health_check_of_disc_is_our_command():
    """`check` with a request that it can read; the rest of the line looks for the status in its output."""
    how, line = COMPOSE.services["disc1"]["healthcheck"]["test"]
    assert how == "CMD-SHELL"
    ours, _, found = line.partition("|")
    program, command, *words = ours.split()
    (probe,) = COMPOSE.services["disc1"]["configs"]
    file = DEPLOY / COMPOSE.whole["configs"][probe["source"]]["file"]
    assert (program, command, words[0]) == ("auth-diameter", "check", probe["target"])
    made = cli.get_command(click.Context(cli), "check").make_context("check", [str(file), *words[1:]])
    assert made.params["disc_hosts"] == f"127.0.0.1:{COMPOSE.option('disc1', '--listen=').split(':')[1]}"
    assert made.params["realm"] == COMPOSE.option("kamailio", "-AREALM=").strip('"')
    assert "127.0.0.1" in COMPOSE.options("disc1", "--allow=")
    pattern = re.search(r'"(.*)"', found)[1]
    for status, healthy in ((401, True), (403, True), (500, False), (503, False)):
        assert bool(re.search(pattern, f"SIP/2.0 {status} Reason")) is healthy


@pytest.fixture(scope="module")
def kamailio():
    found = shutil.which("kamailio", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if found is None:
        pytest.skip("kamailio is not installed; it is in the Debian package kamailio")
    return found


def test_kamailio_takes_its_configuration(kamailio, tmp_path):
    """As the service starts it, but for its folders."""
    words = COMPOSE.command("kamailio", {
        "/etc/kamailio/auth-diameter.cfg": DEPLOY / "kamailio.cfg",
        "/run/kamailio": tmp_path,
        "0.0.0.0": "127.0.0.1",
    })  # fmt: skip
    done = run_command(kamailio, "-c", *words[1:])
    assert done.status == 0, done.err
    assert COMPOSE.option("kamailio", "-AREALM=").strip('"') in done.out + done.err  # its alias


@pytest.mark.parametrize("broken", ["-AREALM=", "-ADISC_PORT="])
def test_kamailio_uses_what_it_is_given(kamailio, broken):
    words = [
        f"{broken}no(such;value" if word.startswith(broken) else word for word in COMPOSE.command("kamailio")
    ]
    options = [word for word in words if word.startswith("-A")]
    done = run_command(kamailio, "-c", "-f", DEPLOY / "kamailio.cfg", *options)
    assert done.status != 0


def test_the_health_check_of_kamailio_asks_for_a_reply(tmp_path):
    how, shell, script, host, port = COMPOSE.services["kamailio"]["healthcheck"]["test"]
    assert (how, shell) == ("CMD", "bash")
    assert COMPOSE.option("kamailio", "-ludp:").split(":")[1] == port
    (config,) = [each for each in COMPOSE.services["kamailio"]["configs"] if each["target"] == script]
    file = DEPLOY / COMPOSE.whole["configs"][config["source"]]["file"]
    with EasySipServer() as server:
        assert run_command("bash", file, host, server.port) == (0, "", "")
    (request,) = server.seen
    assert ad.SipRequest(request).method == "OPTIONS"
    assert run_command("bash", file, host, unused_udp_port()).status != 0


# --- who reaches whom --------------------------------------------------------------------------------------


def reaches(name, host):
    """Whether a name is known to a service."""
    return any(host in COMPOSE.names(network) for network in COMPOSE.networks(name))


@pytest.mark.parametrize("name", OURS)
def test_the_database_is_a_service_within_reach(name):
    url = urlsplit(database_of(name))
    postgresql = COMPOSE.services["postgresql"]
    assert url.hostname == "postgresql"
    assert reaches(name, url.hostname)
    assert url.path == f"/{postgresql['environment']['POSTGRES_DB']}"
    roles = (DEPLOY / "roles.sh").read_text(encoding="utf-8")
    assert url.username == "postgres" or f"CREATE ROLE {url.username} " in roles


def test_data_of_postgresql_are_on_its_volume():
    postgresql = COMPOSE.services["postgresql"]
    (volume,) = postgresql["volumes"]
    assert Path(postgresql["environment"]["PGDATA"]).is_relative_to(volume.split(":")[1])


@pytest.mark.parametrize("name", DISCS)
def test_disc_reaches_its_state_and_kamailio_reaches_disc(name):
    state = urlsplit(COMPOSE.option(name, "--state="))
    assert state.hostname == "valkey"
    assert reaches(name, state.hostname)
    assert COMPOSE.services[name]["networks"]["disc"]["aliases"] == [
        COMPOSE.option("kamailio", "-ADISC_HOST=").strip('"')
    ]
    assert "disc" in COMPOSE.networks("kamailio")
    assert COMPOSE.option(name, "--listen=") == f"0.0.0.0:{COMPOSE.option('kamailio', '-ADISC_PORT=')}"


def test_both_disc_are_the_same():
    """With one key for nonces, each takes the other's challenges."""
    first, second = (COMPOSE.services[name] for name in DISCS)
    assert first == second
    assert COMPOSE.option("disc1", "--nonce-key=")


def test_disc_takes_connections_of_its_network_alone():
    allowed = [ipaddress.ip_network(each) for each in COMPOSE.options("disc1", "--allow=")]
    (subnet,) = COMPOSE.whole["networks"]["disc"]["ipam"]["config"]
    assert allowed == [ipaddress.ip_network(subnet["subnet"]), ipaddress.ip_network("127.0.0.1")]
    other = Compose({"OWNER": ACCOUNT, "DISC_NETWORK": "10.9.8.0/24"})
    assert "--allow=10.9.8.0/24" in other.command("disc1")
    assert other.whole["networks"]["disc"]["ipam"]["config"] == [{"subnet": "10.9.8.0/24"}]


def test_only_kamailio_is_reached_from_outside():
    """All other networks are internal: the dialect, the database and the state have no encryption there."""
    assert [name for name in SERVICES if "ports" in COMPOSE.services[name]] == ["kamailio"]
    outside = {name for name, network in COMPOSE.whole["networks"].items() if not network.get("internal")}
    assert outside == {"sip"}
    assert COMPOSE.names("sip") == {"kamailio"}
    assert COMPOSE.names("store") == {"postgresql", *OURS}
    assert COMPOSE.names("state") == {"valkey", *DISCS}
    assert COMPOSE.names("disc") == {"kamailio", "disc", *DISCS}


def test_the_published_port_is_that_of_kamailio():
    (published,) = COMPOSE.services["kamailio"]["ports"]
    address, outside, inside = published.removesuffix("/udp").rsplit(":", 2)
    assert address == "127.0.0.1"
    assert published.endswith("/udp")
    assert outside == inside == COMPOSE.option("kamailio", "-ludp:").split(":")[1]


# --- the real program, where there is one ------------------------------------------------------------------


def test_docker_compose_takes_the_file(secrets):
    docker = shutil.which("docker")
    if docker is None or run_command(docker, "compose", "version").status != 0:
        pytest.skip("there is no docker compose here")
    done = subprocess.run(
        [
            docker,
            "compose",
            "--file",
            DEPLOY / "compose.yaml",
            "--profile",
            "manage",
            "config",
            "--format",
            "json",
        ],
        env={**os.environ, "OWNER": ACCOUNT},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["services"].keys() == COMPOSE.services.keys()


def test_readme_names_every_file():
    text = (DEPLOY / "README.md").read_text(encoding="utf-8")
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
        cwd=DEPLOY, capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    for name in files or [path.name for path in DEPLOY.iterdir() if path.is_file()]:
        assert name == "README.md" or f"`{name}`" in text, name
