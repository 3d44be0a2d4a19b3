"""What an attacker would try: names that match where they should not, answers to other questions, requests
that two readers read differently, replies aimed at somebody else, and lines of a log."""

from __future__ import annotations

from itertools import permutations

import pytest
from hostile.play import MSGID, Play, real_disc
from hostile.processes import Phone, fill, stop
from kit.answer_stream import AnswerStream
from kit.disc import CHALLENGE_VALUE
from kit.process import Server
from kit.sip import ACCOUNT, DOMAIN, PASSWORD, build_credentials, build_request, parse_reply
from kit.wire import NOW, SERVICE_TYPE, build_answer

from auth_diameter import (
    Avp,
    Cause,
    Config,
    Message,
    ParseError,
    SipRequest,
    Uri,
    digest_response,
    ha1,
)
from auth_diameter._core import append_question, quote
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.lab.uac import make_request
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.nonces import Nonces

AUTHORIZER = Authorizer(Config(penalty=False))
REALM = DOMAIN


# ------------------------------------------------------------------ names that nearly match

NONCES = Nonces()


@pytest.fixture(scope="module")
def play():
    with Accounts.create(":memory:") as store:
        store.add_user("alice", DOMAIN, PASSWORD)
        store.add_user("Jäsøn", DOMAIN, PASSWORD)
        store.add_user("alice", "other.net", "another password")
        yield Play(real_disc(SqliteStore(store.database), NONCES))


def log_in(play, username, realm=REALM, password=PASSWORD, *, hashed_as=None, text=None, nonce=None, **more):
    """A REGISTER with a digest that is right for `hashed_as` and says that it is `username`'s."""
    nonce = nonce if nonce is not None else NONCES.make(realm, NOW)
    who, where = hashed_as or (username, realm)
    response = digest_response(ha1(who, where, password), "REGISTER", f"sip:{DOMAIN}", nonce)
    name = text or f"username={quote(username)}"
    value = f'Digest {name}, realm={quote(realm)}, nonce="{nonce}", uri="sip:{DOMAIN}", response="{response}"'
    value += "".join(f", {key}={word}" for key, word in more.items())
    request = make_request("REGISTER", f"sip:{DOMAIN}", ACCOUNT, headers=[("Authorization", value)])
    return play.decide(request, DOMAIN)


def test_the_digest_of_these_tests_is_right(play):
    assert log_in(play, "alice")
    assert log_in(play, f"alice@{DOMAIN}")
    assert log_in(play, f"alice@{DOMAIN}", hashed_as=("alice", DOMAIN))


@pytest.mark.parametrize(
    ("text", "username"),
    [
        ('username="al\\ice"', "alice"),
        ("username*=UTF-8''alice", "alice"),
        ("username*=UTF-8''J%c3%a4s%C3%B8n", "Jäsøn"),
    ],
)
def test_the_same_name_in_other_letters(play, text, username):
    # A quoted-pair and an escape mean the character itself (RFC 3261, 25.1; RFC 8187, 3.2.1).
    decision = log_in(play, username, text=text)
    assert (bool(decision), decision.username) == (True, username)


@pytest.mark.parametrize(
    "username",
    [
        "Alice",
        "ALICE",
        "alice ",
        " alice",
        "alice\0",
        "alice@",
        "alice@other.net",
        f"alice@{DOMAIN}@{DOMAIN}",
        f"@alice@{DOMAIN}",
        "ali%63e",
        "аlice",  # Cyrillic
        "Ja\u0308søn",  # decomposed
        "J\u00e4s",
        "' OR '1'='1",
        "%",
        "alice%",
        "_lice",
        "*",
        "",
        ":",
        f"alice:{DOMAIN}",
    ],
)
def test_a_name_that_is_not_quite_hers(play, username):
    # Her right password does not help: hashed under her name, nor under the name that is claimed.
    for hashed_as in (("alice", DOMAIN), None):
        decision = log_in(play, username, hashed_as=hashed_as, text=f'username="{escaped(username)}"')
        assert not decision
        assert decision.status in (400, 403, 500)


def escaped(text: str) -> str:
    return "".join("\\" + c if ord(c) < 32 or c in '"\\' else c for c in text)


@pytest.mark.parametrize(
    "realm", ["other.net", "siphub.net.", "siphub", "", "siphub.net\0", "ſiphub.net", "*"]
)
def test_a_realm_that_is_not_quite_ours(play, realm):
    # Passed over, as credentials for others are: it is asked for, never let in.
    decision = log_in(play, "alice", realm if "\0" not in realm else "x", hashed_as=("alice", DOMAIN))
    assert (bool(decision), decision.status) == (False, 401)


def test_the_realm_in_capital_letters_is_the_same(play):
    # HA1 is over the realm as the table has it; the nonce holds for every spelling.
    assert log_in(play, "alice", "SIPHUB.NET", hashed_as=("alice", DOMAIN))
    assert not log_in(play, "alice", "SIPHUB.NET")


def test_a_password_of_another_realm(play):
    assert not log_in(play, "alice", password="another password")
    assert not log_in(play, "alice@other.net", password="another password", hashed_as=("alice", "other.net"))


def test_userhash_names_nobody(play):
    # It is not offered; the hash is then the name of a user who does not exist.
    name = ha1("alice", DOMAIN, "")
    assert not log_in(play, name, hashed_as=("alice", DOMAIN), userhash="true")


@pytest.mark.parametrize("change", ["cut", "longer", "mac", "time", "salt", "upper", "other realm", "future"])
def test_a_nonce_that_is_not_quite_ours(play, change):
    nonce = NONCES.make(DOMAIN, NOW)
    nonce = {
        "cut": nonce[:-1],
        "longer": nonce + "0",
        "mac": nonce[:-1] + ("0" if nonce[-1] != "0" else "1"),
        "time": "ffffffff" + nonce[8:],
        "salt": nonce[:8] + "0" * 16 + nonce[24:],
        "upper": nonce.upper() if nonce.upper() != nonce else nonce[::-1],
        "other realm": NONCES.make("other.net", NOW),
        "future": NONCES.make(DOMAIN, NOW + 60),  # clocks may differ by 10 s
    }[change]
    decision = log_in(play, "alice", nonce=nonce)
    # The digest is right and its nonce of no use, whatever the reason: RFC 7616, 3.3.
    assert (bool(decision), decision.status) == (False, 401)
    assert b"stale=true" in decision.reply


def test_an_expired_nonce_helps_nobody_without_the_password(play):
    old = NONCES.make(DOMAIN, NOW - 1e6)
    assert b"stale=true" in log_in(play, "alice", nonce=old).reply
    assert log_in(play, "alice", nonce=old, password="guess").status == 403


# ------------------------------------------------------------------ answers to something else


def questions():
    """A question about credentials, one for a challenge, and one about a group."""
    right = SipRequest(build_request(extra=(f"Authorization: {build_credentials()}",)))
    first = SipRequest(build_request())
    return {
        "credentials": AUTHORIZER.www_authorize(right, DOMAIN, 0.0),
        "challenge": AUTHORIZER.www_authorize(first, DOMAIN, 0.0),
        "group": AUTHORIZER.is_user_in(first, "From", "staff"),
    }


def concluded(question, data):
    ((_, answer),) = AnswerStream().feed(data, {MSGID: question})
    return AUTHORIZER.conclude(question, answer, 0.0)


@pytest.mark.parametrize("service_type", [b"6", b"8", b"9", b"0", b"\0", b"", b"66", None])
def test_a_success_that_names_a_service(service_type):
    # One that names another service answers another question. Without one it is taken for ours.
    data = build_answer(MSGID, 2001, service_type=service_type)
    let_in = {kind for kind, question in questions().items() if concluded(question, data)}
    assert let_in == {b"6": {"credentials"}, b"8": {"group"}, None: {"credentials", "group"}}.get(
        service_type, set()
    )


def test_a_success_with_the_error_bit():
    # RFC 6733, 7.1.3: the bit stands with 3xxx. An answer that contradicts itself lets nobody in.
    data = bytearray(build_answer(MSGID, 2001, service_type=None))
    data[4] |= 0x20
    for question in questions().values():
        decision = concluded(question, bytes(data))
        assert (bool(decision), decision.cause) == (False, Cause.DISC_UNUSABLE)


@pytest.mark.parametrize("code", [2000, 2002, 2001 << 8, 2001 + (1 << 16), 1001, 0, 0xFFFFFFFF])
def test_nearly_a_success(code):
    for question in questions().values():
        assert not concluded(question, build_answer(MSGID, code, service_type=None))


def test_a_success_in_an_avp_of_a_vendor():
    for question in questions().values():
        more = (Avp(268, (2001).to_bytes(4, "big"), vendor_id=10415),)
        assert not concluded(question, build_answer(MSGID, 5003, more=more))
        assert not concluded(question, build_answer(MSGID, None, more=more))


def test_each_answer_reaches_its_own_question():
    # By SIP-MSGID, whatever Hop-by-Hop says; by Hop-by-Hop where there is no SIP-MSGID; else nobody's.
    mine, other = questions()["credentials"], questions()["credentials"]
    for msgid, hop_by_hop, expected in ((2, 1, other), (1, 2, mine), (3, 1, None)):
        data = build_answer(msgid, 2001, hop_by_hop=hop_by_hop)
        found = AnswerStream().feed(data, {1: mine, 2: other})
        assert [question for question, _ in found] == ([expected] if expected else [])
    without = Message(265, [Avp(268, (2001).to_bytes(4, "big"))], application_id=1, flags=0, hop_by_hop=2)
    ((question, _),) = AnswerStream().feed(without.encode(), {1: mine, 2: other})
    assert question is other


def test_a_second_answer_is_nobodys():
    question = questions()["credentials"]
    pending = {MSGID: question}
    data = build_answer(MSGID, 5003) + build_answer(MSGID, 2001)
    assert len(AnswerStream().feed(data, pending)) == 1
    assert pending == {}


@pytest.mark.parametrize(
    "value",
    [
        CHALLENGE_VALUE + b"\r\nX-Evil: 1",
        CHALLENGE_VALUE + b"\nX-Evil: 1",
        CHALLENGE_VALUE + b"\rX-Evil: 1",
        CHALLENGE_VALUE + b"\0",
        CHALLENGE_VALUE + b"\r\n folded",
        CHALLENGE_VALUE + b"\r\n\r\n<html>",
        b"\r\n" + CHALLENGE_VALUE + b"\x0b",
        CHALLENGE_VALUE.replace(b"siphub", b"sip\\\rhub"),
        CHALLENGE_VALUE.replace(b"siphub", b"sip\\\nhub"),
        CHALLENGE_VALUE.replace(b"siphub", b"sip\\\0hub"),
        CHALLENGE_VALUE + b', Basic realm="x"',
        CHALLENGE_VALUE + b", Digest realm=x",
        b'Basic realm="x"',
        b"Digest",
        b"",
        CHALLENGE_VALUE + b', opaque="' + b"a" * 5000 + b'"',
    ],
)
def test_a_challenge_that_is_more_than_one_header(value):
    for proxy in (False, True):
        request = SipRequest(build_request())
        ask = AUTHORIZER.proxy_authorize if proxy else AUTHORIZER.www_authorize
        decision = concluded(ask(request, DOMAIN, 0.0), build_answer(MSGID, 4001, challenge=value))
        assert (decision.status, decision.cause) == (500, Cause.DISC_UNUSABLE)
        assert {name for name, _ in parse_reply(decision.reply)[2]} <= {
            "Via", "From", "To", "Call-ID", "CSeq", "Content-Length",
        }  # fmt: skip


# ------------------------------------------------------------------ one request, two readings


def insert(line: str, before: str = "From") -> bytes:
    return build_request().replace(f"{before}:".encode(), f"{line}\r\n{before}:".encode(), 1)


@pytest.mark.parametrize(
    "data",
    [
        insert("From: <sip:bob@siphub.net>"),
        insert("f: <sip:bob@siphub.net>"),
        insert("t: <sip:bob@siphub.net>"),
        insert("i: another"),
        insert("CSeq: 8 INVITE"),
        insert("l: 0"),
        insert("Content-Length: 0"),
        insert("Content-Length : 0"),
        insert("From : <sip:bob@siphub.net>"),
        insert("from\t: <sip:bob@siphub.net>"),
        insert("X: y\r\n\rFrom: <sip:bob@siphub.net>"),
        insert("X: y\nFrom: <sip:bob@siphub.net>"),
        insert("X: y\rFrom: <sip:bob@siphub.net>"),
        insert("X: y\0From: <sip:bob@siphub.net>"),
        build_request(from_="<sip:alice@siphub.net>, <sip:bob@siphub.net>"),
        build_request(from_="<sip:alice@siphub.net>;tag=1;tag=2"),
        build_request(from_="<sip:alice@siphub.net><sip:bob@siphub.net>"),
        build_request(from_="<sip:alice@siphub.net@other.net>"),
        build_request(from_="sip:alice@siphub.net>"),
        build_request(from_="<sip:alice@[::1>"),
    ],
)
def test_a_request_that_two_readers_read_differently(data):
    with pytest.raises(ParseError):
        SipRequest(data)


def test_the_first_credentials_for_the_realm_are_the_ones_that_are_asked_about():
    lines = [
        "Authorization: Basic YWxpY2U6eA==",
        f"Authorization: {build_credentials('mallory', 'other.net')}",
        f"Authorization: {build_credentials('alice')}",
        f"Authorization: {build_credentials('bob')}",
        f"Proxy-Authorization: {build_credentials('carol')}",
    ]
    for order in permutations(lines):
        first = next(line for line in order if "alice" in line or "bob" in line)
        question = AUTHORIZER.www_authorize(SipRequest(build_request(extra=order)), DOMAIN, 0.0)
        out = bytearray()
        append_question(out, question, MSGID)
        sent = Message.decode(bytes(out))
        assert sent.find(401).data.decode() == first.partition(": ")[2]
        assert sent.find(SERVICE_TYPE).data == b"6"
        assert question.credentials.username in first


# ------------------------------------------------------------------ replies to somebody else


@pytest.mark.parametrize(
    "via",
    [
        "SIP/2.0/UDP 198.51.100.1:5066;branch=z9hG4bK-1",
        "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK-1;maddr=198.51.100.2",
        "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK-1;maddr=224.0.1.75;ttl=255",
        "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK-1;received=198.51.100.3",
        "SIP/2.0/UDP 198.51.100.1;branch=z9hG4bK-1;received=198.51.100.3;rport=99",
        "SIP/2.0/UDP 198.51.100.1;rport;received=198.51.100.3;maddr=255.255.255.255",
        "SIP/2.0/TCP 198.51.100.1;rport=1;rport;RPORT=2;Received=[2001:db8::1]",
    ],
)
def test_a_reply_goes_back_to_its_sender(via):
    request = build_request().replace(b"SIP/2.0/UDP 127.0.0.1:5066;branch=z9hG4bK-1", via.encode())
    parsed = SipRequest(request, ("203.0.113.7", 40_000))
    assert parsed.reply_address[0] == "203.0.113.7"
    top = parse_reply(parsed.reply(401, "Unauthorized"))[2][0][1].lower()
    # RFC 3261, 18.2.1 and RFC 3581, 4: what the sender claims of it is not repeated.
    assert top.count(";received=203.0.113.7") == 1 == top.count("received=")
    assert top.count("rport") == (1 if "rport" in via else 0)
    assert "rport" not in via or ";rport=40000" in top


# ------------------------------------------------------------------ lines of a log


ROUTE = """
async def request_route(request, auth):
    what = request.header("X")
    if what == "raise":
        raise ValueError(request.header("Subject"), request)
    if what == "header":
        return request.reply(200, "OK", [("X-User", request.credentials("siphub.net").username)])
    return request.header("Authorization") if what == "text" else request.reply(200, "OK")
"""


@pytest.fixture
def scripted(tmp_path_factory):
    """`serve` with a route script that fails on request."""
    folder = tmp_path_factory.mktemp("attacks")
    route = folder / "route.py"
    route.write_text(ROUTE)
    with (
        Server("disc", "--db", fill(folder / "users.sqlite")) as disc,
        Server("-v", "serve", "--disc", disc.where, "--route", route) as serve,
    ):
        yield serve


def test_a_route_that_fails_with_a_request_in_hand(scripted):
    secret = {
        "response": "5ec2e75ec2e75ec2e75ec2e75ec2e700",
        "nonce": "nonce-5ec2e7",
        "cnonce": "cnonce-5ec2e7",
    }
    name = build_credentials(**secret).replace('username="alice"', "username*=UTF-8''al%0d%0aX-Evil:%1b")
    name = name.replace("X-Evil:", "X-Evil%3a")
    with Phone(scripted.address) as phone:
        for what in ("raise", "text", "header", "fine"):
            lines = (f"X: {what}", f"Authorization: {name}", 'Subject: "\\\x1b[2J\\\x07"')
            data = build_request("REGISTER", f"sip:bob:{secret['nonce']}@siphub.net", extra=lines)
            phone.send(data.replace(b";branch", b";rport;branch"))
            assert parse_reply(phone.receive_bytes())[0] == (200 if what == "fine" else 500)
    log = stop(scripted, tracebacks=True)
    assert log.count("the route script failed") == 3
    assert [value for value in secret.values() if value in log] == []
    assert [line for line in log.splitlines() if not line.startswith(("2", "  "))] == []


def test_a_repr_leaves_the_password_of_a_uri_out():
    for text in ("sip:bob:s3cret@siphub.net;x=y", "SIPS:bob:s3cret@[::1]:5061", "sip:bob:@siphub.net"):
        assert "s3cret" not in repr(Uri.parse(text))
        assert "bob:…@" in repr(Uri.parse(text))
        assert "s3cret" not in repr(SipRequest(build_request(request_uri=text)))
    for text in ("sip:bob@siphub.net:5060", "sip:siphub.net:5060", "tel:+1-2", "urn:a:b@c"):
        assert repr(Uri.parse(text)) == f"<Uri {text}>"
