"""Scripts of an operator: the realm, and a Request-URI that the script has changed."""

from __future__ import annotations

import pytest
from kit.kemi import Odd, at, codes
from kit.machine import wait_until
from kit.uac import Uac

pytestmark = pytest.mark.peers


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
