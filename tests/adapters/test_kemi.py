"""The adapter for Kamailio, beside a KSR of ours: each call is an int, whatever happens.

In Kamailio itself it is tested by tests/peers/kemi.
"""

import logging
import subprocess
import sys

import pytest
from kit.disc import CHALLENGE_VALUE, say_nothing
from kit.forked import in_child
from kit.sip import FIRST, RIGHT, build_credentials, build_request, changed
from kit.uac import Account
from kit.wire import DESTINATION_REALM, USER_NAME, build_answer

from auth_diameter import Avp, Cause, Challenge

NAME = "auth_diameter.adapters.kemi"
CHALLENGE = f"WWW-Authenticate: {CHALLENGE_VALUE.decode()}\r\n"
REPLY = b"SIP/2.0 200 OK\r\n" + RIGHT.partition(b"\r\n")[2]


@pytest.fixture
def kemi(load, kamailio):
    """The adapter, not configured so far."""
    return load(NAME, "KSR", kamailio.module())


@pytest.fixture
def disc(fake_disc):
    return fake_disc()


@pytest.fixture
def ready(kemi, disc):
    """The adapter, which asks a DISC."""
    assert kemi.configure(**disc.settings, timeout=5.0) == 1
    return kemi


def lines(kamailio):
    """The log's lines, taken."""
    found, kamailio.log[:] = kamailio.log[:], []
    for _, line in found:
        assert line.endswith("\n")
        assert line.count("\n") == 1, "one line"
    return [f"{level}: {line.rstrip()}" for level, line in found]


# ------------------------------------------------------------------ the functions


def test_a_challenge(ready, kamailio):
    """-5, and a 401 by Kamailio, with the header and the reason of the decision."""
    kamailio.take(FIRST)
    assert ready.diameter_www_authorize("$fd") == -5
    assert kamailio.replies == [(401, "Unauthorized", CHALLENGE)]
    assert lines(kamailio) == []


def test_a_proxy_challenge(ready, kamailio):
    kamailio.take(FIRST)
    assert ready.diameter_proxy_authorize("siphub.net") == -5
    [(status, reason, headers)] = kamailio.replies
    assert (status, reason) == (407, "Proxy Authentication Required")
    assert headers.startswith("Proxy-Authenticate: Digest ")


def test_right_credentials(ready, kamailio):
    """1, and no reply: the script goes on."""
    kamailio.take(RIGHT)
    for _ in range(3):
        assert ready.diameter_www_authorize("$fd") == 1
    assert kamailio.replies == []


def test_wrong_credentials(kemi, kamailio, fake_disc):
    def refuse(connection, questions):
        connection.send(b"".join(build_answer(question, 5003) for question in questions))

    kemi.configure(**fake_disc(refuse).settings)
    kamailio.take(RIGHT)
    assert kemi.diameter_www_authorize("$fd") == -5
    assert kamailio.replies == [(403, "Forbidden", "")]


def test_malformed_proxy_credentials(ready, kamailio):
    """0 and a 400: those of the role that was asked for."""
    kamailio.take(build_request(extra=('Proxy-Authorization: Digest username="alice',)))
    assert ready.diameter_proxy_authorize("$fd") == 0
    assert kamailio.replies == [(400, "Bad Request", "")]
    assert ready.diameter_www_authorize("$fd") == -5


def test_a_forked_worker_has_a_connection_of_its_own(ready, kamailio, disc):
    """Also if the process before was so calm that compiled code asked."""
    kamailio.take(RIGHT)
    for _ in range(4):
        assert ready.diameter_www_authorize("$fd") == 1
    assert len(disc.connections) == 1
    assert in_child(lambda: [ready.diameter_www_authorize("$fd") for _ in range(4)]) == [1] * 4
    assert len(disc.connections) == 2
    assert ready.diameter_www_authorize("$fd") == 1


def test_a_client_of_earlier_settings_has_no_say_in_a_forked_worker(ready, kamailio, disc):
    """It may still be there when the process forks, and starts afresh as well."""
    kamailio.take(RIGHT)
    before = ready._functions._auth
    assert ready.configure(**disc.settings, max_sip_message=256) == 1

    def work():
        before._after_fork()  # the last one to be told
        return ready.diameter_www_authorize("$fd")

    assert in_child(work) == 0, "the request is too large now"


def test_whoever_is_let_in_is_counted(ready, kamailio):
    kamailio.take(RIGHT)
    for _ in range(5):
        assert ready.diameter_www_authorize("$fd") == 1
    assert ready._functions._auth.counts[Cause.AUTHORIZED] == 5


def test_what_the_back_end_adds_to_a_success_goes_into_the_reply(ready, kamailio, disc):
    """Authentication-Info (RFC 7616, 3.5), for the 200 that the script sends."""
    proof = Avp(106, "ab" * 16)
    disc.script = lambda connection, questions: connection.send(
        build_answer(questions[0], 2001, more=(proof,))
    )
    kamailio.take(RIGHT)
    assert ready.diameter_www_authorize("$fd") == 1
    assert kamailio.replies == []
    kamailio.send_reply(200, "OK")
    assert kamailio.replies == [(200, "OK", f'Authentication-Info: rspauth="{"ab" * 16}"\r\n')]


def test_an_ack_is_let_through(ready, kamailio, disc):
    kamailio.take(build_request("ACK"))
    assert ready.diameter_www_authorize("$fd") == 1
    assert disc.questions == []


def test_credentials_hold_across_the_calls_about_a_message(ready, kamailio):
    """And are not those of the message before: -4."""
    kamailio.take(RIGHT)
    assert ready.diameter_is_user_in("Credentials", "voicemail") == -4
    assert ready.diameter_www_authorize("$fd") == 1
    assert ready.diameter_is_user_in("Credentials", "voicemail") == 1
    kamailio.take(RIGHT)
    assert ready.diameter_is_user_in("credentials", "voicemail") == -4
    assert kamailio.replies == []


def test_a_message_has_one_request(ready, kamailio):
    kamailio.take(RIGHT)
    ready.diameter_www_authorize("$fd")
    request = ready._functions.calls.request
    ready.diameter_is_user_in("Credentials", "voicemail")
    assert ready._functions.calls.request is request
    assert set(kamailio.calls) == {"$mi", "$mb", "$si"}


def test_a_number_that_another_message_has_as_well(ready, kamailio):
    """In a failure route a message may be in another process, with the number that it got where it came."""
    kamailio.take(RIGHT)
    assert ready.diameter_www_authorize("$fd") == 1
    kamailio.take(FIRST, number=kamailio.get("$mi"))
    assert ready.diameter_is_user_in("Credentials", "voicemail") == -4
    assert ready.diameter_www_authorize("$fd") == -5
    assert [status for status, _, _ in kamailio.replies] == [401]


def test_a_message_that_kamailio_cannot_hand_out(ready, kamailio):
    """One byte that is no UTF-8 in a message of 50 KB: it has no room to encode it. 400, and no line."""
    kamailio.take(RIGHT.replace(b"Call-ID", b"Subject: \xe9\r\nCall-ID"))
    kamailio.variables["$(mb{s.encode.base64})"] = None
    assert ready.diameter_www_authorize("$fd") == 0
    assert kamailio.replies == [(400, "Bad Request", "")]
    assert lines(kamailio) == []


@pytest.mark.parametrize("bad", [b"\xe9", b"\xff", b"\xc3"], ids=["latin-1", "ff", "half"])
def test_whatever_bytes_it_has(ready, kamailio, bad):
    """`$mb` is decoded strictly: a single byte that is no UTF-8 makes it an exception."""
    kamailio.take(
        build_request(extra=(f"Authorization: {build_credentials()}",)).replace(b"c1@", b"c1" + b"@")
    )
    data = build_request(extra=("Subject: x", f"Authorization: {build_credentials()}")).replace(
        b"Subject: x", b"Subject: " + bad
    )
    kamailio.take(data)
    assert ready.diameter_www_authorize("$fd") == 1
    assert ready._functions.calls.data == data


def test_the_script_has_changed_the_request_uri(ready, kamailio, disc):
    """As with the C module, the new one counts for the group check."""
    kamailio.take(RIGHT)
    kamailio.request_uri = "sip:carol@other.example"
    assert ready.diameter_is_user_in("Request-URI", "voicemail") == 1
    question = disc.questions[-1]
    assert question.find(USER_NAME).data == b"carol"
    assert question.find(DESTINATION_REALM).data == b"other.example"


# ------------------------------------------------------------------ realms


@pytest.mark.parametrize(
    ("realm", "expected"),
    [
        ("$fd", b"siphub.net"),
        ("$td", b"siphub.net"),
        ("", b"siphub.net"),
        ("my.realm", b"my.realm"),
        ("$var(realm)", b"from.script"),
        ("x-$var(realm)", b"x-from.script"),
    ],
)
def test_a_realm(ready, kamailio, disc, realm, expected):
    """Variables of the script are Kamailio's to expand."""
    kamailio.variables["$var(realm)"] = "from.script"
    kamailio.take(FIRST)
    assert ready.diameter_www_authorize(realm) == -5
    assert disc.questions[-1].find(DESTINATION_REALM).data == expected


def test_a_value_with_a_dollar_sign_is_not_expanded_again(ready, kamailio, disc):
    kamailio.evalx = lambda name, text: kamailio.variables.update({name: "a$fd"}) or 1
    kamailio.take(FIRST)
    assert ready.diameter_www_authorize("$var(realm)") == -5
    assert disc.questions[-1].find(DESTINATION_REALM).data == b"a$fd"


@pytest.mark.parametrize("realm", [None, "<null>", "$fd", "$var(realm)"])
def test_a_realm_without_a_value(ready, kamailio, disc, realm):
    """As $fd of a tel: URI: None, or "<null>" in a text. 400 and 0, but an ACK is let through."""
    kamailio.variables["$var(realm)"] = "<null>"
    kamailio.take(build_request(from_="<tel:+123>;tag=1"))
    assert ready.diameter_proxy_authorize(realm) == 0
    assert kamailio.replies == [(400, "Bad Request", "")]
    kamailio.take(build_request("ACK", from_="<tel:+123>;tag=1"))
    assert ready.diameter_proxy_authorize(realm) == 1
    assert kamailio.replies == []
    assert disc.questions == []


@pytest.mark.parametrize("realm", ["$nosuch", "x$", "$var(realm"])
def test_an_unknown_pseudo_variable(ready, kamailio, disc, realm):
    kamailio.take(FIRST)
    assert ready.diameter_www_authorize(realm) == -5
    assert kamailio.replies == [(500, "Server Internal Error", "")]
    [line] = lines(kamailio)
    assert line == (
        f"err: auth_diameter: diameter_www_authorize: realm {realm!r}: unknown pseudo-variable; "
        "a dollar sign is written $$"
    )
    assert disc.questions == []


@pytest.mark.parametrize("realm", [5, b"siphub.net", ["siphub.net"]])
def test_a_realm_that_is_no_text(ready, kamailio, realm):
    kamailio.take(FIRST)
    assert ready.diameter_www_authorize(realm) == -5
    assert [status for status, _, _ in kamailio.replies] == [500]
    assert len(lines(kamailio)) == 1


# ------------------------------------------------------------------ configuration


def test_the_defaults_are_those_of_the_c_module(kemi):
    assert kemi.configure() == 1
    config = kemi._functions._auth.config
    assert (config.diameter_client_host, config.diameter_client_port) == ("localhost", 3000)
    assert (config.use_domain, config.unavailable_status) == (False, 500)


def test_a_status_of_ones_own(kemi, kamailio):
    kemi.configure(diameter_client_host="127.0.0.1", diameter_client_port=1, unavailable_status=503)
    kamailio.take(RIGHT)
    assert kemi.diameter_www_authorize("$fd") == -5
    assert kamailio.replies == [(503, "Service Unavailable", "Retry-After: 2\r\n")]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (
            {"diameter_client_hots": "x"},
            "unknown setting 'diameter_client_hots'; is it 'diameter_client_host'?",
        ),
        ({"colour": 1}, "unknown setting 'colour'"),
        ({"diameter_client_port": 0}, "diameter_client_port"),
        ({"db": "/nonexistent/users.sqlite"}, "there is no such database"),
        (
            {"application": "sip", "origin_host": "a.b", "origin_realm": "b"},
            "a worker process cannot speak 'sip'",
        ),
    ],
)
def test_settings_that_cannot_be_used(ready, kamailio, settings, says):
    """-1 and a line; the settings before stay in use."""
    assert ready.configure(**settings) == -1
    [line] = lines(kamailio)
    assert line.startswith("err: auth_diameter: configure: ")
    assert says in line
    kamailio.take(RIGHT)
    assert ready.diameter_www_authorize("$fd") == 1


def test_bad_settings_stay_bad(ready):
    """They are not those that the next call is compared with."""
    assert [ready.configure(colour=1) for _ in range(2)] == [-1, -1]


def test_a_second_configure_logs_once(ready, kamailio, disc):
    ready.configure(**disc.settings, timeout=4.0)
    logging.getLogger("auth_diameter.pool").warning("once")
    assert lines(kamailio) == ["warn: auth_diameter: once"]


def test_a_message_has_the_limit_of_the_settings(kemi, kamailio, disc):
    kemi.configure(**disc.settings, max_sip_message=256)
    kamailio.take(RIGHT)
    assert kemi.diameter_www_authorize("$fd") == 0


@pytest.mark.parametrize("part", ["pvx", "sl"])
def test_a_module_of_kamailio_is_missing(load, kamailio, part):
    module = kamailio.module()
    delattr(module, part)
    kemi = load(NAME, "KSR", module)
    assert kemi.configure() == -1
    [line] = lines(kamailio)
    name = {"pvx": "pv.so", "sl": "sl.so"}[part]
    assert line.endswith(f'loadmodule "{name}" is missing in kamailio.cfg')
    kamailio.take(RIGHT)
    assert kemi.diameter_www_authorize("$fd") == -5
    said = lines(kamailio)
    assert said[0].endswith("configure() has failed: see its line on the log")
    assert len(kamailio.replies) + len(said) == 2, "a reply, or a line that says why there is none"


def test_the_same_settings_again_change_nothing(ready, disc):
    """As when the script is loaded again: connections, counts and guesses stay."""
    client = ready._functions._auth
    assert ready.configure(**disc.settings, timeout=5.0) == 1
    assert ready._functions._auth is client


def test_other_settings_apply_from_the_next_call_on(ready, kamailio, fake_disc, disc):
    other = fake_disc()
    kamailio.take(RIGHT)
    assert ready.diameter_www_authorize("$fd") == 1
    assert ready.configure(**other.settings) == 1
    assert ready.diameter_www_authorize("$fd") == 1
    assert (len(disc.questions), len(other.questions)) == (1, 1)


def test_settings_that_change_between_two_calls_about_a_message(ready, kamailio, disc):
    """With python_exec Kamailio may load the script again before any call; the credentials were right."""
    kamailio.take(RIGHT)
    assert ready.diameter_www_authorize("$fd") == 1
    assert ready.configure(**disc.settings, timeout=4.0) == 1
    assert ready.diameter_is_user_in("Credentials", "voicemail") == 1


def test_a_call_before_configure(kemi, kamailio):
    kamailio.take(RIGHT)
    assert kemi.diameter_www_authorize("$fd") == -5
    assert kemi.diameter_proxy_authorize("$fd") == -5
    assert kamailio.replies == [(500, "Server Internal Error", "")] * 2
    assert kemi.diameter_is_user_in("From", "voicemail") == -1
    assert [line.partition("call ")[2] for line in lines(kamailio)] == [
        "configure() first, when the script is loaded"
    ] * 3


def test_in_a_worker_the_settings_of_a_database_stay(kemi, kamailio, tmp_path, disc):
    """Each worker would have a nonce key and counts of its own: Kamailio is to be restarted."""
    kemi.configure(**disc.settings)

    def in_a_worker():
        return kemi.configure(db=str(tmp_path / "users.sqlite")), lines(kamailio)

    code, [line] = in_child(in_a_worker)
    assert code == -1
    assert line == "err: auth_diameter: configure: db: its settings change when Kamailio is restarted"


def test_the_log_of_the_package_is_that_of_kamailio(ready, kamailio):
    log = logging.getLogger("auth_diameter.pool")
    log.warning("DISC %s\nis down", "a:1")
    log.info("refused user=%r", "alice")
    log.debug("not at all")
    log.critical("burning")
    assert lines(kamailio) == [
        "warn: auth_diameter: DISC a:1 is down",
        "info: auth_diameter: refused user='alice'",
        "err: auth_diameter: burning",
    ]


# ------------------------------------------------------------------ bad messages


def test_a_malformed_request(ready, kamailio, disc):
    """400 and 0, as the C module; nothing on the log, which strangers could fill."""
    kamailio.take(changed(b"CSeq: 7 INVITE", b"CSeq: seven INVITE", FIRST))
    assert ready.diameter_www_authorize("$fd") == 0
    assert kamailio.replies == [(400, "Bad Request", "")]
    assert ready.diameter_is_user_in("From", "voicemail") == -5
    assert lines(kamailio) == []
    assert disc.questions == []


@pytest.mark.parametrize("data", [b"", b"\0", b"x", b"GET / HTTP/1.1\r\n\r\n", b"\r\n" * 5])
def test_what_is_no_sip_at_all(ready, kamailio, data):
    kamailio.take(data)
    assert ready.diameter_www_authorize("$fd") == 0
    assert kamailio.replies == [(400, "Bad Request", "")]


def test_a_reply_instead_of_a_request(ready, kamailio):
    """No reply may be sent to a reply."""
    kamailio.take(REPLY)
    assert ready.diameter_www_authorize("$fd") == -5
    assert ready.diameter_is_user_in("From", "voicemail") == -1
    assert kamailio.replies == []
    for line in lines(kamailio):
        assert line.endswith("the message is no SIP request; call it in the route of a request")


def test_a_fault_after_a_reply_is_answered(ready, kamailio):
    """What was the message before says nothing about this one, though the fault comes before it is read."""
    kamailio.take(REPLY)
    ready.diameter_www_authorize("$fd")
    kamailio.take(FIRST)
    assert ready.diameter_www_authorize("$nosuch") == -5
    assert kamailio.replies == [(500, "Server Internal Error", "")]


def test_a_fault_about_a_reply_after_a_request_is_not(ready, kamailio):
    kamailio.take(FIRST)
    ready.diameter_www_authorize("$fd")
    kamailio.take(REPLY)
    assert ready.diameter_www_authorize("$nosuch") == -5
    assert kamailio.replies == []


def test_a_message_that_kamailio_cannot_hand_out_after_a_reply(ready, kamailio):
    """It is malformed, 400, and no reply."""
    kamailio.take(REPLY)
    ready.diameter_www_authorize("$fd")
    lines(kamailio)
    kamailio.take(RIGHT.replace(b"Call-ID", b"Subject: \xe9\r\nCall-ID"))
    kamailio.variables["$(mb{s.encode.base64})"] = None
    assert ready.diameter_www_authorize("$fd") == 0
    assert kamailio.replies == [(400, "Bad Request", "")]
    assert lines(kamailio) == []


def test_no_message_at_all(ready, kamailio):
    """As in an event route, or when the script is loaded."""
    kamailio.take(None)
    assert ready.diameter_www_authorize("$fd") == -5
    assert ready.diameter_is_user_in("From", "voicemail") == -1
    assert [line.partition("there is ")[2] for line in lines(kamailio)] == [
        "no message; call it in the route of a request"
    ] * 2


def test_after_a_malformed_one_the_next_is_read(ready, kamailio):
    kamailio.take(b"x")
    ready.diameter_www_authorize("$fd")
    kamailio.take(RIGHT)
    assert ready.diameter_www_authorize("$fd") == 1


# ------------------------------------------------------------------ faults


def test_disc_is_not_there(kemi, kamailio, disc):
    """500, as the C module; one line says so, and not one for each request."""
    disc.stop()
    kemi.configure(**disc.settings)
    kamailio.take(RIGHT)
    for _ in range(20):
        assert kemi.diameter_www_authorize("$fd") == -5
    assert set(kamailio.replies) == {(500, "Server Internal Error", "")}
    assert kemi.diameter_is_user_in("From", "voicemail") == -1
    assert len([line for line in lines(kamailio) if "is down: connection refused" in line]) == 1


def test_disc_hangs(kemi, kamailio, fake_disc):
    kemi.configure(**fake_disc(say_nothing).settings, timeout=0.2)
    kamailio.take(RIGHT)
    assert [kemi.diameter_www_authorize("$fd") for _ in range(3)] == [-5] * 3
    assert set(kamailio.replies) == {(500, "Server Internal Error", "")}


class Bang(BaseException):
    """What no `except Exception` takes."""


@pytest.mark.parametrize("broken", ["get", "append_to_reply", "send_reply"])
@pytest.mark.parametrize("error", [RuntimeError("secret"), Bang(), SystemExit(1), KeyboardInterrupt()])
def test_an_exception_never_leaves(load, kamailio, disc, monkeypatch, broken, error):
    """One line says what happened and where; not what the exception says, which may repeat the message."""

    def fail(*arguments):
        raise error

    monkeypatch.setattr(kamailio, broken, fail)
    kemi = load(NAME, "KSR", kamailio.module())
    kemi.configure(**disc.settings)
    kamailio.take(FIRST)
    assert kemi.diameter_www_authorize("$fd") == -5
    assert type(kemi.diameter_is_user_in("From", "voicemail")) is int
    said = lines(kamailio)
    assert 1 <= len(said) <= 3
    assert f"{type(error).__name__} at test_kemi.py:" in said[0]
    assert "secret" not in "".join(said)


@pytest.mark.parametrize("error", [RuntimeError(), Bang()])
def test_an_exception_while_a_malformed_request_is_refused(load, kamailio, disc, monkeypatch, error):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(kamailio, "send_reply", fail)
    kemi = load(NAME, "KSR", kamailio.module())
    kemi.configure(**disc.settings)
    kamailio.take(b"INVITE nothing")
    assert kemi.diameter_www_authorize("$fd") == -5
    assert all(type(error).__name__ in line for line in lines(kamailio))


def test_even_the_log_may_fail(load, kamailio, disc, monkeypatch):
    module = kamailio.module()
    module.err = module.log = None
    kemi = load(NAME, "KSR", module)
    assert kemi.configure(nonsense=1) == -1
    assert kemi.diameter_www_authorize("$fd") == -5


def test_a_wrong_argument_of_the_group_check(ready, kamailio):
    kamailio.take(RIGHT)
    assert ready.diameter_is_user_in("Contact", "voicemail") == -1
    assert ready.diameter_is_user_in("From", "") == -1
    assert lines(kamailio) == [
        "err: auth_diameter: diameter_is_user_in: who 'Contact': "
        "expected Request-URI, To, From or Credentials",
        "err: auth_diameter: diameter_is_user_in: group: expected a name",
    ]
    assert kamailio.replies == []


# ------------------------------------------------------------------ python_exec


@pytest.fixture
def handler(ready):
    return ready.Handler()


def test_the_handler_has_the_functions_as_methods(handler, kamailio):
    kamailio.take(RIGHT)
    assert handler.child_init(1) == 0
    assert handler.diameter_www_authorize(object(), "siphub.net") == 1
    assert handler.diameter_www_authorize(object()) == 1
    assert handler.diameter_proxy_authorize(object(), "siphub.net") == -5
    assert handler.diameter_proxy_authorize(object()) == -5


@pytest.mark.parametrize("realm", ["$td", "$var(realm)", "$nosuch", "a$"])
def test_the_handler_takes_the_realm_as_it_stands(handler, kamailio, disc, realm):
    """Kamailio has expanded it. What it has put in may come from a header field, so from a stranger."""
    kamailio.variables["$var(realm)"] = "secret"
    kamailio.take(FIRST)
    assert handler.diameter_www_authorize(object(), realm) == -5
    assert disc.questions[-1].find(DESTINATION_REALM).data == realm.encode()
    assert lines(kamailio) == []


@pytest.mark.parametrize(
    "argument", ["Credentials,voicemail", " Credentials , voicemail ", "credentials,a,b"]
)
def test_the_handler_splits_at_the_first_comma(handler, kamailio, argument):
    kamailio.take(RIGHT)
    handler.diameter_www_authorize(object(), "siphub.net")
    assert handler.diameter_is_user_in(object(), argument) == 1


@pytest.mark.parametrize("argument", ["Credentials", "", None, 5])
def test_the_handler_needs_both(handler, kamailio, argument):
    kamailio.take(RIGHT)
    assert handler.diameter_is_user_in(object(), argument) == -1
    [line] = lines(kamailio)
    assert line.endswith(f'expected "who,group", such as "Credentials,voicemail", not {argument!r}')


# ------------------------------------------------------------------ with a database


ALICE = Account()


def answered(headers, *, password=ALICE.password):
    """A REGISTER that answers the challenge in the header fields of a reply."""
    challenge = Challenge.parse(headers.partition(": ")[2].rstrip())
    return ALICE.request("REGISTER", ALICE.answer(challenge, password=password))


@pytest.fixture
def judge(kemi, kamailio, db):
    """A function of a request that returns the code, and the header fields of the reply."""
    assert kemi.configure(db=str(db)) == 1

    def work(data):
        kamailio.take(data)
        code = kemi.diameter_www_authorize("$td")
        return code, kamailio.replies[-1][2] if kamailio.replies else ""

    return work


def test_a_database_needs_no_disc(judge, kemi):
    _, challenge = judge(ALICE.request())
    assert judge(answered(challenge)) == (1, "")
    assert kemi.diameter_is_user_in("Credentials", "voicemail") == 1
    assert kemi.diameter_is_user_in("Credentials", "operators") == -1


def test_workers_accept_each_others_challenges(judge):
    """The nonce key was made before the fork."""
    _, challenge = in_child(lambda: judge(ALICE.request()))
    assert in_child(lambda: judge(answered(challenge))) == (1, "")


def test_workers_count_nonces_together(judge):
    """A replay is refused, whichever worker gets it: with another challenge, since the nonce is used up."""
    _, challenge = judge(ALICE.request())
    request = answered(challenge)
    assert in_child(lambda: judge(request)) == (1, "")
    again = request.replace(b"Max-Forwards: 70", b"Max-Forwards: 69")  # no retransmission
    assert again != request
    code, headers = in_child(lambda: judge(again))
    assert code == -5
    assert headers.startswith("WWW-Authenticate: Digest ")


def test_workers_count_guesses_together(judge, kemi):
    """Five of one user from one source are verified; then the right password is refused as well."""
    _, challenge = judge(ALICE.request())
    for guess in range(5):
        request = answered(challenge, password=f"guess {guess}")
        assert in_child(lambda request=request: judge(request)) == (-5, "")
    _, fresh = judge(ALICE.request())
    assert in_child(lambda: judge(answered(fresh))) == (-5, "")


# ------------------------------------------------------------------ outside of Kamailio


def test_without_kamailio_it_says_how_it_is_loaded():
    done = subprocess.run(
        [sys.executable, "-c", f"import {NAME}"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "ImportError: there is no module KSR: auth_diameter.adapters.kemi works inside Kamailio, which loads "
        'the script by modparam("app_python3", "load", "/etc/kamailio/auth.py")'
    )
