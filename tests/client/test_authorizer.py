"""The questions of `diameter_www_authorize` and `diameter_proxy_authorize`, and what needs none.

The steps 1 to 4 of both functions; 5 to 9 are in test_authorizer_answers.py::

    1   ACK and CANCEL are let through, DISC is not asked
    2   the realm: pseudo-variables expanded; empty: host of To for REGISTER with www, else of From
    3   the first Digest credentials of that realm; none: DISC is asked for a challenge
    4   the identity: To of a REGISTER, else From
"""

from __future__ import annotations

import pytest
from kit.authorizing import BOTH, answered, asked, authorize, refused, with_credentials
from kit.sip import build_credentials, build_request
from kit.wire import (
    DESTINATION_REALM,
    METHOD,
    RESOURCE,
    RESPONSE,
    SERVICE_TYPE,
    SIP_MSGID,
    USER_NAME,
)

from auth_diameter import Config, ConfigError, Decision, ParseError, SipRequest
from auth_diameter._core import Question
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause

# ------------------------------------------------------------------ step 1


@BOTH
@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
@pytest.mark.parametrize("from_", ["<sip:alice@siphub.net>;tag=1", None], ids=["", "no From"])
def test_step_1_ack_and_cancel_are_let_through(method, from_, proxy):
    """They can carry no credentials of their own: RFC 3261, 22.1."""
    request = SipRequest(with_credentials(proxy, method=method, from_=from_))
    decision = authorize(request, "", proxy)
    assert isinstance(decision, Decision)
    assert decision
    assert (decision.return_code, decision.status, decision.reply) == (1, None, None)
    assert decision.cause is Cause.BYPASSED
    assert request.authorized is None


@BOTH
@pytest.mark.parametrize("method", ["ack", "Cancel", "ACKX", "BYE", "PRACK", "X"])
def test_step_1_no_other_method_is_let_through(method, proxy):
    """Methods are case-sensitive: RFC 3261, 7.1."""
    assert isinstance(authorize(build_request(method), "", proxy), Question)


# ------------------------------------------------------------------ step 2


@pytest.mark.parametrize(
    ("method", "proxy", "realm", "used"),
    [
        ("REGISTER", False, "", b"to.example"),
        ("REGISTER", True, "", b"from.example"),
        ("INVITE", False, "", b"from.example"),
        ("INVITE", True, "", b"from.example"),
        ("REGISTER", False, "$fd", b"from.example"),
        ("REGISTER", True, "$td", b"to.example"),
        ("INVITE", False, "sip.$rd", b"sip.siphub.net"),
        ("INVITE", True, "fixed.example", b"fixed.example"),
        ("INVITE", True, "$hdr(X-None)", b"from.example"),
    ],
)
def test_step_2_the_realm_used(method, proxy, realm, used):
    request = build_request(method, from_="<sip:a@from.example>;tag=1", to="<sip:b@to.example>")
    question = authorize(request, realm, proxy)
    assert asked(question)[DESTINATION_REALM] == used
    assert question.realm == used.decode()


@pytest.mark.parametrize(
    ("method", "proxy", "realm", "lacks"),
    [
        ("INVITE", False, "", "from_"),
        ("INVITE", True, "", "from_"),
        ("REGISTER", False, "", "to"),
        ("REGISTER", True, "", "from_"),
        ("REGISTER", True, "$fd", "from_"),
        ("INVITE", True, "$td", "to"),
        ("INVITE", False, "$fu", "from_"),
    ],
)
def test_step_2e_a_from_or_to_that_the_realm_needs_is_missing(method, proxy, realm, lacks):
    decision = authorize(build_request(method, **{lacks: None}), realm, proxy)
    refused(decision, 400, Cause.NO_IDENTITY, 0)


@BOTH
@pytest.mark.parametrize("from_", ["<sip:@>;tag=1", "alice", "<sip:alice@ho st>", "sip:a@b@c", ""])
def test_step_2e_a_from_that_is_none(from_, proxy):
    decision = authorize(build_request(from_=from_), "", proxy)
    refused(decision, 400, Cause.MALFORMED_REQUEST, 0)


@BOTH
@pytest.mark.parametrize("uri", ["tel:+33123", "urn:service:sos", "http://h/", "x:y"])
def test_step_4_a_uri_without_a_host_is_no_fault_where_the_realm_is_given(uri, proxy):
    """From may be any URI (RFC 3261, 20.20): the credentials say who it is."""
    for method in ("INVITE", "REGISTER"):
        request = build_request(method, from_=f"<{uri}>;tag=1")
        assert asked(authorize(request, "r.example", proxy))[DESTINATION_REALM] == b"r.example"
        value = build_credentials("alice", "r.example")
        with_digest = with_credentials(proxy, value, method=method, from_=f"<{uri}>;tag=1")
        assert asked(authorize(with_digest, "r.example", proxy))[USER_NAME] == b"alice@r.example"
    # But a realm cannot come from it.
    for realm in ("", "$fd"):
        refused(authorize(build_request(from_=f"<{uri}>"), realm, proxy), 400, Cause.NO_IDENTITY, 0)
    assert asked(authorize(build_request(from_=f"<{uri}>"), "$td", proxy))[DESTINATION_REALM]


@BOTH
def test_a_realm_that_cannot_be_set_up(proxy):
    with pytest.raises(ConfigError, match=r"\$xx"):
        authorize(build_request(), "$xx", proxy)


# ------------------------------------------------------------------ step 3


@BOTH
@pytest.mark.parametrize(
    ("values", "username"),
    [
        ([build_credentials("alice")], "alice"),
        ([build_credentials("alice", "SipHub.NET")], "alice"),
        ([build_credentials("eve", "other.example"), build_credentials("alice")], "alice"),
        ([build_credentials("alice"), build_credentials("eve")], "alice"),
        (["Basic YTpi", "Bearer x", build_credentials("alice")], "alice"),
        ([build_credentials("alice"), "Digest username="], "alice"),
        (["Digest username=", build_credentials("alice")], "alice"),
        ([build_credentials("eve", "other.example") + " x", build_credentials("alice")], "alice"),
        (['Digest realm="siphub.net", nonce="", response=""', build_credentials("alice")], "alice"),
        ([build_credentials("alice").replace("Digest", "dIGEST")], "alice"),
    ],
    ids=[
        "same realm",
        "realm in another case",
        "behind another realm",
        "the first of two",
        "behind other schemes",
        "before a malformed one",
        "behind a malformed one",
        "behind a malformed one of another realm",
        "behind one that answers nothing",
        "scheme in another case",
    ],
)
def test_step_3_the_first_digest_credentials_of_the_realm(values, username, proxy):
    name = "Proxy-Authorization" if proxy else "Authorization"
    question = authorize(build_request(extra=tuple(f"{name}: {v}" for v in values)), proxy=proxy)
    assert question.credentials.username == username
    found = asked(question)
    assert found[RESPONSE].decode() in values
    assert found[METHOD] == b"INVITE"
    assert found[USER_NAME] == b"alice@" + question.credentials.realm.encode()


@BOTH
@pytest.mark.parametrize(
    "value",
    ["Digest", "Digest username=", 'Digest username="alice, realm=', 'Digest realm="siphub.net" b="c"'],
)
def test_step_3e_a_malformed_digest_of_our_realm_or_of_none(value, proxy):
    decision = authorize(with_credentials(proxy, value), proxy=proxy)
    refused(decision, 400, Cause.MALFORMED_CREDENTIALS, 0)


@BOTH
@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("Authorization: Basic YTpi", "Proxy-Authorization: Basic YTpi"),
        tuple(
            f"{name}: {build_credentials(realm='other.example')}"
            for name in ("Authorization", "Proxy-Authorization")
        ),
        tuple(f'{name}: Digest realm="a" b="c"' for name in ("Authorization", "Proxy-Authorization")),
        tuple(
            f'{name}: Digest username="alice@siphub.net",realm="siphub.net",nonce="",uri="sip:a",response=""'
            for name in ("Authorization", "Proxy-Authorization")
        ),
    ],
    ids=["no header", "another scheme", "another realm", "another realm, malformed", "no answer"],
)
def test_step_3n_without_a_match_disc_is_asked_for_a_challenge(extra, proxy):
    question = authorize(build_request(extra=extra), proxy=proxy)
    assert question.credentials is None
    assert list(asked(question)) == [RESOURCE, DESTINATION_REALM, SERVICE_TYPE, SIP_MSGID, USER_NAME]


@BOTH
def test_step_3_each_function_reads_its_own_header(proxy):
    """RFC 3261, 22.3: what is meant for another proxy, or for the server behind, is left alone."""
    assert authorize(with_credentials(not proxy), proxy=proxy).credentials is None
    assert authorize(with_credentials(not proxy, "Digest username="), proxy=proxy).credentials is None


# ------------------------------------------------------------------ step 4, and the question


@pytest.mark.parametrize(
    ("method", "proxy", "name"),
    [
        ("REGISTER", False, b"b@to.example"),
        ("REGISTER", True, b"b@to.example"),
        ("INVITE", False, b"a@from.example"),
        ("OPTIONS", True, b"a@from.example"),
    ],
)
def test_step_4_whose_request_it_is(method, proxy, name):
    request = build_request(method, from_="<sip:a@from.example>;tag=1", to="<sip:b@to.example>")
    assert asked(authorize(request, "r", proxy))[USER_NAME] == name


@pytest.mark.parametrize(
    ("from_", "name"),
    [
        ("<sip:alice@siphub.net>", b"alice@siphub.net"),
        ("<sip:alice:secret@siphub.net:5070;transport=tcp>", b"alice@siphub.net"),
        ("<sip:siphub.net>", b"siphub.net"),
        ("<sips:alice@[2001:db8::1]>", b"alice@[2001:db8::1]"),
        ('"A" <sip:alice@siphub.net>;tag=1', b"alice@siphub.net"),
        ("sip:alice@siphub.net;tag=1", b"alice@siphub.net"),
        ("<sip:9901#1@siphub.net>;tag=1", b"9901#1@siphub.net"),
        # Without a host: the realm alone. DISC takes no empty name, and a number is that of no user of it.
        ("<tel:+33123>;tag=a", b"siphub.net"),
        ("tel:+33123;tag=a", b"siphub.net"),
        ("<urn:service:sos>", b"siphub.net"),
        ("<mailto:alice@other.example>", b"siphub.net"),
    ],
)
def test_the_user_name_without_credentials(from_, name):
    assert asked(authorize(build_request(from_=from_)))[USER_NAME] == name


@pytest.mark.parametrize(
    ("username", "name"),
    [("alice", b"alice@siphub.net"), ("alice@else.where", b"alice@else.where"), ("a b", b"a b@siphub.net")],
)
def test_the_user_name_with_credentials(username, name):
    request = with_credentials(value=build_credentials(username))
    assert asked(authorize(request))[USER_NAME] == name


@pytest.mark.parametrize(
    ("uri", "resource"),
    [
        ("sip:siphub.net", b"siphub.net"),
        ("sip:siphub.net:5070", b"siphub.net:5070"),
        ("sip:bob@siphub.net:5070;lr", b"bob@siphub.net:5070"),
        ("sip:bob:pw@siphub.net", b"bob@siphub.net"),
    ],
)
def test_the_resource(uri, resource):
    """Exact: what a C string would end with is left out."""
    assert asked(authorize(build_request(request_uri=uri)))[RESOURCE] == resource


def test_the_order_of_a_question_with_credentials():
    order = [RESOURCE, DESTINATION_REALM, SERVICE_TYPE, SIP_MSGID, USER_NAME, RESPONSE, METHOD]
    found = asked(authorize(with_credentials()))
    assert list(found) == order
    assert found[SERVICE_TYPE] == b"6"
    assert found[RESPONSE] == build_credentials().encode()


@pytest.mark.parametrize(
    ("method", "bad"),
    [
        ("INVITE", {"from_": None}),
        ("REGISTER", {"to": "<tel:+15551234>"}),
        ("REGISTER", {"to": None}),
    ],
    ids=["INVITE without From", "REGISTER of a number", "REGISTER without To"],
)
@BOTH
def test_step_4_no_identity(method, bad, proxy):
    """From and To are in every request (RFC 3261, 8.1.1); what is registered is a SIP or SIPS URI (10.2)."""
    refused(authorize(build_request(method, **bad), "r", proxy), 400, Cause.NO_IDENTITY, 0)


@BOTH
@pytest.mark.parametrize("uri", ["sip:", "sip:@h", "bob", "sip:bob@h:70000", "<sip:bob@h>"])
def test_step_4_a_request_uri_that_cannot_be_read(uri, proxy):
    decision = authorize(build_request(request_uri=uri), proxy=proxy)
    refused(decision, 400, Cause.MALFORMED_REQUEST, 0)


def test_a_question_larger_than_disc_takes():
    request = build_request(request_uri=f"sip:{'b' * 60_000}@siphub.net")
    refused(authorize(request, "r" * 6_000), 400, Cause.TOO_LARGE, 0)


@pytest.mark.parametrize(
    ("limit", "cause"),
    [
        ({"max_sip_headers": 8}, Cause.MALFORMED_REQUEST),
        ({"max_diameter_message": 256}, Cause.TOO_LARGE),
    ],
    ids=str,
)
def test_the_configured_limits(limit, cause):
    request = build_request(extra=("Subject: lunch",) * 3, body="a" * 100, request_uri=f"sip:{'b' * 160}@h")
    assert isinstance(authorize(request), Question)
    refused(Authorizer(Config(**limit)).proxy_authorize(request, "$fd", 0.0), 400, cause, 0)
    decision = Authorizer(Config(**limit)).is_user_in(request, "From", "g" * 200)
    assert (decision.return_code, decision.cause) == (-5, cause)


def test_a_request_above_the_configured_size_is_not_even_read():
    authorizer = Authorizer(Config(max_sip_message=300))
    decision = authorizer.www_authorize(build_request(body="a" * 300), "$fd", 0.0)
    assert (decision.status, decision.cause, decision.reply) == (400, Cause.MALFORMED_REQUEST, None)


def test_a_request_of_more_than_udp_can_carry_where_that_is_configured():
    authorizer = Authorizer(Config(max_sip_message=200_000))
    assert len(authorizer.read(build_request(body="a" * 100_000)).body) == 100_000
    with pytest.raises(ParseError, match="more than the bytes that came"):
        authorizer.read(build_request(body="a" * 100_000)[:-1])


# ------------------------------------------------------------------ what is no SIP request


@BOTH
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, SipRequest])
def test_a_request_may_be_bytes_like_or_read_before(kind, proxy):
    assert isinstance(authorize(kind(build_request()), proxy=proxy), Question)


@BOTH
def test_a_malformed_request_gets_400_where_a_reply_can_be_addressed(proxy):
    decision = authorize(build_request().replace(b"CSeq: 7 INVITE", b"CSeq: x INVITE"), proxy=proxy)
    refused(decision, 400, Cause.MALFORMED_REQUEST, 0)


@BOTH
@pytest.mark.parametrize("data", [b"", b"\r\n\r\n", b"\0" * 100, b"SIP/2.0 200 OK\r\n\r\n"])
def test_what_is_no_request_at_all_gets_no_reply(data, proxy):
    decision = authorize(data, proxy=proxy)
    assert not decision
    assert (decision.status, decision.return_code, decision.reply) == (400, 0, None)


@BOTH
def test_a_malformed_ack_gets_no_reply(proxy):
    """RFC 3261, 17: an ACK is never answered."""
    decision = authorize(build_request("ACK").replace(b"CSeq: 7", b"CSeq: x"), proxy=proxy)
    assert not decision
    assert decision.reply is None


@pytest.mark.parametrize("request_", [None, "INVITE", 7], ids=repr)
def test_a_request_that_is_no_bytes_is_the_callers_mistake(request_):
    with pytest.raises(TypeError):
        authorize(request_)


# ------------------------------------------------------------------ what is shown


def test_a_decision_shows_no_secret():
    request = SipRequest(with_credentials(value=build_credentials(response="deadbeef" * 4)))
    question = authorize(request)
    for decision in (answered(question, 2001), answered(question, 5003)):
        for text in (repr(decision), repr(question), repr(request)):
            assert "deadbeef" not in text
            assert "5f3c9a1d" not in text
        assert "alice" in repr(decision)
        assert decision.cause.name in repr(decision)
