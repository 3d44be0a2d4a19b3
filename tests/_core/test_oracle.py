"""The compiled parsers against slow and plain ones (oracle.py), on good input that was then damaged.

What one accepts the other accepts, with the same values; what is refused is a ParseError whose offset lies
inside the input, and nothing else.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kit import oracle
from kit.answer_stream import AnswerStream

from auth_diameter import Avp, Credentials, Message, ParseError
from auth_diameter._core import Framer, RequestStream, Uri

# Examples are cheap: some 10 µs each, and most of that is Hypothesis's own.
many = settings(max_examples=400)


@st.composite
def damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes], words: list[bytes]) -> bytes:
    """A good input with up to three pieces cut out, put in twice, or replaced by words and odd bytes."""
    data = draw(whole)
    pieces = st.sampled_from(words) | st.binary(max_size=3)
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        middle = draw(st.just(b"") | st.just(data[start:end] * 2) | pieces)
        data = data[:start] + middle + data[end:]
    return data


def compare(read: Any, reference: Any, data: bytes) -> None:
    """`read` and `reference` return the same, or both refuse."""
    try:
        expected = reference(data)
    except oracle.RefusedError:
        with pytest.raises(ParseError) as caught:
            read(data)
        assert 0 <= caught.value.offset <= len(data)
    else:
        assert read(data) == expected


# Digest credentials

FILLED: dict[bytes, bytes] = {
    b"username": b'"alice"',
    b"realm": b'"siphub.net"',
    b"nonce": b'"n"',
    b"uri": b'"sip:siphub.net"',
    b"response": b'"' + b"0" * 32 + b'"',
}
lws = st.sampled_from([b"", b" ", b"\t", b"\r\n ", b" \r\n\t "])
tokens = st.sampled_from([b"auth", b"MD5", b"00000001", b"x", b"0" * 32, b"A" * 64, b"UTF-8''%41b", b"true"])
quoted = st.sampled_from(
    [
        b'""',
        b'"a b"',
        b'"\\""',
        b'"\\\\"',
        b'"\\\x00"',
        b'"a \r\n \r\n\tb"',
        b'"\xc3\xa9\xff"',
        FILLED[b"response"],
    ]
)
names = st.sampled_from(b"username realm nonce uri response cnonce nc qop algorithm username* x y NC".split())


@st.composite
def credentials(draw: st.DrawFn) -> bytes:
    """The five that must be there, changed here and there, and others between them."""
    pairs = [*FILLED.items()]
    if draw(st.booleans()):
        pairs += [(b"cnonce", b'"c"'), (b"nc", b"00000001"), (b"qop", b"auth")]
    if draw(st.booleans()):
        pairs[0] = (b"username*", b"UTF-8''%41b%c3%a9")
    for _ in range(draw(st.integers(0, 3))):
        pair = (draw(names), draw(tokens | quoted))
        place = draw(st.integers(0, len(pairs)))
        pairs[place : place + draw(st.integers(0, 1))] = [pair]
    value = b"Digest "
    for name, content in pairs:
        value += draw(lws) + name + draw(lws) + b"=" + draw(lws) + content + draw(lws) + b","
    return value[:-1] + draw(st.sampled_from([b"", b",", b", ,", b"\r\n "]))


DIGEST_WORDS = [*b", = \" \\ \x00 \\\x01 Digest ' %4 nc ;".split(), b" ", b"\r\n ", b"\r\n", b"\n"]


@given(damaged(credentials(), DIGEST_WORDS))
@example(b"Digest username*=\"UTF-8'\\\\'%41\", realm=r, nonce=n, uri=u, response=" + b"0" * 32)
@example(
    b"Digest"
    + b"".join(b" x%d=1," % i for i in range(17))
    + b"username=a,realm=r,nonce=n,uri=u,response="
    + b"0" * 32
)
@example(b"Digest username=" + b"a" * 1025 + b",realm=r,nonce=n,uri=u,response=" + b"0" * 32)
@many
def test_credentials(data: bytes) -> None:
    compare(lambda value: list(Credentials.parse(value).parameters), oracle.credentials, data)


# URIs

schemes = st.sampled_from([b"sip:", b"sips:", b"SIP:", b"tel:", b"urn:", b"h+t-t.p:"])
users = st.sampled_from([b"", b"alice@", b"a:b@", b"%61;b?c@", b"+1-2@", b":@", b"@"])
hosts = st.sampled_from(
    b"siphub.net 192.0.2.1 [2001:db8::1] [::ffff:192.0.2.1] [1:::2] a_b -a 1 +1(2)# +".split()
)
ends = st.lists(st.sampled_from(b":5060 :0 :65536 :007 ;lr ;a=b ;= ?a=b &c= ;%41=[ ?".split()), max_size=4)


@st.composite
def uris(draw: st.DrawFn) -> bytes:
    return draw(schemes) + draw(users) + draw(hosts) + b"".join(draw(ends))


URI_WORDS = [*b"@ : ; ? & = [ ] :: % %2 %zz < , . \x7f \xc3\xa9".split(), b" "]


def parts(data: bytes) -> oracle.Uri:
    uri = Uri.parse(data)
    return oracle.Uri(uri.scheme, uri.user, uri.host, uri.port, uri.parameters)


@given(damaged(uris(), URI_WORDS))
@example(b"tel:+")
@example(b"tel:-")
@example(b"tel:+a1")
@many
def test_uri(data: bytes) -> None:
    compare(parts, oracle.uri, data)


# Diameter

sizes = st.sampled_from([0, 1, 3, 4, 5, 8, 20])


@st.composite
def avps(draw: st.DrawFn, depth: int = 2) -> bytes:
    """A few AVPs, some of them groups; some lengths are wrong."""
    body = b""
    for _ in range(draw(st.integers(0, 3))):
        group = depth > 0 and draw(st.booleans())
        data = draw(avps(depth - 1)) if group else bytes(draw(sizes))
        flags = draw(st.sampled_from([0x40, 0, 0xC0, 0x1F]))
        head = 12 if flags & 0x80 else 8
        length = head + len(data) + draw(st.sampled_from([0, 0, 0, 0, 0, 0, -1, 1, 4, -8]))
        code = 297 if group else draw(st.sampled_from([1, 264, 268, 402, 406, 99_999]))
        body += code.to_bytes(4, "big") + bytes([flags]) + max(length, 0).to_bytes(3, "big")
        body += b"\x00\x00\x28\xaf" if head == 12 else b""
        body += data + bytes(-len(data) % 4)
    return body


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    body = draw(avps())
    length = 20 + len(body) + draw(st.sampled_from([0, 0, 0, 0, 0, 4, -4, 1]))
    return (
        b"\x01"
        + length.to_bytes(3, "big")
        + draw(st.sampled_from([b"\x80", b"\x00", b"\x40"]))
        + b"\0\x01\x09"
        + bytes(12)
        + body
    )


DIAMETER_WORDS = [
    b"\x00",
    b"\x00\x00\x00\x08",
    b"\xff\xff\xff",
    b"\x80",
    b"\x01\x00\x00\x14",
    b"\x00\x00\x01\x29\x40\x00\x00\x08",
]


def plain(avp: Avp) -> oracle.Avp:
    return oracle.Avp(avp.code, avp.flags, avp.vendor_id, avp.data)


def decoded(data: bytes) -> oracle.Message:
    found = Message.decode(data)
    return oracle.Message(
        found.flags,
        found.command,
        found.application_id,
        found.hop_by_hop,
        found.end_to_end,
        tuple(map(plain, found.avps)),
    )


@given(damaged(messages(), DIAMETER_WORDS))
@many
def test_message(data: bytes) -> None:
    compare(decoded, oracle.message, data)


def nested(found: tuple[Avp, ...]) -> list[Any]:
    return [(plain(avp), nested(avp.avps) if avp.code == 297 else None) for avp in found]


def nested_as_the_oracle_has_it(data: bytes) -> list[Any]:
    return [
        (avp, nested_as_the_oracle_has_it(avp.data) if avp.code == 297 else None) for avp in oracle.avps(data)
    ]


@given(damaged(avps(depth=4), DIAMETER_WORDS))
@many
def test_groups(data: bytes) -> None:
    """AVPs in groups of groups; see test_avp.py for how deep they may lie."""
    compare(lambda group: nested(Avp(297, group).avps), nested_as_the_oracle_has_it, data)


# Streams


@given(st.lists(damaged(messages(), DIAMETER_WORDS), max_size=4), st.data())
@settings(max_examples=100)
def test_streams(pieces: list[bytes], choice: st.DataObject) -> None:
    """Whole, byte by byte and cut anywhere: the same messages, and the same end, for each kind of reader."""
    data = b"".join(pieces)
    expected = oracle.messages(data)
    cuts = [0, *sorted(choice.draw(st.lists(st.integers(0, len(data))))), len(data)]
    for edges in ([0, len(data)], range(len(data) + 1), cuts):
        framer, questions, answers = Framer(), RequestStream(), AnswerStream()
        framed: list[bytes] = []
        asked = []
        refused = False
        for start, end in pairwise(edges):
            try:
                framed.extend(framer.feed(data[start:end]))
            except ParseError:
                refused = True
            asked.extend(questions.feed(data[start:end]))
            answers.feed(data[start:end], {})
        assert framed == expected
        assert len(asked) == sum(message[4] >> 7 for message in expected)
        assert answers.dropped == len(expected)
        assert (questions.fault is not None) == (answers.fault is not None) == refused
