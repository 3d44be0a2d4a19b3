"""Answers in the DISC dialect, as DISC writes them and as our client reads them."""

import random
from typing import Any

import pytest
from kit.answer_stream import AnswerStream
from kit.dialect import (
    CHALLENGE,
    FULL,
    MSGID,
    NAME,
    REALM,
    REJECTED,
    RESULT_CODE,
    SERVICE,
    SERVICE_TYPE,
    SIP_MSGID,
    SUCCESS,
    VALUE,
    answer,
    ask,
    decoded,
    pairs,
    question_of,
    received,
    saying,
    sip,
    wire,
)

from auth_diameter._core import (
    Answer,
    Avp,
    DiscApplication,
    Message,
    ParseError,
    RequestStream,
    Service,
    Verdict,
    append_answer,
    decode_answer,
)

# Answers


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


# What is remembered of challenges

NONCES = ["bm9uY2U=", "bm9uY2V=", "bm9uY2U=x", "", "a\tb 'c'+", "\xe9\xe9\xe9\xe9", 'b\\"9uY2U', "bm9uY2\\\\"]
NEEDS = f'Digest realm="siphub.net", nonce="{NONCES[0]}", stale=true, algorithm=SHA-256, qop="auth"'.encode()


def fields(a: Answer) -> tuple[object, ...]:
    return a.verdict, a.code, a.service, a.challenges, a.fault


def same(reader: DiscApplication, *values: bytes) -> bool:
    """Whether a reader reads an answer with these challenges like one that has read none before."""
    data = answer(REJECTED, MSGID, SERVICE, *((CHALLENGE, value) for value in values))
    return fields(reader.decode(data)) == fields(decode_answer(data))


@pytest.mark.parametrize(
    "known",
    [
        NEEDS,
        b'Digest nonce="",realm=x',
        b'digest REALM="a\\"b",\tNonce = "0123456789abcdef"  ,x=y',
        b'Digest realm="r", nonce=token, qop="auth"',  # no quoted string: not remembered
        b'Digest realm="r", nonce="a\\"b", qop="auth"',  # a quoted-pair: the same
        b'Digest realm="nonce=", opaque=" nonce=", nonce="x", cnonce="y"',
    ],
)
def test_another_byte_anywhere_reads_as_if_nothing_was_remembered(known: bytes) -> None:
    for at in range(len(known)):
        for byte in range(256):
            reader = DiscApplication()
            assert same(reader, known)
            assert same(reader, known[:at] + bytes([byte]) + known[at + 1 :]), (at, byte)
            assert same(reader, known)
        reader = DiscApplication()
        for other in (known, known[:at], known[:at] + known[at + 1 :], known[:at] + b'"' + known[at:], known):
            assert same(reader, other), (at, other)


def test_other_nonces_read_as_if_nothing_was_remembered() -> None:
    reader = DiscApplication()
    for first in NONCES:
        for second in NONCES:
            for nonce in (first, second, first):
                value = f'Digest realm="siphub.net", nonce="{nonce}", qop="auth"'.encode("latin-1")
                assert same(reader, value)


def test_challenges_are_remembered_by_their_place() -> None:
    """A fault in one does not hide behind another that was good at that place before."""
    bad = NEEDS.replace(b"nonce", b"nunce")
    long = NEEDS + b', opaque="' + b"x" * 300 + b'"'
    pool = [NEEDS, NEEDS.replace(b"bm9u", b"xxxx"), VALUE, bad, long, long[:-2] + b"\\x", b"", NEEDS[:-1]]
    pick = random.Random(5)
    reader = DiscApplication()
    for _ in range(5000):
        assert same(reader, *pick.choices(pool, (9, 9, 9, 1, 3, 1, 1, 1), k=pick.randint(0, 4)))


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
