"""WorkerObjects: one question at a time, on a blocking socket; here its other end is the test."""

import errno
import math
import socket
import struct
import threading
import types

import pytest
from kit.ksr import Kamailio
from kit.sip import FIRST, RIGHT, build_credentials, build_request
from kit.wire import DESTINATION_REALM, build_answer

from auth_diameter import Avp, Cause, Config, Decision, Message, SipRequest
from auth_diameter._core import (
    Breakers,
    Decisions,
    InFlight,
    NonceIssuers,
    Penalties,
    ScriptCalls,
    WorkerObjects,
)
from auth_diameter.client.pseudovars import compile_template
from auth_diameter.diameter.connection import OKAY, Connection
from auth_diameter.diameter.peer import Peer

SOURCE = ("192.0.2.7", 5060)
FOUND = Decision(-5, Cause.CHALLENGED, 401)
TIMEOUT = 5.0


class Policy:
    """Notes what is left to it."""

    compile = staticmethod(compile_template)

    def __init__(self):
        self.told = []

    def refuse_penalized(self, question):
        self.told.append(("penalized", question))
        return Decision(-5, Cause.PENALIZED, 403)

    def conclude(self, question, answer):
        self.told.append(("answer", question, answer.code))
        return FOUND

    def judge_connection(self, wire):
        self.told.append(("connection", wire))

    def go_on(self, question, error):
        self.told.append(("go on", question, error))
        return FOUND


class ScriptPolicy:
    """Notes what a script's call could not do."""

    def __init__(self):
        self.told = []

    def go_on(self, message, found, realm, proxy):
        self.told.append(found)
        return -5

    def refuse(self, message, proxy, error):
        raise error


class Worker:
    """A path with one connection, and the other end of that."""

    def __init__(self, limit=TIMEOUT, penalties=None, watch=None, in_flight=1, **settings):
        self.now = 100.0
        self.policy = Policy()
        self.decisions = Decisions()
        self.in_flight = InFlight(in_flight)
        self.breakers = Breakers()
        self.penalties = penalties
        self.ours, self.theirs = socket.socketpair()
        seconds = struct.pack("@ll", int(limit), int(limit % 1 * 1_000_000))
        self.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
        self.wire = Connection(Peer("disc", 3000), self.ours, self.now, 65_536, OKAY)
        self.wire.is_calm = True
        self.wire.fd = self.ours.fileno()
        self.in_flight.set_ready(self.wire, True)
        settings = {"timeout": TIMEOUT, "max_question": 65_536, "tells_source": False} | settings
        self.path = WorkerObjects(
            self.policy, self.in_flight, self.decisions, self.breakers, [self.breakers.place_of("disc:3000")],
            penalties, watch, lambda: self.now, max_size=65_535, max_headers=256, **settings,
        )  # fmt: skip
        self.path.calm_until = math.inf
        self.path.seen = self.breakers.version

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.ours.close()
        self.theirs.close()

    def decide(self, data=RIGHT, answer=None, realm="$fd"):
        """Decides on a request, while a thread answers the question."""
        return self.during(answer, lambda: self.path.decide(SipRequest(data, SOURCE), realm, False))

    def during(self, answer, work):
        """Does something, while a thread answers the question."""
        thread = threading.Thread(target=self._answer, args=(answer,)) if answer is not None else None
        if thread is not None:
            thread.start()
        found = work()
        if thread is not None:
            thread.join()
        return found

    def _answer(self, answer):
        question = Message.decode(self.theirs.recv(65_536))
        for data in answer(question):
            self.theirs.sendall(data)


@pytest.fixture
def worker():
    with Worker() as worker:
        yield worker


def right(question):
    return [build_answer(question, 2001)]


def wrong(question):
    return [build_answer(question, 5003)]


def test_who_is_let_in(worker):
    request = SipRequest(RIGHT, SOURCE)
    thread = threading.Thread(target=worker._answer, args=(right,))
    thread.start()
    decision = worker.path.decide(request, "$fd", False)
    thread.join()
    assert (decision.return_code, decision.cause, decision.username) == (1, Cause.AUTHORIZED, "alice")
    assert request.authorized is not None
    assert worker.decisions.as_dict()[Cause.AUTHORIZED] == 1
    assert worker.policy.told == []
    assert len(worker.in_flight) == 0


@pytest.mark.parametrize(
    "realms", [("a.net", "b.net"), ("ä.net", "ö.net"), ("$fd", "b.net"), ("ä.net", "a.net")]
)
def test_each_realm_is_its_own(worker, realms):
    """The last one is remembered, and no other."""
    asked = []

    def answer(question):
        asked.append(question.find(DESTINATION_REALM).data.decode())
        return [build_answer(question, 4001)]

    for realm in realms * 2:
        worker.decide(FIRST, answer, realm)
    assert asked == [realm.replace("$fd", "siphub.net") for realm in realms] * 2


def test_a_realm_of_another_kind_of_text(worker):
    assert worker.decide(answer=right, realm=type("Text", (str,), {})("siphub.net")).realm == "siphub.net"


def test_a_login_is_one_of_its_role(worker):
    """Credentials in Proxy-Authorization do not take the place of those in Authorization."""
    both = build_request(
        extra=(
            f"Authorization: {build_credentials()}",
            f"Proxy-Authorization: {build_credentials('bob')}",
        )
    )
    request = SipRequest(both, SOURCE)
    assert worker.during(right, lambda: worker.path.decide(request, "$fd", False)).username == "alice"
    assert worker.during(right, lambda: worker.path.decide(request, "$fd", True)).username == "bob"
    assert request.authorized_username == "alice"


def test_a_login_is_noted_for_the_nonces_of_several_disc():
    """It takes the nonce off the watch: it was of use where it was issued."""
    nonce = SipRequest(RIGHT).credentials("siphub.net").nonce
    watch = NonceIssuers()
    with Worker(watch=watch) as worker:
        watch.challenged(None, 0, (f'Digest realm="siphub.net", nonce="{nonce}"'.encode(),), worker.now)
        assert len(watch) == 1
        assert worker.decide(answer=right)
        assert len(watch) == 0


def test_a_script_needs_no_decision(worker):
    """It gets a 1, which is counted as any other login; and the next who asks for a Decision gets one."""
    policy = ScriptPolicy()
    calls = ScriptCalls(policy, "$(mb{s.encode.base64})")
    calls.use(worker.path, max_size=65_535, max_headers=256)
    server = Kamailio()
    for number in (1, 2):
        server.take(RIGHT)
        assert worker.during(right, lambda: calls.authorize(server, "$fd", False)) == 1
        assert calls.request.authorized_username == "alice"
        assert worker.decisions.as_dict()[Cause.AUTHORIZED] == number
    assert policy.told == []
    assert worker.decide(answer=right).username == "alice"
    worker.path.calm_until = -math.inf
    question = worker.decide()
    worker.path.calm_until = math.inf
    server.take(RIGHT)
    worker.during(right, lambda: calls.authorize(server, "$fd", False))
    assert worker.during(right, lambda: worker.path.ask_at_once(question)).username == "alice"


def test_a_script_gets_all_else_from_its_policy(worker):
    policy = ScriptPolicy()
    calls = ScriptCalls(policy, "$(mb{s.encode.base64})")
    calls.use(worker.path, max_size=65_535, max_headers=256)
    server = Kamailio()
    server.take(RIGHT)
    assert worker.during(wrong, lambda: calls.authorize(server, "$fd", False)) == -5
    assert policy.told == [FOUND]


def test_another_back_end_may_take_its_place(worker):
    """As when a script is loaded again with a database in place of DISC."""
    policy = ScriptPolicy()
    calls = ScriptCalls(policy, "$(mb{s.encode.base64})")
    server = Kamailio()
    server.take(RIGHT)
    calls.use(worker.path, max_size=65_535, max_headers=256)
    assert worker.during(right, lambda: calls.authorize(server, "$fd", False)) == 1
    refused = Decision(-5, Cause.FORBIDDEN, 403)
    other = types.SimpleNamespace(decide=lambda request, realm, proxy: refused)
    calls.use(other, max_size=65_535, max_headers=256)
    assert calls.authorize(server, "$fd", False) == -5
    assert policy.told == [refused]
    assert policy.told[0] is refused


def test_all_other_answers_are_left_to_python(worker):
    for answer in (
        wrong,
        lambda question: [build_answer(question, 2001, more=(Avp(106, "ab" * 16),))],
    ):
        assert worker.decide(answer=answer) is FOUND
    assert [told[0::2] for told in worker.policy.told] == [("answer", 5003), ("answer", 2001)]
    assert worker.decisions.as_dict()[Cause.AUTHORIZED] == 0


def test_a_question_without_credentials(worker):
    assert worker.decide(FIRST, lambda question: [build_answer(question, 4001)]) is FOUND


@pytest.mark.parametrize("request_", [build_request("ACK"), build_request(from_=None)])
def test_what_is_not_asked_about_is_left_to_python(worker, request_):
    assert worker.decide(request_) is None


def test_bytes_are_left_to_python(worker):
    assert worker.path.decide(RIGHT, "$fd", False) is None


def test_a_question_that_is_too_large():
    with Worker(max_question=100) as worker:
        assert worker.decide() is None


# ------------------------------------------------------------------ not calm


@pytest.mark.parametrize(
    "disturb",
    [
        lambda worker: setattr(worker.path, "calm_until", worker.now),
        lambda worker: setattr(worker.path, "seen", worker.breakers.version + 1),
        lambda worker: worker.breakers.change(0, 3, 0.0),
        lambda worker: setattr(worker.wire, "is_calm", False),
        lambda worker: setattr(worker.wire, "fd", -1),
        lambda worker: worker.wire.append(b"x"),
        lambda worker: worker.in_flight.set_ready(worker.wire, False),
    ],
    ids=["due", "a version not seen", "a change", "the state", "no socket", "unsent", "no connection"],
)
def test_python_asks(worker, disturb):
    """The Question is made, and nothing is sent."""
    disturb(worker)
    question = worker.decide()
    assert question.credentials.username == "alice"
    assert question.connection is None
    assert worker.path.ask_at_once(question) is question
    worker.theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        worker.theirs.recv(1)


def test_python_asks_where_a_question_is_under_way():
    """Its answer may come first."""
    with Worker(in_flight=2) as worker:
        worker.path.calm_until = -math.inf
        first = worker.decide()
        first.deadline = worker.now + TIMEOUT
        worker.in_flight.write(worker.wire, first, worker.now)
        worker.wire.take_unsent()
        worker.path.calm_until = math.inf
        second = worker.decide()
        assert worker.path.ask_at_once(second) is second
        assert len(worker.in_flight) == 1


# ------------------------------------------------------------------ no answer, or not yet


def test_no_answer_in_time():
    with Worker(limit=0.05) as worker:
        assert worker.decide() is FOUND
        [(what, question, error)] = worker.policy.told
        assert (what, error) == ("go on", errno.EAGAIN)
        assert len(worker.in_flight) == 1
        assert question.deadline == worker.now + TIMEOUT
        assert worker.in_flight.give_up(question)


def test_the_peer_has_closed(worker):
    worker.theirs.shutdown(socket.SHUT_WR)
    assert worker.decide() is FOUND
    assert worker.policy.told[0][2] == -1


def test_the_connection_is_broken(worker):
    worker.theirs.close()
    assert worker.decide() is FOUND
    assert worker.policy.told[0][2] in (errno.EPIPE, errno.ECONNRESET)


def test_part_of_an_answer(worker):
    assert worker.decide(answer=lambda question: [build_answer(question, 2001)[:30]]) is FOUND
    assert [told[0] for told in worker.policy.told] == ["connection", "go on"]
    assert worker.policy.told[1][2] == 0


def test_an_answer_that_is_longer_than_a_read(worker):
    """It comes in several: Python takes the others."""
    big = tuple(Avp(402, b"x" * 4000) for _ in range(3))
    worker.decide(answer=lambda question: [build_answer(question, 4001, more=big)])
    assert worker.policy.told[-1][0] == "go on"


def test_an_answer_when_the_time_is_over(worker):
    """This process did not run for a while; somebody else may have the name now."""

    def late(question):
        worker.now += TIMEOUT + 0.1
        return right(question)

    assert worker.decide(answer=late) is FOUND
    assert worker.policy.told[0][2] == errno.EAGAIN


@pytest.mark.parametrize("more", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\1\0\0\x14" + bytes(8)])
def test_more_than_an_answer(worker, more):
    """It counts, and Python judges the connection."""
    assert worker.decide(answer=lambda question: [right(question)[0] + more]).return_code == 1
    assert worker.policy.told == [("connection", worker.wire)]


def test_the_answer_to_another_question(worker):
    assert worker.decide(answer=lambda question: [build_answer(1, 2001)]) is FOUND
    assert worker.policy.told[-1][0] == "go on"


def test_another_answer_first(worker):
    assert (
        worker.decide(answer=lambda question: [build_answer(1, 2001) + right(question)[0]]).return_code == 1
    )


def test_what_python_reads_is_not_decided_here(worker):
    """The concluder of the questions in flight is silent then: Python has no place for its Decision."""
    question = worker.path.ask_at_once
    worker.path.calm_until = -math.inf
    question = worker.decide()
    question.deadline = worker.now + TIMEOUT
    worker.in_flight.write(worker.wire, question, worker.now)
    written = Message.decode(worker.wire.take_unsent())
    [(found, answer)] = worker.in_flight.received_on(worker.wire, right(written)[0], worker.now)
    assert (found, answer.code) == (question, 2001)


def test_a_worker_that_is_heard_tells_those_who_wait(worker):
    worker.breakers.asked(0, worker.now - 1.0, worker.now - 0.9, TIMEOUT)
    assert worker.decide(answer=right)
    assert worker.breakers.heard_since(0, worker.now)


# ------------------------------------------------------------------ guesses


def test_attempts_end_with_the_verdict():
    """One that Python goes on with is ended by Python."""
    penalties = Penalties(shared=True)
    with Worker(penalties=penalties) as worker:
        for _ in range(8):
            assert worker.decide(answer=right).return_code == 1
        for _ in range(5):
            worker.decide(answer=wrong)
            question = worker.policy.told[-1][1]
            assert question.attempt is not None
            penalties.wrong(question.attempt, worker.now)
        assert worker.decide().cause is Cause.PENALIZED
        assert worker.policy.told[-1][0] == "penalized"
        assert worker.decisions.as_dict()[Cause.PENALIZED] == 1


def test_an_attempt_goes_on_with_its_question():
    """A seventh would have to wait for the verdicts, if one of them were lost."""
    penalties = Penalties(shared=True)
    with Worker(limit=0.05, penalties=penalties) as worker:
        for _ in range(7):
            worker.decide()  # there is no answer
            _, question, _ = worker.policy.told.pop()
            penalties.neither(question.attempt, worker.now)
            worker.in_flight.give_up(question)
        assert len(penalties) == 0


def test_an_attempt_of_a_question_that_python_asks():
    penalties = Penalties(shared=True)
    with Worker(penalties=penalties) as worker:
        worker.path.calm_until = -math.inf
        question = worker.decide()
        assert not question.attempt.is_refused
        penalties.right(question.attempt, worker.now)


def test_the_default_settings_fit():
    """What the client hands over."""
    config = Config()
    with Worker(max_question=config.max_diameter_message, timeout=config.timeout) as worker:
        assert worker.decide(answer=right).return_code == 1
