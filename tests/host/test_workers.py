"""serve --workers: several real processes on one port, and what becomes of them."""

import contextlib
import os
import re
import signal
import time

import pytest
from kit.machine import wait_until
from kit.process import Server, living
from kit.uac import Uac, branch_of, collect

from auth_diameter.host.bind import bind
from auth_diameter.store.accounts import Accounts

COUNT = 3


@pytest.fixture(scope="module")
def disc(tmp_path_factory):
    path = tmp_path_factory.mktemp("disc") / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", "siphub.net", "wonderland")
    with Server("disc", "--db", path) as server:
        yield server.where


@pytest.fixture
def serve(disc):
    """Start a host with so many workers, and options."""
    with contextlib.ExitStack() as stack:

        def start(*options, count=COUNT):
            command = ("serve", "--disc", disc, "--workers", count, *options)
            return stack.enter_context(Server(*command))

        yield start


@pytest.fixture
def phones():
    """So many that the kernel gives some to each worker, as good as surely."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Uac()) for _ in range(12 * COUNT)]


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
    workers = server.children()
    assert len(workers) == COUNT
    answered = {int(phone.ask(phone.request(), server.address).header("X-Process")) for phone in phones}
    assert answered == set(workers)


def test_the_default_route_lets_through(serve, phones):
    """The challenge of one worker is good at every other."""
    server = serve()
    challenge = phones[0].ask(phones[0].request(), server.address).challenge()
    for nc, phone in enumerate(phones, 1):
        data = phone.request("REGISTER", phone.answer(challenge, nc=nc))
        assert phone.ask(data, server.address).status == 200


def test_a_killed_worker_loses_no_request(serve, phones, tmp_path):
    server = serve(*say_who_answers(tmp_path))
    before = {phone: int(phone.ask(phone.request(), server.address).header("X-Process")) for phone in phones}
    victim = before[phones[0]]
    os.kill(victim, signal.SIGKILL)
    # Asked at once: the others answer at once, and the successor what came while there was none.
    after = {phone: int(phone.ask(phone.request(), server.address).header("X-Process")) for phone in phones}
    assert all(after[phone] == before[phone] for phone in phones if before[phone] != victim)
    assert victim not in after.values()
    assert set(after.values()) == set(server.children())
    done = server.stop()
    assert done.status == 0
    assert re.search(rf"ERROR worker \d \(process {victim}\) was ended by SIGKILL", done.err)
    assert re.search(r"INFO worker \d started again", done.err)


def test_a_worker_that_ends_by_itself_is_started_again(serve):
    server = serve()
    victim = server.children()[0]
    os.kill(victim, signal.SIGTERM)
    wait_until(lambda: len(left := server.children()) == COUNT and victim not in left)
    assert re.search(rf"\(process {victim}\) ended with status 0", server.stop().err)


def test_a_worker_that_always_dies_is_started_once_a_second(serve, phones, tmp_path):
    path = tmp_path / "route.py"
    path.write_text("import os\nasync def request_route(request, auth):\n    os.abort()\n")
    began = time.monotonic()
    server = serve("--route", path, count=2)
    seen = set()

    def three_more():
        for phone in phones:
            phone.send(phone.request(), server.address)
        seen.update(server.children())
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
    workers = server.children()
    done = server.stop(how)
    assert (done.status, done.err) == (0, "")
    assert living().keys().isdisjoint(workers)


def test_control_c_reaches_workers_too(disc):
    """A terminal sends SIGINT to all of its processes at once."""
    command = ("serve", "--disc", disc, "--workers", 2)
    with Server(*command) as server:
        os.killpg(server.pid, signal.SIGINT)
        done = server.wait()
    assert (done.status, done.err) == (0, "")


def test_workers_that_do_not_end_are_ended(serve, phones, tmp_path):
    path = tmp_path / "route.py"
    path.write_text(
        "import os, pathlib, time\n"
        "async def request_route(request, auth):\n"
        f"    pathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.hangs').touch()\n"
        "    time.sleep(600)\n"
    )
    server = serve("--route", path, count=2)
    for phone in phones:
        phone.send(phone.request(), server.address)
    wait_until(lambda: len(list(tmp_path.glob("*.hangs"))) == 2)
    assert server.stop().status == 0


def test_workers_do_not_outlive_their_parent(serve):
    server = serve()
    workers = server.children()
    server.kill()
    wait_until(lambda: living().keys().isdisjoint(workers))


def test_an_address_that_others_share_is_in_use(serve):
    server = serve()
    with pytest.raises(OSError, match="in use"):
        bind(server.host, server.port, 2)
    with pytest.raises(OSError, match="in use"):
        bind(server.host, server.port)


# --- the end under load, and a pause -------------------------------------------------------------------


def pids(server, count):
    """Those that serve: with one worker the program itself."""
    return server.children() if count > 1 else [server.pid]


def replies_to(phones, found):
    """All that are there, by the branch of their request."""
    collect(phones, found)
    return found


@pytest.mark.parametrize("count", [1, 2])
def test_at_the_end_no_request_that_came_is_lost(serve, phones, count):
    """Stopped, so that all of it waits in the kernel; told to end; and then let go on."""
    server = serve(count=count)
    workers = pids(server, count)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    for phone in phones[:20]:
        for _ in range(5):
            phone.send(phone.request(), server.address)
    server.send(signal.SIGTERM)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    assert server.wait().err == ""
    found = {}
    wait_until(lambda: len(replies_to(phones, found)) == 100)
    statuses = [[reply.status for reply in replies] for replies in found.values()]
    assert all(each in ([401], [503]) for each in statuses)
    assert statuses.count([401]) > 50  # or all, if the machine leaves it the time


@pytest.mark.parametrize("count", [1, 2])
def test_the_end_under_load(serve, phones, count):
    """Whatever was sent before the signal has its reply; the end comes although requests go on."""
    server = serve(count=count)
    before, after, found = set(), set(), {}
    while server.running:
        told = len(before) >= 500
        if told and not after:
            server.send(signal.SIGTERM)
        for phone in phones[:4]:
            data = phone.request()
            phone.send(data, server.address)
            (after if told else before).add(branch_of(data))
        collect(phones, found, 0.002)
        # The kernel has room for some hundred that wait.
        wait_until(lambda: len(before - replies_to(phones, found).keys()) < 50)
    wait_until(lambda: before <= replies_to(phones, found).keys())
    assert server.wait().status == 0
    assert {tuple(reply.status for reply in replies) for replies in found.values()} <= {(401,), (503,)}


def test_a_pause_makes_no_reply_wrong(serve, phones):
    """SIGSTOP for longer than DISC's time limit, with retransmissions in between: each has one reply."""
    server = serve(count=1)
    server.freeze()
    requests = [phone.request() for phone in phones]
    for _ in range(3):
        for phone, data in zip(phones, requests, strict=True):
            phone.send(data, server.address)
        time.sleep(0.8)
    server.thaw()
    found = {}
    wait_until(lambda: len(replies_to(phones, found)) == len(phones))
    # The replies to the rest of what it was sent may still come.
    phones[0].to = server.address
    (another,) = phones[0].exchange(phones[0].request())
    assert another.status == 401
    collect(phones, found)
    assert all(len({reply.status for reply in replies}) == 1 for replies in found.values())
