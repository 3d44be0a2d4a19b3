"""The SIP/UDP host: real datagrams, a real DISC, the default route."""

import asyncio
import errno
import logging
import resource
import socket
import time
from functools import partial

import pytest
from kit.disc import say_nothing
from kit.host import with_disc
from kit.machine import PATIENCE, needs_ipv6, until
from kit.sip import DOMAIN, PASSWORD
from kit.uac import AsyncUac

import auth_diameter as ad
from auth_diameter import refusals
from auth_diameter.host import server as host_module
from auth_diameter.host.route import load_route
from auth_diameter.host.server import serve

# --- the default route ---------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_register_is_challenged_with_401_and_then_let_through(run, address):
    """RFC 3261, 22.2: a registrar is a user agent server."""

    async def scenario(host, phone):
        assert host.address[0] == address
        replies = await phone.log_in()
        assert (host.received, host.replied, host.malformed) == (2, 2, 0)
        return replies

    first, second = run(scenario, address=address)
    assert (first.status, first.reason) == (401, "Unauthorized")
    assert first.header("WWW-Authenticate").startswith(f'Digest realm="{DOMAIN}"')
    assert (second.status, second.reason) == (200, "OK")


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE", "SUBSCRIBE", "BYE", "OPTIONS", "X-NEW"])
def test_every_other_method_is_challenged_with_407(run, method):
    """RFC 3261, 22.3: a proxy asks for Proxy-Authorization."""
    first, second = run(lambda host, phone: phone.log_in(method))
    assert (first.status, first.reason) == (407, "Proxy Authentication Required")
    assert first.header("Proxy-Authenticate").startswith(f'Digest realm="{DOMAIN}"')
    assert second.status == 200


@pytest.mark.parametrize(("username", "password"), [("alice", "guess"), ("mallory", PASSWORD)])
def test_wrong_credentials_are_forbidden(run, username, password):
    _, second = run(lambda host, phone: phone.log_in(username=username, password=password))
    assert (second.status, second.reason) == (403, "Forbidden")


def test_a_reply_repeats_what_rfc_3261_wants(run):
    """RFC 3261, 8.2.6.2: all Via in order, From, To, Call-ID, CSeq."""

    async def scenario(host, phone):
        via = "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bK-below"
        data = phone.request("REGISTER", ("Via", via), call_id="one@two", cseq=42)
        phone.send(data)
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
            phone.send(data)
        await phone.expect_silence()

    run(scenario, route)


def test_many_requests_at_once(run):
    """More than are read in one turn of the loop."""

    async def scenario(host, phone):
        for number in range(100):
            phone.send(phone.request(call_id=f"c{number}"))
        return [await phone.receive() for _ in range(100)]

    replies = run(scenario)
    assert {reply.header("Call-ID") for reply in replies} == {f"c{number}" for number in range(100)}
    assert {reply.status for reply in replies} == {401}


def test_nothing_is_logged_while_all_is_well(run, caplog):
    caplog.set_level(logging.INFO)
    run(lambda host, phone: phone.log_in())
    assert not [record for record in caplog.records if record.name.startswith("auth_diameter")]


# --- where a reply goes: RFC 3261, 18.2, and RFC 3581 --------------------------------------------------


def test_with_rport_a_reply_goes_to_where_the_request_came_from(run):
    """RFC 3581, 4: behind a NAT the Via says an address that nobody reaches."""

    async def scenario(host, phone):
        host_name, port = phone.local
        data = phone.request().replace(f"UDP {host_name}:{port}".encode(), b"UDP 192.0.2.1:9")
        phone.send(data)
        return await phone.receive(), phone.local

    reply, (host_name, port) = run(scenario)
    assert f"received={host_name}" in reply.header("Via")
    assert f"rport={port}" in reply.header("Via")


def test_without_rport_it_goes_to_the_port_of_via(run):
    """RFC 3261, 18.2.2: to the source address, but to the port that Via names."""

    async def scenario(host, phone):
        with await AsyncUac.open(host.address) as other:
            other.send(phone.request().replace(b";rport", b""))
            reply = await phone.receive()
            assert other.replies.empty()
        return reply

    assert run(scenario).status == 401


@pytest.mark.parametrize("parameter", ["maddr=192.0.2.1", "received=192.0.2.1"])
def test_no_reply_is_aimed_at_a_third_party(run, parameter):
    """A request with a forged Via must not make the host send elsewhere than it came from."""

    async def scenario(host, phone):
        phone.send(phone.request().replace(b";rport", f";rport;{parameter}".encode()))
        return await phone.receive()

    assert run(scenario).status == 401


def test_a_via_with_port_0_is_answered_where_it_came_from(run):
    async def scenario(host, phone):
        local = f":{phone.local[1]};".encode()
        data = phone.request().replace(b";rport", b"").replace(local, b":0;")
        phone.send(data)
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
        phone.send(data.replace(old, new))
        return await phone.receive(), host.malformed

    reply, malformed = run(scenario)
    assert (reply.status, reply.reason) == (400, "Bad Request")
    assert malformed <= 1


def test_another_version_of_sip_gets_505(run):
    """RFC 3261, 21.5.6."""

    async def scenario(host, phone):
        phone.send(phone.request().replace(b" SIP/2.0\r\n", b" SIP/3.0\r\n", 1))
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
        phone.send(data)
        await phone.expect_silence()
        return host.malformed

    assert run(scenario) == 1


def test_a_request_without_from_gets_400(run):
    async def scenario(host, phone):
        lines = phone.request().split(b"\r\n")
        data = b"\r\n".join(line for line in lines if not line.startswith(b"From:"))
        phone.send(data)
        return await phone.receive()

    assert run(scenario).status == 400


# --- when DISC does not do its part --------------------------------------------------------------------


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_without_disc_it_is_503_with_retry_after_and_logged_once(run, caplog):
    """RFC 3261, 21.5.4; nobody is let through, and the operator reads why."""

    async def scenario(host, phone):
        return [await phone.call() for _ in range(5)]

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


# --- a socket that cannot be read ----------------------------------------------------------------------


class Unreadable:
    """In the place of a host's path: so many errors, then what really came."""

    def __init__(self, path, errors):
        self.path = path
        self.left = errors
        self.tries = 0

    def receive(self, now):
        self.tries += 1
        if self.left:
            self.left -= 1
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return self.path.receive(now)

    def __getattr__(self, name):
        return getattr(self.path, name)


@pytest.mark.parametrize("errors", [1, 3])
@pytest.mark.usefixtures("one_line_of_each_kind")
def test_an_error_while_receiving_is_survived(run, caplog, errors):
    """ICMP's "port unreachable", say, for a reply of ours: it says nothing about the next request."""

    async def scenario(host, phone):
        host._path = Unreadable(host._path, errors)
        return await phone.call()

    assert run(scenario).status == 401
    assert caplog.messages == ["receiving: Connection refused"]


async def challenge(request, auth):
    return await auth.diameter_www_authorize(request, "$fd")


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_a_request_without_a_task_gets_500_and_does_not_cost_those_that_came_with_it(run, caplog):
    """Whatever fails in us: it is logged, and the next datagram is served."""

    async def scenario(host, phone):
        loop = asyncio.get_running_loop()

        def fail_at_bad(loop, coroutine, **settings):
            if getattr(coroutine, "request", None) and coroutine.request.call_id.startswith("bad"):
                raise RuntimeError("a mistake")
            settings.pop("eager_start", None)  # uvloop's, from Python 3.12 on
            return asyncio.Task(coroutine, loop=loop, **settings)

        loop.set_task_factory(fail_at_bad)
        for call_id in ("bad-1", "good-1", "bad-2", "good-2"):
            phone.send(phone.request(call_id=call_id))
        replies = [await phone.receive() for _ in range(4)]
        return {reply.header("Call-ID"): reply.status for reply in replies}, host.under_way

    found, under_way = run(scenario, route=challenge)
    assert found == {"bad-1": 500, "bad-2": 500, "good-1": 401, "good-2": 401}
    assert under_way == 0
    assert caplog.messages == ["a request could not be handled"]


@pytest.mark.usefixtures("one_line_of_each_kind")
def test_an_error_that_stays_does_not_spin(run, caplog):
    async def scenario(host, phone):
        host._path = unreadable = Unreadable(host._path, 10_000)
        began = time.monotonic()
        phone.send(phone.request())
        await until(lambda: unreadable.tries >= 6)
        pauses, unreadable.left = unreadable.tries - 2, 0  # before each but the first two
        assert time.monotonic() - began >= pauses * host_module.PAUSE / 2  # timers are rough
        return await phone.receive()

    assert run(scenario).status == 401
    assert len(caplog.messages) == 1


def test_without_file_descriptors_it_goes_on(run):
    """No connection to DISC, or to the store, can be opened; all is well again when one can."""

    async def scenario(host, phone):
        phone.send = partial(phone.transport.sendto, addr=host.address)  # which needs no file descriptor
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            refused = [await phone.call() for _ in range(3)]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while (reply := await phone.call()).status >= 500:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.05)
        return refused, reply

    refused, reply = run(scenario)
    assert [one.status for one in refused] == [500 if run.local else 503] * 3
    assert reply.status == 401


@pytest.mark.parametrize("status", [503, 500])
def test_when_disc_has_too_much_to_do_a_request_is_refused_at_once(fake_disc, status):
    """Before a question is made of it; a request that DISC is not asked about is served as ever."""
    config = {"max_in_flight": 1, "max_waiting": 1, "max_connections": 1, "unavailable_status": status}

    async def scenario(host, phone):
        phone.send(phone.request())
        await until(lambda: host._auth.stats().under_way)
        phone.send(phone.request())
        await until(lambda: host._auth.stats().waiting)
        refused = await phone.call()
        cancel = await phone.call("CANCEL")
        return refused, cancel, host._auth.counts[ad.Cause.OVERLOADED], host._auth.stats()

    played = with_disc(fake_disc(say_nothing), scenario, **config)
    refused, cancel, count, stats = asyncio.run(asyncio.wait_for(played, PATIENCE))
    assert (refused.status, refused.header("Retry-After")) == (status, "2" if status == 503 else None)
    assert cancel.status == 200
    assert count == stats.refused_overload == 1


def test_one_request_that_cannot_be_judged_is_answered_500(run, caplog):
    """And is not under way for ever: nor would its retransmissions ever get a reply."""

    async def scenario(host, phone):
        ask, host._auth.ask_about = host._auth.ask_about, lambda question, callback: 1 / 0
        host._path.is_open = False  # every request is odd, and asked about by Python
        data = phone.request()
        phone.send(data)
        statuses = [(await phone.receive()).status]
        phone.send(data)
        statuses.append((await phone.receive()).status)
        host._auth.ask_about = ask
        host._path.is_open = True
        return statuses, host.under_way, (await phone.call()).status

    assert run(scenario) == ([500, 500], 0, 401)
    assert "ZeroDivisionError" in caplog.text


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
    """A source can be forged, so that none is proven here: that, DISC knows.

    Who verifies knows more than who asks DISC: whether it was the password or the user.
    """

    async def scenario(host, phone):
        await phone.log_in()
        await phone.log_in(password="guess")
        await phone.log_in(username="mallory", password="guess")
        bad = f'Digest username="x", realm="{DOMAIN}", nonce="n", uri="sip:{DOMAIN}", response="0"'
        await phone.call("REGISTER", ("Authorization", bad))
        return [await phone.call(uri="sip:nobody.example")]

    run(scenario, ROUTES[route] and load_route(script(ROUTES[route])))
    wrong, unknown = ("WRONG_DIGEST", "UNKNOWN_USER") if run.local else ("FORBIDDEN", "FORBIDDEN")
    assert sorted(refused(at_info)[:2]) == [
        f"'alice@{DOMAIN}' source=127.0.0.1 cause={wrong} proven=no",
        f"'mallory@{DOMAIN}' source=127.0.0.1 cause={unknown} proven=no",
    ]
    assert refused(at_info)[2:] == [
        "- source=127.0.0.1 cause=MALFORMED_RESPONSE proven=no",
    ]


def test_a_penalty_has_a_line(run, at_info, monkeypatch):
    monkeypatch.setattr(refusals, "_EVERY", 0.0)

    async def scenario(host, phone):
        for _ in range(7):
            await phone.log_in(password="guess")

    run(scenario)
    lines = refused(at_info)
    assert lines[0].endswith(f"cause={'WRONG_DIGEST' if run.local else 'FORBIDDEN'} proven=no")
    assert "cause=PENALIZED proven=no" in lines[-1]


def test_no_line_where_disc_is_not_there(run, at_info):
    """503 is nobody's fault that asks; DISC's state is told instead."""

    async def scenario(host, phone):
        assert (await phone.call()).status == 503

    run(scenario, disc_down=True)
    assert refused(at_info) == []


def test_a_name_cannot_write_a_line_or_a_field(run, at_info):
    """Whatever a stranger puts into his name, his realm or his User-Agent, it stays inside the quotes."""
    forged = "x' source=192.0.2.99 cause=WRONG_DIGEST proven=yes refused user='y"

    async def scenario(host, phone):
        await phone.log_in(username=forged, password="guess")
        await phone.call("REGISTER", ("User-Agent", f"refused user='x' source=192.0.2.99 {forged}"))

    run(scenario)
    [line] = refused(at_info)
    assert "source=127.0.0.1 " in line
    assert "source=192.0.2.99 " not in at_info.text
    assert "proven=yes " not in at_info.text
