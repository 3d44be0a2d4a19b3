"""The DISC dialect of Diameter, both sides: what stands on the wire, what is understood, what is refused.

The order of AVPs is that of OpenSER's C module, whose questions lie in vectors/disc-captured.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.places import SHARED, VECTORS

from auth_diameter._core import (
    AaRequest,
    Answer,
    AnswerStream,
    Avp,
    Credentials,
    Message,
    ParseError,
    Question,
    RequestStream,
    Service,
    SipRequest,
    Verdict,
    append_answer,
    append_question,
    authentication,
    decode_answer,
    format_challenge,
    group_check,
    question_room,
)
from auth_diameter.lab.uac import make_request

CAPTURED = VECTORS / "disc-captured"
MALFORMED = VECTORS / "diameter-malformed.tsv"
KAMAILIO = SHARED / "vectors" / "kamailio-5.6.3.json"

USER_NAME, RESULT_CODE, DESTINATION_REALM = 1, 268, 283
RESOURCE, RESPONSE, CHALLENGE, METHOD, SERVICE_TYPE, USER_GROUP, SIP_MSGID = range(400, 407)
AUTHENTICATION, GROUP_CHECK = b"6", b"8"
DIGEST = (
    'Digest username="{}", realm="siphub.net", nonce="bm9uY2U=", uri="sip:siphub.net", '
    'response="00000000000000000000000000000000"'
)


def sip(
    method: str = "REGISTER",
    *,
    uri: str = "sip:siphub.net",
    from_: str = "<sip:alice@siphub.net>;tag=1",
    to: str = "<sip:bob@siphub.net>",
    credentials: str | None = None,
) -> SipRequest:
    line = "" if credentials is None else f"Authorization: {credentials}\r\n"
    text = (
        f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: {from_}\r\nTo: {to}\r\n"
        f"Call-ID: 1\r\nCSeq: 1 {method}\r\n{line}\r\n"
    )
    return SipRequest(text.encode("utf-8", "surrogateescape"))


def ask(request: SipRequest, *, with_credentials: bool = False, realm: str = "siphub.net") -> Question:
    credentials = request.credentials(realm) if with_credentials else None
    assert (credentials is not None) == with_credentials
    return authentication(request, realm, credentials, False)


def group_question(user_name: str = "alice@siphub.net", group: str = "voicemail") -> Question:
    return group_check(sip("INVITE"), "siphub.net", user_name, group)


def wire(question: Question, msgid: int = 0x01020304) -> bytes:
    out = bytearray()
    append_question(out, question, msgid)
    return bytes(out)


def pairs(data: bytes) -> list[tuple[int, bytes]]:
    return [(avp.code, avp.data) for avp in Message.decode(data).avps]


def decoded(data: bytes) -> dict[int, bytes]:
    found = pairs(data)
    assert len({code for code, _ in found}) == len(found)
    return dict(found)


# Questions: WIRE, section 1


def test_question_without_credentials() -> None:
    # An authentication asks about To in a REGISTER: 400, 283, 404, 406, 1.
    data = wire(ask(sip(uri="sip:siphub.net:5070")))
    assert pairs(data) == [
        (RESOURCE, b"siphub.net:5070"),
        (DESTINATION_REALM, b"siphub.net"),
        (SERVICE_TYPE, AUTHENTICATION),
        (SIP_MSGID, b"\1\2\3\4"),
        (USER_NAME, b"bob@siphub.net"),
    ]


def test_question_with_credentials() -> None:
    # The same, then 401 and 403.
    value = DIGEST.format("alice")
    data = wire(ask(sip("INVITE", uri="sip:bob@siphub.net", credentials=value), with_credentials=True))
    assert pairs(data) == [
        (RESOURCE, b"bob@siphub.net"),
        (DESTINATION_REALM, b"siphub.net"),
        (SERVICE_TYPE, AUTHENTICATION),
        (SIP_MSGID, b"\1\2\3\4"),
        (USER_NAME, b"alice@siphub.net"),
        (RESPONSE, value.encode()),
        (METHOD, b"INVITE"),
    ]


def test_group_question() -> None:
    # 283, 404, 406, 405, 1.
    assert pairs(wire(group_question())) == [
        (DESTINATION_REALM, b"siphub.net"),
        (SERVICE_TYPE, GROUP_CHECK),
        (SIP_MSGID, b"\1\2\3\4"),
        (USER_GROUP, b"voicemail"),
        (USER_NAME, b"alice@siphub.net"),
    ]


@pytest.mark.parametrize(
    "question",
    [
        ask(sip()),
        ask(sip(credentials=DIGEST.format("alice")), with_credentials=True),
        group_question(),
    ],
    ids=["challenge", "credentials", "group"],
)
def test_header_and_flags(question: Question) -> None:
    data = wire(question)
    message = Message.decode(data)
    assert (message.version, message.command, message.application_id, message.flags) == (1, 265, 1, 0x80)
    # Unlike the C module, which sends zeros: an answer without SIP-MSGID goes by Hop-by-Hop.
    assert message.hop_by_hop == 0x01020304
    assert {avp.code: avp.flags for avp in message.avps if avp.flags != 0x40} == {SIP_MSGID: 0}
    assert all(avp.vendor_id is None for avp in message.avps)
    assert all(b"\0" not in avp.data for avp in message.avps)
    assert message.encode() == data  # padded with zeros


@pytest.mark.parametrize(
    ("method", "user"),
    [("REGISTER", b"bob"), ("INVITE", b"alice"), ("register", b"alice"), ("OPTIONS", b"alice")],
)
def test_whose_request_it_is(method: str, user: bytes) -> None:
    assert decoded(wire(ask(sip(method))))[USER_NAME] == user + b"@siphub.net"


@pytest.mark.parametrize(
    ("uri", "user_name", "resource"),
    [
        ("sip:siphub.net", b"siphub.net", b"siphub.net"),
        ("sip:siphub.net:5060", b"siphub.net", b"siphub.net:5060"),
        ("sips:a@siphub.net:05061;lr", b"a@siphub.net", b"a@siphub.net:05061"),
        ("sip:a:secret@siphub.net", b"a@siphub.net", b"a@siphub.net"),
        ("sip:a@[2001:db8::1]:5060", b"a@[2001:db8::1]", b"a@[2001:db8::1]:5060"),
        ("sip:%61l%69ce@siphub.net", b"alice@siphub.net", b"alice@siphub.net"),
        # Escapes that would cut or split a name stay.
        ("sip:a%00b%40c%2fd@h", b"a%00b%40c%2fd@h", b"a%00b%40c%2fd@h"),
        # Without a host it is the realm alone: a number is that of no user of it, and empty is refused.
        ("tel:+1-201-555-0123;x=y", b"siphub.net", b"+1-201-555-0123"),
        ("urn:service:sos", b"siphub.net", b"urn:service:sos"),
    ],
)
def test_addresses(uri: str, user_name: bytes, resource: bytes) -> None:
    found = decoded(wire(ask(sip("INVITE", uri=uri, from_=f"<{uri}>"))))
    assert (found[USER_NAME], found[RESOURCE]) == (user_name, resource)


@pytest.mark.parametrize(
    ("username", "user_name"),
    [
        ("alice", b"alice@siphub.net"),
        ("alice@other.net", b"alice@other.net"),
        ("", b"@siphub.net"),
        ('al\\"ice', b'al"ice@siphub.net'),
        ("al\\@ice", b"al@ice"),
        ("J\u00e4s\u00f8n", "J\u00e4s\u00f8n@siphub.net".encode()),
        ("\udcff", b"\xff@siphub.net"),
        ("a" * 1024, b"a" * 1024 + b"@siphub.net"),
    ],
)
def test_user_name_of_credentials(username: str, user_name: bytes) -> None:
    question = ask(sip(credentials=DIGEST.format(username)), with_credentials=True)
    assert decoded(wire(question))[USER_NAME] == user_name


@pytest.mark.parametrize(
    ("encoded", "user_name"),
    [
        ("J%C3%A4s%C3%B8n", "J\u00e4s\u00f8n@siphub.net".encode()),
        ("a%40b", b"a@b"),
        ("%ff", b"\xff@siphub.net"),
        # We send no NUL. DISC goes by the credentials, in which it still is one.
        ("al%00ice%00", b"al?ice?@siphub.net"),
    ],
)
def test_user_name_of_username_star(encoded: str, user_name: bytes) -> None:
    value = DIGEST.replace('username="{}"', f"username*=UTF-8''{encoded}")
    assert decoded(wire(ask(sip(credentials=value), with_credentials=True)))[USER_NAME] == user_name


def test_folds_of_the_header_are_spaces() -> None:
    # RFC 3261, 7.3.1: a fold is one space, in a quoted string too; what DISC reads is the same.
    value = DIGEST.format("al\r\n  ice").replace(", ", "\r\n\t,\r\n \r\n ")
    question = ask(sip(credentials=value), with_credentials=True)
    sent = decoded(wire(question))[RESPONSE]
    assert b"\r" not in sent
    assert b"\n" not in sent
    read = Credentials.parse(sent)
    assert question.credentials is not None
    assert read.parameters == question.credentials.parameters
    assert read.username == "al ice"


def test_a_quoted_pair_of_a_control_character_stays() -> None:
    question = ask(sip(credentials=DIGEST.format("a\\\x01b")), with_credentials=True)
    found = decoded(wire(question))
    assert b'"a\\\x01b"' in found[RESPONSE]
    assert found[USER_NAME] == b"a\x01b@siphub.net"


def test_text_that_is_no_utf8() -> None:
    question = group_check(sip(), "r\udcff", "a\udcfe", "g\udcfd")
    assert question is not None
    found = decoded(wire(question))
    assert [found[DESTINATION_REALM], found[USER_NAME], found[USER_GROUP]] == [b"r\xff", b"a\xfe", b"g\xfd"]


def test_what_a_question_shows() -> None:
    question = ask(sip(credentials=DIGEST.format("alice")), with_credentials=True)
    assert question.credentials is not None
    assert (question.realm, question.user_name, question.group) == ("siphub.net", "bob@siphub.net", None)
    assert (question.is_group_check, question.proxy) == (False, False)
    assert repr(question).startswith("<Question AUTHENTICATION of <SipRequest REGISTER")
    group = group_question()
    assert (group.user_name, group.group, group.is_group_check) == ("alice@siphub.net", "voicemail", True)
    with pytest.raises(TypeError, match="authentication"):
        Question()


def test_the_room_of_a_question_is_what_it_needs_at_most() -> None:
    for question in (
        group_check(sip(), "r", "a", "g" * 70_000),
        authentication(sip(), "r" * 70_000, None, False),
    ):
        assert len(wire(question)) <= question_room(question) < 2 * 70_000 + 1_000


def test_appended() -> None:
    out = bytearray(b"before")
    append_question(out, ask(sip()), 1)
    first = len(out)
    append_question(out, group_question(group="g" * 5000), 2**32 - 1)  # more than the buffer on the stack
    assert out[:6] == b"before"
    assert Message.decode(out[6:first]).hop_by_hop == 1
    assert Message.decode(out[first:]).hop_by_hop == 2**32 - 1


@pytest.mark.parametrize("msgid", [-1, 2**32])
def test_msgid_has_32_bits(msgid: int) -> None:
    out = bytearray()
    with pytest.raises(OverflowError):
        append_question(out, ask(sip()), msgid)
    assert not out


@pytest.mark.parametrize("size", [1, 5000])
def test_nothing_is_appended_to_what_cannot_grow(size: int) -> None:
    out = bytearray(b"before")
    with memoryview(out), pytest.raises(BufferError):
        append_question(out, group_question(group="g" * size), 1)
    assert out == b"before"


# Answers


def answer(*avps: tuple[int, bytes], command: int = 265, flags: int = 0, hop_by_hop: int = 7) -> bytes:
    return Message(
        command,
        [Avp(code, data) for code, data in avps],
        application_id=1,
        flags=flags,
        hop_by_hop=hop_by_hop,
    ).encode()


SUCCESS = (RESULT_CODE, (2001).to_bytes(4, "big"))
REJECTED = (RESULT_CODE, (4001).to_bytes(4, "big"))
SERVICE = (SERVICE_TYPE, AUTHENTICATION)
MSGID = (SIP_MSGID, b"\0\0\0\5")
VALUE = format_challenge("siphub.net", "bm9uY2U=").encode()


def test_answer() -> None:
    a = decode_answer(answer(SUCCESS, MSGID, SERVICE))
    assert (a.verdict, a.service, a.challenges, a.fault) == (
        Verdict.SUCCESS,
        Service.AUTHENTICATION,
        (),
        None,
    )
    assert repr(a) == "<Answer SUCCESS code=2001 challenges=0 fault=None>"
    with pytest.raises(TypeError):
        Answer()  # type: ignore[call-arg]


@pytest.mark.parametrize("seed", range(5))
def test_answer_in_any_order_among_others(seed: int) -> None:
    avps = [REJECTED, MSGID, SERVICE, (CHALLENGE, VALUE), (263, b"a;1"), (264, b"disc"), (296, b"siphub.net")]
    random.Random(seed).shuffle(avps)
    a = decode_answer(answer(*avps))
    assert (a.verdict, a.code, a.challenges, a.fault) == (Verdict.CHALLENGE, 4001, (VALUE,), None)


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b" ", b"\r\n\r\n", b""])
def test_the_end_of_a_challenge_is_dropped(end: bytes) -> None:
    assert decode_answer(answer(REJECTED, (CHALLENGE, VALUE + end))).challenges == (VALUE,)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\r\n",
        VALUE + b"\r\nEvil: header",
        b"\r\n" + VALUE,
        VALUE.replace(b", ", b",\r\n "),
        VALUE.replace(b", ", b",\n"),
        VALUE + b"\0",
        VALUE + b"\x7f",
        VALUE.replace(b"Digest", b"Basic"),
        VALUE.replace(b"Digest ", b""),
        b"Digest",
        b'Digest realm="siphub.net"',
        b'Digest nonce="n"',
        b'Digest realm="a", realm="b", nonce="n"',
        b'Digest realm="a, nonce="n"',
        b'Digest realm="a", nonce="n", opaque="' + b"x" * 1025 + b'"',
    ],
)
def test_a_challenge_that_is_no_header_of_ours(value: bytes) -> None:
    # The C module copies it as it is, and what stands behind a CRLF becomes a header of the reply.
    a = decode_answer(answer(REJECTED, MSGID, SERVICE, (CHALLENGE, value)))
    assert (a.challenges, a.fault) == ((), "Challenge is not one line of the Digest scheme")


@pytest.mark.parametrize(
    ("avps", "fault"),
    [
        ([], "no Result-Code"),
        ([SERVICE, MSGID], "no Result-Code"),
        ([(RESULT_CODE, b"\0\0\x07")], "Result-Code of a wrong size"),
        ([(RESULT_CODE, b"\0\0\0\x07\xd1")], "Result-Code of a wrong size"),
        ([SUCCESS, REJECTED], "Result-Code of a wrong size, or twice"),
        ([SUCCESS, (SERVICE_TYPE, b"")], "Service-Type"),
        ([SUCCESS, (SERVICE_TYPE, b"66")], "Service-Type"),
        ([SUCCESS, SERVICE, SERVICE], "Service-Type"),
        ([SUCCESS, (SIP_MSGID, b"")], "SIP-MSGID"),
        ([SUCCESS, (SIP_MSGID, b"\0" * 8)], "SIP-MSGID"),
        ([SUCCESS, MSGID, MSGID], "SIP-MSGID"),
        ([REJECTED, *[(CHALLENGE, VALUE)] * 9], "more Challenges"),
        ([REJECTED, *[(CHALLENGE, VALUE + b"," * 2048)] * 2], "more Challenges"),
        ([REJECTED, (CHALLENGE, VALUE + b"," * 4096)], "more Challenges"),
        ([REJECTED, (CHALLENGE, VALUE + b"," * 64_000)], "more Challenges"),
        ([SUCCESS, (106, b"0" * 31)], "Digest-Response-Auth"),
        ([SUCCESS, (106, b"g" * 32)], "Digest-Response-Auth"),
        ([SUCCESS, (106, b"0" * 32), (106, b"0" * 32)], "Digest-Response-Auth"),
        ([SUCCESS, (107, b"")], "Digest-Nextnonce"),
        ([SUCCESS, (107, b'"')], "Digest-Nextnonce"),
        ([SUCCESS, (107, b"a\x7f")], "Digest-Nextnonce"),  # DEL, next to printable ASCII
        ([SUCCESS, (107, b"a" * 257)], "Digest-Nextnonce"),
    ],
)
def test_faults_of_an_answer(avps: list[tuple[int, bytes]], fault: str) -> None:
    found = decode_answer(answer(*avps)).fault
    assert found is not None
    assert fault in found


def test_an_answer_to_something_else() -> None:
    assert decode_answer(answer(SUCCESS, command=271)).fault == "not an AA-Answer"


def test_avps_of_vendors_are_others() -> None:
    avp = Avp(RESULT_CODE, b"\0\0\x07\xd1", vendor_id=10415)
    data = Message(265, [avp, Avp(*REJECTED)], application_id=1, flags=0).encode()
    a = decode_answer(data)
    assert (a.code, a.fault) == (4001, None)


@pytest.mark.parametrize("length", [0, 7, 13, 0xFFFFFF])
def test_a_malformed_avp_in_an_answer(length: int) -> None:
    data = bytearray(answer(SUCCESS))
    data[20 + 5 : 20 + 8] = length.to_bytes(3, "big")
    assert decode_answer(data).fault == "malformed AVP"


@pytest.mark.parametrize("data", [b"", b"\1", answer(SUCCESS)[:-1], answer(SUCCESS) + b"\0", b"HTTP/1.1"])
def test_not_one_message(data: bytes) -> None:
    with pytest.raises(ParseError):
        decode_answer(data)


@pytest.mark.parametrize("data", [5, "text", None])
def test_answers_are_bytes(data: Any) -> None:
    for read in (decode_answer, RequestStream().feed):
        with pytest.raises(TypeError):
            read(data)


# Answers of one connection


def numbered(n: int) -> bytes:
    return answer(SUCCESS, (SIP_MSGID, n.to_bytes(4, "big")), hop_by_hop=0x99999999)


def splits(data: bytes) -> dict[str, list[bytes]]:
    pick = random.Random(len(data))
    cuts = sorted(pick.sample(range(len(data)), min(20, len(data))))
    return {
        "whole": [data],
        "byte by byte": [data[n : n + 1] for n in range(len(data))],
        "at random": [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)],
    }


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


def test_a_message_in_single_bytes_takes_time_in_proportion_to_its_length() -> None:
    def seconds(size: int) -> float:
        data = b"\1" + (size - 4).to_bytes(3, "big") + bytes(size)
        pieces = [data[n : n + 1] for n in range(size - 5)]
        best = 9.0
        for _ in range(3):
            stream = RequestStream()
            start = time.thread_time()
            for piece in pieces:
                stream.feed(piece)
            best = min(best, time.thread_time() - start)
        return best

    assert seconds(65536) < 24 * seconds(8192)  # 8 where it is linear, 50 where each piece copies all


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


# Questions as DISC reads them


def saying(code: int) -> Answer:
    return Answer(Verdict.FAILURE, code=code)


def received(data: bytes) -> AaRequest:
    stream = RequestStream()
    (found,) = stream.feed(data)
    assert stream.fault is None
    return found


def test_a_retransmission_has_the_end_to_end_id_of_what_it_repeats() -> None:
    """The same bytes from the same address and port."""
    data = make_request("REGISTER", "sip:siphub.net", "alice@siphub.net")

    def end_to_end(data: bytes, *source: Any) -> bytes:
        return received(wire(ask(SipRequest(data, source or None)))).question.request_id

    ids = [
        end_to_end(data),
        end_to_end(data, "192.0.2.1", 5060),
        end_to_end(data, "192.0.2.2", 5060),
        end_to_end(data, "192.0.2.1", 5070),
        end_to_end(data.replace(b"CSeq: 1", b"CSeq: 2"), "192.0.2.1", 5060),
    ]
    assert len(set(ids)) == 5
    assert end_to_end(bytes(bytearray(data)), "192.0.2.1", 5060) == ids[1]


def test_our_own_questions_are_understood() -> None:
    value = DIGEST.format("alice")
    q = received(wire(ask(sip(uri="sip:siphub.net:5070", credentials=value), with_credentials=True)))
    assert (q.service_type, q.question.service, q.fault) == (ord("6"), Service.AUTHENTICATION, 0)
    assert (q.question.user_name, q.question.realm) == ("alice@siphub.net", "siphub.net")
    assert (q.question.resource, q.question.method, q.question.group) == ("siphub.net:5070", "REGISTER", None)
    found = q.question.credentials
    assert found is not None
    assert found.value == value.encode()
    q = received(wire(group_question()))
    assert (q.question.is_group_check, q.question.group, q.fault) == (True, "voicemail", 0)
    assert q.question.credentials is None
    assert repr(q) == "<AaRequest service_type=56 <Question GROUP_CHECK about 'alice@siphub.net'> fault=0>"
    with pytest.raises(TypeError, match="RequestStream"):
        AaRequest()


@pytest.mark.parametrize("how", ["whole", "byte by byte", "at random"])
def test_questions_of_one_connection(how: str) -> None:
    questions = [group_question(group=f"g{n}" * n) for n in range(1, 30)]
    data = b"".join(wire(q) for q in questions) + answer(SUCCESS) + wire(ask(sip()))
    stream = RequestStream()
    found = [one for part in splits(data)[how] for one in stream.feed(part)]
    # An answer has no business here and is passed over.
    assert [q.question.group for q in found] == [q.group for q in questions] + [None]
    assert stream.fault is None


@pytest.mark.parametrize("path", sorted(CAPTURED.glob("*.bin")), ids=lambda path: path.stem)
def test_kamailio_is_understood(path: Path) -> None:
    # Quirks: NULs at the end of User-Name and Resource, a User-Name cut by one byte, ids of zero.
    q = received(path.read_bytes())
    assert q.fault == 0
    assert q.question.realm == "example.com"
    assert not q.question.user_name.endswith("\0")
    assert q.question.user_name in ("alice@example.com", "alice@other.org", "alice@example.co")
    assert not q.question.resource.endswith("\0")
    with_credentials = "__cred_" in path.stem
    assert (q.question.credentials is not None) == with_credentials
    if with_credentials:
        found = q.question.credentials
        assert found is not None
        assert found.realm == "example.com"
        # This is whom DISC goes by, because of the cut User-Name.
        assert found.username in ("alice", "alice@example.com", "alice@other.org")
        assert q.question.method in ("REGISTER", "INVITE")
    else:
        assert q.question.user_name == "alice@example.com"
        assert q.question.credentials is None


def test_kamailio_and_ours_ask_the_same() -> None:
    if not KAMAILIO.exists():
        pytest.skip("the exchanges of Kamailio lie in ../shared, which is not here")
    compared = 0
    for exchange in json.loads(KAMAILIO.read_text()):
        request = SipRequest(exchange["request"].encode())
        for pair in exchange["diameter"]:
            theirs = received(bytes.fromhex(pair["request"]))
            assert theirs.fault == 0, exchange["name"]
            asked = theirs.question
            proxy = request.method != "REGISTER"
            if asked.is_group_check:
                question = group_check(request, asked.realm, asked.user_name, asked.group or "")
            else:
                found = request.credentials(asked.realm, proxy) if asked.credentials else None
                question = authentication(request, asked.realm, found, proxy)
            ours = received(wire(question)).question
            for name in ("service", "realm", "resource", "method", "group"):
                expected = getattr(asked, name)
                if name == "resource":
                    expected = expected.replace("\0", ":")  # host, NUL, port, NUL
                assert getattr(ours, name) == expected, (exchange["name"], name)
            assert ours.user_name.startswith(asked.user_name)
            mine, found = ours.credentials, asked.credentials
            assert (mine and mine.value) == (found and found.value)
            compared += 1
            if pair["answer"]:
                assert decode_answer(bytes.fromhex(pair["answer"])).fault is None
    assert compared > 10


def question_of(*avps: tuple[int, bytes], **fields: Any) -> bytes:
    return Message(265, [Avp(*avp) for avp in avps], **{"application_id": 1, **fields}).encode()


REALM = (DESTINATION_REALM, b"siphub.net")
NAME = (USER_NAME, b"alice@siphub.net")
FULL = [REALM, SERVICE, MSGID, NAME]
GROUP = [REALM, (SERVICE_TYPE, GROUP_CHECK), MSGID, NAME, (USER_GROUP, b"g")]


@pytest.mark.parametrize(
    ("avps", "fault"),
    [
        (FULL, 0),
        ([REALM, SERVICE, NAME], 0),
        ([*FULL, (RESPONSE, b"Digest"), (METHOD, b"INVITE")], 0),
        ([*FULL, (999, b"unknown")], 0),
        (GROUP, 0),
        ([SERVICE, MSGID, NAME], 5005),
        ([REALM, MSGID, NAME], 5005),
        ([REALM, SERVICE, MSGID], 5005),
        ([*FULL, (RESPONSE, b"Digest")], 5005),
        ([*FULL, (RESPONSE, b"Digest"), (METHOD, b"")], 5005),
        (GROUP[:-1], 5005),
        ([*GROUP[:-1], (USER_GROUP, b"")], 5005),
        ([REALM, (SERVICE_TYPE, b"9"), MSGID, NAME], 5004),
        ([REALM, (SERVICE_TYPE, b"\0"), MSGID, NAME], 5004),
        ([REALM, (SERVICE_TYPE, b""), MSGID, NAME], 5014),
        ([REALM, (SERVICE_TYPE, b"66"), MSGID, NAME], 5014),
        ([REALM, SERVICE, MSGID, (USER_NAME, b"")], 5004),
        ([REALM, SERVICE, MSGID, (USER_NAME, b"\0\0")], 5004),
        ([REALM, SERVICE, MSGID, (USER_NAME, b"alice\0@siphub.net")], 5004),
        ([*FULL, NAME], 5009),
        ([*FULL, SERVICE], 5009),
        ([*FULL, MSGID], 5009),
        ([*FULL, (USER_NAME, b"")], 5009),
    ],
)
def test_faults_of_a_question(avps: list[tuple[int, bytes]], fault: int) -> None:
    # Result-Codes of RFC 6733, 7.1.5.
    assert received(question_of(*avps)).fault == fault


@pytest.mark.parametrize(
    ("fields", "fault"),
    [({"flags": 0xA0}, 3008), ({"flags": 0xD0}, 0)],
    ids=["error bit", "proxiable and retransmitted"],
)
def test_faults_of_the_header(fields: dict[str, int], fault: int) -> None:
    assert received(question_of(*FULL, **fields)).fault == fault


def test_another_command() -> None:
    data = bytearray(question_of(*FULL))
    data[5:8] = (271).to_bytes(3, "big")
    assert received(bytes(data)).fault == 3001


def test_a_malformed_avp_in_a_question() -> None:
    data = bytearray(question_of(*FULL))
    data[-len(NAME[1]) - 1] = 200  # the length of the last AVP
    q = received(bytes(data))
    assert q.fault == 5014
    # The C module wants its ids and the Service-Type back even then.
    out = bytearray()
    append_answer(out, q, saying(q.fault))
    assert decoded(bytes(out)) == {RESULT_CODE: (5014).to_bytes(4, "big"), **dict([MSGID, SERVICE])}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"", "not the Digest scheme"),
        (b"Basic YTpi", "not the Digest scheme"),
        (b"Digest", "no parameters"),
        (DIGEST.format("a\0b").encode(), "quoted string"),
        (DIGEST.replace(' realm="siphub.net",', "").encode(), "realm missing"),
    ],
)
def test_a_response_that_cannot_be_read(value: bytes, reason: str) -> None:
    q = received(question_of(*FULL, (RESPONSE, value), (METHOD, b"INVITE")))
    assert (q.fault, q.question.credentials) == (0, None)
    assert isinstance(q.question.error, ParseError)
    assert reason in str(q.question.error)


@pytest.mark.parametrize(
    "changes",
    [
        {"nonce": '""', "response": '""'},
        {"nonce": '""'},
        {"response": '""'},
        {"nonce": None, "response": None},
        {"nonce": None},
        {"response": None},
        {"response": '""', "algorithm": "AKAv1-MD5", "auts": '"QUFBQUFBQUFBQUFBQUE="'},
        {"response": '""', "qop": "auth", "nc": "1", "username": None},
    ],
)
def test_a_response_that_answers_no_challenge_is_none(changes: dict[str, str | None]) -> None:
    """Kamailio forwards what an IMS telephone's first REGISTER has: 3GPP TS 24.229, 5.1.1.2."""
    parts = {
        "username": '"alice@siphub.net"',
        "realm": '"siphub.net"',
        "nonce": '"bm9uY2U="',
        "uri": '"sip:siphub.net"',
        "response": f'"{"0" * 32}"',
    } | changes
    value = "Digest " + ",".join(f"{name}={part}" for name, part in parts.items() if part is not None)
    q = received(question_of(*FULL, (RESPONSE, value.encode()), (METHOD, b"REGISTER")))
    assert (q.fault, q.question.credentials, q.question.error) == (0, None, None)


def test_malformed_messages_of_all_kinds() -> None:
    for row in MALFORMED.read_text().splitlines():
        if row.startswith("#"):
            continue
        data = bytes.fromhex(row.split("\t")[3].replace("-", ""))
        stream = RequestStream()
        for q in stream.feed(data):
            out = bytearray()
            append_answer(out, q, saying(q.fault or 2001))
            Message.decode(bytes(out))
            repr(q)
        AnswerStream().feed(data, {})


# DISC's answers


@pytest.mark.parametrize(
    ("code", "flags", "expected"),
    [
        (2001, 0x80, 0x00),
        (4001, 0x80, 0x00),
        (5003, 0xC0, 0x40),
        (3002, 0x80, 0x20),
        (3001, 0xD0, 0x60),
    ],
)
def test_answer_to_a_question(code: int, flags: int, expected: int) -> None:
    # RFC 6733, 3 and 6.2: ids and P bit are those of the question; the E bit is for 3xxx, 7.1.3.
    q = received(question_of(*FULL, flags=flags, hop_by_hop=0x01020304, end_to_end=0x05060708))
    out = bytearray(b"before")
    append_answer(out, q, saying(code))
    message = Message.decode(bytes(out[6:]))
    assert (message.command, message.application_id, message.flags) == (265, 1, expected)
    assert (message.hop_by_hop, message.end_to_end) == (0x01020304, 0x05060708)
    # The order of the original; flags 0 on SIP-MSGID.
    assert [(a.code, a.data, a.flags) for a in message.avps] == [
        (RESULT_CODE, code.to_bytes(4, "big"), 0x40),
        (*MSGID, 0),
        (*SERVICE, 0x40),
    ]


@pytest.mark.parametrize("msgid", [b"\1", b"\1\2\3\4", b"\1\2\3\4\5\6\7\x08"])
def test_the_msgid_comes_back_as_it_was(msgid: bytes) -> None:
    out = bytearray()
    append_answer(out, received(question_of(REALM, SERVICE, NAME, (SIP_MSGID, msgid))), saying(2001))
    assert decoded(bytes(out))[SIP_MSGID] == msgid


def test_an_empty_msgid_stays_out() -> None:
    # The C module gives up on an answer with an AVP of length 8.
    out = bytearray()
    append_answer(out, received(question_of(REALM, SERVICE, NAME, (SIP_MSGID, b""))), saying(2001))
    assert SIP_MSGID not in decoded(bytes(out))


def test_what_was_missing_is_missing() -> None:
    out = bytearray()
    append_answer(out, received(question_of(NAME)), saying(5005))
    assert list(decoded(bytes(out))) == [RESULT_CODE]


def test_a_challenge_goes_out_with_crlf() -> None:
    # The C module copies it as it is and puts the next header right behind it.
    out = bytearray()
    question = ask(sip())
    append_answer(out, received(wire(question, 5)), Answer(Verdict.CHALLENGE, challenges=(VALUE,)))
    assert pairs(bytes(out))[-1] == (CHALLENGE, VALUE + b"\r\n")
    ((found, a),) = AnswerStream().feed(out, {5: question})
    assert (found, a.challenges, a.fault) == (question, (VALUE,), None)


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
