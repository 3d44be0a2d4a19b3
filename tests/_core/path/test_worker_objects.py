"""WorkerObjects: one question at a time, on a blocking socket; here its other end is the test."""

import errno
import math
import socket
import struct
import threading

import pytest
from kit.sip import FIRST, RIGHT, build_request
from kit.wire import build_answer

from auth_diameter import Avp, Cause, Config, Decision, Message, SipRequest
from auth_diameter._core import Breakers, Decisions, InFlight, Penalties, WorkerObjects
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


class Worker:
    """A path with one connection, and the other end of that."""

    def __init__(self, limit=TIMEOUT, penalties=None, **settings):
        self.now = 100.0
        self.policy = Policy()
        self.decisions = Decisions()
        self.in_flight = InFlight(1)
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
            penalties, None, lambda: self.now, max_size=65_535, max_headers=256, **settings,
        )  # fmt: skip
        self.path.calm_until = math.inf
        self.path.seen = self.breakers.version

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.ours.close()
        self.theirs.close()

    def decide(self, data=RIGHT, answer=None):
        """Decides on a request, while a thread answers the question."""
        thread = threading.Thread(target=self._answer, args=(answer,)) if answer is not None else None
        if thread is not None:
            thread.start()
        found = self.path.decide(SipRequest(data, SOURCE), "$fd", False)
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


def test_all_other_answers_are_left_to_python(worker):
    for answer in (
        lambda question: [build_answer(question, 5003)],
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
            worker.decide(answer=lambda question: [build_answer(question, 5003)])
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
