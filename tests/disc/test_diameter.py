"""Standard Diameter on TCP: who may connect, what opens a connection, what each message gets (RFC 6733)."""

from __future__ import annotations

import asyncio
import logging
from ipaddress import ip_network

import pytest
from disc.streams import until
from kit.machine import PATIENCE
from kit.mar import REALM, RawPeer, authenticate, credentials, mar, nonce_of, result_of

from auth_diameter import ConfigError, Message
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    DEVICE_WATCHDOG,
    DISCONNECT_PEER,
    SUCCESS,
    Node,
    answer,
    avp_named,
    request,
    value_of,
)
from auth_diameter.diameter.watchdog import WatchdogState
from auth_diameter.disc import listener as listener_module
from auth_diameter.disc import peers as peers_module
from auth_diameter.disc.admission import ConnectionEvent
from auth_diameter.disc.config import DiameterConfig, ListenerConfig
from auth_diameter.disc.diameter import listen
from auth_diameter.disc.listener import listen as listen_dialect
from auth_diameter.disc.turns import Turns

HOST = "disc.siphub.net"
NAMES = {"origin_host": HOST, "origin_realm": REALM}
WATCHDOG = DEVICE_WATCHDOG, DISCONNECT_PEER
PROXIABLE, ERROR = 0x40, 0x20


@pytest.fixture
def run(on_loop, disc):
    """Runs `scenario(listener)` against a DISC of standard Diameter on a free port."""

    def play(scenario, limits=None, host="127.0.0.1", **settings):
        async def whole():
            config = DiameterConfig(**NAMES | settings)
            listener = await listen(Turns(disc), host, 0, config, ListenerConfig(**limits or {}))
            try:
                return await scenario(listener)
            finally:
                await asyncio.wait_for(listener.aclose(), PATIENCE)

        return on_loop(whole())

    return play


def lines(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "auth_diameter.disc"]


def plain(peer, command, *avps, **how):
    """A request of the base protocol, or of an application."""
    return Message(command, [*peer.node.origin(), *avps], hop_by_hop=77, end_to_end=78, **how)


# -- capabilities: 5.3 ------------------------------------------------------------------------------


def test_the_cea(run):
    """5.3.2: who this is, and Auth-Application-Id 6 (RFC 4740, 7)."""

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address)
        cea = await peer.ask(peer.cer())
        await peer.close()
        return cea

    cea = run(scenario)
    assert (cea.command, cea.flags, cea.hop_by_hop) == (CAPABILITIES_EXCHANGE, 0, 1)
    assert result_of(cea) == SUCCESS
    found = {avp.name: avp.value for avp in cea.avps}
    assert (found["Origin-Host"], found["Origin-Realm"]) == (HOST, REALM)
    assert str(found["Host-IP-Address"]) == "127.0.0.1"
    assert found["Auth-Application-Id"] == 6


def test_two_rounds(run, caplog):
    """RFC 4740, 6.2; and a line for each change of the peer."""
    caplog.set_level(logging.INFO)

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        challenge = await peer.ask(mar())
        success = await peer.ask(mar(credentials(nonce_of(challenge)), hop_by_hop=8))
        states = listener.peers.states
        await peer.close()
        await until(lambda: not listener.peers.states)
        return challenge, success, states, listener.answers

    challenge, success, states, answers = run(scenario)
    assert (result_of(challenge), challenge.hop_by_hop) == (1001, 7)
    assert (result_of(success), success.hop_by_hop) == (2001, 8)
    assert states == {WatchdogState.OKAY: 1}
    assert answers == {
        ("Capabilities-Exchange-Answer", 2001): 1,
        ("Multimedia-Auth-Answer", 1001): 1,
        ("Multimedia-Auth-Answer", 2001): 1,
    }
    assert lines(caplog) == [
        "peer sip.example.net: is connected from 127.0.0.1 (auth-diameter)",
        "peer sip.example.net: is disconnected: the connection is closed",
    ]


BEFORE_CER = {
    "MAR": mar(),
    "DWR": Message(DEVICE_WATCHDOG, ()).encode(),
    "CEA": Message(CAPABILITIES_EXCHANGE, (), flags=0).encode(),
    "CER of an application": Message(CAPABILITIES_EXCHANGE, (), application_id=6).encode(),
    "CER that cannot be read": Message(CAPABILITIES_EXCHANGE, ()).encode()[:3] + b"\x18" + bytes(20),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("case", BEFORE_CER)
def test_a_connection_begins_with_a_cer(run, case):
    """5.6: before the CER there is no peer whose messages could be answered."""

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address)
        peer.send(BEFORE_CER[case], peer.cer(), mar())
        await peer.ended()
        return listener.counts

    counts = run(scenario)
    event = ConnectionEvent.BAD_FRAMING if case in ("TLS", "HTTP") else ConnectionEvent.NO_CAPABILITIES
    assert counts == {ConnectionEvent.ACCEPTED: 1, event: 1}


REFUSED = {
    "without Host-IP-Address": ("Host-IP-Address", None, 5005),
    "without Product-Name": ("Product-Name", None, 5005),
    "without Origin-Realm": ("Origin-Realm", None, 5005),
    "no DiameterIdentity": ("Origin-Host", "sip example", 5004),
    "TLS after the CER": ("Inband-Security-Id", 1, 5017),
    "another application": ("Auth-Application-Id", 4, 5010),
    "our own identity": ("Origin-Host", HOST.upper(), 3010),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_cer_that_is_refused(run, case):
    """5.3: the CEA says why, and the connection is closed."""
    name, value, result = REFUSED[case]

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address)
        avps = [avp for avp in Message.decode(peer.cer()).avps if avp.name != name]
        if value is not None:
            avps.append(avp_named(name, value))
        cea = await peer.ask(Message(CAPABILITIES_EXCHANGE, avps))
        peer.send(mar())
        await peer.ended()
        return cea

    cea = run(scenario)
    assert result_of(cea) == result
    assert bool(cea.flags & ERROR) == (result == 3010)
    assert (cea.find(279) is not None) == (result in (5005, 5004))


def test_the_p_flag_on_a_cer(run):
    """7.1.3: DIAMETER_INVALID_HDR_BITS, as for DWR and DPR."""

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address)
        data = bytearray(peer.cer())
        data[4] |= PROXIABLE
        refused = await peer.ask(bytes(data))
        await peer.ended()
        other = await RawPeer.open(listener.address)
        found = [refused] + [await other.ask(plain(other, code, flags=0xC0)) for code in WATCHDOG]
        await other.close()
        return found

    for message in run(scenario):
        assert (result_of(message), message.flags) == (3008, PROXIABLE | ERROR)


def test_who_may_connect(run):
    """3010 has the E flag; identities are compared without case."""

    async def scenario(listener):
        known = await RawPeer.open(listener.address, "SIP.example.net")
        unknown = await RawPeer.connect(listener.address, "other.example.net")
        cea = await unknown.ask(unknown.cer())
        await unknown.ended()
        maa = await known.ask(mar())
        await known.close()
        return cea, maa

    cea, maa = run(scenario, peer=("sip.example.net", "third.example.net"))
    assert (result_of(cea), cea.flags & ERROR) == (3010, ERROR)
    assert result_of(maa) == 1001


def test_without_peers_there_are_those_on_loopback_alone(run, monkeypatch):
    class Elsewhere:
        is_loopback = False

    monkeypatch.setattr(peers_module, "ip_address", lambda host: Elsewhere)

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address)
        cea = await peer.ask(peer.cer())
        await peer.ended()
        return cea

    assert result_of(run(scenario)) == 3010
    assert result_of(run(scenario, peer=("other.example.net",))) == 3010


def test_a_second_connection_of_a_peer(run):
    """2.1: one connection between two peers; the first goes on."""

    async def scenario(listener):
        first = await RawPeer.open(listener.address)
        second = await RawPeer.connect(listener.address, "SIP.EXAMPLE.NET")
        cea = await second.ask(second.cer())
        await second.ended()
        maa = await first.ask(mar())
        await first.close()
        await until(lambda: not listener.peers.states)
        again = await RawPeer.open(listener.address)
        await again.close()
        return cea, maa

    cea, maa = run(scenario)
    assert result_of(cea) == 5012
    assert result_of(maa) == 1001


def test_a_newer_connection_may_replace_the_first(run, caplog):
    """For peers whose old connections stay behind, such as those of a host that lost power."""
    caplog.set_level(logging.INFO)

    async def scenario(listener):
        first = await RawPeer.open(listener.address)
        second = await RawPeer.open(listener.address)
        await first.ended()
        maa = await second.ask(mar())
        states = listener.peers.states
        await second.close()
        return maa, states

    maa, states = run(scenario, takes_newer=True)
    assert result_of(maa) == 1001
    assert states.total() == 1
    assert "peer sip.example.net: is disconnected: it has opened another connection" in lines(caplog)


def test_a_second_cer_is_answered(run):
    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        cea = await peer.ask(peer.cer())
        maa = await peer.ask(mar())
        await peer.close()
        return cea, maa

    cea, maa = run(scenario)
    assert (result_of(cea), result_of(maa)) == (5012, 1001)


def test_a_cer_has_to_come_in_time(run):
    async def scenario(listener):
        silent = await RawPeer.connect(listener.address)
        slow = await RawPeer.connect(listener.address)
        slow.send(slow.cer()[:30])
        await silent.ended()
        await slow.ended()
        return listener.counts, listener.open

    counts, still_open = run(scenario, {"max_question_time": 0.05})
    assert counts[ConnectionEvent.NO_CAPABILITIES] + counts[ConnectionEvent.TOO_SLOW] == 2
    assert still_open == 0


def test_many_cer_of_one_source_leave_nothing_behind(run, caplog):
    """Their number is that of the connections, and a log has a line a second."""
    caplog.set_level(logging.WARNING)

    async def scenario(listener):
        first = await RawPeer.open(listener.address)
        for number in range(200):
            peer = await RawPeer.connect(listener.address, f"host-{number}.example.net")
            peer.send(peer.cer(), peer.cer())
            await peer.receive()
            await peer.close()
        await until(lambda: listener.open == 1)
        states = listener.peers.states.total()
        await first.close()
        return states

    assert run(scenario) == 1
    assert len(lines(caplog)) <= 3


def test_connections_are_limited(run):
    """The limits are those of the dialect."""

    async def scenario(listener):
        open_ones = [
            await RawPeer.open(listener.address, f"host-{number}.example.net") for number in range(2)
        ]
        third = await RawPeer.connect(listener.address)
        await third.ended()
        for peer in open_ones:
            await peer.close()
        return listener.counts

    assert run(scenario, {"max_per_source": 2})[ConnectionEvent.TOO_MANY_FROM_SOURCE] == 1


# -- an open connection -----------------------------------------------------------------------------


def test_a_watchdog_is_answered(run):
    """5.5: DWA with Result-Code 2001 and Origin-State-Id."""

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        dwa = await peer.ask(plain(peer, DEVICE_WATCHDOG))
        await peer.close()
        return dwa

    dwa = run(scenario)
    assert (dwa.command, dwa.flags, dwa.hop_by_hop, dwa.end_to_end) == (DEVICE_WATCHDOG, 0, 77, 78)
    assert result_of(dwa) == SUCCESS
    assert value_of(dwa, "Origin-State-Id") is not None


@pytest.fixture
def later(monkeypatch):
    """A function that lets seconds pass for the peers of a listener."""

    def pass_by(listener, seconds):
        peers = listener.peers
        clock = peers._loop

        class Later:
            def __getattr__(self, name):
                return getattr(clock, name)

            def time(self):
                return clock.time() + seconds

        peers._loop = Later()
        for peer in list(peers._peers.values()):
            peers._expire(peer)

    return pass_by


def test_a_silent_peer_is_asked_and_then_closed(run, later, caplog):
    """RFC 3539, 3.4.1: DWR after Tw, SUSPECT after another, closed after a third."""
    caplog.set_level(logging.INFO)

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        found = []
        for _ in range(3):
            found.append(next(iter(listener.peers.states)))
            later(listener, 40)
        dwr = await peer.receive()
        await peer.ended()
        return found, dwr, listener.peers.states

    found, dwr, states = run(scenario)
    assert (dwr.command, dwr.is_request, dwr.flags) == (DEVICE_WATCHDOG, True, 0x80)
    assert found == [WatchdogState.OKAY, WatchdogState.OKAY, WatchdogState.SUSPECT]
    assert not states
    assert lines(caplog)[1:] == [
        "peer sip.example.net: does not answer the watchdog",
        "peer sip.example.net: is disconnected: it answers no watchdog",
    ]


def test_a_suspect_that_answers_is_well_again(run, later):
    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        later(listener, 40)
        dwr = await peer.receive()
        later(listener, 40)
        suspect = listener.peers.states
        peer.send(answer(peer.node, dwr, SUCCESS))
        await until(lambda: listener.peers.states[WatchdogState.OKAY])
        maa = await peer.ask(mar())
        await peer.close()
        return suspect, maa

    suspect, maa = run(scenario)
    assert suspect == {WatchdogState.SUSPECT: 1}
    assert result_of(maa) == 1001


def test_a_message_of_an_application_counts_as_a_sign_of_life(run, later):
    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        later(listener, 40)
        later(listener, 40)
        assert (await peer.receive()).command == DEVICE_WATCHDOG
        maa = await peer.ask(mar())
        states = listener.peers.states
        await peer.close()
        return maa, states

    maa, states = run(scenario)
    assert result_of(maa) == 1001
    assert states == {WatchdogState.OKAY: 1}


def unanswerable(peer):
    """Requests that nobody here can answer, and the Result-Code for each."""
    session = avp_named("Session-Id", "sip.example.net;1;2")
    return [
        (plain(peer, 285, session, application_id=6), 3001),  # LIR
        (plain(peer, 9999, session, application_id=6), 3001),
        (plain(peer, 275), 3001),  # STR of the base protocol
        (plain(peer, 272, session, application_id=4), 3007),
        (plain(peer, 286, session, application_id=7), 3007),
    ]


def test_what_is_not_supported(run):
    """7.1.3: protocol errors have the E flag."""

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        found = [(await peer.ask(asked), asked, result) for asked, result in unanswerable(peer)]
        await peer.close()
        return found

    for message, asked, result in run(scenario):
        assert (result_of(message), message.flags) == (result, ERROR)
        assert (message.command, message.application_id) == (asked.command, asked.application_id)
        assert (message.hop_by_hop, message.end_to_end) == (77, 78)
        assert message.find(263) == asked.find(263)


def test_an_answer_to_nothing_is_passed_over(run):
    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        for command, application in (
            (DEVICE_WATCHDOG, 0),
            (DISCONNECT_PEER, 0),
            (286, 6),
            (CAPABILITIES_EXCHANGE, 0),
        ):
            peer.send(Message(command, peer.node.origin(), flags=0, application_id=application))
        maa = await peer.ask(mar())
        await peer.close()
        return maa

    assert result_of(run(scenario)) == 1001


def test_avps_that_cannot_be_read(run):
    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        data = bytearray(plain(peer, DEVICE_WATCHDOG).encode())
        data[27] = 0xFF
        refused = await peer.ask(bytes(data))
        data[4] = 0  # no request
        maa = await peer.ask(bytes(data) + mar())
        await peer.close()
        return refused, maa

    refused, maa = run(scenario)
    assert (result_of(refused), refused.command) == (5014, DEVICE_WATCHDOG)
    assert result_of(maa) == 1001


@pytest.mark.parametrize("command", [285, 286])
def test_a_session_id_of_garbage(run, command):
    """It is answered without that Session-Id; the other messages of the peer, and the other peers, go on."""
    garbage = avp_named("Session-Id", b"\xff\xfe\x00")

    async def scenario(listener):
        peer, other = [await RawPeer.open(listener.address, f"{name}.example.net") for name in ("a", "b")]
        refused = await peer.ask(plain(peer, command, garbage, application_id=6))
        found = [await each.ask(mar()) for each in (peer, other)]
        for each in (peer, other):
            await each.close()
        return refused, found

    refused, found = run(scenario)
    assert result_of(refused) == (3001 if command == 285 else 5004)
    assert b"\xff\xfe" not in refused.encode()
    assert [result_of(message) for message in found] == [1001, 1001]


def test_bytes_that_are_no_message_end_a_connection(run):
    """Section 3: behind a header that is none, nobody knows where the next one begins."""

    async def scenario(listener):
        peer, other = [await RawPeer.open(listener.address, f"{name}.example.net") for name in ("a", "b")]
        peer.send(mar(), b"\x02" + bytes(19), mar())
        maa = await peer.receive()
        await peer.ended()
        found = await other.ask(mar())
        await other.close()
        return maa, found

    assert [result_of(message) for message in run(scenario)] == [1001, 1001]


def test_pipelining(run):
    """RFC 3539, 3.3: one connection for all requests; the answers of a turn come in one write."""

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        peer.send(*[mar(hop_by_hop=number) for number in range(300)])
        found = [(await peer.receive()).hop_by_hop for _ in range(300)]
        await peer.close()
        return found

    assert run(scenario) == list(range(300))


def test_both_ports_share_their_turns(on_loop, disc):
    """What the dialect and standard Diameter ask in one turn of the loop is judged together."""

    async def scenario():
        dialect = await listen_dialect(disc, "127.0.0.1", 0)
        standard = await listen(dialect.turns, "127.0.0.1", 0, DiameterConfig(**NAMES))
        peer = await RawPeer.open(standard.address)
        maa = await peer.ask(mar())
        await peer.close()
        for listener in (standard, dialect):
            await asyncio.wait_for(listener.aclose(), PATIENCE)
        return maa

    assert authenticate(on_loop(scenario()))["Digest-Realm"] == REALM
    assert disc.counts.total() == 1


# -- the end: 5.4 -----------------------------------------------------------------------------------


def test_a_peer_that_leaves(run, caplog):
    """5.4: DPA, behind the answers to what came before; then the peer closes."""
    caplog.set_level(logging.INFO)

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        cause = avp_named("Disconnect-Cause", 1)
        peer.send(mar(), plain(peer, DISCONNECT_PEER, cause))
        found = [await peer.receive() for _ in range(2)]
        await peer.close()
        await until(lambda: listener.open == 0)
        return found

    maa, dpa = run(scenario)
    assert (maa.command, result_of(maa)) == (286, 1001)
    assert (dpa.command, result_of(dpa)) == (DISCONNECT_PEER, SUCCESS)
    assert lines(caplog)[1:] == [
        "peer sip.example.net: leaves, because of BUSY",
        "peer sip.example.net: is disconnected: the connection is closed",
    ]


def test_disc_leaves_its_peers(on_loop, disc):
    """5.4.3: DPR with REBOOTING; the DPA closes the connection, and what is asked until then is answered."""

    async def scenario():
        listener = await listen(Turns(disc), "127.0.0.1", 0, DiameterConfig(**NAMES))
        peer = await RawPeer.open(listener.address)
        waiting = await RawPeer.connect(listener.address)
        ending = asyncio.create_task(listener.aclose())
        dpr = await peer.receive()
        maa = await peer.ask(mar())
        peer.send(answer(peer.node, dpr, SUCCESS))
        await peer.ended()
        await waiting.ended()
        await asyncio.wait_for(ending, PATIENCE)
        return dpr, maa

    dpr, maa = on_loop(scenario())
    assert (dpr.command, dpr.is_request) == (DISCONNECT_PEER, True)
    assert value_of(dpr, "Disconnect-Cause") == 0
    assert result_of(maa) == 1001


def test_a_peer_that_does_not_answer_the_dpr_is_not_waited_for_long(on_loop, disc, monkeypatch):
    monkeypatch.setattr(listener_module, "_PATIENCE", 0.05)

    async def scenario():
        listener = await listen(Turns(disc), "127.0.0.1", 0, DiameterConfig(**NAMES))
        peer = await RawPeer.open(listener.address)
        await asyncio.wait_for(listener.aclose(), PATIENCE)
        await peer.close()
        return listener.open

    assert on_loop(scenario()) == 0


def test_a_peer_that_is_no_longer_allowed(run):
    """SIGHUP: its connection gets a DPR; the others keep their one challenge."""

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        listener.use(ListenerConfig())
        maa = await peer.ask(mar())
        listener.use(ListenerConfig(allow=(ip_network("192.0.2.0/24"),)))
        await peer.leave()
        return maa

    assert result_of(run(scenario)) == 1001


# -- settings ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"origin_host": "disc"},
            "origin_host: expected a name with dots, such as disc.example.net, not 'disc'",
        ),
        ({"origin_realm": "sip hub.net"}, "origin_realm: expected a name"),
        ({"peer": ("a.example", "")}, "peer: expected a name"),
        ({"own_nonces": ("192.0.2.1:5",)}, "own_nonces: expected a name"),
        ({"watchdog": 5.9}, "watchdog: expected 6 seconds or more, not 5.9"),
        ({"watchdog": float("nan")}, "watchdog: expected"),
    ],
)
def test_settings_that_cannot_be(changed, message):
    with pytest.raises(ConfigError, match=message):
        DiameterConfig(**NAMES | changed)


def test_the_settings_decide_on_the_answers(run):
    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        nonce = nonce_of(await peer.ask(mar()))
        unknown = await peer.ask(mar(credentials(nonce, ("mallory", "guess"))))
        other = await peer.ask(mar(credentials(nonce), SIP_AOR=f"sip:bob@{REALM}"))
        await peer.close()
        return result_of(unknown), result_of(other)

    assert run(scenario) == (4001, 5033)
    assert run(scenario, tell_unknown=True, own_addresses=False) == (5032, 2001)


def test_nothing_is_sent_unasked(run):
    """The wire has a CEA and what was asked for."""

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        await peer.ask(request(peer.node, DEVICE_WATCHDOG, list(peer.node.origin()), 5))
        peer.writer.write_eof()
        await peer.ended()
        return listener.open

    assert run(scenario) == 0


# -- HA1 --------------------------------------------------------------------------------------------

SCSCF = Node(host="scscf.example.net", realm="example.net", vendor_applications=((10415, 16777216),))


def test_cx_is_for_peers_that_are_told_ha1(run):
    """29.229, 5.6: the CEA has Vendor-Specific-Application-Id. Others learn of no Cx, and get 3007."""

    async def scenario(listener):
        scscf, other = [
            await RawPeer.connect(listener.address, name) for name in (SCSCF.host, "sip.example.net")
        ]
        scscf.node = SCSCF
        found = [await each.ask(each.cer()) for each in (scscf, other)]
        cx = plain(scscf, 303, application_id=16777216)
        found += [await each.ask(cx) for each in (scscf, other)]
        for each in (scscf, other):
            await each.close()
        return found

    for_scscf, for_other, known, unknown = run(scenario, tell_ha1=("SCSCF.example.net",))
    assert [result_of(cea) for cea in (for_scscf, for_other)] == [SUCCESS, SUCCESS]
    assert for_scscf.find(260) is not None
    assert for_other.find(260) is None
    assert result_of(known) == 5005
    assert result_of(unknown) == 3007


def test_an_scscf_that_is_not_told_ha1(run):
    """5010: there is no common application then."""

    async def scenario(listener):
        peer = await RawPeer.connect(listener.address, SCSCF.host)
        peer.node = SCSCF
        cea = await peer.ask(peer.cer())
        await peer.ended()
        return cea

    assert result_of(run(scenario)) == 5010


@pytest.mark.parametrize("in_clear", [False, True])
def test_ha1_needs_tls_or_loopback(run, monkeypatch, in_clear):
    """It is as good as a password (RFC 4740, 14.1)."""

    class Elsewhere:
        is_loopback = False

    monkeypatch.setattr(peers_module, "ip_address", lambda host: Elsewhere)

    async def scenario(listener):
        peer = await RawPeer.open(listener.address)
        maa = await peer.ask(mar())
        await peer.close()
        return maa

    settings = {"peer": ("sip.example.net",), "tell_ha1": ("sip.example.net",)}
    found = authenticate(run(scenario, ha1_in_clear=in_clear, **settings))
    assert ("Digest-HA1" in found) == in_clear
