"""Questions of an Authorizer, answers to them, and what a refusal must be."""

from __future__ import annotations

import pytest
from kit.disc import CHALLENGE_VALUE
from kit.sip import build_credentials, build_request, parse_reply
from kit.wire import (
    SIP_MSGID,
    USER_NAME,
    build_answer,
)

from auth_diameter import Config, Decision, Message
from auth_diameter._core import Question, append_question, decode_answer
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause

AUTHORIZER = Authorizer(Config())
BOTH = pytest.mark.parametrize("proxy", [False, True], ids=["www", "proxy"])
REASONS = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    407: "Proxy Authentication Required",
    500: "Server Internal Error",
    503: "Service Unavailable",
}


def authorize(request, realm="siphub.net", proxy=False, authorizer=AUTHORIZER, now=0.0):
    function = authorizer.proxy_authorize if proxy else authorizer.www_authorize
    return function(request, realm, now)


def with_credentials(proxy=False, value=None, **more):
    name = "Proxy-Authorization" if proxy else "Authorization"
    return build_request(extra=(f"{name}: {value or build_credentials()}",), **more)


def asked(question):
    """The question as DISC would read it: a dict of AVP code to data, in the order of the wire."""
    assert isinstance(question, Question), question
    out = bytearray()
    append_question(out, question, 0x01020304)
    message = Message.decode(bytes(out))
    assert (message.command, message.application_id, message.flags) == (265, 1, 0x80)
    assert message.hop_by_hop == 0x01020304
    found = {avp.code: bytes(avp.data) for avp in message.avps}
    assert len(found) == len(message.avps), "an AVP twice"
    assert [avp.flags for avp in message.avps if avp.code != SIP_MSGID].count(0x40) == len(found) - 1
    assert b"\0" not in found[USER_NAME]
    return found


def refused(decision, status, cause, return_code, proxy=False):
    """A refusal: false, with the whole reply."""
    assert isinstance(decision, Decision)
    assert not decision
    assert not decision.authorized
    assert (decision.status, decision.cause, decision.return_code) == (status, cause, return_code)
    sent_status, reason, headers = parse_reply(decision.reply)
    assert (sent_status, reason) == (status, REASONS[status])
    names = [name for name, _ in headers]
    extra = {401: ["WWW-Authenticate"], 407: ["Proxy-Authenticate"], 503: ["Retry-After"]}
    known = ["Via", "From", "To", "Call-ID", "CSeq", *extra.get(status, []), "Content-Length"]
    assert [name for name in names if name not in known] == []
    for name, value in decision.headers:
        assert (name, value) in headers
    return dict(headers)


def answered(question, *args, **kwargs):
    return AUTHORIZER.conclude(question, decode_answer(build_answer(1, *args, **kwargs)), 0.0)


CODES = [None, 0, 1001, 2001, 2002, 2999, 3002, 3007, 4001, 4002, 5001, 5003, 5012, 0x7D10000, 0xFFFFFFFF]
CHALLENGES = [None, CHALLENGE_VALUE + b"\r\n", b"Basic realm=x"]
FAILURES = [Cause.DISC_TIMEOUT, Cause.DISC_LOST, Cause.DISC_UNREACHABLE, Cause.OVERLOADED]
