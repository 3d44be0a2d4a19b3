"""Telephones that others wrote answer our challenges, and register at our SIP host before our DISC.

Without a screen, a sound device, or anything but loopback. What each of them did, with the versions named,
and does in these tests::

                             linphone baresip  sipp
                             5.1.65   1.0.0    3.6.1
    MD5                      yes      yes      yes
    MD5-sess                 none     none     refused
    SHA-256                  yes      none     none
    SHA-512-256              none     none     none
    no qop                   yes      yes      yes
    auth-int                 none     refused  yes
    auth or auth-int         yes      yes      yes
    userhash                 plain    plain    plain
    stale                    refused  yes      refused
    SHA-256 or MD5           yes      none     none
    MD5 or SHA-256           yes      none     yes
    SHA-512-256 or MD5       none     none     none

yes: it got in, in the way that the row is about; of two algorithms with the one that is offered first. plain:
it got in without that. none: it sent no credentials. refused: those that it sent are wrong, or it gave up
where it should have tried again.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peers.digest_bridge import PASSWORD, USER, Bridge, Offer, serving_sip

pytestmark = pytest.mark.peers

ROUTE = Path(__file__).parent / "route_telephones.py"
SCENARIOS = Path(__file__).parent / "sipp"
DOMAIN = "siphub.net"

Telephone = Callable[[tuple[str, int], tuple[str, str]], Any]


# belle-sip registers by UDP, from 127.0.0.1, whether or not the machine is in a network.
LINPHONERC = """
[sip]
sip_port=-1
sip_tcp_port=0
sip_tls_port=0
use_ipv6=0
bind_address=127.0.0.1
auto_net_state_mon=0
register_only_when_network_is_up=0
[proxy_0]
reg_proxy=<sip:{host}:{port};transport=udp>
reg_route=<sip:{host}:{port};transport=udp>
reg_identity=sip:{name}@{domain}
reg_expires=2
reg_sendregister=1
[auth_info_0]
username={name}
passwd={password}
realm={domain}
"""


@pytest.fixture
def linphone(peer: Callable[..., str], start: Callable[..., Any], tmp_path: Path) -> Telephone:
    """Start linphonec: `linphone(address, (name, password))`."""
    program = peer("linphonec", package="linphone-cli")

    def run(to: tuple[str, int], user: tuple[str, str]) -> Any:
        home = tmp_path / f"linphone-{user[1]}"
        (home / ".local/share/linphone").mkdir(parents=True)  # it does not make it itself
        values = {"host": to[0], "port": to[1], "name": user[0], "password": user[1], "domain": DOMAIN}
        (home / "linphonerc").write_text(LINPHONERC.format(**values))
        command = shlex.join([program, "-S", "-c", str(home / "linphonerc")])
        # It ends when it has no terminal to read from; this one never says anything.
        return start("sh", "-c", f"sleep 60 | HOME={shlex.quote(str(home))} {command}")

    return run


def statuses(host: Any) -> list[str]:
    """Of the replies that a host with this route has sent."""
    return re.findall(r"(?m)^(\d{3})(?: |$)", host.output())


@pytest.fixture
def sipp(
    peer: Callable[..., str], start: Callable[..., Any], free_udp_port: Callable[[], int], tmp_path: Path
) -> Telephone:
    """Start sipp for one call: `sipp(address, (name, password))`."""
    program = peer("sipp", package="sip-tester")

    def run(to: tuple[str, int], user: tuple[str, str], scenario: str = "register.xml") -> Any:
        return start(
            "env", "-C", tmp_path, program, f"{to[0]}:{to[1]}", "-sf", SCENARIOS / scenario, "-m", "1",
            "-i", "127.0.0.1", "-p", str(free_udp_port()), "-ci", "127.0.0.1", "-bind_local", "-nostdin",
            "-s", user[0], "-au", user[0], "-ap", user[1], "-auth_uri", DOMAIN, "-key", "domain", DOMAIN,
            "-timeout", "10", "-timeout_error",
        )  # fmt: skip

    return run


@pytest.fixture
def telephone(request: pytest.FixtureRequest, name: str) -> Telephone:
    return request.getfixturevalue(name)


# -- our challenges and verify ---------------------------------------------------------------------


def table() -> dict[tuple[str, str], str]:
    """The cells of the table above, by telephone and row."""
    assert __doc__ is not None
    lines = [line[4:] for line in __doc__.splitlines() if line.startswith("    ")]
    names = lines[0].split()
    rows = {line[:25].strip(): line[25:].split() for line in lines[2:]}
    assert list(rows) == list(OFFERS)
    return {(name, row): cells[index] for index, name in enumerate(names) for row, cells in rows.items()}


OFFERS = {
    **{name: Offer(algorithms=(name,)) for name in ("MD5", "MD5-sess", "SHA-256", "SHA-512-256")},
    "no qop": Offer(qop=()),
    "auth-int": Offer(qop=("auth-int",)),
    "auth or auth-int": Offer(qop=("auth", "auth-int")),
    "userhash": Offer(userhash=True),
    "stale": Offer(first_nonce_is_old=True),
    "SHA-256 or MD5": Offer(algorithms=("SHA-256", "MD5")),
    "MD5 or SHA-256": Offer(algorithms=("MD5", "SHA-256")),
    "SHA-512-256 or MD5": Offer(algorithms=("SHA-512-256", "MD5")),
}
CELLS = table()


def outcome(bridge: Bridge) -> str:
    """What a cell says."""
    if bridge.let_in:
        c, offer = bridge.let_in[0], bridge.offer
        known = (c.algorithm or "MD5") == offer.algorithms[0] and c.userhash == offer.userhash
        return "yes" if known else "plain"
    return "none" if {seen.verdict for seen in bridge.seen} == {"no credentials"} else "refused"


@pytest.mark.parametrize(("name", "row"), CELLS, ids=[f"{name}-{row}" for name, row in CELLS])
def test_challenges(telephone: Telephone, name: str, row: str) -> None:
    expected = CELLS[name, row]
    with serving_sip(OFFERS[row]) as bridge:
        program = telephone(bridge.address, (USER, PASSWORD))
        program.wait_until(lambda: bridge.seen, "a request")
        if expected == "none":
            time.sleep(0.5)  # for what must not come
        else:
            program.wait_until(lambda: outcome(bridge) in (expected, "yes"), "credentials")
        program.stop()
    assert outcome(bridge) in (expected, "yes")  # one that learned more since is no failure


@pytest.mark.parametrize(("on_the_way", "verdict"), [(b"", "let in"), (b"Stay away.", "wrong digest")])
def test_body_changed_on_the_way(sipp: Telephone, on_the_way: bytes, verdict: str) -> None:
    """RFC 7616, 3.4.3: with auth-int what comes with the right digest is what the telephone sent."""
    with serving_sip(Offer(qop=("auth-int",), on_the_way=on_the_way)) as bridge:
        program = sipp(bridge.address, (USER, PASSWORD), "message.xml")
        program.wait_until(lambda: len(bridge.seen) > 1, "an answer to the challenge")
        program.stop()
    assert [seen.verdict for seen in bridge.seen][:2] == ["no credentials", verdict]
    assert bool(bridge.let_in) is (verdict == "let in")


def test_next_nonce_saves_a_challenge(linphone: Telephone) -> None:
    """RFC 7616, 3.5. linphone leaves out qop then, as RFC 2069 has it: the nonce is good for one request."""
    with serving_sip(Offer(nextnonce=True)) as bridge:
        program = linphone(bridge.address, (USER, PASSWORD))
        program.wait_until(lambda: len(bridge.let_in) > 1, "a second registration")
        program.stop()
    assert [seen.verdict for seen in bridge.seen][:3] == ["no credentials", "let in", "let in"]
    assert bridge.let_in[0].nonce != bridge.let_in[1].nonce


# -- our SIP host and our DISC ---------------------------------------------------------------------


SHA_256_FIRST = ("--algorithms", "SHA-256,MD5")
ALL_OF_IT = (
    *SHA_256_FIRST, "--qop", "auth,auth-int", "--userhash", "--authentication-info", "--nonce-uses", "1",
)  # fmt: skip
REGISTERED = [
    ("linphone", (), "member", "MD5 auth"),
    ("linphone", ("--algorithms", "SHA-256"), "member", "SHA-256 auth"),
    ("linphone", SHA_256_FIRST, "member", "SHA-256 auth"),
    ("linphone", SHA_256_FIRST, "md5_only", "MD5 auth"),
    ("linphone", ALL_OF_IT, "member", "SHA-256 auth"),
    ("baresip", (), "member", "MD5 auth"),
    # It cannot pass over a challenge of SHA-256; somebody whose HA1 is there by MD5 alone gets none.
    ("baresip", SHA_256_FIRST, "md5_only", "MD5 auth"),
    ("sipp", (), "member", "MD5 auth"),
    ("sipp", ("--algorithms", "MD5,SHA-256"), "member", "MD5 auth"),
    ("sipp", ("--qop", "auth-int"), "member", "MD5 auth-int"),
    ("sipp", ALL_OF_IT, "md5_only", "MD5 auth-int"),
]


@pytest.mark.parametrize(("name", "disc_options", "who", "used"), REGISTERED)
def test_registers_with_the_right_password_alone(
    telephone: Telephone, start_serve: Callable[..., Any], people: dict[str, Any], who: str, used: str
) -> None:
    username, _ = people[who]
    right, wrong = start_serve(ROUTE), start_serve(ROUTE)
    phones = [telephone(right.address, people[who]), telephone(wrong.address, (username, "not the password"))]
    right.wait_for_line(rf"(?m)^401\n200 {used}$")
    wrong.wait_for_line(rf"(?m)^401\n403 {used}$")
    for phone in phones:
        phone.stop()  # while there is somebody whom it can tell
    assert "200" not in statuses(wrong)
    assert "403" not in statuses(right)


@pytest.mark.parametrize("disc_options", [("--qop", "auth-int")])
def test_disc_judges_the_body_that_it_never_sees(
    sipp: Telephone, start_serve: Callable[..., Any], people: dict[str, tuple[str, str]]
) -> None:
    """RFC 7616, 3.4.3: our SIP host hashes it."""
    host = start_serve(ROUTE)
    sipp(host.address, people["member"], "message.xml")
    host.wait_for_line(r"(?m)^401\n200 MD5 auth-int$")


@pytest.mark.parametrize("disc_options", [ALL_OF_IT])
def test_one_challenge_for_a_whole_registration(
    linphone: Telephone, start_serve: Callable[..., Any], people: dict[str, tuple[str, str]]
) -> None:
    """Each 200 brings the nonce of the next request, with which linphone leaves out qop."""
    host = start_serve(ROUTE)
    linphone(host.address, people["member"])
    host.wait_for_line(r"(?m)^401\n200 SHA-256 auth\n200 SHA-256 -$")


@pytest.mark.parametrize("disc_options", [(*SHA_256_FIRST, "--nonce-uses", "1")])
def test_a_nonce_for_one_request(
    linphone: Telephone, start_serve: Callable[..., Any], people: dict[str, tuple[str, str]]
) -> None:
    """linphone does not begin to count anew with the next nonce; it is the uses that are limited."""
    host = start_serve(ROUTE)
    linphone(host.address, people["member"])
    host.wait_for_line(r"(?m)^401\n200 SHA-256 auth\n401 SHA-256 auth\n200 SHA-256 auth$")
