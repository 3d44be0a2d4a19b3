"""Replies that Python makes: how large they may be, where they go, and when they are no longer sent."""

from __future__ import annotations

import socket

import pytest
from kit.sip import FIRST, RIGHT, build_request

from auth_diameter._core import Credentials, SipRequest, Transactions
from auth_diameter._core.path.script_requests import ScriptCall, ScriptRequests

SOURCE = ("192.0.2.9", 4711)


class Policy:
    """What Python decides: nothing here, since no script runs."""

    def __init__(self) -> None:
        self.flushes = 0

    def send_soon(self) -> None:
        self.flushes += 1


def new_path(transactions: Transactions | None = None, fd: int = -1, **more: int) -> ScriptRequests:
    """A path on which each request is odd."""
    limits = {
        "most_calls": 1,
        "most_bytes": 1 << 20,
        "max_size": 65_535,
        "max_headers": 256,
        "amplification": 2,
    }
    path = ScriptRequests(
        fd, transactions or Transactions(), Policy(), None, None, None, **{**limits, **more}
    )  # type: ignore[arg-type]
    path.is_open = False
    return path


def taken(path: ScriptRequests, data: bytes, source: tuple[str, int] = SOURCE) -> SipRequest:
    path.take(data, source, 0.0)
    (request,) = path.take_odd()
    assert isinstance(request, SipRequest)
    return request


@pytest.mark.parametrize(
    ("more", "most", "fits"), [(0, 0, True), (1, 0, False), (1, 4_000, True), (1, 10, False)]
)
def test_a_reply_has_twice_the_bytes_of_its_request_or_as_many_as_it_always_may(
    more: int, most: int, fits: bool
) -> None:
    path = new_path()
    request = taken(path, FIRST)
    assert path.answer(request, b"x" * (2 * len(FIRST) + more), most) is fits
    assert len(path.departures.take()) == fits


def test_who_was_let_through_gets_a_reply_of_any_size() -> None:
    path = new_path()
    request = taken(path, RIGHT)
    found = request.credentials("siphub.net")
    assert isinstance(found, Credentials)
    request.mark_authorized(found)
    assert path.answer(request, b"x" * 60_000)
    assert [len(reply) for reply, _ in path.departures.take()] == [60_000]


@pytest.mark.parametrize("size", [0, 300_000])
def test_no_reply_and_one_that_no_datagram_holds_are_not_sent(size: int) -> None:
    path = new_path(amplification=10_000)
    assert path.answer(taken(path, FIRST), b"x" * size)
    assert path.departures.take() == []


@pytest.mark.parametrize(
    ("old", "new", "port"), [(b"", b"", 5066), (b":5066;", b";rport;", 4711), (b":5066;", b";", 5060)]
)
def test_a_reply_goes_to_the_port_of_via_and_so_does_the_same_again(
    old: bytes, new: bytes, port: int
) -> None:
    path = new_path()
    data = build_request("INVITE").replace(old, new, 1) if old else build_request("INVITE")
    assert path.answer(taken(path, data), b"reply")
    path.take(data, SOURCE, 1.0)
    assert path.departures.take() == [(b"reply", ("192.0.2.9", port))] * 2
    assert path.retransmissions == 1


def test_a_request_without_a_usable_source() -> None:
    path = new_path()
    with pytest.raises(TypeError, match="its source"):
        path.answer(SipRequest(FIRST), b"reply")
    with pytest.raises(ValueError, match="address"):
        path.answer(SipRequest(FIRST, ("pc33.siphub.net", 5060)), b"reply")


def test_nothing_is_sent_on_a_socket_that_is_closed() -> None:
    """Its number may be that of another socket by now."""
    server, phone = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    with server, phone:
        server.bind(("127.0.0.1", 0))
        phone.bind(("127.0.0.1", 0))
        phone.settimeout(5)
        path = new_path(fd=server.fileno())
        data = build_request("INVITE").replace(b":5066;", b";rport;", 1)
        requests = [taken(path, data + bytes([n]), phone.getsockname()) for n in range(2)]
        path.answer(requests[0], b"open")
        path.flush()
        assert phone.recv(100) == b"open"
        path.answer(requests[1], b"waits")
        path.close()
        path.answer(requests[1], b"closed")
        path.flush()
        phone.settimeout(0.05)
        with pytest.raises(TimeoutError):
            phone.recv(100)
        assert path.replied == 1


def test_a_call_is_made_for_a_request_only() -> None:
    with pytest.raises(TypeError, match="comes from"):
        ScriptCall()
