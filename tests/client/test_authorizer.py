"""The three functions as decisions: each row of what they promise, www and proxy.

The steps of `diameter_www_authorize` and `diameter_proxy_authorize`::

    1   ACK and CANCEL are let through, DISC is not asked
    2   the realm: pseudo-variables expanded; empty: host of To for REGISTER with www, else of From
    3   the first Digest credentials of that realm; none: DISC is asked for a challenge
    4   the identity: To of a REGISTER, else From
    5   2001 to a question with credentials lets through
    6   4001 with Service-Type 6 and a Challenge: 401 or 407
    7   5003, or 4001 with another Service-Type: 403
    8   any other answer: 500
    9   no answer: 503 with Retry-After
"""

from __future__ import annotations

import hashlib
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.disc import CHALLENGE_VALUE
from kit.sip import build_credentials, build_request, parse_reply
from kit.wire import (
    CHALLENGE,
    DESTINATION_REALM,
    METHOD,
    RESOURCE,
    RESPONSE,
    SERVICE_TYPE,
    SIP_MSGID,
    USER_GROUP,
    USER_NAME,
    build_answer,
)

from auth_diameter import Avp, Config, ConfigError, Decision, Message, ParseError, SipRequest
from auth_diameter._core import Question, append_question, decode_answer
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause

AUTHORIZER = Authorizer(Config())
BOTH = pytest.mark.parametrize("proxy", [False, True], ids=["www", "proxy"])

REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    407: "Proxy Authentication Required",
    500: "Server Internal Error",
    503: "Service Unavailable",
}


def authorize(request, realm="siphub.net", proxy=False, authorizer=AUTHORIZER, now=0.0):
    function = authorizer.proxy_authorize if proxy else authorizer.www_authorize
    return function(request, realm, now)


def with_credentials(proxy=False, value=None, **more):
    name = "Proxy-Authorization" if proxy else "Authorization"
    return build_request(extra=(f"{name}: {value or build_credentials()}",), **more)


def asked(question):
    """The question as DISC would read it: a dict of AVP code to data, in the order of the wire."""
    assert isinstance(question, Question), question
    out = bytearray()
    append_question(out, question, 0x01020304)
    message = Message.decode(bytes(out))
    assert (message.command, message.application_id, message.flags) == (265, 1, 0x80)
    assert message.hop_by_hop == 0x01020304
    found = {avp.code: bytes(avp.data) for avp in message.avps}
    assert len(found) == len(message.avps), "an AVP twice"
    assert [avp.flags for avp in message.avps if avp.code != SIP_MSGID].count(0x40) == len(found) - 1
    assert b"\0" not in found[USER_NAME]
    return found


def refused(decision, status, cause, return_code, proxy=False):
    """A refusal: false, with the whole reply."""
    assert isinstance(decision, Decision)
    assert not decision
    assert not decision.authorized
    assert (decision.status, decision.cause, decision.return_code) == (status, cause, return_code)
    sent_status, reason, headers = parse_reply(decision.reply)
    assert (sent_status, reason) == (status, REASONS[status])
    names = [name for name, _ in headers]
    extra = {401: ["WWW-Authenticate"], 407: ["Proxy-Authenticate"], 503: ["Retry-After"]}
    known = ["Via", "From", "To", "Call-ID", "CSeq", *extra.get(status, []), "Content-Length"]
    assert [name for name in names if name not in known] == []
    for name, value in decision.headers:
        assert (name, value) in headers
    return dict(headers)


def answered(question, *args, **kwargs):
    return AUTHORIZER.conclude(question, decode_answer(build_answer(1, *args, **kwargs)), 0.0)


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


# ------------------------------------------------------------------ steps 5 to 8


@BOTH
def test_step_5_right_credentials_are_let_through_and_marked(proxy):
    request = SipRequest(with_credentials(proxy))
    question = authorize(request, proxy=proxy)
    assert request.authorized is None
    decision = answered(question, 2001)
    assert decision
    assert decision.authorized is True
    assert (decision.return_code, decision.status, decision.reply) == (1, None, None)
    assert decision.cause is Cause.AUTHORIZED
    assert (decision.username, decision.realm) == ("alice", "siphub.net")
    assert request.authorized.username == "alice"


@BOTH
@pytest.mark.parametrize("credentials", [False, True], ids=["first", "wrong password or stale"])
@pytest.mark.parametrize("end", [b"", b"\r\n", b" \r\n", b"\n"], ids=repr)
def test_step_6_the_challenge_of_disc(proxy, credentials, end):
    request = with_credentials(proxy) if credentials else build_request()
    decision = answered(authorize(request, proxy=proxy), 4001, challenge=CHALLENGE_VALUE + end)
    cause = Cause.RECHALLENGED if credentials else Cause.CHALLENGED
    headers = refused(decision, 407 if proxy else 401, cause, -5)
    name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    assert headers[name] == CHALLENGE_VALUE.decode()
    assert decision.headers == ((name, CHALLENGE_VALUE.decode()),)


SHA_256 = b'Digest realm="siphub.net", nonce="7d1c", algorithm=SHA-256, qop="auth"'


@BOTH
def test_step_6_several_challenges(proxy):
    """RFC 8760, 2.4: each in a header field of its own, in the order in which DISC prefers them."""
    more = (Avp(402, SHA_256 + b"\r\n"), Avp(402, CHALLENGE_VALUE + b"\r\n"))
    decision = answered(authorize(build_request(), proxy=proxy), 4001, more=more)
    assert decision.cause is Cause.CHALLENGED
    name = "Proxy-Authenticate" if proxy else "WWW-Authenticate"
    expected = [(name, SHA_256.decode()), (name, CHALLENGE_VALUE.decode())]
    assert list(decision.headers) == expected
    _, _, headers = parse_reply(decision.reply)
    assert [pair for pair in headers if pair[0] == name] == expected


@BOTH
@pytest.mark.parametrize("count", [8, 9, 1000])
def test_step_6_more_challenges_than_there_are_algorithms(count, proxy):
    more = tuple(Avp(402, CHALLENGE_VALUE) for _ in range(count))
    decision = answered(authorize(build_request(), proxy=proxy), 4001, more=more)
    assert decision.status == ((407 if proxy else 401) if count == 8 else 500)


@BOTH
@pytest.mark.parametrize("evil", [b'Digest realm="a", nonce="b"\r\nEvil: 1', b"Basic realm=x", b""])
def test_step_6_one_bad_challenge_spoils_all(evil, proxy):
    more = (Avp(402, CHALLENGE_VALUE), Avp(402, evil))
    refused(answered(authorize(build_request(), proxy=proxy), 4001, more=more), 500, Cause.DISC_UNUSABLE, -5)


@BOTH
@pytest.mark.parametrize(
    ("userhash", "told", "name"),
    [
        ("true", ("alice",), "alice"),
        ("true", (), "488869477bf257147b804c45308cd62ac4e25eb717b12b298c79e62dcea254ec"),
        ("false", ("bob",), "488869477bf257147b804c45308cd62ac4e25eb717b12b298c79e62dcea254ec"),
    ],
)
def test_whose_hashed_username_it_was(userhash, told, name, proxy):
    """RFC 7616, 3.4.4: DISC knows the name. Of who gave a name of his own it tells nothing."""
    hashed = "488869477bf257147b804c45308cd62ac4e25eb717b12b298c79e62dcea254ec"
    request = SipRequest(with_credentials(proxy, build_credentials(hashed, userhash=userhash)))
    more = tuple(Avp(USER_NAME, one) for one in told)
    decision = answered(authorize(request, proxy=proxy), 2001, more=more)
    assert (decision.username, request.authorized_username) == (name, name)
    question = AUTHORIZER.is_user_in(request, "Credentials", "voicemail")
    assert question.user_name == name


@pytest.mark.parametrize("told", [("alice", "alice"), (b"al\0ice",), (b"alice\r\n",)])
def test_a_name_that_cannot_be_one_lets_nobody_in(told):
    request = SipRequest(with_credentials(value=build_credentials("00", userhash="true")))
    more = tuple(Avp(USER_NAME, one) for one in told)
    refused(answered(authorize(request), 2001, more=more), 500, Cause.DISC_UNUSABLE, -5)
    assert request.authorized_username is None


@BOTH
def test_authentication_info(proxy):
    """RFC 7616, 3.5: the server's own proof and the nonce to come, for the 200 of the caller."""
    more = (Avp(106, "ab" * 16), Avp(107, "n-e+x/t="))
    value = build_credentials(qop="auth", nc="0000002a", cnonce='c"')
    value = value.replace('cnonce="c""', r'cnonce="c\""')
    decision = answered(authorize(with_credentials(proxy, value), proxy=proxy), 2001, more=more)
    assert decision
    assert decision.headers == (
        (
            "Proxy-Authentication-Info" if proxy else "Authentication-Info",
            r'nextnonce="n-e+x/t=", qop=auth, cnonce="c\"", nc=0000002a, rspauth="' + "ab" * 16 + '"',
        ),
    )


@pytest.mark.parametrize(
    ("avp", "header"),
    [
        (Avp(107, "next"), 'nextnonce="next"'),
        (Avp(106, "ab" * 32), 'rspauth="' + "ab" * 32 + '"'),  # of credentials without qop: RFC 2069
    ],
)
def test_authentication_info_in_part(avp, header):
    decision = answered(authorize(with_credentials()), 2001, more=(avp,))
    assert decision.headers == (("Authentication-Info", header),)


@pytest.mark.parametrize(
    "cnonce",
    [b"a\\\x01b", b"a\\\x7fb", b"a\\\x1bb", "a\u0085b".encode(), "a\u2028b".encode(), b"a\xffb"],
    ids=ascii,
)
@pytest.mark.parametrize("more", [(), (Avp(107, "next"),)], ids=["proof", "proof and next nonce"])
@BOTH
def test_a_cnonce_that_is_no_part_of_a_header_is_not_repeated_in_one(cnonce, more, proxy):
    """A client may choose any, with control characters by way of quoted-pair: it gets in, and no proof."""
    value = build_credentials(qop="auth", nc="00000001", cnonce="CNONCE")
    data = with_credentials(proxy, value).replace(b"CNONCE", cnonce)
    decision = answered(authorize(data, proxy=proxy), 2001, more=(Avp(106, "ab" * 16), *more))
    assert decision
    assert decision.headers == ()


@pytest.mark.parametrize("data", [b"", b"a b", b'a"b', b"a\\b", b"a\r\nEvil: 1", b"\xff", b"a" * 257])
def test_a_nextnonce_that_cannot_stand_in_quotes(data):
    decision = answered(authorize(with_credentials()), 2001, more=(Avp(107, data),))
    refused(decision, 500, Cause.DISC_UNUSABLE, -5)


@pytest.mark.parametrize("data", [b"", b"0" * 31, b"0" * 33, b"g" * 32, b"0" * 31 + b"\n"])
def test_an_rspauth_that_is_no_response(data):
    decision = answered(authorize(with_credentials()), 2001, more=(Avp(106, data),))
    refused(decision, 500, Cause.DISC_UNUSABLE, -5)


def test_the_end_to_end_identifier_is_that_of_the_sip_request():
    """RFC 6733, 3: the same for a retransmission, another for anything else, and never 0."""

    def end_to_end(data, msgid=1, source=None):
        out = bytearray()
        append_question(out, authorize(SipRequest(data, source)), msgid)
        return Message.decode(bytes(out)).end_to_end

    first = end_to_end(with_credentials())
    assert first != 0
    assert end_to_end(with_credentials(), 2) == first
    assert end_to_end(with_credentials(body="a")) != first
    sources = [("192.0.2.1", 5060), ("192.0.2.2", 5060), ("192.0.2.1", 5061), ("192.0.2.15", 60)]
    found = {end_to_end(with_credentials(), source=source) for source in sources}
    assert len({first, *found}) == 5, "the same bytes from elsewhere are a replay"


@pytest.mark.parametrize(
    ("tell", "source", "told"),
    [
        (True, ("192.0.2.1", 5060), b"192.0.2.1"),
        (True, ("2001:db8::1", 5060), b"2001:db8::1"),
        (True, None, None),
        (False, ("192.0.2.1", 5060), None),
    ],
)
def test_disc_is_told_the_source_where_configured(tell, source, told):
    """RFC 7155, 4.2.6, Calling-Station-Id; without the M flag, so that it may be passed over."""
    question = Authorizer(Config(tell_source=tell)).www_authorize(
        SipRequest(with_credentials(), source), "$fd", 0.0
    )
    out = bytearray()
    append_question(out, question, 1)
    avp = Message.decode(bytes(out)).find(31)
    assert (avp and (bytes(avp.data), avp.flags)) == (told and (told, 0))


def test_a_question_asked_again_says_so():
    question = authorize(with_credentials())
    flags = []
    for msgid in (1, 2):
        out = bytearray()
        append_question(out, question, msgid)
        flags.append(Message.decode(bytes(out)).flags)
    assert flags == [0x80, 0x90]  # T: RFC 6733, 3


@pytest.mark.parametrize(
    ("algorithm", "name"), [("MD5", "md5"), ("SHA-256-sess", "sha256"), ("SHA-512-256", "sha512_256")]
)
def test_the_body_s_hash_goes_along_with_auth_int(algorithm, name):
    """RFC 7616, 3.4.3; DISC does not see the body."""
    response = "0" * (32 if algorithm == "MD5" else 64)
    more = {"nc": "00000001", "cnonce": "c", "response": response, "algorithm": algorithm}
    for qop, body in (("auth-int", "v=0"), ("auth-int", ""), ("auth", "v=0")):
        value = build_credentials(qop=qop, **more)
        question = authorize(with_credentials(value=value, body=body))
        out = bytearray()
        append_question(out, question, 1)
        avp = Message.decode(bytes(out)).find(112)
        hashed = hashlib.new(name, body.encode()).hexdigest()
        assert (avp.data.decode() if avp else None) == (hashed if qop == "auth-int" else None)


@BOTH
@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({}, Cause.FORBIDDEN),
        ({"algorithm": "SHA-1"}, Cause.UNKNOWN_ALGORITHM),
        ({"algorithm": "MD5-sess-sess"}, Cause.UNKNOWN_ALGORITHM),
        ({"qop": "auth-conf", "nc": "00000001", "cnonce": "c"}, Cause.UNKNOWN_QOP),
    ],
)
def test_step_7_why_credentials_were_refused_as_far_as_it_can_be_told(change, cause, proxy):
    """RFC 7616, 3.4: algorithm and qop are those of the challenge; all else is one and the same refusal."""
    question = authorize(with_credentials(proxy, build_credentials(**change)), proxy=proxy)
    refused(answered(question, 5003), 403, cause, -5)


@BOTH
def test_step_7_a_realm_that_is_not_served(proxy):
    """It is all that DISC can refuse in a question without credentials."""
    refused(answered(authorize(build_request(), proxy=proxy), 5003), 403, Cause.REALM_NOT_SERVED, -5)


@BOTH
@pytest.mark.parametrize(("algorithm", "digits"), [("MD5", 64), ("SHA-256", 32), ("SHA-512-256-sess", 32)])
def test_a_response_of_another_length_than_its_algorithm_makes(algorithm, digits, proxy):
    """RFC 7616, 3.4: KD(secret, data) has as many digits as the hash."""
    value = build_credentials(algorithm=algorithm, response="0" * digits, cnonce="c")
    decision = authorize(with_credentials(proxy, value), proxy=proxy)
    refused(decision, 400, Cause.MALFORMED_RESPONSE, 0)


CODES = [None, 0, 1001, 2001, 2002, 2999, 3002, 3007, 4001, 4002, 5001, 5003, 5012, 0x7D10000, 0xFFFFFFFF]
SERVICES = [None, b"6", b"8", b"9", b"66"]
CHALLENGES = [None, CHALLENGE_VALUE + b"\r\n", b"Basic realm=x"]


def promised(code, service, challenge, credentials):
    """Steps 5 to 8 in words: the status, None for let through."""
    unreadable = code is None or service == b"66" or challenge == b"Basic realm=x"
    if unreadable:
        return 500
    if code == 2001:
        return None if credentials and service in (None, b"6") else 500
    if code == 4001 and service == b"6":
        return 401 if challenge else 500
    if code in (4001, 5003):
        return 403
    return 500


@BOTH
@pytest.mark.parametrize("credentials", [False, True], ids=["without credentials", "with credentials"])
def test_steps_5_to_8_every_answer(proxy, credentials):
    """Nothing but 2001 for credentials lets anyone in, and everything else has a reply."""
    for code, service, challenge in product(CODES, SERVICES, CHALLENGES):
        request = SipRequest(with_credentials(proxy) if credentials else build_request())
        question = authorize(request, proxy=proxy)
        decision = answered(question, code, service_type=service, challenge=challenge)
        status = promised(code, service, challenge, credentials)
        case = f"{code} {service} {challenge}"
        assert bool(decision) is (status is None), case
        assert (request.authorized is not None) is (status is None), case
        if status is None:
            assert decision.return_code == 1, case
        else:
            status = 407 if status == 401 and proxy else status
            assert (decision.status, decision.return_code) == (status, -5), case
            refused(decision, status, decision.cause, -5)


@BOTH
@pytest.mark.parametrize(
    ("more", "service"),
    [
        ((Avp(268, (2001).to_bytes(4, "big")),), b"6"),
        ((Avp(404, b"6"),), b"6"),
        ((Avp(106, "0" * 32), Avp(106, "0" * 32)), b"6"),
        ((Avp(107, "a"), Avp(107, "a")), b"6"),
        ((Avp(268, b"\0\0\x07\xd1\0"),), b"6"),
    ],
    ids=[
        "Result-Code twice",
        "Service-Type twice",
        "rspauth twice",
        "nextnonce twice",
        "Result-Code of 5 bytes",
    ],
)
def test_step_8_an_answer_with_two_meanings(more, service, proxy):
    request = SipRequest(with_credentials(proxy))
    decision = answered(authorize(request, proxy=proxy), 2001, service_type=service, more=more)
    refused(decision, 500, Cause.DISC_UNUSABLE, -5)
    assert request.authorized is None


def test_step_8_an_answer_to_another_command():
    data = bytearray(build_answer(1, 2001))
    data[5:8] = (271).to_bytes(3, "big")
    decision = AUTHORIZER.conclude(authorize(with_credentials()), decode_answer(bytes(data)), 0.0)
    refused(decision, 500, Cause.DISC_UNUSABLE, -5)


def test_step_8_an_answer_that_ends_inside_an_avp():
    data = bytearray(build_answer(1, 2001))
    data[-7] = 0xFF  # in the length of Service-Type, the last
    decision = AUTHORIZER.conclude(authorize(with_credentials()), decode_answer(bytes(data)), 0.0)
    refused(decision, 500, Cause.DISC_UNUSABLE, -5)


# ------------------------------------------------------------------ a Challenge becomes a header

EVIL = [
    b'Digest realm="a"\r\nX-Evil: 1',
    b'Digest realm="a"\nX-Evil: 1',
    b'Digest realm="a"\rX-Evil: 1',
    b'Digest realm="a"\r\n X-Evil: 1',
    b'Digest realm="a", nonce="\r\nX-Evil: 1"',
    b'Digest realm="a", nonce="\\\r\nX-Evil: 1"',
    b'Digest realm="a", nonce="b\0"',
    b'Digest realm="a", nonce="b\\\0"',
    b'Digest realm="a"\r\n\r\nbody',
    b'\r\nDigest realm="a"',
    b"\r\n",
    b"",
    b"Digest",
    b"DigestX y=z",
    b'Basic realm="a"',
    b'Digest realm="' + b"a" * 5000 + b'"',
]


@BOTH
@pytest.mark.parametrize("challenge", EVIL, ids=lambda value: repr(value)[:60])
def test_a_challenge_that_is_no_header_value_is_refused(challenge, proxy):
    decision = answered(authorize(build_request(), proxy=proxy), 4001, challenge=challenge)
    refused(decision, 500, Cause.DISC_UNUSABLE, -5)
    assert b"Evil" not in decision.reply


@BOTH
@given(challenge=st.binary(max_size=60) | st.binary(max_size=60).map(lambda end: b'Digest realm="a", ' + end))
def test_no_challenge_adds_a_header(challenge, proxy):
    decision = answered(authorize(build_request(), proxy=proxy), 4001, challenge=challenge)
    refused(decision, decision.status, decision.cause, -5)
    assert decision.status in (401, 407, 500)


# ------------------------------------------------------------------ step 9

FAILURES = [Cause.DISC_TIMEOUT, Cause.DISC_LOST, Cause.DISC_UNREACHABLE, Cause.OVERLOADED]


@BOTH
@pytest.mark.parametrize("cause", FAILURES)
@pytest.mark.parametrize("credentials", [False, True], ids=["without credentials", "with credentials"])
def test_step_9_no_answer(cause, credentials, proxy):
    request = SipRequest(with_credentials(proxy) if credentials else build_request())
    decision = AUTHORIZER.fail(authorize(request, proxy=proxy), cause, 0.0)
    assert refused(decision, 503, cause, -5)["Retry-After"] == "2"
    assert request.authorized is None


@BOTH
def test_step_9_as_the_c_module_says_it(proxy):
    authorizer = Authorizer(Config(unavailable_status=500))
    decision = authorizer.fail(authorize(build_request(), proxy=proxy), Cause.DISC_TIMEOUT, 0.0)
    headers = refused(decision, 500, Cause.DISC_TIMEOUT, -5)
    assert "Retry-After" not in headers


@BOTH
def test_step_9_an_answer_that_is_unusable_is_no_silence(proxy):
    decision = AUTHORIZER.fail(authorize(build_request(), proxy=proxy), Cause.DISC_UNUSABLE, 0.0)
    assert "Retry-After" not in refused(decision, 500, Cause.DISC_UNUSABLE, -5)


@pytest.mark.parametrize(("seconds", "value"), [(30, "30"), (0, None)])
def test_step_9_retry_after_is_a_setting(seconds, value):
    authorizer = Authorizer(Config(retry_after=seconds))
    decision = authorizer.fail(authorize(build_request()), Cause.DISC_LOST, 0.0)
    assert refused(decision, 503, Cause.DISC_LOST, -5).get("Retry-After") == value


# ------------------------------------------------------------------ the penalty for guessing
# Who gets it, and for how long, is in test_penalties.py.

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


# ------------------------------------------------------------------ is_user_in


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
