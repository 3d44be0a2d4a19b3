"""Who is let in: the one rule, case by case, and what then stands on the request."""

from __future__ import annotations

import pickle

import pytest
from kit.dialect import (
    GROUP_CHECK,
    MSGID,
    REJECTED,
    SERVICE,
    SERVICE_TYPE,
    SUCCESS,
    VALUE,
    answer,
    ask,
    group_question,
    sip,
)

from auth_diameter import _core as core
from auth_diameter._core import (
    Answer,
    Decision,
    Question,
    Verdict,
    authentication,
    decode_answer,
    mark_authorized,
)
from auth_diameter.decision import Cause

HASHED = (
    'Digest username="2ab3c1b2fdd1bca0e8d36bbbd20e01a", realm="siphub.net", nonce="n", uri="sip:siphub.net", '
    'response="00000000000000000000000000000000", userhash=true'
)
RIGHT = HASHED.replace(", userhash=true", "").replace("2ab3c1b2fdd1bca0e8d36bbbd20e01a", "alice")


def lets_in(question: Question, *avps: tuple[int, bytes]) -> bool:
    """Whether an answer of these AVPs lets the question's request in."""
    cause, _ = core.judge(question, decode_answer(answer(MSGID, *avps)))
    return cause in (Cause.AUTHORIZED, Cause.MEMBER)


def with_credentials(value: str = RIGHT) -> Question:
    return ask(sip(credentials=value), with_credentials=True)


def test_right_credentials_are_let_in_and_so_is_a_member() -> None:
    assert lets_in(with_credentials(), SUCCESS, SERVICE)
    assert lets_in(group_question(), SUCCESS, (SERVICE_TYPE, GROUP_CHECK))


def test_an_answer_need_not_name_its_service() -> None:
    assert lets_in(with_credentials(), SUCCESS)
    assert lets_in(group_question(), SUCCESS)


def test_a_success_of_another_service_answers_another_question() -> None:
    assert not lets_in(with_credentials(), SUCCESS, (SERVICE_TYPE, GROUP_CHECK))
    assert not lets_in(group_question(), SUCCESS, SERVICE)
    assert not lets_in(with_credentials(), SUCCESS, (SERVICE_TYPE, b"9"))


def test_a_success_without_credentials_lets_nobody_in() -> None:
    """The C module let one in: nothing was there to be right."""
    assert not lets_in(ask(sip()), SUCCESS, SERVICE)


@pytest.mark.parametrize("verdict", [verdict for verdict in Verdict if verdict is not Verdict.SUCCESS])
def test_no_other_verdict_lets_in(verdict: Verdict) -> None:
    for question in (with_credentials(), group_question()):
        cause, _ = core.judge(question, Answer(verdict))
        assert cause not in (Cause.AUTHORIZED, Cause.MEMBER)


def test_an_answer_that_cannot_be_used_lets_nobody_in() -> None:
    """Here two Result-Codes, of which one is a success."""
    assert not lets_in(with_credentials(), SUCCESS, REJECTED, SERVICE)
    assert not lets_in(with_credentials(), REJECTED, SUCCESS, SERVICE)


def test_an_answer_without_result_code_lets_nobody_in() -> None:
    assert not lets_in(with_credentials(), SERVICE)


@pytest.mark.parametrize("proxy", [False, True])
def test_the_credentials_are_marked_on_the_request(proxy: bool) -> None:
    request = sip(credentials=RIGHT)
    credentials = request.credentials("siphub.net")
    question = authentication(request, "siphub.net", credentials, proxy)
    assert mark_authorized(question, Answer(Verdict.SUCCESS)) == "alice"
    assert request.authorized is credentials
    other = sip(credentials=RIGHT).credentials("siphub.net")
    assert other is not None
    request.mark_authorized(other, proxy=not proxy)
    # Those of Authorization come first.
    assert request.authorized is (other if proxy else credentials)


def test_the_name_behind_a_hashed_username_is_that_of_the_answer() -> None:
    """RFC 7616, 3.4.4: the credentials hold only its hash."""
    question = with_credentials(HASHED)
    assert mark_authorized(question, Answer(Verdict.SUCCESS, user_name=b"alice")) == "alice"
    assert question.request.authorized_username == "alice"


def test_a_name_that_nobody_asked_for_changes_nothing() -> None:
    question = with_credentials()
    assert mark_authorized(question, Answer(Verdict.SUCCESS, user_name=b"mallory")) == "alice"
    assert question.request.authorized_username == "alice"


def test_a_decision_is_true_only_for_return_code_1() -> None:
    for code in (-5, -1, 0, 2):
        decision = Decision(code, Cause.FORBIDDEN)
        assert not decision
        assert not decision.authorized
    assert Decision(1, Cause.AUTHORIZED)
    assert Decision(1, Cause.AUTHORIZED).authorized


def test_a_decision_goes_to_another_process() -> None:
    decision = Decision(-5, Cause.CHALLENGED, 401, b"reply", "alice", "siphub.net", (("A", VALUE.decode()),))
    copy = pickle.loads(pickle.dumps(decision))
    assert repr(copy) == repr(decision)
    assert (copy.reply, copy.headers) == (decision.reply, decision.headers)
