"""Stateless replies: RFC 3261, 8.2.6, 18.2.1 and 18.2.2; RFC 3581."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from kit.replies import field, lines
from kit.sip import REGISTER, SOURCE, changed, refused, with_line

from auth_diameter._core import ConfigError, SipRequest


def test_reply() -> None:
    r = SipRequest(REGISTER, SOURCE)
    tag = field(r.reply(401, "Unauthorized"), "To").rpartition("=")[2]
    assert lines(r.reply(401, "Unauthorized", [("X-A", "1"), ("X-B", b"2")])) == [
        "SIP/2.0 401 Unauthorized",
        "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds;received=192.0.2.9",
        "From: Alice <sip:alice@siphub.net>;tag=1928301774",
        f"To: <sip:alice@siphub.net>;tag={tag}",
        "Call-ID: a84b4c76e66710@pc33",
        "CSeq: 1 REGISTER",
        "X-A: 1",
        "X-B: 2",
        "Content-Length: 0",
    ]
    assert re.fullmatch("[0-9a-f]{16}", tag)


def test_reply_to_compact_and_folded_fields() -> None:
    data = REGISTER.replace(b"From: Alice ", b"f : Alice\r\n ").replace(b"Via", b"v")
    reply = SipRequest(data).reply(200, "OK")
    assert b"\r\nFrom: Alice\r\n <sip:alice@siphub.net>;tag=1928301774\r\n" in reply
    assert b"\r\nVia: SIP/2.0/UDP" in reply
    assert SipRequest(reply.replace(b"SIP/2.0 200 OK", b"REGISTER sip:x SIP/2.0")).cseq == 1


def test_reply_is_read_back() -> None:
    # It is a message in its own right: turned into a request again, the same fields come out.
    r = SipRequest(REGISTER, SOURCE)
    again = SipRequest(r.reply(200, "OK").replace(b"SIP/2.0 200 OK", b"REGISTER sip:x SIP/2.0"))
    assert (again.from_uri, again.to_uri, again.call_id, again.cseq) == (
        r.from_uri,
        r.to_uri,
        r.call_id,
        r.cseq,
    )
    assert again.tag("to") is not None


def test_all_via_in_order() -> None:
    top, rest = b"SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK776asdhds", b"SIP/2.0/TCP b ,SIP/2.0/UDP c;x"
    data = changed(top, top + b" , " + rest + b"\r\nv: SIP/2.0/UDP d;rport;received=evil")
    found = [line for line in lines(SipRequest(data, SOURCE).reply(200, "OK")) if line.startswith("Via")]
    assert found == [
        f"Via: {top.decode()};received=192.0.2.9, {rest.decode()}",
        "Via: SIP/2.0/UDP d;rport;received=evil",  # set by others, no business of ours
    ]


@pytest.mark.parametrize(
    ("via", "source", "expected"),
    [
        ("192.0.2.9;branch=1", ("192.0.2.9", 5060), "192.0.2.9;branch=1"),
        ("192.0.2.9;branch=1", ("192.0.2.7", 5060), "192.0.2.9;branch=1;received=192.0.2.7"),
        ("pc33.siphub.net", ("192.0.2.9", 5060), "pc33.siphub.net;received=192.0.2.9"),
        ("192.0.2.9;rport;b=1", ("192.0.2.9", 4711), "192.0.2.9;b=1;rport=4711;received=192.0.2.9"),
        ("192.0.2.9;rport=1;b=1", ("192.0.2.9", 4711), "192.0.2.9;b=1;rport=4711;received=192.0.2.9"),
        ("h;b=1;RPORT", ("192.0.2.9", 65535), "h;b=1;rport=65535;received=192.0.2.9"),
        ("h;rport", ("192.0.2.9", 0), "h;rport=0;received=192.0.2.9"),
        ("h ; received = 1.2.3.4 ; b=1", ("192.0.2.9", 1), "h; b=1;received=192.0.2.9"),
        ('h;x=";rport;received=1"', ("192.0.2.9", 1), 'h;x=";rport;received=1";received=192.0.2.9'),
        ("[2001:db8::1]:5060", ("2001:db8::1", 5060), "[2001:db8::1]:5060"),
        ("[2001:DB8::1]", ("2001:db8::1", 5060), "[2001:DB8::1]"),
        ("h;maddr=255.255.255.255", ("192.0.2.9", 1), "h;maddr=255.255.255.255;received=192.0.2.9"),
        ("h;rport", None, "h;rport"),
    ],
)
def test_received_and_rport(via: str, source: tuple[str, int] | None, expected: str) -> None:
    # RFC 3261, 18.2.1; RFC 3581, 4: ours take the place of any that the sender claims.
    data = changed(b"192.0.2.1:5060;branch=z9hG4bK776asdhds", via.encode())
    assert field(SipRequest(data, source).reply(200, "OK"), "Via") == f"SIP/2.0/UDP {expected}"


@pytest.mark.parametrize(
    ("via", "port"),
    [(b"h", 5060), (b"h:5070", 5070), (b"h:5070;rport", 4711), (b"h:5070;maddr=255.255.255.255", 5070)],
)
def test_replies_go_to_where_the_request_came_from(via: bytes, port: int) -> None:
    data = changed(b"192.0.2.1:5060;branch=z9hG4bK776asdhds", via)
    assert SipRequest(data, SOURCE).reply_address == ("192.0.2.9", port)
    assert SipRequest(data).reply_address is None


def tag_of(data: bytes, status: int = 401) -> str:
    return field(SipRequest(data).reply(status, "x"), "To").partition(";tag=")[2]


def test_the_tag_of_a_retransmission() -> None:
    # 8.2.6.2, 17.2: the same for a retransmission, whatever the status, other for another transaction.
    assert tag_of(REGISTER) == tag_of(bytes(bytearray(REGISTER))) == tag_of(REGISTER, 200)
    others = [
        changed(b"776asdhds", b"776asdhdt"),
        changed(b"a84b4c76e66710", b"a84b4c76e66711"),
        changed(b"CSeq: 1 ", b"CSeq: 2 "),
    ]
    assert len({tag_of(REGISTER), *map(tag_of, others)}) == 4


def test_a_tag_of_the_request_stays() -> None:
    data = changed(b"To: <sip:alice@siphub.net>", b"To: <sip:alice@siphub.net>;tag=mine")
    assert field(SipRequest(data).reply(200, "OK"), "To") == "<sip:alice@siphub.net>;tag=mine"


def test_no_tag_for_100() -> None:
    assert tag_of(REGISTER, 100) == ""


def test_an_ack_is_never_answered() -> None:
    data = REGISTER.replace(b"REGISTER", b"ACK")
    assert SipRequest(data).reply(400, "Bad Request") == b""
    error = refused(data.replace(b"CSeq: 1", b"CSeq: x"))
    assert error.request is not None
    assert error.request.reply(400, "Bad Request") == b""


@pytest.mark.parametrize("code", [-1, 0, 99, 700, 2**31 - 1])
def test_no_such_status(code: int) -> None:
    with pytest.raises(ConfigError, match="100 to 699"):
        SipRequest(REGISTER).reply(code, "x")


@pytest.mark.parametrize(
    ("reason", "headers"),
    [
        ("OK\r\nX: y", []),
        ("OK\n", []),
        ("OK\x00", []),
        ("OK", [("X", "a\r\nEvil: b")]),
        ("OK", [("X", b"a\nEvil: b")]),
        ("OK", [("X", "a\x7f")]),
        ("OK", [("X\r\nEvil", "a")]),
        ("OK", [("X: a, Evil", "a")]),
        ("OK", [("", "a")]),
        ("OK", [("\u00dcber", "a")]),
    ],
)
def test_nothing_can_be_put_into_a_reply(reason: str, headers: list[tuple[str, str]]) -> None:
    with pytest.raises(ConfigError):
        SipRequest(REGISTER).reply(200, reason, headers)


@pytest.mark.parametrize(
    "source",
    [
        (),
        ("192.0.2.1",),
        ("192.0.2.1", -1),
        ("192.0.2.1", 65536),
        ("192.0.2.1", 2**31 - 1),
        ("192.0.2.1", 2**80),
        ("192.0.2.1\r\nEvil: x", 5060),
        ("192.0.2.1", 5060, 0),
        ("fe80::1", 5060, 1 << 20, 0),
        ("fe80::1", 5060, 0, 1 << 32),
        ("fe80::1", 5060, -1, 0),
        ("a b", 5060),
        ("a;b", 5060),
        ("a,b", 5060),
        ("\u00fc", 5060),
        ("\udcff", 5060),
    ],
)
def test_not_a_source(source: tuple[str, int]) -> None:
    with pytest.raises(ConfigError, match="source"):
        SipRequest(REGISTER, source)


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        (["192.0.2.1", 5060], ("192.0.2.1", 5060)),
        (("fe80::1", 5060, 7, 2), ("fe80::1", 5060, 7, 2)),
        (["fe80::1", 5060, "7", "2"], ("fe80::1", 5060, 7, 2)),
        (("localhost", "5060"), ("localhost", 5060)),
    ],
)
def test_a_source_as_sockets_give_it(source: tuple[str, int], kept: tuple[str, int]) -> None:
    assert SipRequest(REGISTER, source).source == kept


@pytest.mark.parametrize(
    "name",
    [
        "Via",
        "v",
        "FROM",
        "f",
        "To",
        "T",
        "Call-ID",
        "i",
        "CSeq",
        "cseq",
        "Content-Length",
        "content-length",
        "L",
    ],
)
def test_a_reply_has_from_its_request_what_rfc_3261_fixes(name: str) -> None:
    """8.2.6.2, and 20.14: a second one would make two messages of it, or send it elsewhere."""
    r = SipRequest(REGISTER, SOURCE)
    for headers in ([(name, "1")], {name: "1"}, [("X", "1"), [name, b"1"]]):
        with pytest.raises(ConfigError, match=rf"^header '{name}'"):
            r.reply(200, "OK", headers)  # type: ignore[arg-type]


def test_headers_of_a_reply_as_a_dict() -> None:
    r = SipRequest(REGISTER, SOURCE)
    assert r.reply(200, "OK", {"A": "1", "b": b"2"}) == r.reply(200, "OK", [("A", "1"), ("b", b"2")])
    assert r.reply(200, "OK", iter([["A", "1"]])) == r.reply(200, "OK", (("A", "1"),))
    assert r.reply(200, "OK", {}) == r.reply(200, "OK")


@pytest.mark.parametrize("body", [b"v=0\r\n", bytearray(b"\0\xff"), memoryview(b"x" * 5000), b"\r\n\r\n"])
@pytest.mark.parametrize("name", ["Content-Type", "c"])
def test_a_reply_with_a_body(name: str, body: bytes) -> None:
    reply = SipRequest(REGISTER, SOURCE).reply(200, "OK", {name: "application/sdp"}, body)
    head, _, rest = reply.partition(b"\r\n\r\n")
    assert rest == bytes(body)
    assert head.endswith(f"\r\n{name}: application/sdp\r\nContent-Length: {len(body)}".encode())
    assert head.count(b"Content-Length") == 1
    again = SipRequest(reply.replace(b"SIP/2.0 200 OK", b"REGISTER sip:x SIP/2.0"))
    assert again.body == bytes(body)


def test_a_body_says_what_it_is() -> None:
    """RFC 3261, 20.15."""
    r = SipRequest(REGISTER, SOURCE)
    with pytest.raises(ConfigError, match=r"^body: expected a Content-Type"):
        r.reply(200, "OK", {"X": "1"}, b"v=0")
    assert r.reply(200, "OK", body=b"") == r.reply(200, "OK")


class Broken:
    def __iter__(self) -> Iterator[tuple[str, str]]:
        yield "A", "1"
        raise KeyError("gone")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((99, "OK"), ConfigError),
        ((700, "OK"), ConfigError),
        ((-200, "OK"), ConfigError),
        ((2**70, "OK"), ConfigError),
        ((200.0, "OK"), TypeError),
        (("200", "OK"), TypeError),
        ((None, "OK"), TypeError),
        ((200, None), TypeError),
        ((200, 5), TypeError),
        ((200, "\ud800"), ConfigError),
        ((200, "OK", None), TypeError),
        ((200, "OK", 5), TypeError),
        ((200, "OK", "Xy"), ConfigError),
        ((200, "OK", ["Xy"]), ConfigError),
        ((200, "OK", [5]), ConfigError),
        ((200, "OK", [("X",)]), ConfigError),
        ((200, "OK", [("X", "1", "2")]), ConfigError),
        ((200, "OK", [(5, "1")]), TypeError),
        ((200, "OK", [("X", None)]), TypeError),
        ((200, "OK", [("X", 5)]), TypeError),
        ((200, "OK", [("X", "\ud800")]), ConfigError),
        ((200, "OK", [("\u00dc", "1")]), ConfigError),
        ((200, "OK", {"X": None}), TypeError),
        ((200, "OK", (), 5), TypeError),
        ((200, "OK", (), None), TypeError),
        ((200, "OK", Broken()), KeyError),
    ],
)
def test_what_no_reply_can_be_made_of(arguments: Any, error: type[Exception]) -> None:
    for request in (SipRequest(REGISTER, SOURCE), SipRequest(changed(b"REGISTER sip", b"ACK sip").replace(
            b"1 REGISTER", b"1 ACK"))):  # fmt: skip
        with pytest.raises(error):
            request.reply(*arguments)


def test_a_reply_with_values_of_any_size() -> None:
    r = SipRequest(REGISTER, SOURCE)
    reply = r.reply(200, "O" * 100_000, [("X" * 100_000, "y" * 1_000_000)] * 3, b"")
    assert len(reply) > 3_400_000
    assert len(lines(reply)) == len(lines(r.reply(200, "OK"))) + 3


def test_headers_that_call_back_while_a_reply_is_made() -> None:
    r = SipRequest(REGISTER, SOURCE)

    def headers() -> Iterator[tuple[str, str]]:
        for _ in range(3):
            yield "X", str(len(r.reply(200, "OK", [("Y", "1" * 9000)])))
        with pytest.raises(TypeError):
            r.__init__(REGISTER)  # type: ignore[misc]

    assert lines(r.reply(200, "OK", headers()))[-2].startswith("X: 9")


def test_a_long_reply() -> None:
    # More than the buffer on the stack, more Via than lines in the object.
    vias = b"\r\n".join(b"Via: SIP/2.0/UDP h%d;branch=z9hG4bK%d" % (i, i) for i in range(200))
    reply = SipRequest(with_line(vias), SOURCE).reply(401, "U" * 5000, [("X", "y" * 5000)] * 3)
    assert sum(line.startswith("Via: ") for line in lines(reply)) == 201
    assert len(reply) > 25_000
