"""Replies that are sent together, over real sockets: what arrives is what would arrive one by one.

`Departures` has no function for Python to add a datagram. So these are replies of a `RequestPath`: each
answer of DISC makes one, and those of one read leave together.
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from kit.path import Way, challenge_to
from kit.sip import build_request

SO_NO_CHECK = 11  # Linux: a UDP socket without checksums refuses UDP_SEGMENT with EINVAL
UDPLITE = 136  # RFC 3828; its sockets refuse UDP_SEGMENT with EIO
MOST_UDP = 65_507  # bytes of a datagram over IPv4


def request(number: int, padding: int) -> bytes:
    """A request whose reply grows with the padding, since it repeats all Via fields."""
    via = f"Via: SIP/2.0/UDP a;branch=z9hG4bK{number:05}" + "x" * padding
    return build_request(extra=(via,)).replace(b":5066;", b";rport;")


class Site:
    """A socket that replies leave from, and telephones that get them."""

    def __init__(self, host: str, protocol: int, telephones: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.server, *self.phones = (
            socket.socket(family, socket.SOCK_DGRAM, protocol) for _ in range(telephones + 1)
        )
        for sock in (self.server, *self.phones):
            sock.bind((host, 0))
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.way = Way(fd=self.server.fileno(), most=10_000, realm="siphub.net")
        self.departures = self.way.path.departures

    def close(self) -> None:
        for sock in (self.server, *self.phones):
            sock.close()

    def send(self, *replies: tuple[int, int, int]) -> None:
        """Sends replies together: each with its telephone, its number and its padding."""
        for phone, number, padding in replies:
            self.way.take(request(number, padding), source=self.phones[phone].getsockname())
        self.flush()

    def flush(self) -> None:
        """Answers what was asked; the replies leave together."""
        self.way.answer(*(challenge_to(question) for question in self.way.asked()))
        assert self.way.adopted == []

    def received(self, phone: int = 0) -> list[int]:
        """The numbers of the replies that a telephone got, each in a datagram of its own."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self.phones[phone].recv(1 << 16)
                assert data.startswith(b"SIP/2.0 407 ")
                assert data.endswith(b"\r\n\r\n")
                assert data.count(b"SIP/2.0 407") == 1
                (number,) = re.findall(rb"branch=z9hG4bK([0-9]{5})x*\r\n", data)
                found.append(int(number))
        return found

    def told(self) -> tuple[int, int]:
        return self.departures.sent, self.departures.lost


@pytest.fixture
def new_site() -> Iterator[Callable[..., Site]]:
    with contextlib.ExitStack() as stack:

        def new(host: str = "127.0.0.1", protocol: int = 0, telephones: int = 2) -> Site:
            try:
                site = Site(host, protocol, telephones)
            except OSError as error:
                pytest.skip(f"not on this machine: {error}")
            stack.callback(site.close)
            return site

        yield new


HOSTS = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


@HOSTS
@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 127, 128, 129, 256, 257, 300])
def test_a_run_of_equal_ones_arrives_one_by_one_and_in_order(
    new_site: Callable[..., Site], host: str, count: int
) -> None:
    """A message of UDP_SEGMENT has 64 parts at most, and the queue 256 places."""
    site = new_site(host)
    assert site.departures.segments
    site.send(*((0, number, 0) for number in range(count)))
    assert site.received() == list(range(count))
    assert site.told() == (count, 0)


@HOSTS
def test_all_sizes_and_addresses_mixed(new_site: Callable[..., Site], host: str) -> None:
    site = new_site(host, telephones=3)
    replies = [((number // 3) % 3, number, number // 7 % 4) for number in range(200)]
    site.send(*replies)
    for phone in range(3):
        assert site.received(phone) == [number for to, number, _ in replies if to == phone]
    assert site.told() == (200, 0)


def test_no_two_of_one_size_in_a_row(new_site: Callable[..., Site]) -> None:
    """Then each is a message, of which one call takes 64."""
    site = new_site()
    site.send(*((0, number, number % 2) for number in range(130)))
    assert site.received() == list(range(130))


def test_a_run_has_no_more_bytes_than_a_datagram_may(new_site: Callable[..., Site]) -> None:
    """Four of 20,000 bytes are two messages."""
    site = new_site()
    site.send(*((0, number, 20_000) for number in range(4)))
    assert site.received() == [0, 1, 2, 3]
    assert site.departures.segments


def test_a_datagram_that_is_too_large_takes_no_other_with_it(new_site: Callable[..., Site]) -> None:
    """EMSGSIZE: here in the middle, and twice."""
    site = new_site()
    small = len(request(0, 0))
    most = MOST_UDP - small  # its reply has the challenge besides
    site.send((0, 1, 0), (0, 2, 0), (0, 3, most), (0, 4, most), (0, 5, 0), (0, 6, 0), (0, 7, 1))
    assert site.received() == [1, 2, 5, 6, 7]
    assert site.told() == (5, 2)
    site.send((0, 8, 0), (0, 9, 0))
    assert site.received() == [8, 9]
    assert site.departures.segments


def test_einval_sends_the_run_one_by_one(new_site: Callable[..., Site]) -> None:
    """So says a path whose parts must be smaller: none is lost, and smaller ones are tried again."""
    site = new_site()
    site.server.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    site.send(*((0, number, 100) for number in range(70)), (0, 70, 0), (0, 71, 0), (1, 72, 0))
    assert site.received() == list(range(72))
    assert site.received(1) == [72]
    assert site.told() == (73, 0)
    site.server.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 0)
    site.send(*((0, number, 100) for number in range(100, 140)))
    assert site.received() == list(range(100, 140))
    assert site.departures.segments


def test_eio_ends_it(new_site: Callable[..., Site]) -> None:
    """The device cannot compute checksums: none is lost, and it is not tried again."""
    site = new_site(protocol=UDPLITE)
    assert site.departures.segments
    site.send((1, 0, 1), *((0, number, 0) for number in range(1, 70)), (1, 70, 0))
    assert site.received() == list(range(1, 70))
    assert site.received(1) == [0, 70]
    assert site.told() == (71, 0)
    assert not site.departures.segments
    site.send((0, 71, 0), (0, 72, 0))
    assert site.received() == [71, 72]


@pytest.mark.parametrize(
    "source",
    [("127.0.0.1", 0), ("255.255.255.255", 5060)],
    ids=["port 0: EINVAL", "broadcast: EACCES"],
)
def test_a_forged_source_changes_nothing_for_others(
    new_site: Callable[..., Site], source: tuple[str, int]
) -> None:
    """Its own replies are lost. Those to others leave together as before."""
    site = new_site()
    for number in range(4):
        site.way.take(request(number, 0), source=source)
    site.flush()
    assert sum(site.told()) == 4
    assert site.departures.segments
    lost = site.departures.lost
    site.send((0, 4, 0), (0, 5, 0), (0, 6, 0))
    assert site.received() == [4, 5, 6]
    assert site.departures.lost == lost


def test_a_kernel_that_does_not_know_it_is_not_given_runs() -> None:
    """It would send them as one datagram. So does everything that is no UDP socket."""
    here, there = socket.socketpair()
    with here, there:
        assert not Way(fd=here.fileno()).path.departures.segments
    assert not Way().path.departures.segments


def test_a_full_socket_loses_what_it_does_not_take(new_site: Callable[..., Site]) -> None:
    """As UDP allows: nobody waits, and what is sent and lost adds up."""
    site = new_site()
    site.server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    site.send(*((0, number, 3000) for number in range(100)))
    assert sum(site.told()) == 100
    assert len(site.received()) == site.departures.sent


def test_without_a_socket_they_wait() -> None:
    way = Way(realm="siphub.net")
    way.take(request(1, 0), request(2, 0), source=("192.0.2.1", 5070))
    way.answer(*(challenge_to(question) for question in way.asked()))
    found = way.path.departures.take()
    assert [to for _, to in found] == [("192.0.2.1", 5070)] * 2
    assert way.path.departures.take() == []


SMALL_MTU = """
import sys
sys.path[:0] = sys.argv[1:]
from test_departures import Site
site = Site("127.0.0.1", 0, 1)
site.send(*((0, number, 400) for number in range(10)))      # some 700 bytes each
assert site.received() == list(range(10)), "none is lost"
assert site.told() == (10, 0) and site.departures.segments
site.send(*((0, number, 10) for number in range(10)))
assert site.received() == list(range(10))
site.send(*((0, number, 400) for number in range(10, 20)))
assert site.received() == list(range(10, 20))
assert site.told() == (30, 0)
print("done")
"""


def test_a_device_whose_packets_are_smaller_than_the_parts() -> None:
    """EMSGSIZE or EINVAL, by the kernel: the datagrams go one by one, and IP fragments them."""
    command = 'ip link set lo up mtu 600 && exec "$@"'
    try:
        subprocess.run(
            ["unshare", "--net", "sh", "-c", command, "sh", "true"], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespace on this machine")
    paths = [str(path) for path in sys.path if path]
    program = [sys.executable, "-c", SMALL_MTU, __file__.rpartition("/")[0], *paths]
    done = subprocess.run(
        ["unshare", "--net", "sh", "-c", command, "sh", *program], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
