"""Guesses at passwords against a whole service: `guessing.py` with smaller numbers; who must not notice."""

from __future__ import annotations

import itertools
import secrets

import guessing
import pytest
from guessing import (
    PASSWORD,
    REALM,
    answered,
    challenge_for,
    request,
    requests,
    running,
    send_all,
    telephones,
    users,
    wrong_of,
)
from kit.process import Server

import auth_diameter as ad
from auth_diameter.decision import Cause
from auth_diameter.lab.uac import authorization
from auth_diameter.store.sqlite import SqliteStore


@pytest.fixture
def db(tmp_path):
    return users(tmp_path / "users.sqlite", "alice", *(f"new{n}" for n in range(60)))


@pytest.fixture
def service(db):
    with SqliteStore.open(db) as store:
        yield guessing.Service(store)


# ------------------------------------------------------------------ who guesses


def test_one_account_from_one_source_is_guessed_at_some_seventy_times_an_hour(service):
    """Five, then one after each of 1, 2, 4 … 60 seconds; by way of four SIP servers all the same."""
    assert guessing.guess_for(service, 600.0, [("alice", "192.0.2.1")]) <= guessing.allowed(600.0)


def test_each_source_adds_its_own(service):
    sources = [("alice", f"192.0.2.{n}") for n in range(10)]
    assert guessing.guess_for(service, 120.0, sources, 1.0) <= 10 * guessing.allowed(120.0)


def test_many_accounts_from_one_source_are_75_and_then_one_at_a_time(service):
    pairs = [(f"user{n}", "192.0.2.1") for n in range(1000)]
    service.now = 0.0
    for user, source in pairs:
        service.attempt(user, source)
    assert service.judged == 75


@pytest.mark.parametrize("workers", [1, 4])
def test_a_burst_of_guesses_by_way_of_any_number_of_workers_is_five(db, workers):
    judged, seconds = guessing.burst(db, 1000, workers)
    assert 5 <= judged <= guessing.allowed(seconds)


def test_of_names_sprayed_at_once_the_right_one_at_the_end_is_not_let_in(db):
    judged, right = guessing.spray(db, 1000)
    assert judged <= 75 + 3
    assert not right


# ------------------------------------------------------------------ who does not


def test_a_trunk_that_begins_with_400_calls_at_once_gets_all_of_them_through(db):
    assert guessing.trunk(db, 400) == {200: 400}


def test_the_owner_is_let_in_from_elsewhere_meanwhile(service):
    guessing.guess_for(service, 30.0, [("alice", "192.0.2.1")])
    assert service.attempt("alice", "192.0.2.1", PASSWORD) is Cause.PENALIZED
    assert service.attempt("alice", "198.51.100.1", PASSWORD) is Cause.AUTHORIZED


@pytest.mark.parametrize("old", [10, 60])
def test_an_office_with_old_passwords_keeps_no_other_telephone_out(service, old):
    refused, last = guessing.office(service, old, 20)
    assert refused == 0
    assert last < 1.0


def test_a_telephone_with_busy_lamps_after_a_restart_of_disc(db):
    """Eight subscriptions at once on the nonce of before: 407 with stale=true; and then a clean login."""
    with running(db) as (server, disc), telephones(server) as uacs:
        before = challenge_for(uacs[0], "alice")
        assert send_all(uacs, requests(before, "alice", PASSWORD, 1)) == {200: 1}
        disc.stop()
        with Server("disc", "--db", db, listen=disc.where) as again:
            challenge_for(uacs[0], "alice")  # it is back
            for first in (2, 10):
                refreshes = requests(before, "alice", PASSWORD, 8, "SUBSCRIBE", first)
                assert send_all(uacs, refreshes) == {407: 8}
            challenge = challenge_for(uacs[0], "alice")
            assert send_all(uacs, requests(challenge, "alice", PASSWORD, 1)) == {200: 1}
            counts = answered(again)
    assert counts["FOREIGN_NONCE"] == 16
    assert wrong_of(counts) == 0


def test_a_storm_of_registrations_behind_one_address_after_a_restart(db):
    """Sixty telephones, each with a REGISTER and a SUBSCRIBE on the nonce of before, and then a login."""
    names = [f"new{n}" for n in range(60)]
    old = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{secrets.token_hex(28)}", qop="auth"')
    with running(db) as (server, disc), telephones(server, 60) as uacs:
        stale = [
            requests(old, name, PASSWORD, 1, method)[0]
            for name in names
            for method in ("REGISTER", "SUBSCRIBE")
        ]
        assert send_all(uacs, stale) == {401: 60, 407: 60}
        challenge = challenge_for(uacs[0], "alice")
        logins = [requests(challenge, name, PASSWORD, 1)[0] for name in names]
        # One nonce for all: its count is the same for each, and used by the first.
        logins = [
            request(
                name,
                ("Authorization", authorization(challenge, name, PASSWORD, "REGISTER", f"sip:{REALM}", nc=n)),
            )
            for n, name in enumerate(names, 1)
        ]
        assert send_all(uacs, logins) == {200: 60}
        assert answered(disc)["PENALIZED"] == 0


def test_two_disc_without_a_common_key_lock_nobody_out(db):
    """Their nonces are stale at each other; the passwords are right."""
    with (
        Server("disc", "--db", db) as one,
        Server("disc", "--db", db) as two,
        Server("serve", "--disc", f"{one.where},{two.where}") as server,
        telephones(server) as uacs,
    ):
        statuses = set()
        for _ in range(30):
            challenge = challenge_for(uacs[0], "alice")
            statuses |= set(send_all(uacs, requests(challenge, "alice", PASSWORD, 1)))
        assert statuses <= {200, 401}
        assert answered(one)["PENALIZED"] == answered(two)["PENALIZED"] == 0


def test_a_telephone_that_writes_its_outbound_proxy_into_the_digest_uri(db):
    """403 by --uri-policy host, but no guess: its password is right."""
    with running(db) as (server, disc), telephones(server) as uacs:
        challenge = challenge_for(uacs[0], "alice")
        for nc in range(1, 8):
            value = authorization(challenge, "alice", PASSWORD, "REGISTER", "sip:sbc.carrier.example", nc=nc)
            assert send_all(uacs, [request("alice", ("Authorization", value))]) == {403: 1}
        assert send_all(uacs, requests(challenge, "alice", PASSWORD, 1, first=8)) == {200: 1}
        assert answered(disc)["OTHER_URI"] == 7


def test_the_one_attempt_after_a_penalty_may_be_on_a_stale_nonce(service):
    """The telephone has corrected its password, and its nonce is of before a restart."""
    for _ in range(5):
        service.attempt("alice", "192.0.2.1")
    service.now += 1.0
    for _ in itertools.repeat(None, 3):
        service._credentials.clear()
        nonces, key = service.disc._driver.verifier.nonces, secrets.token_bytes(32)
        nonces.use(secrets.token_bytes(32))
        value = service._value("alice", PASSWORD)
        nonces.use(key)
        service._value = lambda *_, value=value: value
        assert service.attempt("alice", "192.0.2.1", PASSWORD) is Cause.CHALLENGED
        del service._value
    assert service.attempt("alice", "192.0.2.1", PASSWORD) is Cause.AUTHORIZED
