"""A question as a value: the same whether it was made from a SIP request or read from a message."""

from __future__ import annotations

import pytest
from kit.dialect import ask, group_question, received, sip, wire
from kit.sip import REGISTER, SOURCE

from auth_diameter._core import Question, Service, SipRequest, authentication

RIGHT = (
    'Digest username="alice", realm="siphub.net", nonce="n", uri="sip:siphub.net", '
    'response="00000000000000000000000000000000"'
)


@pytest.mark.parametrize(
    "question",
    [
        ask(sip()),
        ask(sip("INVITE")),
        ask(sip(uri="sip:b@siphub.net:5070", credentials=RIGHT), with_credentials=True),
        group_question(),
    ],
    ids=["register", "invite", "with credentials", "group check"],
)
def test_what_arrives_is_what_was_asked(question: Question) -> None:
    there = received(wire(question)).question
    assert there.request is None
    for name in ("service", "is_group_check", "realm", "group"):
        assert getattr(there, name) == getattr(question, name), name
    if not question.is_group_check:
        assert there.resource == question.resource
    if question.credentials is not None:
        assert there.credentials is not None
        assert there.credentials.value == question.credentials.value
        assert there.method == question.method
    else:
        assert there.credentials is None
        assert there.user_name == question.user_name


def test_the_source_is_told_only_if_asked_to() -> None:
    request = sip()
    assert received(wire(authentication(request, "siphub.net", None, False, True))).question.source == ""
    request = SipRequest(REGISTER, SOURCE)
    told = authentication(request, "siphub.net", None, False, True)
    kept = authentication(request, "siphub.net", None, False)
    assert told.source == kept.source == SOURCE[0]
    assert received(wire(told)).question.source == SOURCE[0]
    assert received(wire(kept)).question.source == ""


def test_the_user_of_a_register_is_that_of_to_and_else_that_of_from() -> None:
    """RFC 3261, 10.2."""
    assert ask(sip("REGISTER")).user_name == "bob@siphub.net"
    assert ask(sip("INVITE")).user_name == "alice@siphub.net"


def test_a_question_is_made_by_its_two_functions_alone() -> None:
    with pytest.raises(TypeError, match="authentication"):
        Question()
    assert ask(sip()).service is Service.AUTHENTICATION
    assert group_question().service is Service.GROUP_CHECK
