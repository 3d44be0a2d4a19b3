"""The SIP/UDP host: real datagrams, a real DISC, the default route and route scripts."""

import asyncio
import contextlib
import errno
import logging
import resource
import socket
import sys
import threading
import time
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.disc import CHALLENGE_VALUE, answer_all, say_nothing
from kit.machine import PATIENCE, needs_ipv6
from kit.sip import ACCOUNT, DOMAIN, PASSWORD, shortest
from kit.wire import build_answer

import auth_diameter as ad
from auth_diameter import refusals
from auth_diameter._core import Answer, Avp, Penalties
from auth_diameter.client import authorizer
from auth_diameter.disc.listener import listen
from auth_diameter.host import server as host_module
from auth_diameter.host import turns
from auth_diameter.host.server import load_route, serve
from auth_diameter.lab.uac import authorization, make_request, parse_reply
from auth_diameter.store.accounts import Store
from auth_diameter.verifier.verifier import Disc

try:
    import uvloop
except ModuleNotFoundError:  # an extra, and not for every platform
    uvloop = None


async def until(what):
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.001)


class Phone(asyncio.DatagramProtocol):
    """A telephone on loopback."""

    def __init__(self):
        self.replies = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport
        self.local = transport.get_extra_info("sockname")[:2]

    def datagram_received(self, data, addr):
        self.replies.put_nowait(data)

    def send(self, data, to):
        # asyncio's own sendto leaves an empty datagram out.
        with self.transport.get_extra_info("socket").dup() as sock:
            sock.sendto(data, to)

    async def receive(self):
        return parse_reply(await asyncio.wait_for(self.replies.get(), PATIENCE))

    def request(self, method="REGISTER", uri=f"sip:{DOMAIN}", **options):
        return make_request(method, uri, ACCOUNT, local=self.local, **options)

    async def ask(self, host, method="REGISTER", headers=(), **options):
        """Send a request; its reply."""
        self.send(self.request(method, headers=headers, **options), host.address)
        return await self.receive()

    async def log_in(self, host, method="REGISTER", password=PASSWORD, username="alice"):
        """Both phases of digest; the two replies."""
        first = await self.ask(host, method)
        name = "Authorization" if first.status == 401 else "Proxy-Authorization"
        assert first.challenge() is not None, first
        value = authorization(first.challenge(), username, password, method, f"sip:{DOMAIN}")
        return first, await self.ask(host, method, [(name, value)])

    async def expect_silence(self, host):
        """What was sent before gets no reply: that of an ACK-less probe, sent after it, is the first."""
        self.send(self.request("MESSAGE", call_id="probe"), host.address)
        reply = await self.receive()
        assert reply.header("Call-ID") == "probe", reply


@pytest.fixture(
    params=["asyncio", pytest.param("uvloop", marks=pytest.mark.skipif(not uvloop, reason="no uvloop"))]
)
def run(request):
    """Run `scenario(host, phone)` on an event loop, with DISC, a host and a telephone on loopback."""

    def play(scenario, route=None, address="127.0.0.1", disc_down=False, **settings):
        async def whole():
            async with contextlib.AsyncExitStack() as stack:
                store = stack.enter_context(Store.open(":memory:", writable=True))
                store.add_user("alice", DOMAIN, PASSWORD)
                store.add_group("alice", DOMAIN, "voicemail")
                listener = await listen(Disc(store), "127.0.0.1", 0)
                stack.push_async_callback(listener.aclose)
                if disc_down:
                    await listener.aclose()
                peers = [listener.address]
                config = ad.Config(peers=peers, **{"timeout": PATIENCE, **settings})
                auth = await stack.enter_async_context(ad.AsyncAuthDiameter(config))
                host = await serve(auth, address, 0, route)
                stack.push_async_callback(host.aclose)
                loop = asyncio.get_running_loop()
                transport, phone = await loop.create_datagram_endpoint(Phone, local_addr=(address, 0))
                stack.callback(transport.close)
                return await scenario(host, phone)

        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(whole(), 2 * PATIENCE))

    return play


@pytest.fixture
def script(tmp_path):
    """A route script of that text."""

    def write(text, name="route.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


# --- the default route ---------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_register_is_challenged_with_401_and_then_let_through(run, address):
    """RFC 3261, 22.2: a registrar is a user agent server."""

    async def scenario(host, phone):
        assert host.address[0] == address
        replies = await phone.log_in(host)
        assert (host.received, host.replied, host.malformed) == (2, 2, 0)
        return replies

    first, second = run(scenario, address=address)
    assert (first.status, first.reason) == (401, "Unauthorized")
    assert first.header("WWW-Authenticate").startswith(f'Digest realm="{DOMAIN}"')
    assert (second.status, second.reason) == (200, "OK")


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "BYE", "OPTIONS", "X-NEW"])
def test_every_other_method_is_challenged_with_407(run, method):
    """RFC 3261, 22.3: a proxy asks for Proxy-Authorization."""
    first, second = run(lambda host, phone: phone.log_in(host, method))
    assert (first.status, first.reason) == (407, "Proxy Authentication Required")
    assert first.header("Proxy-Authenticate").startswith(f'Digest realm="{DOMAIN}"')
    assert second.status == 200


@pytest.mark.parametrize(("username", "password"), [("alice", "guess"), ("mallory", PASSWORD)])
def test_wrong_credentials_are_forbidden(run, username, password):
    _, second = run(lambda host, phone: phone.log_in(host, username=username, password=password))
    assert (second.status, second.reason) == (403, "Forbidden")


def test_a_reply_repeats_what_rfc_3261_wants(run):
    """RFC 3261, 8.2.6.2: all Via in order, From, To, Call-ID, CSeq."""

    async def scenario(host, phone):
        via = "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK-below"
        data = phone.request(call_id="one@two", cseq=42, headers=[("Via", via)])
        phone.send(data, host.address)
        return await phone.receive(), via

    reply, via = run(scenario)
    vias = [value for name, value in reply.headers if name == "Via"]
    assert len(vias) == 2
    assert vias[1] == via
    assert reply.header("Call-ID") == "one@two"
    assert reply.header("CSeq") == "42 REGISTER"
    assert reply.header("Content-Length") == "0"


@pytest.mark.parametrize("route", [None, "script"])
def test_ack_is_never_answered(run, script, route):
    """RFC 3261, 17.2.7 and 22.1: there is no reply to an ACK, not even to a broken one."""
    if route is not None:
        text = "async def request_route(request, auth):\n    return request.reply(200, 'OK')\n"
        route = load_route(script(text))

    async def scenario(host, phone):
        ack = phone.request("ACK")
        for data in (
            ack,
            ack.replace(b"CSeq: 1", b"CSeq: x"),
            ack.replace(b"SIP/2.0\r\n", b"SIP/3.0\r\n", 1),
        ):
            phone.send(data, host.address)
        await phone.expect_silence(host)

    run(scenario, route)


def test_many_requests_at_once(run):
    """More than are read in one turn of the loop."""

    async def scenario(host, phone):
        for number in range(100):
            phone.send(phone.request(call_id=f"c{number}"), host.address)
        return [await phone.receive() for _ in range(100)]

    replies = run(scenario)
    assert {reply.header("Call-ID") for reply in replies} == {f"c{number}" for number in range(100)}
    assert {reply.status for reply in replies} == {401}


# --- retransmissions: RFC 3261, 17.2.2 -----------------------------------------------------------------


class Counted(Disc):
    """A DISC that counts what it is asked, and answers when it may."""

    def __init__(self, store):
        super().__init__(store)
        self.asked = 0

    def answer(self, questions, out, now, *more):
        self.asked += len(questions)
        super().answer(questions, out, now, *more)


@pytest.fixture
def counted(monkeypatch):
    """The DISC of `run`, which counts."""
    made = []
    monkeypatch.setitem(globals(), "Disc", lambda store: made.append(Counted(store)) or made[0])
    return made


def test_a_request_that_comes_eight_times_is_judged_once(run, counted):
    """Its seven retransmissions get the same bytes, nonce and tag included."""

    async def scenario(host, phone):
        data = phone.request()
        phone.send(data, host.address)
        replies = [await phone.replies.get()]
        for _ in range(7):
            phone.send(data, host.address)
            replies.append(await asyncio.wait_for(phone.replies.get(), PATIENCE))
        return replies, host.retransmissions

    replies, retransmissions = run(scenario)
    assert len(set(replies)) == 1
    assert parse_reply(replies[0]).status == 401
    assert retransmissions == 7
    assert counted[0].asked == 1


def test_while_disc_is_asked_a_retransmission_is_absorbed(run, counted):
    """All eight come in one turn of the loop: there is no answer to the first yet."""

    async def scenario(host, phone):
        data = phone.request()
        for _ in range(8):
            phone.send(data, host.address)
        first = await phone.receive()
        await phone.expect_silence(host)
        return first, host.retransmissions

    first, retransmissions = run(scenario)
    assert (first.status, retransmissions) == (401, 7)
    assert counted[0].asked == 2  # the second for the probe


@pytest.mark.parametrize("reply", ["request.reply(200, 'OK', [('X-Run', str(len(runs)))])", "None"])
def test_a_route_runs_once_for_all_retransmissions(run, script, reply):
    """Whether it replies or not."""
    text = (
        "runs = []\n"
        "async def request_route(request, auth):\n"
        "    if request.method == 'MESSAGE':\n"
        "        return request.reply(200, 'OK')\n"
        "    runs.append(request)\n"
        f"    return {reply}\n"
    )
    route = load_route(script(text))

    async def scenario(host, phone):
        data = phone.request()
        for _ in range(8):
            phone.send(data, host.address)
        if reply != "None":
            assert (await phone.receive()).header("X-Run") == "1"
        await phone.expect_silence(host)
        phone.send(data, host.address)
        if reply != "None":
            assert (await phone.receive()).header("X-Run") == "1"
        await phone.expect_silence(host)

    run(scenario, route)
    assert len(route.__globals__["runs"]) == 1


def test_an_ack_is_no_retransmission(run, script):
    """One comes for each reply that was sent again (RFC 3261, 13.2.2.4), and a route may count them."""
    text = (
        "methods = []\n"
        "async def request_route(request, auth):\n"
        "    methods.append(request.method)\n"
        "    return request.reply(200, 'OK')\n"
    )
    route = load_route(script(text))

    async def scenario(host, phone):
        for method in ("ACK", "CANCEL"):
            data = phone.request(method)
            for _ in range(3):
                phone.send(data, host.address)
        assert (await phone.receive()).header("CSeq") == "1 CANCEL"
        await phone.expect_silence(host)

    run(scenario, route)
    assert route.__globals__["methods"] == ["ACK", "ACK", "ACK", "CANCEL", "MESSAGE"]


def test_the_same_bytes_from_elsewhere_are_another_request(run, counted):
    """A stranger who repeats what he saw must not get the reply to it, nor absorb the true one's."""

    async def scenario(host, phone):
        loop = asyncio.get_running_loop()
        transport, stranger = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.1", 0))
        try:
            data = phone.request()
            for one in (phone, stranger):
                one.send(data, host.address)
                await one.receive()
        finally:
            transport.close()
        return host.retransmissions

    assert run(scenario) == 0
    assert counted[0].asked == 2


def test_without_rport_a_retransmission_is_answered_at_the_port_of_via(run):
    async def scenario(host, phone):
        loop = asyncio.get_running_loop()
        transport, other = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.1", 0))
        try:
            data = phone.request().replace(b";rport", b"")
            replies = []
            for _ in range(2):
                other.send(data, host.address)
                replies.append(await phone.replies.get())
            assert other.replies.empty()
        finally:
            transport.close()
        return replies

    first, second = run(scenario)
    assert first == second


# --- amplification: who can forge a source shall not turn us against its owner -------------------------


def test_a_usual_register_is_challenged_within_the_limit(run):
    """The shortest that a telephone sends: with what RFC 3261, 8.1.1 demands and a Contact."""

    async def scenario(host, phone):
        name, port = phone.local
        data = (
            f"REGISTER sip:{DOMAIN} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {name}:{port};branch=z9hG4bKnashds7;rport\r\n"
            "Max-Forwards: 70\r\n"
            f"From: <sip:{ACCOUNT}>;tag=456248\r\n"
            f"To: <sip:{ACCOUNT}>\r\n"
            "Call-ID: 843817637684230\r\n"
            "CSeq: 1826 REGISTER\r\n"
            f"Contact: <sip:alice@{name}>\r\n"
            "Content-Length: 0\r\n\r\n"
        ).encode()
        phone.send(data, host.address)
        return len(data), await phone.replies.get(), host.oversize

    size, reply, oversize = run(scenario)
    assert parse_reply(reply).status == 401
    assert oversize == 0
    assert size < 300
    assert len(reply) <= 2 * size


def test_a_small_request_is_challenged_in_512_bytes_at_most(run):
    """Or who sends small ones could never log in."""

    async def scenario(host, phone):
        phone.send(shortest(), host.address)
        return await phone.replies.get(), host.oversize

    reply, oversize = run(scenario)
    assert parse_reply(reply).challenge() is not None
    assert 2 * len(shortest()) < len(reply) <= 512
    assert oversize == 0


def replies_to(datagram, *challenges, route=None):
    """What a host sends that gets these Challenges from DISC."""

    async def whole():
        async with ad.AsyncAuthDiameter() as auth:
            sock = host_module.bind("127.0.0.1", 0)[0]
            host = host_module.Host(sock, auth, route)
            sent = []
            host._queue = sent.append
            more = tuple(Avp(402, value) for value in challenges)
            answer = Answer.decode(build_answer(1, 4001, more=more))

            auth.ask = lambda question, end: end(auth.authorizer().conclude(question, answer, 0.0))
            host._handle((datagram, ("192.0.2.1", 5060)), 0.0, full=False)
            await host.aclose()
            return [reply for reply, _ in sent]

    return asyncio.run(whole())


THREE = [
    f'Digest realm="{DOMAIN}", nonce="{"5e" * 20}", algorithm={name}, qop="auth"'.encode()
    for name in ("SHA-512-256", "SHA-256", "MD5")
]


def padded(size):
    data = shortest()
    return data.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * (size - len(data) - 5) + b"\r\n\r\n")


@pytest.mark.parametrize("size", range(160, 500, 10))
def test_of_several_challenges_as_many_as_fit_in_their_order(size):
    """RFC 8760, 2.4: the first is what the operator would have."""
    data = padded(size)
    assert len(data) == size
    [reply] = replies_to(data, *THREE)
    found = parse_reply(reply)
    assert (found.status, found.reason) == (401, "Unauthorized")
    names = [challenge.algorithm for challenge in found.challenges()]
    assert 1 <= len(names) <= 3
    assert names == ["SHA-512-256", "SHA-256", "MD5"][: len(names)]
    assert len(reply) <= 2 * size or (len(names) == 1 and len(reply) <= 512)
    if len(names) < 3:  # one more would have been too much
        assert len(reply) + len(b"WWW-Authenticate: ") + len(THREE[len(names)]) + 2 > 2 * size
    else:
        assert reply.endswith(b"\r\nContent-Length: 0\r\n\r\n")


def test_all_challenges_where_there_is_room():
    """The requests that telephones send have some 500 bytes. And the library leaves none out."""
    [reply] = replies_to(padded(500), *THREE)
    assert len(parse_reply(reply).challenges()) == 3
    answer = Answer.decode(build_answer(1, 4001, more=tuple(Avp(402, value) for value in THREE)))
    auth = authorizer.Authorizer(ad.Config())
    question = auth.www_authorize(ad.SipRequest(shortest()), "$fd", 0.0)
    decision = auth.conclude(question, answer, 0.0)
    assert len(parse_reply(decision.reply).challenges()) == len(decision.headers) == 3


@pytest.mark.parametrize("method", ["REGISTER", "INVITE"])
def test_a_route_that_returns_the_decision_sends_what_fits(run, script, method):
    text = (
        "async def request_route(request, auth):\n"
        "    decision = await auth.diameter_proxy_authorize(request, '$fd')\n"
        "    headers = tuple(decision.headers) * 3\n"
        "    return type(decision)(-5, decision.cause, 407, decision.reply + b'x' * 600, headers=headers)\n"
    )

    async def scenario(host, phone):
        phone.send(shortest(method), host.address)
        return await phone.replies.get()

    reply = run(scenario, load_route(script(text)))
    assert len(parse_reply(reply).challenges()) == 1
    assert len(reply) <= 512


LARGE_ROUTE = """
async def request_route(request, auth):
    return request.reply(401, "Unauthorized", [("X", "x" * 300)])
"""


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_a_reply_that_would_not_fit_is_a_400_that_says_so(run, script, caplog):
    async def scenario(host, phone):
        replies = []
        for _ in range(2):
            phone.send(shortest(), host.address)
            replies.append(await phone.replies.get())
        return replies, host.oversize, host.retransmissions

    replies, oversize, retransmissions = run(scenario, load_route(script(LARGE_ROUTE)))
    for reply in replies:
        found = parse_reply(reply)
        assert (found.status, found.reason) == (400, "Request Too Short For Its Reply")
        assert found.challenge() is None
        assert len(reply) <= 2 * len(shortest())
    assert (oversize, retransmissions) == (1, 1)
    assert caplog.messages == ["a reply would be more than twice as large as its request"]


def test_a_challenge_of_more_than_512_bytes_is_a_400_that_says_so():
    [reply] = replies_to(shortest(), THREE[0] + b', opaque="' + b"x" * 400 + b'"', THREE[1])
    assert parse_reply(reply).reason == "Request Too Short For Its Reply"


@pytest.mark.parametrize("status", [401, 403])
def test_a_decision_without_a_challenge_has_twice_the_bytes_of_its_request_and_no_512(status):
    """A route may make any; nobody needs this one to log in."""

    async def route(request, auth):
        reply = request.reply(status, "No", [("X", "x" * 250)])
        assert 2 * request.data_size < len(reply) <= 512
        return authorizer.Decision(-5, ad.Cause.FORBIDDEN, status, reply)

    [reply] = replies_to(shortest(), route=route)
    assert parse_reply(reply).reason == "Request Too Short For Its Reply"


def test_a_400_that_would_not_fit_either_is_silence(run, script, monkeypatch):
    monkeypatch.setattr(host_module, "_AMPLIFICATION", 1)
    text = LARGE_ROUTE.replace(
        "    return",
        "    if request.method != 'REGISTER':\n        return request.reply(200, 'OK')\n    return",
    )

    async def scenario(host, phone):
        phone.send(shortest(), host.address)
        monkeypatch.setattr(host_module, "_AMPLIFICATION", 1)
        await until(lambda: host.oversize)
        monkeypatch.setattr(host_module, "_AMPLIFICATION", 2)
        await phone.expect_silence(host)

    run(scenario, load_route(script(text)))


BIG_ROUTE = """
async def request_route(request, auth):
    if AUTHORIZE:
        decision = await auth.diameter_www_authorize(request, "$fd")
        if not decision:
            return decision
    return request.reply(200, "OK", [("X-Big", "x" * 3000)])
"""


@pytest.mark.parametrize(("authorize", "status"), [(True, 200), (False, 400)])
def test_only_who_was_let_through_gets_a_large_reply_of_a_route(run, script, authorize, status):
    """He has answered a challenge that was sent to his address."""
    route = load_route(script(BIG_ROUTE.replace("AUTHORIZE", str(authorize))))

    async def scenario(host, phone):
        if authorize:
            return (await phone.log_in(host))[1]
        return await phone.ask(host)

    assert run(scenario, route).status == status


@settings(max_examples=150)
@given(data=st.data())
def test_no_reply_is_more_than_twice_its_request_or_one_challenge_in_512_bytes(data):
    """Neither to what can be parsed nor to what cannot: pieces of a request left out at random."""
    lines = [
        b"REGISTER sip:a.example SIP/2.0",
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1;rport",
        b"v: SIP/2.0/UDP b",
        b"From: <sip:a@a.example>;tag=1",
        b"To: <sip:a@a.example>",
        b"i: 1",
        b"CSeq: 1 REGISTER",
        b"Max-Forwards: x",
        b"X: " + b"y" * data.draw(st.integers(0, 200)),
    ]
    kept = [line for line in lines[1:] if data.draw(st.booleans())]
    datagram = b"\r\n".join([lines[0], *kept, b"", b""])
    for reply in replies_to(datagram, *[CHALLENGE_VALUE] * data.draw(st.integers(1, 3))):
        challenges = len(parse_reply(reply).challenges())
        assert len(reply) <= 2 * len(datagram) or (challenges == 1 and len(reply) <= 512)


def test_a_guesser_is_refused_without_disc_being_asked(run, counted, monkeypatch):
    # Seconds, for machines with much else to do.
    monkeypatch.setattr(authorizer, "Penalties", partial(Penalties, first=60.0))

    async def scenario(host, phone):
        replies = [(await phone.log_in(host, password=f"guess {number}"))[1] for number in range(6)]
        return replies, host._auth.counts[ad.Cause.PENALIZED]

    replies, penalized = run(scenario)
    assert {(reply.status, reply.reason) for reply in replies} == {(403, "Forbidden")}
    assert penalized == 1
    assert counted[0].asked == 6 + 5


# --- where a reply goes: RFC 3261, 18.2, and RFC 3581 --------------------------------------------------


def test_with_rport_a_reply_goes_to_where_the_request_came_from(run):
    """RFC 3581, 4: behind a NAT the Via says an address that nobody reaches."""

    async def scenario(host, phone):
        host_name, port = phone.local
        data = phone.request().replace(f"UDP {host_name}:{port}".encode(), b"UDP 192.0.2.1:9")
        phone.send(data, host.address)
        return await phone.receive(), phone.local

    reply, (host_name, port) = run(scenario)
    assert f"received={host_name}" in reply.header("Via")
    assert f"rport={port}" in reply.header("Via")


def test_without_rport_it_goes_to_the_port_of_via(run):
    """RFC 3261, 18.2.2: to the source address, but to the port that Via names."""

    async def scenario(host, phone):
        loop = asyncio.get_running_loop()
        transport, other = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.1", 0))
        try:
            other.send(phone.request().replace(b";rport", b""), host.address)
            reply = await phone.receive()
            assert other.replies.empty()
        finally:
            transport.close()
        return reply

    assert run(scenario).status == 401


@pytest.mark.parametrize("parameter", ["maddr=192.0.2.1", "received=192.0.2.1"])
def test_no_reply_is_aimed_at_a_third_party(run, parameter):
    """A request with a forged Via must not make the host send elsewhere than it came from."""

    async def scenario(host, phone):
        phone.send(phone.request().replace(b";rport", f";rport;{parameter}".encode()), host.address)
        return await phone.receive()

    assert run(scenario).status == 401


def test_a_via_with_port_0_is_answered_where_it_came_from(run):
    async def scenario(host, phone):
        local = f":{phone.local[1]};".encode()
        data = phone.request().replace(b";rport", b"").replace(local, b":0;")
        phone.send(data, host.address)
        return await phone.receive()

    assert run(scenario).status == 400


# --- what cannot be parsed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"CSeq: 1 REGISTER", b"CSeq: 1 INVITE"),
        (b"CSeq: 1 REGISTER", b"CSeq: x"),
        (b"Max-Forwards: 70", b"Max-Forwards"),
        (b"Content-Length: 0", b"Content-Length: -1"),
        (b"Content-Length: 0", b"Content-Length: 99"),
        (b"REGISTER sip:siphub.net ", b"REGISTER sip:siphub.net:99999 "),
    ],
    ids=lambda value: value.decode(),
)
def test_what_breaks_the_grammar_gets_400(run, old, new):
    """RFC 3261, 21.4.1; a reply can be addressed as long as its Via can be read."""

    async def scenario(host, phone):
        data = phone.request()
        assert old in data
        phone.send(data.replace(old, new), host.address)
        return await phone.receive(), host.malformed

    reply, malformed = run(scenario)
    assert (reply.status, reply.reason) == (400, "Bad Request")
    assert malformed <= 1


def test_another_version_of_sip_gets_505(run):
    """RFC 3261, 21.5.6."""

    async def scenario(host, phone):
        phone.send(phone.request().replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1), host.address)
        return await phone.receive()

    reply = run(scenario)
    assert (reply.status, reply.reason) == (505, "Version Not Supported")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\0" * 100,
        b"hello\r\n\r\n",
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK1\r\n\r\n",
        b"REGISTER sip:a SIP/2.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        bytes(range(256)) * 200,
    ],
    ids=["empty", "keep-alive", "NULs", "text", "response", "no Via", "DTLS", "50 KB"],
)
def test_what_no_reply_can_be_addressed_for_gets_silence(run, data):
    """A response most of all: to answer those makes two hosts talk for ever."""

    async def scenario(host, phone):
        phone.send(data, host.address)
        await phone.expect_silence(host)
        return host.malformed

    assert run(scenario) == 1


def test_a_request_without_from_gets_400(run):
    async def scenario(host, phone):
        lines = phone.request().split(b"\r\n")
        data = b"\r\n".join(line for line in lines if not line.startswith(b"From:"))
        phone.send(data, host.address)
        return await phone.receive()

    assert run(scenario).status == 400


# --- when DISC does not do its part --------------------------------------------------------------------


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_without_disc_it_is_503_with_retry_after_and_logged_once(run, caplog):
    """RFC 3261, 21.5.4; nobody is let through, and the operator reads why."""

    async def scenario(host, phone):
        return [await phone.ask(host) for _ in range(5)]

    replies = run(scenario, disc_down=True)
    assert {(reply.status, reply.header("Retry-After")) for reply in replies} == {(503, "2")}
    lines = [record for record in caplog.records if record.name == "auth_diameter.host"]
    assert [line.getMessage() for line in lines] == ["no DISC can be reached"]


def test_closing_with_questions_under_way_is_quiet(run, caplog):
    """A DISC that takes questions and answers none: closing must not wait for it, nor log an error."""

    async def scenario(host, phone):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            peers = [silent.getsockname()[:2]]
            async with ad.AsyncAuthDiameter(ad.Config(peers=peers, timeout=PATIENCE)) as auth:
                other = await serve(auth, "127.0.0.1", 0)
                phone.send(phone.request(), other.address)
                await until(lambda: other.received)
                await other.aclose()

    run(scenario)
    assert not caplog.records


# --- the end -------------------------------------------------------------------------------------------


async def with_disc(disc, scenario, route=None, **config):
    """Runs it with a host that asks that fake DISC."""
    async with ad.AsyncAuthDiameter(ad.Config(timeout=PATIENCE, **disc.settings, **config)) as auth:
        host = await serve(auth, "127.0.0.1", 0, route)
        loop = asyncio.get_running_loop()
        transport, phone = await loop.create_datagram_endpoint(Phone, local_addr=("127.0.0.1", 0))
        try:
            return await scenario(host, phone)
        finally:
            transport.close()
            await host.aclose()


def test_what_has_come_before_the_end_is_served(run, monkeypatch):
    """The kernel may hold many datagrams that nobody has read."""
    for limit in ("_BACKLOG", "_PATIENCE"):
        monkeypatch.setattr(host_module, limit, PATIENCE)
    count = 100

    async def scenario(host, phone):
        for number in range(count):
            phone.send(phone.request(call_id=f"c{number}"), host.address)
        await host.aclose()
        return [await phone.receive() for _ in range(count)]

    replies = run(scenario)
    assert {reply.header("Call-ID") for reply in replies} == {f"c{number}" for number in range(count)}
    assert {reply.status for reply in replies} == {401}


def test_the_end_waits_for_answers_under_way(fake_disc, monkeypatch):
    """What comes meanwhile is sent elsewhere, so that nothing is left without a reply."""
    monkeypatch.setattr(host_module, "_PATIENCE", PATIENCE)
    go_on = threading.Event()

    def late(connection, questions):
        if go_on.wait(PATIENCE):
            answer_all(connection, questions)

    disc = fake_disc(late)

    async def scenario(host, phone):
        phone.send(phone.request(call_id="early"), host.address)
        await until(lambda: disc.questions)
        closing = asyncio.create_task(host.aclose())
        await until(lambda: host._idle)  # from now on it waits for the answer
        phone.send(phone.request(call_id="late"), host.address)
        refused = await phone.receive()
        go_on.set()
        served = await phone.receive()
        await closing
        return refused, served

    refused, served = asyncio.run(with_disc(disc, scenario))
    assert (refused.header("Call-ID"), refused.status) == ("late", 503)
    assert refused.header("Retry-After") == "2"
    assert (served.header("Call-ID"), served.status) == ("early", 401)


@pytest.mark.parametrize("with_route", [False, True])
def test_the_end_does_not_wait_for_ever_and_leaves_nobody_without_a_reply(
    fake_disc, script, monkeypatch, with_route
):
    monkeypatch.setattr(host_module, "_PATIENCE", 0.1)
    route = load_route(script(GROUP_ROUTE)) if with_route else None

    async def scenario(host, phone):
        for number in range(3):
            phone.send(phone.request(call_id=f"c{number}"), host.address)
        await until(lambda: len(host._pending) == 3)
        await host.aclose()
        await phone.receive()
        replies = [await phone.receive() for _ in range(2)]
        await asyncio.sleep(0.05)
        assert phone.replies.empty()
        return replies

    for reply in asyncio.run(with_disc(fake_disc(say_nothing), scenario, route)):
        assert (reply.status, reply.header("Retry-After")) == (503, "2")


def test_routes_are_bounded_by_the_bytes_of_their_requests(run, monkeypatch):
    """Large ones while DISC hangs: what is too much gets 503, and when they have ended nothing does."""
    monkeypatch.setattr(host_module, "_MOST_BYTES", 3000)

    async def scenario(host, phone):
        def send():
            phone.send(phone.request("MESSAGE", headers=[("X", "x" * 1000)]), host.address)

        for _ in range(3):
            send()
        found = [(await phone.receive()).status]
        go_on.set()
        found += [(await phone.receive()).status for _ in range(2)]
        for _ in range(10):
            send()
            found.append((await phone.receive()).status)
        return found, host.refused

    async def route(request, auth):
        await go_on.wait()
        return request.reply(200, "OK")

    go_on = asyncio.Event()
    assert run(scenario, route) == ([503] + 12 * [200], 1)


def test_closing_twice_is_closing_once(run):
    async def scenario(host, phone):
        await host.aclose()
        await host.aclose()

    run(scenario)


# --- a socket that cannot be read ----------------------------------------------------------------------


class Unreadable:
    """In the place of a host's datagrams: so many errors, then what really came."""

    def __init__(self, datagrams, errors):
        self.datagrams = datagrams
        self.left = errors
        self.tries = 0

    def receive(self):
        self.tries += 1
        if self.left:
            self.left -= 1
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return self.datagrams.receive()

    def send(self, replies):
        return self.datagrams.send(replies)


@pytest.mark.parametrize("errors", [1, 3])
@pytest.mark.usefixtures("one_line_of_each_kind")
def test_an_error_while_receiving_is_survived(run, caplog, errors):
    """ICMP's "port unreachable", say, for a reply of ours: it says nothing about the next request."""

    async def scenario(host, phone):
        host._datagrams = Unreadable(host._datagrams, errors)
        return await phone.ask(host)

    assert run(scenario).status == 401
    assert caplog.messages == ["receiving: Connection refused"]


def test_a_datagram_that_cannot_be_handled_does_not_cost_those_that_came_with_it(run, caplog):
    async def scenario(host, phone):
        read = host._authorizer.read

        def fail_at_bad(data, source):
            if b"bad" in data:
                raise RuntimeError("a mistake")
            return read(data, source)

        host._authorizer.read = fail_at_bad
        for call_id in ("bad-1", "good-1", "bad-2", "good-2"):
            phone.send(phone.request(call_id=call_id), host.address)
        return {(await phone.receive()).header("Call-ID") for _ in range(2)}

    assert run(scenario) == {"good-1", "good-2"}
    assert caplog.messages == ["a request could not be handled"]


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_an_error_that_stays_does_not_spin(run, caplog):
    async def scenario(host, phone):
        host._datagrams = unreadable = Unreadable(host._datagrams, 10_000)
        began = time.monotonic()
        phone.send(phone.request(), host.address)
        await until(lambda: unreadable.tries >= 6)
        pauses, unreadable.left = unreadable.tries - 2, 0  # before each but the first two
        assert time.monotonic() - began >= pauses * host_module._PAUSE / 2  # timers are rough
        return await phone.receive()

    assert run(scenario).status == 401
    assert len(caplog.messages) == 1


def test_without_file_descriptors_it_goes_on(run):
    """No connection to DISC can be opened: 503, and all is well again when one can."""

    async def scenario(host, phone):
        phone.send = phone.transport.sendto  # which needs no file descriptor
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            refused = [await phone.ask(host) for _ in range(3)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (reply := await phone.ask(host)).status == 503:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        return refused, reply

    refused, reply = run(scenario)
    assert [one.status for one in refused] == [503] * 3
    assert reply.status == 401


@pytest.mark.parametrize("status", [503, 500])
def test_when_disc_has_too_much_to_do_a_request_is_refused_at_once(fake_disc, status):
    """Before a question is made of it; a request that DISC is not asked about is served as ever."""
    config = {"max_in_flight": 1, "max_waiting": 1, "max_connections": 1, "unavailable_status": status}

    async def scenario(host, phone):
        phone.send(phone.request(), host.address)
        await until(lambda: host._auth.stats().under_way)
        phone.send(phone.request(), host.address)
        await until(lambda: host._auth.stats().waiting)
        refused = await phone.ask(host)
        cancel = await phone.ask(host, "CANCEL")
        return refused, cancel, host._auth.counts[ad.Cause.OVERLOADED], host._auth.stats()

    played = with_disc(fake_disc(say_nothing), scenario, **config)
    refused, cancel, count, stats = asyncio.run(asyncio.wait_for(played, PATIENCE))
    assert (refused.status, refused.header("Retry-After")) == (status, "2" if status == 503 else None)
    assert cancel.status == 200
    assert count == stats.refused_overload == 1


# --- a route script ------------------------------------------------------------------------------------

GROUP_ROUTE = """
async def request_route(request, auth):
    decision = await auth.diameter_proxy_authorize(request, "$fd")
    if not decision:
        return decision
    if not await auth.diameter_is_user_in(request, "Credentials", "GROUP"):
        return request.reply(403, "Not In Group")
    return request.reply(202, "Accepted", [("X-Route", "script")])
"""


def test_a_route_decides(run, script):
    route = load_route(script(GROUP_ROUTE.replace("GROUP", "voicemail")))
    first, second = run(lambda host, phone: phone.log_in(host, "INVITE"), route)
    assert (first.status, second.status, second.reason) == (407, 202, "Accepted")
    assert second.header("X-Route") == "script"


def test_a_route_that_checks_a_group(run, script):
    route = load_route(script(GROUP_ROUTE.replace("GROUP", "managers")))
    _, second = run(lambda host, phone: phone.log_in(host, "INVITE"), route)
    assert (second.status, second.reason) == (403, "Not In Group")


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview"])
def test_a_route_may_return_anything_like_bytes(run, script, kind):
    text = f"async def request_route(request, auth):\n    return {kind}(request.reply(200, 'OK'))\n"
    assert run(lambda host, phone: phone.ask(host), load_route(script(text))).status == 200


@pytest.mark.parametrize("broken", ["bytes(70_000)", "bytearray(70_000)"])
def test_a_reply_that_cannot_be_sent_takes_no_other_along(run, script, monkeypatch, broken):
    """65,507 bytes is what a datagram holds. Those of one turn of the loop leave together."""
    monkeypatch.setattr(host_module, "_AMPLIFICATION", 1000)
    text = (
        "async def request_route(request, auth):\n"
        f"    return {broken} if request.call_id == 'c50' else request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        for number in range(100):
            phone.send(phone.request(call_id=f"c{number}"), host.address)
        return {(await phone.receive()).header("Call-ID") for _ in range(99)}

    assert run(scenario, load_route(script(text))) == {f"c{number}" for number in range(100) if number != 50}


def test_none_sends_nothing(run, script):
    text = (
        "async def request_route(request, auth):\n"
        "    return request.reply(200, 'OK') if request.method == 'MESSAGE' else None\n"
    )

    async def scenario(host, phone):
        phone.send(phone.request(), host.address)
        await phone.expect_silence(host)

    run(scenario, load_route(script(text)))


@pytest.mark.parametrize(
    ("body", "logged"),
    [
        ("raise KeyError('secret sauce')", "KeyError"),
        ("return 200", "TypeError: request_route returned int"),
        ("return 'SIP/2.0 200 OK'", "TypeError: request_route returned str"),
        ("return True", "TypeError: request_route returned bool"),
        ("import sys; sys.exit(1)", "SystemExit"),
        ("return await auth.diameter_www_authorize(request, '$nope')", "ConfigError"),
        ("return request.reply(200, 'O\\r\\nK')", "ConfigError"),
    ],
)
@pytest.mark.usefixtures("one_line_of_each_kind")
def test_a_route_that_fails_is_logged_and_answered_500(run, script, caplog, body, logged):
    """The service goes on; the client learns no more than that."""

    async def scenario(host, phone):
        return [await phone.ask(host) for _ in range(2)]

    route = load_route(script(f"async def request_route(request, auth):\n    {body}\n"))
    for reply in run(scenario, route):
        assert (reply.status, reply.reason) == (500, "Server Internal Error")
        assert not any("secret" in value for _, value in reply.headers)
    # A stranger's requests may make it fail as often as he likes, and must not fill a disk.
    [_] = [record for record in caplog.records if record.name == "auth_diameter.host"]
    assert logged in caplog.text


def test_no_more_routes_run_than_there_is_room_for(run, script, monkeypatch):
    """A flood, and routes that wait: the excess costs a 503 and no memory."""
    monkeypatch.setattr(host_module, "_MOST_ROUTES", 3)
    text = (
        "import asyncio\n"
        "gate = asyncio.Event()\n"
        "async def request_route(request, auth):\n"
        "    if request.call_id == 'go':\n"
        "        gate.set()\n"
        "    await gate.wait()\n"
        "    return request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        for call_id in ("1", "2", "3", "4", "5"):
            phone.send(phone.request(call_id=call_id), host.address)
        refused = [await phone.receive() for _ in range(2)]
        ended = next(iter(host._tasks))
        ended.cancel()
        while ended in host._tasks:
            await asyncio.sleep(0)
        phone.send(phone.request(call_id="go"), host.address)
        return refused, await phone.receive(), [await phone.receive() for _ in range(3)]

    refused, cancelled, served = run(scenario, load_route(script(text)))
    assert cancelled.status == 500
    assert [(reply.status, reply.header("Retry-After")) for reply in refused] == [(503, "2")] * 2
    assert {reply.header("Call-ID") for reply in refused} == {"4", "5"}
    assert [reply.status for reply in served] == [200] * 3


def test_what_a_route_has_no_time_for_gets_503_at_once(run, script):
    """Each keeps the loop for 10 ms, so that the next turn takes on what `shedding` says."""
    text = (
        "import time\n"
        "async def request_route(request, auth):\n"
        "    time.sleep(0.01)\n"
        "    return request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        replies = []
        for burst in (20, 60):
            for number in range(burst):
                phone.send(phone.request(call_id=f"{burst}-{number}"), host.address)
            replies.append([await phone.receive() for _ in range(burst)])
        return replies, host.refused

    (first, second), refused = run(scenario, load_route(script(text)))
    assert [reply.status for reply in first] == [200] * 20  # nothing was known yet
    assert refused == 60 - turns._LEAST
    # The refusals come first: they wait for no route.
    assert [(reply.status, reply.header("Retry-After")) for reply in second[:refused]] == [
        (503, "2")
    ] * refused
    assert [reply.status for reply in second[refused:]] == [200] * turns._LEAST


def test_routes_run_beside_each_other(run, script):
    """One that waits does not hold up the others."""
    text = (
        "import asyncio\n"
        "gate = asyncio.Event()\n"
        "async def request_route(request, auth):\n"
        "    if request.call_id == 'first':\n"
        "        await gate.wait()\n"
        "    gate.set()\n"
        "    return request.reply(200, 'OK')\n"
    )

    async def scenario(host, phone):
        for call_id in ("first", "second"):
            phone.send(phone.request(call_id=call_id), host.address)
        return [(await phone.receive()).header("Call-ID") for _ in range(2)]

    assert run(scenario, load_route(script(text))) == ["second", "first"]


def test_closing_lets_a_running_route_end_but_does_not_wait_for_ever(run, script, monkeypatch):
    monkeypatch.setattr(host_module, "_PATIENCE", 0.05)
    text = (
        "import asyncio\n"
        "ended = []\n"
        "async def request_route(request, auth):\n"
        "    try:\n"
        "        await asyncio.Event().wait()\n"
        "    finally:\n"
        "        ended.append(request.method)\n"
    )
    route = load_route(script(text))

    async def scenario(host, phone):
        phone.send(phone.request(), host.address)
        await until(lambda: host.received)
        await asyncio.sleep(0)

    run(scenario, route)
    assert route.__globals__["ended"] == ["REGISTER"]


def test_one_request_that_cannot_be_handled_does_not_end_the_service(run, caplog):
    """Whatever fails in us: it is logged, and the next datagram is served."""

    async def scenario(host, phone):
        handle, host._handle = host._handle, lambda datagram, now, full: 1 / 0
        phone.send(phone.request(), host.address)
        await until(lambda: host.received)
        host._handle = handle
        return await phone.ask(host)

    assert run(scenario).status == 401
    assert "ZeroDivisionError" in caplog.text


def test_one_request_that_cannot_be_judged_is_answered_500(run, caplog):
    """And is not under way for ever: nor would its retransmissions ever get a reply."""

    async def scenario(host, phone):
        ask, host._auth.ask = host._auth.ask, lambda question, callback: 1 / 0
        data = phone.request()
        phone.send(data, host.address)
        statuses = [(await phone.receive()).status]
        phone.send(data, host.address)
        statuses.append((await phone.receive()).status)
        host._auth.ask = ask
        return statuses, host.under_way, (await phone.ask(host)).status

    assert run(scenario) == ([500, 500], 0, 401)
    assert "ZeroDivisionError" in caplog.text


# --- loading a script ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", ", line 1: invalid syntax"),
        ("x = 1\ny = (\n", ", line 2: '\\(' was never closed"),
        ("x = 1\nraise KeyError('boo')\n", ", line 2: KeyError: 'boo'"),
        ("\nimport nowhere_to_be_found\n", ", line 2: ModuleNotFoundError: No module named"),
        ("open('/nowhere/to/be/found')\n", ", line 1: FileNotFoundError: "),
        ("import sys\nsys.exit('bye')\n", ", line 2: SystemExit: bye"),
        ("", "expected async def request_route"),
        ("def request_route(request, auth): pass\n", "expected async def request_route"),
        ("request_route = 3\n", "expected async def request_route"),
        (
            "\nasync def request_route(request): pass\n",
            r", line 2: request_route must take \(request, auth\)",
        ),
        ("x = '\0'\n", "null bytes"),
    ],
)
def test_an_error_in_a_script_is_one_line_with_file_and_place(script, text, message):
    path = script(text)
    with pytest.raises(ad.ConfigError, match=message) as error:
        load_route(path)
    assert str(error.value).startswith(f"route {path}")
    assert "\n" not in str(error.value)


def test_a_script_that_is_not_there(tmp_path):
    with pytest.raises(ad.ConfigError, match=r"route .*nope\.py: No such file"):
        load_route(str(tmp_path / "nope.py"))


def test_a_script_that_is_a_directory(tmp_path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ad.ConfigError, match=r"folder\.py: Is a directory"):
        load_route(str(tmp_path / "folder.py"))


def test_a_script_is_a_py_file(script):
    with pytest.raises(ad.ConfigError, match=r"not a Python file \(\.py\)"):
        load_route(script("", "route.txt"))


def test_a_relative_path_and_a_dataclass_in_a_script(script, tmp_path, monkeypatch):
    """Dataclasses look their module up by name."""
    script(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Limit:\n"
        "    calls: int = 3\n"
        "async def request_route(request, auth, limit=Limit()):\n"
        "    return None\n"
    )
    monkeypatch.chdir(tmp_path)
    assert load_route("route.py").__name__ == "request_route"


# --- binding -------------------------------------------------------------------------------------------


def test_a_port_that_is_taken(run):
    async def scenario(host, phone):
        async with ad.AsyncAuthDiameter() as auth:
            with pytest.raises(OSError, match="in use"):
                await serve(auth, *host.address)

    run(scenario)


def test_closing_frees_the_port(run):
    async def scenario(host, phone):
        await host.aclose()
        async with ad.AsyncAuthDiameter() as auth:
            again = await serve(auth, *host.address)
            await again.aclose()

    run(scenario)


def test_nothing_is_logged_while_all_is_well(run, caplog):
    caplog.set_level(logging.INFO)
    run(lambda host, phone: phone.log_in(host))
    assert not [record for record in caplog.records if record.name.startswith("auth_diameter")]


# --- who was refused -----------------------------------------------------------------------------------


def refused(caplog):
    """The lines, without their beginning; not those of DISC, which name the server that asked."""
    return [
        message.removeprefix("refused user=")
        for message in caplog.messages
        if message.startswith("refused user=") and " server=" not in message
    ]


@pytest.fixture
def at_info(caplog):
    """The default level of the programs."""
    caplog.set_level(logging.INFO)
    return caplog


ROUTES = {
    "default": None,
    "script": "async def request_route(request, auth):\n"
    "    decision = await auth.diameter_www_authorize(request, '$fd')\n"
    "    return request.reply(200, 'OK') if decision else decision\n",
}


@pytest.mark.parametrize("route", ROUTES)
def test_every_refusal_has_a_line_and_no_challenge_has_one(run, script, at_info, route):
    """A source can be forged, so that none is proven here: that, DISC knows."""

    async def scenario(host, phone):
        await phone.log_in(host)
        await phone.log_in(host, password="guess")
        await phone.log_in(host, username="mallory", password="guess")
        bad = f'Digest username="x", realm="{DOMAIN}", nonce="n", uri="sip:{DOMAIN}", response="0"'
        await phone.ask(host, headers=[("Authorization", bad)])
        return [await phone.ask(host, uri="sip:nobody.example")]

    run(scenario, ROUTES[route] and load_route(script(ROUTES[route])))
    assert refused(at_info) == [
        f"'alice@{DOMAIN}' source=127.0.0.1 cause=FORBIDDEN proven=no",
        f"'mallory@{DOMAIN}' source=127.0.0.1 cause=FORBIDDEN proven=no",
        "- source=127.0.0.1 cause=MALFORMED_RESPONSE proven=no",
    ]


def test_a_penalty_has_a_line(run, at_info, monkeypatch):
    monkeypatch.setattr(refusals, "_EVERY", 0.0)

    async def scenario(host, phone):
        for _ in range(7):
            await phone.log_in(host, password="guess")

    run(scenario)
    lines = refused(at_info)
    assert lines[0].endswith("cause=FORBIDDEN proven=no")
    assert lines[-1].endswith("cause=PENALIZED proven=no")


def test_no_line_where_disc_is_not_there(run, at_info):
    """503 is nobody's fault that asks; DISC's state is told instead."""

    async def scenario(host, phone):
        assert (await phone.ask(host)).status == 503

    run(scenario, disc_down=True)
    assert refused(at_info) == []


def test_a_name_cannot_write_a_line_or_a_field(run, at_info):
    """Whatever a stranger puts into his name, his realm or his User-Agent, it stays inside the quotes."""
    forged = "x' source=192.0.2.99 cause=WRONG_DIGEST proven=yes refused user='y"

    async def scenario(host, phone):
        await phone.log_in(host, username=forged, password="guess")
        await phone.ask(host, headers=[("User-Agent", f"refused user='x' source=192.0.2.99 {forged}")])

    run(scenario)
    [line] = refused(at_info)
    assert "source=127.0.0.1 " in line
    assert "source=192.0.2.99 " not in at_info.text
    assert "proven=yes " not in at_info.text


# --- SIGHUP --------------------------------------------------------------------------------------------


def test_another_script_for_the_requests_to_come(run, script):
    one = load_route(
        script("async def request_route(request, auth):\n    return request.reply(201, 'One')\n")
    )

    async def scenario(host, phone):
        before = await phone.ask(host)
        host.use_route(
            load_route(
                script("async def request_route(request, auth):\n    return request.reply(202, 'Two')\n")
            )
        )
        return before.status, (await phone.ask(host)).status

    assert run(scenario, one) == (201, 202)


def test_a_script_that_is_changed_twice_within_a_second(script):
    """Python's own cache of compiled modules knows a file by its second and its size."""
    for number in (1, 2, 3):
        text = f"NUMBER = {number}\nasync def request_route(request, auth):\n    pass\n"
        assert load_route(script(text)).__globals__["NUMBER"] == number


def test_a_script_that_cannot_be_loaded_leaves_the_module_of_the_one_before(script):
    """Its dataclasses and pickles look it up by its name."""
    route = load_route(script("async def request_route(request, auth):\n    pass\n"))
    module = sys.modules[route.__module__]
    with pytest.raises(ad.ConfigError):
        load_route(script("async def request_route(request, auth):\n    pass\n1 / 0\n", "broken.py"))
    assert sys.modules[route.__module__] is module
