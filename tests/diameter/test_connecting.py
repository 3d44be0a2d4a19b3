"""Connecting: an attempt to connect that blocks nobody, for workers without threads."""

import errno
import socket
import time

import pytest
from kit.machine import PATIENCE

from auth_diameter.diameter.connecting import Connecting, wait_for
from auth_diameter.diameter.dialling import LOOKUP_TIMED_OUT, Dial
from auth_diameter.diameter.peer import Peer


class Names:
    """A resolver that knows what it is told; None: the lookup takes for ever."""

    def __init__(self, *addresses, error=None):
        self.outcome = error if error is not None else [(socket.AF_INET, one) for one in addresses]
        self.waits = False
        self.good = []

    def look_up(self, host, port, done):
        if not self.waits:
            done(self.outcome)

    def forget(self, port, done):
        self.forgotten = True

    def tried(self, host, good):
        self.good.append(good)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()


@pytest.fixture
def refused():
    """An address at which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


def connecting(names, seconds=1.0):
    peer = Peer("disc.example", 3000)
    now = time.monotonic()
    return Connecting(peer, Dial(peer, names, seconds, time.monotonic), now)


def connected(one, seconds=PATIENCE):
    """Goes on until it is connected, as a worker does that has nothing else to do."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sock = one.go_on(time.monotonic())
        if sock is not None:
            return sock
        wait_for([one], max(one.until - time.monotonic(), 0.0))
    raise AssertionError("it does not end")


def test_it_connects(listener):
    names = Names(listener)
    with connected(connecting(names)) as sock:
        assert sock.getpeername() == listener
    assert names.good == [(socket.AF_INET, listener)]


def test_the_next_address_is_tried_after_one_that_refuses(listener, refused):
    names = Names(refused, listener)
    with connected(connecting(names)) as sock:
        assert sock.getpeername() == listener
    assert names.good == [(socket.AF_INET, listener)]


def test_the_next_address_is_tried_after_one_that_does_not_answer(listener, silent_listener):
    """Each has its share of the time."""
    started = time.monotonic()
    with connected(connecting(Names(silent_listener, listener), 0.4)) as sock:
        assert sock.getpeername() == listener
    assert time.monotonic() - started >= 0.2


def test_none_accepts(refused):
    names = Names(refused, refused)
    with pytest.raises(OSError, match="refused") as caught:
        connected(connecting(names))
    assert caught.value.errno == errno.ECONNREFUSED
    assert names.good == [None], "the name is looked up again next time"


def test_none_answers_in_time(silent_listener):
    with pytest.raises(TimeoutError):
        connected(connecting(Names(silent_listener), 0.1))


def test_it_does_not_block_while_none_answers(silent_listener):
    one = connecting(Names(silent_listener))
    started = time.monotonic()
    assert [one.go_on(time.monotonic()) for _ in range(100)] == [None] * 100
    assert time.monotonic() - started < 0.5
    one.close()
    assert one.sock is None


def test_the_lookup_fails():
    with pytest.raises(OSError, match="no such name"):
        connecting(Names(error=OSError("no such name"))).go_on(time.monotonic())


def test_the_lookup_takes_too_long(listener):
    names = Names(listener)
    names.waits = True
    one = connecting(names, 5.0)
    assert one.go_on(time.monotonic()) is None
    assert one.go_on(one.until - 0.1) is None
    with pytest.raises(OSError, match=LOOKUP_TIMED_OUT):
        one.go_on(one.until)
    assert names.forgotten


def test_several_are_waited_for_together(listener, silent_listener):
    quick, slow = connecting(Names(listener)), connecting(Names(silent_listener))
    assert slow.go_on(time.monotonic()) is None
    sock = quick.go_on(time.monotonic())  # on loopback it may be connected at once
    if sock is None:
        assert wait_for([slow, quick], PATIENCE)
        sock = quick.go_on(time.monotonic())
    sock.close()
    assert not wait_for([slow], 0.0)
    assert not wait_for([], 0.0)
    slow.close()
