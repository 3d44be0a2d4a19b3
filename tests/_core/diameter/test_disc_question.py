"""Questions in the DISC dialect, as our client writes them and as DISC reads them.

The order of AVPs is that of OpenSER's C module, whose questions lie in vectors/disc-captured.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from kit.answer_stream import AnswerStream
from kit.dialect import (
    AUTHENTICATION,
    DESTINATION_REALM,
    DIGEST,
    FULL,
    GROUP,
    GROUP_CHECK,
    METHOD,
    MSGID,
    NAME,
    REALM,
    RESOURCE,
    RESPONSE,
    RESULT_CODE,
    SERVICE,
    SERVICE_TYPE,
    SIP_MSGID,
    SUCCESS,
    USER_GROUP,
    USER_NAME,
    answer,
    ask,
    decoded,
    group_question,
    pairs,
    question_of,
    received,
    saying,
    sip,
    splits,
    wire,
)
from kit.places import SHARED, VECTORS

from auth_diameter._core import (
    AaRequest,
    Credentials,
    Message,
    ParseError,
    Question,
    RequestStream,
    Service,
    SipRequest,
    append_answer,
    append_question,
    authentication,
    decode_answer,
    group_check,
    question_room,
)
from auth_diameter.lab.uac import make_request

CAPTURED = VECTORS / "disc-captured"
MALFORMED = VECTORS / "diameter-malformed.tsv"
KAMAILIO = SHARED / "vectors" / "kamailio-5.6.3.json"


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


# Questions as DISC reads them


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
