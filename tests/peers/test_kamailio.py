"""Kamailio's own C module `auth_diameter` asks our DISC: only a port in its configuration is ours.

sipp plays the phones, with the scenarios that it also plays against our own SIP host.

The module writes past the end of its buffer for names of some lengths: those here it survives. It
leaks memory with each request: `-M 64` gives it more than Kamailio's default.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.uac import Uac

pytestmark = pytest.mark.peers

CONFIGURATION = Path(__file__).parent / "kamailio.cfg"


def ask(method: str, address: tuple[str, int], seconds: float) -> bytes:
    """Send one request without credentials; the reply, or nothing if none comes in time."""
    with Uac(address) as phone:
        phone.send(phone.request(method))
        return phone.receive_bytes(seconds) or b""


@pytest.fixture
def kamailio(
    peer: Callable[..., str],
    start: Callable[..., Any],
    free_udp_port: Callable[[], int],
    disc: tuple[str, int],
    tmp_path: Path,
) -> tuple[str, int]:
    """Kamailio, up and answering; the address it listens on."""
    host, port = "127.0.0.1", free_udp_port()
    server = start(
        peer("kamailio", package="kamailio"), "-f", CONFIGURATION, "-DD", "-E",
        "-m", "64", "-M", "64", "-P", tmp_path / "kamailio.pid", "-w", tmp_path, "-Y", tmp_path,
        "-l", f"udp:{host}:{port}", "-A", f"DISC_PORT={disc[1]}",
    )  # fmt: skip
    server.wait_until(
        lambda: ask("OPTIONS", (host, port), 0.1).startswith(b"SIP/2.0 200 "), "an answer to OPTIONS"
    )
    return host, port


# What our DISC can offer to others makes no difference for the module, which takes one challenge of MD5.
EITHER_DISC = pytest.mark.parametrize(
    "disc_options",
    [
        (),
        ("--algorithms", "SHA-256,MD5", "--qop", "auth", "--userhash", "--authentication-info"),
    ],
    ids=["MD5", "SHA-256"],
)


@EITHER_DISC
def test_challenge_of_ours_becomes_one_header_of_its_own(kamailio):
    """The module copies DISC's challenge into the reply as it is, so DISC gives it the end of a line."""
    reply = ask("REGISTER", kamailio, 5.0).decode()
    status, *headers = reply.partition("\r\n\r\n")[0].split("\r\n")
    assert status == "SIP/2.0 401 Unauthorized"
    names = [header.partition(":")[0] for header in headers]
    assert names.count("WWW-Authenticate") == 1
    assert names.index("Server") == names.index("WWW-Authenticate") + 1
    challenge = headers[names.index("WWW-Authenticate")]
    assert "algorithm=MD5" in challenge
    assert re.fullmatch(r'WWW-Authenticate: Digest realm="siphub\.net"(, \w+=("[^"]*"|\w+))*', challenge), (
        challenge
    )


@EITHER_DISC
def test_thousand_registers_are_challenged_and_let_through(kamailio, sipp, people):
    """The module cuts User-Name in each second question: DISC goes by the digest's own username."""
    calls = sipp("register.xml", to=kamailio, user=people["member"], calls=1000)
    assert (calls.successful, calls.failed) == (1000, 0), calls.report


@EITHER_DISC
def test_invite_of_a_group_member_is_let_through(kamailio, sipp, people):
    """`diameter_proxy_authorize`, then `diameter_is_user_in("Credentials", "voicemail")`."""
    calls = sipp("invite.xml", to=kamailio, user=people["member"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_invite_of_a_user_outside_the_group_is_forbidden(kamailio, sipp, people):
    """The group check fails in Kamailio's script; the password was right."""
    calls = sipp("invite_refused.xml", to=kamailio, user=people["outsider"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


@pytest.mark.parametrize("scenario", ["register_refused.xml", "invite_refused.xml"])
def test_wrong_password_is_forbidden(kamailio, sipp, people, scenario):
    """The module turns 5003 into 403, as its documentation promises."""
    name, _ = people["member"]
    calls = sipp(scenario, to=kamailio, user=(name, "not the password"), calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report


def test_unknown_user_is_forbidden(kamailio, sipp, people):
    """5003 as for a wrong password."""
    calls = sipp("register_refused.xml", to=kamailio, user=people["unknown"], calls=100)
    assert (calls.successful, calls.failed) == (100, 0), calls.report
