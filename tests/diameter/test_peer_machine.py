"""The peer state machine: RFC 6733, 5.6, with both roles; two machines that talk to each other."""

import pytest

from auth_diameter._core import Message, avp_code
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    DEVICE_WATCHDOG,
    DISCONNECT_PEER,
    PROXIABLE,
    Node,
    answer,
    avp_named,
    request,
    value_of,
)
from auth_diameter.diameter.capabilities import cer, read_cer
from auth_diameter.diameter.peer_machine import (
    Cause,
    Connect,
    Disconnect,
    FailBack,
    FailOver,
    Leaving,
    Opened,
    PeerMachine,
    Transmit,
)
from auth_diameter.diameter.peer_states import TRANSITIONS, MachineEvent, MachineState, Side
from auth_diameter.diameter.watchdog import WatchdogState

I, R = Side  # noqa: E741 - the prefixes of 5.6
S = MachineState
TW = 30.0
SIP = 6

CLIENT = Node(host="sip.example.net", realm="example.net", applications=(SIP,), state_id=7)
SERVER = Node(host="disc.example.net", realm="example.net", applications=(SIP,), state_id=8)
EARLIER = Node(host="a.example.net", realm="example.net", applications=(SIP,), state_id=9)
LATER = Node(host="z.example.net", realm="example.net", applications=(SIP,), state_id=10)


def machine_of(node, **settings):
    return PeerMachine(node, TW, jitter=lambda: 0.5, **settings)


def outputs_of(machine):
    taken = machine.outputs[:]
    machine.outputs.clear()
    return taken


def sent(outputs):
    return [output.message for output in outputs if isinstance(output, Transmit)]


def kinds(outputs):
    return [type(output) for output in outputs]


def cer_of(node):
    return cer(node, "127.0.0.1", 1)


def take_cer(machine, node, own, now=0.0):
    asked = cer_of(node)
    return machine.incoming(asked, read_cer(own, asked), "127.0.0.1", now)


def cea_to(node, asked):
    """What a machine of that node answers to a CER."""
    machine = machine_of(node)
    machine.incoming(asked, read_cer(node, asked), "127.0.0.1", 0.0)
    return sent(machine.outputs)[0]


def open_initiator(node=CLIENT, other=SERVER, **settings):
    machine = machine_of(node, **settings)
    machine.start(0.0)
    machine.connected("127.0.0.1", 0.0)
    [asked] = sent(outputs_of(machine))
    machine.received(I, cea_to(other, asked), 0.0)
    outputs_of(machine)
    return machine


def open_responder(node=SERVER, other=CLIENT, **settings):
    machine = machine_of(node, **settings)
    assert take_cer(machine, other, node)
    outputs_of(machine)
    return machine


# --- capabilities exchange: 5.3 ---------------------------------------------------------------------------


def test_the_initiator_connects_sends_a_cer_and_is_open_with_the_cea():
    machine = machine_of(CLIENT)
    machine.start(0.0)
    assert outputs_of(machine) == [Connect()]
    assert machine.state is S.WAIT_CONN_ACK
    machine.connected("127.0.0.1", 0.0)
    [asked] = sent(outputs_of(machine))
    assert (asked.command, asked.flags) == (CAPABILITIES_EXCHANGE, 0x80)
    assert machine.state is S.WAIT_I_CEA
    assert machine.received(I, cea_to(SERVER, asked), 0.0)
    assert machine.state is S.I_OPEN
    [opened] = outputs_of(machine)
    assert opened == Opened(I, machine.capabilities)
    assert machine.capabilities.host == SERVER.host
    assert machine.open_side is I


def test_the_responder_answers_the_cer_and_is_open():
    machine = machine_of(SERVER)
    assert take_cer(machine, CLIENT, SERVER)
    transmit, opened = outputs_of(machine)
    assert value_of(transmit.message, "Result-Code") == 2001
    assert opened.capabilities.host == CLIENT.host
    assert machine.state is S.R_OPEN


def test_the_connection_was_refused():
    machine = machine_of(CLIENT)
    machine.start(0.0)
    machine.not_connected(0.0)
    assert machine.state is S.CLOSED


@pytest.mark.parametrize("result", [3010, 4003, 5010, 5012, 5017])
def test_a_cea_that_refuses_ends_the_connection(result):
    machine = machine_of(CLIENT)
    machine.start(0.0)
    machine.connected("127.0.0.1", 0.0)
    [asked] = sent(outputs_of(machine))
    machine.received(I, answer(SERVER, asked, result), 0.0)
    [disconnect] = outputs_of(machine)
    assert disconnect.side is I
    assert str(result) in disconnect.why
    assert machine.state is S.CLOSED
    assert machine.open_side is None


def test_a_first_message_that_is_no_cea_ends_the_connection():
    machine = machine_of(CLIENT)
    machine.start(0.0)
    machine.connected("127.0.0.1", 0.0)
    outputs_of(machine)
    assert machine.received(I, request(SERVER, DEVICE_WATCHDOG, list(SERVER.origin()), 1), 0.0)
    assert kinds(outputs_of(machine)) == [Disconnect]
    assert machine.state is S.CLOSED


def test_a_peer_that_is_not_in_its_certificate_gets_no_request():
    machine = machine_of(CLIENT)
    machine.start(0.0)
    machine.connected("127.0.0.1", 0.0, frozenset({"other.example.net"}))
    [asked] = sent(outputs_of(machine))
    machine.received(I, cea_to(SERVER, asked), 0.0)
    [disconnect] = outputs_of(machine)
    assert "disc.example.net" in disconnect.why


def test_a_cea_that_does_not_come_in_time_ends_the_connection():
    machine = machine_of(CLIENT)
    machine.start(0.0)
    machine.connected("127.0.0.1", 0.0)
    outputs_of(machine)
    machine.expire(machine.due)
    assert kinds(outputs_of(machine)) == [Disconnect]
    assert machine.state is S.CLOSED


def test_a_second_cer_on_a_connection_is_answered_with_an_error():
    machine = open_responder()
    assert machine.received(R, cer_of(CLIENT), 1.0)
    [refused] = sent(outputs_of(machine))
    assert value_of(refused, "Result-Code") == 5012
    assert machine.state is S.R_OPEN


# --- the election: 5.6.4 ----------------------------------------------------------------------------------


def both_connect(early=EARLIER, late=LATER):
    """Both sides have sent a CER and got that of the other."""
    machines = {}
    cers = {}
    for node in (early, late):
        machine = machines[node.host] = machine_of(node)
        machine.start(0.0)
        machine.connected("127.0.0.1", 0.0)
        [cers[node.host]] = sent(outputs_of(machine))
    one, two = machines[early.host], machines[late.host]
    assert one.incoming(cers[late.host], read_cer(early, cers[late.host]), "127.0.0.1", 0.0)
    assert two.incoming(cers[early.host], read_cer(late, cers[early.host]), "127.0.0.1", 0.0)
    return one, two


def test_the_connection_of_the_smaller_origin_host_is_closed_by_the_winner():
    """5.6: the responder connection survives where the local Origin-Host is higher."""
    loser, winner = both_connect()
    assert winner.state is S.R_OPEN
    outputs = outputs_of(winner)
    assert [output.side for output in outputs if isinstance(output, Disconnect)] == [I]
    [cea] = sent(outputs)
    assert loser.state is S.WAIT_RETURNS
    outputs_of(loser)
    loser.received(I, cea, 0.0)
    assert loser.state is S.I_OPEN
    assert [output.side for output in outputs_of(loser) if isinstance(output, Disconnect)] == [R]


def test_the_loser_sees_its_other_connection_end_first():
    loser, winner = both_connect()
    [cea] = sent(outputs_of(winner))
    outputs_of(loser)
    loser.lost(R, 0.0)
    assert loser.state is S.WAIT_I_CEA
    loser.received(I, cea, 0.0)
    assert loser.state is S.I_OPEN


def test_origin_hosts_are_compared_without_case():
    upper = Node(host="Z.example.net", realm="example.net", applications=(SIP,))
    lower = Node(host="a.example.net", realm="example.net", applications=(SIP,))
    _, winner = both_connect(lower, upper)
    assert winner.state is S.R_OPEN


def test_a_peer_that_connects_while_we_do_is_open_if_our_connection_fails():
    machine = machine_of(SERVER)
    machine.start(0.0)
    outputs_of(machine)
    assert take_cer(machine, CLIENT, SERVER)
    assert machine.state is S.ELECT
    assert outputs_of(machine) == []
    machine.not_connected(0.0)
    assert machine.state is S.R_OPEN
    assert kinds(outputs_of(machine)) == [Transmit, Opened]


# --- one connection between two peers: 2.1 ---------------------------------------------------------------


def test_a_second_connection_of_a_peer_is_refused():
    machine = open_responder()
    assert not take_cer(machine, CLIENT, SERVER)
    assert outputs_of(machine) == []
    assert value_of(machine.refuse(cer_of(CLIENT), "127.0.0.1"), "Result-Code") == 5012
    assert machine.state is S.R_OPEN


# --- the watchdog: 5.5, RFC 3539 -------------------------------------------------------------------------


@pytest.mark.parametrize(("machine", "side"), [(open_initiator(), I), (open_responder(), R)])
def test_a_dwr_is_answered(machine, side):
    asked = request(CLIENT, DEVICE_WATCHDOG, list(CLIENT.origin()), 77)
    assert machine.received(side, asked, 1.0)
    [found] = sent(outputs_of(machine))
    assert (found.command, found.flags, found.hop_by_hop) == (DEVICE_WATCHDOG, 0, 77)
    assert found.end_to_end == asked.end_to_end
    assert value_of(found, "Result-Code") == 2001
    assert value_of(found, "Origin-State-Id") is not None


def test_a_base_command_with_the_p_flag_is_refused():
    """5.3 to 5.5 forbid it; 7.1.3: 3008 with the E flag."""
    machine = open_responder()
    asked = Message(
        DEVICE_WATCHDOG, list(CLIENT.origin()), flags=0x80 | PROXIABLE, hop_by_hop=5, end_to_end=6
    )
    machine.received(R, asked, 1.0)
    [found] = sent(outputs_of(machine))
    assert value_of(found, "Result-Code") == 3008
    assert found.flags == 0x20 | PROXIABLE


def test_a_silent_peer_gets_a_dwr_is_failed_over_and_closed():
    machine = open_initiator()
    machine.expire(machine.due)
    [asked] = sent(outputs_of(machine))
    assert (asked.command, asked.flags) == (DEVICE_WATCHDOG, 0x80)
    machine.expire(machine.due)
    assert outputs_of(machine) == [FailOver()]
    assert machine.watchdog.state is WatchdogState.SUSPECT
    machine.expire(machine.due)
    [disconnect] = outputs_of(machine)
    assert disconnect == Disconnect(I, "it answers no watchdog")
    assert machine.state is S.CLOSED


def dwa(asked):
    return answer(SERVER, asked, 2001)


def test_a_suspect_that_answers_has_requests_again():
    machine = open_initiator()
    machine.expire(machine.due)
    [asked] = sent(outputs_of(machine))
    machine.expire(machine.due)
    outputs_of(machine)
    assert machine.received(I, dwa(asked), 70.0)
    assert outputs_of(machine) == [FailBack()]


def test_a_peer_that_is_back_answers_three_dwr_first():
    machine = open_initiator()
    machine.lost(I, 1.0)
    assert outputs_of(machine) == [FailOver()]
    machine.start(2.0)
    machine.connected("127.0.0.1", 2.0)
    asked = next(m for m in sent(outputs_of(machine)) if m.command == CAPABILITIES_EXCHANGE)
    machine.received(I, cea_to(SERVER, asked), 2.0)
    failed_back = []
    for _ in range(3):
        outputs = outputs_of(machine)
        failed_back.append(FailBack() in outputs)
        [asked] = sent(outputs)
        machine.received(I, dwa(asked), machine.due - 1.0)
        if machine.watchdog.state is WatchdogState.REOPEN:
            machine.expire(machine.due)
    assert failed_back == [False, False, False]
    assert outputs_of(machine) == [FailBack()]


def test_messages_of_applications_are_left_to_them():
    machine = open_responder()
    assert not machine.received(R, Message(286, application_id=SIP), 1.0)
    assert outputs_of(machine) == []


# --- the end: 5.4 -----------------------------------------------------------------------------------------


def test_stop_sends_a_dpr_and_closes_with_the_dpa():
    machine = open_initiator()
    machine.stop(Cause.REBOOTING, 1.0)
    [asked] = sent(outputs_of(machine))
    assert (asked.command, value_of(asked, "Disconnect-Cause")) == (DISCONNECT_PEER, 0)
    assert machine.state is S.CLOSING
    machine.received(I, dwa(asked), 1.0)
    assert kinds(outputs_of(machine))[0] is Disconnect
    assert machine.state is S.CLOSED


def test_a_dpa_that_does_not_come_is_not_waited_for():
    machine = open_initiator()
    machine.stop(Cause.REBOOTING, 1.0)
    outputs_of(machine)
    machine.expire(6.1)
    assert kinds(outputs_of(machine))[0] is Disconnect
    assert machine.state is S.CLOSED


@pytest.mark.parametrize("cause", Cause)
def test_a_dpr_is_answered_and_tells_why(cause):
    machine = open_responder()
    avps = [*CLIENT.origin(), avp_named("Disconnect-Cause", cause)]
    machine.received(R, request(CLIENT, DISCONNECT_PEER, avps, 3), 1.0)
    leaving, transmit = outputs_of(machine)
    assert leaving == Leaving(cause)
    assert value_of(transmit.message, "Result-Code") == 2001
    assert machine.state is S.CLOSING
    machine.lost(R, 1.0)  # whoever gets the DPA closes
    assert machine.state is S.CLOSED


def test_both_stop_at_once():
    one = open_initiator()
    one.stop(Cause.REBOOTING, 1.0)
    [asked] = sent(outputs_of(one))
    one.received(I, request(SERVER, DISCONNECT_PEER, list(SERVER.origin()), 9), 1.0)
    assert [value_of(m, "Result-Code") for m in sent(outputs_of(one))] == [2001]
    one.received(I, dwa(asked), 1.0)
    assert one.state is S.CLOSED


# --- the table --------------------------------------------------------------------------------------------


def test_every_state_can_be_left_and_reached():
    assert {state for state, _ in TRANSITIONS} == set(MachineState)
    assert {after for _, after in TRANSITIONS.values()} == set(MachineState)
    assert {event for _, event in TRANSITIONS} == set(MachineEvent)


def test_answers_repeat_session_and_proxy_info_and_have_no_destination():
    """6.2: Session-Id, Proxy-Info in their order, P and both identifiers come back."""
    asked = Message(
        286,
        [
            avp_named("Session-Id", "sip.example.net;1;2"),
            avp_named("Destination-Realm", "example.net"),
            avp_named("Proxy-Info", [avp_named("Proxy-Host", "one"), avp_named("Proxy-State", b"1")]),
            avp_named("Proxy-Info", [avp_named("Proxy-Host", "two"), avp_named("Proxy-State", b"2")]),
        ],
        application_id=SIP,
        flags=0xC0,
        hop_by_hop=1,
        end_to_end=2,
    )
    found = answer(SERVER, asked, 2001)
    assert (found.flags, found.hop_by_hop, found.end_to_end) == (0x40, 1, 2)
    assert found.avps[0].value == "sip.example.net;1;2"
    assert found.find_all(avp_code("Proxy-Info")) == asked.find_all(avp_code("Proxy-Info"))
    assert found.find(avp_code("Destination-Realm")) is None
    assert answer(SERVER, asked, 3003).flags == 0x60
