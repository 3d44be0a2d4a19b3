"""What an answer of DISC decides in `diameter_www_authorize` and `diameter_proxy_authorize`.

The steps 5 to 9 of both functions; 1 to 4 are in test_authorizer.py::

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
from kit.authorizing import (
    AUTHORIZER,
    BOTH,
    CHALLENGES,
    CODES,
    FAILURES,
    answered,
    authorize,
    refused,
    with_credentials,
)
from kit.disc import CHALLENGE_VALUE
from kit.sip import build_credentials, build_request, parse_reply
from kit.wire import (
    USER_NAME,
    build_answer,
)

from auth_diameter import Avp, Config, Message, SipRequest
from auth_diameter._core import append_question, decode_answer
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause

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


SERVICES = [None, b"6", b"8", b"9", b"66"]


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
