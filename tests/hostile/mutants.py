"""Twenty good messages, the damage that can be done to them, and what must hold whatever is damaged.

Run as a script, it tries all 256 values of every byte: PYTHONPATH=tests python tests/hostile/mutants.py
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator

from hostile import corpora
from hostile.play import MSGID, SOURCE, Play, real_disc
from kit.answer_stream import AnswerStream
from kit.disc import CHALLENGE_VALUE
from kit.sip import ACCOUNT, DOMAIN, PASSWORD, build_credentials, build_request
from kit.wire import NOW, build_answer

from auth_diameter import Cause, Credentials, Decision, Message, ParseError, SipRequest, Uri
from auth_diameter._core import (
    Answer,
    Challenge,
    Framer,
    Question,
    RequestStream,
    Service,
    append_question,
)
from auth_diameter.disc.server import Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.nonces import Nonces

_ACCOUNTS = Accounts.create(":memory:")
_ACCOUNTS.add_user("alice", DOMAIN, PASSWORD)
_STORE = SqliteStore(_ACCOUNTS.database)
_NONCES = Nonces(b"a key of sixteen")
_DISC = Disc(_STORE, nonces=_NONCES)
_PLAY = Play(real_disc(_STORE, _NONCES))
# A DISC that lets in all that can be asked, so that a mutant's way ends at our own checks alone.
_YES = Play(lambda question: build_answer(MSGID, 2001))

_WRONG = build_credentials(nonce=_NONCES.make(DOMAIN, NOW), qop="auth", nc="00000001", cnonce="0a4f").replace(
    'qop="auth"', "qop=auth"
)


def _question(data: bytes, group: str | None = None) -> bytes:
    request = SipRequest(data, SOURCE)
    authorizer = _PLAY.authorizer
    asked = authorizer.www_authorize(request, DOMAIN, NOW)
    if group is not None:
        asked = authorizer.is_user_in(request, "From", group)
    out = bytearray()
    append_question(out, asked, MSGID)
    return bytes(out)


_REGISTER = build_request("REGISTER", f"sip:{DOMAIN}", to=f"<sip:{ACCOUNT}>")
_WITH_WRONG = build_request(
    "REGISTER", f"sip:{DOMAIN}", to=f"<sip:{ACCOUNT}>", extra=(f"Authorization: {_WRONG}",)
)

BASES: dict[str, bytes] = {
    "sip register": _REGISTER,
    "sip register with credentials": _WITH_WRONG,
    "sip invite with body": build_request(extra=("Content-Type: text/plain",), body="hello\r\n"),
    "sip invite with proxy credentials": build_request(extra=(f"Proxy-Authorization: {_WRONG}",)),
    "sip bye in compact forms": (
        b"BYE sips:%62ob@[2001:db8::1]:5061;lr SIP/2.0\r\nv:SIP/2.0/TLS a:1;rport , SIP/2.0/TCP b\r\n"
        b'f:"A\\"B"<tel:+1-2>;tag=1\r\nt: sip:b@siphub.net\r\n ;x\r\ni:1\r\nCSeq:9\r\n BYE\r\nl: 2\r\n\r\nhi!'
    ),
    "sip message of a tel": build_request("MESSAGE", "tel:+1-201-555-0123", "<tel:+1-2>;tag=1"),
    "sip ack": build_request("ACK"),
    "digest credentials": _WRONG.encode(),
    "digest of rfc 2069": corpora.DIGEST.encode(),
    "digest with a name in letters": (
        b"Digest username*=UTF-8''J%C3%A4s, realm=\"siphub.net\", nonce=\"n\", uri=\"sip:x\", response=\""
        + b"0" * 32 + b'", algorithm=SHA-256-sess, qop=auth-int, nc=00000001, cnonce="c\\"d"'
    ),
    "challenge": CHALLENGE_VALUE + b', algorithm=MD5, stale=true, opaque=""',
    "uri": b"sip:alice:pw@siphub.net:5060;transport=udp?subject=x&to=y",
    "question without credentials": _question(_REGISTER),
    "question with credentials": _question(_WITH_WRONG),
    "question about a group": _question(_REGISTER, "staff"),
    "question of kamailio": corpora.disc_captured()["kam563_user-plain__cred_register"],
    "answer of refusal": build_answer(MSGID, 5003),
    "answer of challenge": build_answer(MSGID, 4001, challenge=CHALLENGE_VALUE + b"\r\n"),
    "answer of another service": build_answer(MSGID, 2001, service_type=b"8"),
    "answer of rechallenge": build_answer(MSGID, 4001, challenge=CHALLENGE_VALUE, hop_by_hop=7),
}  # fmt: skip
assert len(BASES) == 20


def mutations(base: bytes, values: bytes) -> Iterator[bytes]:
    """Every prefix, every byte left out, every byte changed to each of the values."""
    for at in range(len(base)):
        yield base[:at]
        yield base[:at] + base[at + 1 :]
        for value in values:
            if value != base[at]:
                yield base[:at] + bytes([value]) + base[at + 1 :]


def try_out(name: str, data: bytes) -> None:
    """What must hold of a message of the kind that its name begins with."""
    _KINDS[name.split(maxsplit=1)[0]](data)


def _parse(parse: Callable[[bytes], object], data: bytes) -> object:
    """What was parsed; None where it is refused in the documented way."""
    try:
        return parse(data)
    except ParseError as error:
        inside = 0 <= error.offset <= len(data)
    assert inside, "an offset outside"
    return None


def _try_sip(data: bytes) -> None:
    request = _parse(lambda data: SipRequest(data, SOURCE), data)
    if request is not None:
        _parse(lambda data: request.credentials(DOMAIN), data)
    for play in (_PLAY, _YES):
        for proxy in (False, True):
            decision = play.decide(data, DOMAIN, proxy=proxy)
            assert isinstance(decision, Decision)
            if decision.cause is Cause.BYPASSED:
                assert request.method in ("ACK", "CANCEL")
            elif decision:
                # Only he who says yes to everything, and to credentials alone.
                assert play is _YES
                assert request.credentials(DOMAIN, proxy) is not None


def _try_digest(data: bytes) -> None:
    credentials = _parse(Credentials.parse, data)
    if credentials is not None:
        assert credentials.parameters
        assert len(credentials.response) in (32, 64)
    _try_sip(_REGISTER.replace(b"Content-Length", b"Authorization: %b\r\nContent-Length" % data))


def _try_challenge(data: bytes) -> None:
    challenge = _parse(Challenge.parse, data)
    found = _answered(SipRequest(_REGISTER, SOURCE), build_answer(MSGID, 4001, challenge=data))
    assert found is not None
    decision, _ = found
    assert decision.status in (401, 500)
    head = decision.reply.split(b"\r\n\r\n")
    assert head[1:] == [b""]
    assert sum(line.startswith(b"WWW-Authenticate: ") for line in head[0].split(b"\r\n")) == (
        decision.status == 401
    )
    assert challenge is not None or decision.status == 500 or data != data.rstrip()


def _try_uri(data: bytes) -> None:
    uri = _parse(Uri.parse, data)
    assert uri is None or uri.text


def _try_question(data: bytes) -> None:
    _parse(Message.decode, data)
    stream, out = RequestStream(), bytearray()
    questions = stream.feed(data)
    _DISC.answer(questions, out, NOW)
    answers = list(Framer().feed(bytes(out)))
    assert len(answers) == len(questions)
    for answer in answers:
        code = int.from_bytes(Message.decode(answer).find(268).data, "big")
        # Members there are none, and the digest is wrong.
        assert code in (3001, 3008, 4001, 5003, 5004, 5005, 5009, 5014)


def _try_answer(data: bytes) -> None:
    _parse(Message.decode, data)
    for request in (SipRequest(_REGISTER, SOURCE), SipRequest(_WITH_WRONG, SOURCE)):
        found = _answered(request, data)
        if found is not None and found[0]:
            # The right byte makes a refusal a success, and another service none: then it is one.
            answer = found[1]
            assert request.credentials(DOMAIN) is not None
            assert (answer.code, answer.service) in ((2001, None), (2001, Service.AUTHENTICATION))


def _answered(request: SipRequest, data: bytes) -> tuple[Decision, Answer] | None:
    """The decision on an answer, and what was read; None where it is not an answer to the question."""
    question = _PLAY.authorizer.www_authorize(request, DOMAIN, NOW)
    assert isinstance(question, Question)
    stream = AnswerStream()
    found = stream.feed(data, {MSGID: question})
    assert stream.fault is None or 0 <= stream.fault.offset <= len(data)
    return (_PLAY.authorizer.conclude(question, found[0][1], NOW), found[0][1]) if found else None


_KINDS: dict[str, Callable[[bytes], None]] = {
    "sip": _try_sip,
    "digest": _try_digest,
    "challenge": _try_challenge,
    "uri": _try_uri,
    "question": _try_question,
    "answer": _try_answer,
}


# ------------------------------------------------------------------ streams in pieces

_MALFORMED = corpora.diameter_malformed()
STREAMS: dict[str, bytes] = {
    **{name: data for name, data in BASES.items() if name.split()[0] in ("question", "answer")},
    **_MALFORMED,
    "three questions": BASES["question with credentials"] * 3,
    "all kinds": b"".join(data for name, data in BASES.items() if name.split()[0] in ("question", "answer")),
    "good, then garbage": BASES["question about a group"] + b"GET / HTTP/1.1\r\n\r\n",
}


def _read(data: bytes, cuts: list[int]) -> tuple[object, ...]:
    """What each stream makes of the data cut at these places."""
    requests, answers, framer = RequestStream(), AnswerStream(), Framer()
    questions, decided, frames, broken = [], [], [], None
    pending = {MSGID: _PLAY.authorizer.www_authorize(SipRequest(_WITH_WRONG, SOURCE), DOMAIN, NOW)}
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        piece = data[start:end]
        questions += requests.feed(piece)
        decided += answers.feed(piece, pending)
        if broken is None:
            try:
                frames += framer.feed(piece)
            except ParseError as error:
                broken = error.reason
    out = bytearray()
    _DISC.answer(questions, out, NOW)
    return (
        [repr(question) for question in questions],
        [repr(answer) for _, answer in decided],
        answers.dropped,
        frames,
        broken,
        *(stream.fault and stream.fault.reason for stream in (requests, answers)),
        *((stream.pending if stream.fault is None else 0) for stream in (requests, answers)),
    )


def try_stream(name: str, data: bytes) -> None:
    """Whole, byte by byte, and in random pieces: the same."""
    whole = _read(data, [])
    chance = random.Random(name)
    if len(data) <= 4096:
        assert _read(data, list(range(1, len(data)))) == whole
    for _ in range(10):
        cuts = sorted(chance.sample(range(len(data) + 1), min(len(data), chance.randint(1, 8))))
        assert _read(data, cuts) == whole


def main() -> None:
    """All values of every byte of every message; some minutes."""
    total, began = 0, time.monotonic()
    for name, base in BASES.items():
        for data in mutations(base, bytes(range(256))):
            try_out(name, data)
            total += 1
        print(f"{name}: done, {total:,} in all, {time.monotonic() - began:.0f} s", flush=True)
    for name, data in STREAMS.items():
        try_stream(name, data)
    print(f"{total:,} mutants of {len(BASES)} messages and {len(STREAMS)} streams: nothing amiss")


if __name__ == "__main__":
    main()
