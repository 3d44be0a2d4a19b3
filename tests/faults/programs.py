"""Programs that use a client of ours as one should not, each in a process of its own.

    python -m faults.programs NAME PORT APPLICATION

They end with status 0 and without a word where all is well; warnings are errors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time

from faults.load import KEY, SUBSCRIBERS, Subscriber
from faults.spoken import config_for, unavailable

from auth_diameter import AsyncAuthDiameter, AuthDiameter
from auth_diameter.verifier.nonces import Nonces

_CHILDREN = 8
_CALLS = 100


def _requests(first: int, step: int) -> list[tuple[Subscriber, bytes]]:
    nonces = Nonces(KEY)
    subscribers = [Subscriber(index % SUBSCRIBERS) for index in range(first, first + _CALLS * step, step)]
    return [(each, each.request(nonces, 1, ("127.0.0.1", 5060), time.time())) for each in subscribers]


def _right(auth: AuthDiameter, first: int, step: int, otherwise: int = 0) -> bool:
    """Whether so many calls got the verdict on their subscriber, or else this status."""
    for subscriber, request in _requests(first, step):
        decision = auth.diameter_www_authorize(request, "$fd")
        realm = f'realm="{subscriber.domain}"'.encode()
        if decision.status == otherwise:
            continue
        if (decision.status or 200) != subscriber.expected:
            return False
        if decision.status == 401 and realm not in (decision.reply or b""):
            return False
    return True


def fork(port: int, application: str) -> int:
    """A client is used, then the process forks, and all use it at once, the parent as well.

    With standard Diameter the children have the identity of their parent. DISC, with which it is connected,
    refuses their connections (RFC 6733, 2.1), so that they may get no verdict.
    """
    refused = 0
    if application != "disc":
        refused = unavailable(application)
        logging.disable()  # each child would say why it is refused
    with AuthDiameter(config_for(port, application=application)) as auth:
        right = _right(auth, 0, 1)
        children = []
        for child in range(_CHILDREN):
            pid = os.fork()
            if pid == 0:
                # No clean-up of the parent's in the child, but for the client.
                status = 1
                try:
                    status = 0 if _right(auth, child, 7, refused) else 1
                    auth.close()
                finally:
                    os._exit(status)
            children.append(pid)
        right = _right(auth, 3, 5) and right
        statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    return 0 if right and not any(statuses) else 1


def exit_in_threads(port: int, application: str) -> int:
    """The interpreter exits while threads wait for a DISC that hangs."""
    auth = AuthDiameter(config_for(port, application=application))
    for _, request in _requests(0, 1):
        threading.Thread(target=auth.diameter_www_authorize, args=(request, "$fd"), daemon=True).start()
    time.sleep(0.3)
    return 0


def exit_in_tasks(port: int, application: str) -> int:
    """The loop ends while tasks wait for a DISC that hangs."""

    async def main() -> None:
        async with AsyncAuthDiameter(config_for(port, application=application, who="asyncio")) as auth:
            for _, request in _requests(0, 1):
                task = asyncio.create_task(auth.diameter_www_authorize(request, "$fd"))
                tasks.add(task)
            await asyncio.sleep(0.3)

    tasks: set[object] = set()
    asyncio.run(main())
    return 0


def nothing(port: int, application: str) -> int:
    """Nobody is asked: what the others take without their calls."""
    with AuthDiameter(config_for(port, application=application)):
        _requests(0, 1)
        time.sleep(0.3)
    return 0


PROGRAMS = {each.__name__: each for each in (fork, exit_in_threads, exit_in_tasks, nothing)}

if __name__ == "__main__":
    sys.exit(PROGRAMS[sys.argv[1]](int(sys.argv[2]), sys.argv[3]))
