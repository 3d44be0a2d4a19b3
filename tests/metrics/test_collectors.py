"""Metrics: scraped over HTTP and read by Prometheus' own parser, while requests of each kind are served."""

import asyncio
import contextlib
import errno
import logging
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from wsgiref.simple_server import WSGIServer

import pytest
from kit.doors import OfThreads
from kit.hss import SipServer, running
from kit.machine import PATIENCE, wait_until
from kit.phone import Phone
from kit.process import Server, run_ours, run_python
from kit.sip import DOMAIN, PASSWORD, build_request, shortest
from kit.uac import Uac
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import auth_diameter as ad
from auth_diameter import metrics
from auth_diameter.disc.admission import ConnectionEvent
from auth_diameter.host.bind import bind as bind_udp
from auth_diameter.host.server import Host
from auth_diameter.metrics import exporter as exporter_module
from auth_diameter.store.accounts import Accounts
from auth_diameter.verifier.outcome import Outcome

PREFIX = "auth_diameter_"
LONG_DOMAIN = ".".join(["a" * 60] * 5)


def parsed(text):
    """All samples: by name without our prefix, and label values."""
    found = {}
    for family in text_string_to_metric_families(text):
        assert family.documentation, family.name
        for sample in family.samples:
            key = (sample.name.removeprefix(PREFIX), *sample.labels.values())
            assert key not in found, "a sample twice"
            found[key] = sample.value
    return found


def scrape(port, host="127.0.0.1"):
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=PATIENCE) as reply:
        assert reply.status == 200
        return parsed(reply.read().decode())


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    path = tmp_path_factory.mktemp("metrics") / "users.sqlite"
    with Accounts.create(path) as store:
        store.add_user("alice", DOMAIN, PASSWORD)
        store.add_user("alice", LONG_DOMAIN, PASSWORD)
    return path


@pytest.fixture
def phone():
    with Uac() as uac:
        yield uac


def test_serve_and_disc_tell_what_they_did(database, phone):
    with Server("disc", "--db", database, "--metrics", 0) as disc:
        [disc_at] = disc.metrics_ports()
        where = disc.where
        with Server("serve", "--disc", where, "--metrics", "127.0.0.1:0") as server:
            [serve_at] = server.metrics_ports()
            phone.to = server.address
            before = scrape(serve_at)
            assert before["decisions_total", "challenged"] == 0, "there before anything happens"
            assert before["peer_up", where] == 0, "nobody has asked it"
            assert phone.log_in()[1].status == 200
            assert [phone.log_in(password="guess")[1].status for _ in range(6)] == [403] * 6
            again = phone.request()
            for _ in range(3):
                phone.ask(again)
            phone.send(b"no SIP")
            # From, and so the challenge's realm, is most of it: the reply would have them three times.
            long = shortest().replace(f"f: <sip:a@{DOMAIN}>".encode(), f"f: <sip:a@{LONG_DOMAIN}>".encode())
            assert phone.ask(long).status == 400
            wait_until(lambda: scrape(serve_at)["sip_replies_total",] == 14 + 3 + 1)  # counted once sent
            after = scrape(serve_at)
        of_disc = scrape(disc_at)
    challenged = 1 + 6 + 1 + 1
    for key, value in {
        ("decisions_total", "authorized"): 1,
        ("decisions_total", "challenged"): challenged,
        ("decisions_total", "forbidden"): 5,
        ("decisions_total", "penalized"): 1,
        ("disc_questions_total", "answered"): challenged + 6,
        ("disc_questions_total", "expired"): 0,
        ("disc_connects_total", "opened"): 1,
        ("disc_answers_dropped_total", "late"): 0,
        ("diameter_answers_total", "AA-Answer", "2001"): 1,
        ("peers", "up"): 1,
        ("peer_up", where): 1,
        ("peer_connections", where): 1,
        ("sip_datagrams_total",): 14 + 3 + 2,
        ("sip_retransmissions_total",): 2,
        ("sip_malformed_total",): 1,
        ("sip_replies_oversize_total",): 1,
        ("sip_requests_under_way",): 0,
    }.items():
        assert after[key] == value, key
    assert after["process_resident_memory_bytes",] > 1 << 20
    for key, value in {
        ("disc_answers_total", "challenged"): challenged,
        ("disc_answers_total", "authorized"): 1,
        ("disc_answers_total", "wrong_digest"): 5,
        ("disc_answers_total", "malformed"): 0,
        ("disc_connection_events_total", "accepted"): 1 + 1,  # serve looks at its start whether it is there
    }.items():
        assert of_disc[key] == value, key


def test_each_worker_has_a_port_of_its_own(database, phone):
    with Server("disc", "--db", database) as disc:
        command = ("serve", "--disc", disc.where)
        with Server(*command, "--workers", 2, "--metrics", 0) as server:
            for _ in range(3):
                phone.ask(phone.request(), server.address)
            counts = [scrape(port)["sip_datagrams_total",] for port in server.metrics_ports()]
            assert sorted(counts) == [0, 3]


def test_ports_in_a_row():
    """Of worker k the k-th from the first on."""

    def try_one():
        with metrics.bind("127.0.0.1", 0)[0] as sock:
            first = sock.getsockname()[1]
        with contextlib.suppress(OSError):  # somebody has the next one
            return first, metrics.bind("127.0.0.1", first, 2)

    first, sockets = wait_until(try_one)
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    assert ports == [first, first + 1]


@pytest.mark.parametrize("command", ["serve", "disc"])
def test_a_port_that_is_taken_is_one_line_that_says_what_to_do(database, command):
    options = ["--db", database] if command == "disc" else []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_ours(command, "--listen", "127.0.0.1:0", *options, "--metrics", at)
    assert done.status == 2
    expected = f"{at} is in use: stop the program that has it, or choose another with --metrics"
    assert done.err == f"auth-diameter: {expected}\n"


@pytest.mark.parametrize("at", ["nowhere", "127.0.0.1:70000", "70000", "127.0.0.1:"])
def test_what_is_no_address_is_refused(at):
    done = run_ours("serve", "--listen", "127.0.0.1:0", "--metrics", at)
    assert done.status == 2
    assert re.fullmatch(r"auth-diameter: Invalid value for '--metrics': address .*\n", done.err)


def test_ports_in_a_row_that_do_not_exist():
    with pytest.raises(OSError, match="65536 is more than 65535"):
        metrics.bind("127.0.0.1", 65535, 2)


def test_without_prometheus_client_it_says_what_to_install():
    code = (
        "import sys; sys.modules['prometheus_client'] = None; sys.argv = ['auth-diameter', 'serve', "
        "'--listen', '127.0.0.1:0', '--metrics', '0']; from auth_diameter.__main__ import main; main()"
    )
    done = run_python(code)
    assert done.status == 2
    expected = "--metrics: no prometheus_client; pip install 'auth-diameter[server]'"
    assert done.err == f"auth-diameter: {expected}\n"


def test_the_library_alone_does_not_look_for_prometheus_client():
    code = "import sys, auth_diameter.host.server; assert 'prometheus_client' not in sys.modules"
    assert run_python(code).status == 0


# --- the collectors ------------------------------------------------------------------------------------


def collected(collector):
    registry = CollectorRegistry()
    registry.register(collector)
    return parsed(generate_latest(registry).decode())


def test_a_client_for_threads_in_a_registry_of_ones_own(fake_disc):
    disc = fake_disc()
    with ad.AuthDiameter(ad.Config(**disc.settings)) as auth:
        auth.diameter_www_authorize(build_request("REGISTER"), "")
        found = collected(metrics.client(auth))
    assert found["decisions_total", "challenged"] == 1
    assert found["disc_questions_total", "answered"] == 1
    assert found["peer_up", f"127.0.0.1:{disc.port}"] == 1


def test_answers_of_standard_diameter_by_command_and_result():
    """Those of the base protocol, too: RFC 6733, 5.3 and 5.5."""
    with running(SipServer) as server:
        server.delegates = False
        config = ad.Config(
            application="sip",
            origin_host="sip.c.test",
            diameter_client_host="127.0.0.1",
            diameter_client_port=server.port,
        )
        with ad.AuthDiameter(config) as auth:
            phone = Phone(OfThreads(auth))
            phone.send()
            phone.answer(phone.challenge())
            found = collected(metrics.client(auth))
    answers = {key[1:]: value for key, value in found.items() if key[0] == "diameter_answers_total"}
    assert answers == {
        ("Capabilities-Exchange-Answer", "2001"): 1,
        ("Multimedia-Auth-Answer", "1001"): 2,
        ("Multimedia-Auth-Answer", "4001"): 1,
    }
    assert {state: found["peers", state] for state in ("new", "up", "down", "silent")} == {
        "new": 0,
        "up": 1,
        "down": 0,
        "silent": 0,
    }


def test_a_disc_that_is_down(free_port):
    with ad.AuthDiameter(ad.Config(diameter_client_host="127.0.0.1", diameter_client_port=free_port)) as auth:
        auth.diameter_www_authorize(build_request("REGISTER"), "")
        found = collected(metrics.client(auth))
    assert found["decisions_total", "disc_unreachable"] == 1
    assert found["disc_questions_total", "refused_down"] == 1
    assert found["disc_connects_total", "failed"] >= 1
    assert found["peer_up", f"127.0.0.1:{free_port}"] == 0
    assert found["peers", "down"] == 1


def test_every_cause_and_outcome_is_there_from_the_beginning():
    """So that a rate of it can be formed before it has happened once."""

    class Nothing:
        counts = dict.fromkeys((*Outcome, *ConnectionEvent), 0)
        state = None
        open = 0

    async def host():
        async with ad.AsyncAuthDiameter() as auth:
            served = Host(bind_udp("127.0.0.1", 0)[0], auth, None)
            try:
                return collected(metrics.client(auth)) | collected(metrics.host(served))
            finally:
                await served.aclose()

    found = asyncio.run(host()) | collected(metrics.disc(Nothing, Nothing))
    assert {key[1] for key in found if key[0] == "decisions_total"} == {
        cause.name.lower() for cause in ad.Cause
    }
    assert {key[1] for key in found if key[0] == "disc_answers_total"} == {
        one.name.lower() for one in Outcome
    }
    assert found.pop(("peers", "new")) == 1
    assert all(value == 0 for value in found.values())


# --- HTTP ----------------------------------------------------------------------------------------------


@pytest.fixture
def exporter():
    [sock] = metrics.bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    served = metrics.Exporter(sock)
    yield port
    served.close()


def test_who_hangs_up_or_says_nothing_disturbs_nobody(exporter, capfd):
    with socket.create_connection(("127.0.0.1", exporter)) as silent:
        with socket.create_connection(("127.0.0.1", exporter)) as rude:
            rude.sendall(b"GET /metrics HTTP/1.0\r\n")
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        assert ("process_open_fds",) in scrape(exporter)
        silent.sendall(b"\xff\xfe\r\n\r\n")
    assert scrape(exporter)
    assert capfd.readouterr() == ("", "")


def test_nothing_else_is_served(exporter):
    request = urllib.request.Request(f"http://127.0.0.1:{exporter}/metrics", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=PATIENCE)
    with refused.value as reply:
        assert reply.code == 405


def test_a_scrape_is_not_logged(exporter, caplog):
    caplog.set_level(logging.DEBUG)
    scrape(exporter)
    assert not caplog.records


def test_connections_beyond_some_cost_the_oldest_its_place(exporter, monkeypatch):
    monkeypatch.setattr(exporter_module._Handler, "timeout", 2 * PATIENCE)  # none ends by itself
    threads = threading.active_count()
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", exporter), timeout=PATIENCE))
            for _ in range(3 * exporter_module._MOST_CONNECTIONS)
        ]
        assert scrape(exporter)
        assert silent[0].recv(1) == b""
        wait_until(lambda: threading.active_count() - threads <= exporter_module._MOST_CONNECTIONS)


def test_no_descriptors_are_no_reason_to_spin(exporter, monkeypatch):
    tries = []

    def fail(self):
        tries.append(self)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(WSGIServer, "get_request", fail)
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", exporter)):
            wait_until(lambda: len(tries) >= 5)
        assert time.monotonic() - began >= 4 * exporter_module._PAUSE
    assert scrape(exporter)
