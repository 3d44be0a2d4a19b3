"""The pool with standard Diameter, without I/O: RFC 6733 between neighbours, RFC 3539, and fail-over.

Time is what the test says it is. `kit.neighbour.Far` is the peers.
"""

from __future__ import annotations

import pytest
from kit.neighbour import MULTIMEDIA_AUTH, SERVER, TW, Far, connected, new_pool, new_question

from auth_diameter import Avp, Message
from auth_diameter._core import Verdict
from auth_diameter.decision import Cause
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    DEVICE_WATCHDOG,
    DISCONNECT_PEER,
    NO_COMMON_APPLICATION,
    UNKNOWN_PEER,
    avp_named,
    request,
    value_of,
)
from auth_diameter.diameter.capabilities import Refusal
from auth_diameter.diameter.connection import CLOSING, HELD_BACK, INITIAL, OKAY, PROBING, REOPEN

A, B = ("10.0.0.1", 3868), ("10.0.0.2", 3868)
RETRANSMITTED = 0x10
BUSY, DO_NOT_WANT = 1, 2


def dpr(cause: int) -> Avp:
    return avp_named("Disconnect-Cause", cause)


# ------------------------------------------------------------------ capabilities: RFC 6733, 5.3


def test_a_question_waits_for_the_cea():
    far = Far(new_pool())
    far.silent.add(far.pool.peers[0])
    question = far.submit()
    [connection] = far.pool.connections
    assert connection.state is INITIAL
    assert far.commands(connection) == [CAPABILITIES_EXCHANGE]
    far.silent.clear()
    far._answer_base(connection, far.got[0][1])
    assert connection.state is OKAY
    assert far.commands(connection) == [CAPABILITIES_EXCHANGE, MULTIMEDIA_AUTH]
    far.tell(connection, far.maa(far.asked()[0], 2001))
    [(answered, answer)] = far.answered
    assert (answered, answer.verdict) == (question, Verdict.SUCCESS)


def test_a_peer_is_up_when_its_cea_comes():
    far, _ = connected()
    assert [(change.address, change.state) for change in far.changes] == [("10.0.0.1:3868", "up")]


def test_cer_says_who_we_are():
    far, [connection] = connected()
    cer = far.got[0][1]
    assert value_of(cer, "Origin-Host") == "sip.h.test"
    assert value_of(cer, "Origin-Realm") == "h.test"
    assert value_of(cer, "Auth-Application-Id") == 6
    assert str(value_of(cer, "Host-IP-Address")) == "10.0.0.9"
    assert connection.state is OKAY


@pytest.mark.parametrize("result", [UNKNOWN_PEER, NO_COMMON_APPLICATION, 5017, 4003])
def test_a_refused_cer_closes_the_connection_and_the_peer_rests(result):
    far = Far(new_pool())
    far.refusal = Refusal(result, "no")
    question = far.submit()
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]
    assert far.pool.connections == []
    [change] = far.changes
    assert (change.state, change.why) == ("down", f"it answers the CER with {result} (no)")
    assert far.opened == 1, "it does not try again at once"
    far.wait(60.0)
    assert 20 < far.opened < 140, "but with the back-off of the pool"


def test_a_peer_that_hangs_up_before_its_cea_rests():
    far = Far(new_pool())
    far.silent.add(far.pool.peers[0])
    far.submit()
    [connection] = far.pool.connections
    far.pool.closed(connection, 0.0)
    far.settle()
    assert far.changes[-1].why == "it hangs up instead of sending a CEA"


def test_a_peer_that_sends_no_diameter_instead_of_its_cea_rests():
    far = Far(new_pool())
    far.silent.add(far.pool.peers[0])
    question = far.submit()
    [connection] = far.pool.connections
    far.pool.received(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n", 0.0)
    far.settle()
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]
    assert far.opened == 1, "it is not connected to again at once"
    [change] = far.changes
    assert (change.state, change.why) == (
        "down",
        "it sends no CEA (Diameter version is 72, not 1 (at byte 0))",
    )


def test_a_peer_that_sends_no_cea_is_given_up():
    far = Far(new_pool())
    far.silent.add(far.pool.peers[0])
    far.pool.connect(0.0)
    far.settle()
    far.wait(0.9)
    assert far.changes == []
    far.wait(1.1)
    assert far.changes[-1].why == "no answer came in time"


def test_it_is_tried_again_and_is_up_with_its_cea():
    far = Far(new_pool(connect_timeout=0.5))
    far.silent.add(far.pool.peers[0])
    far.pool.connect(0.0)
    far.settle()
    far.wait(0.6)
    far.silent.clear()
    far.wait(2.0)
    assert far.changes[-1].state == "up"


def test_the_identity_must_be_in_the_certificate():
    """RFC 6733, 13.1."""
    for names, is_up in (
        (frozenset({"disc.h.test"}), True),
        (frozenset({"x.h.test"}), False),
        (frozenset(), False),
    ):
        far = Far(new_pool())
        far.names = names
        far.pool.connect(0.0)
        far.settle()
        assert (far.changes[-1].state == "up") is is_up
    assert far.changes[-1].why == "it says that it is disc.h.test, which its certificate does not"


def test_the_name_that_was_dialled_must_be_in_the_certificate():
    """Any server that the authorities certify could take the place of the one that is meant otherwise.

    If it is not there, not even the CER is sent.
    """
    for names, is_up in (
        (frozenset({"disc.h.test", "diameter.h.test"}), True),
        (frozenset({"disc.h.test"}), False),
        (frozenset({"disc.h.test", "x.diameter.h.test"}), False),
    ):
        far = Far(new_pool(("Diameter.H.test", 5868), tls_ca="ca.pem"))
        far.names = names
        far.pool.connect(0.0)
        far.settle()
        assert (far.changes[-1].state == "up") is is_up
        assert (far.got != []) is is_up
    assert far.changes[-1].why == "its certificate is not for diameter.h.test"


@pytest.mark.parametrize("host", ["10.0.0.1", "::1", "::ffff:10.0.0.1", "localhost", "disc"])
def test_an_address_and_a_short_name_need_not_be_in_the_certificate(host):
    far = Far(new_pool((host, 5868), tls_ca="ca.pem"))
    far.names = frozenset({"disc.h.test"})
    far.pool.connect(0.0)
    far.settle()
    assert far.changes[-1].state == "up"


def test_a_peer_has_one_connection():
    """RFC 6733, 2.1. However many questions there are."""
    far, [connection] = connected(max_in_flight=2)
    for _ in range(10):
        far.submit()
    assert far.pool.connections == [connection]
    assert len(far.pool.waiting) == 8


# ------------------------------------------------------------------ messages between answers


def test_a_dwr_between_answers_is_answered():
    far, [connection] = connected()
    far.submit(), far.submit()
    first, second = far.asked()
    dwr = request(SERVER, DEVICE_WATCHDOG, [*SERVER.origin()], 99)
    far.tell(connection, far.maa(second), dwr, far.maa(first))
    assert len(far.answered) == 2
    assert far.commands(connection)[-1] == DEVICE_WATCHDOG
    assert far.got[-1][1].hop_by_hop == 99
    assert connection.state is OKAY


def test_an_answer_on_another_connection_answers_nothing():
    """RFC 6733, 3: the Hop-by-Hop Identifier is of one connection."""
    far, [first, second] = connected(A, B)
    far.submit()
    [asked] = far.asked()
    other = second if far.got[-1][0] is first else first
    far.tell(other, far.maa(asked, 2001))
    assert far.answered == []
    assert far.pool.stats().unknown == 1


def test_an_unknown_request_gets_3001():
    far, [connection] = connected()
    before = len(far.got)
    far.tell(
        connection, Message(316, [avp_named("Session-Id", "s")], application_id=6, flags=0xC0, hop_by_hop=5)
    )
    [(_, told)] = far.got[before:]
    assert (told.command, value_of(told, "Result-Code"), told.flags & 0xA0) == (316, 3001, 0x20)
    assert connection.state is OKAY


def test_a_message_that_cannot_be_read_closes_the_connection():
    far, [connection] = connected()
    data = bytearray(Message(DEVICE_WATCHDOG, [avp_named("Origin-Host", "x")], flags=0x80).encode())
    data[27] = 200  # AVP Length beyond the end
    far.pool.received(connection, bytes(data), 0.0)
    far.settle()
    assert far.pool.connections != [connection]


def test_an_answer_without_any_avp_is_an_answer():
    """python-diameter sends 20 bytes for a command that it does not know."""
    far, [connection] = connected()
    far.submit()
    [asked] = far.asked()
    bare = Message(
        286, [], application_id=6, flags=0, hop_by_hop=asked.hop_by_hop, end_to_end=asked.end_to_end
    )
    far.tell(connection, bare)
    [(_, answer)] = far.answered
    assert answer.fault == "no Result-Code"
    assert connection.state is OKAY


# ------------------------------------------------------------------ watchdog: RFC 3539, 3.4.1


def test_an_idle_peer_is_asked_whether_it_is_alive():
    far, [connection] = connected()
    far.wait(3 * TW + 1)
    assert far.commands(connection) == [CAPABILITIES_EXCHANGE] + [DEVICE_WATCHDOG] * 3


def test_answers_count_for_the_watchdog():
    far, [connection] = connected()
    for second in range(0, 120, 10):
        far.wait(float(second))
        far.submit()
        far.tell(connection, far.maa(far.asked()[-1]))
    assert DEVICE_WATCHDOG not in far.commands(connection)


def test_a_peer_that_dies_without_a_word_is_noticed_within_two_tw():
    far, [connection] = connected()
    far.silent.add(connection.peer)
    far.wait(2 * TW + 1)  # a DWR after Tw, and none of its answer after another
    assert far.commands(connection) == [CAPABILITIES_EXCHANGE, DEVICE_WATCHDOG]
    far.wait(3 * TW + 1)
    assert far.changes[-1].why == "it answers no watchdog"


def test_questions_fail_over_from_a_suspect_peer():
    far, [first, second] = connected(A, B)
    far.silent.add(first.peer)
    far.wait(2 * TW - 0.5)  # the DWR is out
    far.now = 2 * TW - 0.5
    while True:
        question = far.submit()
        if question.connection is first:
            break
        far.tell(second, far.maa(far.asked(second)[-1]))
    [asked] = far.asked(first)
    far.wait(2 * TW + 0.5)
    assert first.state is HELD_BACK
    assert question.connection is second
    again = far.asked(second)[-1]
    assert again.flags == asked.flags | RETRANSMITTED
    assert again.end_to_end == asked.end_to_end
    assert again.hop_by_hop != asked.hop_by_hop
    # The late DWA brings it back.
    far.silent.clear()
    far._answer_base(first, [m for c, m in far.got if c is first and m.command == DEVICE_WATCHDOG][-1])
    assert first.state is OKAY


def test_the_only_peer_is_asked_from_its_cea_on():
    far, [connection] = connected()
    far.pool.closed(connection, 1.0)
    far.settle()
    far.wait(2.0)
    [again] = far.pool.connections
    assert again is not connection
    assert again.state is OKAY


def test_beside_another_a_peer_that_was_down_first_answers_three_dwr():
    far, [first, second] = connected(A, B)
    far.pool.closed(first, 1.0)
    far.settle()
    far.wait(2.0)
    again = next(c for c in far.pool.connections if c.peer is first.peer)
    assert again.state is HELD_BACK
    far.submit()
    assert far.asked(again) == []
    far.tell(second, far.maa(far.asked(second)[0], 2001))
    far.wait(2.0 + 2 * TW + 1)
    assert again.state is OKAY
    assert far.commands(again).count(DEVICE_WATCHDOG) == 3
    assert second.state is OKAY


def test_it_is_asked_sooner_when_the_other_is_lost():
    far, [first, second] = connected(A, B)
    far.pool.closed(first, 1.0)
    far.settle()
    far.wait(2.0)
    far.unreachable.add(second.peer)
    far.pool.closed(second, 2.0)
    far.settle()
    again = next(c for c in far.pool.connections if c.peer is first.peer)
    assert again.state is OKAY


@pytest.mark.parametrize("came", [0.5, 1.5])
def test_a_connection_with_half_an_answer_for_which_nobody_waits_is_closed(came):
    """If the rest never comes, the next answer would be taken for it."""
    far, [connection] = connected()
    far.submit()
    far.submit()
    half = far.maa(far.asked()[0]).encode()[:40]
    far.wait(came)
    far.pool.received(connection, half, came)
    far.settle()
    far.wait(2.1)
    assert [cause for _, cause in far.finished] == [Cause.DISC_TIMEOUT] * 2
    assert connection not in far.pool.connections
    assert far.pool.connections[0].state is OKAY


# ------------------------------------------------------------------ fail-over: RFC 6733, 5.5.4


def test_a_lost_connection_has_its_questions_asked_again_with_t():
    far, [first, second] = connected(A, B)
    far.submit()
    [asked] = far.asked()
    lost = question_connection = far.got[-1][0]
    other = second if lost is first else first
    assert question_connection.under_way == 1
    far.pool.closed(lost, 0.5)
    far.settle()
    [again] = far.asked(other)
    assert (asked.flags, again.flags) == (0xC0, 0xD0)
    assert again.end_to_end == asked.end_to_end
    far.tell(other, far.maa(again, 2001))
    assert len(far.answered) == 1
    assert far.pool.stats().asked_again == 1


@pytest.mark.parametrize(("result", "cause"), [(3002, Cause.DISC_UNREACHABLE), (3004, Cause.OVERLOADED)])
def test_who_cannot_answer_has_another_asked(result, cause):
    """RFC 6733, 7.1.3: the request goes elsewhere, and not as a retransmission: 3, the T flag."""
    far, [first, second] = connected(A, B)
    question = far.submit()
    lost = far.got[-1][0]
    other = second if lost is first else first
    [asked] = far.asked()
    far.tell(lost, far.maa(asked, result))
    [again] = far.asked(other)
    assert again.flags == 0xC0
    assert far.finished == []
    far.tell(other, far.maa(again, result))
    assert far.finished == [(question, cause)], "and once only"
    assert lost.state is other.state is OKAY


def test_an_error_of_the_only_server_ends_the_question():
    far, [connection] = connected()
    question = far.submit()
    far.tell(connection, far.maa(far.asked()[0], 3004))
    assert far.finished == [(question, Cause.OVERLOADED)]


# ------------------------------------------------------------------ disconnecting: RFC 6733, 5.4


@pytest.mark.parametrize("cause", [BUSY, DO_NOT_WANT])
def test_a_peer_that_wants_no_connection_gets_none(cause):
    far, [connection] = connected()
    told = far.ask(connection, DISCONNECT_PEER, dpr(cause))
    assert (told.command, value_of(told, "Result-Code")) == (DISCONNECT_PEER, 2001)
    assert connection.state is CLOSING
    far.pool.closed(connection, 0.0)
    far.settle()
    opened = far.opened
    far.wait(299.0)
    assert far.opened == opened
    far.wait(310.0)
    assert far.opened > opened


def test_a_peer_that_reboots_is_connected_to_again():
    far, [connection] = connected()
    far.ask(connection, DISCONNECT_PEER, dpr(0))
    far.pool.closed(connection, 0.0)
    far.settle()
    far.wait(2.0)
    assert far.opened == 2


def test_answers_may_come_behind_a_dpr():
    far, [connection] = connected()
    question = far.submit()
    [asked] = far.asked()
    far.ask(connection, DISCONNECT_PEER, dpr(0))
    later = far.submit()
    far.tell(connection, far.maa(asked, 2001))
    assert [answered for answered, _ in far.answered] == [question]
    assert far.asked(connection) == [asked], "and no question goes there any more"
    assert later in far.pool.waiting or (later, Cause.DISC_UNREACHABLE) in far.finished


def test_a_client_that_ends_says_goodbye():
    far, [connection] = connected()
    far.pool.stop(0.0)
    far.settle()
    assert far.commands(connection)[-1] == DISCONNECT_PEER
    assert value_of(far.got[-1][1], "Disconnect-Cause") == 0
    assert far.pool.connections == []


# ------------------------------------------------------------------ the breaker


def test_questions_without_answer_hold_others_back_and_close_nothing():
    far, [connection] = connected()
    far.wait(10.0)
    question = far.submit()
    far.wait(12.5)
    assert far.finished == [(question, Cause.DISC_TIMEOUT)]
    assert far.pool.connections == [connection]
    assert far.changes[-1].state == "silent"
    assert connection.state in (PROBING, REOPEN)


def test_a_silent_peer_is_probed_and_comes_back_on_the_same_connection():
    far, [connection] = connected()
    far.wait(10.0)
    far.submit()
    far.wait(13.5)
    probe = far.submit()
    assert far.asked()[-1].hop_by_hop == probe.msgid
    refused = far.submit()
    assert far.finished[-1] == (refused, Cause.DISC_TIMEOUT)
    far.tell(connection, far.maa(far.asked()[-1], 2001))
    assert far.changes[-1].state == "up"
    assert connection.state is OKAY


def test_the_base_protocol_says_nothing_about_questions():
    """A server whose application hangs goes on with its watchdog: that does not close the breaker."""
    far, [connection] = connected()
    far.wait(10.0)
    far.submit()
    far.wait(13.5)
    assert far.changes[-1].state == "silent"
    probe = far.submit()
    far.ask(connection, DEVICE_WATCHDOG)
    assert far.got[-1][1].command == DEVICE_WATCHDOG, "it has its DWA"
    refused = far.submit()
    assert far.finished[-1] == (refused, Cause.DISC_TIMEOUT)
    assert far.changes[-1].state == "silent"
    far.tell(connection, far.maa(far.asked()[-1], 2001))
    assert far.answered[-1][0] is probe
    assert far.changes[-1].state == "up"


def test_a_dwr_between_questions_does_not_hide_that_they_have_no_answer():
    far, [connection] = connected()
    far.wait(10.0)
    far.submit()
    far.wait(11.5)
    far.ask(connection, DEVICE_WATCHDOG)
    far.wait(12.5)
    assert far.changes[-1].state == "silent"


def test_a_silent_peer_that_the_watchdog_trusts_again_gets_a_probe_first():
    """Its application hangs, and for a while the whole server did."""
    far, _ = connected(A, B)
    far.wait(10.0)
    question = far.submit()
    silent = question.connection
    far.wait(12.5)
    assert silent.peer.state == "silent"
    far.silent.add(silent.peer)
    far.wait(10.0 + 2 * TW + 5)
    assert silent.state is HELD_BACK
    far.silent.clear()
    far.ask(silent, DEVICE_WATCHDOG)
    assert silent.state in (PROBING, REOPEN)
    assert silent.peer.state == "silent"
    for _ in range(10):
        far.submit()
    assert len(far.asked(silent)) <= 2


def test_a_peer_that_was_held_back_is_asked_when_the_other_leaves_questions_unanswered():
    far, [first, second] = connected(A, B)
    far.pool.closed(first, 1.0)
    far.settle()
    far.wait(2.0)
    again = next(c for c in far.pool.connections if c.peer is first.peer)
    assert again.state is HELD_BACK
    far.submit()
    far.wait(4.5)
    assert second.peer.state == "silent"
    assert again.state is OKAY
    assert far.submit().connection is again


def test_half_a_message_of_the_base_protocol_closes_nothing():
    """Nor does it close a breaker."""
    far, [connection] = connected()
    asked = request(SERVER, DEVICE_WATCHDOG, [*SERVER.origin()], 77).encode()
    for size in (4, 11, 12, 40):
        far.pool.received(connection, asked[:size], far.now)
        far.settle()
        assert connection.state is OKAY
        far.pool.received(connection, asked[size:], far.now)
        far.settle()
        assert far.got[-1][1].command == DEVICE_WATCHDOG
    far.wait(10.0)
    far.submit()
    far.wait(12.5)
    far.pool.received(connection, asked[:40], far.now)
    far.settle()
    assert far.changes[-1].state == "silent"


def test_a_question_that_nobody_waits_for_does_not_make_the_next_one_late():
    far, [connection] = connected()
    far.wait(10.0)
    far.pool.in_flight.give_up(far.submit())
    far.wait(45.0)
    far.pool.submit(new_question(), far.now, far.now + 0.05)
    far.settle()
    far.wait(45.2)
    assert connection.peer.state == "up"


def test_a_probe_goes_to_another_peer_after_a_quarter_of_a_second():
    far, [first, second] = connected(A, B)
    far.wait(10.0)
    question = far.submit()
    silent = question.connection
    other = second if silent is first else first
    far.wait(11.9)
    far.tell(other, *())
    far.wait(12.5)
    assert far.changes[-1].state == "silent"
    far.wait(13.6)
    probes = []
    while not probes:
        probe = far.submit()
        probes = [probe] if probe.connection is silent else []
    far.wait(14.0)
    assert probe.connection is other
    assert far.asked(other)[-1].flags & RETRANSMITTED
    assert silent in far.pool.connections
