"""sippy, a SIP stack with a loop of its own, as in our example: sipp plays the phones, our DISC is asked.

The example is run as its reader would run it, with `auth_diameter.adapters.sippy`.
"""

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.process import Server
from kit.uac import Address, Uac
from peers.stateful_sipp import stateful

pytestmark = pytest.mark.peers

EXAMPLE = Path(__file__).parents[2] / "examples" / "sippy_server.py"


@pytest.fixture
def disc_options() -> tuple[str, ...]:
    """Options of DISC."""
    return ()


@pytest.fixture
def disc_server(
    start_ours: Callable[..., Server], subscribers: Path, disc_options: tuple[str, ...]
) -> Server:
    """Our DISC, which a test can freeze."""
    return start_ours("disc", "--db", subscribers, *disc_options)


@pytest.fixture
def server(
    disc_server: Server,
    start: Callable[..., Any],
    unavailable_peer: Callable[[str], None],
    free_udp_port: Callable[[], int],
) -> Iterator[Address]:
    """The example, up; the address it listens on. Nothing that it began may have failed at the end."""
    if importlib.util.find_spec("sippy") is None:
        unavailable_peer("sippy is not installed; it is a package of PyPI")
    host, port = "127.0.0.1", free_udp_port()
    program = start(sys.executable, EXAMPLE, "--listen", f"{host}:{port}", "--disc", disc_server.where)
    program.wait_for_line(f"listening on {host}:{port}\n")
    yield host, port
    assert program.running, program.output()
    assert "auth_diameter" not in program.output(), program.output()  # in no Traceback of sippy's


@pytest.fixture
def phone(server: Address, people: dict[str, tuple[str, str]]) -> Iterator[Uac]:
    """The telephone of the group member."""
    name, password = people["member"]
    with Uac(server, name=name, password=password) as phone:
        yield phone


# -- who gets in -----------------------------------------------------------------------------------


def test_register_is_challenged_and_let_through(server, sipp, people):
    """401, then 200."""
    calls = sipp("register.xml", to=server, user=people["member"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


@pytest.mark.parametrize("disc_options", [("--algorithms", "SHA-256,MD5", "--userhash")])
def test_several_challenges_are_several_header_fields(phone):
    """RFC 8760, 2.4: the telephone takes the first that it knows, which is SHA-256 here."""
    challenge, reply = phone.log_in()
    assert (challenge.status, reply.status) == (401, 200)
    assert sum(name.lower() == "www-authenticate" for name, _ in challenge.headers) == 2


def test_invite_of_a_group_member_is_let_through(server, sipp, people, tmp_path):
    """407, then the group check, and sippy takes the call, until BYE."""
    calls = sipp(stateful("invite.xml", tmp_path), to=server, user=people["member"], calls=50)
    assert (calls.successful, calls.failed) == (50, 0), calls.report


def test_invite_of_a_user_outside_the_group_is_forbidden(server, sipp, people, tmp_path):
    """The right password alone is not enough."""
    calls = sipp(stateful("invite_refused.xml", tmp_path), to=server, user=people["outsider"], calls=50)
    assert (calls.successful, calls.failed) == (50, 0), calls.report


@pytest.mark.parametrize("who", ["member", "unknown"])
def test_wrong_password_is_forbidden(server, sipp, people, who):
    """403, for an unknown user as well."""
    name, _ = people[who]
    calls = sipp("register_refused.xml", to=server, user=(name, "not the password"), calls=50)
    assert (calls.successful, calls.failed) == (50, 0), calls.report


# -- the loop --------------------------------------------------------------------------------------


def test_loop_goes_on_while_disc_hangs(disc_server, phone):
    """Other requests are answered at once; the one that waits gets a 503 after the time limit."""
    phone.send(phone.request("REGISTER"))
    assert (phone.receive_bytes(5.0) or b"").startswith(b"SIP/2.0 401 ")
    disc_server.freeze()
    try:
        phone.send(phone.request("REGISTER"))
        started = time.monotonic()
        phone.send(phone.request("MESSAGE"))
        assert (phone.receive_bytes(5.0) or b"").startswith(b"SIP/2.0 501 ")
        assert time.monotonic() - started < 1.0
        assert (phone.receive_bytes(5.0) or b"").startswith(b"SIP/2.0 503 ")
    finally:
        disc_server.thaw()


def test_bytes_that_are_no_sip_stop_nothing(phone):
    for data in (
        b"",
        b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        phone.request("REGISTER").replace(b"CSeq", b"XSeq"),
    ):
        phone.send(data)
    phone.send(phone.request("REGISTER"))
    assert (phone.receive_bytes(5.0) or b"").startswith(b"SIP/2.0 401 ")
