"""Exchanges with the original DISC of 2003: its answers for our client, its questions for our DISC.

Its answers carry Hop-by-Hop and End-to-End identifiers of its own, so that only SIP-MSGID tells the
question, and they come out of order.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

import pytest
from kit.answer_stream import AnswerStream
from kit.places import VECTORS
from kit.replay import TakesAllNonces, fill_store, read_as_the_c_module, read_question, undo_quirks
from kit.sip import build_request
from kit.wire import CHALLENGE, RESULT_CODE, SERVICE_TYPE, SIP_MSGID, ask_bytes

from auth_diameter import Avp, Cause, Config, Message, ParseError, SipRequest
from auth_diameter._core import (
    Question,
    RequestStream,
    Service,
    append_question,
    authentication,
    group_check,
)
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.diameter.pool import Pool
from auth_diameter.disc.server import VerifierConfig


@dataclass
class Exchange:
    """One SIP request, what DISC was asked for it and answered, and what the C module replied."""

    request: bytes
    questions: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    reply: bytes | None = None


def lines_of(name):
    """(kind, bytes or comment) of each line."""
    for line in (VECTORS / "original-disc" / name).read_text().splitlines():
        kind, _, rest = line.partition(" ")
        yield kind, rest if kind == "#" else bytes.fromhex(rest)


def exchanges_of(name):
    """Of a scenario that sipp played through Kamailio; retransmissions are left out."""
    found = []
    for kind, data in lines_of(name):
        if kind == "SIP" and data.startswith(b"SIP/2.0"):
            found[-1].reply = found[-1].reply or data
        elif kind == "SIP":
            if not found or found[-1].request != data:
                found.append(Exchange(data))
        elif kind == ">HOP1":
            found[-1].questions.append(data)
        elif kind == "<HOP1":
            found[-1].answers.append(data)
    return found


NAMES = sorted(path.name for path in (VECTORS / "original-disc").glob("*.hex"))
SCENARIOS = [name for name in NAMES if name.startswith(("auth_", "invite_"))]
ANSWERS = [
    pytest.param(data, id=f"{name} {number}")
    for name in NAMES
    for number, (kind, data) in enumerate(lines_of(name), 1)
    if kind == "<HOP1"
]


def avps_of(data):
    return {avp.code: bytes(avp.data) for avp in Message.decode(data).avps}


def msgid_of(data):
    return int.from_bytes(avps_of(data)[SIP_MSGID][:4], "big")


def question_like(data):
    """A question of ours to which `data` could be the answer."""
    request = SipRequest(build_request("REGISTER"))
    if avps_of(data)[SERVICE_TYPE] == b"8":
        return group_check(request, "siphub.net", "alice", "voicemail")
    # It challenges whom it does not know, and says so of credentials only.
    if int.from_bytes(avps_of(data)[RESULT_CODE], "big") in (2001, 5003):
        value = 'Digest username="alice", realm="siphub.net", nonce="n", uri="sip:h", response="' + "0" * 32
        request = SipRequest(build_request("REGISTER", extra=(f'Authorization: {value}"',)))
        return authentication(request, "siphub.net", request.credentials("siphub.net"), False)
    return authentication(request, "siphub.net", None, False)


# ------------------------------------------------------------------ its answers, and our client

MEANING = {
    # Service-Type, Result-Code: what the C module made of it
    (b"6", 2001): (None, 1, Cause.AUTHORIZED),
    (b"6", 4001): (401, -5, Cause.CHALLENGED),
    (b"6", 5003): (403, -5, Cause.FORBIDDEN),
    (b"6", 3002): (500, -5, Cause.DISC_REFUSED),
    (b"6", 3007): (500, -5, Cause.DISC_REFUSED),
    (b"6", 5005): (500, -5, Cause.DISC_REFUSED),
    (b"8", 2001): (None, 1, Cause.MEMBER),
    (b"8", 4001): (None, -1, Cause.NOT_MEMBER),
}


SERVICES = {b"6": Service.AUTHENTICATION, b"8": Service.GROUP_CHECK, b"9": Service.OTHER}


@pytest.mark.parametrize("data", ANSWERS)
def test_each_answer_means_to_our_client_what_it_meant_to_the_c_module(data):
    avps = avps_of(data)
    question = question_like(data)
    stream = AnswerStream()
    ((found, answer),) = stream.feed(data, {msgid_of(data): question})
    assert found is question
    assert stream.fault is None
    assert answer.code == int.from_bytes(avps[RESULT_CODE], "big")
    assert answer.service is SERVICES[avps[SERVICE_TYPE]]
    if Message.decode(data).command == 271:
        assert answer.fault == "not an AA-Answer"  # accounting, which ours never asks for
        return
    assert answer.fault is None
    decision = Authorizer(Config()).conclude(question, answer, 0.0)
    if avps[SERVICE_TYPE] == b"9":
        assert not decision
        return
    status, return_code, cause = MEANING[avps[SERVICE_TYPE], answer.code]
    assert (decision.status, decision.return_code, decision.cause) == (status, return_code, cause)
    if status == 401:
        challenge = avps[CHALLENGE]
        assert challenge.endswith(b"\r\n")
        assert b"\r\nWWW-Authenticate: " + challenge + b"Content-Length: 0\r\n" in decision.reply


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_with_our_client_in_the_place_of_the_c_module(name):
    """The same questions, but for ids and quirks; the same status; the same challenge."""
    authorizer = Authorizer(Config(use_domain=True))
    for exchange in exchanges_of(name):
        request = SipRequest(exchange.request)
        decision = None
        for asked, answered in zip(exchange.questions, exchange.answers, strict=True):
            if avps_of(asked)[SERVICE_TYPE] == b"8":
                question = authorizer.is_user_in(request, "Credentials", "voicemail")
            elif request.method == "REGISTER":
                question = authorizer.www_authorize(request, "$fd", 0.0)
            else:
                question = authorizer.proxy_authorize(request, "$fd", 0.0)
            assert isinstance(question, Question)
            out = bytearray()
            append_question(out, question, msgid_of(asked))
            # The body's hash is of no use to the original DISC, which has no auth-int.
            exact = {code: data for code, data in avps_of(bytes(out)).items() if code not in (SIP_MSGID, 112)}
            assert list(exact.items()) == list(undo_quirks(asked).items())
            ((found, answer),) = AnswerStream().feed(answered, {msgid_of(asked): question})
            assert found is question
            decision = authorizer.conclude(question, answer, 0.0)
        status = int(exchange.reply.split()[1])
        if status == 200:
            assert decision
            continue
        assert not decision
        assert decision.status == status
        for name_, value in decision.headers:
            assert f"\r\n{name_}: {value}\r\n".encode() in exchange.reply


def test_a_server_that_is_down_says_nothing():
    """Retransmissions of one request: the C module asked, and replied 500 after two seconds."""
    (exchange,) = exchanges_of("disc_server_down.hex")
    assert exchange.answers == []
    assert exchange.reply.startswith(b"SIP/2.0 500 ")
    authorizer = Authorizer(Config(unavailable_status=500))
    question = authorizer.www_authorize(exchange.request, "$fd", 0.0)
    decision = authorizer.fail(question, Cause.DISC_TIMEOUT, 0.0)
    assert decision.reply.startswith(b"SIP/2.0 500 Server Internal Error\r\n")


@pytest.mark.parametrize("seed", range(5))
def test_a_pipeline_through_the_pool(seed):
    """All answers of the capture on two connections, out of order and in any pieces.

    The ids in the headers are left as they are: some are those of other questions.
    """
    chance = random.Random(seed)
    answers = [data for kind, data in lines_of("pipelining_hop1.hex") if kind == "<HOP1"]
    assert len(answers) > 10
    pool = Pool(Config(peers=[("a", 1)], max_in_flight=len(answers)))
    questions = [question_like(data) for data in answers]
    for question in questions:
        assert pool.submit(question, 0.0) is None
    [(peer,)] = pool.take_events()
    asked_on, other = pool.opened(peer, None, 0.0), pool.opened(peer, None, 0.0)
    peer.opening = 0
    stream = []
    for question, data in zip(questions, answers, strict=True):
        place = data.index(b"\0\0\1\x96") + 8  # the SIP-MSGID's data
        stream.append(data[:place] + question.msgid.to_bytes(4, "big") + data[place + 4 :])
    pairs = list(zip(questions, stream, strict=True))
    chance.shuffle(pairs)
    found = []
    for connection, part in ((asked_on, pairs[::2]), (other, pairs[1::2])):
        data = b"".join(answer for _, answer in part)
        while data:
            size = chance.randint(1, 500)
            found += [question for question, _ in pool.received(connection, data[:size], 0.0)]
            data = data[size:]
    assert found == [question for question, _ in pairs[::2] + pairs[1::2]]
    assert not pool.in_flight
    assert (asked_on.under_way, other.under_way) == (0, 0)
    assert pool.in_flight.unknown == pool.in_flight.late == 0


# ------------------------------------------------------------------ its questions, and our DISC


@pytest.fixture
def disc(tmp_path):
    with fill_store(tmp_path) as store:
        yield TakesAllNonces(store, VerifierConfig())


# Where ours answers with another Result-Code, and why.
OURS = {
    ("auth_expired_nonce.hex", 4001): 2001,  # all nonces are fresh in this test
    ("auth_wrong_password.hex", 4001): 5003,  # 403, as the module's documentation promises
    ("auth_malformed_nonce.hex", 4001): 5003,  # the digest is wrong as well
    ("auth_qop_auth_int.hex", 4001): 5003,  # not offered by ours
    ("auth_foreign_realm.hex", 3002): 5003,  # not served: as an unknown user, which it is
}
QUESTIONS = [
    pytest.param(name, asked, answered, id=f"{name} {index}.{number}")
    for name in SCENARIOS
    for index, exchange in enumerate(exchanges_of(name))
    for number, (asked, answered) in enumerate(zip(exchange.questions, exchange.answers, strict=True))
]


@pytest.mark.parametrize(("name", "asked", "answered"), QUESTIONS)
def test_our_disc_answers_the_questions_of_each_scenario(name, asked, answered, disc):
    assert read_question(asked).fault == 0
    (answer,) = ask_bytes(disc, asked)
    code, challenge = read_as_the_c_module(answer, asked)
    theirs = int.from_bytes(avps_of(answered)[RESULT_CODE], "big")
    first = read_question(asked).question.credentials is None
    assert code == (theirs if first and theirs == 4001 else OURS.get((name, theirs), theirs))
    assert (challenge is not None) is (code == 4001)


def test_our_disc_answers_a_pipeline(disc):
    for answers, questions in pipelines():
        data = b"".join(questions)
        replied = ask_bytes(disc, data)
        assert len(replied) == len(questions)
        by_id = {}
        for answer in replied:
            by_id.setdefault(msgid_of(answer), []).append(answer)
        for question in questions:
            answer = by_id[msgid_of(question)].pop()
            code, _ = read_as_the_c_module(answer, question)
            assert code in (2001, 4001, 5003)
        assert all(not left for left in by_id.values())
        assert len(answers) <= len(questions)


def pipelines():
    """(answers, questions) of each part of the capture."""
    parts = []
    last = "#"
    for kind, data in lines_of("pipelining_hop1.hex"):
        if kind == "#" and last != "#":
            parts.append(([], []))
        if kind in ("<HOP1", ">HOP1"):
            if not parts:
                parts.append(([], []))
            parts[-1][kind == ">HOP1"].append(data)
        last = kind
    return [part for part in parts if part[1]]


def probes():
    """(what, question, what became of it) of each probe; a question that came split counts once."""
    what, question = "", None
    for kind, data in lines_of("probes_malformed_hop1.hex"):
        if kind == "#" and data.startswith("-> "):
            if question is not None:
                yield pytest.param(question, data, id=what)
            question = None
        elif kind == "#":
            what = data
        elif kind == ">HOP1":
            question = data


# Probes after which ours closes the connection, because the next message cannot be found.
UNFRAMED = {"version 2", "length 19", "length 0", "length 70000", "SIP text instead of Diameter"}
UNALIGNED = {"last AVP 9+3 pad without pad bytes"}  # RFC 6733, 3: a multiple of 4
PROBES = list(probes())
GOOD = next(p.values[0] for p in PROBES if p.id == "good request") if PROBES else b""


@pytest.mark.parametrize(("question", "became"), PROBES)
def test_our_disc_and_each_malformed_probe(question, became, disc, request):
    """Understood where the original understood; else refused without harm to the connection."""
    name = re.search(r"\[(.*)\]", request.node.name)[1]
    stream = RequestStream()
    found = stream.feed(question)
    if name in UNFRAMED | UNALIGNED:
        assert found == []
        assert isinstance(stream.fault, ParseError)
        assert stream.feed(GOOD) == []
        return
    assert stream.fault is None
    for answer in ask_bytes(disc, question):
        assert answer[12:20] == question[12:20]
        code = int.from_bytes(avps_of(answer)[RESULT_CODE], "big")
        if "TIMEOUT" in became and name != "no SIP_MSGID":  # ours goes by Hop-by-Hop then
            assert code >= 3000, "let in what the original did not understand"
            assert code != 4001
    # The next question on the same connection.
    (good,) = stream.feed(GOOD)
    assert good.fault == 0


def test_the_probes_that_the_original_answered_are_answered(disc):
    """With the same Result-Code but for those of which a comment says why not."""
    ours = {
        "Destination-Realm other.org (no route)": 5003,  # not served: as an unknown user
        "SIP_MSGID 8 bytes": 5005,  # MISSING_AVP: it has no User-Name either
        "application id 0": 4001,  # the command says enough
        "application id 6": 4001,
        "command 271 accounting, service 9": 3001,  # COMMAND_UNSUPPORTED: ours keeps no accounts
        "command 265, service 9": 5004,  # INVALID_AVP_VALUE
        "20 kB Response": 5003,  # no parameter of credentials is that long
        "duplicate SIP_MSGID": 5009,  # AVP_OCCURS_TOO_MANY_TIMES
    }
    seen = set()
    for probe in PROBES:
        question, became = probe.values
        match = re.match(r"-> rc=(\d+)", became)
        if match is None:
            continue
        seen.add(probe.id)
        (answer,) = ask_bytes(disc, question)
        code = int.from_bytes(avps_of(answer)[RESULT_CODE], "big")
        assert code == ours.get(probe.id, int(match[1])), probe.id
    assert set(ours) <= seen


def test_an_empty_sip_msgid_is_not_repeated(disc):
    """The C module reads no answer with an AVP that has no data."""
    good = Message.decode(GOOD)
    avps = [Avp(SIP_MSGID, b"", flags=0) if avp.code == SIP_MSGID else avp for avp in good.avps]
    question = Message(265, avps, application_id=1, hop_by_hop=7).encode()
    (answer,) = ask_bytes(disc, question)
    assert all(len(avp.data) > 0 for avp in Message.decode(answer).avps)
    assert Message.decode(answer).hop_by_hop == 7
