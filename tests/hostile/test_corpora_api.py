"""Every hostile input through the functions, asked of several kinds of DISC, without a socket."""

from __future__ import annotations

import json
import re

import pytest
from hostile import corpora
from hostile.outcomes import LET_THROUGH, expected_status, expected_status_of_header
from hostile.play import MSGID, Play, real_disc
from kit.disc import CHALLENGE_VALUE
from kit.replay import TakesAllNonces
from kit.sip import ACCOUNT, DOMAIN, PASSWORD, parse_reply
from kit.wire import build_answer

from auth_diameter import Cause, ParseError, SipRequest
from auth_diameter._core import quote
from auth_diameter.lab.uac import make_request
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import Hashes
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig

REQUESTS = corpora.sip_requests() | corpora.torture_requests()
HEADERS = corpora.digest_headers()
KNOWN = json.loads((corpora.VECTORS / "digest-known-answers.json").read_text())
OURS = {"Via", "From", "To", "Call-ID", "CSeq", "WWW-Authenticate", "Proxy-Authenticate", "Content-Length"}

# What a DISC may say to anything. Only one of them says yes, and that counts for credentials alone.
ANSWERS = {
    "2001": build_answer(MSGID, 2001),
    "2001 without Service-Type": build_answer(MSGID, 2001, service_type=None),
    "2001 of a group check": build_answer(MSGID, 2001, service_type=b"8"),
    "4001": build_answer(MSGID, 4001, challenge=CHALLENGE_VALUE),
    "4001 without Challenge": build_answer(MSGID, 4001),
    "4001, two lines of Challenge": build_answer(MSGID, 4001, challenge=CHALLENGE_VALUE + b"\r\nX-Evil: 1"),
    "5003": build_answer(MSGID, 5003),
    "5012": build_answer(MSGID, 5012),
    "no Result-Code": build_answer(MSGID, None),
}


@pytest.fixture(scope="module")
def play():
    with Accounts.create(":memory:") as store:
        for domain in corpora.domains() | {DOMAIN}:
            store.add_user("alice", domain, PASSWORD)
        yield Play(real_disc(SqliteStore(store.database)))


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_and_a_good_one_after_it(play, name):
    data = REQUESTS[name]
    decision = play.decide(data)
    assert bool(decision) == (name in LET_THROUGH)
    status = expected_status(name, data)
    if decision:
        assert decision.cause is Cause.BYPASSED
    elif status is None:
        assert not decision.reply
    else:
        # Folds and a quoted NUL of the request's own come back, as RFC 3261, 8.2.6.2 wants it.
        got, _, headers = parse_reply(re.sub(rb"\r\n[ \t]|\\\0", b" ", decision.reply))
        # 505 is `serve`'s answer; the functions know 400 for all that is malformed.
        assert got == (400 if status == 505 else status)
        assert {header for header, _ in headers} <= OURS
    assert play.log_in()


@pytest.mark.parametrize("name", REQUESTS)
def test_whatever_disc_says(name):
    # Nobody gets in but with credentials for the realm, and with a 2001 that is about credentials.
    data = REQUESTS[name]
    for kind, answer in ANSWERS.items():
        play = Play(lambda question, answer=answer: answer)
        for proxy in (False, True):
            for realm in ("$fd", "", "example.com", "$hdr(X)", "$ru"):
                decision = play.decide(data, realm, proxy=proxy)
                if decision:
                    request = SipRequest(data)
                    bypassed = request.method in ("ACK", "CANCEL")
                    carried = request.credentials(decision.realm or "", proxy) is not None
                    assert bypassed or (carried and kind in ("2001", "2001 without Service-Type"))
                assert b"X-Evil" not in (decision.reply or b"")


@pytest.mark.parametrize("name", REQUESTS)
def test_group_checks_of_it(name):
    play = Play(lambda question: build_answer(MSGID, 2001, service_type=b"8"))
    data = REQUESTS[name]
    try:
        request = SipRequest(data)
    except ParseError:
        request = data  # which is then a Decision, too
    for who in ("Request-URI", "To", "From", "Credentials"):
        decision = play.conclude(play.authorizer.is_user_in(request, who, "g"))
        assert decision.reply is None
        # No credentials were found right on it.
        assert who != "Credentials" or decision.return_code in (-2, -3, -4, -5)
        assert type(request) is SipRequest or not decision


@pytest.mark.parametrize("name", HEADERS)
def test_a_digest_header(play, name):
    header = HEADERS[name]
    decision = play.decide(corpora.register("Authorization: %s").replace(b"%s", header.value))
    status = expected_status_of_header(name, header)
    assert (bool(decision), decision.status) == (False, status or 400)
    if status is not None:
        assert parse_reply(decision.reply)[0] == status
    assert decision.reply is None or corpora.ZEROS.encode() not in decision.reply
    assert play.log_in()


ROWS = [(row, row["id"]) for row in KNOWN["published"] + KNOWN["generated"]]


def credentials_of(row: dict[str, str], response: str) -> str:
    """The Authorization header that carries a known answer."""
    fields = [f"username={quote(row['username'])}", f"realm={quote(row['realm'])}"]
    fields += [f'nonce="{row["nonce"]}"', f'uri="{row["uri"]}"', f"algorithm={row['algorithm']}"]
    if row.get("qop"):
        fields += [f"qop={row['qop']}", f"nc={row['nc']}", f'cnonce="{row["cnonce"]}"']
    return "Digest " + ", ".join([*fields, f'response="{response}"'])


@pytest.mark.parametrize("row", [row for row, _ in ROWS], ids=[name for _, name in ROWS])
def test_a_known_answer(row):
    """Let in where it is right and of what DISC offers, MD5 and its -sess with qop auth or none; a digit
    off: never.
    """
    with Accounts.create(":memory:") as store:
        with store.session.changing():
            store.put(row["username"], row["realm"], Hashes(row["ha1"]), exists=False)
        # Nine digits of nc, which a telephone once sent, are a digit too many.
        offered = (
            row["id"] != "sofia-user1-bye"
            and row["algorithm"] in ("MD5", "MD5-sess")
            and row.get("qop") in (None, "auth")
        )
        right = row["response"]
        wrong = right[:-1] + ("1" if right[-1] != "1" else "2")
        good = row["verified"] and offered
        for response, let_in in ((right, good), (right.upper(), good), (wrong, False)):
            # Another DISC each time: to the same one, the second is a replay. Most are digests for a page.
            config = VerifierConfig(uri_policy="off", algorithms=("MD5", "MD5-sess"))
            play = Play(real_disc(SqliteStore(store.database), config=config, kind=TakesAllNonces))
            headers = [("Authorization", credentials_of(row, response))]
            request = make_request(row["method"], "sip:siphub.net", ACCOUNT, headers=headers)
            decision = play.decide(request, row["realm"].replace("$", "$$"), proxy=False)
            assert bool(decision) == let_in
            assert let_in or decision.status in (400, 403)


def test_a_response_of_31_digits(play):
    # RFC 3665 prints one: refused, not padded.
    (row,) = KNOWN["negative"]
    value = row["header"].replace("atlanta.example.com", "example.com")
    assert play.decide(corpora.register("Authorization: " + value)).status == 400
