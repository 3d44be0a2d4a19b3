"""A telephone in front of a door (`kit.doors`)."""

from __future__ import annotations

from typing import Any

from kit.doors import Door
from kit.uac import Account

import auth_diameter as ad
from auth_diameter import Cause
from auth_diameter.lab.uac import parse_reply

HERE = ("192.0.2.1", 5060)
THERE = ("198.51.100.7", 5060)
ALICE = Account()


class Phone:
    """A telephone behind a door; what it sends comes from `source`."""

    def __init__(self, door: Door, account: Account = ALICE) -> None:
        self.door = door
        self.account = account
        self.source: tuple[str, int] | None = HERE

    def send(self, *headers: tuple[str, str], method: str = "REGISTER", body: bytes = b"") -> ad.Decision:
        head, length, _ = self.account.request(method, *headers).partition(b"Content-Length: ")
        data = head + length + b"%d\r\n\r\n" % len(body) + body
        return self.resend(data, proxy=method != "REGISTER")

    def resend(self, data: bytes, *, proxy: bool = False) -> ad.Decision:
        self.request = ad.SipRequest(data, self.source)
        return self.door.authorize(self.request, proxy=proxy)

    def challenges(self, method: str = "REGISTER") -> list[ad.Challenge]:
        decision = self.send(method=method)
        assert decision.cause is Cause.CHALLENGED, decision
        assert decision.reply is not None
        return parse_reply(decision.reply).challenges()

    def challenge(self, method: str = "REGISTER") -> ad.Challenge:
        return self.challenges(method)[0]

    def answer(self, challenge: ad.Challenge, method: str = "REGISTER", **changes: Any) -> ad.Decision:
        body = changes.pop("sent_body", changes.get("body", b""))
        return self.send(self.account.answer(challenge, method, **changes), method=method, body=body)

    def logs_in(self, **changes: Any) -> bool:
        decision = self.send()
        if decision.cause is not Cause.CHALLENGED:
            return False
        assert decision.reply is not None
        return self.answer(parse_reply(decision.reply).challenges()[0], **changes).authorized


def is_stale(decision: ad.Decision) -> bool:
    """Whether it is a challenge that says that the digest was right (RFC 7616, 3.3)."""
    assert decision.reply is not None
    return decision.cause is Cause.CHALLENGED and parse_reply(decision.reply).challenges()[0].stale
