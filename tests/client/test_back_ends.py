"""The same settings and the same requests have the same decisions, whether DISC is asked or not.

Each test plays both back ends, by each way into a client (`kit.doors`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.doors import BACK_ENDS, DOORS
from kit.machine import PATIENCE
from kit.phone import ALICE, HERE, THERE, Phone, is_stale
from kit.sip import DOMAIN, PASSWORD
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter.lab.uac import parse_reply
from auth_diameter.store.accounts import Accounts

SHA = ("SHA-256", "MD5")

Open = Callable[..., Phone]


# The other ways to DISC have tests of their own.
WAYS = [
    (back_end, door) for back_end in BACK_ENDS for door in DOORS if back_end == "local" or "-" not in door
]


@pytest.fixture(params=WAYS, ids="-".join)
def open_door(request, db) -> Iterator[Open]:
    """Opens the way into a client with these settings; a test calls it once."""
    back_end, door = request.param
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Phone:
            config = stack.enter_context(BACK_ENDS[back_end](db, **settings))
            return Phone(stack.enter_context(DOORS[door](config)))

        yield start


# ------------------------------------------------------------------ challenges and credentials


def test_a_request_without_credentials_is_challenged(open_door: Open) -> None:
    """RFC 3261, 22.2 and 22.3: 401 by a UAS, 407 by a proxy."""
    phone = open_door()
    for method, status in (("REGISTER", 401), ("INVITE", 407)):
        (challenge,) = phone.challenges(method)
        assert (challenge.realm, challenge.algorithm, challenge.qop) == (DOMAIN, "MD5", ("auth",))
        assert not challenge.stale
        assert phone.send(method=method).status == status


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_right_credentials_are_let_in(open_door: Open, method: str) -> None:
    """The same nonce serves again with the next count (RFC 7616, 3.4)."""
    phone = open_door()
    challenge = phone.challenge(method)
    for nc in (1, 2, 5, 3):
        decision = phone.answer(challenge, method, nc=nc)
        assert decision.authorized
        assert (decision.username, decision.realm) == ("alice", DOMAIN)
        assert decision.reply is None


def test_credentials_as_of_rfc_2069(open_door: Open) -> None:
    """Without qop a nonce serves once."""
    phone = open_door()
    challenge = phone.challenge()
    assert phone.answer(challenge, qop=None)
    assert is_stale(phone.answer(challenge, qop=None))


def test_a_replay_is_refused_and_a_retransmission_is_not(open_door: Open) -> None:
    """A count that was used says stale; the same request from the same source is the one that was let in."""
    phone = open_door()
    header = ALICE.answer(phone.challenge())
    data = ALICE.request("REGISTER", header)
    assert phone.resend(data)
    assert phone.resend(data)
    phone.source = THERE
    assert is_stale(phone.resend(data))
    phone.source = HERE
    assert is_stale(phone.send(header))


@pytest.mark.parametrize("changes", [{"password": "wrong"}, {"username": "nobody"}])
def test_wrong_credentials_are_forbidden(open_door: Open, changes: dict[str, str]) -> None:
    """An unknown user gets the answer of a wrong password."""
    phone = open_door()
    decision = phone.answer(phone.challenge(), **changes)
    assert (decision.status, decision.cause) == (403, Cause.FORBIDDEN)


def test_a_realm_that_nobody_serves(open_door: Open) -> None:
    phone = open_door()
    decision = phone.door.authorize(ALICE.request(), "elsewhere.example")
    assert (decision.status, decision.cause) == (403, Cause.REALM_NOT_SERVED)


def test_a_nonce_of_somebody_else_is_stale_if_the_digest_is_right(open_door: Open) -> None:
    phone = open_door()
    challenge = ad.Challenge.parse(f'Digest realm="{DOMAIN}", nonce="5f3c9a1d", qop="auth", algorithm=MD5')
    assert is_stale(phone.answer(challenge))
    assert phone.answer(challenge, password="wrong").cause is Cause.FORBIDDEN


def test_credentials_that_cannot_be_read(open_door: Open) -> None:
    """A response that is no digest: RFC 7616, 3.4."""
    phone = open_door()
    name, value = ALICE.answer(phone.challenge())
    decision = phone.send((name, value.replace('response="', 'response="x')))
    assert (decision.status, decision.cause) == (400, Cause.MALFORMED_RESPONSE)


def test_ack_and_cancel_are_never_challenged(open_door: Open) -> None:
    phone = open_door()
    assert phone.send(method="ACK").cause is phone.send(method="CANCEL").cause is Cause.BYPASSED


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize("algorithms", [SHA, ("SHA-512-256",), ("SHA-256-sess", "MD5-sess", "MD5")])
def test_each_algorithm_that_is_offered_lets_in(open_door: Open, algorithms: tuple[str, ...]) -> None:
    """RFC 8760, 2.3: a challenge for each, the preferred one first."""
    phone = open_door(algorithms=algorithms)
    found = phone.challenges()
    assert tuple(challenge.algorithm for challenge in found) == algorithms
    for challenge in found:
        assert phone.answer(challenge)


def test_an_algorithm_that_is_not_offered_is_refused(open_door: Open) -> None:
    phone = open_door(algorithms=SHA)
    challenge = ad.Challenge.parse(
        f'Digest realm="{DOMAIN}", nonce="5f3c9a1d", qop="auth", algorithm=MD5-sess'
    )
    assert phone.answer(challenge).status == 403


def test_auth_int_covers_the_body(open_door: Open) -> None:
    """RFC 7616, 3.4.3."""
    phone = open_door(qop=("auth-int",))
    challenge = phone.challenge()
    assert challenge.qop == ("auth-int",)
    assert phone.answer(challenge, qop="auth-int", body=b"v=0")
    assert phone.answer(challenge, qop="auth-int", nc=2, body=b"v=0", sent_body=b"v=1").status == 403


def test_auth_int_binds_to_the_source_and_counts_guesses_by_it(open_door: Open) -> None:
    """As with auth, though its requests take another way here: Python hashes the body."""
    phone = open_door(qop=("auth-int",), bind_source=True)
    challenge = phone.challenge()
    for nc in range(1, 6):
        assert phone.answer(challenge, qop="auth-int", nc=nc, password="wrong").cause is Cause.FORBIDDEN
    assert phone.answer(challenge, qop="auth-int", nc=6).cause is Cause.PENALIZED
    phone.source = THERE
    assert is_stale(phone.answer(challenge, qop="auth-int", nc=7))
    assert phone.logs_in(qop="auth-int")


def test_who_has_md5_alone_is_offered_nothing_else(open_door: Open, db: Path) -> None:
    """A challenge is for the user in From or To (RFC 8760, 2.3): others are offered what they have."""
    with Accounts.open(str(db), writable=True) as accounts:
        accounts.add_user("bob", DOMAIN, "builder")
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("UPDATE subscriber SET ha1_sha256 = '' WHERE username = 'bob'")
    phone = open_door(algorithms=SHA)
    for name, expected in (("alice", list(SHA)), ("bob", ["MD5"])):
        for method in ("REGISTER", "INVITE"):
            decision = phone.resend(Account(name).request(method), proxy=method == "INVITE")
            assert decision.reply is not None
            offered = [challenge.algorithm for challenge in parse_reply(decision.reply).challenges()]
            assert offered == expected, (name, method)


def test_a_nonce_may_have_a_number_of_uses(open_door: Open) -> None:
    phone = open_door(nonce_uses=2)
    challenge = phone.challenge()
    assert [phone.answer(challenge, nc=nc).authorized for nc in (1, 2)] == [True, True]
    assert is_stale(phone.answer(challenge, nc=3))


def test_a_nonce_may_be_bound_to_its_source(open_door: Open) -> None:
    phone = open_door(bind_source=True)
    challenge = phone.challenge()
    assert phone.answer(challenge)
    phone.source = THERE
    assert is_stale(phone.answer(challenge, nc=2))


def test_a_hashed_username(open_door: Open) -> None:
    """RFC 7616, 3.4.4; a group check of "Credentials" then knows the name."""
    phone = open_door(userhash=True, algorithms=SHA)
    decision = phone.answer(phone.challenge(), userhash=True)
    assert decision.username == "alice"
    assert phone.door.is_user_in(phone.request, "Credentials", "voicemail")


def test_the_servers_own_proof(open_door: Open) -> None:
    """RFC 7616, 3.5: rspauth, and the next nonce once this one is used up."""
    phone = open_door(authentication_info=True, nonce_uses=1)
    decision = phone.answer(phone.challenge())
    assert decision.authorized
    ((name, value),) = decision.headers
    assert name == "Authentication-Info"
    assert "rspauth=" in value
    following = value.partition('nextnonce="')[2].partition('"')[0]
    assert phone.answer(
        ad.Challenge.parse(f'Digest realm="{DOMAIN}", nonce="{following}", qop="auth", algorithm=MD5')
    )


def test_the_servers_own_proof_alone(open_door: Open) -> None:
    """A nonce that is still good has no successor, but each reply has its rspauth."""
    phone = open_door(authentication_info=True)
    challenge = phone.challenge()
    for nc in (1, 2):
        decision = phone.answer(challenge, nc=nc)
        ((name, value),) = decision.headers
        assert name == "Authentication-Info"
        assert "rspauth=" in value
        assert "nextnonce" not in value


@pytest.mark.parametrize(("policy", "let_in"), [("off", True), ("host", False)])
def test_the_digest_uri(open_door: Open, policy: str, let_in: bool) -> None:
    """RFC 7616, 3.4.6: it names the resource that was asked for."""
    phone = open_door(uri_policy=policy)
    assert phone.logs_in(uri="sip:elsewhere.example") is let_in


@pytest.mark.parametrize(
    ("port", "named", "let_in"), [("", "", True), (":5070", ":5070", True), (":5070", "", False)]
)
def test_a_strict_digest_uri_has_the_port(open_door: Open, port: str, named: str, *, let_in: bool) -> None:
    """`uri_policy`: what was asked for, with its port, is what the digest is for."""
    phone = open_door(uri_policy="strict")
    header = ALICE.answer(phone.challenge(), uri=f"sip:{DOMAIN}{named}")
    assert phone.resend(ALICE.request("REGISTER", header, uri=f"sip:{DOMAIN}{port}")).authorized is let_in


def test_rechallenge(open_door: Open) -> None:
    """Wrong credentials get a challenge that is not stale, so many times; then 403."""
    phone = open_door(rechallenge=True, max_challenges=2, penalty=False)
    challenge = phone.challenge()
    found = [phone.answer(challenge, password="wrong") for _ in range(3)]
    assert [decision.status for decision in found] == [401, 401, 403]
    assert [decision.cause for decision in found[:2]] == [Cause.RECHALLENGED] * 2


def test_guesses_are_counted(open_door: Open) -> None:
    """After five wrong ones even right credentials are refused unseen, from that source alone."""
    phone = open_door()
    challenge = phone.challenge()
    for nc in range(1, 6):
        assert phone.answer(challenge, nc=nc, password="wrong").cause is Cause.FORBIDDEN
    assert phone.answer(challenge, nc=6).cause is Cause.PENALIZED
    phone.source = THERE
    assert phone.answer(challenge, nc=7)


def test_guesses_are_not_counted_with_no_penalty(open_door: Open) -> None:
    phone = open_door(penalty=False)
    challenge = phone.challenge()
    for nc in range(1, 10):
        assert phone.answer(challenge, nc=nc, password="wrong").cause is Cause.FORBIDDEN
    assert phone.answer(challenge, nc=10)


# ------------------------------------------------------------------ groups


def test_groups(open_door: Open) -> None:
    phone = open_door()
    request = ad.SipRequest(ALICE.request(), HERE)
    assert phone.door.is_user_in(request, "From", "voicemail").return_code == 1
    assert phone.door.is_user_in(request, "From", "directors").return_code == -1
    assert phone.door.is_user_in(request, "Credentials", "voicemail").return_code == -4
    assert phone.logs_in()
    assert phone.door.is_user_in(phone.request, "Credentials", "voicemail").return_code == 1


def test_groups_by_domain(open_door: Open, db: Path) -> None:
    phone = open_door(use_domain=True)
    for domain, code in ((DOMAIN, 1), ("elsewhere.example", -1)):
        request = ad.SipRequest(ALICE.request(account=f"alice@{domain}"))
        assert phone.door.is_user_in(request, "From", "voicemail").return_code == code


# ------------------------------------------------------------------ changes, and a store in trouble


def within_a_second(what: Callable[[], bool]) -> None:
    """With some room: what counts is a second of the clock, and this machine may be busy."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_new_password_counts_within_a_second(open_door: Open, db: Path) -> None:
    phone = open_door(penalty=False)
    assert phone.logs_in()
    with Accounts.open(str(db), writable=True) as accounts:
        accounts.add_user("alice", DOMAIN, "through the looking-glass", replace=True)
    within_a_second(lambda: not phone.logs_in())
    assert phone.logs_in(password="through the looking-glass")
    with Accounts.open(str(db), writable=True) as accounts:
        accounts.delete_user("alice", DOMAIN)
    within_a_second(lambda: not phone.logs_in(password="through the looking-glass"))


def test_a_store_that_cannot_be_read_lets_nobody_in(open_door: Open, db: Path) -> None:
    """500, and with `stale_for=0` nothing from before is believed; then all goes on."""
    phone = open_door(penalty=False, stale_for=0.0)
    challenge = phone.challenge()
    assert phone.answer(challenge)
    other = sqlite3.connect(db, isolation_level=None)
    with contextlib.closing(other):
        other.execute("ALTER TABLE subscriber RENAME TO away")
        within_a_second(lambda: phone.answer(challenge, nc=2).cause is Cause.DISC_REFUSED)
        assert phone.send().status == 500
        other.execute("ALTER TABLE away RENAME TO subscriber")
    within_a_second(phone.logs_in)


def test_users_at_hand_go_on_while_the_store_cannot_be_read(open_door: Open, db: Path) -> None:
    """With the default of `stale_for`; others get 500, and a wrong password lets nobody in."""
    with Accounts.open(str(db), writable=True) as accounts:
        accounts.add_user("bob", DOMAIN, "builder")
    phone = open_door(penalty=False)
    assert phone.logs_in()
    other = sqlite3.connect(db, isolation_level=None)
    with contextlib.closing(other):
        other.execute("ALTER TABLE subscriber RENAME TO away")
        bob = Account("bob", password="builder")
        challenge = phone.challenge()
        within_a_second(lambda: phone.resend(bob.request("REGISTER", bob.answer(challenge))).status == 500)
        assert phone.logs_in()
        assert not phone.logs_in(password="wrong")
        other.execute("ALTER TABLE away RENAME TO subscriber")
    within_a_second(phone.logs_in)


def test_what_goes_on_while_the_password_is_guessed(open_door: Open) -> None:
    """No decision and no reply tells a secret."""
    phone = open_door()
    decision = phone.answer(phone.challenge(), password="wrong")
    for text in (repr(decision), repr(phone.request)):
        assert PASSWORD not in text


def test_each_decision_is_counted_once(open_door: Open) -> None:
    """`counts`, by causes; the requests of others in the same call are left out here."""
    phone = open_door(qop=("auth", "auth-int"))
    challenge = phone.challenge()
    assert phone.answer(challenge)
    assert phone.answer(challenge, qop="auth-int", nc=2)
    assert not phone.answer(challenge, nc=3, password="wrong")
    assert phone.send(method="ACK")
    assert phone.door.is_user_in(phone.request, "From", "voicemail")
    counts = {cause: count for cause, count in phone.door.auth.counts.items() if count}
    counts.pop(Cause.MALFORMED_REQUEST, None)
    expected = [Cause.CHALLENGED, Cause.FORBIDDEN, Cause.BYPASSED, Cause.MEMBER]
    assert counts == {Cause.AUTHORIZED: 2, **dict.fromkeys(expected, 1)}
