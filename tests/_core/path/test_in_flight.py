"""The questions in flight: ids, the order of deadlines, connections, and answers however they come."""

from __future__ import annotations

import random
from bisect import insort

import pytest
from kit.path import asked_on, new_wire
from kit.pool import msgids, new_question
from kit.wire import aa_request, build_answer

from auth_diameter._core import InFlight, Question, RequestStream, Verdict, Wire, restart_msgids


def asked(in_flight: InFlight, deadline: float = 5.0, now: float = 0.0) -> Question:
    """A question in flight."""
    question = new_question()
    question.deadline = deadline
    assert in_flight.submit(question, now) is not None
    return question


def deadlines(in_flight: InFlight) -> list[float]:
    return [question.deadline for question in in_flight.questions()]


class TestIds:
    """SIP-MSGID, by which the dialect matches answers."""

    def test_they_follow_each_other_and_wrap_around(self) -> None:
        restart_msgids(0xFFFFFFFE)
        in_flight = InFlight()
        wire = new_wire(in_flight)
        questions = [asked(in_flight) for _ in range(4)]
        assert [question.msgid for question in questions] == [0xFFFFFFFE, 0xFFFFFFFF, 0, 1]
        assert msgids(asked_on(wire)) == [question.msgid for question in questions]

    def test_a_taken_place_is_passed_over(self) -> None:
        """The table has 256 places at first: after as many ids the next one meets a question that stayed."""
        restart_msgids(1000)
        in_flight = InFlight()
        wire = new_wire(in_flight)
        stays = asked(in_flight)
        for _ in range(255):
            assert in_flight.forget(asked(in_flight))
        assert asked(in_flight).msgid == 1000 + 257
        found = in_flight.received(wire, build_answer(1000), 0.0)
        assert [question for question, _ in found] == [stays]

    def test_an_id_at_the_place_of_another_is_no_match(self) -> None:
        restart_msgids(1000)
        in_flight = InFlight()
        wire = new_wire(in_flight)
        asked(in_flight)
        for other in (1000 + 256, 1000 - 256, 1000 + 512):
            assert in_flight.received(wire, build_answer(other), 0.0) == []
        assert in_flight.unknown == 3
        assert len(in_flight) == 1

    def test_the_table_grows_with_the_questions(self) -> None:
        """Each of 20,000 is found again, in any order, though the ids had gaps while it grew."""
        restart_msgids(0xFFFFF000)
        chance = random.Random(1)
        in_flight = InFlight(most=1 << 20)
        wire = new_wire(in_flight)
        questions = []
        for _ in range(20_000):
            questions.append(asked(in_flight))
            if chance.random() < 0.3:
                assert in_flight.forget(questions.pop(chance.randrange(len(questions))))
        assert len({question.msgid for question in questions}) == len(in_flight) == len(questions)
        wire.take_unsent()
        chance.shuffle(questions)
        found = in_flight.received(wire, b"".join(build_answer(q.msgid) for q in questions), 0.0)
        assert [question for question, _ in found] == questions
        assert (len(in_flight), wire.under_way) == (0, 0)

    def test_a_question_that_is_asked_again_has_a_new_one(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        question = asked(in_flight)
        first = question.msgid
        assert in_flight.take_back(wire) == [question]
        in_flight.write(wire, question, 0.0)
        assert (question.msgid != first, question.attempts) == (True, 2)
        assert in_flight.received(wire, build_answer(first), 0.0) == []
        assert in_flight.late == 1
        assert [message.flags & 0x10 for message in asked_on(wire)] == [0, 0x10]  # T: RFC 6733, 3


class TestDeadlines:
    def test_what_is_written_in_order_expires_in_order(self) -> None:
        in_flight = InFlight()
        new_wire(in_flight)
        questions = [asked(in_flight, deadline) for deadline in (1.0, 2.0, 2.0, 3.0)]
        assert in_flight.deadline == 1.0
        assert in_flight.take_expired(0.9) is None
        taken = [in_flight.take_expired(2.0) for _ in range(4)]
        assert taken == [*questions[:3], None]
        assert in_flight.deadline == 3.0
        assert in_flight.take_expired(3.0) is questions[3]
        assert in_flight.deadline is None

    def test_those_asked_again_find_their_place(self) -> None:
        """They are older than most, and come in order among themselves."""
        in_flight = InFlight()
        new_wire(in_flight)
        for deadline in (10.0, 20.0, 30.0, 11.0, 12.0, 21.0, 9.0, 13.0, 13.0, 31.0):
            asked(in_flight, deadline)
        assert deadlines(in_flight) == [9.0, 10.0, 11.0, 12.0, 13.0, 13.0, 20.0, 21.0, 30.0, 31.0]

    def test_of_two_with_one_deadline_the_first_stays_first(self) -> None:
        in_flight = InFlight()
        new_wire(in_flight)
        asked(in_flight, 9.0)
        same = [asked(in_flight, 5.0) for _ in range(3)]
        assert in_flight.questions()[:3] == same

    @pytest.mark.parametrize("seed", range(20))
    def test_against_a_sorted_list(self, seed: int) -> None:
        """Questions come with any deadline, and end in every way there is."""
        chance = random.Random(seed)
        in_flight = InFlight(most=1 << 20)
        wires = [new_wire(in_flight) for _ in range(3)]
        on: dict[Question, Wire] = {}
        expected: list[tuple[float, int, Question]] = []  # the number tells equals apart

        def gone(question: Question) -> None:
            del on[question]
            expected[:] = [entry for entry in expected if entry[2] is not question]

        for number in range(1500):
            event = chance.random()
            if event < 0.6 or not on:
                question = new_question()
                question.deadline = number // 10 - (chance.choice([0, 0, 5, 40]))
                on[question] = wire = chance.choice(wires)
                in_flight.write(wire, question, 0.0)
                insort(expected, (question.deadline, number, question))
            elif event < 0.75:
                question = chance.choice(list(on))
                found = in_flight.received(chance.choice(wires), build_answer(question.msgid), 0.0)
                assert [one for one, _ in found] == [question]
                gone(question)
            elif event < 0.85:
                question = chance.choice(list(on))
                assert in_flight.give_up(question)
                gone(question)
            elif event < 0.99:
                oldest = in_flight.take_expired(chance.choice([0.0, 1e9]))
                if oldest is not None:
                    assert oldest is expected[0][2]
                    gone(oldest)
            else:
                wire = chance.choice(wires)
                back = in_flight.take_back(wire)
                assert back == [entry[2] for entry in expected if on[entry[2]] is wire]
                for question in back:
                    gone(question)
            assert in_flight.questions() == [entry[2] for entry in expected]
            assert in_flight.deadline == (expected[0][0] if expected else None)
            assert [wire.under_way for wire in wires] == [list(on.values()).count(wire) for wire in wires]
        assert len(in_flight) == len(expected) == in_flight.count


class TestWires:
    def test_the_one_with_the_fewest_questions_takes_the_next(self) -> None:
        in_flight = InFlight()
        first, second = new_wire(in_flight), new_wire(in_flight)
        for _ in range(6):
            asked(in_flight)
        assert (first.under_way, second.under_way) == (3, 3)
        in_flight.set_ready(first, False)
        asked(in_flight)
        assert (first.under_way, second.under_way) == (3, 4)
        in_flight.set_ready(first, True)
        asked(in_flight)
        assert (first.under_way, second.under_way) == (4, 4)

    def test_without_turns_an_idle_one_stays_the_first(self) -> None:
        """One connection that carries all is cheaper than many that carry little."""
        in_flight = InFlight()
        wires = [new_wire(in_flight) for _ in range(3)]
        for _ in range(5):
            in_flight.forget(asked(in_flight))
        assert [len(asked_on(wire)) for wire in wires] == [0, 0, 5]

    def test_with_turns_each_disc_has_its_share(self) -> None:
        in_flight = InFlight(takes_turns=True)
        wires = [new_wire(in_flight) for _ in range(3)]
        for _ in range(6):
            in_flight.forget(asked(in_flight))
        assert [len(asked_on(wire)) for wire in wires] == [2, 2, 2]

    def test_none_takes_more_than_the_most(self) -> None:
        in_flight = InFlight(most=2)
        new_wire(in_flight), new_wire(in_flight)
        for _ in range(4):
            asked(in_flight)
        assert in_flight.submit(new_question(), 0.0) is None

    def test_none_takes_a_question_beyond_the_limit_on_all(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        in_flight.limit = 2
        asked(in_flight), asked(in_flight)
        assert in_flight.submit(new_question(), 0.0) is None
        in_flight.write(wire, new_question(), 0.0)  # who chooses the connection is not limited
        assert len(in_flight) == 3

    def test_none_is_ready_twice(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        in_flight.set_ready(wire, True)
        assert in_flight.ready_wires == [wire]
        in_flight.set_ready(wire, False)
        in_flight.set_ready(wire, False)
        assert in_flight.ready_wires == []
        assert in_flight.submit(new_question(), 0.0) is None

    def test_it_tells_when_it_was_asked_and_heard(self) -> None:
        """`asked_at` is that of the first question that nothing came after."""
        in_flight = InFlight()
        wire = new_wire(in_flight)
        assert (wire.asked_at, wire.heard_at) == (None, None)
        first = asked(in_flight, now=1.0)
        asked(in_flight, now=2.0)
        assert wire.asked_at == 1.0
        in_flight.received(wire, build_answer(first.msgid)[:7], 3.0)
        assert (wire.asked_at, wire.heard_at) == (None, 3.0)
        asked(in_flight, now=4.0)
        assert wire.asked_at == 4.0

    def test_what_is_no_diameter_is_not_heard(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        asked(in_flight, now=1.0)
        assert in_flight.received(wire, b"HTTP/1.1 400 Bad Request\r\n", 2.0) == []
        assert wire.fault is not None
        assert (wire.asked_at, wire.heard_at) == (1.0, None)
        assert in_flight.received(wire, build_answer(1), 2.0) == []

    def test_bytes_of_others_go_between_questions(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        question = asked(in_flight)
        wire.append(b"x" * 20_000)
        data = wire.take_unsent()
        assert (len(data) - 20_000, data[-20_000:]) == (len(data.rstrip(b"x")), b"x" * 20_000)
        assert (wire.unsent, wire.under_way, len(in_flight)) == (0, 1, 1)
        assert in_flight.forget(question)

    def test_a_wire_has_a_mebibyte_to_send_at_most(self) -> None:
        """With one more question, which has at most as many bytes as an answer may."""
        assert Wire(65_536).room == (1 << 20) - 65_536
        assert Wire(1 << 20).room == 1


class TestAnswers:
    def test_whole_and_several_in_one_read(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        questions = [asked(in_flight) for _ in range(3)]
        data = b"".join(
            build_answer(q.msgid, code) for q, code in zip(questions, (2001, 5003, 2001), strict=True)
        )
        found = in_flight.received(wire, data, 1.0)
        assert [question for question, _ in found] == questions
        assert [answer.verdict for _, answer in found] == [Verdict.SUCCESS, Verdict.REJECTED, Verdict.SUCCESS]
        assert (in_flight.answered, in_flight.answered_deadline) == (3, 5.0)

    @pytest.mark.parametrize("piece", [1, 3, 19, 20, 21, 50, 100])
    def test_in_pieces(self, piece: int) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        questions = [asked(in_flight) for _ in range(5)]
        data = b"".join(build_answer(question.msgid) for question in questions)
        found = []
        for at in range(0, len(data), piece):
            found += in_flight.received(wire, bytearray(data[at : at + piece]), 0.0)
        assert [question for question, _ in found] == questions
        assert wire.pending == 0

    def test_on_another_connection(self) -> None:
        """The original DISC answers on a connection that was opened after the question was sent."""
        in_flight = InFlight()
        first = new_wire(in_flight)
        question = asked(in_flight)
        second = new_wire(in_flight)
        assert in_flight.received(second, build_answer(question.msgid), 1.0)[0][0] is question
        assert question.connection is first
        assert (first.under_way, second.under_way, second.heard_at) == (0, 0, 1.0)

    def test_late_and_unknown(self) -> None:
        """Late is an answer to a question that ended without one; a second answer to one is unknown."""
        in_flight = InFlight()
        wire = new_wire(in_flight)
        given_up, expired, forgotten, answered = (asked(in_flight, float(n)) for n in (1, 0, 2, 3))
        in_flight.give_up(given_up)
        assert in_flight.take_expired(0.5) is expired
        in_flight.forget(forgotten)
        for question in (given_up, expired, forgotten, answered, given_up, answered):
            in_flight.received(wire, build_answer(question.msgid), 0.0)
        assert (in_flight.late, in_flight.unknown, in_flight.answered) == (2, 3, 1)

    def test_a_question_answers_nothing(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        question = asked(in_flight)
        assert in_flight.received(wire, aa_request(number=question.msgid), 0.0) == []
        assert (in_flight.unknown, len(in_flight)) == (1, 1)

    def test_received_on_takes_the_questions_of_its_connection_and_no_other(self) -> None:
        """A thread that has a connection for itself would lose an answer to another thread's question."""
        in_flight = InFlight(most=1)
        wires = [new_wire(in_flight), new_wire(in_flight)]
        other, mine = asked(in_flight), asked(in_flight)
        data = build_answer(other.msgid) + build_answer(mine.msgid, 5003)
        assert in_flight.received_on(mine.connection, data[:-1], 0.0) == []
        [(question, answer)] = in_flight.received_on(mine.connection, data[-1:], 0.0)
        assert question is mine
        assert answer.verdict is Verdict.REJECTED
        assert (in_flight.unknown, len(in_flight)) == (1, 1)
        assert sorted(wire.under_way for wire in wires) == [0, 1]

    def test_a_late_answer_is_recognized_among_the_last_10_000(self) -> None:
        in_flight = InFlight(most=1 << 20)
        wire = new_wire(in_flight)
        questions = [asked(in_flight) for _ in range(10_001)]
        assert in_flight.take_back(wire) == questions
        for question in questions[:2]:
            in_flight.received(wire, build_answer(question.msgid), 0.0)
        assert (in_flight.unknown, in_flight.late) == (1, 1)


class TestEnds:
    def test_take_back_gives_up_those_of_one_connection(self) -> None:
        in_flight = InFlight()
        first, second = new_wire(in_flight), new_wire(in_flight)
        questions = [asked(in_flight, float(5 - n)) for n in range(4)]
        of_first = [question for question in questions if question.connection is first]
        assert in_flight.take_back(first) == sorted(of_first, key=lambda question: question.deadline)
        assert (first.under_way, second.under_way, len(in_flight)) == (0, 2, 2)
        assert all(question.connection is None for question in of_first)
        assert in_flight.take_back(first) == []
        in_flight.received(second, build_answer(of_first[0].msgid), 0.0)
        assert in_flight.late == 1

    def test_take_all_leaves_nothing(self) -> None:
        """The connections go next; until then they count the questions as theirs."""
        in_flight = InFlight()
        wire = new_wire(in_flight)
        questions = [asked(in_flight, deadline) for deadline in (2.0, 1.0)]
        assert in_flight.take_all() == questions[::-1]
        assert (len(in_flight), in_flight.deadline, wire.under_way) == (0, None, 2)

    def test_a_question_ends_once(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        question = asked(in_flight)
        assert in_flight.give_up(question)
        assert not in_flight.give_up(question)
        assert not in_flight.forget(question)
        assert in_flight.received(wire, build_answer(question.msgid), 0.0) == []
        assert wire.under_way == 0

    def test_what_is_in_flight_is_not_written_again(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        question = asked(in_flight)
        with pytest.raises(ValueError, match="in flight already"):
            in_flight.write(wire, question, 0.0)
        assert len(in_flight) == wire.under_way == 1

    def test_a_question_from_a_connection_is_not_asked_again(self) -> None:
        (request,) = RequestStream().feed(aa_request())
        with pytest.raises(TypeError, match="came over a connection"):
            InFlight().write(Wire(), request.question, 0.0)

    def test_questions_in_flight_go_with_their_owner(self) -> None:
        in_flight = InFlight()
        wire = new_wire(in_flight)
        question = asked(in_flight)
        del in_flight
        assert question.attempts == 1
        assert InFlight().forget(question) is False
        assert wire.under_way == 1
