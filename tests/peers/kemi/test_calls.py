"""What the routes do every day: REGISTER, INVITE and group checks, over UDP and TCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kit.kamailio import Kamailio
from kit.kemi import ENGINES, SCRIPT, Programs, assert_all_went_well, at
from kit.process import Server

pytestmark = pytest.mark.peers


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
