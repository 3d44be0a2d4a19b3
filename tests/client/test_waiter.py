"""What a task of asyncio awaits: it is a future to it, and lets it go on as soon as the decision is there."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from kit.aio_client import ask, new_client
from kit.disc import answer_all, say_nothing
from kit.machine import PATIENCE, until
from kit.sip import RIGHT
from kit.wire import build_answer

from auth_diameter import AsyncAuthDiameter, Config, Framer, Message
from auth_diameter._core.path.waiter import Waiter
from auth_diameter.decision import Cause


class Disc:
    """In the place of a connection's transport: it answers when the test says so."""

    def __init__(self, client):
        self.client = client
        self.questions = []
        transport = client._transport
        peer = transport.pool.peers[0]
        peer.opening = 1
        transport._check_open()
        self.connection = transport.pool.opened(peer, self, asyncio.get_running_loop().time())

    def write(self, data):
        self.questions += [Message.decode(question) for question in Framer().feed(data)]

    def is_closing(self):
        return False

    def abort(self):
        pass

    def answer(self):
        """All questions are answered in one read: right credentials."""
        answers = [build_answer(question) for question in self.questions]
        self.questions.clear()
        self.client._transport._received(self.connection, b"".join(answers))


def played(scenario):
    """Run `scenario(client, disc)` in a loop of each kind."""

    async def main():
        async with AsyncAuthDiameter(Config()) as client:
            disc = Disc(client)
            result = await scenario(client, disc)
            client._transport.pool.closed(disc.connection, 0.0)
            return result

    return main


def suspended(client):
    """What a task gets that awaits a decision, as asyncio sees it."""
    pending = client.diameter_www_authorize(RIGHT, "$fd")
    return pending, pending.send(None)


def test_tasks_go_on_in_the_callback_that_brings_their_answers(run):
    """Not in a later turn of the loop; each in its own context."""
    number = contextvars.ContextVar("number")
    seen = []

    async def one(client, i):
        number.set(i)
        decision = await ask(client)
        seen.append((i, number.get(), bool(decision), asyncio.current_task()))

    async def scenario(client, disc):
        tasks = [asyncio.create_task(one(client, i)) for i in range(3)]
        await until(lambda: len(disc.questions) == 3)
        before = contextvars.copy_context().get(number)
        after = []

        def answer():
            disc.answer()
            after.append((len(seen), contextvars.copy_context().get(number), asyncio.current_task()))

        asyncio.get_running_loop().call_soon(answer)
        await asyncio.gather(*tasks)
        assert after == [(3, before, None)], "in the callback itself"
        assert seen == [(i, i, True, tasks[i]) for i in range(3)]

    run(played(scenario))


def test_tasks_go_on_later_where_another_task_brings_their_answers(run):
    async def scenario(client, disc):
        tasks = [asyncio.create_task(ask(client)) for _ in range(3)]
        await until(lambda: len(disc.questions) == 3)
        disc.answer()  # in this task: no other may go on meanwhile
        assert not any(task.done() for task in tasks)
        assert all(await asyncio.gather(*tasks))

    run(played(scenario))


def test_a_task_that_goes_on_may_ask_again(run):
    async def twice(client):
        return [bool(await ask(client)) for _ in range(2)]

    async def scenario(client, disc):
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(twice(client)) for _ in range(3)]
        for _ in range(2):
            await until(lambda: len(disc.questions) == 3)
            loop.call_soon(disc.answer)
            await asyncio.sleep(0)
        assert await asyncio.gather(*tasks) == [[True, True]] * 3

    run(played(scenario))


def test_a_task_shares_the_context_of_whoever_brings_its_answer(run):
    """A context cannot be entered twice; the task goes on later."""

    async def scenario(client, disc):
        loop = asyncio.get_running_loop()
        context = contextvars.copy_context()
        task = loop.create_task(ask(client), context=context)
        await until(lambda: disc.questions)
        loop.call_soon(disc.answer, context=context)
        assert await task

    run(played(scenario))


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=["exit", "interrupt"])
@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_a_task_that_ends_the_program_ends_it(fake_disc, kind, error):
    """However it was woken; and no other task is kept from its decision."""
    factory = asyncio.new_event_loop if kind == "asyncio" else pytest.importorskip("uvloop").new_event_loop
    go_on = threading.Event()
    decided = []

    def late(connection, questions):
        go_on.wait(PATIENCE)
        answer_all(connection, questions)

    async def end(client):
        await ask(client)
        raise error

    async def other(client):
        decided.append(await ask(client))

    async def main():
        async with new_client(fake_disc(late)) as client:
            tasks = [asyncio.ensure_future(work(client)) for work in (end, other)]
            asyncio.get_running_loop().call_later(0.05, go_on.set)
            await asyncio.wait(tasks)
            await asyncio.sleep(PATIENCE)

    with pytest.raises(type(error)), asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    assert len(decided) == 1


def test_the_task_written_in_python_takes_it_too(fake_disc, run):
    """Its protocol for futures is that of the one in C."""

    async def main():
        async with new_client(fake_disc()) as client:
            loop = asyncio.get_running_loop()
            assert await asyncio.tasks._PyTask(ask(client), loop=loop)
            task = asyncio.tasks._PyTask(client.diameter_www_authorize(RIGHT, "$fd"), loop=loop)
            assert await task

    run(main)


@pytest.mark.parametrize("message", [(), ("enough",)])
def test_a_task_is_cancelled_while_it_waits(run, message):
    async def scenario(client, disc):
        task = asyncio.create_task(ask(client))
        await until(lambda: disc.questions)
        task.cancel(*message)
        disc.answer()  # too late
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        assert cancelled.value.args == message
        assert client.counts[Cause.AUTHORIZED] == 1

    run(played(scenario))


def test_what_asyncio_reads(run):
    async def scenario(client, disc):
        pending, waiter = suspended(client)
        assert isinstance(waiter, Waiter)
        assert waiter._asyncio_future_blocking
        assert waiter.get_loop() is asyncio.get_running_loop()
        assert (waiter.done(), waiter.cancelled()) == (False, False)
        for method in (waiter.result, waiter.exception):
            with pytest.raises(asyncio.InvalidStateError):
                method()
        await until(lambda: disc.questions)
        disc.answer()
        assert (waiter.done(), waiter.cancelled()) == (True, False)
        assert waiter.exception() is None
        called = []
        waiter.add_done_callback(called.append)
        await until(lambda: called == [waiter])
        assert not waiter.cancel()
        with pytest.raises(StopIteration) as end:
            pending.send(None)
        assert end.value.value is waiter.result()
        assert end.value.value

    run(played(scenario))


def test_a_cancelled_one(run):
    async def scenario(client, disc):
        _, waiter = suspended(client)
        assert waiter.cancel("why")
        assert (waiter.done(), waiter.cancelled()) == (True, True)
        for method in (waiter.result, waiter.exception):
            with pytest.raises(asyncio.CancelledError, match="why"):
                method()
        await until(lambda: disc.questions)
        disc.answer()
        assert waiter.cancelled()

    run(played(scenario))


def test_who_does_not_wait_is_told(run):
    async def scenario(client, disc):
        pending, waiter = suspended(client)
        with pytest.raises(RuntimeError, match="not awaited"):
            pending.send(None)
        waiter.add_done_callback(print)
        with pytest.raises(RuntimeError, match="awaited once"):
            waiter.add_done_callback(print)
        with pytest.raises(RuntimeError, match="awaited once"):
            await pending

    run(played(scenario))


def test_an_exception_goes_to_the_await(run):
    async def scenario(client, disc):
        begun, _ = suspended(client)
        fresh = client.diameter_www_authorize(RIGHT, "$fd")
        for pending in (begun, fresh):
            with pytest.raises(KeyError, match="mine"):
                pending.throw(KeyError("mine"))
        for pending in (fresh, client.diameter_www_authorize(RIGHT, "$fd")):
            pending.close()
            with pytest.raises(RuntimeError, match="awaited once"):
                await pending

    run(played(scenario))


def test_one_loop_after_another(fake_disc):
    """The loop that ran last is remembered, and another one is noticed."""
    client = new_client(fake_disc(say_nothing))
    waiters = []

    async def main():
        pending, waiter = suspended(client)
        waiters.append((waiter.get_loop(), asyncio.get_running_loop()))
        pending.close()

    asyncio.run(main())
    client._after_fork()  # as in a child, which has a loop of its own
    asyncio.run(main())
    assert [found is running for found, running in waiters] == [True, True]


def test_nobody_else_makes_one():
    with pytest.raises(TypeError, match="comes from"):
        Waiter()
