"""DISC's log: a line for whom it refuses, none for whom it challenges; and of which sources it is sure."""

import logging

import pytest
from kit.asker import REALM, Asker

from auth_diameter import refusals
from auth_diameter.lab.uac import authorization
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.outcome import Outcome

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
URI = f"sip:{REALM}"


@pytest.fixture
def make(caplog, monkeypatch):
    """A DISC that knows alice, with settings, and a telephone at HERE; each refusal has a line."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(refusals, "_EVERY", 0.0)
    with Accounts.open(":memory:", writable=True) as store:
        store.add_user("alice", REALM, "wonderland")

        def start(**settings):
            asker = Asker(SqliteStore(store.database), **settings)
            asker.source = HERE
            return asker

        yield start


def lines(caplog):
    return [message for message in caplog.messages if message.startswith("refused")]


def line(cause, user=f"'alice@{REALM}'", source=HERE, proven="no"):
    return f"refused user={user} source={source} cause={cause} proven={proven}"


def respond(disc, password="wrong", user="alice", **more):
    challenge = more.pop("challenge", None) or disc.challenges()["MD5"]
    return disc.ask(authorization(challenge, user, password, "REGISTER", URI, **more))


def change(disc, old, new):
    """An answer with a right digest, and this in place of that."""
    value = authorization(disc.challenges()["MD5"], "alice", "wonderland", "REGISTER", URI)
    assert old in value
    return disc.ask(value.replace(old, new))


@pytest.mark.parametrize("bound", [False, True])
def test_a_wrong_digest_and_an_unknown_name(make, caplog, bound):
    """A nonce that was bound to the source proves that somebody is there."""
    disc = make(bind_source=bound)
    respond(disc)
    respond(disc, user="mallory")
    proven = "yes" if bound else "no"
    assert lines(caplog) == [
        line("WRONG_DIGEST", proven=proven),
        line("UNKNOWN_USER", f"'mallory@{REALM}'", proven=proven),
    ]


def test_who_is_held_back(make, caplog):
    disc = make(bind_source=True)
    for _ in range(6):
        respond(disc)
    assert lines(caplog)[5] == line("PENALIZED", proven="yes")


def test_with_rechallenge_a_wrong_digest_is_refused_all_the_same(make, caplog):
    respond(make(rechallenge=True))
    assert lines(caplog) == [line("WRONG_DIGEST")]


@pytest.mark.parametrize(
    ("old", "new", "cause"),
    [
        ("algorithm=MD5", "algorithm=SHA-256", "MALFORMED_RESPONSE"),
        ("algorithm=MD5", "algorithm=MD5-sess", "ALGORITHM_NOT_OFFERED"),
        ("qop=auth", "qop=auth-int", "QOP_NOT_OFFERED"),
        (f'realm="{REALM}"', 'realm="nowhere.example"', "REALM_NOT_SERVED"),
        (", cnonce=", ", cnonce=x, cnonce=", "MALFORMED_CREDENTIALS"),
    ],
)
def test_what_is_refused_before_the_nonce_is_looked_at_is_never_proven(make, caplog, old, new, cause):
    disc = make(bind_source=True)
    change(disc, old, new)
    [found] = lines(caplog)
    assert f"cause={cause} proven=no" in found


def test_a_right_digest_for_another_uri_or_a_count_of_0(make, caplog):
    disc = make()
    disc.ask(authorization(disc.challenges()["MD5"], "alice", "wonderland", "REGISTER", "sip:else.example"))
    respond(disc, "wonderland", nc=0)
    assert lines(caplog) == [line("OTHER_URI"), line("COUNT_ZERO")]


def test_a_nonce_of_somebody_else_has_nobody_banned(make, caplog):
    """Who knows a nonce that was given to him can send it on, in the name of any source."""
    disc = make(bind_source=True)
    challenge = disc.challenges()["MD5"]
    disc.source = ELSEWHERE
    respond(disc, challenge=challenge)
    assert disc.counts[Outcome.FOREIGN_NONCE] == 1
    assert lines(caplog) == []


def test_without_a_source_nothing_is_proven(make, caplog):
    """Kamailio's C module tells none."""
    disc = make(bind_source=True)
    disc.source = ""
    respond(disc)
    assert lines(caplog) == [line("WRONG_DIGEST", source="-")]


def test_challenges_logins_and_stale_nonces_have_no_line(make, caplog):
    disc = make()
    challenge = disc.challenges()["MD5"]
    for _ in range(2):  # the second one is a replay
        respond(disc, "wonderland", challenge=challenge)
    disc.now += 1000
    respond(disc, "wonderland", challenge=challenge)
    assert disc.counts[Outcome.AUTHORIZED] == disc.counts[Outcome.REPLAYED] == disc.counts[Outcome.STALE] == 1
    assert lines(caplog) == []


def test_a_flood_of_guesses_is_a_few_lines(make, caplog, monkeypatch):
    monkeypatch.setattr(refusals, "_EVERY", 1000.0)
    disc = make()
    for number in range(500):
        disc.source = f"10.0.{number >> 8}.{number & 255}"
        respond(disc)
    assert len(lines(caplog)) == 10
