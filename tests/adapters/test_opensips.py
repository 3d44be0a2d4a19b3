"""The adapter for OpenSIPS, beside messages and a module of ours: Debian has no package of OpenSIPS.

What both adapters have in common is tested by test_kemi.py.
"""

import logging
import os
import subprocess
import sys

import pytest
from kit.disc import CHALLENGE_VALUE
from kit.ksr import OpensipsMessage, opensips_module
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.wire import DESTINATION_REALM

NAME = "auth_diameter.adapters.opensips"


@pytest.fixture
def opensips(load, kamailio):
    return load(NAME, "OpenSIPS", opensips_module(kamailio))


@pytest.fixture
def disc(fake_disc):
    return fake_disc()


@pytest.fixture
def ready(opensips, disc):
    assert opensips.configure(**disc.settings, timeout=5.0) == 1
    return opensips


@pytest.fixture
def message(kamailio):
    """The current message, another object in each call."""

    def take(data):
        kamailio.take(data)
        return lambda: OpensipsMessage(kamailio)

    return take


def test_a_challenge(ready, kamailio, message):
    now = message(FIRST)
    assert ready.diameter_www_authorize(now(), "siphub.net") == -5
    assert kamailio.replies == [
        (401, "Unauthorized", f"WWW-Authenticate: {CHALLENGE_VALUE.decode()}\r\n"),
    ]


def test_a_proxy_challenge(ready, kamailio, message):
    assert ready.diameter_proxy_authorize(message(FIRST)()) == -5
    assert kamailio.replies[0][:2] == (407, "Proxy Authentication Required")


def test_credentials_hold_across_the_calls_about_a_message(ready, message):
    now = message(RIGHT)
    assert ready.diameter_www_authorize(now(), "$fd") == 1
    assert ready.diameter_is_user_in(now(), "Credentials", "voicemail") == 1
    later = message(RIGHT)
    assert ready.diameter_is_user_in(later(), "Credentials", "voicemail") == -4


def test_a_byte_that_is_no_utf8(ready, message):
    data = build_request(extra=("Subject: x", f"Authorization: {build_credentials()}"))
    assert ready.diameter_www_authorize(message(data.replace(b"x", b"\xe9", 1))(), "siphub.net") == 1


@pytest.mark.parametrize("function", ["diameter_www_authorize", "diameter_proxy_authorize"])
def test_a_realm_from_a_script_variable(ready, kamailio, disc, message, function):
    kamailio.variables["$var(realm)"] = "from.script"
    assert getattr(ready, function)(message(FIRST)(), "$var(realm)") == -5
    assert disc.questions[-1].find(DESTINATION_REALM).data == b"from.script"


def test_an_unknown_pseudo_variable(ready, kamailio, message):
    assert ready.diameter_www_authorize(message(FIRST)(), "$nosuch") == -5
    assert kamailio.replies == [(500, "Server Internal Error", "")]
    [(_, line)] = kamailio.log
    assert line.startswith("auth_diameter: diameter_www_authorize: realm '$nosuch': unknown pseudo-variable")


def test_the_handler(ready, message):
    handler = ready.Handler()
    now = message(RIGHT)
    assert handler.diameter_www_authorize(now(), "siphub.net") == 1
    assert handler.diameter_is_user_in(now(), "Credentials,voicemail") == 1
    assert handler.diameter_proxy_authorize(now(), "siphub.net") == -5


@pytest.mark.parametrize("function", ["diameter_www_authorize", "diameter_proxy_authorize"])
def test_the_handler_takes_the_realm_as_it_stands(ready, kamailio, disc, message, function):
    """OpenSIPS has expanded it. What it has put in may come from a header field, so from a stranger."""
    kamailio.variables["$var(realm)"] = "secret"
    assert getattr(ready.Handler(), function)(message(FIRST)(), "$var(realm)") == -5
    assert disc.questions[-1].find(DESTINATION_REALM).data == b"$var(realm)"


@pytest.mark.parametrize("message", [None, "no message", 5])
def test_what_is_no_message(ready, kamailio, message):
    """An int and a line, as after any fault."""
    handler = ready.Handler()
    for function in (handler.diameter_www_authorize, handler.diameter_proxy_authorize):
        assert function(message, "siphub.net") == -5
    assert handler.diameter_is_user_in(message, "From,voicemail") == -1
    assert kamailio.replies == []
    assert len(kamailio.log) >= 3


def test_each_process_starts_afresh(ready, message, disc):
    """OpenSIPS forks without a word to Python: `child_init`, which it calls, has the clients start afresh."""
    handler = ready.Handler()
    assert handler.diameter_www_authorize(message(RIGHT)(), "siphub.net") == 1
    before = ready._functions._auth._worker.pool
    assert handler.child_init(os.getpid()) == 0
    assert ready._functions._auth._worker.pool is not before
    assert handler.diameter_www_authorize(message(RIGHT)(), "siphub.net") == 1
    assert len(disc.connections) == 2
    ids = [question.hop_by_hop for question in disc.questions]
    assert abs(ids[1] - ids[0]) > 1, "they begin at a random number again"


def test_its_log_takes_warnings_alone(ready, kamailio):
    """OpenSIPS hands Python no function for others."""
    log = logging.getLogger("auth_diameter.pool")
    log.info("refused")
    log.warning("is down")
    assert kamailio.log == [("err", "auth_diameter: is down\n")]


def test_without_opensips_it_says_how_it_is_loaded():
    done = subprocess.run(
        [sys.executable, "-c", f"import {NAME}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: there is no module OpenSIPS: auth_diameter.adapters.opensips works inside OpenSIPS, "
        'which loads the script by modparam("python", "script_name", "/etc/opensips/auth.py")'
    )
