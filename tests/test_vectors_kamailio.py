"""Exchanges of the C module of Kamailio 5.6.3 with a DISC, played again with ours on either side."""

from __future__ import annotations

import json

import pytest
from kit.places import VECTORS
from kit.replay import TakesAllNonces, fill_store, read_as_the_c_module, read_question, undo_quirks
from kit.sip import parse_reply
from kit.wire import METHOD, RESOURCE, RESPONSE, SERVICE_TYPE, SIP_MSGID, USER_GROUP, USER_NAME, ask_bytes

from auth_diameter import Cause, Config, Message, ParseError, SipRequest
from auth_diameter._core import Question, append_question, decode_answer
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.disc.server import VerifierConfig

EXCHANGES = json.loads((VECTORS / "kamailio-5.6.3.json").read_text())
CAPTURED = sorted((VECTORS / "disc-captured").glob("*.bin"))
QUESTIONS = [
    pytest.param(bytes.fromhex(pair["request"]), exchange["name"], id=f"{exchange['name']} {number}")
    for exchange in EXCHANGES
    for number, pair in enumerate(exchange["diameter"])
]

# Where ours replies on purpose and the C module says something else, or nothing at all: a From
# without user and host names nobody, and every refusal has a reply.
OURS_IS_400 = {"invite-tel-from", "invite-no-from"}


def calls_of(exchange, authorizer, request):
    """What the configuration script of the capture called, one after the other."""
    call = exchange["call"]
    if call == "www":
        yield authorizer.www_authorize(request, "$fd", 0.0)
    elif call == "www-empty":
        yield authorizer.www_authorize(request, "", 0.0)
    elif call.startswith("proxy"):
        yield authorizer.proxy_authorize(request, "$fd", 0.0)
        if call == "proxy-cred-group":
            yield authorizer.is_user_in(request, "Credentials", "voicemail")
    else:
        who = {"group-from": "From", "group-to": "To", "group-ruri": "Request-URI"}[call]
        group = "pstn" if call == "group-ruri" else "voicemail"
        yield authorizer.is_user_in(request, who, group)


def play(exchange):
    """Our client in the place of the C module: the last decision."""
    authorizer = Authorizer(Config(use_domain=exchange["use_domain"]))
    request = SipRequest(exchange["request"].encode())
    pairs = iter(exchange["diameter"])
    decision = None
    for outcome in calls_of(exchange, authorizer, request):
        decision = outcome
        if isinstance(outcome, Question):
            pair = next(pairs)
            captured = bytes.fromhex(pair["request"])
            out = bytearray()
            append_question(out, outcome, 7)
            assert_same_question(bytes(out), captured)
            decision = authorizer.conclude(outcome, decode_answer(bytes.fromhex(pair["answer"])), 0.0)
    assert next(pairs, None) is None, "the C module asked once more"
    return decision


def assert_same_question(ours, captured):
    """But for the ids and the quirks; the order of the AVPs and their flags included."""
    message, other = Message.decode(ours), Message.decode(captured)
    assert (message.command, message.application_id, message.flags) == (265, 1, 0x80)
    assert (other.command, other.application_id, other.flags) == (265, 1, 0x80)
    assert [(a.code, a.flags) for a in message.avps] == [(a.code, a.flags) for a in other.avps]
    exact = {avp.code: bytes(avp.data) for avp in message.avps if avp.code != SIP_MSGID}
    assert exact == undo_quirks(captured)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["name"])
def test_our_client_asks_and_replies_the_same(exchange):
    decision = play(exchange)
    if exchange["name"] in OURS_IS_400:
        assert (decision.status, decision.cause) == (400, Cause.NO_IDENTITY)
        assert decision.reply.startswith(b"SIP/2.0 400 Bad Request\r\n")
        return
    captured = exchange["reply"]
    if captured is None:  # an ACK
        assert decision
        assert decision.reply is None
        return
    status_line, _, rest = captured.partition("\r\n")
    status = int(status_line.split()[1])
    if status == 200 or exchange["call"].startswith("group"):
        # The script replied, by what the module returned.
        assert bool(decision) is (status == 200)
        assert decision.reply is None
        assert decision.return_code == (1 if status == 200 else -1)
        return
    sent_status, reason, headers = parse_reply(decision.reply)
    assert f"SIP/2.0 {sent_status} {reason}" == status_line
    # The C module copied the Challenge as it came, without a CRLF at its end, so that the next
    # header stands in the same line.
    theirs = [line.partition(": ") for line in rest.replace("Server: ", "\r\nServer: ").split("\r\n")]
    theirs = [(name, value) for name, _, value in theirs if name and name != "Server"]
    assert sorted(without_to_tag(headers)) == sorted(without_to_tag(theirs))


def without_to_tag(headers):
    """Each server makes its own."""
    return [(name, value.partition(";tag=")[0] if name == "To" else value) for name, value in headers]


@pytest.fixture
def disc(tmp_path):
    with fill_store(tmp_path) as store:
        yield TakesAllNonces(store, VerifierConfig())


@pytest.mark.parametrize(("data", "name"), QUESTIONS)
def test_our_disc_reads_each_question(data, name):
    question = read_question(data)
    fields = undo_quirks(data)
    assert question.fault == 0
    assert question.service_type == fields[SERVICE_TYPE][0]
    asked = question.question
    assert asked.realm == fields[283].decode()
    assert asked.method == fields.get(METHOD, b"").decode()
    assert (asked.group or "") == fields.get(USER_GROUP, b"").decode()
    assert "\0" not in asked.user_name
    assert fields[USER_NAME].decode().startswith(asked.user_name)
    credentials = asked.credentials
    assert (credentials is not None) is (RESPONSE in fields)
    if credentials is not None:
        assert f"{credentials.username}@{credentials.realm}".encode() == fields[USER_NAME]
    else:
        assert asked.user_name == fields[USER_NAME].decode()


@pytest.mark.parametrize(("data", "name"), QUESTIONS)
def test_our_disc_answers_so_that_the_c_module_can_read_it(data, name, disc):
    """And with the same Result-Code as the DISC of the capture, but where a setting decides."""
    (answer,) = ask_bytes(disc, data)
    code, challenge = read_as_the_c_module(answer, data)
    captured = next(
        decode_answer(bytes.fromhex(pair["answer"]))
        for exchange in EXCHANGES
        for pair in exchange["diameter"]
        if exchange["name"] == name and bytes.fromhex(pair["request"]) == data
    )
    not_member = read_question(data).question.is_group_check and captured.code == 5003
    assert code == (4001 if not_member else captured.code)
    assert (challenge is not None) is (len(captured.challenges) == 1)
    # Our client takes it for what the C module takes it for.
    read = decode_answer(answer)
    assert (read.code, read.service) == (code, captured.service)
    assert read.fault is None


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_our_disc_understands_each_captured_question(path, disc):
    data = path.read_bytes()
    question = read_question(data)
    fields = undo_quirks(data)
    assert question.fault == 0
    assert question.service_type == ord("6")
    asked = question.question
    assert "\0" not in asked.user_name
    assert asked.resource.replace("\0", ":") == fields[RESOURCE].decode()
    credentials = asked.credentials
    assert (credentials is not None) is ("nocred" not in path.stem)
    if credentials is not None:
        assert credentials.username.partition("@")[0] == "alice"
        assert asked.method == fields[METHOD].decode()
    else:
        assert asked.user_name == fields[USER_NAME].decode()
    (answer,) = ask_bytes(disc, data)
    code, _ = read_as_the_c_module(answer, data)
    assert code == 5003  # example.com is not served here, and the digest is wrong


def test_the_challenge_is_for_a_realm_that_is_served(disc):
    data = bytes.fromhex(EXCHANGES[0]["diameter"][0]["request"])
    (answer,) = ask_bytes(disc, data)
    _, challenge = read_as_the_c_module(answer, data)
    assert challenge.startswith(b'Digest realm="siphub.net", ')


def test_all_of_one_connection_in_any_pieces(disc):
    """The captures as one stream: as many answers as questions, in single bytes as well."""
    data = b"".join(bytes.fromhex(p["request"]) for e in EXCHANGES for p in e["diameter"])
    count = sum(len(exchange["diameter"]) for exchange in EXCHANGES)
    assert len(ask_bytes(disc, data)) == count


def test_the_vectors_hold_what_this_module_is_about():
    assert len(EXCHANGES) == 21
    assert len(QUESTIONS) == 17
    assert len(CAPTURED) == 12
    malformed = next(e for e in EXCHANGES if e["name"] == "register-malformed-digest")
    with pytest.raises(ParseError):
        SipRequest(malformed["request"].encode()).credentials("siphub.net")
