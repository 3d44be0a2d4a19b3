"""DISC on TCP: real connections of SIP servers, each a stream of questions."""

import asyncio
import contextlib
import logging
import os
import resource
import socket
import struct
import time

import pytest
from disc.streams import (
    close_all,
    end_closed,
    end_reset,
    open_connections,
    question,
    read_answers,
    until,
    writer_gone,
)
from kit.machine import PATIENCE, needs_ipv6

from auth_diameter.disc import connection as connection_module
from auth_diameter.disc import listener as listener_module
from auth_diameter.disc.admission import ConnectionEvent
from auth_diameter.disc.listener import listen


def test_a_question_gets_its_answer(run):
    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(7))
        (answer,) = await read_answers(reader, 1)
        writer.close()
        await writer.wait_closed()
        return answer

    answer = run(scenario)
    assert answer.hop_by_hop == 7
    assert answer.find(268).value == 4001


def test_many_questions_in_one_segment(run):
    """Pipelining: a SIP server does not wait for one answer before it asks again."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(b"".join(map(question, range(500))))
        answers = await read_answers(reader, 500)
        writer.close()
        await writer.wait_closed()
        return answers

    assert {answer.hop_by_hop for answer in run(scenario)} == set(range(500))


def test_a_question_byte_by_byte(run):
    """TCP keeps no boundaries: each byte may come alone."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in question(1) + question(2):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        answers = await read_answers(reader, 2)
        writer.close()
        await writer.wait_closed()
        return answers

    assert [answer.hop_by_hop for answer in run(scenario)] == [1, 2]


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x02" + question()[1:],
        b"\x01\xff\xff\xfc" + bytes(16),
        b"\x01\x00\x00\x04" + bytes(16),
        b"\x01\x00\x00\x16" + bytes(18),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
    ids=["HTTP", "version 2", "16 MiB long", "4 bytes long", "no multiple of 4", "TLS"],
)
def test_garbage_closes_its_connection_alone_and_is_logged_once(run, caplog, garbage):
    """RFC 6733, 3: behind a header that is none, nobody knows where the next one begins."""

    async def scenario(listener):
        good_reader, good_writer = await asyncio.open_connection(*listener.address)
        reader, writer = await asyncio.open_connection(*listener.address)
        port = writer.get_extra_info("sockname")[1]
        writer.write(question(1) + garbage + question(2))
        # What came before the garbage is still answered; what follows is not.
        answers = await read_answers(reader, 1)
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        good_writer.write(question(3))
        answers += await read_answers(good_reader, 1)
        for each in (writer, good_writer):
            each.close()
            await each.wait_closed()
        return answers, rest, port

    answers, rest, port = run(scenario)
    assert [answer.hop_by_hop for answer in answers] == [1, 3]
    assert rest == b""
    (record,) = [record for record in caplog.records if record.name == "auth_diameter.disc"]
    assert record.levelname == "WARNING"
    assert f"127.0.0.1:{port}" in record.getMessage()


def test_a_peer_that_leaves_in_the_middle_of_a_question_is_no_event(run, caplog):
    async def scenario(listener):
        for end in (20, 30):
            _, writer = await asyncio.open_connection(*listener.address)
            writer.write(question()[:end])
            await writer.drain()
            writer.close()
            await writer.wait_closed()
        # A reset, as of a SIP server that was killed with answers under way.
        _, writer = await asyncio.open_connection(*listener.address)
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.write(question() * 10)
        writer.transport.abort()
        await writer_gone(writer)
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(9))
        answers = await read_answers(reader, 1)
        writer.close()
        await writer.wait_closed()
        return answers

    assert run(scenario)[0].hop_by_hop == 9
    assert not caplog.records


def test_half_a_question_is_waited_for_no_longer_than_its_time(run, caplog):
    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        idle_reader, idle_writer = await asyncio.open_connection(*listener.address)
        answers = []
        for number in range(6):  # each in time, and all together not
            writer.write(question(number)[30:] if number else question(number))
            writer.write(question(number + 1)[:30])
            answers += await read_answers(reader, 1)
            await asyncio.sleep(0.3)
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        idle_writer.write(question(9))
        answers += await read_answers(idle_reader, 1)
        for each in (writer, idle_writer):
            each.close()
            await writer_gone(each)
        return answers, rest, listener.counts[ConnectionEvent.TOO_SLOW]

    answers, rest, slow = run(scenario, max_question_time=1.5)
    assert [answer.hop_by_hop for answer in answers] == [0, 1, 2, 3, 4, 5, 9]
    assert (rest, slow) == (b"", 1)
    (record,) = caplog.records
    assert "the rest of a question did not arrive within" in record.getMessage()


def test_slow_questions_hold_up_no_other_and_are_closed(run, caplog):
    """Slowloris: each byte comes in time, and the question never."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        with contextlib.ExitStack() as stack:
            slow = [stack.enter_context(socket.create_connection(listener.address)) for _ in range(100)]
            for number, byte in enumerate(question()[:50]):
                for sock in slow:
                    with contextlib.suppress(ConnectionError):
                        sock.send(bytes([byte]))
                writer.write(question(number))
                await read_answers(reader, 1)
                await asyncio.sleep(0.02)
            await until(lambda: listener.open == 1)
        writer.close()
        await writer_gone(writer)
        return listener.counts[ConnectionEvent.TOO_SLOW]

    began = time.monotonic()
    assert run(scenario, max_question_time=0.3) == 100
    assert len(caplog.records) <= 1 + time.monotonic() - began  # not one for each


def test_a_byte_in_time_gives_a_question_no_more_time(run):
    """Its time runs from its first byte: who sends one now and then would else be waited for without end."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        for byte in question():
            if listener.counts[ConnectionEvent.TOO_SLOW]:
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)
        slow = listener.counts[ConnectionEvent.TOO_SLOW]
        try:
            rest = await asyncio.wait_for(reader.read(), PATIENCE)
        except ConnectionResetError:  # it is aborted, and a byte of ours may have come after that
            rest = b""
        writer.close()
        await writer_gone(writer)
        return slow, rest

    assert len(question()) * 0.02 > 3 * 0.5, "all of it takes longer than it may"
    assert run(scenario, max_question_time=0.5) == (1, b"")


HALF = question()[:-4]


async def end_whole(reader, writer):
    writer.write(question()[-4:])
    await read_answers(reader, 1)


async def end_garbage(reader, writer):
    writer.write(question()[-4:] + b"GET / HTTP/1.1\r\n\r\n")
    await asyncio.wait_for(reader.read(), PATIENCE)


async def end_too_slow(reader, writer):
    await asyncio.wait_for(reader.read(), PATIENCE)


@pytest.mark.parametrize("end", [end_whole, end_closed, end_reset, end_garbage, end_too_slow])
def test_however_a_question_ends_what_was_kept_of_it_is_given_back(run, end):
    """Or DISC, after some days, closes whoever's question comes in two pieces."""

    async def scenario(listener):
        opened = []
        for _ in range(20):  # two at a time would be too much
            reader, writer = await asyncio.open_connection(*listener.address)
            opened.append((reader, writer))
            writer.write(HALF)
            if end is not end_too_slow:
                await until(lambda: listener._admission.unfinished == len(HALF))
            await end(reader, writer)
            await until(lambda: not listener._admission.unfinished)
        await close_all(opened)
        return listener.counts[ConnectionEvent.TOO_MUCH_UNFINISHED]

    seconds = 0.01 if end is end_too_slow else 2 * PATIENCE
    assert run(scenario, max_unfinished=len(HALF) * 3 // 2, max_question_time=seconds) == 0


def test_halves_of_questions_are_kept_up_to_a_size_and_who_sent_most_is_closed(run, caplog):
    large = b"\x01\x00\xff\xfc" + bytes(50_000)

    async def scenario(listener):
        good_reader, good_writer = await asyncio.open_connection(*listener.address)
        good_writer.write(question(1)[:30])
        greedy = []
        for number in range(3):
            greedy.append(await asyncio.open_connection(*listener.address))
            greedy[-1][1].write(large + bytes(1000 if number == 1 else 0))
            if not number:
                await until(lambda: listener._admission.unfinished > 50_000)
            await until(lambda: listener.counts[ConnectionEvent.TOO_MUCH_UNFINISHED] == number)  # noqa: B023
        rest = await asyncio.wait_for(greedy[1][0].read(), PATIENCE)
        good_writer.write(question(1)[30:])
        answers = await read_answers(good_reader, 1)
        for each in (good_writer, *(writer for _, writer in greedy)):
            each.close()
            await writer_gone(each)
        return answers, rest, listener.counts[ConnectionEvent.TOO_MUCH_UNFINISHED]

    answers, rest, closed = run(scenario, max_unfinished=100_000)
    assert [answer.hop_by_hop for answer in answers] == [1]
    assert (rest, closed) == (b"", 2)  # two together are too much once more
    assert "incomplete questions take too much memory" in caplog.records[0].getMessage()


def test_a_question_longer_than_the_limit_is_not_waited_for(run):
    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(1) + b"\x01\x00\x01\x04")
        await read_answers(reader, 1)
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        await writer_gone(writer)
        return rest, listener.counts[ConnectionEvent.BAD_FRAMING]

    assert run(scenario, max_question=256) == (b"", 1)


@pytest.fixture
def many_files():
    """Allow the process the files that a thousand connections need on both their ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2200:
        pytest.skip(f"only {hard} files for this process")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_a_thousand_connections(run):
    async def scenario(listener):
        opened = [await asyncio.open_connection(*listener.address) for _ in range(1000)]
        for number, (_, writer) in enumerate(opened):
            writer.write(question(number))
        answers = [(await read_answers(reader, 1))[0] for reader, _ in opened]
        for _, writer in opened:
            writer.close()
        for _, writer in opened:
            await writer.wait_closed()
        return [answer.hop_by_hop for answer in answers]

    assert run(scenario) == list(range(1000))


def test_a_peer_that_never_reads_is_closed(run, caplog):
    """Else its answers would fill the memory of DISC."""

    async def scenario(listener):
        loop = asyncio.get_running_loop()
        with socket.create_connection(listener.address) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            with pytest.raises(ConnectionError):  # noqa: PT012 - until DISC has had enough
                async with asyncio.timeout(PATIENCE * 4):
                    while True:
                        await loop.sock_sendall(sock, question() * 1000)
        # The others do not notice.
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(5))
        answers = await read_answers(reader, 1)
        writer.close()
        await writer.wait_closed()
        return answers, listener.counts[ConnectionEvent.NOT_READING]

    answers, closed = run(scenario, max_unread=1 << 16)
    assert (answers[0].hop_by_hop, closed) == (5, 1)
    (record,) = caplog.records
    assert record.getMessage().endswith("the SIP server does not read its answers")


def test_closing_does_not_wait_for_a_peer_that_does_not_read(disc, monkeypatch):
    monkeypatch.setattr(listener_module, "_PATIENCE", 0.05)

    async def scenario():
        listener = await listen(disc, "127.0.0.1", 0)
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, listener.address)
            while not listener._admission.open:
                await asyncio.sleep(0)
            (connection,) = listener._admission.open
            while not connection._transport.get_write_buffer_size():
                await loop.sock_sendall(sock, question() * 100)
                await asyncio.sleep(0)
            await asyncio.wait_for(listener.aclose(), PATIENCE)
            assert not listener._admission.open

    asyncio.run(scenario())


def test_closing_ends_all_connections_and_frees_the_port(disc, monkeypatch):
    monkeypatch.setattr(listener_module, "_PATIENCE", 0.05)

    async def scenario():
        listener = await listen(disc, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question())
        await read_answers(reader, 1)
        await listener.aclose()
        rest = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        await writer.wait_closed()
        again = await listen(disc, *listener.address)
        await again.aclose()
        return rest

    assert asyncio.run(scenario()) == b""


def test_what_came_before_the_end_is_answered_and_the_end_is_not_waited_for_longer_than_it_takes(
    run, monkeypatch
):
    """Each SIP server reads its answers, then that nothing will follow, and closes: that was the last."""
    monkeypatch.setattr(listener_module, "_PATIENCE", 2 * PATIENCE)  # nobody is waited for that long

    async def scenario(listener):
        opened = await open_connections(listener, 3)
        for number, (reader, writer) in enumerate(opened):
            writer.write(question(number))
            await read_answers(reader, 1)
        for _, writer in opened:  # nothing of this has been read when the end begins
            os.write(writer.get_extra_info("socket").fileno(), b"".join(map(question, range(50))))
        closing = asyncio.create_task(listener.aclose())
        found = []
        for reader, writer in opened:
            answers = await read_answers(reader, 50)
            writer.write(question(99))
            rest = await asyncio.wait_for(reader.read(), PATIENCE)
            found.append(([answer.hop_by_hop for answer in answers], rest))
            writer.close()
        await asyncio.wait_for(closing, PATIENCE)
        return found, listener.open

    assert run(scenario) == ([(list(range(50)), b"")] * 3, 0)


def test_a_port_that_is_taken(disc):
    async def scenario():
        listener = await listen(disc, "127.0.0.1", 0)
        try:
            with pytest.raises(OSError, match="in use"):
                await listen(disc, *listener.address)
        finally:
            await listener.aclose()

    asyncio.run(scenario())


# --- addresses -----------------------------------------------------------------------------------------


@needs_ipv6
def test_ipv6(run, caplog):
    async def scenario(listener):
        assert listener.address[0] == "::1"
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(1) + b"garbage that is no Diameter")
        answers = await read_answers(reader, 1)
        await asyncio.wait_for(reader.read(), PATIENCE)
        port = writer.get_extra_info("sockname")[1]
        writer.close()
        await writer.wait_closed()
        return answers, port

    answers, port = run(scenario, "::1")
    assert answers[0].hop_by_hop == 1
    assert f"[::1]:{port}" in caplog.text


def resolve_to(monkeypatch, *addresses):
    """Makes every name stand for these addresses, as /etc/hosts may have it for localhost."""

    async def getaddrinfo(self, host, port, **options):
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in addresses
        ]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)


@needs_ipv6
def test_a_name_with_ipv4_and_ipv6_has_one_port_on_both(disc, monkeypatch):
    resolve_to(monkeypatch, "::1", "127.0.0.1", "127.0.0.1")

    async def scenario():
        listener = await listen(disc, "localhost", 0)
        monkeypatch.undo()
        numbers = []
        for address in listener.addresses:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(question(len(numbers)))
            numbers.append((await read_answers(reader, 1))[0].hop_by_hop)
            writer.close()
            await writer.wait_closed()
        await listener.aclose()
        return listener.addresses, numbers

    addresses, numbers = asyncio.run(scenario())
    assert [host for host, _ in addresses] == ["::1", "127.0.0.1"]
    assert len({port for _, port in addresses}) == 1
    assert numbers == [0, 1]


@needs_ipv6
def test_a_port_that_is_free_in_one_family_only_is_passed_over(disc, monkeypatch):
    """Port 0: the kernel chooses for the first address, and may choose one that the second has not."""
    resolve_to(monkeypatch, "127.0.0.1", "::1")
    taken = []
    bind_one = listener_module._bind_one

    def bind(family, address):
        # For once, the port is taken in IPv6 before we come.
        if family == socket.AF_INET6 and not taken:
            taken.append(socket.socket(family))
            taken[0].bind(address)
            taken[0].listen()
        return bind_one(family, address)

    monkeypatch.setattr(listener_module, "_bind_one", bind)

    async def scenario():
        listener = await listen(disc, "localhost", 0)
        await listener.aclose()
        return listener.addresses

    addresses = asyncio.run(scenario())
    with taken[0] as sock:
        assert {port for _, port in addresses} != {sock.getsockname()[1]}
    assert len(addresses) == 2


def test_an_address_that_the_machine_does_not_have_is_passed_over(disc, monkeypatch):
    """A name of /etc/hosts may have an IPv6 address where IPv6 is off; RFC 5737 and 3849 name nobody."""
    resolve_to(monkeypatch, "2001:db8::1", "127.0.0.1")

    async def scenario():
        listener = await listen(disc, "localhost", 0)
        await listener.aclose()
        return listener.addresses

    assert [host for host, _ in asyncio.run(scenario())] == ["127.0.0.1"]


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_only_addresses_that_the_machine_does_not_have(disc, address):
    with pytest.raises(OSError, match=r"assign requested address|not supported"):
        asyncio.run(listen(disc, address, 0))


def test_why_none_of_several_addresses_can_be_had_is_told_as_it_is(disc, monkeypatch):
    """Another port is tried where one is taken in one family, and only there."""
    resolve_to(monkeypatch, "198.51.100.1", "203.0.113.1")
    with pytest.raises(OSError, match="assign requested address"):
        asyncio.run(listen(disc, "somewhere", 0))


@needs_ipv6
def test_an_ipv6_socket_takes_no_ipv4():
    """Or the IPv4 address of the same name could not be listened on with the same port."""
    with listener_module._bind_one(socket.AF_INET6, ("::", 0)) as bound:
        assert bound.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1


def test_a_connection_of_the_log_is_not_logged_at_all_while_it_behaves(run, caplog):
    caplog.set_level(logging.INFO)

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question() * 10)
        await read_answers(reader, 10)
        writer.close()
        await writer.wait_closed()

    run(scenario)
    assert not [record for record in caplog.records if record.name.startswith("auth_diameter")]


def test_a_half_closed_connection_gets_its_answers(run, disc):
    """RFC 9293, 3.6: who has sent a FIN may still receive. The store is asked, so the answers come later."""

    async def scenario(listener):
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(1) + question(2))
        writer.write_eof()
        assert [answer.hop_by_hop for answer in await read_answers(reader, 2)] == [1, 2]
        assert await asyncio.wait_for(reader.read(), PATIENCE) == b""
        await until(lambda: listener.open == 0)
        writer.close()

    run(scenario)


def test_questions_that_wait_for_their_answers_are_bounded_over_all_connections(run, monkeypatch):
    """Beyond, nothing is read until half is answered. Nobody loses an answer."""
    monkeypatch.setattr(connection_module, "_MOST_UNANSWERED_BYTES", 1 << 16)
    data = b"".join(question(number) for number in range(1000))

    async def scenario(listener):
        admission, most = listener._admission, 0
        connections = [await asyncio.open_connection(*listener.address) for _ in range(20)]
        judge = listener._turns._judge

        def watch(batch, now):
            nonlocal most
            most = max(most, admission.unanswered)
            judge(batch, now)

        listener._turns._judge = watch
        for _, writer in connections:
            writer.write(data)
        for reader, writer in connections:
            answers = await read_answers(reader, 1000)
            assert [answer.hop_by_hop for answer in answers] == list(range(1000))
            writer.close()
        await until(lambda: listener.open == 0)
        assert (admission.unanswered, admission.is_busy) == (0, False)
        assert most <= (1 << 16) + (1 << 18), "the limit and one read"

    run(scenario)


def test_a_new_connection_is_not_read_on_while_too_much_is_unanswered(run, monkeypatch):
    """It was not there when the others were paused, and could send without end."""

    async def scenario(listener):
        admission, judge, held = listener._admission, listener._turns._judge, []
        listener._turns._judge = lambda *batch: held.append(batch)  # as if the store did not answer
        admission.is_busy = True
        monkeypatch.setattr(connection_module, "_MOST_UNANSWERED_BYTES", 2)
        reader, writer = await asyncio.open_connection(*listener.address)
        writer.write(question(1))
        await until(lambda: held)
        (connection,) = admission.open
        assert not connection._transport.is_reading()
        judge(*held[0])
        assert [answer.hop_by_hop for answer in await read_answers(reader, 1)] == [1]
        await until(connection._transport.is_reading)
        writer.close()
        await until(lambda: listener.open == 0)

    run(scenario)
