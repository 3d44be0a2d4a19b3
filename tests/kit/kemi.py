"""What the tests of our adapter inside Kamailio have in common; the fixtures are in tests/peers/kemi."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from kit.kamailio import Kamailio
from kit.machine import PATIENCE, wait_until
from kit.process import Server
from kit.uac import Uac

from auth_diameter.lab.uac import Reply

FOLDER = Path(__file__).parents[1] / "peers" / "kemi"
SCRIPT = FOLDER / "kemi_script.py"
MODULES = FOLDER / "modules.cfg"
ENGINES = {"KEMI": FOLDER / "kemi.cfg", "python_exec": FOLDER / "native.cfg"}
TIME_LIMIT = 2.0  # seconds that a question may take: the default of `timeout`


class Programs(NamedTuple):
    """What is installed."""

    kamailio: str
    kamcmd: str


def at(server: Server, timeout: float = PATIENCE) -> dict[str, Any]:
    """The settings for a DISC. A machine that is busy is no fault: there is time for an answer."""
    return {"diameter_client_host": server.host, "diameter_client_port": server.port, "timeout": timeout}


def assert_all_went_well(calls: Any, number: int) -> None:
    """Each call went as its scenario says."""
    assert (calls.successful, calls.failed) == (number, 0), calls.report


def statuses_of(replies: Iterable[Reply]) -> list[int]:
    return [reply.status for reply in replies]


def log_in_until_all_have_spoken(server: Kamailio, phone: Uac) -> None:
    """Logs in until each worker has written one line, and then goes on: no worker writes another."""

    def all_have_spoken() -> bool:
        assert statuses_of(phone.log_in()) == [401, 200]
        return len(server.lines()) == len(server.workers())

    wait_until(all_have_spoken)
    assert [statuses_of(phone.log_in()) for _ in range(10)] == [[401, 200]] * 10
    assert all_have_spoken()


class Odd(NamedTuple):
    """A script of an operator, and what becomes of a call."""

    engine: str
    lines: str
    says: str = ""  # on the log
    code: int = 1
    status: int | None = 200  # of the reply; None: there is none


def codes(server: Kamailio) -> list[int]:
    """What the calls of the script have returned."""
    return [int(code) for code in re.findall(r"\bcode (-?\d+)$", server.err(), re.MULTILINE)]
