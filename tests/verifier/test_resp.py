"""RESP, as far as shared state needs it: whatever comes, and in whatever pieces."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter.verifier.state.resp import Replies, ServerError, command

STREAM = b"$3\r\na\r\n\r\n+OK\r\n:17\r\n-ERR no such thing\r\n$0\r\n\r\n$2\r\n\r\n\r\n"


def texts(replies):
    return [reply.text if isinstance(reply, ServerError) else reply for reply in replies]


EXPECTED = [b"a\r\n", b"OK", b"17", "ERR no such thing", b"", b"\r\n"]


def test_a_command():
    assert command("EVAL", b"\x00\r\n", 0) == b"*3\r\n$4\r\nEVAL\r\n$3\r\n\x00\r\n\r\n$1\r\n0\r\n"


def test_replies_at_once():
    replies, garbled = Replies().feed(STREAM)
    assert (texts(replies), garbled) == (EXPECTED, False)


@given(st.lists(st.integers(1, len(STREAM))))
def test_replies_in_any_pieces(cuts):
    reader, found = Replies(), []
    places = [0, *sorted(set(cuts)), len(STREAM)]
    for start, stop in itertools.pairwise(places):
        replies, garbled = reader.feed(STREAM[start:stop])
        found += replies
        assert not garbled
    assert texts(found) == EXPECTED


@pytest.mark.parametrize(
    "data",
    [b"$-1\r\n", b"$x\r\n", b"$1234567\r\n", b"*1\r\n", b"HTTP/1.1 200\r\n", b"\r\n", b"x" * (2 << 20)],
)
def test_what_is_no_reply(data):
    assert Replies().feed(data) == ([], True)


@given(st.binary())
def test_any_bytes_are_replies_or_none(data):
    replies, garbled = Replies().feed(data)
    assert isinstance(garbled, bool)
    assert all(isinstance(reply, bytes | ServerError) for reply in replies)


def test_an_error_is_text_for_a_log():
    assert ServerError(b"OOM \x1b[31m\xff no script: 1, on @user_script:1.").text == "OOM ?[31m? no"
    assert len(ServerError(b"x" * 999).text) == 160
