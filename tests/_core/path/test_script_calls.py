"""ScriptCalls: from the current message of a server to a return code."""

import gc
import weakref

import pytest
from kit.ksr import Kamailio
from kit.sip import FIRST, RIGHT, changed

from auth_diameter import Cause, ConfigError, Decision, ParseError
from auth_diameter._core import ScriptCalls

ENCODED = "$(mb{s.encode.base64})"
AUTHORIZED = Decision(1, Cause.AUTHORIZED)


class Judge:
    """Decides what it is told to, and notes what it was asked."""

    def __init__(self, found=AUTHORIZED):
        self.found = found
        self.asked = []

    def decide(self, request, realm, proxy):
        self.asked.append((request, realm, proxy))
        return self.found


@pytest.fixture
def server():
    server = Kamailio()
    server.take(RIGHT)
    return server


@pytest.fixture
def judge():
    return Judge()


@pytest.fixture
def calls(judge):
    return ScriptCalls(judge.decide, ENCODED, max_size=65_535, max_headers=256)


def test_who_is_let_in_is_a_1(calls, server, judge):
    assert calls.authorize(server.get, "$fd", False) == 1
    [(request, realm, proxy)] = judge.asked
    assert (request.method, request.source, realm, proxy) == ("INVITE", ("192.0.2.7", 0), "$fd", False)
    assert calls.request is request
    assert calls.data == RIGHT


@pytest.mark.parametrize(
    "found",
    [
        None,
        Decision(-5, Cause.CHALLENGED, 401),
        Decision(0, Cause.MALFORMED_REQUEST, 400),
        Decision(1, Cause.AUTHORIZED, headers=(("Authentication-Info", "x"),)),
    ],
)
def test_all_else_is_what_was_decided(calls, server, judge, found):
    """There is something to send, or Python goes on."""
    judge.found = found
    assert calls.authorize(server.get, "$fd", True) is found
    assert judge.asked[0][2] is True


def test_calls_about_a_message_have_one_request(calls, server, judge):
    calls.authorize(server.get, "a", False)
    calls.authorize(server.get, "b", True)
    assert calls.request_of(server.get) is judge.asked[0][0] is judge.asked[1][0]
    server.take(RIGHT)
    assert calls.request_of(server.get) is not judge.asked[0][0]


def test_the_request_before_is_freed(calls, server):
    class Held:
        pass

    held = Held()
    server.take(RIGHT)
    calls.authorize(server.get, "a", False)
    note = weakref.ref(held)
    del held
    server.take(FIRST)
    calls.authorize(server.get, "a", False)
    gc.collect()
    assert note() is None
    assert calls.data == FIRST


def test_bytes_that_are_no_utf8(calls, server):
    data = changed(b"sip:alice@siphub.net>;tag", b'sip:alice@siphub.net>;x="\xe9";tag', FIRST)
    server.take(data)
    calls.authorize(server.get, "a", False)
    assert calls.data == data
    assert server.calls == ["$mi", "$mb", ENCODED, "$si"]


@pytest.mark.parametrize(
    ("address", "source"), [("[2001:db8::1]", "2001:db8::1"), ("2001:db8::1", "2001:db8::1")]
)
def test_an_ipv6_address(calls, server, address, source):
    calls.request_of(lambda name: address if name == "$si" else server.get(name))
    assert calls.request.source == (source, 0)


def test_an_address_that_is_not_known(calls, server):
    calls.request_of(lambda name: None if name == "$si" else server.get(name))
    assert calls.request.source is None


def test_a_malformed_message_is_tried_anew_in_each_call(calls, server, judge):
    server.take(b"no SIP")
    for _ in range(2):
        with pytest.raises(ParseError):
            calls.authorize(server.get, "a", False)
        with pytest.raises(ParseError):
            calls.request_of(server.get)
    assert calls.request is None
    assert calls.data == b"no SIP"
    assert judge.asked == []


def test_no_message(calls, server):
    """Not that of the call before."""
    calls.authorize(server.get, "a", False)
    server.take(None)
    with pytest.raises(ConfigError, match="no message"):
        calls.authorize(server.get, "a", False)
    assert calls.request is None
    assert calls.data is None


@pytest.mark.parametrize("other", ["the bytes", "the source"])
def test_the_number_alone_is_not_the_message(calls, server, other):
    """Processes count for themselves, and a message may change the process."""
    first = calls.request_of(server.get)
    if other == "the bytes":
        server.take(FIRST, number=1)
    else:
        server.variables["$si"] = "192.0.2.8"
    assert calls.request_of(server.get) is not first


def test_a_number_that_comes_again(calls, server):
    """After a malformed message the one before it is read anew: nothing of it is left."""
    numbers = iter([1, 2, 1])
    messages = iter([RIGHT, b"no SIP", FIRST])

    def take():
        number, data = next(numbers), next(messages)
        return lambda name: {"$mi": number, "$mb": data.decode(), "$si": "192.0.2.7"}[name]

    calls.request_of(take())
    with pytest.raises(ParseError):
        calls.request_of(take())
    calls.request_of(take())
    assert calls.data == FIRST


def test_the_limits_are_those_of_the_client(judge, server):
    small = ScriptCalls(judge.decide, ENCODED, max_size=256, max_headers=256)
    server.take(RIGHT + b"x" * 300)
    with pytest.raises(ParseError, match="limit"):
        small.request_of(server.get)


@pytest.mark.parametrize("value", [5, b"INVITE", ["x"]])
def test_a_server_that_returns_something_else(calls, server, value):
    with pytest.raises(TypeError):
        calls.request_of(lambda name: value if name == "$mb" else server.get(name))
    with pytest.raises((TypeError, AttributeError)):
        calls.request_of(lambda name: value if name == "$si" else server.get(name))


def test_what_the_server_raises_comes_through(calls):
    def fail(name):
        raise KeyError(name)

    with pytest.raises(KeyError):
        calls.authorize(fail, "a", False)
