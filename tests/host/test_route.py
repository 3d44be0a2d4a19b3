"""Route scripts: what they may do, what becomes of those that fail, how they are loaded."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import sys
import weakref

import pytest
from kit.machine import until

import auth_diameter as ad
from auth_diameter.host import server as host_module
from auth_diameter.host import turn_limit
from auth_diameter.host.route import load_route

GROUP_ROUTE = """
async def request_route(request, auth):
    decision = await auth.diameter_proxy_authorize(request, "$fd")
    if not decision:
        return decision
    if not await auth.diameter_is_user_in(request, "Credentials", "GROUP"):
        return request.reply(403, "Not In Group")
    return request.reply(202, "Accepted", [("X-Route", "script")])
"""


def test_a_route_decides(run, script):
    route = load_route(script(GROUP_ROUTE.replace("GROUP", "voicemail")))
    first, second = run(lambda host, phone: phone.log_in("INVITE"), route)
    assert (first.status, second.status, second.reason) == (407, 202, "Accepted")
    assert second.header("X-Route") == "script"


def test_a_route_that_checks_a_group(run, script):
    route = load_route(script(GROUP_ROUTE.replace("GROUP", "managers")))
    _, second = run(lambda host, phone: phone.log_in("INVITE"), route)
    assert (second.status, second.reason) == (403, "Not In Group")


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview"])
def test_a_route_may_return_anything_like_bytes(run, script, kind):
    text = f"async def request_route(request, auth):\n    return {kind}(request.reply(200, 'OK'))\n"
    assert run(lambda host, phone: phone.call(), load_route(script(text))).status == 200


@pytest.mark.parametrize("broken", ["bytes(70_000)", "bytearray(70_000)"])
def test_a_reply_that_cannot_be_sent_takes_no_other_along(run, script, monkeypatch, broken):
    """65,507 bytes is what a datagram holds. Those of one turn of the loop leave together."""
    monkeypatch.setattr(host_module, "AMPLIFICATION", 1000)
    text = (
        "async def request_route(request, auth):\n"
        f"    return {broken} if request.call_id == 'c50' else request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        for number in range(100):
            phone.send(phone.request(call_id=f"c{number}"))
        return {(await phone.receive()).header("Call-ID") for _ in range(99)}

    assert run(scenario, load_route(script(text))) == {f"c{number}" for number in range(100) if number != 50}


def test_none_sends_nothing(run, script):
    text = (
        "async def request_route(request, auth):\n"
        "    return request.reply(200, 'OK') if request.method == 'MESSAGE' else None\n"
    )

    async def scenario(host, phone):
        phone.send(phone.request())
        await phone.expect_silence()

    run(scenario, load_route(script(text)))


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        ("raise KeyError('secret sauce')", "KeyError"),
        ("return 200", "TypeError: request_route returned int"),
        ("return 'SIP/2.0 200 OK'", "TypeError: request_route returned str"),
        ("return True", "TypeError: request_route returned bool"),
        ("import sys; sys.exit(1)", "SystemExit"),
        ("return await auth.diameter_www_authorize(request, '$nope')", "ConfigError"),
        ("return request.reply(200, 'O\\r\\nK')", "ConfigError"),
    ],
)
@pytest.mark.usefixtures("one_line_of_each_kind")
def test_a_route_that_fails_is_logged_and_answered_500(run, script, caplog, body, logged):
    """The service goes on; the client learns no more than that."""

    async def scenario(host, phone):
        return [await phone.call() for _ in range(2)]

    route = load_route(script(f"async def request_route(request, auth):\n    {body}\n"))
    for reply in run(scenario, route):
        assert (reply.status, reply.reason) == (500, "Server Internal Error")
        assert not any("secret" in value for _, value in reply.headers)
    # A stranger's requests may make it fail as often as he likes, and must not fill a disk.
    [_] = [record for record in caplog.records if record.name == "auth_diameter.host"]
    assert logged in caplog.text


def test_no_more_routes_run_than_there_is_room_for(run, script, monkeypatch):
    """A flood, and routes that wait: the excess costs a 503 and no memory."""
    monkeypatch.setattr(host_module, "MOST_ROUTES", 3)
    text = (
        "import asyncio\n"
        "gate = asyncio.Event()\n"
        "async def request_route(request, auth):\n"
        "    if request.call_id == 'go':\n"
        "        gate.set()\n"
        "    await gate.wait()\n"
        "    return request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        for call_id in ("1", "2", "3", "4", "5"):
            phone.send(phone.request(call_id=call_id))
        refused = [await phone.receive() for _ in range(2)]
        ended = host._scripts.calls[0]
        ended.task.cancel()
        while ended in host._scripts.calls:
            await asyncio.sleep(0)
        phone.send(phone.request(call_id="go"))
        return refused, await phone.receive(), [await phone.receive() for _ in range(3)]

    refused, cancelled, served = run(scenario, load_route(script(text)))
    assert cancelled.status == 500
    assert [(reply.status, reply.header("Retry-After")) for reply in refused] == [(503, "2")] * 2
    assert {reply.header("Call-ID") for reply in refused} == {"4", "5"}
    assert [reply.status for reply in served] == [200] * 3


def test_what_a_route_has_no_time_for_gets_503_at_once(run, script):
    """Each keeps the loop for 10 ms, so that the next turn takes on what `shedding` says."""
    text = (
        "import time\n"
        "async def request_route(request, auth):\n"
        "    time.sleep(0.01)\n"
        "    return request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        replies = []
        for burst in (20, 60):
            for number in range(burst):
                phone.send(phone.request(call_id=f"{burst}-{number}"))
            replies.append([await phone.receive() for _ in range(burst)])
        return replies, host.refused

    (first, second), refused = run(scenario, load_route(script(text)))
    assert [reply.status for reply in first] == [200] * 20  # nothing was known yet
    assert refused == 60 - turn_limit._LEAST
    # The refusals come first: they wait for no route.
    assert [(reply.status, reply.header("Retry-After")) for reply in second[:refused]] == [
        (503, "2")
    ] * refused
    assert [reply.status for reply in second[refused:]] == [200] * turn_limit._LEAST


def test_routes_run_beside_each_other(run, script):
    """One that waits does not hold up the others."""
    text = (
        "import asyncio\n"
        "gate = asyncio.Event()\n"
        "async def request_route(request, auth):\n"
        "    if request.call_id == 'first':\n"
        "        await gate.wait()\n"
        "    gate.set()\n"
        "    return request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        for call_id in ("first", "second"):
            phone.send(phone.request(call_id=call_id))
        return [(await phone.receive()).header("Call-ID") for _ in range(2)]

    assert run(scenario, load_route(script(text))) == ["second", "first"]


def test_routes_are_bounded_by_the_bytes_of_their_requests(run, monkeypatch):
    """Large ones while DISC hangs: what is too much gets 503, and when they have ended nothing does."""
    monkeypatch.setattr(host_module, "MOST_BYTES", 3000)

    async def scenario(host, phone):
        def send():
            phone.send(phone.request("MESSAGE", ("X", "x" * 1000)))

        for _ in range(3):
            send()
        found = [(await phone.receive()).status]
        go_on.set()
        found += [(await phone.receive()).status for _ in range(2)]
        for _ in range(10):
            send()
            found.append((await phone.receive()).status)
        return found, host.refused

    async def route(request, auth):
        await go_on.wait()
        return request.reply(200, "OK")

    go_on = asyncio.Event()
    assert run(scenario, route) == ([503] + 12 * [200], 1)


# --- asyncio in a script --------------------------------------------------------------------------------

# Each is the body of a script; `ask()` is one decision.
ASYNCIO = {
    "sleep": "await asyncio.sleep(0)\n    return await ask()",
    "timeout": "async with asyncio.timeout(60):\n        return await ask()",
    "wait_for": "return await asyncio.wait_for(ask(), 60)",
    "gather": "return (await asyncio.gather(ask(), ask()))[1]",
    "shield": "return await asyncio.shield(ask())",
    "create_task": "return await asyncio.create_task(ask())",
    "TaskGroup": "async with asyncio.TaskGroup() as group:\n"
    "        task = group.create_task(ask())\n"
    "    return task.result()",
    "wait": "done, _ = await asyncio.wait([asyncio.ensure_future(ask())])\n    return done.pop().result()",
    "to_thread": "await asyncio.to_thread(len, 'x')\n    return await ask()",
    "Lock": "async with asyncio.Lock():\n        return await ask()",
    "as_completed": "return await next(iter(asyncio.as_completed([ask()])))",
}


@pytest.mark.parametrize("body", ASYNCIO)
def test_all_of_asyncio_works_in_a_script(run, script, body):
    text = (
        "import asyncio\n"
        "async def request_route(request, auth):\n"
        "    def ask():\n"
        "        return auth.diameter_proxy_authorize(request, '$fd')\n"
        f"    {ASYNCIO[body]}\n"
    )
    assert run(lambda host, phone: phone.call("INVITE"), load_route(script(text))).status == 407


def test_a_script_runs_in_a_task_of_asyncio_with_a_context_of_its_own(run):
    number = contextvars.ContextVar("number", default="none")
    tasks = {}

    async def route(request, auth):
        task = asyncio.current_task()
        before = number.get()
        number.set(request.call_id)
        await auth.diameter_proxy_authorize(request, "$fd")
        assert asyncio.current_task() is task
        assert task in asyncio.all_tasks()
        tasks[task] = before, number.get() == request.call_id
        return request.reply(200, "OK")

    async def scenario(host, phone):
        for call_id in ("one", "two"):
            phone.send(phone.request(call_id=call_id))
        statuses = [(await phone.receive()).status for _ in range(2)]
        for task in tasks:
            assert type(task) is asyncio.Task
            assert task.get_name() == "request_route"
            await task  # it has ended, and raised nothing
        return statuses

    assert run(scenario, route) == [200, 200]
    assert list(tasks.values()) == [("none", True)] * 2


def test_a_timeout_in_a_script(run):
    async def route(request, auth):
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return request.reply(480, "Late")

    assert run(lambda host, phone: phone.call(), route).status == 480


@pytest.mark.parametrize("begun", [False, True])
def test_a_script_that_is_cancelled_gets_its_request_500(run, caplog, begun):
    """Also before its first step; nothing is logged, since nothing failed."""
    steps = []

    async def route(request, auth):
        steps.append(request)
        await asyncio.Event().wait()

    async def scenario(host, phone):
        loop = asyncio.get_running_loop()
        if begun:
            phone.send(phone.request())
            await until(lambda: steps)
        else:
            host._path.take(phone.request(), phone.local, loop.time())
        [call] = host._scripts.calls
        call.task.cancel()
        reply = await phone.receive()
        return reply.status, host._scripts.calls, host.under_way

    assert run(scenario, route) == (500, [], 0)
    assert len(steps) == begun
    assert not caplog.records


class Panic(BaseException):
    """As extensions in other languages raise it; no Exception."""


def test_whatever_ends_a_script_its_request_is_ended(run, caplog):
    """A place that is never given back would be missing for ever."""

    async def panic(request, auth):
        raise Panic

    async def exhausted(request, auth):
        raise GeneratorExit

    async def closes_itself(request, auth):
        with contextlib.suppress(ValueError):  # it runs
            asyncio.current_task().get_coro().close()
        await asyncio.sleep(0)
        return request.reply(480, "Still Here")

    async def scenario(host, phone):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        statuses = []
        for route in (panic, exhausted, closes_itself):
            host.use_route(route)
            statuses.append((await phone.call()).status)
        return statuses, host._scripts.calls, host.under_way

    assert run(scenario, closes_itself) == ([500, 500, 480], [], 0)


def test_a_log_that_fails_costs_no_request_its_end(run):
    async def fails(request, auth):
        raise ValueError("of the script")

    async def too_large(request, auth):
        return b"x" * 60_000

    class Broken(logging.Filter):
        def filter(self, record):
            raise RuntimeError("of the log")

    async def scenario(host, phone):
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        broken = Broken()
        logging.getLogger("auth_diameter.host").addFilter(broken)
        try:
            statuses = []
            for route in (fails, too_large):
                host.use_route(route)
                statuses.append((await phone.call()).status)
            return statuses, host._scripts.calls, host.under_way
        finally:
            logging.getLogger("auth_diameter.host").removeFilter(broken)

    assert run(scenario, fails) == ([500, 400], [], 0)


def test_the_task_of_a_script_shows_its_stack(run):
    """For those who look why it hangs."""
    begun = asyncio.Event()

    async def waits(request, auth):
        begun.set()
        await asyncio.Event().wait()

    async def scenario(host, phone):
        phone.send(phone.request())
        await begun.wait()
        [call] = host._scripts.calls
        [frame] = call.task.get_stack()
        return frame.f_code.co_name, "waits" in repr(call.task)

    assert run(scenario, waits) == ("waits", True)


def test_a_route_may_return_any_awaitable(run):
    """It need not be a coroutine."""

    def route(request, auth):
        return auth.diameter_proxy_authorize(request, "$fd")

    def cancelled(request, auth):
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.cancel)
        return future

    async def scenario(host, phone):
        statuses = [(await phone.call("INVITE")).status]
        host.use_route(cancelled)
        return [*statuses, (await phone.call("INVITE")).status]

    assert run(scenario, route) == [407, 500]


@pytest.mark.parametrize("at_once", [False, True])
def test_a_task_factory_of_the_script_makes_the_tasks(run, at_once):
    """Such as that of Python 3.12, whose tasks run at once."""
    if at_once and not hasattr(asyncio, "eager_task_factory"):
        pytest.skip("needs Python 3.12")
    made = []

    def factory(loop, coroutine, **settings):
        settings.pop("eager_start", None)  # uvloop's, which not every factory of asyncio knows
        if at_once:
            made.append(asyncio.eager_task_factory(loop, coroutine, **settings))
        else:
            made.append(asyncio.Task(coroutine, loop=loop, **settings))
        return made[-1]

    async def route(request, auth):
        return request.reply(200, "OK")

    async def scenario(host, phone):
        asyncio.get_running_loop().set_task_factory(factory)
        status = (await phone.call()).status
        asyncio.get_running_loop().set_task_factory(None)
        return status, host._scripts.calls

    assert run(scenario, route) == (200, [])
    assert made


def test_a_task_of_a_script_that_has_ended_needs_no_collector(run):
    ended = []

    async def route(request, auth):
        task = asyncio.current_task()
        ended.append(weakref.ref(task))
        return await auth.diameter_proxy_authorize(request, "$fd")

    async def scenario(host, phone):
        gc.disable()
        try:
            await phone.call("INVITE")
            await until(lambda: ended[0]() is None)
        finally:
            gc.enable()

    run(scenario, route)


def test_a_call_that_has_ended_does_not_go_on(run):
    async def route(request, auth):
        return await asyncio.Event().wait()

    async def scenario(host, phone):
        phone.send(phone.request())
        await until(lambda: host._scripts.calls)
        [call] = host._scripts.calls
        call.task.cancel()
        assert (await phone.receive()).status == 500
        with pytest.raises(RuntimeError, match="has ended"):
            call.send(None)
        call.give_up(b"too late")
        await asyncio.sleep(0.01)
        assert phone.replies.empty()
        assert host.under_way == 0

    run(scenario, route)


# --- loading a script ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", ", line 1: invalid syntax"),
        ("x = 1\ny = (\n", ", line 2: '\\(' was never closed"),
        ("x = 1\nraise KeyError('boo')\n", ", line 2: KeyError: 'boo'"),
        ("\nimport nowhere_to_be_found\n", ", line 2: ModuleNotFoundError: No module named"),
        ("open('/nowhere/to/be/found')\n", ", line 1: FileNotFoundError: "),
        ("import sys\nsys.exit('bye')\n", ", line 2: SystemExit: bye"),
        ("", "expected async def request_route"),
        ("def request_route(request, auth): pass\n", "expected async def request_route"),
        ("request_route = 3\n", "expected async def request_route"),
        (
            "\nasync def request_route(request): pass\n",
            r", line 2: request_route must take \(request, auth\)",
        ),
        ("x = '\0'\n", "null bytes"),
    ],
)
def test_an_error_in_a_script_is_one_line_with_file_and_place(script, text, message):
    path = script(text)
    with pytest.raises(ad.ConfigError, match=message) as error:
        load_route(path)
    assert str(error.value).startswith(f"route {path}")
    assert "\n" not in str(error.value)


def test_a_script_that_is_not_there(tmp_path):
    with pytest.raises(ad.ConfigError, match=r"route .*nope\.py: No such file"):
        load_route(str(tmp_path / "nope.py"))


def test_a_script_that_is_a_directory(tmp_path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ad.ConfigError, match=r"folder\.py: Is a directory"):
        load_route(str(tmp_path / "folder.py"))


def test_a_script_is_a_py_file(script):
    with pytest.raises(ad.ConfigError, match=r"not a Python file \(\.py\)"):
        load_route(script("", "route.txt"))


def test_a_relative_path_and_a_dataclass_in_a_script(script, tmp_path, monkeypatch):
    """Dataclasses look their module up by name."""
    script(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Limit:\n"
        "    calls: int = 3\n"
        "async def request_route(request, auth, limit=Limit()):\n"
        "    return None\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_route("route.py").__name__ == "request_route"


def test_a_script_that_is_changed_twice_within_a_second(script):
    """Python's own cache of compiled modules knows a file by its second and its size."""
    for number in (1, 2, 3):
        text = f"NUMBER = {number}\nasync def request_route(request, auth):\n    pass\n"
        assert load_route(script(text)).__globals__["NUMBER"] == number


def test_a_script_that_cannot_be_loaded_leaves_the_module_of_the_one_before(script):
    """Its dataclasses and pickles look it up by its name."""
    route = load_route(script("async def request_route(request, auth):\n    pass\n"))
    module = sys.modules[route.__module__]
    with pytest.raises(ad.ConfigError):
        load_route(script("async def request_route(request, auth):\n    pass\n1 / 0\n", "broken.py"))
    assert sys.modules[route.__module__] is module


# --- SIGHUP --------------------------------------------------------------------------------------------


def test_another_script_for_the_requests_to_come(run, script):
    one = load_route(
        script("async def request_route(request, auth):\n    return request.reply(201, 'One')\n")
    )

    async def scenario(host, phone):
        before = await phone.call()
        host.use_route(
            load_route(
                script("async def request_route(request, auth):\n    return request.reply(202, 'Two')\n")
            )
        )
        return before.status, (await phone.call()).status

    assert run(scenario, one) == (201, 202)
