"""URIs: RFC 3261, sections 19.1 and 25.1; RFC 5118 for IPv6; RFC 3966 for tel."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from auth_diameter._core import ConfigError, ParseError, SipRequest, Uri


def refused(text: str | bytes) -> int:
    with pytest.raises(ParseError) as caught:
        Uri.parse(text)
    size = len(text.encode() if isinstance(text, str) else text)
    assert 0 <= caught.value.offset <= size
    return caught.value.offset


# What it is made of: 19.1.1


@pytest.mark.parametrize(
    ("text", "scheme", "user", "host", "port"),
    [
        ("sip:siphub.net", "sip", None, "siphub.net", None),
        ("sip:alice@siphub.net", "sip", "alice", "siphub.net", None),
        ("SIPS:alice@siphub.net:5061", "sips", "alice", "siphub.net", 5061),
        ("sip:alice:secret@192.0.2.1", "sip", "alice", "192.0.2.1", None),
        ("sip:alice:@siphub.net", "sip", "alice", "siphub.net", None),
        ("sip:alice@[2001:db8::10]:5070", "sip", "alice", "[2001:db8::10]", 5070),
        ("sip:host:00005060", "sip", None, "host", 5060),
        ("sip:host:65535", "sip", None, "host", 65535),
        ("sip:my_container:5060", "sip", None, "my_container", 5060),
        ("sip:user;par=u%40example.net@example.com", "sip", "user;par=u%40example.net", "example.com", None),
        ("sip:user?x=1@example.com", "sip", "user?x=1", "example.com", None),
        ("sip:sips%3Aa%40b.com@example.net", "sip", "sips%3Aa%40b.com", "example.net", None),
        ("sip:null-%00-null@example.com", "sip", "null-%00-null", "example.com", None),
        ("tel:+1-201-555-0123", "tel", "+1-201-555-0123", None, None),
        ("tel:7042;phone-context=example.com", "tel", "7042", None, None),
        ("urn:service:sos", "urn", None, None, None),
        ("http://example.com/a?b=c#", None, None, None, None),
        ("soap.beep://192.0.2.103:3002", "soap.beep", None, None, None),
    ],
    ids=lambda value: value if isinstance(value, str) and ":" in value else "",
)  # fmt: skip
def test_parts(text: str, scheme: str | None, user: str | None, host: str | None, port: int | None) -> None:
    if scheme is None:
        refused(text)  # "#" starts a fragment, which no URI of SIP has
        return
    uri = Uri.parse(text)
    assert (uri.scheme, uri.user, uri.host, uri.port) == (scheme, user, host, port)
    assert uri.text == text


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("sip", 0),
        ("1sip:host", 0),
        ("-x:y", 0),
        ("sip:", 4),
        ("sip:@host", 4),
        ("sip::pw@host", 4),
        ("sip:alice@", 10),
        ("sip:al ice@host", 6),
        ("sip:alice@ho st", 12),
        ("sip:alice@host>", 14),
        ("sip:a@b@c", 7),
        ("sip:.host", 4),
        ("sip:-host", 4),
        ("sip:host:", 9),
        ("sip:host:0", 10),
        ("sip:host:-1", 9),
        ("sip:host:65536", 9),
        ("sip:host:99999999999999999999", 9),
        ("sip:host:5060x", 13),
        ("sip:2001:db8::10", 9),
        ("sip:[2001:db8::10", 4),
        ("sip:[]", 4),
        ("sip:host;", 9),
        ("sip:host;x=", 11),
        ("sip:host;x=%", 11),
        ("sip:host;x=%4", 11),
        ("sip:host;x=%4g", 11),
        ("sip:%zz@host", 4),
        ("sip:host?", 9),
        ("sip:host?subject", 16),
        ("sip:host?a=b&", 13),
        ("sip:host?a=%", 11),
        ("tel:", 4),
        ("tel:x", 4),
        ("tel:+", 5),  # a separator or a "+" is no number
        ("tel:-.()", 8),
        ("tel:+a", 5),  # hexadecimal digits are those of a local number
        ("tel:+1#", 6),
        ("urn:", 4),
        ("urn:%f", 4),
        ("sip:ho\x00st", 6),
        ("sip:h\u00f6st", 5),
        ('sip:alice@evil".org', 14),
    ],
)
def test_refused(text: str, offset: int) -> None:
    assert refused(text) == offset


def test_bytes_and_text() -> None:
    assert Uri.parse(b"sip:a@b").user == Uri.parse(bytearray(b"sip:a@b")).user == "a"
    with pytest.raises(TypeError):
        Uri.parse(None)  # type: ignore[arg-type]


def test_parameters() -> None:
    uri = Uri.parse("sip:a@b;transport=tcp;lr;maddr=[::1]?subject=x&y=")
    assert uri.parameters == (("transport", "tcp"), ("lr", None), ("maddr", "[::1]"))
    assert Uri.parse("sip:a@b").parameters == ()


def test_repr_and_making() -> None:
    assert repr(Uri.parse("sip:a@b")) == "<Uri sip:a@b>"
    with pytest.raises(TypeError, match=r"Uri\.parse"):
        Uri()


# Where it stands decides what it may hold: 19.1.1, table 1; 20


def request(*, uri: str = "sip:siphub.net", from_: str = "<sip:alice@siphub.net>;tag=1") -> bytes:
    return (
        f"REGISTER {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: {from_}\r\n"
        "To: <sip:bob@siphub.net>\r\nCall-ID: 1\r\nCSeq: 1 REGISTER\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("uri", ["sip:a@b?subject=x", "sip:a@b;method=INVITE", "sip:a@b;Method=x"])
def test_not_in_a_request_uri(uri: str) -> None:
    Uri.parse(uri)
    with pytest.raises(ParseError, match="Request-URI"):
        SipRequest(request(uri=uri))


@pytest.mark.parametrize(
    ("from_", "user", "host"),
    [
        ("sip:alice@siphub.net;tag=1", "alice", "siphub.net"),
        ("sip:siphub.net;tag=1", None, "siphub.net"),
        # An "@" behind a ";" is in a header parameter, not behind a user.
        ('sip:siphub.net;x="evil@other.net"', None, "siphub.net"),
    ],
)
def test_without_brackets_a_semicolon_ends_it(from_: str, user: str | None, host: str) -> None:
    uri = SipRequest(request(from_=from_)).uri("from")
    assert uri is not None
    assert (uri.user, uri.host, uri.parameters) == (user, host, ())


@pytest.mark.parametrize("user", ["a;b", "a?b", "a,b"])
def test_a_user_with_separators_wants_brackets(user: str) -> None:
    SipRequest(request(from_=f"<sip:{user}@siphub.net>"))
    with pytest.raises(ParseError, match="From"):
        SipRequest(request(from_=f"sip:{user}@siphub.net"))


def test_parts_of_a_request() -> None:
    r = SipRequest(request(uri="sip:siphub.net:5070"))
    uris = [r.uri("request"), r.uri("from"), r.uri("to")]
    assert [uri and uri.text for uri in uris] == [
        "sip:siphub.net:5070",
        "sip:alice@siphub.net",
        "sip:bob@siphub.net",
    ]
    with pytest.raises(ConfigError, match="expected request, from or to"):
        r.uri("via")  # type: ignore[arg-type]
    del r
    assert uris[0] is not None
    assert uris[0].port == 5070  # the bytes live as long as any URI does


# IPv6: 25.1; RFC 4291, 2.2; RFC 5118


def is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


groups = st.lists(st.sampled_from(["", "", "0", "db8", "ffff", "12345", "g"]), max_size=10)
tails = st.sampled_from(["", "", ":192.0.2.1", "::192.0.2.1", ":192.0.2", ":1.2.3.256", "::"])


@given(groups, tails)
@example(["1", "", "2", "3", "4", "5", "6", "7", "8"], "")
@example(["", "", "2", "3", "4", "5", "6", "7", "8"], "")
@example(["1", "2", "3", "4", "5", "6", "7", "", ""], "")
@example(["1", "2", "3", "4", "5", "", "6"], ":192.0.2.1")
def test_ipv6_as_ipaddress_has_it(words: list[str], tail: str) -> None:
    text = ":".join(words) + tail
    try:
        Uri.parse(f"sip:[{text}]")
        accepted = True
    except ParseError:
        accepted = False
    if ":::" in text and not text.startswith(":::"):
        # RFC 5118, 4.10: senders that follow an error in RFC 3261's grammar are understood.
        text = text.replace(":::", "::", 1)
    assert accepted == is_ipv6(text)


# Any input


@given(st.text(alphabet='sip:@%4[]ab;=?&.,1 <>"\\\x00\n\u00fc', max_size=40))
def test_any_text_is_read_or_refused(tail: str) -> None:
    for text in ("sip:" + tail, tail):
        try:
            found = Uri.parse(text).text
        except ParseError as error:
            found, offset = text, error.offset
        else:
            offset = 0
        assert found == text
        assert 0 <= offset <= len(text.encode())


user_chars = "abcXYZ019-_.!~*'()&=+$,;?/"
tokens = st.text(alphabet="abcXYZ019-_.!~*'()[]/:&+$", min_size=1, max_size=10)


@given(
    st.sampled_from(["sip", "sips"]),
    st.none() | st.text(alphabet=user_chars, min_size=1, max_size=20),
    st.sampled_from(["siphub.net", "192.0.2.1", "[2001:db8::1]", "a-b.example"]),
    st.none() | st.integers(1, 65535),
    st.lists(st.tuples(tokens, st.none() | tokens), max_size=4),
)
def test_round_trip(
    scheme: str,
    user: str | None,
    host: str,
    port: int | None,
    parameters: list[tuple[str, str | None]],
) -> None:
    text = f"{scheme}:{'' if user is None else user + '@'}{host}{'' if port is None else f':{port}'}"
    text += "".join(f";{n}" if v is None else f";{n}={v}" for n, v in parameters)
    uri = Uri.parse(text)
    assert (uri.scheme, uri.user, uri.host, uri.port) == (scheme, user, host, port)
    assert list(uri.parameters) == parameters


def test_long_ones() -> None:
    # Would take minutes if any step looked at all the rest again.
    for text in (
        "sip:" + "a" * 10**6 + "@host",
        "sip:host" + ";a" * 500_000,
        "sip:h?" + "a=&" * 10**5 + "a=",
    ):
        assert Uri.parse(text).text == text
    refused("sip:" + "@" * 10**6)
    refused("sip:[" + ":" * 10**6)


@pytest.mark.parametrize(
    ("user", "account"),
    [
        ("alice", "alice"),
        ("%61lice", "alice"),
        ("al%49ce%2D%2e%5F1", "alIce-._1"),
        ("a%00b%40c%2Fd", "a%00b%40c%2Fd"),
        ("%", None),
    ],
)
def test_the_account_has_no_escape_that_hides_a_letter(user: str, account: str | None) -> None:
    # RFC 3261, 19.1.4; RFC 3986, 6.2.2.2. What could cut or split the name stays escaped.
    if account is None:
        refused(f"sip:{user}@example.com")
    else:
        assert Uri.parse(f"sip:{user}@example.com").account == account


def test_no_user_no_account() -> None:
    assert Uri.parse("sip:example.com").account is None
