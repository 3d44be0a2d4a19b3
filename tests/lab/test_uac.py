"""The client side of digest: what the demo, the bench and these tests play the telephone with."""

import pytest

import auth_diameter as ad
from auth_diameter.lab.uac import authorization, make_request, parse_reply

CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,'
    ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",'
    ' opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


def answer(challenge, **changes):
    """The credentials that answer a challenge, parsed."""
    settings = {
        "username": "Mufasa",
        "password": "Circle of Life",
        "method": "GET",
        "uri": "/dir/index.html",
        **changes,
    }
    return ad.Credentials.parse(authorization(ad.Challenge.parse(challenge), **settings))


def test_the_example_of_rfc_7616():
    """RFC 7616, 3.9.1: the response to this challenge with this cnonce."""
    credentials = answer(CHALLENGE, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
    assert credentials.response == "8ca523f5e9506fed4657c9700eebdbec"
    assert (credentials.qop, credentials.nc) == ("auth", "00000001")
    assert credentials.opaque == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def test_without_qop_it_answers_as_rfc_2069():
    """RFC 7616, 3.4.1, last form: neither nc nor cnonce take part."""
    credentials = answer('Digest realm="siphub.net", nonce="abc"')
    assert (credentials.qop, credentials.nc, credentials.cnonce, credentials.opaque) == (None,) * 4
    assert ad.verify(credentials, "GET", ad.ha1("Mufasa", "siphub.net", "Circle of Life"))


def test_auth_int_where_nothing_else_is_offered():
    """RFC 7616, 3.4.3: the body takes part in the digest."""
    credentials = answer('Digest realm="siphub.net", nonce="abc", qop="auth-int"', body=b"v=0")
    ha1 = ad.ha1("Mufasa", "siphub.net", "Circle of Life")
    assert credentials.qop == "auth-int"
    assert ad.verify(credentials, "GET", ha1, b"v=0")
    assert not ad.verify(credentials, "GET", ha1, b"v=1")


def test_each_use_of_a_nonce_is_counted_and_has_its_own_cnonce():
    first, second = answer(CHALLENGE), answer(CHALLENGE, nc=255)
    assert second.nc == "000000ff"
    assert first.cnonce != second.cnonce


def test_names_with_quotes_are_escaped():
    """RFC 3261, 25.1: in a quoted string a quote and a backslash have a backslash before them."""
    credentials = answer('Digest realm="a\\"b", nonce="abc"', username='al"i\\ce')
    assert (credentials.username, credentials.realm) == ('al"i\\ce', 'a"b')
    assert ad.verify(credentials, "GET", ad.ha1('al"i\\ce', 'a"b', "Circle of Life"))


@pytest.mark.parametrize("local", [("127.0.0.1", 5060), ("::1", 5062)])
@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_its_requests_are_what_our_parser_takes(method, local):
    to = "sip:bob@siphub.net" if method == "INVITE" else None
    data = make_request(method, "sip:siphub.net", "alice@siphub.net", to=to, local=local, cseq=7)
    request = ad.SipRequest(data, source=local)
    assert (request.method, request.cseq) == (method, 7)
    assert request.from_uri == "sip:alice@siphub.net"
    assert request.to_uri == (to or "sip:alice@siphub.net")
    assert request.reply_address == local


def test_each_request_is_a_new_transaction():
    """RFC 3261, 8.1.1.7: the branch is unique, and begins with the magic cookie."""
    branches = {ad.SipRequest(make_request("OPTIONS", "sip:a", "alice@a")).header("Via") for _ in range(50)}
    assert len(branches) == 50
    assert all("branch=z9hG4bK" in branch for branch in branches)


def test_a_reply_is_read():
    request = ad.SipRequest(make_request("REGISTER", "sip:siphub.net", "alice@siphub.net"))
    reply = parse_reply(request.reply(401, "Unauthorized", [("WWW-Authenticate", CHALLENGE)]))
    assert (reply.status, reply.reason) == (401, "Unauthorized")
    assert reply.header("cseq") == "1 REGISTER"
    assert reply.header("Expires") is None
    assert reply.challenge().realm == "http-auth@example.org"


def test_a_reply_without_a_challenge_has_none():
    request = ad.SipRequest(make_request("REGISTER", "sip:siphub.net", "alice@siphub.net"))
    assert parse_reply(request.reply(200, "OK")).challenge() is None


@pytest.mark.parametrize(
    "data", [b"", b"REGISTER sip:a SIP/2.0\r\n\r\n", b"SIP/2.0 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_what_is_no_reply_is_a_parse_error(data):
    with pytest.raises(ad.ParseError):
        parse_reply(data)
