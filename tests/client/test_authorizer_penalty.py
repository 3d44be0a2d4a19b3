"""The penalty for guessed passwords in the decisions of the Authorizer.

Who gets it, and for how long, is in _core/state/test_penalties.py.
"""

from __future__ import annotations

import pytest
from kit.authorizing import BOTH, authorize, with_credentials
from kit.disc import CHALLENGE_VALUE
from kit.sip import build_credentials, build_request
from kit.wire import (
    CHALLENGE,
    build_answer,
)

from auth_diameter import Avp, Config, Decision, SipRequest
from auth_diameter._core import decode_answer
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause

SOURCE = ("192.0.2.1", 5060)
FAILED_AVP = 279  # RFC 6733, 7.5


def attempt(authorizer, now, code=5003, source=SOURCE, proxy=False, credentials=True, **answer):
    """What becomes of a request with credentials, where DISC answers so if it is asked."""
    data = with_credentials(proxy) if credentials else build_request()
    request = SipRequest(data, source)
    outcome = authorize(request, proxy=proxy, authorizer=authorizer, now=now)
    if isinstance(outcome, Decision):
        return outcome
    return authorizer.conclude(outcome, decode_answer(build_answer(1, code, **answer)), now)


def test_where_disc_holds_the_source_back_the_cause_says_so():
    more = (Avp(FAILED_AVP, bytes([0, 0, 0, 31, 0, 0, 0, 8])),)
    decision = attempt(Authorizer(Config()), 0.0, service_type=b"6", more=more)
    assert (decision.status, decision.cause, decision.return_code) == (403, Cause.PENALIZED, -5)


def test_where_disc_refuses_something_else_the_cause_is_no_penalty():
    """Digest-URI, say: whoever reads the log shall look there and not for a guesser."""
    more = (Avp(FAILED_AVP, bytes([0, 0, 0, 109, 0, 0, 0, 8])),)
    decision = attempt(Authorizer(Config()), 0.0, service_type=b"6", more=more)
    assert (decision.status, decision.cause, decision.return_code) == (403, Cause.FORBIDDEN, -5)


def test_a_failed_avp_without_an_avp_in_it_changes_nothing():
    """Never fail open: what cannot be read is a guess."""
    authorizer = Authorizer(Config())
    for _ in range(5):
        attempt(authorizer, 0.0, service_type=b"6", more=(Avp(FAILED_AVP, b"\0\0\0"),))
    assert attempt(authorizer, 0.0, 2001).cause is Cause.PENALIZED


@BOTH
def test_after_wrong_credentials_disc_is_not_asked_any_more(proxy):
    """The reply is that to wrong credentials, to the last byte; only the cause says that it is not."""
    authorizer = Authorizer(Config())
    wrong = [attempt(authorizer, 0.0, service_type=b"6", proxy=proxy) for _ in range(5)]
    assert {decision.cause for decision in wrong} == {Cause.FORBIDDEN}
    penalized = attempt(authorizer, 0.0, 2001, service_type=b"6", proxy=proxy)
    assert penalized.cause is Cause.PENALIZED
    assert not penalized
    for name in ("return_code", "status", "reply", "username", "realm", "headers"):
        assert getattr(penalized, name) == getattr(wrong[0], name)


def test_right_credentials_are_let_in_again_after_the_penalty():
    authorizer = Authorizer(Config())
    for _ in range(5):
        attempt(authorizer, 10.0)
    assert attempt(authorizer, 10.9, 2001).cause is Cause.PENALIZED
    assert attempt(authorizer, 11.0, 2001)
    assert attempt(authorizer, 11.0, 2001)


def test_www_and_proxy_are_counted_together():
    """Or a guesser would have twice as many attempts."""
    authorizer = Authorizer(Config())
    for number in range(5):
        attempt(authorizer, 0.0, proxy=number % 2 == 0)
    assert attempt(authorizer, 0.0).cause is Cause.PENALIZED


@pytest.mark.parametrize(
    "how",
    [
        {"code": 4001, "challenge": CHALLENGE_VALUE + b", stale=true"},
        {
            "code": 4001,
            "challenge": CHALLENGE_VALUE,
            "more": (Avp(CHALLENGE, CHALLENGE_VALUE + b", stale=true"),),
        },
        {"code": 3004},
        {"code": 4001},
        {"credentials": False},
        {"source": None},
        {"more": (Avp(FAILED_AVP, bytes([0, 0, 0, 109, 0, 0, 0, 8])),)},
        {
            "code": 4001,
            "challenge": CHALLENGE_VALUE,
            "more": (Avp(FAILED_AVP, bytes([0, 0, 0, 109, 0, 0, 0, 8])),),
        },
        {"more": (Avp(FAILED_AVP, bytes([0, 0, 0, 31, 0, 0, 0, 8])),)},
    ],
    ids=[
        "stale",
        "one of several challenges is stale",
        "DISC fails",
        "no challenge in DISC's answer",
        "no credentials",
        "source unknown",
        "refused for its digest-uri",
        "challenged for its digest-uri",
        "held back by DISC",
    ],
)
def test_what_is_no_guess_is_not_counted(how):
    authorizer = Authorizer(Config())
    for _ in range(100):
        attempt(authorizer, 0.0, **how)
    assert attempt(authorizer, 0.0, 2001)


def test_challenged_credentials_are_guesses_after_all():
    """A DISC that rechallenges: a telephone with the right password has it at the second."""
    authorizer = Authorizer(Config())
    for _ in range(5):
        assert attempt(authorizer, 0.0, 4001, challenge=CHALLENGE_VALUE).status == 401
    assert attempt(authorizer, 0.0, 2001).cause is Cause.PENALIZED


def test_requests_without_credentials_are_challenged_in_a_penalty_as_ever():
    authorizer = Authorizer(Config())
    for _ in range(5):
        attempt(authorizer, 0.0)
    assert attempt(authorizer, 0.0, 4001, credentials=False, challenge=CHALLENGE_VALUE).status == 401


ELSEWHERE = ("192.0.2.2", 5060)  # as long as the other: no length tells them apart


def attempt_of(username, authorizer, code, now=0.0, source=SOURCE):
    """What becomes of a request with credentials of that user, where DISC answers so if it is asked."""
    request = SipRequest(with_credentials(value=build_credentials(username)), source)
    outcome = authorize(request, authorizer=authorizer, now=now)
    if isinstance(outcome, Decision):
        return outcome.cause
    return authorizer.conclude(outcome, decode_answer(build_answer(1, code)), now).cause


def test_the_owner_is_let_in_from_elsewhere_while_somebody_guesses():
    """Guesses count for a user at a source; the owner's own slips elsewhere do not add to them."""
    authorizer = Authorizer(Config())
    assert attempt_of("alice", authorizer, 5003, source=ELSEWHERE) is Cause.FORBIDDEN
    for _ in range(5):
        assert attempt_of("alice", authorizer, 5003) is Cause.FORBIDDEN
    assert attempt_of("alice", authorizer, 2001) is Cause.PENALIZED
    assert attempt_of("alice", authorizer, 2001, source=ELSEWHERE) is Cause.AUTHORIZED
    assert attempt_of("alice", authorizer, 2001) is Cause.PENALIZED, "a login elsewhere is none here"


def test_who_got_in_elsewhere_is_nobody_s_friend_here():
    """The exception from a source's penalty is for users who got in from there."""
    authorizer = Authorizer(Config())
    assert attempt_of("alice", authorizer, 2001, source=ELSEWHERE) is Cause.AUTHORIZED
    for number in range(75):
        assert attempt_of(f"user{number}", authorizer, 5003) is Cause.FORBIDDEN
    assert attempt_of("alice", authorizer, 2001) is Cause.PENALIZED


def test_75_refusals_of_as_many_users_are_a_penalty_for_their_source():
    """A refusal says that the digest was wrong: the first of each user counts for the source at once."""
    authorizer = Authorizer(Config())
    for number in range(75):
        assert attempt_of(f"user{number}", authorizer, 5003) is Cause.FORBIDDEN
    assert attempt_of("bob", authorizer, 2001) is Cause.PENALIZED
    assert attempt_of("bob", authorizer, 2001, source=ELSEWHERE) is Cause.AUTHORIZED


def test_a_source_is_forgotten_when_its_ten_minutes_are_over():
    """Telephones with old passwords behind one address: fewer than 75 users in ten minutes, for hours."""
    authorizer = Authorizer(Config())
    for turn in range(5):
        for number in range(74):
            cause = attempt_of(f"user{turn}.{number}", authorizer, 5003, 600.0 * turn)
            assert cause is Cause.FORBIDDEN
    assert attempt_of("bob", authorizer, 2001, 3000.0) is Cause.AUTHORIZED


def test_without_penalty_all_are_asked():
    authorizer = Authorizer(Config(penalty=False))
    decisions = [attempt(authorizer, 0.0) for _ in range(100)]
    assert {decision.cause for decision in decisions} == {Cause.FORBIDDEN}
