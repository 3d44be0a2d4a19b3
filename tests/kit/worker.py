"""A client of worker processes, and what it is asked."""

from __future__ import annotations

import time
from typing import Any

from kit.sip import RIGHT

from auth_diameter import Config, Decision, SipRequest
from auth_diameter.client.worker import Common, WorkerAuthDiameter

SOURCE = ("192.0.2.7", 5060)


def new_worker(*discs: Any, **settings: Any) -> WorkerAuthDiameter:
    """A client that asks these."""
    settings = {"timeout": 5.0, "peers": [disc.address for disc in discs], **settings}
    return WorkerAuthDiameter(Config(**settings), Common())


def ask(worker: WorkerAuthDiameter, request: bytes = RIGHT) -> Decision:
    return worker.diameter_www_authorize(SipRequest(request, SOURCE), "$fd")


def calm(worker: WorkerAuthDiameter) -> None:
    """Asks until compiled code does: the first answer is a change, which is taken over with the second."""
    assert all(ask(worker) for _ in range(3))


def slow(script: Any, seconds: float) -> Any:
    """A script of a DISC that takes its time."""

    def work(connection: Any, questions: Any) -> None:
        time.sleep(seconds)
        script(connection, questions)

    return work


def refuse(connection: Any, questions: Any) -> None:
    """A script that finds all credentials wrong."""
    from kit.wire import build_answer

    connection.send(b"".join(build_answer(question, 5003) for question in questions))
