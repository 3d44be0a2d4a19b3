"""serve --workers: several real processes on one port, and what becomes of them."""

import contextlib
import os
import re
import select
import signal
import socket
import time
from pathlib import Path

import pytest
from kit.machine import PATIENCE, wait_until
from kit.process import Server

from auth_diameter.host import server as host_module
from auth_diameter.lab.uac import authorization, make_request, parse_reply
from auth_diameter.store.accounts import Accounts

ACCOUNT = "alice@siphub.net"
COUNT = 3


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    path = tmp_path_factory.mktemp("disc") / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", "wonderland")
    with Server("disc", "--listen", "127.0.0.1:0", "--db", path) as server:
        yield f"127.0.0.1:{server.port}"


@pytest.fixture
def serve(disc):
    """Start a host with so many workers, and options."""
    with contextlib.ExitStack() as stack:

        def start(*options, count=COUNT):
            command = ("serve", "--listen", "127.0.0.1:0", "--disc", disc, "--workers", count, *options)
            return stack.enter_context(Server(*command))

        yield start


@pytest.fixture
def phones():
    """So many sockets that the kernel gives some to each worker, as good as surely."""
    with contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(12 * COUNT)
        ]
        for sock in socks:
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(PATIENCE)
        yield socks


def request(sock, *headers):
    return make_request("REGISTER", "sip:siphub.net", ACCOUNT, local=sock.getsockname(), headers=headers)


def ask(server, sock, *headers):
    sock.sendto(request(sock, *headers), (server.host, server.port))
    return parse_reply(sock.recv(65536))


def living():
    """All processes, and their parents. What nobody has waited for yet is dead all the same."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(stat.parent.name)] = int(parent)
    return found


def processes(parent):
    """The live children of a process."""
    return [pid for pid, its_parent in living().items() if its_parent == parent]


def say_who_answers(tmp_path):
    """A route that tells which process it runs in."""
    path = tmp_path / "route.py"
    path.write_text(
        "import os\n"
        "async def request_route(request, auth):\n"
        "    return request.reply(200, 'OK', [('X-Process', str(os.getpid()))])\n"
    )
    return "--route", path


def test_every_worker_answers(serve, phones, tmp_path):
    server = serve(*say_who_answers(tmp_path))
    assert re.search(r"listening on 127\.0\.0\.1:\d+ in 3 processes, asking DISC at ", server.line)
    workers = processes(server.process.pid)
    assert len(workers) == COUNT
    answered = {int(ask(server, sock).header("X-Process")) for sock in phones}
    assert answered == set(workers)


def test_the_default_route_lets_through(serve, phones):
    """The challenge of one worker is good at every other."""
    server = serve()
    challenge = ask(server, phones[0]).challenge()
    for nc, sock in enumerate(phones, 1):
        value = authorization(challenge, "alice", "wonderland", "REGISTER", "sip:siphub.net", nc=nc)
        assert ask(server, sock, ("Authorization", value)).status == 200


def test_a_killed_worker_loses_no_request(serve, phones, tmp_path):
    server = serve(*say_who_answers(tmp_path))
    before = {sock: int(ask(server, sock).header("X-Process")) for sock in phones}
    victim = before[phones[0]]
    os.kill(victim, signal.SIGKILL)
    # Asked at once: the others answer at once, and the successor what came while there was none.
    after = {sock: int(ask(server, sock).header("X-Process")) for sock in phones}
    assert all(after[sock] == before[sock] for sock in phones if before[sock] != victim)
    assert victim not in after.values()
    assert set(after.values()) == set(processes(server.process.pid))
    done = server.stop()
    assert done.status == 0
    assert re.search(rf"ERROR worker \d \(process {victim}\) was ended by SIGKILL", done.err)
    assert re.search(r"INFO worker \d started again", done.err)


def test_a_worker_that_ends_by_itself_is_started_again(serve):
    server = serve()
    victim = processes(server.process.pid)[0]
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: len(left := processes(server.process.pid)) == COUNT and victim not in left)
    assert re.search(rf"\(process {victim}\) ended with status 0", server.stop().err)


def test_a_worker_that_always_dies_is_started_once_a_second(serve, phones, tmp_path):
    path = tmp_path / "route.py"
    path.write_text("import os\nasync def request_route(request, auth):\n    os.abort()\n")
    began = time.monotonic()
    server = serve("--route", path, count=2)
    seen = set()

    def three_more():
        for sock in phones:
            sock.sendto(request(sock), (server.host, server.port))
        seen.update(processes(server.process.pid))
        return len(seen) >= 2 + 3

    wait_until(three_more)
    done = server.stop()
    most = 2 * (2 + time.monotonic() - began)
    assert done.status == 0
    assert 3 <= done.err.count("was ended by SIGABRT") <= most
    assert 3 <= done.err.count("started again") <= most


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all(serve, how):
    server = serve()
    workers = processes(server.process.pid)
    done = server.stop(how)
    assert (done.status, done.err) == (0, "")
    assert living().keys().isdisjoint(workers)


def test_control_c_reaches_workers_too(disc):
    """A terminal sends SIGINT to all of its processes at once."""
    command = ("serve", "--listen", "127.0.0.1:0", "--disc", disc, "--workers", 2)
    with Server(*command, process_group=0) as server:
        os.killpg(server.process.pid, signal.SIGINT)
        _, err = server.process.communicate(timeout=PATIENCE)
    assert (server.process.returncode, err) == (0, b"")


def test_workers_that_do_not_end_are_ended(serve, phones, tmp_path):
    path = tmp_path / "route.py"
    path.write_text(
        "import os, pathlib, time\n"
        "async def request_route(request, auth):\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.hangs').touch()\n"
        "    time.sleep(600)\n"
    )
    server = serve("--route", path, count=2)
    for sock in phones:
        sock.sendto(request(sock), (server.host, server.port))
    wait_until(lambda: len(list(tmp_path.glob("*.hangs"))) == 2)
    assert server.stop().status == 0


def test_workers_do_not_outlive_their_parent(serve):
    server = serve()
    workers = processes(server.process.pid)
    server.process.kill()
    server.process.wait(PATIENCE)
    wait_until(lambda: living().keys().isdisjoint(workers))


def test_an_address_that_others_share_is_in_use(serve):
    server = serve()
    with pytest.raises(OSError, match="in use"):
        host_module.bind(server.host, server.port, 2)
    with pytest.raises(OSError, match="in use"):
        host_module.bind(server.host, server.port)


def test_bind_shares_one_port():
    sockets = host_module.bind("127.0.0.1", 0, 4)
    try:
        assert len({sock.getsockname() for sock in sockets}) == 1
        name = sockets[0].getsockname()
        with contextlib.ExitStack() as stack:
            for _ in range(64):
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sock.sendto(b"x", name)
            wait_until(lambda: select.select(sockets, [], [], 0)[0] == sockets)
    finally:
        for sock in sockets:
            sock.close()


# --- the end under load, and a pause -------------------------------------------------------------------


def pids(server, count):
    """Those that serve: with one worker the program itself."""
    return processes(server.process.pid) if count > 1 else [server.process.pid]


def collect(phones, found, seconds=0.0):
    """Adds all replies that are there, or the first that come within that time: statuses by Call-ID."""
    while ready := select.select(phones, [], [], seconds)[0]:
        for sock in ready:
            reply = parse_reply(sock.recv(65536))
            found.setdefault(reply.header("Call-ID"), []).append(reply.status)
        seconds = 0.0
    return found


@pytest.mark.parametrize("count", [1, 2])
def test_at_the_end_no_request_that_came_is_lost(serve, phones, count):
    """Stopped, so that all of it waits in the kernel; told to end; and then let go on."""
    server = serve(count=count)
    workers = pids(server, count)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    for number, sock in enumerate(phones[:20]):
        for each in range(5):
            call = f"c{number}-{each}"
            data = make_request("REGISTER", "sip:siphub.net", ACCOUNT, local=sock.getsockname(), call_id=call)
            sock.sendto(data, (server.host, server.port))
    server.process.send_signal(signal.SIGTERM)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    server.process.wait(PATIENCE)
    assert server.stop().err == ""
    found = {}
    wait_until(lambda: len(collect(phones, found)) == 100)
    assert all(statuses in ([401], [503]) for statuses in found.values())
    assert list(found.values()).count([401]) > 50  # or all, if the machine leaves it the time


@pytest.mark.parametrize("count", [1, 2])
def test_the_end_under_load(serve, phones, count):
    """Whatever was sent before the signal has its reply; the end comes although requests go on."""
    server = serve(count=count)
    before, after, found = set(), set(), {}
    while server.process.poll() is None:
        told = len(before) >= 500
        if told and not after:
            server.process.send_signal(signal.SIGTERM)
        for sock in phones[:4]:
            call = f"c{len(before) + len(after)}"
            data = make_request("REGISTER", "sip:siphub.net", ACCOUNT, local=sock.getsockname(), call_id=call)
            with contextlib.suppress(ConnectionRefusedError):
                sock.sendto(data, (server.host, server.port))
            (after if told else before).add(call)
        collect(phones, found, 0.002)
        # The kernel has room for some hundred that wait.
        wait_until(lambda: len(before - collect(phones, found).keys()) < 50)
    wait_until(lambda: before <= collect(phones, found).keys())
    assert server.process.returncode == 0
    assert {tuple(statuses) for statuses in found.values()} <= {(401,), (503,)}


def test_a_pause_makes_no_reply_wrong(serve, phones):
    """SIGSTOP for longer than DISC's time limit, with retransmissions in between: each has one reply."""
    server = serve(count=1)
    server.process.send_signal(signal.SIGSTOP)
    requests = [request(sock) for sock in phones]
    for _ in range(3):
        for sock, data in zip(phones, requests, strict=True):
            sock.sendto(data, (server.host, server.port))
        time.sleep(0.8)
    server.process.send_signal(signal.SIGCONT)
    found = {}
    wait_until(lambda: len(collect(phones, found)) == len(phones))
    assert ask(server, phones[0]).status == 401
    collect(phones, found)
    assert all(len(set(statuses)) == 1 for statuses in found.values())
