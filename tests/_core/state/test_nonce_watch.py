"""Several DISC that refuse each other's nonces: which refusals are a sign of it.

What a client makes of it is in client/test_nonce_watch.py.
"""

import pytest

from auth_diameter._core import NonceIssuers

ONE, OTHER = 7, 3  # numbers of DISC


def challenge(nonce, more=""):
    return f'Digest realm="r", nonce="{nonce}", qop="auth"{more}'.encode()


def refuse(issuers, count=3, now=0.0, more=", stale=true", used="n"):
    """So many nonces that one DISC issues and the other one answers with a challenge."""
    for number in range(count):
        issuers.challenged(None, ONE, (challenge(f"n{number}"),), now)
        issuers.challenged(f"{used}{number}", OTHER, (challenge(f"new{number}", more),), now)


def test_three_refusals_are_a_warning_once():
    issuers = NonceIssuers()
    refuse(issuers, 2)
    assert issuers.take_warning() is None
    refuse(issuers, 1)
    assert issuers.take_warning() == (ONE, OTHER)
    refuse(issuers, 10)
    assert issuers.take_warning() is None


@pytest.mark.parametrize(
    ("more", "is_sign"),
    [
        (", stale=true", True),
        (', stale="TRUE"', True),  # RFC 7616, 3.3: in letters of any case
        (", stale=false", False),
        ("", False),  # a wrong password, with --rechallenge
    ],
)
def test_a_refusal_says_stale(more, is_sign):
    issuers = NonceIssuers()
    refuse(issuers, more=more)
    assert issuers.take_warning() == ((ONE, OTHER) if is_sign else None)


def test_a_nonce_is_refused_that_was_issued():
    issuers = NonceIssuers()
    refuse(issuers, 10, used="unknown")
    assert issuers.take_warning() is None


def test_its_first_use_is_what_counts():
    """A second one is stale for good reason."""
    issuers = NonceIssuers()
    for number in range(10):
        issuers.challenged(None, ONE, (challenge(f"n{number}"),), 0.0)
        issuers.authorized(f"n{number}", ONE, 0.0)
        issuers.challenged(f"n{number}", OTHER, (challenge(f"new{number}", ", stale=true"),), 0.0)
    assert issuers.take_warning() is None


def test_a_nonce_without_its_quoted_pairs_is_the_same():
    issuers = NonceIssuers()
    for number in range(3):
        issuers.challenged(None, ONE, (challenge(rf"\n{number}\""),), 0.0)
        issuers.challenged(f'n{number}"', OTHER, (challenge("new", ", stale=true"),), 0.0)
    assert issuers.take_warning() == (ONE, OTHER)


def test_one_of_several_challenges_is_enough():
    """RFC 8760, 2.4: one for each algorithm; what is no challenge is passed over."""
    issuers = NonceIssuers()
    for number in range(3):
        several = (b"Basic", b"Digest realm=r", challenge("a"), challenge(f"n{number}"))
        issuers.challenged(None, ONE, several, 0.0)
        issuers.challenged(f"n{number}", OTHER, (challenge("b"), challenge("c", ", stale=true"), b""), 0.0)
    assert issuers.take_warning() == (ONE, OTHER)
    issuers = NonceIssuers()
    issuers.challenged(None, ONE, tuple(challenge(f"n{number}") for number in range(1000)), 0.0)
    assert 0 < len(issuers) < 1000


def test_a_nonce_that_is_issued_again_is_of_its_last_issuer():
    issuers = NonceIssuers()
    for number in range(10):
        issuers.challenged(None, OTHER, (challenge(f"n{number}"),), 0.0)
    refuse(issuers, 2)
    assert len(issuers) == 8 + 2
    assert issuers.take_warning() is None
    refuse(issuers, 1)
    assert issuers.take_warning() == (ONE, OTHER)


@pytest.mark.parametrize(("later", "is_sign"), [(60.0, True), (60.1, False)])
def test_a_nonce_is_remembered_for_a_minute(later, is_sign):
    issuers = NonceIssuers()
    for number in range(3):
        issuers.challenged(None, ONE, (challenge(f"n{number}"),), 0.0)
    for number in range(3):
        issuers.challenged(f"n{number}", OTHER, (challenge("new", ", stale=true"),), later)
    assert (issuers.take_warning() is not None) == is_sign


def test_what_was_counted_is_forgotten_with_the_nonces():
    issuers = NonceIssuers()
    refuse(issuers, 2)
    for number in range(5000):
        issuers.challenged(None, ONE, (challenge(f"unanswered{number}"),), 0.0)
    before = len(issuers)
    issuers.challenged(None, ONE, (challenge("early"),), 60.0)
    assert len(issuers) == before == 256
    issuers.challenged(None, ONE, (challenge("late"),), 60.1)
    assert len(issuers) == 1
    refuse(issuers, 2, now=60.1)
    assert issuers.take_warning() is None
    refuse(issuers, 1, now=60.1)
    assert issuers.take_warning() == (ONE, OTHER)


def test_arguments_of_another_kind_are_refused():
    issuers = NonceIssuers()
    with pytest.raises(TypeError):
        issuers.authorized(None, ONE, 0.0)
    with pytest.raises(TypeError):
        issuers.challenged(None, ONE, ("text",), 0.0)
    with pytest.raises(TypeError):
        issuers.challenged(b"bytes", ONE, (), 0.0)
    assert len(issuers) == 0
