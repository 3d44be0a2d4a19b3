"""The DISC dialect on a connection: each answer finds its question, whole or in pieces."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.answer_stream import AnswerStream
from kit.dialect import (
    CHALLENGE,
    DIGEST,
    MSGID,
    REJECTED,
    SERVICE,
    SIP_MSGID,
    SUCCESS,
    VALUE,
    answer,
    ask,
    group_question,
    received,
    saying,
    sip,
    splits,
    wire,
)

from auth_diameter._core import (
    Answer,
    ParseError,
    RequestStream,
    Verdict,
    append_answer,
    group_check,
)

# Answers of one connection


def numbered(n: int) -> bytes:
    return answer(SUCCESS, (SIP_MSGID, n.to_bytes(4, "big")), hop_by_hop=0x99999999)


@pytest.mark.parametrize("how", ["whole", "byte by byte", "at random"])
def test_answers_find_their_questions(how: str) -> None:
    questions = [ask(sip()) for _ in range(5)]
    pending = dict(enumerate(questions))
    order = [3, 0, 4, 1]
    data = b"".join(numbered(n) for n in order)
    stream = AnswerStream()
    found = [one for part in splits(data)[how] for one in stream.feed(part, pending)]
    assert [q for q, _ in found] == [questions[n] for n in order]
    assert all(a.code == 2001 for _, a in found)
    assert pending == {2: questions[2]}
    assert (stream.dropped, stream.fault) == (0, None)


def test_answers_to_nobody_are_dropped_and_counted() -> None:
    pending = {1: ask(sip())}
    stream = AnswerStream()
    data = numbered(1) + numbered(1) + numbered(9) + answer(SUCCESS, flags=0x80, hop_by_hop=1)
    assert len(stream.feed(data, pending)) == 1
    assert (stream.dropped, pending, stream.fault) == (3, {}, None)


def test_an_answer_without_msgid_goes_by_hop_by_hop() -> None:
    question = ask(sip())
    stream = AnswerStream()
    assert stream.feed(answer(SUCCESS, hop_by_hop=8), {7: question}) == []
    ((found, a),) = stream.feed(answer(SUCCESS, hop_by_hop=7), {7: question})
    assert (found, a.fault) == (question, None)


def test_the_msgid_comes_before_hop_by_hop() -> None:
    # The original DISC puts identifiers of its own into the header.
    questions = {5: ask(sip()), 7: ask(sip())}
    ((found, _),) = AnswerStream().feed(answer(SUCCESS, MSGID, hop_by_hop=7), dict(questions))
    assert found is questions[5]


@pytest.mark.parametrize("avps", [[(SIP_MSGID, b"\0\0\0\0\0")], [MSGID, (SIP_MSGID, b"\0\0\0\7")]])
def test_an_unclear_msgid_is_of_no_question(avps: list[tuple[int, bytes]]) -> None:
    pending = {n: ask(sip()) for n in (0, 5, 7)}
    stream = AnswerStream()
    assert stream.feed(answer(SUCCESS, *avps, hop_by_hop=7), pending) == []
    assert (len(pending), stream.dropped) == (3, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\2", "version"),
        (b"SIP/2.0 200 OK", "version"),
        (b"\1\0\0\x10", "below the 20"),
        (b"\1\0\0\x16", "multiple of 4"),
        (b"\1\1\0\4", "above the limit of 65536"),
        (b"\1\xff\xff\xfc", "above the limit of 65536"),
    ],
)
def test_what_ends_a_stream(data: bytes, reason: str) -> None:
    question = ask(sip())
    answers, requests = AnswerStream(), RequestStream()
    # What came before it still counts.
    assert len(answers.feed(numbered(1) + data, {1: question})) == 1
    assert len(requests.feed(wire(question) + data)) == 1
    for stream in (answers, requests):
        assert isinstance(stream.fault, ParseError)
        assert reason in stream.fault.reason
    assert answers.feed(numbered(2), {2: question}) == []
    assert requests.feed(wire(question)) == []


def test_what_is_kept_of_a_message() -> None:
    data = wire(ask(sip()))
    for stream in (RequestStream(), AnswerStream()):
        for n in range(len(data)):
            assert stream.pending == n
            if isinstance(stream, RequestStream):
                stream.feed(data[n : n + 1])
            else:
                stream.feed(data[n : n + 1], {})
        assert stream.pending == 0
    stream = RequestStream()
    assert len(stream.feed(data + data[:30])) == 1
    assert stream.pending == 30
    stream.feed(data[30:] + b"\2")
    assert (stream.pending, stream.fault is None) == (0, False)


@given(st.binary(max_size=300), st.integers(0, 40), st.integers(0, 255))
def test_any_bytes_in_a_stream(data: bytes, at: int, byte: int) -> None:
    for chunk in (data, b"\1\0" + data):
        AnswerStream().feed(chunk, {})
        RequestStream().feed(chunk)
    changed = bytearray(answer(REJECTED, MSGID, SERVICE, (CHALLENGE, VALUE)))
    changed[at] = byte
    AnswerStream().feed(changed, {5: ask(sip())})
    changed = bytearray(wire(group_question()))
    changed[at] = byte
    for found in RequestStream().feed(changed):
        append_answer(bytearray(), found, saying(found.fault or 2001))


# Both sides together

names = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f"), max_size=60)


@given(names, names, names, st.integers(0, 2**32 - 1))
def test_group_round_trip(realm: str, user_name: str, group: str, msgid: int) -> None:
    question = group_check(sip("INVITE"), realm, user_name, group)
    data = wire(question, msgid)
    q = received(data)
    assert (q.question.realm, q.question.user_name, q.question.group) == (realm, user_name, group)
    out = bytearray()
    append_answer(out, q, saying(q.fault or 2001))
    ((found, a),) = AnswerStream().feed(out, {msgid: question})
    assert found is question
    assert (a.code, a.fault) == (2001 if user_name and group else a.code, None)


def test_references_are_given_back() -> None:
    request = sip(credentials=DIGEST.format("alice"))
    counts = sys.getrefcount(request)
    for n in range(200):
        question = ask(request, with_credentials=True)
        out = bytearray()
        append_answer(out, received(wire(question, n)), Answer(Verdict.CHALLENGE, challenges=(VALUE,)))
        assert AnswerStream().feed(out, {n: question})
    del question
    assert sys.getrefcount(request) == counts
