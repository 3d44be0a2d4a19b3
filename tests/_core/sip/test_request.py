"""SIP requests: RFC 3261, sections 7, 8.1.1, 20 and 22."""

from __future__ import annotations

import gc
import re

import pytest
from kit.replies import lines
from kit.sip import DIGEST, REGISTER, SOURCE, changed, refused, with_line

from auth_diameter._core import Credentials, ParseError, SipRequest

# What it says: 7


def test_what_it_says() -> None:
    r = SipRequest(REGISTER, SOURCE)
    assert (r.method, r.request_uri, r.cseq) == ("REGISTER", "sip:siphub.net", 1)
    assert (r.from_uri, r.to_uri) == ("sip:alice@siphub.net", "sip:alice@siphub.net")
    assert (r.from_host, r.to_host, r.identity_host, r.request_host) == ("siphub.net",) * 4
    assert (r.tag("from"), r.tag("to")) == ("1928301774", None)
    assert (r.call_id, r.body, r.data_size) == ("a84b4c76e66710@pc33", b"", len(REGISTER))
    assert r.source == SOURCE
    assert repr(r) == "<SipRequest REGISTER sip:siphub.net call_id='a84b4c76e66710@pc33'>"


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like(kind: type) -> None:
    assert SipRequest(kind(REGISTER)).method == "REGISTER"


def test_text_is_not_bytes() -> None:
    with pytest.raises(TypeError):
        SipRequest(REGISTER.decode())  # type: ignore[arg-type]


def test_a_copy_is_read() -> None:
    data = bytearray(REGISTER)
    r = SipRequest(data)
    data[:] = b"x" * len(data)
    assert r.call_id == "a84b4c76e66710@pc33"


def test_read_once() -> None:
    r = SipRequest(REGISTER)
    with pytest.raises(TypeError, match="once"):
        r.__init__(REGISTER)
    assert r.method == "REGISTER"


# The start-line: 7.1


@pytest.mark.parametrize(
    "method", ["OPTIONS", "register", "RE%47IST%45R", "!interesting-Method0123456789_*+`.%indeed'~"]
)
def test_a_method_is_any_token_and_case_matters(method: str) -> None:
    data = REGISTER.replace(b"REGISTER", method.encode())
    assert SipRequest(data).method == method


@pytest.mark.parametrize(
    ("start", "offset"),
    [
        (b"", 5),  # the empty line is passed over, and a header field is no Request-Line
        (b" REGISTER sip:siphub.net SIP/2.0", 0),
        (b"REGISTER", 8),
        (b"REGISTER\tsip:siphub.net SIP/2.0", 8),
        (b"REGI(STER sip:siphub.net SIP/2.0", 4),
        (b"REGISTER sip:siphub.net", 9),
        (b"REGISTER  sip:siphub.net SIP/2.0", 9),
        (b"REGISTER <sip:siphub.net> SIP/2.0", 9),
        (b"REGISTER sip:siphub.net;a b SIP/2.0", 25),
        (b"REGISTER sip:siphub.net  SIP/2.0", 23),
        (b"REGISTER sip:siphub.net SIP/2.0  ", 31),
        (b"REGISTER sip:siphub.net HTTP/1.1", 24),
        (b"REGISTER sip:siphub.net SIP/2.0\x00", 31),
        (b"SIP/2.0 200 OK", 0),
        (b"GET / HTTP/1.1", 6),
    ],
)
def test_not_a_request_line(start: bytes, offset: int) -> None:
    error = refused(changed(b"REGISTER sip:siphub.net SIP/2.0", start))
    assert (error.offset, error.status) == (offset, 400)


@pytest.mark.parametrize("version", [b"SIP/2.0", b"sip/2.0"])
def test_the_version_in_any_case(version: bytes) -> None:
    assert SipRequest(changed(b"net SIP/2.0\r", b"net " + version + b"\r")).method == "REGISTER"


@pytest.mark.parametrize("version", [b"SIP/1.0", b"SIP/7.0", b"SIP/2.00", b"SIP/"])
def test_another_version_is_505(version: bytes) -> None:
    error = refused(changed(b"net SIP/2.0\r", b"net " + version + b"\r"))
    assert (error.status, error.offset) == (505, 24)
    assert error.request is not None
    assert error.request.reply(505, "Version Not Supported").startswith(b"SIP/2.0 505 ")


def test_empty_lines_before_it() -> None:
    # RFC 3261, 7.5; a keep-alive of nothing but CRLFs is no request.
    assert SipRequest(b"\r\n\r\n" + REGISTER).method == "REGISTER"
    assert refused(b"\r\n" * 20_000).request is None
    assert refused(b"\n" + REGISTER).offset == 0


@pytest.mark.parametrize("data", [b"", b"\x00", b"jaK\x00", b"\r", b"\r\n\r\n"])
def test_no_request_at_all(data: bytes) -> None:
    assert refused(data).request is None  # nobody to answer


def test_of_several_credentials_the_strongest() -> None:
    """RFC 8760, 2.4: an attacker who takes the strong ones out gains nothing by adding weak ones in front."""

    def chosen(*values: str) -> str | None:
        lines = "\r\n".join(f"Authorization: {value}" for value in values)
        found = SipRequest(with_line(lines.encode())).credentials("siphub.net")
        return None if found is None else found.username

    def one(username: str, algorithm: str, realm: str = "siphub.net") -> str:
        return (
            f'Digest username="{username}", realm="{realm}", nonce="n", uri="sip:siphub.net", '
            f'algorithm={algorithm}, response="{"0" * (32 if algorithm == "MD5" else 64)}"'
        )

    md5, sha, best = one("a", "MD5"), one("b", "SHA-256-sess"), one("c", "sha-512-256")
    unknown, elsewhere = one("d", "SHA-3"), one("e", "SHA-512-256", "else.where")
    assert chosen(md5, sha, best, elsewhere) == chosen(best, md5) == chosen(unknown, md5, best, sha) == "c"
    assert chosen(md5, sha) == chosen(sha, md5) == chosen(elsewhere, md5, unknown, sha) == "b"
    assert chosen(unknown, md5) == chosen(md5, one("f", "MD5")) == "a"
    assert chosen(unknown) == "d"
    assert chosen(elsewhere) is None
    assert chosen(md5, "Digest =", sha) == chosen(elsewhere, "Digest =", sha) == "b"
    with pytest.raises(ParseError, match="Authorization"):
        chosen(elsewhere, "Digest =")


def test_longer_than_a_datagram() -> None:
    most = with_line(b"X: " + b"a" * (65535 - len(REGISTER) - 5))
    assert SipRequest(most).data_size == 65535
    assert refused(most + b"x").offset == 65535


def test_limits_of_the_caller_s_own() -> None:
    SipRequest(REGISTER, max_size=len(REGISTER), max_headers=REGISTER.count(b"\r\n") - 2)
    with pytest.raises(ParseError, match="more bytes than the limit of 100") as caught:
        SipRequest(REGISTER, max_size=100)
    assert (caught.value.offset, caught.value.request) == (100, None)
    with pytest.raises(ParseError, match="more header fields than the limit of 5") as caught:
        SipRequest(REGISTER, max_headers=5)
    assert REGISTER[: caught.value.offset].count(b"\r\n") == 1 + 5


@pytest.mark.parametrize("headers", [31, 32, 33, 255, 256, 257, 1000, 3000])
def test_header_fields_of_any_number_up_to_the_limit(headers: int) -> None:
    # Up to 32 lines stand in the object, more of them on the heap, which grows.
    more = headers - REGISTER.count(b"\r\n") + 2
    data = with_line(b"\r\n".join(b"X-%d: %d" % (i, i) for i in range(more)))
    request = SipRequest(data, max_headers=headers)
    assert [request.header(f"X-{i}") for i in (0, more // 2, more - 1)] == [
        "0",
        str(more // 2),
        str(more - 1),
    ]
    with pytest.raises(ParseError, match=f"limit of {headers - 1}"):
        SipRequest(data, max_headers=headers - 1)


# Header fields: 7.3


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"Subject: lunch", "lunch"),
        (b"Subject:lunch", "lunch"),
        (b"Subject : lunch", "lunch"),
        (b"SUBJECT\t \t:\t lunch \t", "lunch"),
        (b"s: lunch", "lunch"),
        (b"S : lunch", "lunch"),
        (b"Subject:", ""),
        (b"Subject:\r\n lunch", "lunch"),
        (b"Subject: lunch \r\n \t today", "lunch today"),
        (b"Subject: lunch\r\n\ttoday\r\n \r\n  at noon", "lunch today at noon"),
        (b"Subject: l\xc3\xbcnch", "l\u00fcnch"),
        (b"Subject: \xff", "\udcff"),
        (b"Subject: a:b", "a:b"),
        (b'Subject: "a\\\x01"', '"a\\\x01"'),
    ],
)
def test_header(line: bytes, value: str) -> None:
    r = SipRequest(with_line(line))
    assert r.header("Subject") == r.header("subject") == r.header("S") == value
    assert r.headers("Subject") == [value]


def test_header_absent() -> None:
    r = SipRequest(REGISTER)
    assert r.header("Subject") is None
    assert r.header("") is None
    assert r.headers("s") == []


def test_header_of_any_number_in_order() -> None:
    r = SipRequest(with_line(b"X-A: 1\r\nx-a: 2\r\nm: <sip:a@b>\r\nContact: <sip:c@d>\r\nX-A: 3"))
    assert r.headers("X-A") == ["1", "2", "3"]
    assert r.header("x-a") == "1"
    assert r.headers("Contact") == r.headers("m") == ["<sip:a@b>", "<sip:c@d>"]


@pytest.mark.parametrize(
    ("long", "short"),
    [("Via", "v"), ("From", "F"), ("To", "t"), ("Call-ID", "i"), ("Content-Length", "l")],
)
def test_compact_names(long: str, short: str) -> None:
    # 7.3.3: they are the same header fields, so that one of each is two.
    data = changed(f"{long}: ".encode(), f"{short}: ".encode())
    assert SipRequest(data).header(long) == SipRequest(REGISTER).header(long)
    if long != "Via":
        value = SipRequest(REGISTER).header(long)
        error = refused(with_line(f"{short}: {value}".encode()))
        assert (error.header, "twice" in error.reason) == (long, True)


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b"GarbageLine", 11),
        (b": x", 0),
        (b"\xc3\x9cber: x", 0),
        (b"A b: x", 2),
        (b"Authorization\x01: x", 13),
        (b"Authorization\x0b: x", 13),
        (b"X: a\x00b", 4),
        (b"X: a\x7fb", 4),
        (b"X: a\rb", 4),
        (b"X: 1\nAuthorization: Digest", 4),
        (b'X: "\\\nAuthorization: Digest"', 5),
    ],
)
def test_not_a_header_field(line: bytes, at: int) -> None:
    error = refused(with_line(line))
    assert error.offset == REGISTER.index(b"Content-Length") + at
    assert error.request is not None  # the rest was read, so that it can be answered
    reply = lines(error.request.reply(400, "Bad Request"))
    assert reply[0] == "SIP/2.0 400 Bad Request"
    assert reply[-2] == "CSeq: 1 REGISTER"


def test_a_line_that_starts_with_a_space_goes_on() -> None:
    # No header field can be smuggled in behind a proxy that sees one: it makes the CSeq wrong.
    error = refused(with_line(b" Authorization: " + DIGEST))
    assert error.header == "CSeq"
    assert refused(changed(b"Via: ", b" Via: ")).offset == REGISTER.index(b"Via")


@pytest.mark.parametrize("newline", [b"\n", b"\r"])
def test_lines_end_with_crlf(newline: bytes) -> None:
    assert refused(REGISTER.replace(b"\r\n", newline)).offset == REGISTER.index(b"\r\n")


def test_as_many_as_256_header_fields() -> None:
    few = b"\r\n".join(b"X: %d" % i for i in range(249))
    assert len(SipRequest(with_line(few)).headers("X")) == 249
    error = refused(with_line(few + b"\r\nX: 249\r\nX: 250"))
    assert "256" in error.reason
    assert error.request is not None
    assert error.request.reply(400, "Bad Request")


def test_long_ones() -> None:
    for value in (b"a\r\n " * 15_000, b"(" * 50_000, b" " * 60_000 + b"x\r\n " + b" " * 2000 + b"y"):
        r = SipRequest(with_line(b"X: " + value))
        assert r.header("X") == " ".join(value.decode().split())


# What every request has: 8.1.1; what stands in it once: 20


@pytest.mark.parametrize("name", [b"Via", b"Call-ID", b"CSeq"])
def test_missing(name: bytes) -> None:
    error = refused(re.sub(rb"(?m)^%b: .*\r\n" % name, b"", REGISTER))
    assert "missing" in error.reason
    assert (error.request is None) == (name == b"Via")


def test_from_and_to_may_be_missing_until_they_are_needed() -> None:
    r = SipRequest(re.sub(rb"(?m)^(From|To): .*\r\n", b"", REGISTER), SOURCE)
    assert (r.from_uri, r.to_uri, r.from_host, r.to_host) == (None,) * 4
    assert (r.uri("from"), r.uri("to"), r.tag("from"), r.tag("to")) == (None,) * 4
    assert [line.split(":")[0] for line in lines(r.reply(400, "Bad Request"))[1:]] == [
        "Via",
        "Call-ID",
        "CSeq",
        "Content-Length",
    ]


def test_max_forwards_may_be_missing() -> None:
    assert SipRequest(changed(b"Max-Forwards: 70\r\n", b"")).method == "REGISTER"  # RFC 2543


@pytest.mark.parametrize("name", [b"From", b"To", b"Call-ID", b"CSeq", b"Max-Forwards", b"Content-Length"])
def test_twice(name: bytes) -> None:
    found = re.search(rb"(?m)^%b: .*(?=\r\n)" % name, REGISTER)
    assert found
    data = with_line(found[0])
    error = refused(data)
    assert (error.header, error.reason) == (name.decode(), f"{name.decode()}: given twice")
    assert data[error.offset :].startswith(name)


@pytest.mark.parametrize("value", ["0", "0009", "2147483647"])
def test_cseq(value: str) -> None:
    data = changed(b"CSeq: 1 REGISTER", f"CSeq: {value}\r\n\t REGISTER".encode())
    assert SipRequest(data).cseq == int(value)


@pytest.mark.parametrize(
    "value", ["", "1", "REGISTER", "-1 REGISTER", "2147483648 REGISTER", "1REGISTER", "1 register",
              "1 INVITE", "1 REGISTER x", "1 REGISTER2", "36893488147419103232 REGISTER",
              "1 REGISTE", "1 R", "1 \t"]
)  # fmt: skip
def test_not_a_cseq(value: str) -> None:
    assert refused(changed(b"CSeq: 1 REGISTER", f"CSeq: {value}".encode())).header == "CSeq"


@pytest.mark.parametrize("value", [b"", b"a b", b"a\r\n b"])
def test_not_a_call_id(value: bytes) -> None:
    assert refused(changed(b"a84b4c76e66710@pc33", value)).header == "Call-ID"


@pytest.mark.parametrize("value", ["", "-1", "256", "999999999999", "7 0", "70;x"])
def test_not_a_max_forwards(value: str) -> None:
    assert refused(changed(b": 70", f": {value}".encode())).header == "Max-Forwards"


# Content-Length: 18.3, 20.14


@pytest.mark.parametrize(
    ("value", "tail", "body"),
    [
        (b"0", b"", b""),
        (b"5", b"hello", b"hello"),
        (b"0005", b"hello", b"hello"),
        (b"3", b"hello", b"hel"),
        (b"0", b"Authorization: x\r\n\r\n", b""),
        (b"4", b"\r\n\x00\xff", b"\r\n\x00\xff"),
    ],
)
def test_body(value: bytes, tail: bytes, body: bytes) -> None:
    # Bytes of a datagram beyond Content-Length are ignored; text in the body is no header field.
    r = SipRequest(changed(b"Content-Length: 0", b"Content-Length: " + value) + tail)
    assert r.body == body
    assert r.header("Authorization") is None


def test_without_content_length_the_body_is_the_rest() -> None:
    assert SipRequest(changed(b"Content-Length: 0\r\n", b"") + b"hello").body == b"hello"


@pytest.mark.parametrize(
    "value",
    ["", "-1", "+0", "0x10", "1 2", "1,2", "1e3", "five", "\u0661", "1", "65536", "2147483647", "4294967296",
     "4294967328", "9223372036854775808", "18446744073709551616", "99999999999999999999999"],
)  # fmt: skip
def test_not_a_content_length(value: str) -> None:
    error = refused(changed(b"Length: 0", f"Length: {value}".encode()))
    assert (error.header, error.status) == ("Content-Length", 400)


# Credentials: 22.2, 22.3


def test_credentials() -> None:
    r = SipRequest(with_line(b"Authorization: " + DIGEST))
    found = r.credentials("SipHub.NET")  # SIP domains compare without regard to case
    assert found is not None
    assert (found.username, found.value) == ("alice", DIGEST)
    assert r.credentials("siphub.net", proxy=True) is None  # that is another header field
    assert r.credentials("other.net") is None
    assert r.credentials("") is None
    assert r.credentials("s\u00fcd.net") is None
    assert r.credentials("\udcff") is None


def test_proxy_credentials() -> None:
    r = SipRequest(with_line(b"Proxy-Authorization: " + DIGEST))
    assert r.credentials("siphub.net", proxy=True) is not None
    assert r.credentials("siphub.net") is None


def test_the_first_of_that_realm() -> None:
    headers = [
        b"NoOneKnowsThisScheme opaque-data=here",
        b"",
        DIGEST.replace(b'"alice"', b'"other"').replace(b'"siphub.net"', b'"other.net"'),
        DIGEST,
        DIGEST.replace(b'"alice"', b'"second"'),
        b"Digest broken",
    ]
    r = SipRequest(with_line(b"\r\n".join(b"Authorization: " + value for value in headers)))
    for realm, username in (("siphub.net", "alice"), ("other.net", "other")):
        found = r.credentials(realm)
        assert found is not None
        assert found.username == username


def test_broken_credentials_without_a_match() -> None:
    data = with_line(
        b"Authorization: Digest username=\r\nAuthorization: " + DIGEST.replace(b"siphub.net", b"else.where")
    )
    r = SipRequest(data)
    with pytest.raises(ParseError) as caught:
        r.credentials("siphub.net")
    error = caught.value
    assert (error.header, error.status, error.request) == ("Authorization", 400, r)
    assert error.offset == data.index(b"username=") + len("username=")


RIGHT = DIGEST.decode()
OF_OTHERS = [
    'Digest realm="x.net"',
    'Digest realm="x.net", username=',
    'Digest username=, realm="x.net"',
    'Digest realm="x.net", nonce="", response=""',
    'Digest realm="x.net", nonce="n", uri="u", username="x", response="werwqerw"',
    f'Digest realm="x.net", nonce="n", uri="u", username="x", algorithm=SHA-512, response="{"0" * 128}"',
    f'Digest realm="x.net", nonce="n", uri="u", username="x", qop=auth, response="{"0" * 32}"',
    f'Digest realm="x.net", nonce="n", uri="u", username="x", nc=1, response="{"0" * 32}"',
    'Digest ;;; , = , realm=x.net junk, "',
    'Digest realm="x.net" username="x"',
    'Digest username="a\\\u00fc", realm="x.net"',
    'Digest username="realm=\\"siphub.net\\"", realm="x.net", realm="x.net"',
    'Digest realm=x.net, opaque="realm=siphub.net, "x',
    f'Digest realm="{"x" * 1025}"',
    f'Digest username="{"x" * 1025}", realm="x.net"',
    "Digest realm=x.net, " + ", ".join(f"x{i}=1" for i in range(17)),
    'Digest REALM = "\\x.net", x',
    'Basic realm="siphub.net", x',
    "Basic YTpi",
]
OF_OURS = [
    'Digest realm="siphub.net", username=',
    'Digest username=, realm="siphub.net"',
    "Digest username=, REALM = SipHub.Net",
    'Digest username=, realm="sip\\hub.net"',
    'Digest realm="x.net", realm="siphub.net"',
    'Digest realm="siphub.net", nonce="n", uri="u", username="x", response="werwqerw"',
    f'Digest realm="siphub.net", nonce="n", uri="u", username="x", qop=auth, response="{"0" * 32}"',
    'Digest nonce="n", uri="u", response="x", realm="siphub.net"',
    'Digest username="\\\u00fc", realm="siphub.net',  # it is not closed, and so no realm at all
    f"{RIGHT}, {RIGHT.replace('siphub.net', 'x.net')}",  # two in one field: 7.3.1 has none of it
    f"{RIGHT.replace('siphub.net', 'x.net')}, {RIGHT}",
    f"{RIGHT.replace('siphub.net', 'x.net')}, Digest realm=siphub.net",
    "Digest",
    "Digest username=",
    'Digest "realm=x.net"',
    'Digest username="x, realm="x.net", realm="y.net"',  # read from quote to quote it has none
    'Digest username="x',
]
NO_ANSWER = [
    'Digest username="alice@siphub.net",realm="siphub.net",nonce="",uri="sip:siphub.net",response=""',
    'Digest username="+336000",realm="siphub.net",uri="sip:siphub.net"',
    RIGHT.replace("bm9uY2U=", ""),
    RIGHT.replace("response=", "x="),
    'Digest realm="siphub.net",nonce="YWJj",response="",algorithm=AKAv1-MD5,auts="QUFBQUFBQUFBQUFBQUE="',
    'Digest realm="siphub.net", response="", nc=1, qop="x,y", algorithm=SHA-256',
]


def chosen_of(*values: str) -> str | None:
    data = "\r\n".join(f"Authorization: {value}" for value in values).encode()
    found = SipRequest(with_line(data)).credentials("siphub.net")
    return None if found is None else found.nonce


@pytest.mark.parametrize("value", OF_OTHERS)
def test_credentials_of_another_realm_are_passed_over_however_malformed(value: str) -> None:
    """RFC 3261, 22.3: they are for somebody else, who may well read them. Their place decides nothing."""
    assert chosen_of(value) is None
    assert chosen_of(value, RIGHT) == chosen_of(RIGHT, value) == chosen_of(value, RIGHT, value) == "bm9uY2U="


@pytest.mark.parametrize("value", OF_OURS)
def test_malformed_credentials_of_our_realm_or_of_none_that_can_be_read(value: str) -> None:
    """They are a fault where no good ones of our realm stand beside them, before or behind.

    Malformed ones prove nothing. Whoever could put them there could have left the good ones out, so that
    nothing is gained by refusing these; a proxy on the way may have added what it does not understand.
    """
    for values in ((value,), (value, OF_OTHERS[0]), (OF_OTHERS[0], value), (NO_ANSWER[0], value)):
        with pytest.raises(ParseError, match=r"^Authorization: "):
            chosen_of(*values)
    assert chosen_of(value, RIGHT) == chosen_of(RIGHT, value) == chosen_of(value, RIGHT, value) == "bm9uY2U="


@pytest.mark.parametrize("value", NO_ANSWER)
def test_credentials_that_answer_no_challenge_are_none(value: str) -> None:
    """3GPP TS 24.229, 5.1.1.2: an IMS telephone says in its first REGISTER who it is. RFC 3310, 3.4."""
    assert chosen_of(value) is None
    assert chosen_of(value, RIGHT) == chosen_of(RIGHT, value) == "bm9uY2U="


def test_the_place_of_a_fault_is_that_of_the_first() -> None:
    data = with_line(b"Authorization: Digest a=\r\nAuthorization: Digest b=")
    with pytest.raises(ParseError) as caught:
        SipRequest(data).credentials("siphub.net")
    assert caught.value.offset == data.index(b"a=") + 2


def test_a_realm_with_quoted_pairs() -> None:
    r = SipRequest(with_line(b"Authorization: " + DIGEST.replace(b'"siphub.net"', rb'"sip\hub.\"net"')))
    assert r.credentials('siphub."net') is not None


def test_folded_credentials() -> None:
    r = SipRequest(with_line(b"Authorization:\r\n " + DIGEST.replace(b", ", b",\r\n\t")))
    found = r.credentials("siphub.net")
    assert found is not None
    assert found.nonce == "bm9uY2U="


def test_credentials_outlive_their_request() -> None:
    r = SipRequest(with_line(b"Authorization: " + DIGEST))
    found = r.credentials("siphub.net")
    del r
    gc.collect()
    assert found is not None
    assert found.uri == "sip:siphub.net"


def test_marks() -> None:
    r = SipRequest(REGISTER)
    www, proxy = Credentials.parse(DIGEST), Credentials.parse(DIGEST)
    assert r.authorized is None
    r.mark_authorized(proxy, proxy=True)
    assert r.authorized is proxy
    r.mark_authorized(www)
    assert r.authorized is www  # those of Authorization come first


@pytest.mark.parametrize(("method", "host"), [("REGISTER", "to.example"), ("INVITE", "from.example")])
def test_the_user_of_a_register_is_that_of_to(method: str, host: str) -> None:
    """RFC 3261, 10.2: From is who registers, To whose address it is."""
    r = SipRequest(
        f"{method} sip:a.example SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n"
        "From: <sip:a@from.example>;tag=1\r\nTo: <sip:a@to.example>\r\n"
        f"Call-ID: 1\r\nCSeq: 1 {method}\r\n\r\n".encode()
    )
    assert r.identity_host == host
