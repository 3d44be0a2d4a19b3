"""Redirects (RFC 6733, 6.1.7 and 6.12 to 6.14), without I/O.

`kit.neighbour.Far` is the agent that redirects, and the servers that it names.
"""

from __future__ import annotations

import pytest
from kit.neighbour import Far, connected

from auth_diameter import Avp, Message
from auth_diameter._core import Verdict
from auth_diameter.decision import Cause
from auth_diameter.diameter.base import (
    CAPABILITIES_EXCHANGE,
    DISCONNECT_PEER,
    avp_named,
    value_of,
)
from auth_diameter.diameter.connection import HELD_BACK, OKAY, Connection
from auth_diameter.diameter.redirects import MOST_SERVERS, Server, server_of

A, B = ("10.0.0.1", 3868), ("10.0.0.2", 3868)
DONT_CACHE, ALL_SESSION, ALL_REALM, REALM_AND_APPLICATION, ALL_APPLICATION, ALL_HOST, ALL_USER = range(7)

ELSEWHERE = "aaa://server.h.test:3870;transport=tcp"


def to(*uris: str, usage: int | None = None, seconds: int | None = None) -> list[Avp]:
    avps = [avp_named("Redirect-Host", uri) for uri in uris]
    if usage is not None:
        avps.append(avp_named("Redirect-Host-Usage", usage))
    if seconds is not None:
        avps.append(avp_named("Redirect-Max-Cache-Time", seconds))
    return avps


def redirect(far: Far, agent: Connection, *avps: Avp) -> None:
    """The agent redirects the last question that it got."""
    far.tell(agent, far.maa(far.asked(agent)[-1], 3006, *avps))


def with_bad_avp(message: Message) -> bytes:
    """A message whose last AVP is longer than what is left of it."""
    data = message.encode() + bytes.fromhex("00000119 00 0000ff 41414141")  # Error-Message of 255 bytes
    return data[:1] + len(data).to_bytes(3, "big") + data[4:]


def connection_to(far: Far, address: str) -> Connection:
    [found] = [connection for connection in far.pool.connections if repr(connection.peer) == address]
    return found


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("aaa://disc.h.test", Server("disc.h.test", 3868, False)),
        ("AAA://Disc.H.Test:6666;transport=tcp;protocol=diameter", Server("disc.h.test", 6666, False)),
        ("aaas://disc.h.test", Server("disc.h.test", 5868, True)),
        ("aaa://[2001:db8::1]:3868", Server("2001:db8::1", 3868, False)),
        ("aaa://disc.h.test;transport=sctp", None),
        ("aaa://disc.h.test;protocol=radius", None),
        ("aaa://disc.h.test:0", None),
        ("aaa://disc.h.test:65536", None),
        ("http://disc.h.test", None),
        ("disc.h.test", None),
        ("aaa://user@disc.h.test", None),
        ("aaa://disc.h.test/x", None),
        ("", None),
        (b"\xff", None),
        ("aaa\u017f://disc.h.test", None),  # which is an s if case is ignored
    ],
)
def test_a_diameter_uri_names_a_server(uri, server):
    """RFC 6733, 4.3.1. SCTP is not spoken, nor any protocol but Diameter."""
    assert server_of(uri) == server


def test_the_server_that_the_answer_names_is_asked():
    """6.1.7: with the End-to-End Identifier of the question, and not as a retransmission."""
    far, [agent] = connected()
    question = far.submit()
    redirect(far, agent, *to(ELSEWHERE))
    server = connection_to(far, "server.h.test:3870")
    assert far.commands(server)[0] == CAPABILITIES_EXCHANGE
    [first], [again] = far.asked(agent), far.asked(server)
    assert again.flags == 0xC0
    assert again.end_to_end == first.end_to_end
    assert again.hop_by_hop != first.hop_by_hop
    assert value_of(again, "Session-Id") == value_of(first, "Session-Id")
    far.tell(server, far.maa(again, 2001))
    [(answered, answer)] = far.answered
    assert (answered, answer.verdict) == (question, Verdict.SUCCESS)
    assert far.finished == []
    assert far.pool.stats().asked_again == 1


def redirected_once(*avps: Avp, **settings: object) -> tuple[Far, Connection, Connection]:
    """A server has answered the one question that was redirected to it; the agent and the server."""
    far, [agent] = connected(**settings)
    far.submit()
    redirect(far, agent, *(avps or to(ELSEWHERE)))
    server = connection_to(far, "server.h.test:3870")
    far.tell(server, far.maa(far.asked(server)[0], 2001))
    return far, agent, server


@pytest.mark.parametrize("usage", [None, DONT_CACHE, ALL_SESSION, ALL_USER])
def test_the_agent_is_asked_the_next_question(usage):
    """6.13: the answer counts for one question, for a session, which has one, or for a user.

    The server may know no other user, as an HSS behind an SLF (TS 29.228).
    """
    far, agent, server = redirected_once(*to(ELSEWHERE, usage=usage, seconds=600))
    assert agent.state is OKAY
    for _ in range(5):
        far.submit()
    assert (len(far.asked(agent)), len(far.asked(server))) == (6, 1)


def test_the_next_question_that_is_redirected_finds_the_server_connected():
    far, agent, server = redirected_once()
    far.submit()
    redirect(far, agent, *to(ELSEWHERE))
    assert (len(far.asked(agent)), len(far.asked(server))) == (2, 2)
    assert far.pool.connections == [agent, server]


def test_questions_of_a_lost_agent_do_not_go_to_the_server():
    """Neither those under way nor new ones: they end as without the server."""
    far, agent, server = redirected_once()
    under_way = far.submit()
    far.unreachable.add(agent.peer)
    far.pool.closed(agent, 0.0)
    far.settle()
    new = far.submit()
    assert far.finished == [(under_way, Cause.DISC_UNREACHABLE), (new, Cause.DISC_UNREACHABLE)]
    assert len(far.asked(server)) == 1


@pytest.mark.parametrize(("code", "cause"), [(3002, Cause.DISC_UNREACHABLE), (3004, Cause.OVERLOADED)])
def test_a_question_that_the_agent_does_not_take_does_not_go_to_the_server(code, cause):
    far, agent, server = redirected_once()
    question = far.submit()
    far.tell(agent, far.maa(far.asked(agent)[-1], code))
    assert far.finished == [(question, cause)]
    assert len(far.asked(server)) == 1


def test_a_full_agent_leaves_its_questions_waiting():
    """Room at the server is none for them, either when it opens or when its buffer is empty again."""
    far, agent, server = redirected_once(max_in_flight=2)
    for _ in range(3):
        far.submit()
    far.pool.pause(server)
    far.pool.resume(server, 0.0)
    far.settle()
    assert (len(far.asked(agent)), len(far.asked(server)), len(far.pool.waiting)) == (3, 1, 1)


def test_an_agent_that_the_watchdog_does_not_trust_is_asked_all_the_same():
    """The server is nobody who could be asked instead."""
    far, agent, server = redirected_once(timeout=1000.0)
    far.silent.add(agent.peer)
    far.wait(61.0)
    assert far.pool.stats().peers[0].state == "up"
    far.submit()
    assert (len(far.asked(agent)), len(far.asked(server))) == (2, 1)


def test_a_question_that_is_redirected_to_a_busy_server_waits_for_its_room():
    far, agent, server = redirected_once()
    far.pool.pause(server)
    far.submit()
    redirect(far, agent, *to(ELSEWHERE))
    assert len(far.asked(server)) == 1
    far.pool.resume(server, 0.0)
    far.settle()
    assert len(far.asked(server)) == 2


def test_a_server_that_left_a_watchdog_unanswered_is_passed_over():
    """6.12: the next server named is asked, if there is one."""
    far, agent, server = redirected_once(timeout=1000.0)
    far.silent.add(server.peer)
    for _ in range(3):  # so that it stays a peer
        far.wait(far.now + 25.0)
        far.submit()
        redirect(far, agent, *to(ELSEWHERE, "aaa://next.h.test"))
        if server.state is HELD_BACK:
            break
    assert server.state is HELD_BACK
    assert len(far.asked(connection_to(far, "next.h.test:3868"))) >= 1


def test_a_server_that_is_connected_to_again_is_asked_at_once():
    """The agent vouches for it now, so it need not answer three watchdogs first (RFC 3539, 3.4.1)."""
    far, agent, server = redirected_once(*to(ELSEWHERE, usage=ALL_HOST, seconds=600))
    far.pool.closed(server, 1.0)
    far.settle()
    assert agent.state is OKAY
    assert far.pool.connections == [agent], "nor is it connected to before"
    far.now = 2.0
    far.submit()
    redirect(far, agent, *to(ELSEWHERE, usage=ALL_HOST, seconds=600))
    server = connection_to(far, "server.h.test:3870")
    far.submit()
    assert (agent.state, server.state) == (HELD_BACK, OKAY)
    assert len(far.asked(server)) == 2


def test_when_the_time_of_an_answer_is_over_the_server_is_asked_no_more():
    far, agent, server = redirected_once(*to(ELSEWHERE, usage=ALL_HOST, seconds=90))
    far.submit()
    assert len(far.asked(server)) == 2
    far.tell(server, far.maa(far.asked(server)[1], 2001))
    far.wait(70.0)
    far.submit()
    far.tell(server, far.maa(far.asked(server)[2], 2001))
    far.wait(90.0)
    for _ in range(3):
        far.submit()
    assert (len(far.asked(agent)), len(far.asked(server))) == (4, 3)


def test_when_another_server_takes_its_place_a_server_is_asked_no_more():
    far, agent, server = redirected_once()
    first, second = far.submit(), far.submit()
    asked = far.asked(agent)
    far.tell(agent, far.maa(asked[1], 3006, *to(ELSEWHERE, usage=ALL_HOST, seconds=50)))
    far.tell(agent, far.maa(asked[2], 3006, *to("aaa://next.h.test", usage=ALL_HOST, seconds=50)))
    following = connection_to(far, "next.h.test:3868")
    assert (first.connection, second.connection) == (server, following)
    for _ in range(3):
        far.submit()
    assert (len(far.asked(server)), len(far.asked(following))) == (2, 4)


@pytest.mark.parametrize("usage", [ALL_REALM, REALM_AND_APPLICATION, ALL_APPLICATION, ALL_HOST])
def test_the_answer_is_kept_for_as_long_as_it_says(usage):
    """6.13 and 6.14."""
    far, [agent] = connected(destination_realm="h.test")
    far.submit()
    redirect(far, agent, *to(ELSEWHERE, usage=usage, seconds=90))
    server = connection_to(far, "server.h.test:3870")
    for _ in range(4):
        far.submit()
    assert len(far.asked(agent)) == 1
    assert len(far.asked(server)) == 5
    assert agent.state is HELD_BACK
    for asked in far.asked(server):
        far.tell(server, far.maa(asked, 2001))
    far.wait(89.0)
    assert agent.state is HELD_BACK
    far.wait(91.0)
    assert agent.state is OKAY


@pytest.mark.parametrize("usage", [ALL_REALM, REALM_AND_APPLICATION])
def test_an_answer_for_one_realm_is_not_kept_if_questions_may_be_of_another(usage):
    """6.13. Without `destination_realm` the realm of a question is that of its user."""
    far, agent, server = redirected_once(*to(ELSEWHERE, usage=usage, seconds=600))
    assert agent.state is OKAY
    far.submit()
    assert (len(far.asked(agent)), len(far.asked(server))) == (2, 1)


def test_without_a_time_the_answer_is_not_kept():
    """6.14: Redirect-Max-Cache-Time must be there for each usage but DONT_CACHE."""
    far, [agent] = connected()
    far.submit()
    redirect(far, agent, *to(ELSEWHERE, usage=ALL_HOST))
    assert agent.state is OKAY
    assert len(far.asked(connection_to(far, "server.h.test:3870"))) == 1


def test_if_the_server_is_lost_the_agent_is_asked_again_at_once():
    far, [agent] = connected()
    far.submit()
    redirect(far, agent, *to(ELSEWHERE, usage=ALL_HOST, seconds=600))
    server = connection_to(far, "server.h.test:3870")
    far.tell(server, far.maa(far.asked(server)[0], 2001))
    far.unreachable.add(server.peer)
    far.pool.closed(server, 1.0)
    far.settle()
    assert agent.state is OKAY
    far.submit()
    assert len(far.asked(agent)) == 2


def test_if_the_server_does_not_answer_the_agent_is_asked_again():
    """Its breaker opens, long before the watchdog closes its connection."""
    far, [agent] = connected()
    far.submit()
    redirect(far, agent, *to(ELSEWHERE, usage=ALL_HOST, seconds=600))
    far.wait(5.0)
    assert [cause for _, cause in far.finished] == [Cause.DISC_TIMEOUT]
    assert agent.state is OKAY
    far.submit()
    far.submit()
    assert len(far.asked(agent)) >= 2, "one of them may be the server's probe"


def test_if_the_server_leaves_a_watchdog_unanswered_the_agent_is_asked_again():
    """RFC 3539, 3.4.1: SUSPECT. What is under way there goes to the agent."""
    far, [agent] = connected(timeout=1000.0)
    far.submit()
    redirect(far, agent, *to(ELSEWHERE, usage=ALL_HOST, seconds=600))
    server = connection_to(far, "server.h.test:3870")
    far.tell(server, far.maa(far.asked(server)[0], 2001))
    far.silent.add(server.peer)
    far.submit()
    far.wait(61.0)
    assert agent.state is OKAY
    assert server.state is HELD_BACK
    assert len(far.asked(agent)) == 2


def test_with_tls_a_server_must_have_the_name_by_which_the_answer_calls_it():
    """RFC 6733, 13.1. Another name in its certificate does not do, although it tells that one in its CEA."""
    far, [agent] = connected(tls_ca="ca.pem")
    for number, names in enumerate([{"other.h.test"}, {"other.h.test", "server.h.test"}], 1):
        far.names = frozenset(names)
        far.now += 2.0
        far.submit()
        redirect(far, agent, *to("aaas://server.h.test"))
        assert len(far.pool.connections) == number
    [(_, cause)] = far.finished
    assert cause is Cause.DISC_UNREACHABLE
    assert far.changes[1].why == "its certificate is not for server.h.test"
    assert len(far.asked(connection_to(far, "server.h.test:5868"))) == 1


def test_the_first_server_that_can_be_asked_is_taken():
    """6.12: one of them. SCTP cannot, and what is no URI is passed over."""
    far, [agent] = connected()
    far.submit()
    redirect(
        far, agent, *to("aaa://s.h.test;transport=sctp", "?", "aaas://t.h.test", ELSEWHERE, "aaa://z.h.test")
    )
    assert [repr(c.peer) for c in far.pool.connections] == ["10.0.0.1:3868", "server.h.test:3870"]


@pytest.mark.parametrize("uris", [(), ("aaas://server.h.test",), ("?",), ("aaa://10.0.0.1:3868",)])
def test_a_redirect_to_nobody_ends_the_question(uris):
    """No server; TLS, which this client has not; no URI; the agent itself."""
    far, [agent] = connected()
    question = far.submit()
    redirect(far, agent, *to(*uris))
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]
    assert far.pool.connections == [agent]


def test_a_redirect_with_a_fault_is_none():
    """It is an answer that cannot be used. The other answers of the same read count."""
    far, [agent] = connected()
    first, second, third = (far.submit() for _ in range(3))
    asked = far.asked(agent)
    data = [
        far.maa(asked[0], 2001).encode(),
        with_bad_avp(far.maa(asked[1], 3006, *to(ELSEWHERE))),
        far.maa(asked[2], 2001).encode(),
    ]
    answers = far.pool.received(agent, b"".join(data), 0.0)
    assert [question for question, _ in answers] == [first, second, third]
    assert [answer.fault for _, answer in answers] == [None, "malformed AVP", None]
    assert agent.state is OKAY
    assert far.pool.connections == [agent]


def test_a_redirect_that_cannot_be_read_names_nobody():
    """`Message` takes fewer messages than a connection does: none of more than 64 KiB."""
    far, [agent] = connected(max_diameter_message=100_000)
    first, second = far.submit(), far.submit()
    asked = far.asked(agent)
    long = far.maa(asked[0], 3006, *to(ELSEWHERE), avp_named("Error-Message", "x" * 70_000))
    far.tell(agent, long, far.maa(asked[1], 2001))
    assert far.finished == [(first, Cause.DISC_UNREACHABLE)]
    assert [question for question, _ in far.answered] == [second]


def test_a_server_that_redirects_the_question_again_ends_it():
    """A loop ends with its first turn."""
    far, [agent] = connected()
    question = far.submit()
    redirect(far, agent, *to(ELSEWHERE))
    redirect(far, connection_to(far, "server.h.test:3870"), *to("aaa://10.0.0.1:3868"))
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]
    assert len(far.asked()) == 2


def test_a_server_that_cannot_be_connected_to_ends_the_question():
    far, [agent] = connected()
    question = far.submit()
    before = len(far.pool.peers)
    far.pool.received(agent, far.maa(far.asked(agent)[0], 3006, *to(ELSEWHERE)).encode(), 0.0)
    far.unreachable.add(far.pool.peers[before])
    far.settle()
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]
    assert agent.state is OKAY


def test_a_question_that_waits_for_a_server_has_its_deadline():
    far, [agent] = connected(connect_timeout=3.0)  # within which its CEA may come
    question = far.submit()
    far.pool.received(agent, far.maa(far.asked(agent)[0], 3006, *to(ELSEWHERE)).encode(), 0.0)
    far.silent.add(far.pool.peers[1])
    far.settle()
    assert far.finished == []
    assert far.pool.deadline() == question.deadline
    far.wait(question.deadline)
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]


def test_a_question_that_waits_for_a_server_ends_when_no_cea_comes_from_it():
    far, [agent] = connected(connect_timeout=1.0)
    question = far.submit()
    far.pool.received(agent, far.maa(far.asked(agent)[0], 3006, *to(ELSEWHERE)).encode(), 0.0)
    far.silent.add(far.pool.peers[1])
    far.settle()
    far.wait(1.1)
    assert far.finished == [(question, Cause.DISC_UNREACHABLE)]


def test_a_question_that_waits_for_a_server_ends_with_the_client():
    far, [agent] = connected()
    question = far.submit()
    far.pool.received(agent, far.maa(far.asked(agent)[0], 3006, *to(ELSEWHERE)).encode(), 0.0)
    far.silent.add(far.pool.peers[1])
    far.settle()
    far.pool.stop(0.0)
    far.settle()
    assert far.finished == [(question, Cause.DISC_LOST)]


def test_a_peer_is_known_by_its_address_and_by_its_identity():
    """Nobody is connected to twice (RFC 6733, 2.1)."""
    for uri in ("aaa://10.0.0.2:3868", "aaa://other.h.test:9999"):
        far, [first, second] = connected(A, B)
        agent = first if first.peer.host == "10.0.0.1" else second
        other = second if agent is first else first
        assert far.nodes[other.peer].host == "other.h.test"
        while not far.asked(agent):
            far.submit()
        before = len(far.asked(other))
        redirect(far, agent, *to(uri))
        assert far.pool.connections == [first, second]
        assert len(far.asked(other)) == before + 1


def test_a_server_leaves_when_nothing_was_redirected_to_it_for_a_minute():
    """RFC 6733, 5.4.3: DO_NOT_WANT_TO_TALK_TO_YOU, since no message is expected."""
    far, [agent] = connected()
    far.submit()
    redirect(far, agent, *to(ELSEWHERE))
    server = connection_to(far, "server.h.test:3870")
    far.tell(server, far.maa(far.asked(server)[0], 2001))
    far.wait(59.0)
    assert server in far.pool.connections
    far.wait(62.0)
    assert far.commands(server)[-1] == DISCONNECT_PEER
    [left] = [m for c, m in far.got if c is server and m.command == DISCONNECT_PEER]
    assert value_of(left, "Disconnect-Cause") == 2
    far.pool.closed(server, far.now)
    far.settle()
    far.wait(75.0)
    assert [repr(peer) for peer in far.pool.peers] == ["10.0.0.1:3868"]
    assert [repr(c.peer) for c in far.pool.connections] == ["10.0.0.1:3868"]


def test_as_many_servers_as_answers_may_make_peers():
    far, [agent] = connected()
    for number in range(MOST_SERVERS + 1):
        far.nodes.clear()
        while len(far.asked(agent)) <= number:
            far.submit()
        redirect(far, agent, *to(f"aaa://s{number}.h.test"))
    assert len(far.pool.peers) == 1 + MOST_SERVERS
    assert [cause for _, cause in far.finished] == [Cause.DISC_UNREACHABLE]
    assert len({connection.peer_number for connection in far.pool.connections}) == 1 + MOST_SERVERS
