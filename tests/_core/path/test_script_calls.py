"""ScriptCalls: from the current message of a server to a return code."""

import gc
import weakref

import pytest
from kit.ksr import Kamailio
from kit.sip import FIRST, RIGHT, changed

from auth_diameter import Cause, ConfigError, Decision, ParseError
from auth_diameter._core import ScriptCalls, ScriptFunction, ScriptMethod

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


class Policy:
    """Notes what is left to it."""

    def __init__(self):
        self.told = []

    def prepare(self, message, realm, is_expanded):
        self.told.append(("prepare", message, realm, is_expanded))
        return None if realm is None else "prepared"

    def go_on(self, message, found, realm, proxy):
        self.told.append(("go on", message, found, realm, proxy))
        return -5

    def refuse(self, message, proxy, error):
        self.told.append(("refuse", message, proxy, error))
        return -1


@pytest.fixture
def server():
    server = Kamailio()
    server.take(RIGHT)
    return server


@pytest.fixture
def judge():
    return Judge()


@pytest.fixture
def policy():
    return Policy()


@pytest.fixture
def calls(policy, judge):
    calls = ScriptCalls(policy, ENCODED)
    calls.use(judge, max_size=65_535, max_headers=256)
    return calls


def test_who_is_let_in_is_a_1(calls, server, judge, policy):
    assert calls.authorize(server, "$fd", False) == 1
    [(request, realm, proxy)] = judge.asked
    assert (request.method, request.source, realm, proxy) == ("INVITE", ("192.0.2.7", 0), "$fd", False)
    assert calls.request is request
    assert calls.data == RIGHT
    assert policy.told == []


@pytest.mark.parametrize(
    "found",
    [
        None,
        Decision(-5, Cause.CHALLENGED, 401),
        Decision(0, Cause.MALFORMED_REQUEST, 400),
        Decision(1, Cause.AUTHORIZED, headers=(("Authentication-Info", "x"),)),
    ],
)
def test_all_else_is_left_to_the_policy(calls, server, judge, policy, found):
    """There is something to send, or Python goes on."""
    judge.found = found
    assert calls.authorize(server, "$fd", True) == -5
    assert judge.asked[0][2] is True
    assert policy.told == [("go on", server, found, "$fd", True)]


@pytest.mark.parametrize("realm", ["siphub.net", "", "€uro.example", "$fd", "$td", "$(fd)", "$(td)"])
def test_a_realm_that_nobody_need_expand(calls, server, judge, policy, realm):
    for _ in range(2):
        assert calls.authorize(server, realm, False) == 1
    assert [asked[1] for asked in judge.asked] == [realm] * 2
    assert policy.told == []


@pytest.mark.parametrize(
    ("realm", "is_expanded"),
    [
        ("$var(realm)", False), ("$$", False), ("€$fd", False), ("$fd", True), ("a$b", True),
        ("<null>", True), ("<null>", False), (b"siphub.net", False), (5, False),
        (type("Text", (str,), {})("$fd"), False),
    ],
)  # fmt: skip
def test_a_realm_that_the_policy_prepares(calls, server, judge, policy, realm, is_expanded):
    """What the server has put in may be a stranger's: it is not expanded again, though `$fd` was before."""
    calls.authorize(server, "$fd", False)
    assert calls.authorize(server, realm, False, is_expanded) == 1
    assert policy.told == [("prepare", server, realm, is_expanded)]
    assert judge.asked[1][1] == "prepared"


def test_a_realm_without_a_value(calls, server, judge, policy):
    assert calls.authorize(server, None, False) == -5
    assert judge.asked == []
    assert policy.told[1:] == [("go on", server, None, None, False)]


def test_nobody_decides_so_far(policy, server):
    """The policy says why; should it not, the call is refused as after any exception."""
    assert ScriptCalls(policy, ENCODED).authorize(server, "$fd", True) == -1
    assert policy.told[0] == ("prepare", server, "$fd", False)
    assert policy.told[1][:3] == ("refuse", server, True)


@pytest.mark.parametrize("at", ["prepare", "decide", "go_on"])
@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, MemoryError])
def test_each_exception_is_the_policy_s(calls, server, judge, policy, monkeypatch, at, kind):
    def fail(*arguments):
        raise kind

    judge.found = None
    monkeypatch.setattr(judge if at == "decide" else policy, at, fail)
    calls.use(judge, max_size=65_535, max_headers=256)
    assert calls.authorize(server, "$x" if at == "prepare" else "a", True) == -1
    assert policy.told[-1][:3] == ("refuse", server, True)
    assert type(policy.told[-1][3]) is kind


def test_another_client_decides_on_the_message_that_is_there(calls, server):
    """Settings may change between two calls about a message."""
    calls.authorize(server, "a", False)
    request = calls.request
    other = Judge()
    calls.use(other, max_size=65_535, max_headers=256)
    assert calls.authorize(server, "a", True) == 1
    assert [asked[0] for asked in other.asked] == [request]


@pytest.mark.parametrize("proxy", [False, True])
def test_a_function_of_a_script(calls, server, judge, policy, proxy):
    function = ScriptFunction(calls, server, proxy)
    assert function("$fd") == function() == function(realm="$x") == 1
    assert [asked[1:] for asked in judge.asked] == [("$fd", proxy), ("", proxy), ("prepared", proxy)]
    assert policy.told == [("prepare", server, "$x", False)]


@pytest.mark.parametrize("proxy", [False, True])
def test_a_method_of_a_handler(calls, server, judge, policy, proxy):
    """The server has expanded its argument, and hands over an object of its own for the message."""
    method = ScriptMethod(calls, server, proxy)
    assert method(object(), "siphub.net") == method(object()) == method(None, realm="$fd") == 1
    assert [asked[1:] for asked in judge.asked] == [("siphub.net", proxy), ("", proxy), ("prepared", proxy)]
    assert policy.told == [("prepare", server, "$fd", True)]


def test_a_method_stands_in_a_class(calls, server):
    """Without the object that it is called on."""

    class Handler:
        authorize = ScriptMethod(calls, server, proxy=False)

    assert Handler().authorize("msg", "siphub.net") == 1


def test_calls_about_a_message_have_one_request(calls, server, judge):
    calls.authorize(server, "a", False)
    calls.authorize(server, "b", True)
    assert calls.request_of(server.get) is judge.asked[0][0] is judge.asked[1][0]
    server.take(RIGHT)
    assert calls.request_of(server.get) is not judge.asked[0][0]


def test_the_request_before_is_freed(calls, server):
    class Held:
        pass

    held = Held()
    server.take(RIGHT)
    calls.authorize(server, "a", False)
    note = weakref.ref(held)
    del held
    server.take(FIRST)
    calls.authorize(server, "a", False)
    gc.collect()
    assert note() is None
    assert calls.data == FIRST


def test_bytes_that_are_no_utf8(calls, server):
    data = changed(b"sip:alice@siphub.net>;tag", b'sip:alice@siphub.net>;x="\xe9";tag', FIRST)
    server.take(data)
    calls.authorize(server, "a", False)
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


def test_a_malformed_message_is_tried_anew_in_each_call(calls, server, judge, policy):
    server.take(b"no SIP")
    for _ in range(2):
        assert calls.authorize(server, "a", False) == -1
        with pytest.raises(ParseError):
            calls.request_of(server.get)
    assert [type(told[3]) for told in policy.told] == [ParseError] * 2
    assert calls.request is None
    assert calls.data == b"no SIP"
    assert judge.asked == []


def test_no_message(calls, server, judge, policy):
    """Not that of the call before."""
    calls.authorize(server, "a", False)
    server.take(None)
    assert calls.authorize(server, "a", False) == -1
    with pytest.raises(ConfigError, match="no message"):
        calls.request_of(server.get)
    assert type(policy.told[0][3]) is ConfigError
    assert len(judge.asked) == 1
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
    small = ScriptCalls(Policy(), ENCODED)
    small.use(judge, max_size=256, max_headers=256)
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
        calls.request_of(fail)


def test_the_address_before(calls, server):
    """Messages from one address have one source, and the next address has its own."""
    first = calls.request_of(server.get).source
    server.take(FIRST)
    assert calls.request_of(server.get).source is first
    server.take(RIGHT)
    server.variables["$si"] = "192.0.2.8"
    assert calls.request_of(server.get).source == ("192.0.2.8", 0)
    server.take(FIRST)
    server.variables["$si"] = None
    assert calls.request_of(server.get).source is None
    server.take(RIGHT)
    server.variables["$si"] = "192.0.2.8"
    assert calls.request_of(server.get).source == ("192.0.2.8", 0)


@pytest.mark.parametrize("address", ["ä.example", None])
def test_an_address_that_is_no_ascii_is_compared_as_well(calls, server, address):
    """No server has such; but a source must not be that of another message."""
    server.variables["$si"] = "ö.example"
    calls.request_of(server.get)
    server.variables["$si"] = address
    assert calls.request_of(server.get).source == (None if address is None else (address, 0))


def test_the_beginning_of_a_message_is_not_the_message(calls, server):
    """With the number and the source of the one before."""
    longer = FIRST + b"and more"
    server.take(longer)
    first = calls.request_of(server.get)
    server.take(FIRST, number=server.get("$mi"))
    assert calls.request_of(server.get) is not first
    assert calls.data == FIRST


def test_the_number_of_header_fields_is_limited(judge, server):
    small = ScriptCalls(Policy(), ENCODED)
    small.use(judge, max_size=65_535, max_headers=3)
    with pytest.raises(ParseError, match="limit"):
        small.request_of(server.get)


@pytest.mark.parametrize("name", ["$mi", "$mb", "$si"])
def test_nothing_is_left_of_the_message_before(calls, server, name):
    """Where the next one cannot be read: what is done about it must not follow from the one before."""

    def get(asked):
        if asked == name:
            raise KeyError(asked)
        return server.get(asked)

    calls.request_of(server.get)
    with pytest.raises(KeyError):
        calls.request_of(get)
    assert calls.request is None
    assert calls.data is None
