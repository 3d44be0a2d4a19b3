"""Digest responses: RFC 7616, sections 3.4.1 to 3.4.4; RFC 2069 without qop; RFC 8760 for SHA-2."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit.places import VECTORS

from auth_diameter._core import (
    ConfigError,
    Credentials,
    body_hash,
    digest_response,
    ha1,
    quote,
    user_hash,
    verify,
    verify_many,
)

ANSWERS = json.loads((VECTORS / "digest-known-answers.json").read_text())
ALGORITHMS = ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"]
HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


def oracle(
    algorithm: str,
    user: bytes,
    method: bytes,
    uri: bytes,
    nonce: bytes,
    qop: bytes | None = None,
    nc: bytes = b"",
    cnonce: bytes = b"",
    body: bytes = b"",
) -> str:
    """RFC 7616, 3.4.1 word by word, over hashlib; `user` is username:realm:password."""
    name = HASHES[algorithm.removesuffix("-sess")]

    def h(*parts: bytes) -> bytes:
        return hashlib.new(name, b":".join(parts)).hexdigest().encode()

    a1 = h(user)
    if algorithm.endswith("-sess"):
        a1 = h(a1, nonce, cnonce)
    a2 = h(method, uri, h(body)) if qop == b"auth-int" else h(method, uri)
    middle = (nonce,) if qop is None else (nonce, nc, cnonce, qop)
    return h(a1, *middle, a2).decode()


def credentials(
    response: str,
    *,
    uri: str = "sip:siphub.net",
    nonce: str = "bm9uY2U=",
    algorithm: str | None = None,
    qop: str | None = None,
    nc: str | None = None,
    cnonce: str | None = None,
) -> Credentials:
    pairs = {"algorithm": algorithm, "qop": qop, "nc": nc}
    quoted = {"username": "alice", "realm": "siphub.net", "uri": uri, "nonce": nonce, "cnonce": cnonce}
    text = [f"{name}={quote(value)}" for name, value in quoted.items() if value is not None]
    text += [f"{name}={value}" for name, value in pairs.items() if value is not None]
    return Credentials.parse("Digest " + ", ".join([*text, f'response="{response}"']))


# Answers that others found


def answers(*kinds: str) -> list[object]:
    # Of two messages only the hash of the body was published, which is no input of ours.
    rows = [row for kind in kinds for row in ANSWERS[kind] if "body_hash" not in row]
    return [pytest.param(row, id=row["id"]) for row in rows]


def right(row: dict[str, str]) -> str:
    # Two of the published ones are misprints (RFC 2069, erratum 749; RFC 7616, erratum 4897).
    return row["response"] if row["verified"] else row["computed"]


@pytest.mark.parametrize("row", answers("published", "generated"))
def test_known_answers(row: dict[str, str]) -> None:
    algorithm = row["algorithm"]
    if row["password"] is None:
        known_ha1 = row["ha1"]  # published without
    else:
        known_ha1 = ha1(row["username"], row["realm"], row["password"], algorithm)
    if not algorithm.endswith("-sess"):
        assert known_ha1 == row["ha1"]
    body = row.get("body", "").encode()
    response = digest_response(
        known_ha1, row["method"], row["uri"], row["nonce"],
        algorithm=algorithm, qop=row["qop"], nc=row["nc"], cnonce=row["cnonce"], body=body,
    )  # fmt: skip
    assert response == right(row)
    if row["nc"] is not None and len(row["nc"]) != 8:
        return  # a device that sends nine digits; such a header is refused (RFC 7616, 3.4)
    c = credentials(
        response, uri=row["uri"], nonce=row["nonce"], algorithm=algorithm,
        qop=row["qop"], nc=row["nc"], cnonce=row["cnonce"],
    )  # fmt: skip
    assert verify(c, row["method"], known_ha1, body) is True
    assert verify_many([(c, row["method"], known_ha1, body)]) == b"\1"
    assert verify(c, row["method"] + "x", known_ha1, body) is False
    assert verify(c, row["method"], ha1("x", "y", "z", algorithm), body) is False


def test_misprints() -> None:
    assert sum(not row["verified"] for row in ANSWERS["published"]) == 2


@pytest.mark.parametrize("row", answers("negative"))
def test_31_digits(row: dict[str, str]) -> None:
    # RFC 3665, 2.1 as printed: refused, not filled up.
    with pytest.raises(ValueError, match="response is not 32"):
        Credentials.parse(row["header"])


# HA1: 3.4.2


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_ha1(algorithm: str) -> None:
    text = "J\u00e4s\u00f8n:siphub.net:p\u00e4ss:w\u00f6rd".encode()
    expected = hashlib.new(HASHES[algorithm.removesuffix("-sess")], text).hexdigest()
    # The -sess step belongs to a response, not to what is stored.
    assert ha1("J\u00e4s\u00f8n", "siphub.net", "p\u00e4ss:w\u00f6rd", algorithm) == expected
    assert ha1("J\u00e4s\u00f8n", "siphub.net", "p\u00e4ss:w\u00f6rd", algorithm.lower()) == expected


def test_ha1_of_bytes_that_are_no_utf8() -> None:
    assert ha1("\udcff", "r", "p") == hashlib.md5(b"\xff:r:p").hexdigest()
    assert ha1("a" * 10**6, "r", "p") == hashlib.md5(b"a" * 10**6 + b":r:p").hexdigest()


@pytest.mark.parametrize("algorithm", ["", "md4", "SHA-1", "MD5-", "-sess", "MD5-sess-sess"])
def test_no_such_algorithm(algorithm: str) -> None:
    with pytest.raises(ConfigError, match="algorithm"):
        ha1("a", "b", "c", algorithm)
    with pytest.raises(ConfigError, match="algorithm"):
        digest_response("0" * 32, "REGISTER", "sip:a", "n", algorithm=algorithm)


# digest_response: 3.4.1


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"ha1": "0" * 31}, "ha1"),
        ({"ha1": "0" * 64}, "ha1"),
        ({"algorithm": "SHA-256"}, "ha1"),
        ({"qop": "auth", "nc": "00000001"}, "qop"),
        ({"qop": "auth", "cnonce": "x"}, "qop"),
        ({"algorithm": "MD5-sess"}, "cnonce"),
    ],
)
def test_not_enough_for_a_response(changes: dict[str, str], what: str) -> None:
    values = {"ha1": "0" * 32, "method": "REGISTER", "uri": "sip:a", "nonce": "n", **changes}
    with pytest.raises(ConfigError, match=what):
        digest_response(**values)  # type: ignore[arg-type]


# verify


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("qop", [None, "auth", "auth-int"])
def test_verify(algorithm: str, qop: str | None) -> None:
    key = ha1("alice", "siphub.net", "wonderland", algorithm)
    use: dict[str, Any] = {"algorithm": algorithm, "qop": qop, "nc": "00000001", "cnonce": "f2/wE4q7"}
    response = digest_response(
        key, "REGISTER", "sip:siphub.net", "bm9uY2U=", body=b"hello", **use
    )  # fmt: skip
    c = credentials(response, **use)
    assert verify(c, "REGISTER", key, b"hello") is True
    assert verify(c, b"REGISTER", key.encode(), bytearray(b"hello")) is True
    assert verify(c, "REGISTER", key.upper(), memoryview(b"hello")) is True
    assert verify(credentials(response.upper(), **use), "REGISTER", key, b"hello") is True
    assert verify(c, "REGISTER", key, b"hello!") is (qop != "auth-int")
    assert verify(c, "REGISTER", key) is (qop != "auth-int")
    assert verify(c, "register", key, b"hello") is False
    for wrong in ("", key[:-1], key + "0", "0" * len(key), key[:32] if len(key) == 64 else key * 2):
        assert verify(c, "REGISTER", wrong, b"hello") is False
    for change in ({"nonce": "bm9uY2V="}, {"uri": "sip:siphub.org"}):
        assert verify(credentials(response, **use, **change), "REGISTER", key, b"hello") is False
    if qop is not None:
        for change in ({"nc": "00000002"}, {"cnonce": "f2/wE4q8"}):
            assert verify(credentials(response, **{**use, **change}), "REGISTER", key, b"hello") is False


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_all_values_long_and_with_quoted_pairs(algorithm: str) -> None:
    """Each is unquoted into a place of its own (RFC 3261, 25.1), however many there are."""
    key = ha1("alice", "siphub.net", "wonderland", algorithm)
    uri, nonce, cnonce = f"sip:{'u' * 1000}", "n" * 1000, "c" * 1000
    response = digest_response(
        key, "REGISTER", uri, nonce, algorithm=algorithm, qop="auth", nc="00000001", cnonce=cnonce
    )
    values = {"uri": uri, "nonce": nonce, "cnonce": cnonce}
    text = "".join(f', {name}="{value[:-1]}\\{value[-1]}"' for name, value in values.items())
    start = f'Digest username="alice", realm="siphub.net", algorithm={algorithm}, response="{response}"'
    c = Credentials.parse(start + text + ", qop=auth, nc=00000001")
    assert (c.uri, c.nonce, c.cnonce) == (uri, nonce, cnonce)
    assert verify(c, "REGISTER", key)
    assert verify_many([(c, "REGISTER", key)] * 3) == b"\1\1\1"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_every_digit_counts(algorithm: str) -> None:
    key = ha1("alice", "siphub.net", "wonderland", algorithm)
    response = digest_response(key, "REGISTER", "sip:siphub.net", "bm9uY2U=", algorithm=algorithm)
    items = []
    for at, digit in enumerate(response):
        for other in "0123456789abcdef":
            if other != digit:
                changed = response[:at] + other + response[at + 1 :]
                items.append((credentials(changed, algorithm=algorithm), "REGISTER", key))
                changed_key = key[:at] + ("1" if key[at] == "0" else "0") + key[at + 1 :]
                items.append((credentials(response, algorithm=algorithm), "REGISTER", changed_key))
    assert not any(verify(*item) for item in items)
    assert verify_many(items) == bytes(len(items))


def test_no_algorithm_is_md5_and_its_name_is_in_any_case() -> None:
    key = ha1("alice", "siphub.net", "wonderland")
    response = digest_response(key, "REGISTER", "sip:siphub.net", "bm9uY2U=")
    for algorithm in (None, "MD5", "md5", '"Md5"'):
        assert verify(credentials(response, algorithm=algorithm), "REGISTER", key)


@pytest.mark.parametrize(
    "changes", [{"algorithm": "CHACHA123"}, {"algorithm": "AKAv1-MD5"}, {"qop": "auth-conf"}]
)
def test_what_we_do_not_know_is_false(changes: dict[str, str]) -> None:
    c = credentials("0" * 32, nc="00000001", cnonce="x", **changes)
    assert verify(c, "REGISTER", "0" * 32) is False
    assert verify_many([(c, "REGISTER", "0" * 32)]) == b"\0"


# In the next four the response is what comes out where the check in question is left out.


def hashed(algorithm: str, *parts: str) -> str:
    name = HASHES[algorithm.removesuffix("-sess")]
    return hashlib.new(name, ":".join(parts).encode()).hexdigest()


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-512-256"])
def test_a_qop_that_nobody_knows_is_never_right(algorithm: str) -> None:
    """Even where it is hashed as the others are: what it protects cannot be told."""
    key = ha1("alice", "siphub.net", "wonderland", algorithm)
    values = {"nc": "00000001", "cnonce": "x", "qop": "auth-conf"}
    a2 = hashed(algorithm, "REGISTER", "sip:siphub.net")
    response = hashed(algorithm, key, "bm9uY2U=", *values.values(), a2)
    c = credentials(response, algorithm=algorithm, **values)
    assert verify(c, "REGISTER", key) is False
    assert verify_many([(c, "REGISTER", key), (plain(1)), (c, "REGISTER", key, b"", None)]) == b"\0\1\0"


@pytest.mark.parametrize("algorithm", ["MD5-sess", "SHA-256-sess", "SHA-512-256-sess"])
def test_session_without_cnonce_is_false(algorithm: str) -> None:
    """An empty one is one (RFC 7616, 3.4.2), but where there is none the client has said nothing."""
    key = ha1("alice", "siphub.net", "wonderland", algorithm)
    session = hashed(algorithm, key, "bm9uY2U=", "")
    response = hashed(algorithm, session, "bm9uY2U=", hashed(algorithm, "REGISTER", "sip:siphub.net"))
    for cnonce, expected in ((None, False), ("", True)):
        c = credentials(response, algorithm=algorithm, cnonce=cnonce)
        assert verify(c, "REGISTER", key) is expected
        assert verify_many([(c, "REGISTER", key)]) == bytes([expected])


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"])
@pytest.mark.parametrize("key", ["", "0", "0" * 32, "0" * 63, "0" * 65, "0" * 128])
def test_a_key_of_another_length_is_false(algorithm: str, key: str) -> None:
    """A store without HA1 of SHA-2 has "" there, or that of MD5: nobody may log in with a hash of it."""
    used = hashed(algorithm, key, "bm9uY2U=", "x") if algorithm.endswith("-sess") else key
    response = hashed(algorithm, used, "bm9uY2U=", hashed(algorithm, "REGISTER", "sip:siphub.net"))
    c = credentials(response, algorithm=algorithm, cnonce="x")
    assert verify(c, "REGISTER", key) is verify(c, "REGISTER", key.encode()) is False
    assert verify_many([(c, "REGISTER", key)]) == b"\0"


@pytest.mark.parametrize("key", ["", "0" * 31, "0" * 33, "0" * 64])
@pytest.mark.parametrize("qop", [None, "auth"])
def test_an_md5_key_of_another_length_is_false(key: str, qop: str | None) -> None:
    use: dict[str, Any] = {"qop": qop, "nc": "00000001", "cnonce": "x"} if qop else {}
    for used in (key, key[:32]):
        middle = ["00000001", "x", qop] if qop else []
        a2 = hashed("MD5", "REGISTER", "sip:siphub.net")
        c = credentials(hashed("MD5", used, "bm9uY2U=", *middle, a2), **use)
        assert verify(c, "REGISTER", key) is False
        assert verify_many([(c, "REGISTER", key)]) == b"\0"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256", "SHA-256-sess", "SHA-512-256"])
@pytest.mark.parametrize("size", [0, 1, 31, 33, 40, 63, 65, 128])
def test_a_body_hash_of_another_length_is_false(algorithm: str, size: int) -> None:
    """It comes from the SIP server, which may have hashed with another algorithm than the client."""
    key = ha1("alice", "siphub.net", "wonderland", algorithm)
    values = {"nc": "00000001", "cnonce": "x", "qop": "auth-int"}
    used = hashed(algorithm, key, "bm9uY2U=", "x") if algorithm.endswith("-sess") else key
    given = "0" * size
    a2 = hashed(algorithm, "REGISTER", "sip:siphub.net", given)
    c = credentials(hashed(algorithm, used, "bm9uY2U=", *values.values(), a2), algorithm=algorithm, **values)
    assert verify(c, "REGISTER", key, body_hash=given) is False
    assert verify_many([(c, "REGISTER", key, b"", given)]) == b"\0"


def test_auth_int_without_a_body_hashes_the_empty_one() -> None:
    key = ha1("alice", "siphub.net", "wonderland")
    use = {"qop": "auth-int", "nc": "00000001", "cnonce": "x"}
    response = digest_response(key, "REGISTER", "sip:siphub.net", "bm9uY2U=", **use)  # type: ignore[arg-type]
    c = credentials(response, **use)
    assert verify(c, "REGISTER", key)
    assert (
        verify_many([(c, "REGISTER", key), (c, "REGISTER", key, b""), (c, "REGISTER", key, b"x")])
        == b"\1\1\0"
    )


@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256"])
def test_the_hash_of_the_body_in_its_place(algorithm: str) -> None:
    # RFC 7616, 3.4.3: whoever verifies need not have the body.
    values = {"algorithm": algorithm, "qop": "auth-int", "nc": "00000001", "cnonce": "c", "body": b"v=0"}
    secret = ha1("alice", "siphub.net", "wonderland", algorithm)
    response = digest_response(secret, "INVITE", "sip:bob@siphub.net", "n", **values)  # type: ignore[arg-type]
    c = Credentials.parse(
        f'Digest username="alice", realm="siphub.net", nonce="n", uri="sip:bob@siphub.net", qop=auth-int, '
        f'nc=00000001, cnonce="c", algorithm={algorithm}, response="{response}"'
    )
    hashed = body_hash(c, b"v=0")
    assert hashed is not None
    name = {"M": "md5", "2": "sha256", "5": "sha512_256"}[algorithm.removeprefix("SHA-")[0]]
    assert hashed.decode() == hashlib.new(name, b"v=0").hexdigest()
    wrong = body_hash(c, b"v=1")
    for value, expected in (
        (hashed, True),
        (hashed.upper(), True),
        (hashed.decode(), True),
        (wrong, False),
        (hashed[:-1], False),
        (hashed + b"0", False),
        (b"", False),
    ):
        assert verify(c, "INVITE", secret, body_hash=value) is expected
        assert verify_many([(c, "INVITE", secret, b"", value)]) == bytes([expected])
    assert verify_many([(c, "INVITE", secret, b"v=0", None)]) == b"\1"


def test_the_body_s_hash_of_an_algorithm_that_nobody_knows() -> None:
    c = credentials("0" * 32, algorithm="SHA-1")
    assert body_hash(c, b"") is None


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        # RFC 7616, 3.9.2
        ("SHA-512-256", "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"),
        ("SHA-512-256-sess", "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b"),
    ],
)
def test_user_hash(algorithm: str, expected: str) -> None:
    assert user_hash("J\u00e4s\u00f8n Doe", "api@example.org", algorithm) == expected


def test_verify_many_of_mixed_algorithms() -> None:
    items, expected = [], []
    for n, algorithm in enumerate(
        ["MD5", "SHA-256", "MD5-sess", "SHA-512-256-sess", "MD5", "SHA-512-256"] * 40
    ):
        secret = ha1(f"user{n}", "siphub.net", "wonderland", algorithm)
        values = {"algorithm": algorithm, "qop": "auth", "nc": f"{n + 1:08x}", "cnonce": "c"}
        method = "INVITE" if n % 7 else "BYE"
        response = digest_response(secret, method, "sip:bob@siphub.net", f"n{n}", **values)  # type: ignore[arg-type]
        items.append(
            (
                Credentials.parse(
                    f'Digest username="user{n}", realm="siphub.net", nonce="n{n}", uri="sip:bob@siphub.net", '
                    f'qop=auth, nc={n + 1:08x}, cnonce="c", algorithm={algorithm}, response="{response}"'
                ),
                "INVITE",
                secret,
            )
        )
        expected.append(n % 7 != 0)
    assert verify_many(items) == bytearray(expected)


def test_arguments_of_other_kinds() -> None:
    c = credentials("0" * 32)
    with pytest.raises(TypeError):
        verify(None, "REGISTER", "0" * 32)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="method"):
        verify(c, None, "0" * 32)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ha1"):
        verify(c, "REGISTER", 1)  # type: ignore[arg-type]


# verify_many


def item(n: int, *, wrong: bool = False) -> tuple[Credentials, str, str, bytes]:
    """One of a kind: algorithms, -sess, qop, quoted pairs, and lengths on both sides of what lanes take."""
    pick = random.Random(n)
    algorithm = pick.choice([None, "MD5", "MD5", "MD5", *ALGORITHMS])
    qop = pick.choice([None, "auth", "auth", "auth-int"])
    cnonce = "c" * pick.choice([1, 8, 40]) + pick.choice(["", '"', "\\"])
    nonce = f"{n:08x}" + "N" * pick.choice([0, 20, 200, 400]) + pick.choice(["", '"'])
    uri = "sip:" + "u" * pick.choice([1, 30, 60, 200, 1000])
    body = pick.randbytes(pick.randrange(100))
    key = ha1(f"user{n}", "siphub.net", "p", algorithm or "MD5")
    response = digest_response(
        key, "REGISTER", uri, nonce, algorithm=algorithm or "MD5",
        qop=qop, nc="00000001", cnonce=cnonce, body=body,
    )  # fmt: skip
    if wrong:
        at = pick.randrange(len(response))
        response = response[:at] + ("1" if response[at] == "0" else "0") + response[at + 1 :]
    c = credentials(
        response, uri=uri, nonce=nonce, algorithm=algorithm, qop=qop, nc="00000001", cnonce=cnonce
    )
    return c, "REGISTER", key, body


def plain(n: int, *, wrong: bool = False) -> tuple[Credentials, str, str]:
    """As a registrar sees them: MD5, qop=auth, all of about the same length."""
    key = ha1(f"user{n}", "siphub.net", "p")
    use = {"qop": "auth", "nc": f"{n:08x}", "cnonce": f"{n * 7:x}"}
    response = digest_response(key, "INVITE", f"sip:{n}@siphub.net", "bm9uY2U=", **use)  # type: ignore[arg-type]
    if wrong:
        response = response[:-1] + ("1" if response[-1] == "0" else "0")
    return credentials(response, uri=f"sip:{n}@siphub.net", **use), "INVITE", key


@pytest.mark.parametrize("make", [plain, item])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 15, 16, 17, 127, 128, 129, 255, 256, 257, 1000])
def test_verify_many(make: object, size: int) -> None:
    pick = random.Random(size)
    wrong = [pick.random() < 0.3 for _ in range(size)]
    items = [make(n, wrong=bad) for n, bad in enumerate(wrong)]  # type: ignore[operator]
    found = verify_many(items)
    assert type(found) is bytearray
    assert found == bytes(not bad for bad in wrong)
    assert found == bytes(verify(*one) for one in items)


def test_no_input_in_lanes_runs_into_the_next() -> None:
    """The lanes have 192 bytes for A2 and 448 for the rest; what is longer is hashed alone."""
    key = ha1("alice", "siphub.net", "p")
    sizes = [(4, nonce) for nonce in range(370, 430)] + [(uri, 8) for uri in range(170, 200)]
    items: list[tuple[Credentials, str, str]] = []
    for uri_size, nonce_size in sizes:
        uri, nonce = "u" * uri_size, "n" * nonce_size
        response = digest_response(key, "REGISTER", uri, nonce)
        items += [(credentials(response, uri=uri, nonce=nonce), "REGISTER", key), plain(nonce_size)]
    assert verify_many(items) == b"\1" * len(items)


def test_verify_many_in_several_threads_at_once() -> None:
    """It works without the GIL; all may judge the same credentials (see sanitize.sh thread)."""
    items = [plain(n, wrong=n % 3 == 0) for n in range(500)]
    expected = bytes(n % 3 != 0 for n in range(500))
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: verify_many(items), range(40)))
    assert found == [expected] * 40


def test_verify_many_of_any_iterable() -> None:
    assert verify_many(plain(n) for n in range(3)) == b"\1\1\1"
    assert verify_many(()) == b""


@pytest.mark.parametrize(
    "items",
    [
        [()],
        [(credentials("0" * 32),)],
        [(credentials("0" * 32), "INVITE")],
        [(credentials("0" * 32), "INVITE", "0" * 32, b"", None, 1)],
        [[credentials("0" * 32), "INVITE", "0" * 32]],
        [(None, "INVITE", "0" * 32)],
        [("Digest", "INVITE", "0" * 32)],
        [(credentials("0" * 32), 1, "0" * 32)],
        [(credentials("0" * 32), "INVITE", None)],
        [plain(1), None],
        [None],
    ],
)
def test_not_items(items: list[tuple[Credentials, str, str]]) -> None:
    with pytest.raises(TypeError):
        verify_many(items)


def test_references_are_given_back() -> None:
    one = plain(1)
    items = [one] * 300
    counts = [sys.getrefcount(part) for part in one]
    for _ in range(3):
        verify_many(items)
        verify(*one)
        with pytest.raises(TypeError):
            verify_many([*items, None])  # type: ignore[list-item]
    assert [sys.getrefcount(part) for part in one] == counts


# Against hashlib

texts = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f"), max_size=40)
# Around the sizes where MD5 takes another block, and those that lanes and buffers hold.
sizes = st.integers(0, 200) | st.sampled_from([447, 448, 449, 867, 868, 900, 1000, 1024])


@given(
    st.sampled_from(ALGORITHMS),
    texts,
    texts,
    st.sampled_from(["A", "REGISTER", "M" * 60]),
    st.binary(max_size=100),
    sizes,
    sizes,
    sizes,
    st.sampled_from([None, "auth", "auth-int"]),
    st.sampled_from(["", '"\\', "\u00fc"]),
)
@example("MD5", "a", "b", "REGISTER", b"", 31, 868, 1, None, "")
@example("MD5", "a", "b", "REGISTER", b"", 46, 30, 10, "auth", "")
@example("MD5", "a", "b", "REGISTER", b"", 47, 30, 10, "auth", "")
def test_as_hashlib_has_it(
    algorithm: str,
    username: str,
    password: str,
    method: str,
    body: bytes,
    uri_size: int,
    nonce_size: int,
    cnonce_size: int,
    qop: str | None,
    odd: str,
) -> None:
    # `odd` needs quoted-pairs, or has more bytes than characters.
    uri, nonce, cnonce = (
        ("x" * size)[len(odd.encode()) * 2 :] + odd for size in (uri_size, nonce_size, cnonce_size)
    )
    key = ha1(username, "siphub.net", password, algorithm)
    use = {"algorithm": algorithm, "qop": qop, "nc": "0000000A", "cnonce": cnonce}
    response = digest_response(key, method, uri, nonce, body=body, **use)  # type: ignore[arg-type]
    assert response == oracle(
        algorithm,
        f"{username}:siphub.net:{password}".encode(),
        method.encode(),
        uri.encode(),
        nonce.encode(),
        None if qop is None else qop.encode(),
        b"0000000A",
        cnonce.encode(),
        body,
    )
    c = credentials(response, uri=uri, nonce=nonce, **use)
    assert verify(c, method, key, body) is True
    assert verify_many([(c, method, key, body)] * 2) == b"\1\1"


@given(st.integers(0, 3000))
def test_sizes_that_no_header_may_have(size: int) -> None:
    # digest_response has no limit, a header does.
    text = "x" * size
    expected = oracle("MD5", b"a:b:c", b"REGISTER", text.encode(), text.encode())
    assert digest_response(ha1("a", "b", "c"), "REGISTER", text, text) == expected


LANES = """
import hashlib
from auth_diameter._core import Credentials, ha1, md5_lanes, verify_many

def response(secret, uri, nonce):
    a2 = hashlib.md5(f"REGISTER:{uri}".encode()).hexdigest()
    return hashlib.md5(f"{secret}:{nonce}:{a2}".encode()).hexdigest()

secret = ha1("alice", "siphub.net", "wonderland")
items = []
for size in range(301):
    uri, nonce = "sip:" + "u" * size, "n" * (300 - size)
    right = response(secret, uri, nonce)
    for value in (right, right[:-1] + ("0" if right[-1] != "0" else "1")):
        text = 'Digest username="alice", realm="siphub.net", '
        text += f'nonce="{nonce}", uri="{uri}", response="{value}"'
        items.append((Credentials.parse(text), "REGISTER", secret))
assert verify_many(items) == bytearray([1, 0] * 301)
print(md5_lanes())
"""


@pytest.mark.parametrize("lanes", ["avx512", "avx2", "sse2", "neon", "scalar"])
def test_lanes_forced_by_the_environment(lanes: str) -> None:
    """Each kind of lanes against hashlib, with URIs and nonces of 0 to 300 bytes."""
    environment = {**os.environ, "AUTH_DIAMETER_MD5_LANES": lanes}
    done = subprocess.run(
        [sys.executable, "-c", LANES], env=environment, capture_output=True, text=True, check=False
    )
    if "this machine or build has no" in done.stderr:
        pytest.skip(f"no {lanes} on this machine")
    assert (done.stdout.strip(), done.stderr) == (lanes, "")


def test_lanes_that_do_not_exist() -> None:
    environment = {**os.environ, "AUTH_DIAMETER_MD5_LANES": "mmx"}
    done = subprocess.run(
        [sys.executable, "-c", "import auth_diameter"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "AUTH_DIAMETER_MD5_LANES: this machine or build has no 'mmx'" in done.stderr
