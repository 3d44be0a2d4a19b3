"""The grammars of From, To and Via, seen through SipRequest: RFC 3261, sections 20 and 25.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter._core import ParseError, SipRequest

VIA = "SIP/2.0/UDP pc33.siphub.net;branch=z9hG4bK776asdhds"
FROM = "<sip:alice@siphub.net>;tag=1928301774"


def build(*, via: str = VIA, from_: str = FROM, to: str = "<sip:bob@siphub.net>") -> bytes:
    return (
        f"INVITE sip:bob@siphub.net SIP/2.0\r\nVia: {via}\r\nFrom: {from_}\r\nTo: {to}\r\n"
        "Call-ID: a84b4c76e66710@pc33\r\nCSeq: 314159 INVITE\r\n\r\n"
    ).encode("utf-8", "surrogateescape")


def read(data: bytes) -> tuple[SipRequest | None, ParseError | None]:
    try:
        return SipRequest(data, ("192.0.2.9", 4711)), None
    except ParseError as error:
        return None, error


def refused(header: str, data: bytes) -> ParseError:
    """The error, which names the header and points into its value."""
    with pytest.raises(ParseError) as caught:
        SipRequest(data)
    error = caught.value
    assert (error.header, error.status) == (header, 400)
    start = data.index(f"\r\n{header}: ".encode()) + len(header) + 4
    assert start <= error.offset <= data.index(b"\r\n", start)
    return error


# From and To: 20.20, 20.39


@pytest.mark.parametrize(
    ("value", "uri", "tag"),
    [
        ("<sip:a@b>", "sip:a@b", None),
        ("<sip:a@b>;tag=1", "sip:a@b", "1"),
        ("  <sip:a@b>  ;  tag  =  1  ", "sip:a@b", "1"),
        ("sip:a@b", "sip:a@b", None),
        ("sip:a@b;tag=1;x", "sip:a@b", "1"),
        ("sip:a@b ; TAG=1", "sip:a@b", "1"),
        ("Alice <sip:a@b>;tag=1", "sip:a@b", "1"),
        # Without quotes a name is to be tokens (25.1). Many telephones send others, and every other server
        # takes them: RFC 4475, 3.1.2.15 leaves it to us.
        ("Alice Smith, no <sip:a@b>", "sip:a@b", None),
        ("\u00dcml\u00e4ut <sip:a@b>;tag=1", "sip:a@b", "1"),
        ("\u30a2\u30ea\u30b9<sip:a@b>", "sip:a@b", None),
        ("alice@home.net <sip:a@b>", "sip:a@b", None),
        ("Alice (home), 2nd; [x] / {y} = z? & more <sip:a@b>", "sip:a@b", None),
        ("Room: 12 <sip:a@b>", "sip:a@b", None),
        ("Dept:Sales <sip:a@b>", "sip:a@b", None),
        ("NET\\alice <sip:a@b>", "sip:a@b", None),
        ("sip <sip:a@b>", "sip:a@b", None),
        ("\u00dcml\u00e4ut\r\n A <sip:a@b>", "sip:a@b", None),
        ("<sip:9901#1@b>;tag=1", "sip:9901#1@b", "1"),
        ("sip:*21#@b;tag=1", "sip:*21#@b", "1"),
        ("caller<sip:a@b>", "sip:a@b", None),
        ("Alice B. Smith<sip:a@b>", "sip:a@b", None),
        ('"Alice" <sip:a@b>', "sip:a@b", None),
        ('"Alice"<sip:a@b>', "sip:a@b", None),
        ('"" <sip:a@b>', "sip:a@b", None),
        ('"J\\"o\\\\" <sip:a@b>;tag=1', "sip:a@b", "1"),
        ('"a <sip:evil@other.net>;tag=0" <sip:a@b>;tag=1', "sip:a@b", "1"),
        ('"\u00dcml\u00e4ut" <sip:a@b>', "sip:a@b", None),
        ('"A"\r\n <sip:a@b>\r\n\t;tag=1', "sip:a@b", "1"),
        ('"A\r\n B" <sip:a@b>', "sip:a@b", None),
        ("<sip:a@b;transport=tcp?subject=x>;tag=1", "sip:a@b;transport=tcp?subject=x", "1"),
        ("<tel:+12015550123>;tag=1", "tel:+12015550123", "1"),
        ("<http://www.example.com/;a=b>", "http://www.example.com/;a=b", None),
        ("isbn:2983792873", "isbn:2983792873", None),
        ('<sip:a@b>;x=y;z;q="a;tag=0";tag=1', "sip:a@b", "1"),
        ("<sip:a@b>;host=[2001:db8::1];tag=1", "sip:a@b", "1"),
    ],
)
def test_from_and_to(value: str, uri: str, tag: str | None) -> None:
    for request, part in (
        (SipRequest(build(from_=value)), "from"),
        (SipRequest(build(to=value)), "to"),
    ):
        found = request.uri(part)  # type: ignore[arg-type]
        assert found is not None
        assert found.text == uri == getattr(request, f"{part}_uri")
        assert request.tag(part) == tag  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "alice",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        "< sip:a@b>",
        "<sip:a@b >",
        "<<sip:a@b>>",
        "<sip:a@b> x",
        "<sip:a@b>;",
        "<sip:a@b>;;tag=1",
        "<sip:a@b>;tag=",
        "<sip:a@b>;tag=1;tag=2",
        "<sip:a@b>;=1",
        "<sip:a@b>;x=",
        "<sip:a@b>;x=[",
        '<sip:a@b>;x=[";tag=1]',
        '<sip:a@b>;x="',
        "<sip:a@b>, <sip:c@d>",
        "sip:a@b, sip:c@d",
        '"Alice <sip:a@b>',
        '"Alice" Smith <sip:a@b>',
        'Alice "Smith" <sip:a@b>',
        '"Alice\\',
        # Two readers might see two senders.
        "sip:c@d, <sip:a@b>",
        "sip:c@d <sip:a@b>",
        "SIPS:c@d;x <sip:a@b>",
        "tel:+1 <sip:a@b>",
        "c@d> <sip:a@b>",
        'Alice <sip:c@d> "x" <sip:a@b>',
        "Alice, sip:a@b",
        "\u00dcml\u00e4ut",
        # A quoted-pair, which may hold a control character, stands in quotes alone.
        "Al\\\x01ice <sip:a@b>",
        "\u00dc\\\x00 <sip:a@b>",
        # A tag is a token and has a value: a reply would add a second one (25.1: tag-param).
        "<sip:a@b>;tag",
        '<sip:a@b>;tag="1"',
        "<sip:a@b>;tag=[::1]",
    ],
)
def test_neither_name_addr_nor_addr_spec(value: str) -> None:
    refused("From", build(from_=value))
    refused("To", build(to=value))


def test_offset_is_where_it_breaks() -> None:
    data = build(from_='"Alice" <sip:al ice@b>')
    assert refused("From", data).offset == data.index(b"al ice") + 2


def test_a_name_without_quotes_comes_back_in_the_reply_as_bytes() -> None:
    """It is the sender's text, repeated to the sender: no line of a reply begins in it."""
    reply = SipRequest(build(from_="Virtu\u00e1lis, \udcff\r\n x: y <sip:a@b>;tag=1")).reply(200, "OK")
    assert b"\r\nFrom: Virtu\xc3\xa1lis, \xff\r\n x: y <sip:a@b>;tag=1\r\nTo: " in reply


# Via: 20.42


@pytest.mark.parametrize(
    ("via", "port"),
    [
        ("SIP/2.0/UDP h", 5060),
        ("sip/2.0/UDP h", 5060),
        ("SIP / 2.0 / UDP h", 5060),
        ("SIP/2.0/UDP\th", 5060),
        ("SIP/2.0/UNKNOWN h:7", 7),
        ("SIP/2.0/TLS-SCTP h", 5060),
        ("SIP/2.0/UDP h : 5070 ; branch = z9hG4bK", 5070),
        ("SIP/2.0/UDP\r\n h\r\n :5070", 5070),
        ("SIP/2.0/UDP my_container:5080;branch=z9hG4bK", 5080),
        ("SIP/2.0/UDP [2001:db8::9:1];branch=z9hG4bK", 5060),
        ("SIP/2.0/UDP [2001:db8::9:1]:5070", 5070),
        ("SIP/2.0/UDP [2001:db8::9:1] : 5070 ;lr", 5070),
        ("SIP/2.0/UDP h;received=[2001:db8::9:255];branch=1", 5060),
        ("SIP/2.0/UDP h;received=2001:db8::9:255;branch=1", 5060),
        ('SIP/2.0/UDP h;x="a,b;c";branch=1', 5060),
        ("SIP/2.0/UDP h, SIP/2.0/TCP other:9;branch=1", 5060),
        ("SIP/2.0/UDP h;branch=1 ,\r\n SIP/2.0/TCP other", 5060),
    ],
)
def test_via(via: str, port: int) -> None:
    data = build(via=via)
    assert SipRequest(data, ("192.0.2.9", 4711)).reply_address == ("192.0.2.9", port)
    unfolded = " ".join(part.strip() for part in via.split("\r\n"))
    assert SipRequest(data).header("v") == unfolded


@pytest.mark.parametrize(
    "via",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 h",
        "SIP/1.0/UDP h",
        "HTTP/2.0/UDP h",
        "SIP/2.0/UDP ;branch=1",
        "SIP/2.0/? M;received",
        "SIP/2.0/UDP 2001:db8::1",
        "SIP/2.0/UDP [2001:db8::1",
        "SIP/2.0/UDP [not-an-address]",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP h h2",
        "SIP/2.0/UDP h;",
        "SIP/2.0/UDP h;;branch=1",
        "SIP/2.0/UDP h;branch=",
        'SIP/2.0/UDP h;x="a',
        "SIP/2.0/UDP h,",
        "SIP/2.0/UDP h,, SIP/2.0/UDP i",
        "SIP/2.0/UDP h, garbage",
        "SIP/2.0/UDP 192.0.2.15;;,;,,",
    ],
)
def test_not_a_via(via: str) -> None:
    refused("Via", build(via=via))


def test_every_via_is_looked_at() -> None:
    data = build(via=f"{VIA}\r\nVia: garbage")
    with pytest.raises(ParseError) as caught:
        SipRequest(data)
    assert caught.value.offset == data.index(b"garbage") + len("garbage")


# Any input


@given(st.text(alphabet='sip:@;=<>"\\,. \ttag[]1%\u00fc', max_size=30))
def test_any_value_is_read_or_refused(value: str) -> None:
    for header, data in (
        ("From", build(from_=value)),
        ("To", build(to=value)),
        ("Via", build(via=VIA + value)),
    ):
        request, error = read(data)
        if error is not None:
            assert error.header == header
            assert 0 <= error.offset <= len(data)
            assert error.request is not None
            request = error.request
        assert request is not None
        # What is answered has the same number of lines, whatever stood in the request.
        assert request.reply(400, "Bad Request").count(b"\r\n") == 8


@pytest.mark.parametrize(
    "value",
    ["<" * 30_000, '"' * 30_000, "a " * 20_000, '"' + "\\\\" * 20_000, "<sip:a@b>" + ";a=b" * 10_000],
    ids=["angles", "quotes", "tokens", "backslashes", "parameters"],
)
def test_long_ones(value: str) -> None:
    for data in (build(from_=value), build(to=value), build(via=VIA + value)):
        _, error = read(data)
        assert error is None or 0 <= error.offset <= len(data)
