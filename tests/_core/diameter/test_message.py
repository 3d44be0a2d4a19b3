"""Messages and their framing: RFC 6733, section 3."""

from __future__ import annotations

import ctypes
import json
import mmap
import re
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.places import SHARED, VECTORS

from auth_diameter._core.diameter.avp import Avp
from auth_diameter._core.diameter.message import Message, format_message
from auth_diameter._core.diameter.stream import Framer, message_length
from auth_diameter._core.errors import ConfigError, ParseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

AA = 265
NASREQ = 1
USER_NAME, RESULT_CODE, RESPONSE, CHALLENGE = 1, 268, 401, 402
HEADER = 20


def shared_messages() -> list[object]:
    """Real messages, which lie next to the project and not in it."""
    found: list[object] = [
        pytest.param(path.read_bytes(), id=path.stem)
        for path in sorted((SHARED / "data" / "diameter-real").glob("*.bin"))
    ]
    captured = SHARED / "vectors" / "kamailio-5.6.3.json"
    if captured.exists():
        for exchange in json.loads(captured.read_text()):
            for pair in exchange["diameter"]:
                found += [
                    pytest.param(bytes.fromhex(text), id=f"kamailio {exchange['name']} {side}")
                    for side, text in pair.items()
                    if text
                ]
    for path in sorted((SHARED / "vectors" / "original-disc").glob("*.hex")):
        if path.stem.startswith("probes_malformed"):
            continue
        found += [
            pytest.param(bytes.fromhex(line.split()[1]), id=f"disc {path.stem} line {number}")
            for number, line in enumerate(path.read_text().splitlines(), 1)
            if line[:1] in ("<", ">")
        ]
    skip = pytest.mark.skip(reason="real messages lie in ../shared, which is not here")
    return found or [pytest.param(b"", marks=skip)]


def malformed() -> list[object]:
    rows = (VECTORS / "diameter-malformed.tsv").read_text().splitlines()
    cells = [row.split("\t") for row in rows if not row.startswith("#")]
    return [
        pytest.param(
            bytes.fromhex(data) if data != "-" else b"",
            None if says == "ok" else says,
            None if offset == "-" else int(offset),
            id=name,
        )
        for name, says, offset, data in cells
    ]


def message(*avps: Avp, **fields: int) -> Message:
    return Message(AA, avps, **{"application_id": NASREQ, **fields})


HELLO = message(Avp(USER_NAME, "alice@siphub.net"))

# The header: section 3


def test_layout() -> None:
    encoded = Message(AA, application_id=1, flags=0x40, hop_by_hop=0x01020304, end_to_end=0xFFFEFDFC).encode()
    assert encoded == bytes.fromhex("01 000014 40 000109 00000001 01020304 fffefdfc")


def test_attributes() -> None:
    got = Message.decode(HELLO.encode())
    assert got.version == 1
    assert (got.command, got.application_id, got.flags) == (AA, NASREQ, 0x80)
    assert (got.hop_by_hop, got.end_to_end) == (0, 0)
    assert got.is_request
    assert got.avps == (Avp(USER_NAME, "alice@siphub.net"),)
    assert not message(flags=0).is_request


def test_equality_and_hash() -> None:
    assert Message.decode(HELLO.encode()) == HELLO
    assert hash(Message.decode(HELLO.encode())) == hash(HELLO)
    others = [
        message(),
        message(*HELLO.avps, flags=0),
        message(*HELLO.avps, hop_by_hop=1),
        message(*HELLO.avps, end_to_end=1),
        message(*HELLO.avps, application_id=0),
        Message(266, HELLO.avps, application_id=NASREQ),
    ]
    assert all(other != HELLO for other in others)
    assert HELLO.encode() != HELLO


def test_find() -> None:
    first, second = Avp(USER_NAME, "a"), Avp(USER_NAME, "b")
    foreign, zero = Avp(USER_NAME, "c", vendor_id=10415), Avp(USER_NAME, "d", vendor_id=0)
    got = message(foreign, first, zero, second)
    assert got.find(USER_NAME) == first
    assert got.find(USER_NAME, 10415) == foreign
    assert got.find(USER_NAME, 0) == zero, "an explicit Vendor-ID 0 is not the lack of one"
    assert got.find(RESULT_CODE) is None
    assert got.find_all(USER_NAME) == [first, second]
    assert got.find_all(RESULT_CODE) == []


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Message(2**24), "command: 16777216"),
        (lambda: Message(-1), "command: -1"),
        (lambda: Message(AA, application_id=2**32), "application_id: 4294967296"),
        (lambda: Message(AA, flags=256), "flags: 256"),
        (lambda: Message(AA, hop_by_hop=-1), "hop_by_hop: -1"),
        (lambda: Message(AA, end_to_end=2**32), "end_to_end: 4294967296"),
        (lambda: Message(AA, [Avp(25, bytes(2**23))] * 2), "more than a message can have"),
        (lambda: Framer(19), "limit: 19"),
        (lambda: Framer(2**24 + 1), "limit: 16777217"),
    ],
)
def test_arguments_out_of_range(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        make()


@pytest.mark.parametrize("avps", [[b"not an Avp"], None, 5])
def test_avps_of_another_kind(avps: object) -> None:
    with pytest.raises(TypeError):
        Message(AA, avps)  # type: ignore[arg-type]


# Decoding


@pytest.mark.parametrize("data", shared_messages())
def test_real_messages_are_encoded_to_the_same_bytes(data: bytes) -> None:
    got = Message.decode(data)
    assert got.encode() == data
    assert repr(got)


@pytest.mark.parametrize(("data", "says", "offset"), malformed())
def test_malformed_messages(data: bytes, says: str | None, offset: int | None) -> None:
    """The sender is told what is wrong and where, or the message is as good as its rules say."""
    if says is None:
        got = Message.decode(data)
        assert got.encode() == data
        assert repr(got)
    else:
        with pytest.raises(ParseError, match=re.escape(says)) as error:
            Message.decode(data)
        assert error.value.offset == offset


def test_padding_is_not_judged_and_comes_back_as_it_came() -> None:
    """RFC 6733, section 4, has zeros there; go-diameter has sent rests of a buffer."""
    data = bytes.fromhex("01000020 80000109 00000001 0000000000000000 00000001 40000009 61 0d0a00")
    got = Message.decode(data)
    assert got == message(Avp(USER_NAME, "a")), "padding is no part of the value"
    assert got.encode() == data
    assert message(*got.avps).encode() == data, "an AVP taken over into another message keeps it"
    assert message(Avp(USER_NAME, got.avps[0].data)).encode()[-3:] == bytes(3)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_any_bytes_like(kind: Callable[[bytes], bytearray | memoryview]) -> None:
    assert Message.decode(kind(HELLO.encode())) == HELLO


def test_text_is_not_bytes() -> None:
    with pytest.raises(TypeError):
        Message.decode("01")  # type: ignore[arg-type]


def test_a_decoded_message_holds_no_piece_of_what_it_came_from() -> None:
    data = bytearray(HELLO.encode())
    got = Message.decode(data)
    data[:] = bytes(len(data))
    assert got == HELLO


def test_every_cut_is_an_error_at_its_end() -> None:
    data = HELLO.encode()
    for n in range(len(data)):
        with pytest.raises(ParseError) as error:
            Message.decode(data[:n])
        assert error.value.offset == n


def test_limit() -> None:
    large = message(Avp(25, bytes(70_000)))
    with pytest.raises(ParseError, match="above the limit of 65536"):
        Message.decode(large.encode())
    assert Message.decode(large.encode(), limit=100_000) == large


def test_thousands_of_avps() -> None:
    data = message(*[Avp(0, b"")] * 8_000).encode()
    assert len(Message.decode(data).avps) == 8_000


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs mprotect")
def test_reads_no_byte_past_the_end() -> None:
    """The input ends where an unreadable page begins: one byte too far would be a crash."""
    libc = ctypes.CDLL(None, use_errno=True)
    page = mmap.PAGESIZE
    with mmap.mmap(-1, 2 * page) as area:
        whole = (ctypes.c_char * (2 * page)).from_buffer(area)
        start = ctypes.addressof(whole)
        assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
        try:
            samples = [data for data, _, _ in (p.values for p in malformed())]  # type: ignore[attr-defined]
            for sample in samples:
                for data in {sample[:n] for n in range(0, len(sample) + 1, 3)} | {sample}:
                    area[page - len(data) : page] = data
                    at_end = memoryview(area)[page - len(data) : page]
                    try:
                        Message.decode(at_end)
                        message_length(at_end)
                    except ParseError:
                        pass
                    finally:
                        at_end.release()
        finally:
            libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 3)
            del whole


# For people


def test_repr() -> None:
    text = repr(
        message(
            Avp(400, "siphub.net"),
            Avp(404, "6"),
            Avp(406, b"\1\0\0\0", flags=0),
            Avp(USER_NAME, "alice@siphub.net"),
            Avp(RESPONSE, "Digest response=correct horse"),
            hop_by_hop=0xAB,
        )
    )
    assert text == (
        "AA-Request(265) application=1 flags=R--- hop-by-hop=0x000000ab end-to-end=0x00000000\n"
        "  Resource(400)     flags=-M- 'siphub.net'\n"
        "  Service-Type(404) flags=-M- '6' (authentication)\n"
        "  SIP-MSGID(406)    flags=--- 0x01000000\n"
        "  User-Name(1)      flags=-M- 'alice@siphub.net'\n"
        "  Response(401)     flags=-M- <29 bytes>"
    )


def test_names_go_by_the_application() -> None:
    """In RFC 7155 the dialect's numbers mean other things: so they do outside application 1."""
    avps = [Avp(403, 5), Avp(405, b"secret")]
    assert [avp.name for avp in Message(AA, avps, application_id=1).avps] == [
        "Method",
        "User-Group",
    ]
    other = Message.decode(Message(AA, avps, application_id=5).encode())
    assert [avp.name for avp in other.avps] == ["CHAP-Algorithm", "CHAP-Response"]
    assert other.avps[0].value == 5
    assert "secret" not in repr(other)


@pytest.mark.parametrize(
    ("command", "flags", "head"),
    [
        (AA, 0x80, "AA-Request(265) application=0 flags=R---"),
        (AA, 0x20, "AA-Answer(265) application=0 flags=--E-"),
        (286, 0xC0, "Multimedia-Auth-Request(286) application=0 flags=RP--"),
        (280, 0x9F, "Device-Watchdog-Request(280) application=0 flags=R--T+0x0f"),
        (9999, 0x00, "Answer(9999) application=0 flags=----"),
    ],
)
def test_header_line(command: int, flags: int, head: str) -> None:
    assert repr(Message(command, flags=flags)).startswith(head + " hop-by-hop=")


def test_secrets_only_for_those_who_ask() -> None:
    got = message(Avp(CHALLENGE, 'Digest nonce="correct horse"\r\n'), flags=0)
    assert format_message(got) == repr(got)
    assert "horse" not in repr(got)
    shown = format_message(got, secrets=True)
    assert r"""'Digest nonce="correct horse"\r\n'""" in shown, "control characters stay escaped"


def test_a_long_message_is_cut_unless_asked_for() -> None:
    got = message(*[Avp(25, b"x" * 300)] * 5_000)
    assert len(repr(got).splitlines()) == 1 + 100 + 1
    assert repr(got).endswith("... and 4900 more")
    whole = format_message(got, secrets=True).splitlines()
    assert len(whole) == 5_001
    assert whole[1].endswith("x" * 300 + "'")


def test_a_group_that_is_none_is_shown_to_those_who_ask() -> None:
    got = message(Avp(380, b"correct horse"))
    assert "horse" not in repr(got)
    assert "b'correct horse' <13 bytes, no group: " in format_message(got, secrets=True)


# Framing a stream

SECOND = message(Avp(RESULT_CODE, 2001), flags=0, hop_by_hop=7)
STREAM = [HELLO.encode(), Message(280).encode(), SECOND.encode()] * 3


def framed(pieces: Iterable[bytes], limit: int = 65536) -> tuple[list[bytes], ParseError | None]:
    """All messages of a stream cut into pieces, and the error that ended it."""
    framer = Framer(limit)
    got: list[bytes] = []
    try:
        for piece in pieces:
            got.extend(framer.feed(piece))
    except ParseError as error:
        return got, error
    return got, None


def test_whole_stream() -> None:
    framer = Framer()
    assert list(framer.feed(b"".join(STREAM))) == STREAM
    assert framer.pending == 0


def test_byte_by_byte() -> None:
    assert framed(bytes([byte]) for byte in b"".join(STREAM)) == (STREAM, None)


@given(st.lists(st.integers(0, len(b"".join(STREAM)))))
def test_cut_anywhere(cuts: list[int]) -> None:
    stream = b"".join(STREAM)
    edges = [0, *sorted(cuts), len(stream)]
    assert framed(stream[a:b] for a, b in pairwise(edges)) == (STREAM, None)


def test_every_prefix_waits_for_more() -> None:
    data = HELLO.encode()
    for n in range(len(data)):
        framer = Framer()
        assert list(framer.feed(data[:n])) == []
        assert framer.pending == n
        assert message_length(data[:n]) == 0
        assert list(framer.feed(data[n:])) == [data]
    assert message_length(data) == message_length(data + b"next") == len(data)


def test_what_is_not_taken_out_stays() -> None:
    framer = Framer()
    framer.feed(STREAM[0] + STREAM[1])
    assert next(framer) == STREAM[0]
    assert framer.pending == len(STREAM[1])
    assert list(framer.feed(STREAM[2])) == STREAM[1:3]


@pytest.mark.parametrize(
    ("start", "says", "offset"),
    [
        pytest.param(b"G", "version is 71", 0, id="HTTP, SIP, TLS: the first byte tells"),
        pytest.param(b"\2", "version is 2", 0, id="version 2"),
        pytest.param(b"\0", "version is 0", 0, id="version 0"),
        pytest.param(b"\1\0\0\0", "Message Length 0 is below", 1, id="length 0"),
        pytest.param(b"\1\0\0\x10", "Message Length 16 is below the 20", 1, id="length 16"),
        pytest.param(b"\1\0\0\x16", "22 is no multiple of 4", 1, id="length 22"),
        pytest.param(b"\1\1\0\4", "65540 is above the limit of 65536", 1, id="above 64 KiB"),
        pytest.param(b"\1\xff\xff\xfc", "16777212 is above", 1, id="the largest length"),
    ],
)
def test_what_cannot_be_framed_is_an_error_at_once(start: bytes, says: str, offset: int) -> None:
    """With the byte that says so, no later and no sooner, whatever stood in the stream before."""
    for n in range(1, len(start)):
        assert message_length(start[:n]) == 0
    with pytest.raises(ParseError, match=re.escape(says)) as error:
        message_length(start)
    assert error.value.offset == offset

    for pieces in ([HELLO.encode() + start], [HELLO.encode(), *(bytes([b]) for b in start)]):
        got, fault = framed(pieces)
        assert got == [HELLO.encode()], "the message before it is whole and good"
        assert fault is not None
        assert fault.offset == len(HELLO.encode()) + offset, "counted from the stream's start"


def test_a_broken_stream_stays_broken() -> None:
    framer = Framer()
    for data in (b"GET / HTTP/1.1\r\n\r\n", HELLO.encode()):
        with pytest.raises(ParseError, match="version is 71"):
            list(framer.feed(data))


def test_limit_of_a_framer() -> None:
    data = HELLO.encode()
    assert framed([data], limit=len(data)) == ([data], None)
    got, fault = framed([data[:4]], limit=len(data) - 4)
    assert got == []
    assert fault is not None


def test_a_large_message_byte_by_byte() -> None:
    data = message(Avp(25, bytes(65_000))).encode()
    assert framed(data[i : i + 1] for i in range(len(data))) == ([data], None)


# Properties

avps = st.builds(
    Avp,
    st.integers(0, 2**32 - 1) | st.sampled_from([1, 268, 283, 401, 402, 406]),
    st.binary(max_size=40),
    flags=st.integers(0, 0x7F),
    vendor_id=st.none() | st.integers(0, 2**32 - 1),
)
messages = st.builds(
    Message,
    st.integers(0, 2**24 - 1),
    st.lists(avps, max_size=8),
    application_id=st.integers(0, 2**32 - 1) | st.just(1),
    flags=st.integers(0, 255),
    hop_by_hop=st.integers(0, 2**32 - 1),
    end_to_end=st.integers(0, 2**32 - 1),
)


def outcome(data: bytes) -> Message | ParseError:
    """The one or the other; anything else raised is a failure."""
    try:
        return Message.decode(data)
    except ParseError as error:
        return error


@given(messages)
def test_what_is_encoded_is_decoded(original: Message) -> None:
    data = original.encode()
    assert len(data) % 4 == 0
    assert message_length(data) == len(data)
    assert Message.decode(data) == original
    assert repr(Message.decode(data)) == repr(original)


@given(messages, st.data())
def test_a_damaged_message_is_decoded_or_a_parse_error(original: Message, draw: st.DataObject) -> None:
    data = bytearray(original.encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    got = outcome(bytes(data))
    if isinstance(got, ParseError):
        assert 0 <= got.offset <= len(data)
    else:
        assert got.encode() == data
        assert all(line.isprintable() for line in repr(got).split("\n"))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_a_parse_error(body: bytes) -> None:
    body += bytes(-len(body) % 4)
    data = bytes.fromhex("01") + (HEADER + len(body)).to_bytes(3, "big") + bytes(16) + body
    got = outcome(data)
    if isinstance(got, ParseError):
        assert HEADER <= got.offset <= len(data)
    else:
        assert got.encode() == data


@given(
    st.lists(st.builds(Avp, st.integers(2**31, 2**32 - 1), st.binary()), max_size=8),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=50)
def test_python_diameter_reads_what_we_write(avps: list[Avp], hop_by_hop: int) -> None:
    """The same header and the same AVPs, read by code that is not ours.

    Codes are such that its dictionary has no opinion on the data.
    """
    original = Message(9_999_999, avps, application_id=1, hop_by_hop=hop_by_hop)
    theirs = pytest.importorskip("diameter.message")
    got = theirs.Message.from_bytes(original.encode(), plain_msg=True)
    header = got.header
    assert (header.command_code, header.application_id) == (9_999_999, 1)
    assert header.hop_by_hop_identifier == hop_by_hop
    assert [(avp.code, avp.payload) for avp in got.avps] == [(avp.code, avp.data) for avp in avps]
