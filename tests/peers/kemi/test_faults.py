"""Faults of a script: each has one line on Kamailio's log that says what to do."""

from __future__ import annotations

import pytest
from kit.kemi import ENGINES, MODULES, Odd, at, codes

from auth_diameter.lab.uac import parse_reply

pytestmark = pytest.mark.peers


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
