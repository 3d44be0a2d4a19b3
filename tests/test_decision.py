"""The table of causes: each has its status, its return code and its reason phrase, and has them once."""

from __future__ import annotations

import pytest
from kit.sip import REGISTER

from auth_diameter import Cause, SipRequest
from auth_diameter._core.auth.causes import CHALLENGE
from auth_diameter.decision import PROXY, REASONS, RULINGS, UAS, refuse

REFUSALS = [cause for cause in Cause if RULINGS[cause].status]


def test_every_cause_has_a_ruling() -> None:
    assert set(RULINGS) == set(Cause)


def test_what_is_let_through_alone_has_return_code_1() -> None:
    """OpenSER's script goes on for 1, and stops for 0 or less."""
    let_through = {cause for cause, ruling in RULINGS.items() if ruling.return_code == 1}
    assert let_through == {Cause.AUTHORIZED, Cause.MEMBER, Cause.BYPASSED}
    assert {cause for cause, ruling in RULINGS.items() if ruling.group_code == 1} == {Cause.MEMBER}
    assert all(RULINGS[cause].status is None for cause in let_through)


def test_every_status_has_a_reason_phrase() -> None:
    """RFC 3261, 21."""
    statuses = {ruling.status for ruling in RULINGS.values()} | {UAS.status, PROXY.status}
    assert statuses - {None, CHALLENGE} <= set(REASONS)


@pytest.mark.parametrize("cause", REFUSALS, ids=lambda cause: cause.name)
def test_a_refusal_is_what_the_table_says(cause: Cause) -> None:
    ruling = RULINGS[cause]
    decision = refuse(SipRequest(REGISTER, ("192.0.2.1", 5060)), cause)
    assert (decision.cause, decision.status, decision.return_code) == (
        cause,
        ruling.status,
        ruling.return_code,
    )
    assert decision.reply.startswith(f"SIP/2.0 {ruling.status} {REASONS[ruling.status]}\r\n".encode())


def test_a_challenge_has_the_status_of_who_authenticates() -> None:
    """RFC 3261, 22.2 and 22.3."""
    for role, line in (
        (UAS, b"SIP/2.0 401 Unauthorized"),
        (PROXY, b"SIP/2.0 407 Proxy Authentication Required"),
    ):
        decision = refuse(SipRequest(REGISTER, ("192.0.2.1", 5060)), Cause.CHALLENGED, role.status)
        assert decision.reply.startswith(line)
