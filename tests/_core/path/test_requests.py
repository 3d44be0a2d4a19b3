"""The way of a request through the default route: what is answered without Python, and what is odd.

The same requests and answers go through `Authorizer` and `Host` in tests/client and tests/host. Here are the
cases in which the compiled way decides itself, and each one that it leaves to Python.
"""

from __future__ import annotations

import random
import socket

import pytest
from kit.disc import CHALLENGE_VALUE
from kit.path import SOURCE, Way, asked_on, challenge_to, new_wire, numbered, with_credentials
from kit.sip import build_credentials, build_request, parse_reply
from kit.wire import (
    CALLING_STATION_ID,
    FAILED_AVP,
    RESPONSE,
    SESSION_ID,
    build_answer,
    number_of,
)

from auth_diameter import Avp, ParseError, SipRequest
from auth_diameter._core import (
    Penalties,
    Question,
    append_question,
    authentication,
    restart_msgids,
)
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.config import Config
from auth_diameter.decision import Cause

REGISTER = numbered(1, "REGISTER", to="<sip:alice@siphub.net>")
CANCEL = build_request("CANCEL")
ACK = build_request("ACK")


def question_about(data: bytes, msgid: int, *, tells_source: bool = False) -> bytes:
    """What the objects would write."""
    request = SipRequest(data, SOURCE)
    proxy = not request.is_register
    question = authentication(
        request, "siphub.net", request.credentials("siphub.net", proxy), proxy, tells_source
    )
    out = bytearray()
    append_question(out, question, msgid)
    return bytes(out)


def header(reply: bytes, name: str) -> list[str]:
    return [value for key, value in parse_reply(reply)[2] if key == name]


class TestQuestions:
    @pytest.mark.parametrize("tells_source", [False, True])
    @pytest.mark.parametrize(
        "data",
        [
            numbered(1),
            REGISTER,
            with_credentials(2),
            with_credentials(3, "REGISTER", proxy=False, to="<sip:alice@siphub.net>"),
            with_credentials(4, username="ali\\\\ce"),
            numbered(
                5, extra=(f"Proxy-Authorization: {build_credentials()},\r\n qop=auth,nc=00000001,cnonce=x",)
            ),
            numbered(
                6,
                extra=(
                    "Proxy-Authorization: Basic abc",
                    f"Proxy-Authorization: {build_credentials(realm='b')}",
                ),
            ),
            numbered(7, body="v=0\r\n"),
            numbered(8, extra=("Subject: " + "x" * 3000,)),
        ],
        ids=["INVITE", "REGISTER", "proxy", "www", "escaped", "folded", "of other realms", "body", "3 KB"],
    )
    def test_it_is_that_of_the_object_byte_for_byte(self, data: bytes, tells_source: bool) -> None:
        way = Way(tells_source=tells_source)
        restart_msgids(77)
        way.take(data)
        assert way.wires[0].take_unsent() == question_about(data, 77, tells_source=tells_source)
        assert (way.path.in_slots, len(way.in_flight), way.path.slow) == (1, 1, 0)

    def test_disc_is_told_the_source_only_if_so_configured(self) -> None:
        way = Way(tells_source=True)
        way.take(numbered(1), numbered(1, "REGISTER"))
        first, second = way.asked()
        assert first.find(CALLING_STATION_ID).data == b"192.0.2.9"
        assert len(first.find(SESSION_ID).data) == 32
        assert first.find(SESSION_ID).data != second.find(SESSION_ID).data
        way = Way()
        way.take(numbered(1))
        (question,) = way.asked()
        assert question.find(CALLING_STATION_ID) is question.find(SESSION_ID) is None

    @pytest.mark.parametrize(
        ("realm", "method", "expected"),
        [
            ("$fd", "INVITE", b"from.test"),
            ("$td", "INVITE", b"to.test"),
            ("$rd", "INVITE", b"uri.test"),
            ("$od", "INVITE", b"uri.test"),
            ("", "INVITE", b"from.test"),
            ("", "REGISTER", b"to.test"),
            ("Fixed.test", "INVITE", b"Fixed.test"),
            ("f\u00fcr.test", "INVITE", "f\u00fcr.test".encode()),
        ],
    )
    def test_the_realm(self, realm: str, method: str, expected: bytes) -> None:
        data = build_request(method, "sip:uri.test", "<sip:a@from.test>;tag=1", "<sip:b@to.test>")
        way = Way(realm=realm)
        way.take(data)
        (question,) = way.asked()
        assert bytes(question.find(283).data) == expected
        authorizer = Authorizer(Config())
        function = authorizer.www_authorize if method == "REGISTER" else authorizer.proxy_authorize
        same = function(data, realm, 0.0)
        assert isinstance(same, Question)
        assert same.realm.encode() == expected

    @pytest.mark.parametrize("realm", ["$ua", "$fd.test", "$(fd)", "a$fd", "$$"])
    def test_a_realm_with_other_pseudo_variables_is_odd(self, realm: str) -> None:
        way = Way(realm=realm)
        way.take(numbered(1))
        assert len(way.path.take_odd()) == 1
        assert way.asked() == []

    def test_each_goes_to_the_connection_with_the_fewest(self) -> None:
        way = Way(wires=2)
        way.take(*map(numbered, range(6)))
        assert [wire.under_way for wire in way.wires] == [3, 3]

    def test_slots_and_questions_share_one_order(self) -> None:
        """Ids, deadlines and limits are those of one client."""
        way = Way()
        way.take(numbered(1))
        question = authentication(SipRequest(numbered(2)), "siphub.net", None, True)
        question.deadline = 5.0
        way.in_flight.submit(question, 0.0)
        way.take(numbered(3))
        asked = way.asked()
        assert (len(way.in_flight), way.path.in_slots) == (3, 2)
        found = way.answer(*map(challenge_to, asked))
        assert [one for one, _ in found] == [question]
        assert way.statuses() == [407, 407]
        assert (way.in_flight.answered, way.wires[0].under_way, way.path.in_slots) == (3, 0, 0)


class TestReplies:
    """The reply is that of `Authorizer` and `Host`, byte for byte; see tests/host for what these do."""

    def test_a_challenge(self) -> None:
        way = Way()
        way.exchange(numbered(1), REGISTER, code=4001)
        first, second = way.replies()
        assert header(first, "Proxy-Authenticate") == [CHALLENGE_VALUE.decode()]
        assert (first[8:11], second[8:11]) == (b"407", b"401")
        assert header(second, "WWW-Authenticate") == [CHALLENGE_VALUE.decode()]
        assert way.counts == {Cause.CHALLENGED: 2}
        assert not way.path.has_notes

    def test_right_credentials(self) -> None:
        way = Way()
        contact = "Contact: <sip:alice@192.0.2.9>;expires=60"
        line = f"Authorization: {build_credentials()}"
        register = build_request("REGISTER", to="<sip:alice@siphub.net>", extra=(line, contact))
        way.exchange(register, with_credentials(1))
        first, second = way.replies()
        assert (first[8:11], second[8:11]) == (b"200", b"200")
        assert header(first, "Contact") == ["<sip:alice@192.0.2.9>;expires=60"]
        assert header(second, "Contact") == []
        assert way.counts == {Cause.AUTHORIZED: 2}

    @pytest.mark.parametrize(
        ("data", "code", "cause", "status"),
        [
            (with_credentials(1), 4001, Cause.RECHALLENGED, 407),
            (with_credentials(1), 5003, Cause.FORBIDDEN, 403),
            (with_credentials(1, algorithm="X"), 5003, Cause.UNKNOWN_ALGORITHM, 403),
            (numbered(1), 5003, Cause.REALM_NOT_SERVED, 403),
        ],
    )
    def test_refusals(self, data: bytes, code: int, cause: Cause, status: int) -> None:
        way = Way()
        way.exchange(data, code=code)
        assert way.statuses() == [status]
        assert way.counts == {cause: 1}
        account = "alice@siphub.net" if b"Authorization" in data else ""
        assert way.path.take_notes() == ([(cause, account, "192.0.2.9", 1)], 0)

    def test_disc_has_refused_the_source(self) -> None:
        failed = (Avp(FAILED_AVP, Avp(CALLING_STATION_ID, b"").encode()),)
        way = Way()
        way.exchange(with_credentials(1), code=5003, more=failed)
        assert way.counts == {Cause.PENALIZED: 1}

    def test_an_ack_has_none_and_a_cancel_is_never_challenged(self) -> None:
        """RFC 3261, 22.1."""
        way = Way()
        way.take(ACK, ACK, CANCEL, CANCEL)
        assert way.statuses() == [200, 200]
        assert way.counts == {Cause.BYPASSED: 3}
        assert way.path.retransmissions == 1, "each ACK belongs to one copy of a reply"
        assert way.asked() == []

    @pytest.mark.parametrize(
        ("via", "port"),
        [("192.0.2.1:5066;rport", SOURCE[1]), ("192.0.2.1:5066", 5066), ("192.0.2.1", 5060)],
    )
    def test_it_goes_to_the_port_of_rfc_3261_18_2_2(self, via: str, port: int) -> None:
        data = numbered(1).replace(b"127.0.0.1:5066", via.encode())
        way = Way()
        way.exchange(data, code=4001)
        way.take(data)
        assert [to for _, to in way.path.departures.take()] == [(SOURCE[0], port)] * 2

    def test_an_ipv6_source_keeps_flow_and_scope(self) -> None:
        source = ("fe80::1", 4711, 5, 2)
        way = Way(tells_source=True)
        way.take(numbered(1), source=source)
        (question,) = way.asked()
        assert question.find(CALLING_STATION_ID).data == b"fe80::1"
        way.answer(challenge_to(question))
        ((reply, to),) = way.path.departures.take()
        assert to == ("fe80::1", 5066, 5, 2)
        assert "received=fe80::1" in header(reply, "Via")[0]
        way.take(numbered(1), source=("fe80::1", 4711, 5, 3))
        assert len(way.asked()) == 1, "another link, another request"


class TestRetransmissions:
    """RFC 3261, 17.2."""

    def test_before_the_reply_it_is_absorbed_and_after_it_gets_the_same(self) -> None:
        way = Way()
        way.take(numbered(1), numbered(1))
        asked = way.asked()
        assert len(asked) == 1
        assert way.replies() == []
        way.answer(*map(challenge_to, asked))
        (reply,) = way.replies()
        way.take(numbered(1), numbered(1))
        assert way.replies() == [reply, reply]
        assert (way.path.received, way.path.retransmissions, len(way.asked())) == (4, 3, 0)

    def test_it_is_known_for_32_seconds(self) -> None:
        way = Way()
        way.exchange(numbered(1), code=4001)
        way.now = 31.9
        way.take(numbered(1))
        assert len(way.asked()) == 0
        way.now = 32.0
        way.take(numbered(1))
        assert len(way.asked()) == 1

    def test_one_that_python_was_given_is_known_too(self) -> None:
        way = Way(wires=0)
        way.take(numbered(1))
        (request,) = way.path.take_odd()
        assert isinstance(request, SipRequest)
        assert way.path.answer(request, b"SIP/2.0 503 Service Unavailable\r\n\r\n")
        way.take(numbered(1))
        assert way.path.take_odd() == []
        assert way.statuses() == [503, 503]

    def test_a_reply_that_waits_is_not_overwritten(self) -> None:
        """An old reply that is asked for again lies in the ring where the next ones go, to others."""
        server, phone = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        with server, phone:
            for sock in (server, phone):
                sock.bind(("127.0.0.1", 0))
                sock.settimeout(5)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            way = Way(fd=server.fileno(), room=1 << 20)
            old = numbered(0).replace(b":5066;", b";rport;")
            way.take(old, source=phone.getsockname())
            way.answer(*map(challenge_to, way.asked()))
            first = phone.recv(4096)
            large = "Via: SIP/2.0/UDP a;branch=" + "z" * 20_000
            for number in range(50):
                way.take(build_request("CANCEL", extra=(large, f"X: {number}")), source=("127.0.0.1", 9))
            # Just before it is forgotten, it comes in one read with requests whose replies need its place.
            phone.sendto(old, server.getsockname())
            for number in range(5):
                phone.sendto(build_request("CANCEL", extra=(large, f"Y: {number}")), server.getsockname())
            assert way.path.receive(0.0) == 6
            assert way.path.retransmissions == 1, "it is still known"
            assert phone.recv(4096) == first
            way.take(old, source=phone.getsockname())
            assert way.path.retransmissions == 1, "and is not any more"


class TestOddRequests:
    """What goes to `take_odd`, and is asked about or refused by Python."""

    @pytest.mark.parametrize(
        "data",
        [
            numbered(1, extra=('Proxy-Authorization: Digest username="a"',)),
            with_credentials(1, response="xyz"),
            with_credentials(1, qop="auth-int", nc="00000001", cnonce="x"),
            numbered(1, from_="<tel:+1>;tag=1"),
            numbered(1, from_=None),
            numbered(1, "REGISTER", to=None),
        ],
        ids=["credentials cut", "response", "auth-int", "From without host", "no From", "no To"],
    )
    def test_the_request_itself(self, data: bytes) -> None:
        way = Way()
        way.take(data)
        (request,) = way.path.take_odd()
        assert isinstance(request, SipRequest)
        assert request.source == SOURCE
        assert (way.asked(), way.replies(), way.path.slow, way.counts) == ([], [], 1, {})

    @pytest.mark.parametrize(
        "data", [b"", b"\0", b"SIP/2.0 200 OK\r\n\r\n", numbered(1)[:-2], numbered(1).replace(b"CSeq", b"X")]
    )
    def test_what_is_malformed(self, data: bytes) -> None:
        way = Way()
        way.take(data)
        (error,) = way.path.take_odd()
        assert isinstance(error, ParseError)
        assert way.counts == {}

    def test_limits_on_a_request(self) -> None:
        way = Way(max_size=400, max_headers=10)
        way.take(numbered(1, extra=("X: " + "x" * 400,)), numbered(2, extra=("X: x",) * 10), numbered(3))
        assert [type(found) for found in way.path.take_odd()] == [ParseError, ParseError]
        assert len(way.asked()) == 1

    def test_a_question_that_is_too_large(self) -> None:
        way = Way(max_question=500)
        way.take(numbered(1, request_uri="sip:bob@" + "x" * 300 + ".net"), numbered(2))
        assert len(way.path.take_odd()) == 1
        assert len(way.asked()) == 1

    def test_no_connection_takes_it_at_once(self) -> None:
        """None is ready; none has room; one must be probed first; one has too much to send already."""
        for way in (Way(wires=0), Way(most=0)):
            way.take(numbered(1))
            assert len(way.path.take_odd()) == 1
        way = Way()
        way.wires[0].is_calm = False
        way.take(numbered(1))
        assert len(way.path.take_odd()) == 1
        way.wires[0].is_calm = True
        way.wires[0].append(b"x" * (way.wires[0].room + 1))
        way.take(numbered(2))
        assert len(way.path.take_odd()) == 1
        way.wires[0].take_unsent()
        way.in_flight.limit = 0
        way.take(numbered(3))
        assert len(way.path.take_odd()) == 1

    def test_while_it_is_not_open(self) -> None:
        """The server is about to end. Replies of before are still repeated."""
        way = Way()
        way.exchange(numbered(1), code=4001)
        way.replies()
        way.path.is_open = False
        way.take(numbered(1), numbered(2), CANCEL)
        assert way.statuses() == [407]
        assert len(way.path.take_odd()) == 2

    def test_they_keep_their_order(self) -> None:
        way = Way(wires=0)
        way.take(*map(numbered, range(5)), b"x")
        assert way.path.has_odd
        *requests, error = way.path.take_odd()
        assert [request.header("X-Number") for request in requests] == [f"{number:04}" for number in range(5)]
        assert isinstance(error, ParseError)
        assert not way.path.has_odd

    def test_memory_for_requests_in_flight_has_a_limit(self) -> None:
        """16 MiB: a DISC that is slow would otherwise let large datagrams fill the memory."""
        way = Way(most=100_000)
        filler = ("X: " + "x" * 60_000,)
        way.take(*(numbered(number, extra=filler) for number in range(400)))
        assert way.path.in_slots == 279
        assert len(way.path.take_odd()) == 121
        way.answer(*map(challenge_to, way.asked()))
        way.take(numbered(500, extra=filler))
        assert way.path.in_slots == 1

    def test_slots_have_a_limit(self) -> None:
        way = Way(most=100_000)
        for number in range(4_146):
            way.take(numbered(number))
            way.wires[0].take_unsent()
        assert (way.path.in_slots, len(way.path.take_odd())) == (4_096, 50)


class TestOddAnswers:
    """The request becomes a Question, which its answer is returned with, and goes on like any other."""

    @pytest.mark.parametrize(
        ("code", "more"),
        [
            (5012, ()),
            (3002, ()),
            (None, ()),
            (4001, ()),
            (2001, (Avp(106, b"0" * 32),)),
            (2001, (Avp(107, b"next"),)),
        ],
        ids=["failure", "protocol error", "no Result-Code", "no Challenge", "rspauth", "nextnonce"],
    )
    def test_the_answer_itself(self, code: int | None, more: tuple[Avp, ...]) -> None:
        way = Way()
        way.now = 3.0
        data = with_credentials(1)
        way.take(data)
        (message,) = way.asked()
        ((question, _),) = way.answer(build_answer(message, code, more=more))
        assert way.adopted == [question]
        assert (question.deadline, question.attempts, question.msgid) == (8.0, 1, number_of(message))
        assert (question.request.source, question.realm, question.proxy) == (SOURCE, "siphub.net", True)
        assert question.credentials is not None
        assert question.connection is way.wires[0]
        assert (way.path.in_slots, len(way.in_flight), way.wires[0].under_way) == (0, 0, 0)
        assert (way.replies(), way.counts, way.path.slow, way.in_flight.answered) == ([], {}, 1, 1)

    def test_a_success_without_credentials_lets_nobody_in(self) -> None:
        way = Way()
        way.exchange(numbered(1))
        assert len(way.adopted) == 1
        assert way.replies() == []

    def test_a_reply_that_would_be_too_large(self) -> None:
        """More than twice the request, and one challenge that is larger than what may always be sent."""
        way = Way()
        value = CHALLENGE_VALUE.replace(b"5f3c9a1d", b"x" * 900)
        way.take(numbered(1))
        way.answer(*(challenge_to(question, value) for question in way.asked()))
        assert len(way.adopted) == 1
        assert way.replies() == []

    def test_of_several_challenges_as_many_as_fit(self) -> None:
        way = Way()
        data = numbered(1)
        way.take(data)
        more = tuple(Avp(402, CHALLENGE_VALUE.replace(b"5f3c9a1d", b"%d" % n * 30)) for n in range(7))
        way.answer(*(challenge_to(question, more=more) for question in way.asked()))
        (reply,) = way.replies()
        count = len(header(reply, "Proxy-Authenticate"))
        assert 1 < count < 8
        assert len(reply) <= 2 * len(data) < len(reply) + len(CHALLENGE_VALUE) + 60

    def test_malformed_contacts(self) -> None:
        way = Way()
        line = f"Authorization: {build_credentials()}"
        way.exchange(build_request("REGISTER", to="<sip:alice@siphub.net>", extra=(line, "Contact: <")))
        assert len(way.adopted) == 1

    def test_an_answer_in_pieces(self) -> None:
        """It is whole in the memory of the connection only."""
        way = Way()
        way.take(numbered(1), numbered(2))
        first, second = way.asked()
        data = challenge_to(first) + challenge_to(second)
        found = [pair for at in range(0, len(data), 30) for pair in way.answer(data[at : at + 30])]
        assert [question for question, _ in found] == way.adopted
        assert len(found) == 2

    def test_no_answer(self) -> None:
        way = Way()
        way.take(numbered(1), numbered(2))
        assert way.in_flight.deadline == 5.0
        assert way.in_flight.take_expired(4.9) is None
        question = way.in_flight.take_expired(5.0)
        assert [question] == way.adopted
        assert (way.path.in_slots, way.path.slow) == (1, 1)
        way.answer(*(challenge_to(message) for message in way.asked()))
        assert (way.in_flight.late, way.statuses()) == (1, [407])

    def test_the_connection_breaks(self) -> None:
        """500 requests are asked again, oldest first, with the T flag (RFC 6733, 3)."""
        way = Way(wires=2)
        for number in range(1000):
            way.now = number / 1000
            way.take(numbered(number))
        broken, whole = way.wires
        way.in_flight.set_ready(broken, False)
        first = [message.end_to_end for message in asked_on(broken)]
        whole.take_unsent()
        back = way.in_flight.take_back(broken)
        assert back == way.adopted
        assert [question.deadline for question in back] == sorted(question.deadline for question in back)
        assert {question.attempts for question in back} == {1}
        for question in back:
            way.in_flight.write(whole, question, way.now)
        again = asked_on(whole)
        assert [message.end_to_end for message in again] == first
        assert {message.flags & 0x10 for message in again} == {0x10}
        assert (broken.under_way, whole.under_way, way.path.in_slots) == (0, 1000, 500)
        ends = [way.in_flight.take_expired(1e9) for _ in range(1000)]
        assert [question.deadline for question in ends] == sorted(question.deadline for question in ends)
        assert way.in_flight.take_expired(1e9) is None

    def test_the_server_ends(self) -> None:
        """`take_back` takes the requests of one socket, those of others and questions stay."""
        way = Way()
        other = Way(in_flight=way.in_flight, wires=0)
        way.take(numbered(1), numbered(2))
        other.take(numbered(3))
        question = authentication(SipRequest(numbered(4)), "siphub.net", None, True)
        way.in_flight.submit(question, 0.0)
        with pytest.raises(ValueError, match="about 2 requests"):
            way.path.close()
        back = way.path.take_back()
        assert [one.request.header("X-Number") for one in back] == ["0001", "0002"]
        way.path.close()
        way.path.close()
        way.answer(*(challenge_to(message) for message in way.asked()))
        assert (way.in_flight.late, other.statuses()) == (2, [407])

    def test_the_client_ends(self) -> None:
        way = Way(wires=2)
        way.take(*map(numbered, range(5)))
        assert way.in_flight.take_all() == way.adopted
        assert [one.request.header("X-Number") for one in way.adopted] == [f"{n:04}" for n in range(5)]
        assert (len(way.in_flight), way.path.in_slots) == (0, 0)

    def test_adopt_must_not_raise_but_spoils_nothing_else(self) -> None:
        """That request is lost; its user is not locked out, and answers before and after are taken."""
        penalties = Penalties()
        calls = []

        def adopt(question: Question) -> None:
            calls.append(question)
            if len(calls) == 1:
                raise RuntimeError("adopt")

        way = Way(adopt=adopt, penalties=penalties)
        way.take(numbered(1), with_credentials(2), numbered(3), numbered(4))
        first, second, third, fourth = way.asked()
        with pytest.raises(RuntimeError, match="adopt"):
            way.answer(
                challenge_to(first),
                build_answer(second, 5012),
                challenge_to(third),
                challenge_to(fourth)[:-1],
            )
        assert way.in_flight.unknown == 0
        ((question, _),) = way.answer(challenge_to(fourth)[-1:])
        assert question is calls[1]
        assert way.statuses() == [407, 407]
        assert (len(way.in_flight), way.path.in_slots, way.wires[0].under_way) == (0, 0, 0)
        assert len(penalties) == 0


class TestPenalties:
    """Guesses of a user at a source; see tests/_core/state/test_penalties.py for the rules."""

    def test_a_user_who_guesses_is_refused_without_a_question(self) -> None:
        way = Way(penalties=Penalties())
        for number in range(5):
            way.exchange(with_credentials(number), code=5003)
        way.take(with_credentials(9), numbered(10))
        assert [message.find(RESPONSE) for message in way.asked()] == [None], "only who sends no credentials"
        assert way.statuses() == [403] * 6
        assert way.counts == {Cause.FORBIDDEN: 5, Cause.PENALIZED: 1}
        assert way.path.take_notes() == (
            [
                (Cause.FORBIDDEN, "alice@siphub.net", "192.0.2.9", 5),
                (Cause.PENALIZED, "alice@siphub.net", "192.0.2.9", 1),
            ],
            0,
        )
        way.take(with_credentials(9))
        assert way.statuses() == [403], "a retransmission gets the same"
        way.now = 1.5
        way.take(with_credentials(11))
        assert len(way.asked()) == 1, "the penalty of a second is over"

    def test_an_attempt_that_must_wait_is_odd(self) -> None:
        """Six at a time from a user who is not known: the sixth waits for the verdict on the first."""
        way = Way(penalties=Penalties())
        way.take(*map(with_credentials, range(6)))
        assert (len(way.asked()), len(way.path.take_odd())) == (5, 1)

    def test_a_question_goes_on_with_the_attempt(self) -> None:
        penalties = Penalties()
        way = Way(penalties=penalties)
        way.take(with_credentials(1))
        (question,) = way.in_flight.take_back(way.wires[0])
        assert question.attempt is not None
        assert not question.attempt.is_held
        assert len(penalties) == 2
        penalties.neither(question.attempt, 0.0)
        assert len(penalties) == 0

    @pytest.mark.parametrize(
        ("code", "value", "left"),
        [(2001, None, 1), (5003, None, 2), (4001, CHALLENGE_VALUE + b", stale=true", 0)],
        ids=["right", "wrong", "stale"],
    )
    def test_each_attempt_ends(self, code: int, value: bytes | None, left: int) -> None:
        """A login is remembered for the user, a guess for user and source; a stale nonce tells nothing."""
        penalties = Penalties()
        way = Way(penalties=penalties)
        way.take(with_credentials(1))
        way.answer(*(build_answer(question, code, challenge=value) for question in way.asked()))
        assert len(penalties) == left

    def test_ipv6_sources_count_by_their_64(self) -> None:
        way = Way(penalties=Penalties())
        for number in range(5):
            way.exchange(with_credentials(number), code=5003, source=(f"2001:db8::{number + 1}", 5060, 0, 0))
        way.take(with_credentials(9), source=("2001:db8::99", 5060, 0, 0))
        way.take(with_credentials(9), source=("2001:db8:0:1::1", 5060, 0, 0))
        assert len(way.asked()) == 1
        assert way.counts[Cause.PENALIZED] == 1


class TestAmplification:
    """A source can be forged: what is not let in gets no reply of more than twice its request."""

    def test_a_cancel_is_no_exception(self) -> None:
        """The shortest one, with the longest address."""
        data = b"CANCEL sip:a SIP/2.0\r\nv:SIP/2.0/UDP a\r\ni:1\r\nCSeq:1 CANCEL\r\n\r\n"
        way = Way()
        source = ("2001:db8:1111:1111:1111:1111:1111:1111", 60_000, 0, 0)
        way.take(data, source=source)
        assert way.counts == {}
        assert len(way.path.take_odd()) == 1
        way.take(data)
        (reply,) = way.replies()
        assert len(reply) <= 2 * len(data)
        assert way.counts == {Cause.BYPASSED: 1}

    def test_right_credentials_are_proof_enough(self) -> None:
        way = Way(amplification=0, one_challenge=0)
        way.exchange(with_credentials(1))
        assert way.statuses() == [200]
        way.exchange(numbered(2), code=4001)
        assert way.replies() == []

    def test_no_reply_is_larger_whatever_disc_says(self) -> None:
        chance = random.Random(1)
        way = Way()
        for number in range(200):
            data = numbered(number, extra=("X: " + "x" * chance.randrange(200),))
            way.take(data)
            values = [
                CHALLENGE_VALUE.replace(b"5f3c9a1d", b"n" * chance.randrange(1, 300))
                for _ in range(chance.randrange(1, 8))
            ]
            more = tuple(Avp(402, value) for value in values[1:])
            way.answer(*(challenge_to(question, values[0], more=more) for question in way.asked()))
            for reply in way.replies():
                alone = len(header(reply, "Proxy-Authenticate")) == 1
                assert len(reply) <= max(2 * len(data), 512 if alone else 0)


class TestNotes:
    def test_sixteen_kinds_are_told_apart(self) -> None:
        way = Way()
        for number in range(20):
            for _ in range(2):
                way.exchange(with_credentials(number, username=f"u{number}", opaque=str(_)), code=5003)
        notes, others = way.path.take_notes()
        assert [(account, times) for _, account, _, times in notes] == [
            (f"u{number}@siphub.net", 2) for number in range(16)
        ]
        assert others == 8
        assert way.path.take_notes() == ([], 0)

    def test_cause_account_and_source_tell_apart(self) -> None:
        way = Way()
        way.exchange(with_credentials(1), code=5003)
        way.exchange(with_credentials(2), code=4001)
        way.exchange(with_credentials(3), code=5003, source=("192.0.2.10", 5060))
        way.exchange(with_credentials(4), code=5003, source=("192.0.2.9", 5061))
        notes, _ = way.path.take_notes()
        assert [(cause.name, host, times) for cause, _, host, times in notes] == [
            ("FORBIDDEN", "192.0.2.9", 2),
            ("RECHALLENGED", "192.0.2.9", 1),
            ("FORBIDDEN", "192.0.2.10", 1),
        ]

    @pytest.mark.parametrize(
        ("username", "account"),
        [
            ("alice@other.test", "alice@other.test"),
            ("", ""),
            ("x" * 1000, "x" * 256),
            ("\u00fc" * 200, "\u00fc" * 128),
            ('a\\"b', 'a"b@siphub.net'),
        ],
    )
    def test_the_account(self, username: str, account: str) -> None:
        way = Way()
        way.exchange(with_credentials(1, username=username), code=5003)
        ((_, noted, _, _),), _ = way.path.take_notes()
        assert noted == account

    def test_no_secret_is_in_a_note(self) -> None:
        way = Way()
        way.exchange(with_credentials(1, nonce="n-o-n-c-e", response="ab" * 16), code=5003)
        noted = repr(way.path.take_notes())
        assert "n-o-n-c-e" not in noted
        assert "abab" not in noted


class TestSizes:
    @pytest.mark.parametrize("size", [400, 2047, 2048, 2049, 4096, 20_000, 65_507, 65_535])
    def test_any_size_of_a_datagram(self, size: int) -> None:
        """Up to 2 KiB lie in the slot, more have memory of their own."""
        data = numbered(1, extra=("X: ",))
        data = data.replace(b"X: ", b"X: " + b"x" * (size - len(data)))
        assert len(data) == size
        way = Way()
        way.take(data, data)
        assert (way.path.in_slots, way.path.retransmissions) == (1, 1)
        (question,) = way.in_flight.take_back(way.wires[0])
        assert question.request.data_size == size
        assert question.request.header("X") == "x" * (size - len(numbered(1, extra=("X: ",))))

    def test_no_datagram_is_larger(self) -> None:
        with pytest.raises(ValueError, match="more than a datagram"):
            Way().take(b"x" * 65_537)

    @pytest.mark.parametrize("size", [1000, 1025, 20_000, 60_000])
    def test_a_realm_of_any_size(self, size: int) -> None:
        """Nobody has credentials for one of more than 1,024 bytes. Odd is a question that does not fit."""
        domain = "a" * size
        data = build_request(from_=f"<sip:alice@{domain}>;tag=1")
        way = Way()
        way.take(data)
        asked = way.asked()
        assert len(asked) + len(way.path.take_odd()) == 1
        way.answer(*(build_answer(question, 5003) for question in asked))
        assert len(way.replies()) == len(asked)
        notes, _ = way.path.take_notes()
        assert [account for _, account, _, _ in notes] == [""] * len(asked)

    def test_many_header_fields(self) -> None:
        way = Way()
        for number in range(3):
            way.take(numbered(number, extra=tuple(f"X-{n}: {n}" for n in range(200))))
        way.answer(*map(challenge_to, way.asked()))
        assert way.statuses() == [407] * 3

    def test_slots_are_used_again(self) -> None:
        """A slot of a large datagram is as good as new, whatever it was used for."""
        chance = random.Random(2)
        way = Way()
        for number in range(2000):
            kind = chance.randrange(6)
            filler = ("X: " + "x" * chance.choice([0, 0, 3000]),)
            if kind == 0:
                way.take(chance.randbytes(chance.choice([0, 10, 3000])))
                way.path.take_odd()
            elif kind == 1:
                way.take(CANCEL)
            else:
                way.take(with_credentials(number) if kind == 2 else numbered(number, extra=filler))
                way.answer(*(build_answer(q, 5003 if kind < 4 else 5012) for q in way.asked()))
            assert way.path.in_slots == len(way.in_flight) == 0
            way.replies()


class TestHostile:
    def test_answers_that_name_requests_of_other_connections(self) -> None:
        """The DISC of one client share its ids: each request has one reply, and the counts stay right."""
        way = Way(wires=3)
        way.take(*map(numbered, range(30)))
        asked = [message for wire in range(3) for message in way.asked(wire)]
        for question in asked:
            for wire in range(3):
                way.answer(challenge_to(question), wire=wire)
        assert way.statuses() == [407] * 30
        assert [wire.under_way for wire in way.wires] == [0, 0, 0]
        assert (way.in_flight.answered, way.in_flight.unknown) == (30, 60)

    def test_a_question_of_disc_answers_nothing(self) -> None:
        way = Way()
        way.take(numbered(1))
        (question,) = way.asked()
        answer = bytearray(challenge_to(question))
        answer[4] |= 0x80
        way.answer(bytes(answer))
        assert (way.path.in_slots, way.in_flight.unknown) == (1, 1)

    def test_garbage_behind_answers(self) -> None:
        """Those before it count, and nothing after it does."""
        way = Way()
        way.take(numbered(1), numbered(2))
        first, second = way.asked()
        way.answer(challenge_to(first), b"HTTP/1.1", challenge_to(second))
        assert way.wires[0].fault is not None
        assert way.statuses() == [407]
        way.answer(challenge_to(second))
        assert way.path.in_slots == 1

    @pytest.mark.parametrize("seed", range(5))
    def test_answers_of_which_bytes_were_changed(self, seed: int) -> None:
        """Each request ends once, by a reply, as a Question, or at its deadline."""
        chance = random.Random(seed)
        way = Way(penalties=Penalties())
        ends = replies = 0
        for number in range(300):
            way.take(with_credentials(number, username=f"u{number}"))
            if way.wires[0].fault is not None:
                way.in_flight.set_ready(way.wires[0], False)
                way.in_flight.take_back(way.wires[0])
                way.wires[0] = new_wire(way.in_flight)
                way.path.take_odd()
                continue
            for question in way.asked():
                answer = bytearray(
                    build_answer(question, chance.choice([2001, 4001, 5003]), challenge=CHALLENGE_VALUE)
                )
                for _ in range(chance.randrange(3)):
                    answer[chance.randrange(len(answer))] = chance.randrange(256)
                ends += len(way.answer(bytes(answer)))
            replies += len(way.replies())
        assert ends
        assert replies
        while way.in_flight.take_expired(1e9) is not None:
            pass
        assert (len(way.in_flight), way.path.in_slots) == (0, 0)

    def test_a_path_goes_with_requests_in_flight(self) -> None:
        """Nobody closed anything."""
        way = Way()
        way.take(numbered(1), numbered(2, extra=("X: " + "x" * 3000,)))
        del way


class TestSocket:
    """The same over a socket, of which one call reads 64 datagrams."""

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    def test_all_that_has_come_is_read_64_at_a_time(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with (
            socket.socket(family, socket.SOCK_DGRAM) as server,
            socket.socket(family, socket.SOCK_DGRAM) as phone,
        ):
            for sock in (server, phone):
                try:
                    sock.bind((host, 0))
                except OSError as error:
                    pytest.skip(f"not on this machine: {error}")
                sock.settimeout(5)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            way = Way(fd=server.fileno())
            sizes = [10, 5000, 60_000, 0]
            datagrams = []
            for number in range(70):
                filler = "X: " + "x" * (sizes[number] if number < 4 else 10)
                datagrams.append(numbered(number, extra=(filler,)).replace(b":5066;", b";rport;"))
                phone.sendto(datagrams[-1], server.getsockname())
            phone.sendto(b"", server.getsockname())
            assert [way.path.receive(0.0) for _ in range(3)] == [64, 7, 0]
            assert (way.path.received, way.path.in_slots, len(way.path.take_odd())) == (71, 70, 1)
            way.answer(*map(challenge_to, way.asked()))
            assert [phone.recv(4096)[8:11] for _ in range(70)] == [b"407"] * 70
            assert (way.path.replied, way.path.departures.lost) == (70, 0)
            for question in (datagrams[2], CANCEL.replace(b":5066;", b";rport;")):
                phone.sendto(question, server.getsockname())
            assert way.path.receive(0.0) == 2
            assert [phone.recv(4096)[8:11] for _ in range(2)] == [b"407", b"200"]

    def test_a_socket_that_cannot_be_read(self) -> None:
        way = Way()
        with pytest.raises(OSError, match="receiving datagrams"):
            way.path.receive(0.0)
        way.take(numbered(1))
        assert way.path.in_slots == 1


def test_addresses_are_checked() -> None:
    way = Way()
    for source in (("example.net", 5060), ("192.0.2.1", 65_536), ("192.0.2.1",)):
        with pytest.raises(ValueError, match="address"):
            way.take(numbered(1), source=source)
    with pytest.raises(TypeError):
        way.take(numbered(1), source=("192.0.2.1", "5060"))
    assert (way.path.received, way.path.in_slots) == (0, 0)
