"""`diameter_is_user_in` as decisions: whom it asks about, and its return codes."""

from __future__ import annotations

import pytest
from kit.authorizing import (
    AUTHORIZER,
    CHALLENGES,
    CODES,
    FAILURES,
    answered,
    asked,
    authorize,
    with_credentials,
)
from kit.sip import build_credentials, build_request
from kit.wire import (
    DESTINATION_REALM,
    SERVICE_TYPE,
    SIP_MSGID,
    USER_GROUP,
    USER_NAME,
)

from auth_diameter import Config, ConfigError, Decision, SipRequest
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause


def is_user_in(request, who="From", group="voicemail", use_domain=False):
    return Authorizer(Config(use_domain=use_domain)).is_user_in(request, who, group)


def authorized_request(username="alice", realm="siphub.net"):
    request = SipRequest(with_credentials(True, build_credentials(username, realm)))
    assert answered(authorize(request, realm, True), 2001)
    return request


PARTIES = {"from_": "<sip:alice@from.example>;tag=1", "to": "<sip:carol@to.example>"}


@pytest.mark.parametrize(
    ("who", "user", "domain"),
    [
        ("Request-URI", b"bob", b"siphub.net"),
        ("request-uri", b"bob", b"siphub.net"),
        ("To", b"carol", b"to.example"),
        ("TO", b"carol", b"to.example"),
        ("From", b"alice", b"from.example"),
        ("from", b"alice", b"from.example"),
    ],
)
@pytest.mark.parametrize("use_domain", [False, True])
def test_who_is_asked_about(who, user, domain, use_domain):
    found = asked(is_user_in(build_request(**PARTIES), who, use_domain=use_domain))
    assert list(found) == [DESTINATION_REALM, SERVICE_TYPE, SIP_MSGID, USER_GROUP, USER_NAME]
    assert found[USER_NAME] == (user + b"@" + domain if use_domain else user)
    assert found[USER_GROUP] == b"voicemail"
    assert found[SERVICE_TYPE] == b"8"
    assert found[DESTINATION_REALM] == b"siphub.net"  # of the Request-URI, whoever it is about


def test_an_escape_hides_nobody_from_a_group():
    """RFC 3261, 19.1.4: an escaped letter is that letter, and "%00" is no end of a name."""
    request = build_request(**{**PARTIES, "from_": "<sip:%61lice@from.example>;tag=1"})
    assert asked(is_user_in(request, "From"))[USER_NAME] == b"alice"


@pytest.mark.parametrize(
    ("username", "realm", "name"),
    [
        ("alice", "siphub.net", b"alice"),
        ("alice@else.where", "siphub.net", b"alice"),
        ("alice", "other.realm", b"alice"),
    ],
)
@pytest.mark.parametrize("use_domain", [False, True])
def test_credentials_that_an_authorize_call_has_found_right(username, realm, name, use_domain):
    request = authorized_request(username, realm)
    found = asked(is_user_in(request, "Credentials", use_domain=use_domain))
    assert found[USER_NAME] == (name + b"@" + realm.encode() if use_domain else name)


def test_credentials_of_authorization_come_first():
    request = SipRequest(
        build_request(
            extra=(
                "Proxy-Authorization: " + build_credentials("pat"),
                "Authorization: " + build_credentials("will"),
            )
        )
    )
    assert answered(authorize(request, proxy=True), 2001)
    assert asked(is_user_in(request, "Credentials"))[USER_NAME] == b"pat"
    assert answered(authorize(request), 2001)
    assert asked(is_user_in(request, "Credentials"))[USER_NAME] == b"will"


@pytest.mark.parametrize("code", [4001, 5003, 3002])
def test_credentials_that_were_not_found_right_count_for_nothing(code):
    request = SipRequest(with_credentials())
    answered(authorize(request), code)
    decision = is_user_in(request, "Credentials")
    assert (decision.return_code, decision.cause) == (-4, Cause.NOT_AUTHORIZED)


@pytest.mark.parametrize(
    ("who", "request_", "code"),
    [
        ("To", build_request(to=None), -2),
        ("To", build_request(to="sip:a@b@c"), -2),
        ("From", build_request(from_=None), -3),
        ("From", build_request(from_="sip:a@b@c"), -3),
        ("Credentials", with_credentials(), -4),
        ("Request-URI", build_request(request_uri="sip:"), -5),
        ("Request-URI", build_request(request_uri="sip:siphub.net"), -5),
        ("From", build_request(from_="<sip:siphub.net>;tag=1"), -5),
        ("From", build_request(request_uri="tel:+1555"), -5),
    ],
    ids=[
        "To missing",
        "To malformed",
        "From missing",
        "From malformed",
        "no authorized credentials",
        "Request-URI malformed",
        "Request-URI without a user",
        "From without a user",
        "Request-URI without a domain",
    ],
)
def test_a_group_check_that_cannot_be_asked(who, request_, code):
    decision = is_user_in(request_, who)
    assert isinstance(decision, Decision)
    assert not decision
    assert (decision.return_code, decision.status, decision.reply) == (code, None, None)


@pytest.mark.parametrize(
    ("who", "group", "named"),
    [
        ("Contact", "g", "who"),
        ("", "g", "who"),
        ("From ", "g", "who"),
        (None, "g", "who"),
        ("From", "", "group"),
        ("From", None, "group"),
        ("From", "\ud800", "group"),
    ],
)
def test_a_group_check_that_cannot_be_set_up(who, group, named):
    with pytest.raises(ConfigError, match=f"^{named}"):
        is_user_in(build_request(), who, group)


def test_a_group_larger_than_disc_takes():
    decision = is_user_in(build_request(), group="g" * 65_536)
    assert (decision.return_code, decision.cause) == (-5, Cause.TOO_LARGE)


GROUP_CAUSES = {2001: Cause.MEMBER, 4001: Cause.NOT_MEMBER, 5003: Cause.NOT_MEMBER}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("service", [None, b"6", b"8", b"9"], ids=repr)
@pytest.mark.parametrize("challenge", CHALLENGES, ids=["", "challenge", "bad challenge"])
def test_every_answer_to_a_group_check(code, service, challenge):
    """1 for a member, else -1; the cause tells "no" from "DISC failed". Never a SIP reply."""
    question = is_user_in(build_request())
    decision = answered(question, code, service_type=service, challenge=challenge)
    unusable = code is None or challenge == b"Basic realm=x"
    unusable = unusable or (code == 2001 and service not in (None, b"8"))
    cause = Cause.DISC_UNUSABLE if unusable else GROUP_CAUSES.get(code, Cause.DISC_REFUSED)
    assert decision.cause is cause
    assert bool(decision) is (cause is Cause.MEMBER)
    assert decision.return_code == (1 if cause is Cause.MEMBER else -1)
    assert (decision.status, decision.reply) == (None, None)
    assert question.request.authorized is None


@pytest.mark.parametrize("cause", FAILURES)
def test_a_group_check_without_an_answer(cause):
    decision = AUTHORIZER.fail(is_user_in(build_request()), cause, 0.0)
    assert not decision
    assert (decision.return_code, decision.reply, decision.cause) == (-1, None, cause)
