"""Our adapter inside Kamailio: in a KEMI script, and by python_exec in Kamailio's own language.

The routes are those of kamailio.cfg, with registrations saved, and sipp plays the phones. What is done while
Kamailio runs is done as an operator does it, by RPC. `Kamailio.lines` are the adapter's on Kamailio's log.
"""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from kit.kamailio import Kamailio
from kit.kemi import ENGINES, FOLDER, MODULES, SCRIPT, Programs
from kit.machine import wait_until
from kit.process import Server
from kit.uac import Uac

# -- the servers -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programs(peer: Callable[..., str], unavailable_peer: Callable[[str], None]) -> Programs:
    """Kamailio with its Python, which must be the one that this package is installed for."""
    found = Programs(peer("kamailio", package="kamailio"), peer("kamcmd", package="kamailio"))
    modules = list(Path("/usr/lib").glob("*/kamailio/modules/app_python3.so"))
    if not modules:
        unavailable_peer("app_python3 is not installed; it is in the Debian package kamailio-python3-modules")
    ours = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so"
    if ours.encode() not in modules[0].read_bytes():
        unavailable_peer(f"Kamailio has another Python than these tests: app_python3 does not need {ours}")
    return found


@pytest.fixture
def start_kamailio(
    programs: Programs, start_ours: Callable[..., Server], tmp_path: Path
) -> Iterator[Callable[..., Kamailio]]:
    """Start Kamailio: `start_kamailio(configuration, settings)`, with options of `Kamailio`.

    It ends before DISC, which would wait for its connections.
    """
    with contextlib.ExitStack() as stack:

        def run(configuration: Path, settings: Mapping[str, Any], **options: Any) -> Kamailio:
            options = {"script": SCRIPT, **options}
            server = Kamailio(*programs, configuration, tmp_path, settings=settings, **options)
            return stack.enter_context(server)

        yield run


@pytest.fixture
def disc_server(start_ours: Callable[..., Server], subscribers: Path) -> Server:
    """Our DISC, which tells what it has answered."""
    return start_ours("disc", "--db", subscribers, "--metrics", "0")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """In which language the route is written."""
    return request.param


@pytest.fixture
def local(engine, start_kamailio, subscribers) -> Kamailio:
    """`kemi.configure(db=…)` with four workers: there is no DISC at all."""
    return start_kamailio(ENGINES[engine], {"db": str(subscribers)}, children=4)


# -- scripts of one's own --------------------------------------------------------------------------

# A route with one line or more of its own, which tells on Kamailio's log what a call has returned.
KEMI_SCRIPT = f"""
import sys
sys.path.append({str(FOLDER)!r})
from kemi_script import KSR, kemi

def mod_init():
    return Route()

class Route(kemi.Handler):
    def ksr_request_route(self, msg):
        if KSR.pv.get("$rm") == "OPTIONS":
            KSR.sl.send_reply(200, "OK")
            return 1
%s
        KSR.err(f"code {{code!r}}\\n")
        if code > 0:
            KSR.sl.send_reply(200, "OK")
        return 1
"""
NATIVE_ROUTE = """
loadmodule "xlog.so"
request_route {
    if (is_method("OPTIONS")) {
        sl_send_reply("200", "OK");
        exit;
    }
%s
    $var(code) = $rc;
    xlog("L_ERR", "code $var(code)\\n");
    if ($var(code) > 0) sl_send_reply("200", "OK");
}
"""


@pytest.fixture
def start_script(start_kamailio: Callable[..., Kamailio], tmp_path: Path) -> Callable[..., Kamailio]:
    """Start Kamailio with lines of a route: `start_script(engine, lines, settings)`. `more` is behind it."""

    def run(engine: str, lines: str, settings: Mapping[str, Any], *, more: str = "") -> Kamailio:
        configuration, script = tmp_path / "kamailio.cfg", SCRIPT
        text = f'include_file "{MODULES}"\n'
        if engine == "KEMI":
            script = tmp_path / "script.py"
            script.write_text(KEMI_SCRIPT % textwrap.indent(lines, 8 * " ") + textwrap.indent(more, 4 * " "))
            text += 'cfgengine "python"\n'
        else:
            text += NATIVE_ROUTE % textwrap.indent(lines, 4 * " ") + more
        configuration.write_text(text)
        return start_kamailio(configuration, settings, script=script)

    return run


# -- the phones ------------------------------------------------------------------------------------


@pytest.fixture
def alice(people: dict[str, tuple[str, str]]) -> Iterator[Callable[..., Uac]]:
    """A phone of the group member: `alice(server)`, or from another address."""
    name, password = people["member"]
    with contextlib.ExitStack() as stack:
        yield lambda server, host="127.0.0.1": stack.enter_context(
            Uac(server.address, host=host, name=name, password=password)
        )


@pytest.fixture
def in_background(
    sipp: Callable[..., Any], people: dict[str, tuple[str, str]]
) -> Callable[[Kamailio], contextlib.AbstractContextManager[Future[Any]]]:
    """The member registers 1000 times while a block runs, which begins when sipp has."""

    @contextlib.contextmanager
    def run(server: Kamailio) -> Iterator[Future[Any]]:
        with ThreadPoolExecutor(1) as pool:
            calls = pool.submit(
                sipp, "register.xml", to=server.address, user=people["member"], calls=1000, rate=250
            )
            wait_until(lambda: server.binding("alice"))
            yield calls
            assert not calls.done(), "sipp had ended before"

    return run
