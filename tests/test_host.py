"""The SIP/UDP host: real datagrams, a real DISC, the default route and route scripts."""

import asyncio
import contextlib
import logging
import socket

import pytest
from machine import needs_ipv6

import auth_diameter as ad
from auth_diameter import host as host_module
from auth_diameter.disc.listener import listen
from auth_diameter.disc.server import Disc
from auth_diameter.disc.store import Store
from auth_diameter.host import load_route, serve
from auth_diameter.uac import authorization, make_request, parse_reply

try:
    import uvloop
except ModuleNotFoundError:  # an extra, and not for every platform
    uvloop = None

DOMAIN = "siphub.net"
ACCOUNT = f"alice@{DOMAIN}"
PASSWORD = "wonderland"
PATIENCE = 5.0  # seconds after which a test gives up; none waits that long


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
                auth = await stack.enter_async_context(
                    ad.AsyncAuthDiameter(ad.Config(peers=peers, **settings))
                )
                host = await serve(auth, address, 0, route)
                stack.push_async_callback(host.aclose)
                loop = asyncio.get_running_loop()
                transport, phone = await loop.create_datagram_endpoint(Phone, local_addr=(address, 0))
                stack.callback(transport.close)
                return await scenario(host, phone)

        factory = uvloop.new_event_loop if request.param == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(whole(), 4 * PATIENCE))

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


def test_a_retransmission_is_answered_alike(run):
    """RFC 3261, 8.2.7: a stateless server makes the same To tag again."""

    async def scenario(host, phone):
        data = phone.request()
        replies = []
        for _ in range(2):
            phone.send(data, host.address)
            replies.append(await phone.receive())
        return replies

    first, second = run(scenario)
    assert first.header("To") == second.header("To")
    assert ";tag=" in first.header("To")


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


def test_without_disc_it_is_503_with_retry_after_and_logged_once(run, caplog):
    """RFC 3261, 21.5.4; nobody is let through, and the operator reads why."""

    async def scenario(host, phone):
        return [await phone.ask(host) for _ in range(5)]

    replies = run(scenario, disc_down=True)
    assert {(reply.status, reply.header("Retry-After")) for reply in replies} == {(503, "2")}
    lines = [record for record in caplog.records if record.name == "auth_diameter.host"]
    assert [line.getMessage() for line in lines] == ["no DISC can be reached (1 request refused)"]


def test_closing_with_questions_under_way_is_quiet(run, caplog):
    """A DISC that takes questions and answers none: closing must not wait for it, nor log an error."""

    async def scenario(host, phone):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            peers = [silent.getsockname()[:2]]
            async with ad.AsyncAuthDiameter(ad.Config(peers=peers)) as auth:
                other = await serve(auth, "127.0.0.1", 0)
                phone.send(phone.request(), other.address)
                while not other.received:
                    await asyncio.sleep(0.001)
                await other.aclose()

    run(scenario)
    assert not caplog.records


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
def test_a_reply_that_cannot_be_sent_takes_no_other_along(run, script, broken):
    """65,507 bytes is what a datagram holds. Those of one turn of the loop leave together."""
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
        ("return 200", "TypeError: request_route returned 200"),
        ("return 'SIP/2.0 200 OK'", "TypeError: request_route returned 'SIP/2.0 200 OK'"),
        ("return True", "TypeError: request_route returned True"),
        ("import sys; sys.exit(1)", "SystemExit"),
        ("return await auth.diameter_www_authorize(request, '$nope')", "ConfigError"),
        ("return request.reply(200, 'O\\r\\nK')", "ConfigError"),
    ],
)
def test_a_route_that_fails_is_logged_and_answered_500(run, script, caplog, body, logged):
    """The service goes on; the client learns no more than that."""

    async def scenario(host, phone):
        return [await phone.ask(host) for _ in range(2)]

    route = load_route(script(f"async def request_route(request, auth):\n    {body}\n"))
    for reply in run(scenario, route):
        assert (reply.status, reply.reason) == (500, "Server Internal Error")
        assert not any("secret" in value for _, value in reply.headers)
    records = [record for record in caplog.records if record.name == "auth_diameter.host"]
    assert len(records) == 2
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
        return refused, [await phone.receive() for _ in range(3)]

    refused, served = run(scenario, load_route(script(text)))
    assert [(reply.status, reply.header("Retry-After")) for reply in refused] == [(503, "2")] * 2
    assert {reply.header("Call-ID") for reply in refused} == {"4", "5"}
    assert [reply.status for reply in served] == [200] * 3


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
        while not host.received:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)

    run(scenario, route)
    assert route.__globals__["ended"] == ["REGISTER"]


def test_one_request_that_cannot_be_handled_does_not_end_the_service(run, caplog):
    """Whatever fails in us: it is logged, and the next datagram is served."""

    async def scenario(host, phone):
        handle, host._handle = host._handle, lambda data, source: 1 / 0
        phone.send(phone.request(), host.address)
        while not host.received:
            await asyncio.sleep(0.001)
        host._handle = handle
        return await phone.ask(host)

    assert run(scenario).status == 401
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
