"""The two decisions: whether DISC must be asked about a request, and what its answer means.

tests/client has all the replies; tests/_core/auth/test_decision.py, who is let in.
"""

from __future__ import annotations

import pytest
from kit.dialect import GROUP_CHECK, MSGID, SERVICE, SERVICE_TYPE, group_question
from kit.dialect import answer as message
from kit.sip import build_credentials, build_request

from auth_diameter import SipRequest
from auth_diameter._core import Answer, Question, Verdict, ask, decode_answer, judge, question_room
from auth_diameter._core.auth.verdict import Part, Service
from auth_diameter.decision import Cause

STALE = b'Digest realm="siphub.net", nonce="n", stale=TRUE'
FRESH = b'Digest realm="siphub.net", nonce="n"'


def request(
    value: str | None = None, method: str = "INVITE", name: str = "Proxy-Authorization", **more
) -> SipRequest:
    extra = () if value is None else (f"{name}: {value}",)
    return SipRequest(build_request(method, extra=extra, **more), ("192.0.2.1", 5060))


def asked(
    value: str | None = None, realm: str | None = "siphub.net", **more
) -> tuple[Question | Cause, str | None]:
    return ask(request(value, **more), realm, True, False, 65_536)


def question(value: str | None = None) -> Question:
    found, _ = asked(value)
    assert isinstance(found, Question)
    return found


class TestAsk:
    @pytest.mark.parametrize("method", ["ACK", "CANCEL"])
    def test_ack_and_cancel_are_never_challenged(self, method: str) -> None:
        """RFC 3261, 22.1: not even with credentials that are malformed, or without a realm."""
        assert asked("Digest x", method=method) == (Cause.BYPASSED, "siphub.net")
        assert asked(realm=None, method=method) == (Cause.BYPASSED, None)

    def test_a_request_without_credentials_asks_for_a_challenge(self) -> None:
        found, realm = asked()
        assert isinstance(found, Question)
        assert (found.credentials, found.realm, realm, found.proxy) == (
            None,
            "siphub.net",
            "siphub.net",
            True,
        )

    def test_credentials_are_those_for_the_realm_and_role(self) -> None:
        found = question(build_credentials())
        assert found.credentials is not None
        assert question(build_credentials(realm="other")).credentials is None
        found, _ = asked(build_credentials(), name="Authorization")
        assert isinstance(found, Question)
        assert found.credentials is None

    @pytest.mark.parametrize(
        ("value", "cause"),
        [
            ("Digest username", Cause.MALFORMED_CREDENTIALS),
            (build_credentials(response="x"), Cause.MALFORMED_RESPONSE),
            (build_credentials(qop="auth"), Cause.MALFORMED_QOP),
        ],
    )
    def test_malformed_credentials(self, value: str, cause: Cause) -> None:
        assert asked(value)[0] is cause

    def test_the_realm_may_be_the_domain_of_the_user(self) -> None:
        """A proxy takes From; a UAS takes To of a REGISTER, which is who registers (RFC 3261, 10.2)."""
        both = {"from_": "<sip:a@from.test>;tag=1", "to": "<sip:b@to.test>"}
        for method, proxy, realm in (
            ("INVITE", True, "from.test"),
            ("REGISTER", True, "from.test"),
            ("INVITE", False, "from.test"),
            ("REGISTER", False, "to.test"),
        ):
            found, used = ask(request(method=method, **both), "", proxy, False, 65_536)
            assert isinstance(found, Question)
            assert found.realm == used == realm

    @pytest.mark.parametrize(
        ("more", "realm"),
        [
            ({}, None),
            ({"from_": None}, "siphub.net"),
            ({"from_": None}, ""),
            ({"from_": "<tel:+1>;tag=1"}, ""),
            ({"method": "REGISTER", "to": "<tel:+1>"}, "siphub.net"),
        ],
    )
    def test_no_identity(self, more: dict[str, str | None], realm: str | None) -> None:
        assert asked(realm=realm, **more)[0] is Cause.NO_IDENTITY

    def test_from_needs_no_host_where_the_realm_is_known(self) -> None:
        assert isinstance(asked(from_="<tel:+1>;tag=1")[0], Question)

    def test_a_question_has_at_most_so_many_bytes(self) -> None:
        size = question_room(question())
        assert isinstance(ask(request(), "siphub.net", True, False, size)[0], Question)
        assert ask(request(), "siphub.net", True, False, size - 1)[0] is Cause.TOO_LARGE


CREDENTIALS = build_credentials()
OTHER_QOP = build_credentials(qop="x", nc="00000001", cnonce="c")


class TestJudge:
    @pytest.mark.parametrize(
        ("value", "answer", "cause", "wrong"),
        [
            (CREDENTIALS, Answer(Verdict.SUCCESS), Cause.AUTHORIZED, False),
            (CREDENTIALS, Answer(Verdict.SUCCESS, service=Service.AUTHENTICATION), Cause.AUTHORIZED, False),
            (CREDENTIALS, Answer(Verdict.SUCCESS, service=Service.GROUP_CHECK), Cause.DISC_UNUSABLE, False),
            (None, Answer(Verdict.SUCCESS), Cause.UNASKED_SUCCESS, False),
            (None, Answer(Verdict.CHALLENGE, challenges=(FRESH,)), Cause.CHALLENGED, False),
            (CREDENTIALS, Answer(Verdict.CHALLENGE, challenges=(FRESH, STALE)), Cause.CHALLENGED, False),
            (CREDENTIALS, Answer(Verdict.CHALLENGE, challenges=(FRESH,)), Cause.RECHALLENGED, True),
            (CREDENTIALS, Answer(Verdict.CHALLENGE), Cause.DISC_UNUSABLE, False),
            (None, Answer(Verdict.REJECTED), Cause.REALM_NOT_SERVED, False),
            (None, Answer(Verdict.DENIED), Cause.FORBIDDEN, True),
            (CREDENTIALS, Answer(Verdict.REJECTED), Cause.FORBIDDEN, True),
            (CREDENTIALS, Answer(Verdict.REJECTED, refused=Part.SOURCE), Cause.PENALIZED, False),
            (CREDENTIALS, Answer(Verdict.REJECTED, refused=Part.QOP), Cause.FORBIDDEN, False),
            (build_credentials(algorithm="X"), Answer(Verdict.REJECTED), Cause.UNKNOWN_ALGORITHM, True),
            (OTHER_QOP, Answer(Verdict.REJECTED), Cause.UNKNOWN_QOP, True),
            (CREDENTIALS, Answer(Verdict.FAILURE), Cause.DISC_REFUSED, False),
        ],
    )
    def test_authentication(self, value: str | None, answer: Answer, cause: Cause, wrong: bool) -> None:
        """`wrong`: whether it counts as a guess of the password."""
        assert judge(question(value), answer) == (cause, wrong)

    @pytest.mark.parametrize(
        ("answer", "cause"),
        [
            (Answer(Verdict.SUCCESS), Cause.MEMBER),
            (Answer(Verdict.SUCCESS, service=Service.AUTHENTICATION), Cause.DISC_UNUSABLE),
            (Answer(Verdict.DENIED), Cause.NOT_MEMBER),
            (Answer(Verdict.REJECTED), Cause.NOT_MEMBER),
            (Answer(Verdict.FAILURE), Cause.DISC_REFUSED),
        ],
    )
    def test_group_checks(self, answer: Answer, cause: Cause) -> None:
        assert judge(group_question(), answer) == (cause, False)

    def test_an_answer_with_a_fault(self) -> None:
        """Without a Result-Code; what else it says does not matter."""
        for one in (question(CREDENTIALS), group_question()):
            for service in (SERVICE, (SERVICE_TYPE, GROUP_CHECK)):
                assert judge(one, decode_answer(message(MSGID, service))) == (Cause.DISC_UNUSABLE, False)
