"""The event loops on which clients for asyncio are tested."""

from __future__ import annotations

import asyncio
import gc

import pytest
from kit.machine import PATIENCE


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    """Runs a coroutine function in a loop of each kind; what its callbacks raised fails the test."""
    factory = asyncio.new_event_loop
    if request.param == "uvloop":
        factory = pytest.importorskip("uvloop").new_event_loop

    def run_in_loop(function):
        problems = []

        async def main():
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: problems.append(context))
            async with asyncio.timeout(2 * PATIENCE):
                return await function()

        with asyncio.Runner(loop_factory=factory) as runner:
            result = runner.run(main())
        gc.collect()  # a task's exception that nobody fetched is told when the task goes
        assert problems == []
        return result

    return run_in_loop
