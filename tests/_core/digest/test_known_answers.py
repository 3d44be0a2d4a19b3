"""Known answers, each with each of its bits flipped: what is refused, and the little that is not.

A known answer is played to a judge as a server has one: it reads the Authorization header, takes the
HA1 of the user whom the header names, and verifies. Each bit of the header is flipped in turn, in the
parameters and between them. What must then be refused follows from the grammar alone (RFC 7616, 3.4,
and RFC 3261, 25.1), not from what our parser makes of it; see `still_the_same`.
"""

from __future__ import annotations

import json
import string
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kit.places import VECTORS

from auth_diameter._core import Credentials, ParseError, digest_response, ha1, verify, verify_many

Item = tuple[Credentials, bytes, str, bytes, bytes | None]

ANSWERS = json.loads((VECTORS / "digest-known-answers.json").read_text())
# A device that sends nine digits of nc: such a header is refused as it is (RFC 7616, 3.4).
NINE_DIGITS = "sofia-user1-bye"
ROWS = [row for row in ANSWERS["published"] + ANSWERS["generated"] if row["id"] != NINE_DIGITS]
TOKEN = (string.ascii_letters + string.digits + "-.!%*+`'~_").encode()  # RFC 3261, 25.1


@dataclass(frozen=True)
class Piece:
    """Bytes of a header, and what they are: "name algorithm", "value nonce", or "" between them."""

    kind: str
    data: bytes


class Known:
    """One known answer: its header in pieces, and what a server knows besides."""

    def __init__(self, row: dict[str, Any]) -> None:
        self.id = row["id"]
        self.algorithm: str = row["algorithm"]
        self.qop: str | None = row["qop"]
        self.method = row["method"].encode()
        self.body = row.get("body", "").encode()
        # Of two the hash of the body was published, without the body.
        self.body_hash = row["body_hash"].encode() if "body_hash" in row else None
        self.user = row["username"], row["realm"]
        self.password: str | None = row["password"]
        self.ha1 = row["ha1"] if self.password is None else ha1(*self.user, self.password, self.algorithm)
        # Two of the published ones are misprints (RFC 2069, erratum 749; RFC 7616, erratum 4897).
        self.response: str = row["response"] if row["verified"] else row["computed"]
        self.misprint: str | None = None if row["verified"] else row["response"]
        values = [(name, row[name]) for name in ("username", "realm", "nonce", "uri")]
        values += [("response", self.response), ("algorithm", self.algorithm)]
        values += [(name, row[name]) for name in ("qop", "nc", "cnonce") if row[name] is not None]
        self.pieces = list(pieces(values))

    def header(self, **changed: bytes) -> bytes:
        """The header's value, with other values for the parameters given."""
        return b"".join(changed.get(piece.kind.removeprefix("value "), piece.data) for piece in self.pieces)

    def judged(self, header: bytes, **changed: Any) -> Item | None:
        """What there is to verify; None where it is refused before that."""
        try:
            credentials = Credentials.parse(header)
        except ParseError:
            return None
        key = self.key(credentials)
        if key is None:
            return None
        about = {"method": self.method, "ha1": key, "body": self.body, "body_hash": self.body_hash, **changed}
        return credentials, about["method"], about["ha1"], about["body"], about["body_hash"]

    def key(self, credentials: Credentials) -> str | None:
        """HA1 of whom the credentials name: everybody here has the same password."""
        if (credentials.username, credentials.realm) == self.user:
            return self.ha1
        if self.password is None:
            return None  # published without: this user alone is known
        return ha1(credentials.username, credentials.realm, self.password, self.algorithm)


def pieces(values: Iterable[tuple[str, str]]) -> Iterator[Piece]:
    """A header as RFC 7616, 3.4 has it; nothing in these values has to be escaped."""
    yield Piece("scheme", b"Digest")
    before = b" "
    for name, value in values:
        quote = b"" if name in ("algorithm", "qop", "nc") else b'"'
        yield Piece("", before)
        yield Piece(f"name {name}", name.encode())
        yield Piece("", b"=" + quote)
        yield Piece(f"value {name}", value.encode())
        yield Piece("", quote)
        before = b","


KNOWN = [Known(row) for row in ROWS]
ALL = pytest.mark.parametrize("known", KNOWN, ids=[known.id for known in KNOWN])


def flipped(data: bytes) -> Iterator[tuple[int, bytes]]:
    """`data` with one bit flipped, in each of the ways, and the index of its byte."""
    for at in range(len(data)):
        for bit in range(8):
            yield at, data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def flipped_hex(digits: str) -> Iterator[str]:
    """The value of hexadecimal digits with one bit flipped, in each of the ways."""
    for bit in range(4 * len(digits)):
        yield f"{int(digits, 16) ^ 1 << bit:0{len(digits)}x}"


def still_the_same(known: Known, kind: str, was: int, now: int) -> bool:
    """Whether a header with this byte changed means what it meant before.

    - Names of the scheme, of parameters and of algorithms are in any case (RFC 7616, 3.3; RFC 9110,
      11.1 and 11.2), and so is the response, in hexadecimal. The other values are hashed as they came.
    - A parameter that nobody knows is passed over, and MD5 is meant where no algorithm is named.
    """
    other_case = was ^ now == 0x20 and chr(was).isascii() and chr(was).isalpha()
    if kind == "scheme" or kind.startswith("name ") or kind in ("value algorithm", "value response"):
        return other_case or (kind == "name algorithm" and known.algorithm == "MD5" and now in TOKEN)
    return False


def verdicts(items: list[Item | None]) -> list[bool]:
    """What `verify` says to each of them, one by one and together."""
    found = [item is not None and verify(*item[:4], body_hash=item[4]) for item in items]
    together = iter(verify_many([item for item in items if item is not None]))
    assert found == [item is not None and bool(next(together)) for item in items]
    return found


@ALL
def test_a_known_answer_is_accepted(known: Known) -> None:
    assert verdicts([known.judged(known.header())]) == [True]


@pytest.mark.parametrize("known", [k for k in KNOWN if k.misprint], ids=lambda known: known.id)
def test_a_misprinted_answer_is_refused(known: Known) -> None:
    assert verdicts([known.judged(known.header(response=known.misprint.encode()))]) == [False]


def test_nine_digits_of_nc_are_refused_however_right_the_response_is() -> None:
    known = Known(next(row for row in ANSWERS["published"] if row["id"] == NINE_DIGITS))
    assert known.judged(known.header()) is None
    # The same device with eight: what refuses it is the nc alone.
    response = digest_response(
        known.ha1, "BYE", "sip:nokia@62.254.248.33", "0YXwH29PCT4lEz8+YJipQg==", qop="auth", nc="00000002",
        cnonce="V2VkIEF1ZyAxNSAxNzozNDowNyBHTVQrMDE6MDAgMjAwMVtCQDI0YmZhYQ==",
    )  # fmt: skip
    assert verdicts([known.judged(known.header(nc=b"00000002", response=response.encode()))]) == [True]


# 3.4.1: response, and all that goes into it


@ALL
def test_each_bit_of_the_header_counts(known: Known) -> None:
    items, expected = [], []
    for index, piece in enumerate(known.pieces):
        before, after = (
            b"".join(other.data for other in part)
            for part in (known.pieces[:index], known.pieces[index + 1 :])
        )
        for at, data in flipped(piece.data):
            items.append(known.judged(before + data + after))
            expected.append(still_the_same(known, piece.kind, piece.data[at], data[at]))
    assert verdicts(items) == expected


@ALL
def test_each_bit_of_the_response_counts(known: Known) -> None:
    changed = list(flipped_hex(known.response))
    assert len(changed) == (128 if known.algorithm.startswith("MD5") else 256)
    items = [known.judged(known.header(response=response.encode())) for response in changed]
    assert not any(verdicts(items))


@ALL
def test_each_bit_of_the_stored_hash_counts(known: Known) -> None:
    items = [known.judged(known.header(), ha1=key) for key in flipped_hex(known.ha1)]
    assert not any(verdicts(items))


@pytest.mark.parametrize("known", [k for k in KNOWN if k.password is not None], ids=lambda known: known.id)
def test_each_bit_of_the_password_counts(known: Known) -> None:
    """3.4.2: A1."""
    keys = [
        ha1(*known.user, changed.decode("utf-8", "surrogateescape"), known.algorithm)
        for _, changed in flipped(known.password.encode())
    ]
    assert not any(verdicts([known.judged(known.header(), ha1=key) for key in keys]))


@ALL
def test_each_bit_of_the_method_counts(known: Known) -> None:
    """3.4.3: A2. A method's name is in one case only (RFC 3261, 7.1)."""
    items = [known.judged(known.header(), method=changed) for _, changed in flipped(known.method)]
    assert not any(verdicts(items))


@ALL
def test_each_bit_of_the_body_counts_with_auth_int_alone(known: Known) -> None:
    """3.4.3: H(entity-body) is a part of A2 with qop=auth-int, and of nothing otherwise."""
    if known.body_hash is not None:
        items = [
            known.judged(known.header(), body_hash=h.encode()) for h in flipped_hex(known.body_hash.decode())
        ]
    else:
        bodies = [changed for _, changed in flipped(known.body or b"v=0")]
        items = [known.judged(known.header(), body=body) for body in [*bodies, known.body + b"\0"]]
    assert verdicts(items) == [known.qop != "auth-int"] * len(items)


# What would take one kind of answer for another


@ALL
def test_no_other_algorithm_takes_the_answer(known: Known) -> None:
    """An answer is right for one algorithm; the name of another one does not make it a weaker one's."""
    names = ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"]
    others = [name for name in names if name != known.algorithm]
    items = [known.judged(known.header(algorithm=name.encode())) for name in [*others, "SHA", "SHA-512"]]
    if known.password is not None:
        for name in others:
            key = ha1(*known.user, known.password, name)
            items.append(known.judged(known.header(algorithm=name.encode()), ha1=key))
    assert not any(verdicts(items))


@ALL
def test_an_answer_without_one_of_its_parameters_is_refused(known: Known) -> None:
    """Without qop it is judged as RFC 2069 has it, and wrong; without any other there is nothing to judge."""
    for left_out in ("username", "realm", "nonce", "uri", "response", "qop", "nc", "cnonce"):
        given = {piece.kind: piece.data.decode() for piece in known.pieces if piece.kind.startswith("value ")}
        if given.pop(f"value {left_out}", None) is None:
            continue  # an answer of RFC 2069
        rest = pieces((kind.removeprefix("value "), value) for kind, value in given.items())
        assert verdicts([known.judged(b"".join(piece.data for piece in rest))]) == [False], left_out
