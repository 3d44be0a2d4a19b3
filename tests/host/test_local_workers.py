"""serve --db: the workers of one address share the nonce key, the nonce counts and the guesses."""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.machine import wait_until
from kit.process import Server, run_ours
from kit.uac import Uac

import auth_diameter as ad

COUNT = 3

Serve = Callable[..., Server]


@pytest.fixture
def serve(db: Path) -> Iterator[Serve]:
    """Starts a SIP server with so many workers, and options."""
    with contextlib.ExitStack() as stack:

        def start(*options: object, count: int = COUNT) -> Server:
            return stack.enter_context(Server("serve", "--db", db, "--workers", count, *options))

        yield start


@pytest.fixture
def phones() -> Iterator[list[Uac]]:
    """So many that the kernel gives some to each worker, as good as surely."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Uac()) for _ in range(12 * COUNT)]


def at(server: Server, phones: list[Uac]) -> None:
    for phone in phones:
        phone.to = server.address


def test_a_replay_at_another_worker_is_refused(serve: Serve, phones: list[Uac]) -> None:
    """The same credentials from each telephone: one is let in, whichever worker it comes to."""
    server = serve()
    assert f"in {COUNT} processes, users from " in server.line
    at(server, phones)
    header = phones[0].answer(phones[0].call())
    statuses = [phone.call("REGISTER", header).status for phone in phones]
    assert statuses == [200] + [401] * (len(phones) - 1)
    for nc, phone in enumerate(phones, 2):
        header = phone.answer(phone.call(), nc=nc)
        assert phone.call("REGISTER", header).status == 200


def test_guesses_count_over_all_workers(serve: Serve, phones: list[Uac]) -> None:
    """All telephones have one address."""
    server = serve()
    at(server, phones)
    for phone in phones[:5]:
        assert phone.call("REGISTER", phone.answer(phone.call(), password="guess")).status == 403
    assert {phone.call("REGISTER", phone.answer(phone.call())).status for phone in phones} == {403}
    assert phones[0].call(uri="sip:siphub.net", account="alice@siphub.net").status == 401


def test_after_a_worker_was_killed_replays_are_still_refused(serve: Serve, phones: list[Uac]) -> None:
    server = serve()
    at(server, phones)
    headers = [phone.answer(phone.call()) for phone in phones]
    used = [phone.call("REGISTER", header).status for phone, header in zip(phones, headers, strict=True)]
    assert set(used) == {200}
    workers = set(server.children())
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        server.wait_for_line(rf"process {pid}\) was ended by SIGKILL")
    wait_until(lambda: len(server.children()) == COUNT and not workers & set(server.children()))
    for phone, header in zip(phones, headers, strict=True):
        (again,) = phone.exchange(phone.request("REGISTER", header))
        assert again.status == 401


def test_the_nonce_key_outlives_the_server(serve: Serve, tmp_path: Path, phones: list[Uac]) -> None:
    """With --nonce-key; SIGHUP reads it again, and gives it to all workers."""
    key = tmp_path / "nonce.key"
    key.write_bytes(b"sixteen secret bytes")
    key.chmod(0o600)
    server = serve("--nonce-key", key)
    at(server, phones)
    challenged = phones[0].call()
    server.stop()
    server = serve("--nonce-key", key)
    at(server, phones)
    assert phones[0].call("REGISTER", phones[0].answer(challenged)).status == 200
    headers = [phone.answer(phone.call()) for phone in phones]
    key.write_bytes(b"another sixteen bytes")
    server.send(signal.SIGHUP)
    server.wait_for_line("everything was reloaded")
    wait_until(lambda: new_key_in_all(phones))
    for phone, header in zip(phones, headers, strict=True):
        assert phone.call("REGISTER", header).status == 401


def test_a_worker_that_is_started_after_a_change_of_keys_has_the_new_one(
    serve: Serve, tmp_path: Path, phones: list[Uac]
) -> None:
    key = tmp_path / "nonce.key"
    key.write_bytes(b"sixteen secret bytes")
    key.chmod(0o600)
    server = serve("--nonce-key", key)
    at(server, phones)
    key.write_bytes(b"another sixteen bytes")
    server.send(signal.SIGHUP)
    server.wait_for_line("everything was reloaded")
    workers = set(server.children())
    for pid in workers:
        os.kill(pid, signal.SIGKILL)
        server.wait_for_line(rf"process {pid}\) was ended by SIGKILL")
    wait_until(lambda: len(server.children()) == COUNT and not workers & set(server.children()))
    with ad.AuthDiameter(ad.Config(db=str(tmp_path / "users.sqlite"), nonce_key=key.read_bytes())) as other:
        challenged = other.diameter_www_authorize(phones[0].request(), "$fd").reply
    assert challenged is not None
    for nc, phone in enumerate(phones, 1):
        assert phone.call("REGISTER", phone.answer(challenged, nc=nc)).status == 200


def new_key_in_all(phones: list[Uac]) -> bool:
    """Whether a challenge of the first telephone's worker is good at those of all."""
    challenged = phones[0].call()
    found = [
        phone.call("REGISTER", phones[0].answer(challenged, nc=nc)) for nc, phone in enumerate(phones, 1)
    ]
    return {reply.status for reply in found} == {200}


ROUTE = """\
async def request_route(request, auth):
    decision = await auth.diameter_www_authorize(request, "$fd")
    return request.reply(200, "OK") if decision else decision
"""


@pytest.mark.parametrize("with_route", [False, True])
@pytest.mark.parametrize("bind_source", [False, True])
def test_who_was_refused_is_a_line(
    serve: Serve, tmp_path: Path, phones: list[Uac], *, with_route: bool, bind_source: bool
) -> None:
    """One, with the outcome; a nonce that is bound to the source proves it."""
    path = tmp_path / "route.py"
    path.write_text(ROUTE)
    options = [*(("--route", path) if with_route else ()), *(("--bind-source",) if bind_source else ())]
    server = serve(*options, count=1)
    at(server, phones)
    challenged = phones[0].call()
    assert phones[0].call("REGISTER", phones[0].answer(challenged)).status == 200
    assert phones[0].call("REGISTER", phones[0].answer(challenged, nc=2, password="guess")).status == 403
    proven = "yes" if bind_source else "no"
    line = rf"INFO refused user='alice@siphub\.net' source=127\.0\.0\.1 cause=WRONG_DIGEST proven={proven}"
    assert re.fullmatch(rf"\S+ \S+ {line}\n", server.stop().err)


def test_a_database_that_others_can_read_is_told(db: Path, serve: Serve) -> None:
    """It has the passwords, or what serves in place of them."""
    db.chmod(0o644)
    assert str(db) in serve(count=1).wait_for_line(r"WARNING .*read.*\n").group()


def test_it_counts_no_slow_requests(serve: Serve, phones: list[Uac]) -> None:
    server = serve("--metrics", "0", count=1)
    at(server, phones)
    for phone in phones:
        assert phone.call("REGISTER", phone.answer(phone.call())).status == 200
    metrics = server.metrics()
    assert "auth_diameter_sip_slow_total 0.0" in metrics
    assert f'auth_diameter_decisions_total{{cause="authorized"}} {float(len(phones))}' in metrics


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--disc", "127.0.0.1:3000"), "--db: no DISC is asked with it"),
        (("--qop", "none"), "--qop"),
        (("--nonce-key", "/nowhere"), "--nonce-key /nowhere: No such file"),
    ],
)
def test_options_that_do_not_fit(db: Path, options: tuple[str, ...], says: str) -> None:
    done = run_ours("serve", "--db", db, *options)
    assert done.status == 2
    assert says in done.err


@pytest.mark.parametrize("option", [("--algorithms", "SHA-256"), ("--bind-source",), ("--nonce-key", "x")])
def test_settings_of_the_verifier_need_db(option: tuple[str, ...]) -> None:
    """Without it DISC has them."""
    done = run_ours("serve", *option)
    assert done.status == 2
    assert option[0] in done.err
    assert "db" in done.err
