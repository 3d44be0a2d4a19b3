"""Our adapter inside Kamailio: in a KEMI script, and by python_exec in Kamailio's own language.

The routes are those of kamailio.cfg, with registrations saved, and sipp plays the phones. What is done while
Kamailio runs is done as an operator does it, by RPC. `Kamailio.lines` are the adapter's on Kamailio's log.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from kit.kamailio import Kamailio
from kit.machine import PATIENCE, wait_until
from kit.process import Server, living
from kit.uac import Uac

from auth_diameter.lab.uac import Reply, parse_reply

pytestmark = pytest.mark.peers

HERE = Path(__file__).parent
SCRIPT = HERE / "kemi_script.py"
MODULES = HERE / "kemi-modules.cfg"
ENGINES = {"KEMI": HERE / "kemi.cfg", "python_exec": HERE / "kemi-native.cfg"}
TIME_LIMIT = 2.0  # seconds that a question may take: the default of `timeout`

Address = tuple[str, int]


class Programs(NamedTuple):
    """What is installed."""

    kamailio: str
    kamcmd: str


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


def at(server: Server, timeout: float = PATIENCE) -> dict[str, Any]:
    """The settings for a DISC. A machine that is busy is no fault: there is time for an answer."""
    return {"diameter_client_host": server.host, "diameter_client_port": server.port, "timeout": timeout}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """In which language the route is written."""
    return request.param


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


def assert_all_went_well(calls: Any, number: int) -> None:
    """Each call went as its scenario says."""
    assert (calls.successful, calls.failed) == (number, 0), calls.report


def statuses_of(replies: Iterable[Reply]) -> list[int]:
    return [reply.status for reply in replies]


# -- what an operator does every day ---------------------------------------------------------------


@pytest.fixture(scope="module", params=ENGINES)
def usual(
    request: pytest.FixtureRequest,
    programs: Programs,
    subscribers: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kamailio]:
    """Kamailio in either language in front of our DISC, on UDP and TCP."""
    folder = tmp_path_factory.mktemp("kamailio")
    with (
        Server("disc", "--db", subscribers) as disc,
        Kamailio(*programs, ENGINES[request.param], folder, script=SCRIPT, settings=at(disc)) as server,
    ):
        yield server
        assert server.lines() == []


@pytest.fixture(params=["u1", "tn"], ids=["UDP", "TCP"])
def transport(
    request: pytest.FixtureRequest,
    peer: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """What sipp speaks: UDP, or TCP with a connection for each call."""
    program = tmp_path / "bin" / "sipp"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nexec {peer("sipp", package="sip-tester")} "$@" -t {request.param} -max_socket 1000\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return request.param


@pytest.fixture
def sipp_by(transport: str, request: pytest.FixtureRequest) -> Callable[..., Any]:
    """`sipp` that speaks what `transport` is."""
    return request.getfixturevalue("sipp")


def test_thousand_registers_are_challenged_and_let_through(usual, sipp_by, people):
    """`diameter_www_authorize("$td")`, then `save("location")`: the binding is there afterwards."""
    calls = sipp_by("register.xml", to=usual.address, user=people["member"], calls=1000, rate=500)
    assert_all_went_well(calls, 1000)
    assert usual.binding("alice").startswith("sip:alice@127.0.0.1:")


def test_invite_of_a_group_member_is_let_through(usual, sipp_by, people):
    """`diameter_proxy_authorize`, then `diameter_is_user_in("Credentials", "voicemail")`."""
    assert_all_went_well(sipp_by("invite.xml", to=usual.address, user=people["member"], calls=100), 100)


def test_invite_of_a_user_outside_the_group_is_forbidden(usual, sipp_by, people):
    """The group check fails in the script; the password was right."""
    calls = sipp_by("invite_refused.xml", to=usual.address, user=people["outsider"], calls=100)
    assert_all_went_well(calls, 100)


@pytest.mark.parametrize("scenario", ["register_refused.xml", "invite_refused.xml"])
def test_wrong_password_is_forbidden(usual, sipp_by, people, scenario):
    """403, and no binding. After five guesses the others are refused unseen, with the same reply."""
    name, _ = people["md5_only"]
    calls = sipp_by(scenario, to=usual.address, user=(name, "not the password"), calls=100)
    assert_all_went_well(calls, 100)
    assert usual.binding(name) == ""


def test_unknown_user_is_forbidden(usual, sipp_by, people):
    """403 as for a wrong password."""
    calls = sipp_by("register_refused.xml", to=usual.address, user=people["unknown"], calls=100)
    assert_all_went_well(calls, 100)


def test_a_byte_that_is_no_utf_8_makes_no_difference(usual, alice):
    """Kamailio decodes a message strictly for Python: one byte of Latin-1 is too much for it."""
    phone = alice(usual)

    def ask(*headers):
        data = phone.request("REGISTER", *headers, ("Subject", "cafe"))
        return phone.ask(data.replace(b"cafe", "café".encode("latin-1")))

    challenged = ask()
    assert challenged.status == 401
    assert ask(phone.answer(challenged)).status == 200


# -- a reload, a restart ---------------------------------------------------------------------------


def test_no_call_fails_while_the_script_is_reloaded(engine, start_kamailio, disc_server, in_background):
    """`app_python.reload`, again and again."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    with in_background(server) as calls:
        for _ in range(10):
            server.reload()
            time.sleep(0.05)
    assert_all_went_well(calls.result(), 1000)
    assert server.lines() == []


def test_no_call_fails_while_the_settings_change(engine, start_kamailio, disc_server, sipp, people):
    """Kamailio loads the script before any call of python_exec: between two about the same request, too.

    Then the second still knows the credentials that the first has found right.
    """
    settings = at(disc_server)
    server = start_kamailio(ENGINES[engine], settings)
    with ThreadPoolExecutor(1) as pool:
        calls = pool.submit(sipp, "invite.xml", to=server.address, user=people["member"], calls=600)
        for number in itertools.count():
            if calls.done():
                break
            server.reload({**settings, "timeout": PATIENCE + number % 2})
            time.sleep(0.02)
    assert_all_went_well(calls.result(), 600)
    assert server.lines() == []


def test_settings_apply_after_a_reload(
    engine, start_kamailio, start_ours, subscribers, tmp_path, in_background, alice
):
    """The script is given another DISC with the same nonce key. The first loses all connections."""
    key = tmp_path / "nonce.key"
    key.write_bytes(os.urandom(32))
    options = ("--db", subscribers, "--nonce-key", key, "--metrics", "0")
    first, second = (start_ours("disc", *options) for _ in range(2))
    server = start_kamailio(ENGINES[engine], at(first))
    with in_background(server) as calls:
        server.reload(at(second))
        wait_until(lambda: "auth_diameter_disc_connections 0.0" in first.metrics())
        first.stop()
    assert_all_went_well(calls.result(), 1000)
    assert server.lines() == []
    second.kill()
    assert alice(server).call().status == 500


def log_in_until_all_have_spoken(server: Kamailio, phone: Uac) -> None:
    """Logs in until each worker has written one line, and then goes on: no worker writes another."""

    def all_have_spoken() -> bool:
        assert statuses_of(phone.log_in()) == [401, 200]
        return len(server.lines()) == len(server.workers())

    wait_until(all_have_spoken)
    assert [statuses_of(phone.log_in()) for _ in range(10)] == [[401, 200]] * 10
    assert all_have_spoken()


def test_a_reload_with_a_wrong_setting_changes_nothing(engine, start_kamailio, disc_server, alice):
    """Each worker says so once, and goes on with the settings before."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    server.reload({"diameter_client_hots": "127.0.0.1"})
    log_in_until_all_have_spoken(server, alice(server))
    assert set(server.lines()) == {
        "auth_diameter: configure: unknown setting 'diameter_client_hots'; is it 'diameter_client_host'?"
    }


def test_phones_go_on_after_a_restart(engine, start_kamailio, disc_server, in_background):
    """All workers are new, and what was sent meanwhile, the phones send again.

    If the reply is lost that a worker was about to send, this is a replay for DISC: it is challenged anew,
    with stale=true, which is a failed call for sipp, and none for a phone.
    """
    server = start_kamailio(ENGINES[engine], at(disc_server))
    with in_background(server) as calls:
        before = server.workers()
        assert server.stop().status == 0
        server.start()
        assert not set(before) & set(server.workers())
    assert calls.result().failed <= len(before), calls.result().report
    assert calls.result().successful + calls.result().failed == 1000
    assert server.lines() == []


def test_kamailio_ends_when_a_worker_is_killed(engine, start_kamailio, disc_server, alice):
    """All its processes end: its own rule. Nothing of ours is in the way of that, or of its next start."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    assert statuses_of(alice(server).log_in()) == [401, 200]
    worker, *others = server.workers()
    os.kill(worker, signal.SIGKILL)
    assert server.wait().status == 1
    assert not set(others) & set(living())
    server.start()
    assert statuses_of(alice(server).log_in()) == [401, 200]


# -- a database in place of DISC -------------------------------------------------------------------


@pytest.fixture
def local(engine, start_kamailio, subscribers) -> Kamailio:
    """`kemi.configure(db=…)` with four workers: there is no DISC at all."""
    return start_kamailio(ENGINES[engine], {"db": str(subscribers)}, children=4)


def test_a_challenge_of_one_worker_is_accepted_by_the_others(local, sipp, people, alice):
    assert_all_went_well(sipp("register.xml", to=local.address, user=people["member"], calls=500), 500)
    assert local.binding("alice")
    assert_all_went_well(sipp("invite.xml", to=local.address, user=people["member"], calls=100), 100)
    phone = alice(local)
    logins = [phone.log_in() for _ in range(20)]
    assert [statuses_of(login) for login in logins] == [[401, 200]] * 20
    assert any(challenged.header("Worker") != let_in.header("Worker") for challenged, let_in in logins)


def test_no_worker_accepts_a_replay(local, alice):
    """The same nonce with the same count is challenged again by each. A retransmission is let in."""
    phone = alice(local)
    challenged = phone.call()
    header = phone.answer(challenged)
    request = phone.request("REGISTER", header)
    assert [phone.ask(request).status for _ in range(8)] == [200] * 8
    replays = [
        phone.call("REGISTER", replayed) for _ in range(20) for replayed in (header, phone.answer(challenged))
    ]
    assert [(reply.status, reply.challenge().stale) for reply in replays] == [(401, True)] * 40
    assert len({reply.header("Worker") for reply in replays}) > 1


def guess_40_times(phone: Uac) -> tuple[list[Reply], float]:
    """Wrong passwords, one after the other, so that no worker gets them all; and how long it took."""
    challenged = phone.call()
    guesses = [phone.answer(challenged, nc=number, password=f"guess {number}") for number in range(1, 41)]
    started = time.monotonic()
    replies = [phone.call("REGISTER", guess) for guess in guesses]
    return replies, time.monotonic() - started


def test_guesses_count_over_all_workers_of_a_database(local, alice):
    """Then the right password is refused, too, from that address, by each worker; from another it is not."""
    phone = alice(local)
    challenged = phone.call()
    replies, _ = guess_40_times(phone)
    assert statuses_of(replies) == [403] * 40
    assert len({reply.header("Worker") for reply in replies}) > 1
    assert phone.call("REGISTER", phone.answer(challenged)).status == 403
    assert statuses_of(alice(local, "127.0.0.2").log_in()) == [401, 200]


def answers(disc: Server, outcome: str) -> int:
    """How often our DISC gave this answer."""
    found = re.search(rf'answers_total{{outcome="{outcome}"}} (\d+)', disc.metrics())
    assert found
    return int(found[1])


def test_guesses_count_over_all_workers_in_front_of_disc(engine, start_kamailio, disc_server, alice):
    """DISC is asked about five of them, and about one more for each second that has passed."""
    server = start_kamailio(ENGINES[engine], at(disc_server), children=4)
    phone = alice(server)
    replies, seconds = guess_40_times(phone)
    assert statuses_of(replies) == [403] * 40
    assert len({reply.header("Worker") for reply in replies}) > 1
    assert 5 <= answers(disc_server, "wrong_digest") <= 5 + seconds
    assert statuses_of(alice(server, "127.0.0.2").log_in()) == [401, 200]


# -- DISC fails ------------------------------------------------------------------------------------


def ask_at_once(phone: Uac, number: int) -> list[tuple[int, float]]:
    """Status and seconds of the replies to requests that are sent once, at once."""
    started = time.monotonic()
    for _ in range(number):
        phone.send(phone.request())
    return [(phone.receive().status, time.monotonic() - started) for _ in range(number)]


def wait_for_401(phone: Uac) -> float:
    """The seconds until a request is challenged again, not refused with 500."""
    started = time.monotonic()
    while (status := phone.call().status) != 401:
        assert status == 500
        time.sleep(0.01)
    return time.monotonic() - started


def test_disc_killed_is_500_at_once_and_back_is_in_use(engine, start_kamailio, disc_server, alice):
    """No worker waits for a time limit; after DISC's return they try within a second."""
    server = start_kamailio(ENGINES[engine], at(disc_server))
    phone = alice(server)
    assert statuses_of(phone.log_in()) == [401, 200]
    disc_server.kill()
    replies = ask_at_once(phone, 12)
    assert [status for status, _ in replies] == [500] * 12
    assert max(seconds for _, seconds in replies) < TIME_LIMIT
    disc_server.start()
    assert wait_for_401(phone) < TIME_LIMIT
    assert [statuses_of(phone.log_in()) for _ in range(10)] == [[401, 200]] * 10


def test_no_worker_waits_long_for_a_disc_that_hangs(engine, start_kamailio, disc_server, alice):
    """Two workers, twelve requests: one time limit for all, not one for each; then a probe now and then."""
    server = start_kamailio(ENGINES[engine], at(disc_server, timeout=TIME_LIMIT))
    phone = alice(server)
    assert [statuses_of(phone.log_in()) for _ in range(4)] == [[401, 200]] * 4
    disc_server.freeze()
    replies = ask_at_once(phone, 12)
    assert [status for status, _ in replies] == [500] * 12
    assert max(seconds for _, seconds in replies) < 2 * TIME_LIMIT
    for _ in range(10):
        ((status, seconds),) = ask_at_once(phone, 1)
        assert status == 500
        assert seconds < TIME_LIMIT / 2
        time.sleep(0.15)
    disc_server.thaw()
    assert wait_for_401(phone) < TIME_LIMIT
    assert [statuses_of(phone.log_in()) for _ in range(10)] == [[401, 200]] * 10
    assert [line for line in server.lines() if "does not answer" in line], server.err()


# -- scripts of one's own --------------------------------------------------------------------------

# A route with one line or more of its own, which tells on Kamailio's log what a call has returned.
KEMI_SCRIPT = f"""
import sys
sys.path.append({str(HERE)!r})
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


class Odd(NamedTuple):
    """A script of an operator, and what becomes of a call."""

    engine: str
    lines: str
    says: str = ""  # on the log
    code: int = 1
    status: int | None = 200  # of the reply; None: there is none


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


def codes(server: Kamailio) -> list[int]:
    """What the calls of the script have returned."""
    return [int(code) for code in re.findall(r"\bcode (-?\d+)$", server.err(), re.MULTILINE)]


REALM = [
    Odd(
        "KEMI", 'KSR.pv.sets("$var(realm)", "siphub.net")\ncode = kemi.diameter_www_authorize("$var(realm)")'
    ),
    Odd("python_exec", '$var(realm) = "siphub.net";\npython_exec("diameter_www_authorize", "$var(realm)");'),
]


@pytest.mark.parametrize("odd", REALM, ids=lambda odd: odd.engine)
def test_the_realm_may_be_in_a_variable_of_the_script(odd, start_script, disc_server, people):
    """Not the domain of the addresses, which is another here."""
    server = start_script(odd.engine, odd.lines, at(disc_server))
    name, password = people["member"]
    with Uac(server.address, name=name, password=password, domain="elsewhere.test") as phone:
        challenged, let_in = phone.log_in()
    assert challenged.challenge().realm == "siphub.net"
    assert let_in.status == 200
    assert codes(server) == [-5, 1]


@pytest.mark.parametrize("text", ["$rd", "$no_such_thing"])
def test_text_that_kamailio_has_put_in_is_not_expanded_again(start_script, disc_server, alice, text):
    """Kamailio expands the argument of python_exec. What a phone wrote there is text, and no variable.

    Otherwise the phone could ask for the value of any, such as $env(PASSWORD). Our DISC serves no such realm.
    """
    lines = 'python_exec("diameter_www_authorize", "$hdr(Realm)");'
    server = start_script("python_exec", lines, at(disc_server))
    phone = alice(server)
    assert phone.call("REGISTER", ("Realm", "siphub.net")).status == 401
    assert phone.call("REGISTER", ("Realm", text)).status == 403
    assert server.lines() == []


GROUP = [
    Odd(
        "KEMI",
        'if KSR.pv.get("$rU") == "voicemail":\n'
        '    KSR.pv.sets("$ru", "sip:alice@siphub.net")\n'
        'code = kemi.diameter_is_user_in("Request-URI", "voicemail")',
    ),
    Odd(
        "python_exec",
        'if ($rU == "voicemail") $ru = "sip:alice@siphub.net";\n'
        'python_exec("diameter_is_user_in", "Request-URI,voicemail");',
    ),
]


@pytest.mark.parametrize("odd", GROUP, ids=lambda odd: odd.engine)
def test_a_request_uri_that_the_script_has_changed_counts(odd, start_script, disc_server, alice):
    """The voicemail's number is an alias of alice, who is in the group; bob is not."""
    server = start_script(odd.engine, odd.lines, at(disc_server))
    phone = alice(server)
    assert phone.call("MESSAGE", uri="sip:voicemail@siphub.net").status == 200
    phone.send(phone.request("MESSAGE", uri="sip:bob@siphub.net"))
    wait_until(lambda: len(codes(server)) == 2)
    assert codes(server) == [1, -1]
    assert server.lines() == []


# -- faults of a script ----------------------------------------------------------------------------

FAULTS = {
    "unknown pseudo-variable": Odd(
        "KEMI",
        'code = kemi.diameter_www_authorize("$no_such_thing")',
        "diameter_www_authorize: realm '$no_such_thing': "
        "unknown pseudo-variable; a dollar sign is written $$",
        -5,
        500,
    ),
    "realm is no text": Odd(
        "KEMI",
        "code = kemi.diameter_proxy_authorize(5)",
        "diameter_proxy_authorize: realm: expected text, not 5",
        -5,
        500,
    ),
    "who is nobody": Odd(
        "KEMI",
        'code = kemi.diameter_is_user_in("Contact", "voicemail")',
        "diameter_is_user_in: who 'Contact': expected Request-URI, To, From or Credentials",
        -1,
        None,
    ),
    "group has no name": Odd(
        "python_exec",
        'python_exec("diameter_is_user_in", "From,");',
        "diameter_is_user_in: group: expected a name",
        -1,
        None,
    ),
    "no comma": Odd(
        "python_exec",
        'python_exec("diameter_is_user_in", "Credentials");',
        'diameter_is_user_in: expected "who,group", such as "Credentials,voicemail", not \'Credentials\'',
        -1,
        None,
    ),
    "no argument": Odd(
        "python_exec",
        'python_exec("diameter_is_user_in");',
        'diameter_is_user_in: expected "who,group", such as "Credentials,voicemail", not \'\'',
        -1,
        None,
    ),
}


@pytest.mark.parametrize("odd", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_the_script_has_one_line_that_says_what_to_do(odd, start_script, disc_server, alice):
    """The call refuses: with 500 where the C module replies. Kamailio goes on."""
    server = start_script(odd.engine, odd.lines, at(disc_server))
    phone = alice(server)
    for number in (1, 2):
        phone.send(phone.request())
        assert server.wait_for_lines(number) == [f"auth_diameter: {odd.says}"] * number
        assert codes(server) == [odd.code] * number
        reply = phone.receive_bytes(0.1)
        assert (reply and parse_reply(reply).status) == odd.status
        assert phone.call("OPTIONS").status == 200


SCRIPT_HEAD = """
import os, site
site.addsitedir(os.environ["SITE_PACKAGES"])
import KSR
from auth_diameter.adapters import kemi
"""
UNCONFIGURED = f"""{SCRIPT_HEAD}
def mod_init():
    return kemi.Handler()
"""
WITHOUT_VARIABLES = f"""{SCRIPT_HEAD}
kemi.configure()

def mod_init():
    return Route()

class Route(kemi.Handler):
    def ksr_request_route(self, msg):
        KSR.sl.send_reply(200, "OK")
        return 1
"""


def test_a_script_has_to_call_configure(start_kamailio, alice, tmp_path):
    """Without it each call says so, and replies 500."""
    script = tmp_path / "script.py"
    script.write_text(UNCONFIGURED)
    server = start_kamailio(ENGINES["python_exec"], {}, script=script)
    assert [alice(server).call(method).status for method in ("REGISTER", "INVITE")] == [500, 500]
    assert server.wait_for_lines(2) == [
        "auth_diameter: diameter_www_authorize: call configure() first, when the script is loaded",
        "auth_diameter: diameter_proxy_authorize: call configure() first, when the script is loaded",
    ]


def test_a_wrong_setting_is_told_at_the_start(engine, start_kamailio, alice):
    """Kamailio starts nevertheless, as with any fault of a script; calls reply 500."""
    server = start_kamailio(ENGINES[engine], {"diameter_client_port": 0})
    (line,) = server.wait_for_lines(1)
    assert line.startswith("auth_diameter: configure: diameter_client_port: expected ")
    assert alice(server).call().status == 500


def test_a_missing_module_of_kamailio_is_told_at_the_start(start_kamailio, tmp_path):
    """By its name: Kamailio's log alone would have a fault at each call."""
    script, configuration = tmp_path / "script.py", tmp_path / "kamailio.cfg"
    script.write_text(WITHOUT_VARIABLES)
    text = MODULES.read_text().replace('loadmodule "pv.so"\n', "")
    configuration.write_text(text + 'cfgengine "python"\n')
    server = start_kamailio(configuration, {}, script=script)
    assert server.wait_for_lines(1) == [
        'auth_diameter: configure: loadmodule "pv.so" is missing in kamailio.cfg'
    ]


def test_workers_of_a_database_keep_their_settings_until_a_restart(local, subscribers, alice):
    """They count nonces and guesses together, which they could not if each opened it anew."""
    local.reload({"db": str(subscribers), "nonce_lifetime": 60.0})
    log_in_until_all_have_spoken(local, alice(local))
    assert set(local.lines()) == {
        "auth_diameter: configure: db: its settings change when Kamailio is restarted"
    }


REPLY_ROUTES = {
    "KEMI": """
def ksr_reply_route(self, msg):
    code = kemi.diameter_www_authorize("$fd")
    KSR.err(f"code {code!r}\\n")
    return 1
""",
    "python_exec": """
reply_route {
    python_exec("diameter_www_authorize", "$fd");
    $var(code) = $rc;
    xlog("L_ERR", "code $var(code)\\n");
}
""",
}


def test_a_call_about_a_reply_is_refused(engine, start_script, disc_server, alice):
    """One line that says where to call it. A reply gets no reply, not even a 500."""
    lines = "code = 1" if engine == "KEMI" else "$var(nothing) = 1;"
    server = start_script(engine, lines, at(disc_server), more=REPLY_ROUTES[engine])
    phone = alice(server)
    request = phone.request("MESSAGE").replace(b"MESSAGE sip:siphub.net SIP/2.0", b"SIP/2.0 200 OK")
    phone.send(request)
    assert server.wait_for_lines(1) == [
        "auth_diameter: diameter_www_authorize: the message is no SIP request; "
        "call it in the route of a request"
    ]
    assert codes(server) == [-5]
    reply = phone.receive_bytes(0.1)
    assert reply is None or not reply.startswith(b"SIP/2.0 500"), reply
    assert phone.call("OPTIONS").status == 200


CHILD_INIT = """
def child_init(self, rank):
    if rank == 1:
        code = kemi.diameter_www_authorize("$fd")
        KSR.err(f"code {code!r}\\n")
    return 0
"""


def test_a_call_where_a_worker_begins_is_harmless(start_script, disc_server, alice):
    """Kamailio's message is one that it has made up itself then: a request, which is challenged."""
    server = start_script("KEMI", "code = 1", at(disc_server), more=CHILD_INIT)
    server.wait_until(lambda: codes(server), "the return code")
    assert codes(server) == [-5]
    assert server.lines() == []
    assert alice(server).call().status == 200


# -- from the C module to the adapter --------------------------------------------------------------


def test_a_running_kamailio_goes_from_the_c_module_to_the_adapter_and_back(
    start_kamailio, disc_server, in_background, alice
):
    """By one command, while phones register. The one accepts what the other has challenged."""
    server = start_kamailio(HERE / "kemi-both.cfg", at(disc_server), defines={"DISC_PORT": disc_server.port})

    def judges():
        return [reply.header("Judge") for reply in alice(server).log_in()]

    def let_in(judge):
        return int(re.search(r"value: (\d+)", server.rpc("pv.shvGet", f"by_{judge}"))[1])

    def wait_for_more_than(calls, judge):
        wait_until(lambda: let_in(judge) > calls)

    with in_background(server) as calls:
        for number, now, before in (
            (1, "adapter", "module"),
            (0, "module", "adapter"),
            (1, "adapter", "module"),
        ):
            assert judges() == [before] * 2
            phone = alice(server)
            challenged = phone.call()
            server.rpc("pv.shvSet", "adapter", "int", number)
            answered = phone.call("REGISTER", phone.answer(challenged))
            assert (challenged.header("Judge"), answered.header("Judge")) == (before, now)
            assert answered.status == 200
            wait_for_more_than(let_in(now) + 50, now)
    assert_all_went_well(calls.result(), 1000)
    assert server.lines() == []
