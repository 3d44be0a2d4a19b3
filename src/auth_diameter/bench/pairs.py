"""Rows 1 to 5 of the table: single pieces of work, done by us and by what a Python user has today.

`pairs` returns each with both sides as functions without arguments, after both have given the same right
result. Where the two sides cannot do exactly the same, the other side has less to do, and a comment says
what.
"""

from __future__ import annotations

import gc
import hmac
import importlib
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from timeit import Timer
from typing import Any

import auth_diameter as ad
from auth_diameter._core import DiscApplication, Service, append_question, authentication

REQUEST = Path(__file__).with_name("reg_auth.sip")
REALM = "siphub.net"
PASSWORD = "open sesame"  # noqa: S105 - of invented subscribers
WRONG_PASSWORD = "wrong"  # noqa: S105 - the same

Work = Callable[[], object]


@dataclass(frozen=True)
class Pair:
    """One row.

    Attributes:
        row: its number; "": it has none.
        what: the work in a few words.
        peer_name: the package compared with.
        ours: the work, done by us.
        peer: the work, done by the other package; None: it is not installed.
        target: how many times as fast ours must be; None: there is no target.
    """

    row: str
    what: str
    peer_name: str
    ours: Work
    peer: Work | None
    target: float | None = None


def pairs() -> list[Pair]:
    """All rows; both sides of each were checked.

    Raises:
        Error: the two sides of a row do not have the same result.
    """
    return [*sip(), *digest(), *diameter()]


def request(serial: int = 1, source: str = "127.0.0.1:5066", template: Path = REQUEST) -> bytes:
    """The REGISTER with credentials that most rows use, as a telephone sends it.

    Args:
        serial: a number that makes the request different from others.
        source: HOST:PORT of the telephone.
        template: file of the request.
    """
    text = template.read_bytes()
    return text.replace(b"{serial}", b"%08d" % serial).replace(b"{source}", source.encode())


def has_avx512() -> bool:
    """Whether this CPU has AVX-512, which has a higher target than AVX2."""
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return False


def peer_module(module: str) -> Any:
    """The module of another package; None: it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        return None


def check(right: bool) -> None:
    """Refuses to measure work with a wrong result; not an assert, which -O would remove.

    Raises:
        Error: the result is wrong.
    """
    if not right:
        raise ad.Error("bench: the two sides of a comparison have not done the same")


# ---------------------------------------------------------------------------------- time


def _calibrate(work: Work, seconds: float) -> Callable[[], float]:
    """A function that does the work for about `seconds`, and returns the seconds of one call."""
    timer = Timer(work)
    n = 1
    while (took := timer.timeit(n)) < seconds / 4:
        n *= 4
    n = max(1, round(n * seconds / took))
    return lambda: timer.timeit(n) / n


def measure(pair: Pair, turns: int, seconds: float) -> dict[str, Any]:
    """Times both sides in turns (A B A B …), so that other load on the machine disturbs both alike.

    Args:
        pair: the row.
        turns: number of turns of each side.
        seconds: length of one turn.

    Returns:
        The medians of the times in µs and of the ratios of neighbouring turns; None if there is no other
        side.
    """
    ours = _calibrate(pair.ours, seconds)
    peer = _calibrate(pair.peer, seconds) if pair.peer is not None else None
    gc.collect()
    gc.disable()  # as timeit does, for both sides
    try:
        times = [(ours(), peer() if peer is not None else None) for _ in range(turns)]
    finally:
        gc.enable()
    ratios = sorted(theirs / our for our, theirs in times if theirs is not None)
    return {
        "row": pair.row,
        "what": pair.what,
        "peer": pair.peer_name,
        "ours_us": statistics.median(our for our, _ in times) * 1e6,
        "peer_us": statistics.median(t for _, t in times if t is not None) * 1e6 if ratios else None,
        "ratio": statistics.median(ratios) if ratios else None,
        "middle_half": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]] if ratios else None,
        "target": pair.target,
    }


# ---------------------------------------------------------------------------------- SIP


def sip() -> list[Pair]:
    """The rows for SIP, compared with sipmessage.

    sipmessage parses a header field when it is accessed. In row 1 it does not parse From, To, CSeq and Via,
    which we check at once.
    """
    sipmessage = peer_module("sipmessage")
    data = request()
    ours, ours_read = _find_credentials(data), _read_request(data)
    found = ours()
    check(found is not None and found.username == "alice" and ours_read()[1] == "sip:siphub.net")
    peer = peer_read = peer_parse = None
    if sipmessage is not None:
        peer, peer_read = _find_credentials_with(sipmessage, data), _read_request_with(sipmessage, data)
        peer_parse = _parse_with(sipmessage, data)
        check(found is not None and dict(found.parameters) == dict(peer()))
        check(ours_read() == peer_read())
    theirs = "sipmessage"
    return [
        Pair("1", f"SipRequest({len(data)} bytes) + credentials(realm)", theirs, ours, peer, 50),
        Pair("1a", "SipRequest alone", theirs, lambda: ad.SipRequest(data), peer_parse),
        Pair("1b", "the same as 1, and 13 values of it read", theirs, ours_read, peer_read),
    ]


def _find_credentials(data: bytes) -> Callable[[], ad.Credentials | None]:
    return lambda: ad.SipRequest(data).credentials(REALM)


def _parse_with(sipmessage: Any, data: bytes) -> Work:
    return lambda: sipmessage.Message.parse(data)


def _find_credentials_with(sipmessage: Any, data: bytes) -> Callable[[], Any]:
    def work() -> Any:
        credentials = sipmessage.Message.parse(data).authorization
        if credentials is None or credentials.scheme.lower() != "digest" or credentials.parameters is None:
            return None
        return credentials.parameters if credentials.parameters["realm"].lower() == REALM else None

    return work


def _read_request(data: bytes) -> Callable[[], tuple[object, ...]]:
    def work() -> tuple[object, ...]:
        message = ad.SipRequest(data)
        c = message.credentials(REALM)
        assert c is not None
        return (
            message.method, message.request_uri, message.from_uri, message.to_uri,
            message.call_id, message.cseq,
            c.username, c.nonce, c.uri, c.response, c.cnonce, c.nc, c.qop,
        )  # fmt: skip

    return work


def _read_request_with(sipmessage: Any, data: bytes) -> Callable[[], tuple[object, ...]]:
    def work() -> tuple[object, ...]:
        message = sipmessage.Message.parse(data)
        p = message.authorization.parameters
        assert p["realm"].lower() == REALM
        return (
            message.method, str(message.uri), str(message.from_address.uri), str(message.to_address.uri),
            message.call_id, message.cseq.sequence,
            p["username"], p["nonce"], p["uri"], p["response"], p["cnonce"], p["nc"], p["qop"],
        )  # fmt: skip

    return work


# ---------------------------------------------------------------------------------- digest


def _credentials(user: int, password: str) -> tuple[ad.Credentials, str]:
    """The credentials that a telephone sends with this password, and the subscriber's HA1."""
    name, nonce, cnonce = f"user{user:05d}", f"{user:032x}", f"{user:08x}"
    response = ad.digest_response(
        ad.ha1(name, REALM, password),
        "REGISTER",
        "sip:siphub.net",
        nonce,
        qop="auth",
        nc="00000001",
        cnonce=cnonce,
    )
    value = (
        f'Digest username="{name}", realm="{REALM}", nonce="{nonce}", uri="sip:siphub.net", '
        f'response="{response}", algorithm=MD5, cnonce="{cnonce}", qop=auth, nc=00000001'
    )
    return ad.Credentials.parse(value), ad.ha1(name, REALM, PASSWORD)


def _hashlib_verify(values: tuple[str, ...], method: str, ha1: str) -> bool:
    """Verifies a digest with hashlib; the header is parsed already, on both sides."""
    nonce, uri, response, cnonce, nc, qop = values
    ha2 = md5(f"{method}:{uri}".encode()).hexdigest()  # noqa: S324 - it is what SIP uses
    right = md5(f"{ha1}:{nonce}:{nc}:{cnonce}:{qop}:{ha2}".encode()).hexdigest()  # noqa: S324
    return hmac.compare_digest(right, response)


def _values(c: ad.Credentials) -> tuple[str, ...]:
    values = (c.nonce, c.uri, c.response, c.cnonce, c.nc, c.qop)
    assert None not in values
    return values  # type: ignore[return-value]


def digest() -> list[Pair]:
    """The rows for digest verification, of one and of many, compared with hashlib."""
    credentials, ha1 = _credentials(0, PASSWORD)
    values = _values(credentials)
    # Every eighth password is wrong, and both sides must find that out.
    many = [_credentials(i, WRONG_PASSWORD if i % 8 == 7 else PASSWORD) for i in range(1024)]
    items = [(c, "REGISTER", h) for c, h in many]
    prepared = [(_values(c), "REGISTER", h) for c, h in many]

    def ours() -> bool:
        return ad.verify(credentials, "REGISTER", ha1)

    def peer() -> bool:
        return _hashlib_verify(values, "REGISTER", ha1)

    def ours_many() -> bytearray:
        return ad.verify_many(items)

    def peer_many() -> bytearray:
        return bytearray([_hashlib_verify(v, method, h) for v, method, h in prepared])

    check(ours() is peer() is True)
    check(ours_many() == peer_many() == bytearray(i % 8 != 7 for i in range(1024)))
    return [
        Pair("2", "verify, HA1 known", "hashlib", ours, peer, 3.4),
        Pair("3", "verify_many, 1,024 items", "hashlib", ours_many, peer_many, 22 if has_avx512() else 15),
    ]


# ---------------------------------------------------------------------------------- Diameter


def _answer(avps: list[ad.Avp]) -> bytes:
    return ad.Message(265, avps, application_id=1, flags=0, hop_by_hop=7, end_to_end=7).encode()


THEIRS = "python-diameter"


def diameter() -> list[Pair]:
    """The rows for Diameter, compared with python-diameter.

    It knows the AVPs 400 to 406 as those of NASREQ. In a plain message it does not interpret them.
    """
    pd = peer_module("diameter.message")
    return [*_questions(pd), *_answers(pd), *_messages(pd)]


def _write_question() -> Callable[[], bytearray]:
    incoming = ad.SipRequest(request())
    credentials = incoming.credentials(REALM)
    assert credentials is not None

    def work() -> bytearray:
        out = bytearray()
        append_question(out, authentication(incoming, REALM, credentials, False), 7)
        return out

    return work


def _encode_with(pd: Any, model: ad.Message) -> Callable[[], bytes]:
    """The peer encodes values that are at hand; only our side also takes them from the SIP request."""
    content = [(avp.code, avp.data, avp.flags) for avp in model.avps]

    def work() -> bytes:
        header = pd.MessageHeader(
            command_flags=0x80,
            command_code=265,
            application_id=1,
            hop_by_hop_identifier=7,
            end_to_end_identifier=model.end_to_end,
        )
        avps = [pd.Avp(code, 0, data, flags) for code, data, flags in content]
        whole: bytes = pd.Message(header, avps).as_bytes()
        return whole

    return work


def _questions(pd: Any) -> list[Pair]:
    ours = _write_question()
    whole = bytes(ours())
    peer = None
    if pd is not None:
        peer = _encode_with(pd, ad.Message.decode(whole))
        check(peer() == whole)
    return [Pair("4", f"AA-Request of {len(whole)} bytes from a SipRequest", THEIRS, ours, peer, 60)]


def _read_answers(both: tuple[bytes, bytes]) -> Callable[[], tuple[object, ...]]:
    read = DiscApplication().decode

    def work() -> tuple[object, ...]:
        for data in both:
            answer = read(data)
            found = answer.code, answer.service, answer.challenges
        return found

    return work


def _read_answers_with(pd: Any, both: tuple[bytes, bytes]) -> Callable[[], tuple[object, ...]]:
    def work() -> tuple[object, ...]:
        for data in both:
            code, service = 0, None
            texts: tuple[bytes, ...] = ()
            for avp in pd.Message.from_bytes(data, plain_msg=True).avps:
                if avp.code == 268:
                    code = avp.value
                elif avp.code == 404:
                    service = Service.AUTHENTICATION if avp.payload == b"6" else Service.OTHER
                elif avp.code == 402:
                    texts += (avp.payload,)
        return code, service, texts

    return work


def _answers(pd: Any) -> list[Pair]:
    # As DISC sends them, each challenge has another nonce.
    first, second = (
        ad.format_challenge(REALM, nonce, opaque="c07d5e1b42f94a66")
        for nonce in ("66f1c2a09b3d5e7f4821d0c6b5a39e88", "66f1c2a10d5c1f0e9a7b3348e2d4c5f6")
    )
    echoed = [ad.Avp(406, b"\0\0\0\7", flags=0), ad.Avp(404, b"6")]
    pairs = []
    for row, code, more, texts in (
        ("5", 4001, [[ad.Avp(402, first)], [ad.Avp(402, second)]], (second.encode(),)),
        ("5b", 2001, [[], []], ()),
    ):
        one, other = (_answer([ad.Avp(268, code.to_bytes(4)), *echoed, *rest]) for rest in more)
        ours = _read_answers((one, other))
        check(ours() == (code, Service.AUTHENTICATION, texts))
        peer = None
        if pd is not None:
            peer = _read_answers_with(pd, (one, other))
            check(peer() == ours())
        pairs.append(
            Pair(row, f"two AA-Answers {code} of {len(one)} bytes to Answers", THEIRS, ours, peer, 60)
        )
    return pairs


def _messages(pd: Any) -> list[Pair]:
    whole = bytes(_write_question()())
    model = ad.Message.decode(whole)
    content = [(avp.code, avp.data, avp.flags) for avp in model.avps]

    def decode() -> list[tuple[int, bytes]]:
        return [(avp.code, avp.data) for avp in ad.Message.decode(whole).avps]

    def peer_decode() -> list[tuple[int, bytes]]:
        return [(avp.code, avp.payload) for avp in pd.Message.from_bytes(whole, plain_msg=True).avps]

    def encode() -> bytes:
        avps = [ad.Avp(code, data, flags=flags) for code, data, flags in content]
        return ad.Message(265, avps, application_id=1, hop_by_hop=7, end_to_end=model.end_to_end).encode()

    check(encode() == whole)
    there = pd is not None
    if there:
        check(peer_decode() == decode())
    size = len(whole)
    return [
        Pair("", f"Message.decode, {size} bytes, every AVP read", THEIRS, decode,
             peer_decode if there else None),
        Pair("", f"Message.encode, {size} bytes, from Avp objects", THEIRS, encode,
             _encode_with(pd, model) if there else None),
    ]  # fmt: skip
