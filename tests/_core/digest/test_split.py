"""Parameters split 32 bytes at a time (params.h), and byte by byte: the whole result is the same.

The vectors take the common form alone; RFC 7616, 3.3 and 3.4, is in params.pyx for all forms. Only the inputs
here decide, since what credentials are, is tested elsewhere.
"""

from __future__ import annotations

import ast
import json
import random
import re
from pathlib import Path

import pytest
from hostile import corpora
from hypothesis import given
from hypothesis import strategies as st
from kit.places import SHARED, VECTORS

from auth_diameter._core.digest.params import is_split_the_same
from auth_diameter.bench.pairs import request

if is_split_the_same(b"Digest a=b") is None:
    pytest.skip("this machine has one way alone", allow_module_level=True)


def same(data: bytes) -> bool:
    return bool(is_split_the_same(data))


def all_of(folder: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((SHARED / "data" / folder).glob("*")) if path.is_file()]


def values() -> list[bytes]:
    """All credentials and challenges that the vectors, the corpora and the tests beside this one hold."""
    texts = [path.read_bytes() for path in sorted((VECTORS / "sip-requests").glob("*")) if path.is_file()]
    texts += [*all_of("rfc4475"), *all_of("rfc5118"), *all_of("sip-requests"), request()]
    for exchange in json.loads((VECTORS / "kamailio-5.6.3.json").read_text()):
        texts += [text.encode() for text in exchange.values() if isinstance(text, str)]
    texts += corpora.sip_requests().values()
    field = re.compile(rb"(?:authorization|-authenticate)[ \t]*:[ \t]*((?:.|\r\n[ \t])*)", re.IGNORECASE)
    found = {value.rstrip(b"\r\n") for text in texts for value in field.findall(text)}
    for path in Path(__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, (str, bytes)):
                text = node.value.encode(errors="replace") if isinstance(node.value, str) else node.value
                if text.startswith(b"Digest "):
                    found.add(text)
    return sorted(value for value in found if len(value) < 4096)


VALUES = values()
CREDENTIALS = re.search(rb"Authorization: (.*)\r\n", request())[1]  # type: ignore[index]


def test_all_values_and_every_prefix() -> None:
    assert len(VALUES) > 20
    for value in VALUES:
        for size in range(len(value) + 1):
            assert same(value[:size]), value[:size]


def test_every_byte_at_every_place() -> None:
    """Of a token, a quoted string, what stands between them, and the end."""
    value = b'Digest a=token, realm="some realm of more than 32 bytes", nonce="n", qop=auth, opaque="o"'
    for at in range(len(value)):
        for byte in range(256):
            changed = bytearray(value)
            changed[at] = byte
            assert same(bytes(changed)), (at, byte)


@pytest.mark.parametrize(
    "tail", [b"", b",", b", ", b' , nonce="n"', b', nonce="n"', b',nonce="n"', b"x", b" x=y"]
)
def test_lengths_around_those_of_vectors(tail: bytes) -> None:
    for name in range(1, 36):
        for size in range(70):
            text = b"Digest " + b"n" * name + b"="
            assert same(text + b"v" * size + tail)
            assert same(text + b'"' + b"v" * size + b'"' + tail)
            assert same(text + b'"' + b"v" * size + tail)


@pytest.mark.parametrize("size", [1023, 1024, 1025])
def test_the_limit_of_a_value(size: int) -> None:
    for text in (b'Digest realm="%s"', b'Digest nonce="n", realm="%s", uri=u', b"Digest realm=%s"):
        assert same(text.replace(b"%s", b"v" * size))


@pytest.mark.parametrize("count", range(40))
def test_unknown_parameters_and_those_given_twice(count: int) -> None:
    """The error is at the same place, in the middle of those that are split at once, too."""
    unknown = b", ".join(b"x%d=%d" % (i, i) for i in range(count))
    assert same(b"Digest " + unknown)
    assert same(b"Digest " + unknown + b', nonce="n", X3=4, realm="r", nonce="m"')


def test_mutations() -> None:
    generator = random.Random(7616)
    pieces = [
        b'"', b"\\", b'\\"', b",", b"=", b" ", b"\t", b"\r\n ", b"\0", b"\x7f", b"\xff", b", ,", b" = ", b"",
        b'username*=UTF-8\'\'%41', b", nonce=x", b"#", b"'", b"*",
    ]  # fmt: skip
    for _ in range(20_000):
        changed = bytearray(generator.choice(VALUES) if generator.randrange(2) else CREDENTIALS)
        for _ in range(generator.randrange(1, 4)):
            at = generator.randrange(len(changed) + 1)
            changed[at : at + generator.randrange(3)] = generator.choice(pieces)
        assert same(bytes(changed)), bytes(changed)


@given(
    st.lists(
        st.sampled_from(
            [
                b"nonce",
                b"realm",
                b"a" * 31,
                b"=",
                b'"',
                b",",
                b" ",
                b"\t",
                b"\r\n ",
                b"\\",
                b"\x80",
                b"\0",
                b"*",
            ]
        ),
        max_size=40,
    )
)
def test_parameters_of_any_pieces(pieces: list[bytes]) -> None:
    assert same(b"Digest " + b"".join(pieces))
