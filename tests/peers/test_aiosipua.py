"""aiosipua, a SIP stack for asyncio, as in our example: sipp plays the phones, our DISC is asked.

The example is run as its reader would run it.
"""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.process import Server
from kit.uac import Address, Uac
from peers.stateful_sipp import stateful

pytestmark = pytest.mark.peers

EXAMPLE = Path(__file__).parents[2] / "examples" / "aiosipua_server.py"


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
    """The example, up; the address it listens on. Nothing that it began may have failed at the end."""
    if importlib.util.find_spec("aiosipua") is None:
        unavailable_peer("aiosipua is not installed; it is a package of PyPI")
    host, port = "127.0.0.1", free_udp_port()
    program = start(sys.executable, EXAMPLE, "--listen", f"{host}:{port}", "--disc", disc_server.where)
    program.wait_for_line(f"listening on {host}:{port}\n")
    yield host, port
    assert program.running, program.output()
    assert "exception was never retrieved" not in program.output()


@pytest.fixture
def phone(server: Address, people: dict[str, tuple[str, str]]) -> Iterator[Uac]:
    """The telephone of the group member."""
    name, password = people["member"]
    with Uac(server, name=name, password=password) as phone:
        yield phone


# -- who gets in -----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["member", "outsider"])
def test_register_is_challenged_and_let_through(server, sipp, people, who):
    """`diameter_www_authorize`: 401, then 200. No group is asked for."""
    calls = sipp("register.xml", to=server, user=people[who], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_invite_of_a_group_member_is_let_through(server, sipp, people, tmp_path):
    """`diameter_proxy_authorize`, then `diameter_is_user_in`; the SipUAS takes the call, until BYE."""
    calls = sipp(stateful("invite.xml", tmp_path), to=server, user=people["member"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_invite_of_a_user_outside_the_group_is_forbidden(server, sipp, people):
    """The right password alone is not enough. The SipUAS sees nothing of it, so there is no 100 Trying."""
    calls = sipp("invite_refused.xml", to=server, user=people["outsider"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


@pytest.mark.parametrize("scenario", ["register_refused.xml", "invite_refused.xml"])
def test_wrong_password_is_forbidden(server, sipp, people, scenario):
    """403, the status of the Decision."""
    name, _ = people["member"]
    calls = sipp(scenario, to=server, user=(name, "not the password"), calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


@pytest.mark.parametrize("scenario", ["register_refused.xml", "invite_refused.xml"])
def test_unknown_user_is_forbidden(server, sipp, people, scenario):
    """The same messages as for a wrong password."""
    calls = sipp(scenario, to=server, user=people["unknown"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_no_spelling_of_a_method_goes_round_the_password(phone):
    """A SipUAS takes "invite" for INVITE, which is another method (RFC 3261, 7.1)."""
    assert phone.call("invite").status == 407


# -- what else can happen --------------------------------------------------------------------------


def test_silent_disc_holds_up_nobody_else(phone, disc_server):
    """An INVITE waits for its decision, and is asked about once; a BYE needs none and is answered at once."""
    disc_server.freeze()
    try:
        invite = phone.request("INVITE")
        phone.send(invite)
        assert phone.call("BYE").status == 481
        reply = phone.ask(invite)  # a retransmission: no second reply comes of it
        assert reply.status == 503
        assert reply.reason == "Service Unavailable"
        assert reply.header("Retry-After")
        assert phone.call("BYE").status == 481
    finally:
        disc_server.thaw()


def test_malformed_request_is_dropped(phone):
    """The next request is answered."""
    phone.send(
        phone.request("REGISTER").replace(b"Max-Forwards", b"From: <sip:bob@siphub.net>\r\nMax-Forwards")
    )
    challenge, reply = phone.log_in()
    assert (challenge.status, reply.status) == (401, 200)
