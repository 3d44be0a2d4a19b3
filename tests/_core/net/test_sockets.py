"""Datagrams in batches: recvmmsg(2) and sendmmsg(2); a question and its answer."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import sys
from collections.abc import Iterator

import pytest
from kit.machine import needs_ipv6

from auth_diameter._core import DatagramBatch, exchange


@pytest.fixture(
    params=[
        pytest.param((socket.AF_INET, "127.0.0.1"), id="IPv4"),
        pytest.param((socket.AF_INET6, "::1"), id="IPv6", marks=needs_ipv6),
    ]
)
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A server's and a client's socket of one family."""
    family, host = request.param
    with (
        socket.socket(family, socket.SOCK_DGRAM) as server,
        socket.socket(family, socket.SOCK_DGRAM) as client,
    ):
        try:
            server.bind((host, 0))
            client.bind((host, 0))
        except OSError as error:
            pytest.skip(f"no loopback of this family: {error}")
        server.setblocking(False)
        client.settimeout(5)
        yield server, client


def test_nothing_came(pair: tuple[socket.socket, socket.socket]) -> None:
    server, _ = pair
    assert DatagramBatch(server.fileno()).receive() == []


def test_bytes_and_addresses_are_those_of_the_socket_module(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    server, client = pair
    batch = DatagramBatch(server.fileno())
    sent = [b"", b"\0", b"x" * 1400, bytes(range(256)) * 100]
    for data in sent:
        client.sendto(data, server.getsockname())
    assert batch.receive() == [(data, client.getsockname()) for data in sent]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has all of 127.0.0.0/8 on loopback")
@pytest.mark.parametrize(
    "host", ["127.0.0.2", "127.9.10.11", "127.99.100.101", "127.199.200.254", "127.255.0.9"]
)
def test_ipv4_addresses_are_written_as_inet_ntop_writes_them(host: str) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("127.0.0.1", 0))
        client.bind((host, 0))
        client.sendto(b"x", server.getsockname())
        assert DatagramBatch(server.fileno()).receive() == [(b"x", (host, client.getsockname()[1]))]


def test_at_most_64_at_once_in_order(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    batch = DatagramBatch(server.fileno())
    for number in range(100):
        client.sendto(b"%d" % number, server.getsockname())
    first, second = batch.receive(), batch.receive()
    assert (len(first), len(second)) == (64, 36)
    assert [data for data, _ in first + second] == [b"%d" % number for number in range(100)]


def test_replies_go_to_their_addresses(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    replies = [(b"%d" % number, client.getsockname()) for number in range(130)]
    assert DatagramBatch(server.fileno()).send(replies) == 130
    assert [client.recv(100) for _ in range(130)] == [data for data, _ in replies]


def test_host_and_port_are_enough(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    DatagramBatch(server.fileno()).send([(b"x", client.getsockname()[:2])])
    assert client.recv(100) == b"x"


def test_one_that_the_kernel_refuses_is_lost_alone(pair: tuple[socket.socket, socket.socket]) -> None:
    server, client = pair
    here = client.getsockname()
    replies = [(b"1", here), (b"x" * 65535, here), (b"2", here)]  # the second is longer than UDP carries
    assert DatagramBatch(server.fileno()).send(replies) == 2
    assert [client.recv(100), client.recv(100)] == [b"1", b"2"]


@pytest.mark.parametrize("address", [("localhost", 5060), ("1.2.3", 5060), ("", 1)])
def test_no_ip_address(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        batch = DatagramBatch(sock.fileno())
        with pytest.raises(ValueError, match="no IP address"):
            batch.send([(b"x", address)])


def test_a_socket_that_cannot_be_read() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        batch = DatagramBatch(sock.fileno())
    with pytest.raises(OSError, match="receiving"):
        batch.receive()


class TestExchange:
    """`exchange` on a connected pair of blocking sockets."""

    def test_sends_all_and_receives_what_came(self) -> None:
        here, there = socket.socketpair()
        with here, there:
            there.sendall(b"answer")
            assert exchange(here.fileno(), bytearray(b"question")) == b"answer"
            assert there.recv(100) == b"question"

    def test_the_other_side_has_closed(self) -> None:
        here, there = socket.socketpair()
        with here:
            there.shutdown(socket.SHUT_WR)
            assert exchange(here.fileno(), bytearray()) == b""
            there.close()
            with pytest.raises(BrokenPipeError):
                exchange(here.fileno(), bytearray(b"x"))

    def test_the_kernels_limit_passes(self) -> None:
        here, there = socket.socketpair()
        with here, there:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", 0, 1000))
            with pytest.raises(BlockingIOError):
                exchange(here.fileno(), bytearray(b"x"))

    def test_what_could_be_sent_in_part_only_begins_no_second_limit(self) -> None:
        """A peer that reads a little now and then would hold up its caller for ever."""
        here, there = socket.socketpair()
        with here, there:
            here.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", 0, 1000))
            out = bytearray(8 << 20)
            assert exchange(here.fileno(), out) is None
            assert 0 < len(out) < 8 << 20
            with pytest.raises(BlockingIOError):
                exchange(here.fileno(), out)

    def test_a_signal_in_between_leaves_the_limit_to_the_caller(self) -> None:
        old = signal.signal(signal.SIGALRM, lambda number, frame: None)
        here, there = socket.socketpair()
        try:
            with here, there:
                there.setblocking(False)
                out = bytearray(1 << 20)
                signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
                assert exchange(here.fileno(), out) is None
                received = 0
                while len(out) > 0:  # what was sent is out of it, and what was not is not lost
                    with contextlib.suppress(BlockingIOError):
                        while True:
                            received += len(there.recv(1 << 20))
                    assert received + len(out) == 1 << 20
                    assert exchange(here.fileno(), out) is None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)

    def test_a_signal_handler_that_raises_ends_it(self) -> None:
        def handler(number: int, frame: object) -> None:
            raise KeyboardInterrupt

        old = signal.signal(signal.SIGALRM, handler)
        here, there = socket.socketpair()
        try:
            # The signal may come before `exchange` has begun.
            with here, there, pytest.raises(KeyboardInterrupt):  # noqa: PT012
                signal.setitimer(signal.ITIMER_REAL, 0.05)
                exchange(here.fileno(), bytearray())
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, old)
