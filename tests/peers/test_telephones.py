"""Telephones that others wrote register at our SIP host, with the digest that our DISC asks for.

Without a screen, a sound device, or anything but loopback.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.peers

ROUTE = Path(__file__).parent / "route_telephones.py"
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
reg_expires=60
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


BARESIP = """
sip_listen 127.0.0.1:0
module_path /usr/lib/baresip/modules
module_app account.so
module_app menu.so
"""


@pytest.fixture
def baresip(peer: Callable[..., str], start: Callable[..., Any], tmp_path: Path) -> Telephone:
    """Start baresip: `baresip(address, (name, password))`."""
    program = peer("baresip", package="baresip-core")

    def run(to: tuple[str, int], user: tuple[str, str]) -> Any:
        home = tmp_path / f"baresip-{user[1]}"
        home.mkdir()
        (home / "config").write_text(BARESIP)
        (home / "contacts").touch()
        (home / "accounts").write_text(
            f'<sip:{user[0]}@{DOMAIN}>;auth_user={user[0]};auth_pass="{user[1]}";regint=60'
            f';outbound="sip:{to[0]}:{to[1]}"\n'
        )
        return start("env", f"HOME={home}", program, "-4", "-n", "127.0.0.1", "-f", home)

    return run


def statuses(host: Any) -> list[str]:
    """Of the replies that a host with this route has sent."""
    return re.findall(r"(?m)^(\d{3})(?: |$)", host.output())


@pytest.fixture
def telephone(request: pytest.FixtureRequest, name: str) -> Telephone:
    return request.getfixturevalue(name)


@pytest.mark.parametrize("name", ["linphone", "baresip"])
def test_registers_with_the_right_password_alone(
    telephone: Telephone, start_serve: Callable[..., Any], people: dict[str, tuple[str, str]]
) -> None:
    name, _ = people["member"]
    right, wrong = start_serve(ROUTE), start_serve(ROUTE)
    telephone(right.listening(), people["member"])
    telephone(wrong.listening(), (name, "not the password"))
    right.wait_for_line(r"(?m)^401\n200 MD5 auth$")
    wrong.wait_for_line(r"(?m)^401\n403 MD5 auth$")
    assert "200" not in statuses(wrong)
    assert "403" not in statuses(right)
