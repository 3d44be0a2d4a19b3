"""pjsua2, PJSIP's binding for Python, as in our example: sipp plays the phones, our DISC is asked.

The example is run as its reader would run it. The build in pjsua2-python has room for four calls, so sipp
makes no more at a time.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.process import Server
from kit.uac import Address, Uac, branch_of
from peers.stateful_sipp import stateful

import auth_diameter as ad
from auth_diameter.lab.uac import Reply

pytestmark = pytest.mark.peers

EXAMPLE = Path(__file__).parents[2] / "examples" / "pjsua2_server.py"

MOST_CALLS = 4


@pytest.fixture
def disc_server(start_ours: Callable[..., Server], subscribers: Path) -> Server:
    """Our DISC, which a test can freeze."""
    return start_ours("disc", "--db", subscribers)


@pytest.fixture
def server(
    disc_server: Server,
    start: Callable[..., Any],
    unavailable_peer: Callable[[str], None],
    free_udp_port: Callable[[], int],
) -> Iterator[Address]:
    """The example, up; the address it listens on. No callback may have failed at the end."""
    if importlib.util.find_spec("pjsua2") is None:
        unavailable_peer("pjsua2 is not installed; it is in the package pjsua2-python of PyPI")
    host, port = "127.0.0.1", free_udp_port()
    program = start(sys.executable, EXAMPLE, "--listen", f"{host}:{port}", "--disc", disc_server.where)
    program.wait_for_line(f"listening on {host}:{port}\n")
    yield host, port
    assert program.running, program.output()
    assert "Traceback" not in program.output(), program.output()


@pytest.fixture
def phone(server: Address, people: dict[str, tuple[str, str]]) -> Iterator[Uac]:
    """The telephone of the group member."""
    name, password = people["member"]
    with Uac(server, name=name, password=password) as phone:
        yield phone


def reply_to(phone: Uac, request: bytes) -> Reply:
    """The final reply to a request that was sent.

    PJSIP sends a 100 before it, and the refusals of other calls again, as these tests acknowledge none.
    """
    while True:
        reply = phone.receive()
        cseq = reply.header("CSeq") or ""
        if reply.status >= 200 and branch_of(reply) == branch_of(request) and cseq.encode() in request:
            return reply


def ask(phone: Uac, request: bytes) -> Reply:
    """Sends a request; returns its final reply."""
    phone.send(request)
    return reply_to(phone, request)


# -- who gets in -----------------------------------------------------------------------------------


def test_invite_of_a_group_member_is_let_through(server, sipp, people, tmp_path):
    """`ask` with `proxy=True`, then `ask_user_in`; PJSIP takes the call, until BYE."""
    scenario = stateful("invite.xml", tmp_path)
    calls = sipp(scenario, to=server, user=people["member"], calls=100, rate=MOST_CALLS)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_invite_of_a_user_outside_the_group_is_forbidden(server, sipp, people, tmp_path):
    """The right password alone is not enough."""
    scenario = stateful("invite_refused.xml", tmp_path)
    calls = sipp(scenario, to=server, user=people["outsider"], calls=20, rate=MOST_CALLS)
    assert (calls.successful, calls.failed) == (20, 0), calls.report


def test_wrong_password_is_forbidden(server, sipp, people, tmp_path):
    """403, the status of the Decision."""
    name, _ = people["member"]
    scenario = stateful("invite_refused.xml", tmp_path)
    calls = sipp(scenario, to=server, user=(name, "not the password"), calls=20, rate=MOST_CALLS)
    assert (calls.successful, calls.failed) == (20, 0), calls.report


def test_unknown_user_is_forbidden(server, sipp, people, tmp_path):
    """The same messages as for a wrong password."""
    scenario = stateful("invite_refused.xml", tmp_path)
    calls = sipp(scenario, to=server, user=people["unknown"], calls=20, rate=MOST_CALLS)
    assert (calls.successful, calls.failed) == (20, 0), calls.report


def test_register_gets_no_reply(phone):
    """No application of pjsua2 sees it, so the example cannot authenticate it."""
    phone.send(phone.request("REGISTER"))
    options = phone.request("OPTIONS")
    phone.send(options)
    assert branch_of(phone.receive()) == branch_of(options)


# -- threads ---------------------------------------------------------------------------------------


def test_silent_disc_holds_up_nobody_else(phone, disc_server):
    """PJSIP answers OPTIONS while an INVITE waits for its decision, which is 503 after two seconds."""
    disc_server.freeze()
    try:
        began = time.monotonic()
        phone.send(phone.request("INVITE"))
        phone.send(phone.request("OPTIONS"))
        assert [phone.receive().status for _ in range(2)] == [100, 200]
        assert time.monotonic() - began < ad.Config().timeout / 2
        reply = phone.receive()
    finally:
        disc_server.thaw()
    assert (reply.status, reply.reason) == (503, "Service Unavailable")
    assert reply.header("Retry-After")


def test_late_decision_goes_to_no_other_call(phone, disc_server):
    """All callers but the last give up before DISC decides; the last has PJSIP's number of one of them."""
    challenge = ask(phone, phone.request("INVITE"))
    disc_server.freeze()
    try:
        for _ in range(MOST_CALLS):
            invite = phone.request("INVITE")
            phone.send(invite)
            phone.send(invite.replace(b"INVITE", b"CANCEL"))
            assert reply_to(phone, invite).status == 487
        invite = phone.request("INVITE", phone.answer(challenge, "INVITE"))
        phone.send(invite)
    finally:
        disc_server.thaw()
    assert reply_to(phone, invite).status == 200


# -- calls that come to nothing --------------------------------------------------------------------


def test_malformed_invite_is_refused(phone):
    """PJSIP takes an INVITE with From twice; we do not."""
    second = b"From: <sip:bob@siphub.net>\r\n"
    invite = phone.request("INVITE").replace(b"Max-Forwards", second + b"Max-Forwards")
    assert ask(phone, invite).status == 400
    assert ask(phone, phone.request("INVITE")).status == 407


def test_call_that_pjsip_cannot_take_does_not_end_the_server(phone):
    """The password is right, but the offer is for IPv6, which pjsua2-python is built without."""
    sdp = b"v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 ::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    length = b"Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s" % (len(sdp), sdp)
    challenge = ask(phone, phone.request("INVITE"))
    invite = phone.request("INVITE", phone.answer(challenge, "INVITE"))
    assert ask(phone, invite.replace(b"Content-Length: 0\r\n\r\n", length)).status == 488
    assert ask(phone, phone.request("INVITE")).status == 407
