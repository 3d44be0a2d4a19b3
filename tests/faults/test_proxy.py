"""The fault proxy does what it is told, so that the tests with it test what they say."""

from __future__ import annotations

import contextlib
import random
import socket
import time

import pytest
from faults.proxy import (
    LOOPBACK,
    FaultProxy,
    Faults,
    black_hole,
    corrupted,
    duplicated,
    garbage,
    halved,
    with_unknown_id,
)
from kit.disc import FakeDisc, judge, say_nothing
from kit.machine import PATIENCE, SLACK
from kit.wire import DESTINATION_REALM, USER_NAME, Connection, aa_request, build_answer, number_of

from auth_diameter import Framer, Message

LATE = 0.1  # seconds; long against what loopback takes


def question(msgid: int) -> bytes:
    """An AA-Request with nothing in it but what an answer needs."""
    return aa_request(number=msgid, hop_by_hop=0, without=(DESTINATION_REALM, USER_NAME))


class Client(Connection):
    """A connection to the proxy."""

    def __init__(self, port: int) -> None:
        super().__init__((LOOPBACK, port))

    def ask(self, *msgids: int) -> None:
        self.sock.sendall(b"".join(map(question, msgids)))

    def answers(self, count: int) -> list[int]:
        """The SIP-MSGIDs of the next answers."""
        found = [self.receive() for _ in range(count)]
        assert None not in found, "the connection ended"
        return list(map(number_of, found))

    def all_bytes(self) -> bytes:
        """What comes until the end of the connection."""
        data = b""
        while more := self.sock.recv(1 << 16):
            data += more
        return data

    def has_answer(self, seconds: float) -> bool:
        self.sock.settimeout(seconds)
        try:
            return bool(self.sock.recv(1, socket.MSG_PEEK))
        except TimeoutError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)


@pytest.fixture
def disc(fake_disc):
    return fake_disc()


@pytest.fixture
def proxy(disc):
    with FaultProxy((LOOPBACK, disc.port)) as running:
        yield running


@pytest.fixture
def connect(proxy):
    """A function that opens one more connection to the proxy."""
    with contextlib.ExitStack() as stack:

        def open_one() -> Client:
            client = Client(proxy.port)
            stack.callback(client.sock.close)
            return client

        yield open_one


def test_without_faults_it_relays(proxy, connect):
    clients = [connect() for _ in range(10)]
    for index, client in enumerate(clients):
        client.ask(index, 100 + index)
    assert [client.answers(2) for client in clients] == [[index, 100 + index] for index in range(10)]
    assert (proxy.accepted, proxy.open, proxy.asked, proxy.answered) == (10, 10, 20, 20)


def test_a_delay_holds_each_message_back_and_not_the_connection(proxy, connect):
    """A hundred messages that are late by a tenth of a second are late together."""
    proxy.answers = Faults(delay=LATE)
    client = connect()
    start = time.monotonic()
    client.ask(*range(100))
    assert client.answers(100) == list(range(100))
    assert LATE <= time.monotonic() - start < LATE + SLACK < 100 * LATE


def test_so_many_messages_a_second_over_all_connections(proxy, connect):
    proxy.answers = Faults(rate=100.0)
    clients = [connect(), connect()]
    start = time.monotonic()
    for client in clients:
        client.ask(*range(10))
    assert [client.answers(10) for client in clients] == [list(range(10))] * 2
    assert 0.19 <= time.monotonic() - start < 0.2 + SLACK


def test_jitter_keeps_the_order(proxy, connect):
    proxy.answers = Faults(jitter=LATE)
    client = connect()
    client.ask(*range(50))
    assert client.answers(50) == list(range(50))


def test_messages_that_overtake_come_whole_and_in_another_order(proxy, connect):
    proxy.answers = Faults(jitter=LATE, overtake=True)
    client = connect()
    client.ask(*range(50))
    came = client.answers(50)
    assert came != list(range(50))
    assert sorted(came) == list(range(50))


def test_one_byte_at_a_time(proxy, connect):
    proxy.answers = Faults(piece=1)
    client = connect()
    client.ask(1, 2)
    assert client.answers(2) == [1, 2]


def test_the_pieces_are_single_segments(proxy, connect, disc):
    """With somebody who reads in the pauses, a piece is a read."""
    proxy.questions = Faults(piece=4, pause=0.05)
    connect().ask(7)
    disc.wait_for(lambda: len(disc.questions) == 1)
    assert len(disc.reads) > 1  # as many as there are, where the machine reads them in time


@pytest.mark.parametrize("size", [0, 1, 19, 20, 50])
def test_an_end_at_a_byte(proxy, connect, size):
    proxy.answers = Faults(cut_at=size)
    client = connect()
    client.ask(1, 2)
    whole = build_answer(Message.decode(question(1)), 4001)
    assert len(client.all_bytes()) == size
    assert size < 2 * len(whole)


def test_an_end_with_a_reset(proxy, connect):
    proxy.answers = Faults(cut_at=0, cut_with_reset=True)
    client = connect()
    client.ask(1)
    with pytest.raises(ConnectionResetError):
        client.all_bytes()


def test_reset_and_hang_up_end_what_is_open_and_nothing_else(proxy, connect):
    client = connect()
    client.ask(1)
    assert client.answers(1) == [1]
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.all_bytes()
    client = connect()
    client.ask(2)
    assert client.answers(1) == [2]
    proxy.hang_up()
    assert client.all_bytes() == b""
    client = connect()
    client.ask(3)
    assert client.answers(1) == [3]


def test_refused_connects_and_open_connections(proxy, connect):
    client = connect()
    client.ask(1)
    assert client.answers(1) == [1]
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect()
    client.ask(2)
    assert client.answers(1) == [2]
    proxy.listen()
    client = connect()
    client.ask(3)
    assert client.answers(1) == [3]


def test_nobody_reads(proxy, connect, disc):
    """The sender finds the kernels' buffers full, and loses nothing when reading goes on."""
    proxy.questions = Faults(reading=False)
    client = connect()
    client.sock.setblocking(False)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
    sent = 0
    data = question(0) * 1000
    while sent < 64 << 20:
        try:
            sent += client.sock.send(data[sent % len(data) :])
        except BlockingIOError:
            break
    assert 0 < sent < 64 << 20
    assert not disc.questions
    proxy.questions = Faults(reading=True)
    disc.wait_for(lambda: len(disc.questions) == sent // len(question(0)))


def test_swallowed_answers_are_gone_and_the_connection_lives(proxy, connect, disc):
    proxy.answers = Faults(swallow=True)
    client = connect()
    client.ask(1)
    disc.wait_for(lambda: len(disc.questions) == 1)
    assert not client.has_answer(LATE)
    proxy.answers = Faults()
    client.ask(2)
    assert client.answers(1) == [2]


def test_each_message_twice(proxy, connect):
    proxy.answers = Faults(change=duplicated)
    client = connect()
    client.ask(1, 2)
    assert client.answers(4) == [1, 1, 2, 2]


def test_an_answer_to_a_question_that_nobody_asked(proxy, connect):
    proxy.answers = Faults(change=with_unknown_id)
    client = connect()
    client.ask(1)
    assert client.answers(2) == [0xFFFFFFFE, 1]


def test_an_unknown_id_in_standard_diameter():
    """It is the Hop-by-Hop Identifier; messages of the base protocol stay as they are."""
    maa = Message(286, application_id=6, flags=0x40, hop_by_hop=7).encode()
    other, same = Framer().feed(with_unknown_id(maa))
    assert Message.decode(other).hop_by_hop == 0xFFFFFFF8
    assert same == maa
    dwa = Message(280, flags=0x00, hop_by_hop=7).encode()
    assert with_unknown_id(dwa) == dwa


def test_one_bit_of_some_messages(proxy, connect):
    proxy.answers = Faults(change=corrupted(random.Random(1), 1.0))
    client = connect()
    client.ask(1)
    right = judge(Message.decode(question(1)))
    got = b""
    while len(got) < len(right):
        got += client.sock.recv(1 << 16)
    different = [before ^ after for before, after in zip(right, got, strict=True) if before != after]
    assert len(different) == 1
    assert different[0].bit_count() == 1


@pytest.mark.parametrize(("change", "share"), [(halved, 0.5), (garbage, 1.0)])
def test_bytes_that_are_no_answer(proxy, connect, change, share):
    proxy.answers = Faults(change=change)
    client = connect()
    client.ask(1)
    right = judge(Message.decode(question(1)))
    got = client.sock.recv(1 << 16)
    assert len(got) == int(len(right) * share)
    assert got != right


def test_a_disc_that_is_gone_is_gone_for_its_clients(proxy, connect, disc):
    client = connect()
    client.ask(1)
    client.answers(1)
    disc.stop()
    assert client.all_bytes() == b""
    # As long as the proxy listens a client can connect, and is turned out.
    with pytest.raises(ConnectionResetError):
        connect().all_bytes()


def test_what_is_no_diameter_is_relayed_as_it_comes(fake_disc):
    disc = fake_disc(lambda connection, questions: connection.send(b"\1\0\0\3 and so on"))
    with FaultProxy((LOOPBACK, disc.port)) as proxy:
        client = Client(proxy.port)
        client.ask(1)
        assert client.sock.recv(1 << 16) == b"\1\0\0\3 and so on"
        client.sock.close()


def test_a_black_hole_lets_nobody_connect():
    with black_hole() as port, pytest.raises(TimeoutError):
        socket.create_connection((LOOPBACK, port), 3 * LATE)


def test_it_leaves_no_thread_and_no_socket(fake_disc):
    disc: FakeDisc = fake_disc(say_nothing)
    with FaultProxy((LOOPBACK, disc.port)) as proxy:
        client = Client(proxy.port)
        client.ask(1)
        disc.wait_for(lambda: len(disc.questions) == 1)
    assert client.all_bytes() == b""
    client.sock.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, proxy.port))
