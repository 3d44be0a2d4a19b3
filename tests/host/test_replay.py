"""The default route, compiled: it replies as a route script of the object API does, and as version 0.2.0 did.

Every datagram of `datagrams` is played with every answer of DISC that matters to it, from an IPv4 and from
an IPv6 source, and comes again as a retransmission. The compiled way and the objects must agree in each byte:
in the reply, in the question to DISC, and in what is logged. Version 0.2.0 is compared by its recorded
replies. Where today's are others on purpose, a rule below says how and why, and `TOUCHED` how often.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
from host.datagrams import ANSWERS, TORTURE, datagrams
from host.recorded import NONE, Parts, key_of, parts_of, read_recorded
from host.replaying import Address, Played, Replaying, stopped_clock
from hostile.corpora import diameter_malformed
from kit.sip import REGISTER, build_credentials, changed, with_line

from auth_diameter import Cause, Message, ParseError, SipRequest

SOURCES: tuple[Address, Address] = (("192.0.2.1", 5060), ("2001:db8::7", 5060, 0, 0))
BODY_HASH = 112
CALL_ID = b"a84b4c76e66710"  # of REGISTER
LOGGED = 64  # characters of an account that a line of the log shows
RECORDED = read_recorded()

# Datagrams that were added after the recording: the compiled way and the objects are compared, and no more.
UNRECORDED = 0


def agree(path: Played, script: Played) -> None:
    """The compiled way did what the objects do."""
    assert path.replies == script.replies
    assert path.questions == script.questions
    assert path.oversize == script.oversize
    assert logged(path) == logged(script)


def logged(played: Played) -> list[tuple[str, str, str]]:
    return [(account[:LOGGED], source, cause) for account, source, cause in played.notes]


def repeats_itself(played: Played) -> None:
    """RFC 3261, 17.2.2: a retransmission gets the reply as soon as there is one; DISC is asked once."""
    assert len(played.questions) <= 1
    assert len(played.replies) in (0, 2)
    assert len(set(played.replies)) <= 1


# ------------------------------------------------------------------ what version 0.2.0 did otherwise

_BAD_REQUEST = "SIP/2.0 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
_TOO_SHORT = "SIP/2.0 400 Request Too Short For Its Reply\r\nContent-Length: 0\r\n\r\n"
_END = "Content-Length: 0\r\n\r\n"


def _each(text: str) -> list[str]:
    return [f"{method} {text}" for method in ("REGISTER", "INVITE", "BYE")]


def _both(*names: str) -> list[str]:
    return [f"{method}{name}" for name in names for method in ("register", "invite")]


def _damaged(*numbers: int) -> list[str]:
    return [f"damage {n}" for n in numbers]


# Requests that are read otherwise than by 0.2.0, which mostly refused them with a 400. They get what another
# datagram got from 0.2.0: that of their method with good credentials, or with none.
_NO_CREDENTIALS, _PLAIN, _QOP = "method {}", "{} with rfc 2069", "{} with qop"
_READ_OTHERWISE: dict[str, tuple[str, list[str]]] = {
    # An IMS telephone's first REGISTER: 3GPP TS 24.229, 5.1.1.2.
    "they answer no challenge": (
        _NO_CREDENTIALS,
        [
            *_each("with ims"),
            *_each("with empty nonce"),
            *_both(" missing_nonce", " missing_response", " resp_0"),
            *_damaged(37, 331, 453, 646, 694),
        ],
    ),
    "of another realm, and malformed": (_NO_CREDENTIALS, _damaged(313, 569, 772)),
    "good ones beside malformed ones": (
        _QOP,
        [
            *_each("with other realm malformed"),
            *_each("with ours malformed before ours"),
            *_damaged(267),
        ],
    ),
    "an empty qop is none": (_PLAIN, _each("with empty qop")),
    "a colon in a display name without quotes": (_NO_CREDENTIALS, _damaged(192, 766)),
    "a raw # in the user part": (_NO_CREDENTIALS, _both(", from: a hash", ", to: a hash")),
    "a raw # in the user part, with credentials": (_QOP, ["login, from: a hash", "login, to: a hash"]),
}
_READ_AS = {name: model for model, names in _READ_OTHERWISE.values() for name in names}


def _of_0_2_0(name: str, data: bytes, answer: str, ip: int) -> tuple[Parts, str]:
    """What 0.2.0 replied to a datagram, or to the one whose replies it gets now; and the rule, or ""."""
    recorded = RECORDED[key_of(data)]
    own, rule = recorded.own[ip][answer], ""
    if name in _READ_AS:
        model = datagrams()[_READ_AS[name].format(data.split()[0].decode())]
        taken = RECORDED[key_of(model)].own[ip][answer]
        if taken != own:
            own, rule = taken, "read otherwise"
    return Parts(recorded.copies[ip] if own else NONE, own), rule


def _rule_for(before: str, now: str, data: bytes, size: int, answer: str) -> str:
    """The name of the rule by which a reply's own part may be another one than before; "": by none."""
    if before.startswith("SIP/2.0 200 ") and data.lstrip(b"\r\n").startswith(b"REGISTER "):
        # The 200 to a REGISTER has its Contacts now (RFC 3261, 10.3, step 8), and a malformed one gets a 400.
        lines = now.split("\r\n")
        if "\r\n".join(line for line in lines if not line.startswith("Contact: ")) == before:
            return "Contacts"
        if now == _BAD_REQUEST:
            with pytest.raises(ParseError):
                SipRequest(data).contact_headers()
            return "malformed Contacts"
    if before == _TOO_SHORT:
        # As many challenges are sent now as fit into twice the request; a reply with one may have 512 bytes.
        method = "register" if now.startswith("SIP/2.0 401 ") else "invite"
        model = datagrams()[f"{method}, a header of 5,000 bytes"]
        whole = RECORDED[key_of(model)].own[0][answer]
        sent = now.removesuffix(_END)
        if whole.startswith(sent) and sent.count("Digest ") == 1 and size <= max(512, 2 * len(data)):
            return "one challenge"
        if whole.startswith(sent) and sent.count("Digest ") > 1 and size <= 2 * len(data):
            return "fewer challenges"
    return ""


# ------------------------------------------------------------------ what is odd

_AT_ONCE = {
    Cause.NO_IDENTITY,
    Cause.MALFORMED_CREDENTIALS,
    Cause.MALFORMED_QOP,
    Cause.MALFORMED_RESPONSE,
    Cause.TOO_LARGE,
}
_FAILURES = {Cause.DISC_REFUSED, Cause.DISC_UNUSABLE, Cause.UNASKED_SUCCESS, Cause.DISC_TIMEOUT}
_SELDOM = {"right, with Authentication-Info"}


def why_odd(answer: str, script: Played) -> str:
    """Why the compiled way leaves a datagram to Python; "": it does not."""
    decision = script.decision
    if decision is None:
        return "no request"
    if decision.cause in _AT_ONCE:
        return "refused at once"
    if script.questions and Message.decode(script.questions[0]).find(BODY_HASH) is not None:
        return "auth-int"
    if script.questions and answer in _SELDOM:
        return "a seldom answer"
    if decision.cause in _FAILURES:
        return "DISC fails"
    if script.oversize:
        return "too large a reply"
    if decision and script.reply is not None and script.reply[0].startswith(b"SIP/2.0 400 "):
        return "malformed Contacts"
    return ""


# ------------------------------------------------------------------ the tests


# For each answer of DISC, the number of datagrams that each rule is about.
_ALL = {"read otherwise": 35}
_RIGHT = {"read otherwise": 38, "Contacts": 104, "malformed Contacts": 12}
TOUCHED: dict[str, dict[str, int]] = dict.fromkeys(ANSWERS, _ALL) | {
    "right": _RIGHT,
    "right, with Authentication-Info": _RIGHT,
    "right, with the name": _RIGHT,
    "challenge": {"read otherwise": 35, "one challenge": 50},
    "three challenges": {"read otherwise": 38, "one challenge": 121, "fewer challenges": 249},
    "stale": {"read otherwise": 35, "one challenge": 63},
    "a challenge of 250 bytes": {"read otherwise": 38, "one challenge": 96},
    "a long challenge": {"read otherwise": 36, "one challenge": 15},
}


_FOR_ALL = ("right", "silence")


def _was_asked_about(data: bytes) -> bool:
    """Whether what 0.2.0 replied depends on DISC's answer; if not, two answers are enough to play."""
    recorded = RECORDED.get(key_of(data))
    return recorded is None or len(set(recorded.own[0].values())) > 1


async def play_all(
    answer: str, sources: tuple[Address, ...], compare: Callable[..., None], **settings: Any
) -> None:
    """Plays all datagrams on the compiled way and by objects, and has each compared."""
    async with (
        Replaying(ANSWERS[answer], by_script=False, **settings) as path,
        Replaying(ANSWERS[answer], by_script=True, **settings) as script,
    ):
        with stopped_clock():
            for number, (name, data) in enumerate(datagrams().items()):
                if answer not in _FOR_ALL and name not in _READ_AS and not _was_asked_about(data):
                    continue
                for source in sources:
                    played = [await host.play(data, source, number) for host in (path, script)]
                    try:
                        agree(*played)
                        repeats_itself(played[0])
                        compare(name, data, source, *played)
                    except AssertionError as error:
                        error.add_note(f"{name}, from {source}: {data[:2000]!r}")
                        error.add_note("\n".join(map(repr, played)))
                        raise
        assert path.auth.counts == script.auth.counts


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_compiled_way_the_objects_and_version_0_2_0_reply_the_same(answer: str) -> None:
    touched: dict[str, set[str]] = {}
    unrecorded: set[str] = set()

    def compare(name: str, data: bytes, source: Address, path: Played, script: Played) -> None:
        assert bool(path.odd) == bool(why_odd(answer, script))
        if key_of(data) not in RECORDED:
            unrecorded.add(name)
            return
        before, rule = _of_0_2_0(name, data, answer, SOURCES.index(source))
        now = parts_of(path.reply)
        rules = {rule}
        if now.own != before.own:
            size = len(path.reply[0]) if path.reply is not None else 0
            rules.add(_rule_for(before.own, now.own, data, size, answer) or "none")
        assert "none" not in rules, (before, now)
        assert now.copy == before.copy
        if not name.startswith(TORTURE):
            for rule in rules - {""}:
                touched.setdefault(rule, set()).add(name)

    asyncio.run(play_all(answer, SOURCES, compare, penalty=False))
    assert {rule: len(names) for rule, names in touched.items()} == TOUCHED[answer], touched
    assert len(unrecorded) == UNRECORDED, unrecorded


def test_all_that_was_recorded_is_played() -> None:
    """But for the torture tests, where they are not at hand."""
    played = {key_of(data) for data in datagrams().values()}
    left = {recorded.name for key, recorded in RECORDED.items() if key not in played}
    assert not [name for name in left if not name.startswith(TORTURE)]


def test_with_penalties_too_the_compiled_way_does_what_the_objects_do() -> None:
    """The limits of users and of sources are reached; a refusal because of them needs no Python."""
    refused = 0

    def compare(name: str, data: bytes, source: Address, path: Played, script: Played) -> None:
        nonlocal refused
        if script.decision is not None and script.decision.cause is Cause.PENALIZED:
            refused += 1
            assert not path.questions
            assert not path.odd or b"auth-int" in data

    for answer in ("wrong", "challenge"):
        asyncio.run(play_all(answer, SOURCES, compare))
    assert refused > 100


@pytest.mark.parametrize("realm", ["", "$td", "$rd", "$od", "siphub.net", "x$fd", "jäs.on"])
def test_other_realms(realm: str) -> None:
    asyncio.run(play_all("right", SOURCES[:1], lambda *_: None, penalty=False, realm=realm))


def test_other_limits() -> None:
    settings: Any = {"max_sip_message": 700, "max_sip_headers": 10, "max_diameter_message": 400}
    asyncio.run(play_all("right", SOURCES[:1], lambda *_: None, tell_source=False, **settings))


def _damaged_answers() -> list[bytes]:
    chance = random.Random(6733).random
    found = []
    for answer in filter(None, ANSWERS.values()):
        for _ in range(25):
            at = int(chance() * len(answer))
            found.append(answer[:at] + bytes([int(chance() * 256)]) + answer[at + 1 + int(chance() * 1.2) :])
    return found


def test_malformed_answers() -> None:
    """Malformed Diameter messages, and answers with random damage; what breaks the connection is its last."""
    answers = [*diameter_malformed().values(), *_damaged_answers()]
    requests = [REGISTER, _login(), REGISTER.replace(b"REGISTER", b"INVITE")]
    settings: Any = {"penalty": False}
    number = itertools.count()

    async def scenario() -> None:
        async with (
            Replaying(None, by_script=False, **settings) as path,
            Replaying(None, by_script=True, **settings) as script,
        ):
            with stopped_clock():
                while answers and path.is_connected:
                    path.answer = script.answer = answers.pop()
                    for request in requests:
                        n = next(number)
                        data = changed(CALL_ID, b"%d" % n, request)
                        played = [await host.play(data, SOURCES[0], n) for host in (path, script)]
                        check(path.answer, *played)

    def check(answer: bytes | None, path: Played, script: Played) -> None:
        try:
            agree(path, script)
            repeats_itself(path)
        except AssertionError as error:
            error.add_note(repr(answer))
            raise

    while answers:
        asyncio.run(scenario())
    assert next(number) == 3 * (len(diameter_malformed()) + len(_damaged_answers()))


@pytest.mark.parametrize("answer", ["right", "wrong", "challenge", "held back", "silence"])
def test_attempts_that_come_at_once(answer: str) -> None:
    """Some of them are held until the verdict on those before them, then asked or refused."""
    attempts = [changed(CALL_ID, b"%d" % n, _login()) for n in range(60)]

    async def play(*, by_script: bool) -> tuple[Any, Any]:
        async with Replaying(ANSWERS[answer], by_script=by_script) as host:
            with stopped_clock():
                replies = await host.play_at_once(attempts, SOURCES[0])
            return replies, host.auth.counts

    replies, counts = asyncio.run(play(by_script=False))
    assert len(replies) == len(attempts)
    assert (replies, counts) == asyncio.run(play(by_script=True))


def _login(**more: str) -> bytes:
    return with_line(b"Authorization: " + build_credentials(**more).encode())


PLAIN: dict[str, tuple[str, bytes, int]] = {
    "right": ("right", _login(), 200),
    "right, with a Contact": ("right", with_line(b"Contact: <sip:alice@192.0.2.1>", _login()), 200),
    "wrong": ("wrong", _login(), 403),
    "challenge": ("challenge", REGISTER, 401),
    "challenge of a call": ("challenge", REGISTER.replace(b"REGISTER", b"INVITE"), 407),
    "stale": ("stale", _login(), 401),
    "three challenges": ("three challenges", with_line(b"X: " + b"a" * 400), 401),
    "fewer challenges than DISC sent": ("three challenges", REGISTER, 401),
    "SHA-256": ("right", _login(algorithm="SHA-256", response="0" * 64), 200),
    "userhash=false": ("right", _login(userhash="false"), 200),
    "cancel": ("silence", REGISTER.replace(b"REGISTER", b"CANCEL"), 200),
}


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_usual_needs_no_python(name: str) -> None:
    answer, data, status = PLAIN[name]

    async def scenario() -> None:
        async with Replaying(ANSWERS[answer], by_script=False) as host:
            for source in SOURCES:
                played = await host.play(data, source)
                assert played.reply is not None
                assert played.reply[0].startswith(b"SIP/2.0 %d " % status)
                assert played.odd == 0

    asyncio.run(scenario())


def test_a_refusal_because_of_guesses_needs_no_python() -> None:
    async def scenario() -> None:
        async with Replaying(ANSWERS["wrong"], by_script=False) as host:
            with stopped_clock():
                for n in range(20):
                    played = await host.play(changed(CALL_ID, b"%d" % n, _login()), SOURCES[0])
                    assert played.reply is not None
                    assert played.reply[0].startswith(b"SIP/2.0 403 ")
                    assert played.odd == 0
            assert host.auth.counts[Cause.PENALIZED] == 15

    asyncio.run(scenario())
