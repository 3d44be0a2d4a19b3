"""Digest credentials: RFC 7616, section 3.4; RFC 3261, 25.1; RFC 8187."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.places import VECTORS

from auth_diameter._core import (
    Challenge,
    Credentials,
    ParseError,
    digest_response,
    ha1,
    quote,
    verify,
    verify_many,
)

HEADERS = VECTORS / "digest-headers.jsonl"
RESPONSE = "0123456789abcdef" * 2
REQUIRED = {
    "username": '"alice"',
    "realm": '"siphub.net"',
    "nonce": '"bm9uY2U="',
    "uri": '"sip:siphub.net"',
    "response": f'"{RESPONSE}"',
}


def header(**changes: str | None) -> str:
    """A right header with parameters put in, changed, or (None) left out; star_ stands for "*"."""
    found = {**REQUIRED, **{name.replace("_star", "*"): value for name, value in changes.items()}}
    return "Digest " + ", ".join(f"{n}={v}" for n, v in found.items() if v is not None)


def refused(value: str | bytes, reason: str | None = None) -> int:
    """The offset of the error, which says what is wrong but nothing of what the header holds."""
    with pytest.raises(ParseError, match=reason) as caught:
        Credentials.parse(value)
    size = len(value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value)
    assert 0 <= caught.value.offset <= size
    assert RESPONSE not in str(caught.value)
    return caught.value.offset


# What they hold: 3.4


def test_all_parameters() -> None:
    c = Credentials.parse(
        header(
            algorithm="SHA-256",
            response=RESPONSE * 2,
            cnonce='"f2/wE4q7"',
            nc="00000001",
            qop="auth",
            opaque='"FQhe"',
            userhash="TRUE",
        )
    )
    assert (c.username, c.realm, c.nonce, c.uri) == ("alice", "siphub.net", "bm9uY2U=", "sip:siphub.net")
    assert (c.response, c.algorithm, c.cnonce, c.nc) == (RESPONSE * 2, "SHA-256", "f2/wE4q7", "00000001")
    assert (c.qop, c.opaque, c.userhash) == ("auth", "FQhe", True)


def test_without_those_that_may_be_missing() -> None:
    c = Credentials.parse(header())
    assert (c.algorithm, c.cnonce, c.nc, c.qop, c.opaque, c.userhash) == (None,) * 5 + (False,)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_like(kind: type) -> None:
    assert Credentials.parse(kind(header().encode())).username == "alice"


def test_neither_text_nor_bytes() -> None:
    with pytest.raises(TypeError, match="not NoneType"):
        Credentials.parse(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"Credentials\.parse"):
        Credentials()


@pytest.mark.parametrize("name", list(REQUIRED))
def test_missing(name: str) -> None:
    value = header(**{name: None})
    assert refused(value, "missing") == len(value)


@pytest.mark.parametrize(
    "value",
    [
        header().replace("Digest", "digest"),
        header().replace("Digest", "DIGEST"),
        header().replace("Digest ", "Digest \t  "),
        header().replace("Digest ", "Digest\r\n "),
        f"  {header()} \t",
        header().replace(", ", ","),
        header().replace(", ", " , "),
        header().replace(", ", ",\r\n\t"),
        header().replace("=", " =\r\n "),
        header() + ",",
        header().replace("Digest ", "Digest ,, ,"),
        header().replace(", ", ",,"),
        re.sub(r"\w+=", lambda name: name[0].upper(), header()),
        "Digest " + ", ".join(reversed(header()[7:].split(", "))),
        header(response=RESPONSE),
        header(foo="bar", x='"a, b=\\"c\\""'),
    ],
)
def test_as_senders_write_them(value: str) -> None:
    c = Credentials.parse(value)
    assert (c.username, c.realm, c.response) == ("alice", "siphub.net", RESPONSE)
    assert c.value == value.strip().encode()


@pytest.mark.parametrize(
    "value",
    ["", " ", "D", "Digest,username=a", "Digestn username=a", 'Basic "Digest"', '"Digest" username=a'],
)
def test_another_scheme(value: str) -> None:
    assert refused(value, "not the Digest scheme") == 0


@pytest.mark.parametrize(
    ("tail", "at", "reason"),
    [
        ("", 6, "no parameters"),
        (" ,,", 9, "no parameters"),
        (" username", 15, "'=' expected"),
        (" username, realm=", 15, "'=' expected"),
        (" =x", 7, "name expected"),
        (' "username"=x', 7, "name expected"),
        (" username=", 16, "token or quoted string"),
        (" username=,", 16, "token or quoted string"),
        (" username=\u00fc", 16, "token or quoted string"),
        (' username="a', 18, "quoted string"),
        (' username="a\\', 18, "quoted string"),
        (' username="a\\\u00fc"', 18, "quoted string"),
        (' username="a"x', 19, "',' expected"),
        (' username="a""b"', 19, "',' expected"),
        (" username=a realm=b", 18, "',' expected"),
        (" username=a, username=a", 19, "given twice"),
        (" username=a, USERNAME=b", 19, "given twice"),
        (" foo=a, bar=b, Foo=c", 21, "given twice"),
        (f' nonce="{"a" * 1025}"', 14, "more than 1024"),
        (f" foo={'a' * 1025}", 11, "more than 1024"),
        ("".join(f" x{n}=1," for n in range(17)), 6 + 10 * 6 + 6 * 7 + 1, "more than 16"),
    ],
)
def test_broken_grammar(tail: str, at: int, reason: str) -> None:
    assert refused(f"Digest{tail}", reason) == at


def test_two_credentials_in_one_header() -> None:
    refused(f"{header()}, {header()}", "'=' expected")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('""', ""),
        ('"al ice"', "al ice"),
        ('"al\\"ice"', 'al"ice'),
        ('"al\\\\ice"', "al\\ice"),
        ('"\\a\\l"', "al"),
        ('"a\tb"', "a\tb"),
        ('"a\r\n b"', "a b"),
        ('"a\r\n \r\n\t b"', "a b"),
        ('"a\\\x01b"', "a\x01b"),
        ('"J\u00e4s\u00f8n"', "J\u00e4s\u00f8n"),
        ("'alice'", "'alice'"),
        ("alice", "alice"),
        (f'"{"a" * 1024}"', "a" * 1024),
    ],
)
def test_quoted_strings(value: str, text: str) -> None:
    assert Credentials.parse(header(username=value)).username == text


@pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
def test_control_characters(byte: int) -> None:
    # They may not even stand outside of a value: what is shown or sent on would carry them along.
    assert refused(header(username=f'"a{chr(byte)}b"'), "control") == len('Digest username="a')
    assert refused(header() + chr(byte), "control") == len(header())


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\r\n\r\n"], ids=ascii)
def test_no_backslash_makes_a_line_end_a_character(end: str) -> None:
    """RFC 3261, 25.1: a quoted-pair is of any character but these; what is sent on would become two lines."""
    at = len('Digest username="a\\')
    assert refused(header(username=f'"a\\{end}b"'), "control") == at


def test_bytes_that_are_no_utf8() -> None:
    c = Credentials.parse(header().encode().replace(b"alice", b"al\xffce"))
    assert c.username.encode("utf-8", "surrogateescape") == b"al\xffce"
    assert Credentials.parse(c.value).username == c.username


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 63, 64, 65, 128])
@pytest.mark.parametrize(
    ("algorithm", "right"),
    [
        (None, [32]),
        ("md5", [32]),
        ("MD5-sess", [32]),
        ("SHA-256", [64]),
        ('"SHA-512-256-sess"', [64]),
        ("SHA-1", [32, 64]),
    ],
)
def test_response_is_as_long_as_the_algorithm_makes_it(
    algorithm: str | None, right: list[int], size: int
) -> None:
    value = header(response='"' + "0" * size + '"', algorithm=algorithm)
    if size in right:
        assert Credentials.parse(value).response == "0" * size
    else:
        assert refused(value, "response is not 32") == value.index("response=") + 10


@pytest.mark.parametrize("response", ["g" * 32, "0" * 31 + " ", "0" * 31 + "\u0663", "\\0" * 16])
def test_response_is_hexadecimal(response: str) -> None:
    refused(header(response=f'"{response}"'), "response is not 32")


def test_response_in_upper_case_and_of_sha_256() -> None:
    for response, algorithm in (("ABCDEF01" * 4, "MD5"), ("ABCDEF01" * 8, "SHA-256")):
        c = Credentials.parse(header(response=f'"{response}"', algorithm=algorithm))
        assert c.response == response


@pytest.mark.parametrize("nc", ['""', "1", "0000001", "000000002", "0000000g", '"0000 001"'])
def test_not_an_nc(nc: str) -> None:
    value = header(qop="auth", cnonce='"x"', nc=nc)
    assert refused(value, "nc is not 8") == value.index("nc=" + nc) + 3 + (nc[0] == '"')


@pytest.mark.parametrize("nc", ["00000000", "ffffffff", "ABCDEF01", '"00000001"'])
def test_nc(nc: str) -> None:
    assert Credentials.parse(header(qop="auth", cnonce='"x"', nc=nc)).nc == nc.strip('"')
    Credentials.parse(header(nc=nc))  # without qop it means nothing; seen in the field


@pytest.mark.parametrize(
    "changes",
    [
        {"qop": "auth", "cnonce": '"x"'},
        {"qop": "auth", "nc": "00000001"},
        {"qop": '"auth,auth-int"', "nc": "00000001", "cnonce": '"x"'},
        {"qop": '"auth "', "nc": "00000001", "cnonce": '"x"'},
        {"qop": '" "', "nc": "00000001", "cnonce": '"x"'},
    ],
)
def test_not_a_qop(changes: dict[str, str]) -> None:
    refused(header(**changes), "qop names more than one value, or lacks nc or cnonce")


@pytest.mark.parametrize("qop", ["auth", '"auth"', "AUTH-INT", "auth-conf"])
def test_qop(qop: str) -> None:
    # One that we do not know is no broken grammar: it only never verifies.
    c = Credentials.parse(header(qop=qop, nc="00000001", cnonce='""'))
    assert c.qop == qop.strip('"')


@pytest.mark.parametrize("more", [{}, {"nc": "00000001", "cnonce": '"x"'}])
def test_an_empty_qop_is_none(more: dict[str, str]) -> None:
    """Clients that were offered no qop send qop="": their digest is that of RFC 2069."""
    response = digest_response(ha1("alice", "siphub.net", "secret"), "REGISTER", "sip:siphub.net", "bm9uY2U=")
    value = header(response=f'"{response}"', qop='""', **more)
    found = Credentials.parse(value)
    assert (found.qop, found.protection, found.nonce_count) == (None, None, 1)
    assert ("qop", "") in found.parameters
    assert found.value == value.encode()
    assert verify(found, "REGISTER", ha1("alice", "siphub.net", "secret"))
    assert list(verify_many([(found, "REGISTER", ha1("alice", "siphub.net", "secret"))])) == [1]


# username*: 3.4, RFC 8187


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("UTF-8''J%C3%A4s%C3%B8n%20Doe", "J\u00e4s\u00f8n Doe"),
        ("utf-8'de'a%40b", "a@b"),
        ("UTF-8''", ""),
        ("UTF-8''a%00b", "a\x00b"),
        ("UTF-8''%ff", "\udcff"),
        ("\"UTF-8''a#$&+.^`|~!\"", "a#$&+.^`|~!"),
        ("UTF-8''a#$&+.^`|~!", "a#$&+.^`|~!"),
    ],
)
def test_username_star(value: str, text: str) -> None:
    c = Credentials.parse(header(username=None, username_star=value))
    assert c.username == text
    assert repr(c)


@pytest.mark.parametrize(
    "value",
    ["alice", "UTF-8'", "UTF-8'alice", "ISO-8859-1''a", "UTF-8''abc%C", "UTF-8''%zz", "UTF-8''%",
     "UTF-8''a'b", "UTF-8''a*", "\"UTF-8''a b\"", '"UTF-8\'\'\\"a"', "\"UTF-8''\u00fc\""],
)  # fmt: skip
def test_not_a_username_star(value: str) -> None:
    refused(header(username=None, username_star=value), r"username\* is not")


def test_a_token_has_none_of_what_an_ext_value_may_have() -> None:
    """RFC 3261, 25.1, beside attr-char of RFC 8187, 3.2.1."""
    refused(header(foo="a$b"), "','")
    c = Credentials.parse(header(username=None, username_star="UTF-8''a$b") + ", foo*=UTF-8''#&, bar=1")
    assert c.parameters[-3:] == (("username*", "UTF-8''a$b"), ("foo*", "UTF-8''#&"), ("bar", "1"))


def test_username_star_of_bytes_that_are_no_utf8() -> None:
    value = header(username=None, username_star="\"UTF-8''X\"").encode().replace(b"X", b"\xff")
    refused(value, r"username\* is not")


def test_both_usernames() -> None:
    refused(header(username_star="UTF-8''bob"), "both")


# All of them: parameters


def test_parameters_in_order_with_unknown_ones() -> None:
    c = Credentials.parse(header(X_Y='"a\\"b"', foo="bar", QOP=None) + ",, Z = 1 ,")
    assert c.parameters == (
        ("username", "alice"),
        ("realm", "siphub.net"),
        ("nonce", "bm9uY2U="),
        ("uri", "sip:siphub.net"),
        ("response", RESPONSE),
        ("x_y", 'a"b'),
        ("foo", "bar"),
        ("z", "1"),
    )


tokens = st.text(alphabet="abcXYZ019-.!%*_+`'~", min_size=1, max_size=20)
texts = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f"), max_size=50)


@given(st.dictionaries(tokens.map(str.lower), texts, max_size=12), texts, st.booleans())
def test_round_trip(extra: dict[str, str], username: str, upper: bool) -> None:
    known = {"username", "username*", "realm", "nonce", "uri", "response", "nc", "qop"}
    extra = {name: value for name, value in extra.items() if name not in known}
    pairs = [
        ("username", username),
        *((name, value) for name, value in REQUIRED.items() if name != "username"),
    ]
    pairs = [(name, value.strip('"') if name != "username" else value) for name, value in pairs]
    pairs += extra.items()
    text = "Digest " + ", ".join(f"{n.upper() if upper else n}={quote(v)}" for n, v in pairs)
    c = Credentials.parse(text)
    assert list(c.parameters) == pairs
    assert c.username == username


# Shown to people


def test_repr_holds_no_secret() -> None:
    c = Credentials.parse(header(cnonce='"clientnonce"', nc="00000001", qop="auth", opaque='"opaquevalue"'))
    assert repr(c) == "<Credentials username='alice' realm='siphub.net' algorithm=MD5 qop=auth>"


# Headers of others


def rows() -> list[object]:
    found = [json.loads(line) for line in HEADERS.read_text().splitlines()]
    return [pytest.param(row["header"].encode("latin-1"), row["verdict"], id=row["id"]) for row in found]


@pytest.mark.parametrize(("value", "verdict"), rows())
def test_headers_of_all_kinds(value: bytes, verdict: str) -> None:
    # "reject": well formed, and refused by who knows the user. "nocred": of another scheme or realm.
    if verdict == "bad":
        refused(value)
    elif verdict == "nocred" and b"UNION SELECT" not in value:
        refused(value, "scheme|missing")
    else:
        Credentials.parse(value)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (header().replace("Digest ", "Digest" + " " * 60_000), True),
        (header() + "," * 60_000, True),
        (header(response='"' + "0" * 65535 + '"'), False),
        (header(nonce='"' + "A" * 65000 + '"'), False),
        (header(username='"' + "\\\\" * 30_000 + '"'), False),
        (header(username='"' + "a\r\n " * 15_000 + '"'), False),
        ("Digest " + ",".join(f"x{n}=1" for n in range(10_000)), False),
    ],
    ids=["spaces", "commas", "response", "nonce", "backslashes", "folds", "parameters"],
)
def test_long_ones(value: str, good: bool) -> None:
    if good:
        assert len(Credentials.parse(value).parameters) == 5
    else:
        refused(value)


@given(st.text(alphabet='Digest username="\\\r\n,= \x00\u00fcnonce', max_size=60))
def test_any_text_is_read_or_refused(tail: str) -> None:
    for value in (tail, f"Digest {tail}", f"{header()}, {tail}"):
        for parse in (Credentials.parse, Challenge.parse):
            offset = 0
            try:
                parse(value)
            except ParseError as error:
                offset = error.offset
            assert 0 <= offset <= len(value.encode())


@pytest.mark.parametrize("name", ["credentials", "challenge"])
def test_every_prefix(name: str) -> None:
    # Up to the end of the last parameter that they must have.
    parse, last = {
        "credentials": (Credentials.parse, REQUIRED["response"]),
        "challenge": (Challenge.parse, REQUIRED["nonce"]),
    }[name]
    value = header(username='"a\\"b"')
    size = value.index(last) + len(last)
    parse(value[:size])
    for n in range(size):
        with pytest.raises(ParseError) as caught:
            parse(value[:n])
        assert 0 <= caught.value.offset <= n
