"""auth-diameter serve: a SIP server in a process of its own."""

import signal
import socket

import pytest
from commands import ACCOUNT, Server, assert_one_line
from machine import PATIENCE

from auth_diameter.uac import authorization, make_request, parse_reply


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_it_listens_and_stops_on_a_signal(how):
    with Server("serve", "--listen", "127.0.0.1:0", "--disc", "127.0.0.1:1") as server:
        assert server.line == (f"SIP/UDP listening on 127.0.0.1:{server.port}, asking DISC at 127.0.0.1:1\n")
        assert server.stop(how) == (0, "", "")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "No such file"),
        ("def f(:\n", "line 1: invalid syntax"),
        ("x = 1\nraise KeyError('boo')\n", "line 2: KeyError: 'boo'"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
        ("", "expected async def request_route(request, auth)"),
        ("async def request_route(): pass\n", "line 1: request_route must take (request, auth)"),
    ],
)
def test_a_route_script_with_an_error(cli, tmp_path, text, what):
    path = tmp_path / "route.py"
    if text is not None:
        path.write_text(text)
    assert_one_line(cli("serve", "--listen", "127.0.0.1:0", "--route", path), f"route {path}", what)


def ask(sock, address, data):
    sock.sendto(data, address)
    return parse_reply(sock.recv(65536))


@pytest.mark.parametrize("with_route", [False, True])
def test_a_telephone_registers_through_serve_and_disc(disc, tmp_path, with_route):
    route = ()
    if with_route:
        (tmp_path / "route.py").write_text(
            "async def request_route(request, auth):\n"
            "    decision = await auth.diameter_www_authorize(request, '$fd')\n"
            "    return request.reply(202, 'Accepted') if decision else decision\n"
        )
        route = ("--route", tmp_path / "route.py")
    with (
        Server("serve", "--listen", "127.0.0.1:0", "--disc", f"127.0.0.1:{disc.port}", *route) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock,
    ):
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        address = (server.host, server.port)
        request = ("REGISTER", "sip:siphub.net", ACCOUNT)
        first = ask(sock, address, make_request(*request, local=sock.getsockname()))
        value = authorization(first.challenge(), "alice", "wonderland", *request[:2])
        headers = [("Authorization", value)]
        second = ask(sock, address, make_request(*request, local=sock.getsockname(), headers=headers))
        assert (first.status, second.status) == (401, 202 if with_route else 200)
        assert server.stop() == (0, "", "")
