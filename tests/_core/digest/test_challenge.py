"""Challenges: what WWW-Authenticate carries (RFC 7616, 3.3; RFC 3261, 20.44)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter._core import Challenge, ConfigError, ParseError, format_challenge, quote

texts = st.text(st.characters(codec="utf-8", min_codepoint=32, exclude_characters="\x7f"), max_size=50)


def test_challenge() -> None:
    c = Challenge.parse(
        'digest realm="a \\"b\\"", nonce="n", algorithm=SHA-256, qop="auth, auth-int ,", opaque="o", '
        "stale=TRUE, x=y"
    )
    assert (c.realm, c.nonce, c.algorithm, c.qop) == ('a "b"', "n", "SHA-256", ("auth", "auth-int"))
    assert (c.opaque, c.stale, c.parameters[-1]) == ("o", True, ("x", "y"))
    assert repr(c) == "<Challenge realm='a \"b\"' algorithm=SHA-256 qop=('auth', 'auth-int') stale=True>"


def test_challenge_of_rfc_2069() -> None:
    c = Challenge.parse('Digest realm="", nonce=""')
    assert (c.algorithm, c.qop, c.opaque, c.stale) == ("MD5", (), None, False)
    with pytest.raises(TypeError, match=r"Challenge\.parse"):
        Challenge()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ('Basic realm="a"', "not the Digest scheme"),
        ('Digest realm="a"', "missing"),
        ('Digest nonce="a"', "missing"),
        ('Digest realm="a", nonce="b", nonce="c"', "twice"),
        ('Digest realm="a", nonce="b"\r\nEvil: c', "control"),
        ('Digest realm="a\nb", nonce="b"', "control"),
    ],
)
def test_not_a_challenge(value: str, reason: str) -> None:
    with pytest.raises(ParseError, match=reason):
        Challenge.parse(value)


names = st.sampled_from(["auth", "auth-int", "token"])


@given(
    texts, texts, st.sampled_from(["MD5", "SHA-256-sess"]), st.lists(names), st.none() | texts, st.booleans()
)
def test_challenge_round_trip(
    realm: str, nonce: str, algorithm: str, qop: list[str], opaque: str | None, stale: bool
) -> None:
    text = format_challenge(realm, nonce, algorithm=algorithm, qop=qop, opaque=opaque, stale=stale)
    c = Challenge.parse(text)
    assert (c.realm, c.nonce, c.algorithm, c.qop) == (realm, nonce, algorithm, tuple(qop))
    assert (c.opaque, c.stale) == (opaque, stale)


def test_a_challenge_ends_with_a_quoted_parameter() -> None:
    # Kamailio's C module puts the next header right behind it where a CRLF is missing.
    assert (
        format_challenge("siphub.net", "n")
        == 'Digest realm="siphub.net", nonce="n", algorithm=MD5, qop="auth"'
    )
    assert format_challenge("a", "n", opaque="o", stale=True).endswith(
        'stale=true, algorithm=MD5, opaque="o", qop="auth"'
    )


@pytest.mark.parametrize("text", ["a\r\nb", "a\nb", "\x00", "\x7f", "a\tb"])
def test_nothing_can_be_put_into_a_challenge(text: str) -> None:
    with pytest.raises(ConfigError):
        quote(text)
    for changes in ({"realm": text}, {"nonce": text}, {"opaque": text}, {"qop": [text]}, {"algorithm": text}):
        with pytest.raises(ConfigError):
            format_challenge(**{"realm": "r", "nonce": "n", **changes})  # type: ignore[arg-type]
    with pytest.raises(ConfigError):
        format_challenge("r", "n", algorithm="MD5, x=y")
