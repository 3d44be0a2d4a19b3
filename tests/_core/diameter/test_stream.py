"""One stream of Diameter messages: whoever reads it finds the same messages and the same fault."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.answer_stream import AnswerStream

from auth_diameter._core import ConfigError, Framer, ParseError, RequestStream, decode_answer
from auth_diameter._core.diameter.avp import Avp
from auth_diameter._core.diameter.message import Message
from auth_diameter._core.diameter.stream import message_length

AA = 265
RESULT_CODE = 268
MESSAGE = Message(AA, [Avp(RESULT_CODE, 2001)], flags=0, application_id=1).encode()

FAULTS = {
    "an HTTP request": (b"GET", "Diameter version is 71, not 1", 0),
    "version 2": (b"\2", "Diameter version is 2, not 1", 0),
    "length 16": (b"\1\0\0\x10", "Message Length 16 is below the 20 of the header", 1),
    "length 22": (b"\1\0\0\x16", "Message Length 22 is no multiple of 4", 1),
    "length 65540": (b"\1\1\0\4", "Message Length 65540 is above the limit of 65536", 1),
}


def fault_of(kind: type, pieces: list[bytes], limit: int = 65536) -> tuple[str, int] | None:
    """The reason and the offset of the fault that a reader finds in a stream that comes in pieces."""
    stream: Any = kind(limit)
    try:
        for piece in pieces:
            if kind is Framer:
                list(stream.feed(piece))
            elif kind is AnswerStream:
                stream.feed(piece, {})
            else:
                stream.feed(piece)
    except ParseError as error:
        return error.reason, error.offset
    if kind is Framer or stream.fault is None:
        return None
    return stream.fault.reason, stream.fault.offset


READERS = [Framer, AnswerStream, RequestStream]


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("before", [0, 1, 3])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_reader_names_the_same_fault(kind: type, before: int, fault: str) -> None:
    """Its offset counts from the first byte of the stream, however the stream is cut."""
    start, reason, offset = FAULTS[fault]
    data = MESSAGE * before + start
    expected = (reason, len(MESSAGE) * before + offset)
    assert fault_of(kind, [data]) == expected
    assert fault_of(kind, [data[i : i + 1] for i in range(len(data))]) == expected
    assert fault_of(kind, [*[MESSAGE] * before, start]) == expected
    assert fault_of(kind, [data[:-1], data[-1:]]) == expected


@given(st.lists(st.integers(0, 3 * len(MESSAGE) + 4)), st.sampled_from(sorted(FAULTS)))
def test_where_a_stream_is_cut_does_not_matter(cuts: list[int], fault: str) -> None:
    start, reason, offset = FAULTS[fault]
    data = MESSAGE * 3 + start
    edges = [0, *sorted(cuts), len(data)]
    for kind in READERS:
        found = fault_of(kind, [data[a:b] for a, b in pairwise(edges)])
        assert found == (reason, 3 * len(MESSAGE) + offset)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_message_alone_has_the_same_fault(fault: str) -> None:
    start, reason, offset = FAULTS[fault]
    for read in (message_length, Message.decode, decode_answer):
        with pytest.raises(ParseError) as error:
            read(start)
        assert (error.value.reason, error.value.offset) == (reason, offset)


@pytest.mark.parametrize(
    ("data", "reason", "offset"),
    [
        (b"", "0 bytes where a Diameter header has 20", 0),
        (MESSAGE[:19], "19 bytes where a Diameter header has 20", 19),
        (MESSAGE[:-1], "Message Length is 32, and only 31 bytes are there", 31),
        (MESSAGE + b"\0", "1 bytes after the message", 32),
    ],
)
def test_whoever_decodes_one_message_wants_exactly_one(data: bytes, reason: str, offset: int) -> None:
    for decode in (Message.decode, decode_answer):
        with pytest.raises(ParseError) as error:
            decode(data)
        assert (error.value.reason, error.value.offset) == (reason, offset)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("limit", [-1, 0, 19, (1 << 24) + 1, 1 << 64])
def test_limits_that_no_stream_can_have(kind: type, limit: int) -> None:
    with pytest.raises(ConfigError, match="limit"):
        kind(limit)


@pytest.mark.parametrize("kind", READERS)
def test_a_message_as_large_as_the_limit(kind: type) -> None:
    assert fault_of(kind, [MESSAGE], len(MESSAGE)) is None
    assert fault_of(kind, [MESSAGE], len(MESSAGE) - 4) == ("Message Length 32 is above the limit of 28", 1)


def test_a_fault_that_is_raised_again_is_another_exception() -> None:
    """Each raise adds a traceback to its exception."""
    framer = Framer().feed(b"\2")
    found = []
    for _ in range(2):
        with pytest.raises(ParseError) as error:
            next(framer)
        found.append(error.value)
    assert found[0] is not found[1]
    assert found[0].args == found[1].args


def test_what_is_pending_after_a_fault_is_kept_of_a_framer_only() -> None:
    """Nobody reads a connection on; a file's rest may be of interest."""
    data = MESSAGE + b"\2\3"
    framer, answers, requests = Framer().feed(data), AnswerStream(), RequestStream()
    assert next(framer) == MESSAGE
    with pytest.raises(ParseError):
        next(framer)
    answers.feed(data, {})
    requests.feed(data)
    assert (framer.pending, answers.pending, requests.pending) == (2, 0, 0)
