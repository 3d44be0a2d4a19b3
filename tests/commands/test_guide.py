"""docs/from-auth-db.md: each command in it is run here, against tables that Kamailio's own script made."""

from __future__ import annotations

import re

import pytest
from kit.places import ROOT
from kit.process import Server, run_ours
from kit.stores import fresh
from kit.uac import Uac

from auth_diameter.store.hashes import compute_ha1

GUIDE = (ROOT / "docs" / "from-auth-db.md").read_text()
SHOWN = "postgresql://127.0.0.1/kamailio"


@pytest.fixture
def database():
    """Alice, whose password was changed by a tool that knows no HA1, and bob."""
    with fresh("PostgreSQL") as found:
        former = compute_ha1("alice", "siphub.net", "former")
        found.insert("subscriber", username="alice", domain="siphub.net", password="secret", ha1=former)
        found.insert("subscriber", username="bob", domain="siphub.net", password="builder")
        found.insert("grp", username="alice", domain="siphub.net", grp="voicemail")
        found.run(
            "DO $$ BEGIN CREATE ROLE disc LOGIN PASSWORD 'hushhush';"
            " EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
        (grant,) = re.findall(r"^\| `(GRANT SELECT[^`]*)`", GUIDE, re.MULTILINE)
        found.run(grant)
        yield found


@pytest.fixture
def environment(database):
    url = f"postgresql://disc@127.0.0.1:{database.server.port}/{database.name}"
    return {"AUTH_DIAMETER_DB": url, "AUTH_DIAMETER_DB_PASSWORD": "hushhush"}


def outputs(command):
    """What the guide says that a command prints."""
    found = re.search(rf"^    \$ {re.escape(command)}\n((?:    [^$\n].*\n)*)", GUIDE, re.MULTILINE)
    assert found, command
    return [line[4:] for line in found[1].splitlines()]


def plain(text, database):
    return text.replace(f"postgresql://127.0.0.1:{database.server.port}/{database.name}", SHOWN)


def test_the_users_are_seen(database, environment):
    done = run_ours("user", "list", "siphub.net", env=environment)
    assert done.status == 0, done.err
    assert (done.out + done.err).splitlines() == outputs("auth-diameter user list siphub.net")


def test_disc_starts_and_takes_the_password_that_counts(database, environment):
    (expected,) = outputs("auth-diameter disc --calculate-ha1")
    with (
        Server("disc", "--calculate-ha1", env=environment) as disc,
        Server("serve", "--disc", disc.where) as serve,
        Uac(serve.address) as phone,
    ):
        assert plain(disc.line, database).replace(f":{disc.port},", ":3000,") == expected + "\n"
        assert phone.call("REGISTER", phone.answer(phone.call(), password="secret")).status == 200
        assert phone.call("REGISTER", phone.answer(phone.call(), password="former")).status == 403
        assert "hushhush" not in disc.output()


def test_the_options_of_the_guide_are_those_of_disc_and_serve():
    options = set(re.findall(r"`(--[a-z-]+)", GUIDE))
    assert len(options) > 5
    for command in ("disc", "serve"):
        text = run_ours(command, "--help").out
        assert not {option for option in options if option not in text} - {"--db"}
