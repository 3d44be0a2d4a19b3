"""auth-diameter serve: a SIP server in a process of its own."""

import contextlib
import json
import re
import signal

import pytest
from kit.machine import wait_until
from kit.process import Server, assert_one_line
from kit.uac import Uac


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_serve_says_where_it_listens_and_stops_on_a_signal(disc, how):
    where = f"127.0.0.1:{disc.port}"
    with Server("serve", "--disc", where) as server:
        assert server.line == f"SIP/UDP listening on 127.0.0.1:{server.port}, asking DISC at {where}\n"
        assert server.stop(how) == (0, "", "")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    ("host", "why"),
    [("127.0.0.1", "connection refused; start auth-diameter disc there, or name another with --disc"),
     ("nowhere.invalid", "its name does not resolve (")],
)  # fmt: skip
def test_serve_says_at_its_start_that_disc_is_not_there_and_goes_on(free_port, tmp_path, host, why, workers):
    """.invalid is never a name (RFC 6761)."""
    log = tmp_path / "serve.log"
    options = ("--disc", f"{host}:{free_port}", "--workers", workers, "--log-file", log)
    with Server("serve", *options) as server:
        line = wait_until(log.read_text)
        assert f" WARNING DISC at {host}:{free_port} cannot be reached: " in line
        assert why in line
        assert line.count("\n") == 1
        with Uac(server.address) as phone:
            assert phone.call().status == 503


def test_of_several_disc_serve_names_those_that_are_not_there(disc, free_port):
    where = f"127.0.0.1:{disc.port},127.0.0.1:{free_port}"
    with Server("serve", "--disc", where) as server:
        server.wait_for_line(f"DISC at 127.0.0.1:{free_port} cannot be reached")
        assert server.stop().err.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (None, "No such file"),
        ("def f(:\n", "line 1: invalid syntax"),
        ("x = 1\nraise KeyError('boo')\n", "line 2: KeyError: 'boo'"),
        ("import sys\nsys.exit(0)\n", "line 2: SystemExit: 0"),
        ("", "expected async def request_route(request, auth)"),
        ("async def request_route(): pass\n", "line 1: request_route must take (request, auth)"),
    ],
)
def test_a_route_script_with_an_error(cli, tmp_path, text, what):
    path = tmp_path / "route.py"
    if text is not None:
        path.write_text(text)
    assert_one_line(cli("serve", "--listen", "127.0.0.1:0", "--route", path), f"route {path}", what)


def guess(phone, password, username="alice"):
    """The status that a REGISTER with this password leads to."""
    return phone.log_in(password=password, username=username)[1].status


@pytest.mark.parametrize("with_route", [False, True])
def test_a_telephone_registers_through_serve_and_disc(disc, tmp_path, with_route):
    route = ()
    if with_route:
        (tmp_path / "route.py").write_text(
            "async def request_route(request, auth):\n"
            "    decision = await auth.diameter_www_authorize(request, '$fd')\n"
            "    return request.reply(202, 'Accepted') if decision else decision\n"
        )
        route = ("--route", tmp_path / "route.py")
    with Server("serve", "--disc", disc.where, *route) as server, Uac(server.address) as phone:
        first, second = phone.log_in()
        assert (first.status, second.status) == (401, 202 if with_route else 200)
        assert server.stop() == (0, "", "")


def test_the_realm_of_the_default_route(disc):
    options = ("--disc", disc.where, "--realm", "siphub.net")
    with Server("serve", *options) as server, Uac(server.address) as phone:
        assert phone.call(account="alice@elsewhere.example").challenge().realm == "siphub.net"


# --- who was refused -----------------------------------------------------------------------------------

REFUSED = r"\S+ \S+ INFO refused user='alice@siphub\.net' source=127\.0\.0\.1 cause=FORBIDDEN proven=no\n"


@pytest.mark.parametrize("with_route", [False, True])
def test_who_was_refused_is_a_line_and_who_was_challenged_is_none(disc, tmp_path, with_route):
    path = tmp_path / "route.py"
    path.write_text(ROUTE.format(status=200))
    route = ("--route", path) if with_route else ()
    with Server("serve", "--disc", disc.where, *route) as server, Uac(server.address) as phone:
        assert guess(phone, "guess") == 403
        assert guess(phone, "wonderland") == 200
        assert re.fullmatch(REFUSED, server.stop().err)


def test_the_log_as_json_in_a_file(disc, tmp_path):
    log = tmp_path / "serve.log"
    options = ("--disc", disc.where, "--log-format", "json", "--log-file", log)
    with Server("serve", *options) as server, Uac(server.address) as phone:
        assert guess(phone, "guess", "al'i ce") == 403
        assert server.stop() == (0, "", "")
    [line] = log.read_text("ascii").splitlines()
    found = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", found.pop("time"))
    user = r"al\x27i\x20ce@siphub.net"
    assert found == {
        "level": "INFO",
        "logger": "auth_diameter.refused",
        "message": f"refused user='{user}' source=127.0.0.1 cause=FORBIDDEN proven=no",
        "user": user,
        "source": "127.0.0.1",
        "cause": "FORBIDDEN",
        "proven": False,
        "more": 0,
    }


# --- SIGHUP --------------------------------------------------------------------------------------------

ROUTE = (
    "async def request_route(request, auth):\n"
    "    decision = await auth.diameter_www_authorize(request, '$fd')\n"
    "    return request.reply({status}, 'Version') if decision else decision\n"
)
VERSION = (
    "import os\nasync def request_route(request, auth):\n    return request.reply({status}, 'Version')\n"
)


@pytest.fixture
def phone():
    with Uac() as uac:
        yield uac


@contextlib.contextmanager
def serving(disc, tmp_path, workers=1, text=None):
    """A server with a route that answers 201, and a log."""
    (tmp_path / "route.py").write_text(VERSION.format(status=201) if text is None else text)
    options = ("--disc", disc.where, "--workers", workers)
    files = ("--route", tmp_path / "route.py", "--log-file", tmp_path / "serve.log")
    with Server("serve", *options, *files) as server:
        yield server
        assert server.running or server.process.returncode == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_reads_the_route_anew(disc, tmp_path, workers):
    """All workers, and each of their successors."""
    log = tmp_path / "serve.log"
    with serving(disc, tmp_path, workers) as server:
        for status in (202, 203):
            (tmp_path / "route.py").write_text(VERSION.format(status=status))
            server.send(signal.SIGHUP)
            server.send(signal.SIGHUP)
            for _ in range(10):  # of another port each, so that all workers are asked

                def answered(expected=status):
                    with Uac(server.address) as phone:
                        return phone.call().status == expected

                wait_until(answered)
        assert "INFO SIGHUP: everything was reloaded" in log.read_text()
        assert "ERROR" not in log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_what_cannot_be_read_keeps_all_as_it_was_with_one_line(disc, tmp_path, phone, workers):
    log, moved = tmp_path / "serve.log", tmp_path / "serve.log.1"
    with serving(disc, tmp_path, workers) as server:
        (tmp_path / "route.py").write_text("x = 1\nraise KeyError('boo')\n")
        log.touch()
        log.rename(moved)
        server.send(signal.SIGHUP)
        [line] = wait_until(moved.read_text).splitlines()
        assert line.endswith(
            f"ERROR SIGHUP: nothing was changed: route {tmp_path}/route.py, line 2: KeyError: 'boo'"
        )
        assert phone.ask(phone.request(), server.address).status == 201
        assert not log.exists()


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "script",
    [
        "class Mute(Exception):\n    def __str__(self): raise ValueError('mute')\nraise Mute\n",
        "import asyncio\nraise asyncio.CancelledError('mute')\n",
    ],
)
def test_whatever_a_script_raises_ends_no_server(disc, tmp_path, phone, workers, script):
    """Not even what is no Exception, or cannot be said in one line."""
    log = tmp_path / "serve.log"
    with serving(disc, tmp_path, workers) as server:
        (tmp_path / "route.py").write_text(script)
        server.send(signal.SIGHUP)
        wait_until(lambda: "mute" in log.read_text())
        assert "ERROR SIGHUP: nothing was changed\n" in log.read_text()
        assert phone.ask(phone.request(), server.address).status == 201


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_opens_the_log_anew_for_logrotate(disc, tmp_path, phone, workers):
    log, moved = tmp_path / "serve.log", tmp_path / "serve.log.1"
    with serving(disc, tmp_path, workers, ROUTE.format(status=200)) as server:
        phone.to = server.address
        assert guess(phone, "guess") == 403
        log.rename(moved)
        server.send(signal.SIGHUP)
        wait_until(lambda: log.exists() and "everything was reloaded" in log.read_text())

        def refused():
            with Uac(server.address) as other:
                guess(other, "guess")
            return "refused user=" in log.read_text()

        wait_until(refused)
    assert moved.read_text().count("refused user=") >= 1


def test_a_file_that_cannot_be_opened_keeps_the_log(disc, tmp_path, phone):
    log, moved = tmp_path / "serve.log", tmp_path / "serve.log.1"
    with serving(disc, tmp_path) as server:
        log.rename(moved)
        log.mkdir()
        (tmp_path / "route.py").write_text(VERSION.format(status=202))
        server.send(signal.SIGHUP)
        line = wait_until(moved.read_text)
        assert f"nothing was changed: --log-file {log}: Is a directory" in line
        assert phone.ask(phone.request(), server.address).status == 201


def test_sighup_loses_no_request(disc, tmp_path, phone):
    """A request that waits for DISC, or whose script is at work, ends with the script that it began with."""
    slow = "import asyncio\n" + VERSION.format(status=201).replace(
        "    return", "    await asyncio.sleep(0.3)\n    return"
    )
    with serving(disc, tmp_path, text=slow) as server:
        for number in range(20):
            phone.send(phone.request(), server.address)
            if number % 5 == 0:
                server.send(signal.SIGHUP)
        assert {phone.receive().status for _ in range(20)} == {201}


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_does_not_end_a_server_that_starts(disc, tmp_path, workers):
    """It comes while the package is imported; and again, while the commands are."""
    again = (
        "import os, signal, sys, importlib\n"
        "os.kill(os.getpid(), signal.SIGHUP)\n"
        f"sys.path.remove({str(tmp_path)!r})\n"
        "del sys.modules[__name__]\n"
        "sys.modules[__name__] = importlib.import_module(__name__)\n"
    )
    (tmp_path / "ssl.py").write_text(
        again.replace(f"sys.path.remove({str(tmp_path)!r})\n", "raise ImportError\n")
    )
    (tmp_path / "click.py").write_text(again)
    (tmp_path / "uvloop.py").write_text("raise ModuleNotFoundError\n")  # it needs ssl
    options = ("--disc", disc.where, "--workers", workers)
    with Server("serve", *options, env={"PYTHONPATH": str(tmp_path)}) as server:
        server.wait_for_line("INFO SIGHUP: everything was reloaded")
        assert server.stop().status == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_and_sigterm_together_end_it_in_order(disc, tmp_path, workers):
    with serving(disc, tmp_path, workers) as server:
        for number in (signal.SIGSTOP, signal.SIGHUP, signal.SIGTERM, signal.SIGHUP, signal.SIGCONT):
            server.send(number)
        assert server.wait().status == 0
