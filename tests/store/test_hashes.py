"""HA1 of a password, and what a digest is compared with."""

from auth_diameter.store.hashes import candidates, compute_ha1


def test_ha1_is_that_of_the_rfc():
    # RFC 2617, 3.5: its A1 is not printed as a hash, but this is its well-known MD5.
    assert compute_ha1("Mufasa", "testrealm@host.com", "Circle Of Life") == "939e7578ed9e3c518a452acee763bce9"


def test_ha1_is_taken_over_utf_8():
    assert compute_ha1("jürgen", "café.example", "naïve") == compute_ha1(
        "jürgen", "café.example", "naïve".encode()
    )


def test_a_gap_is_filled_with_an_ha1_that_is_nobodys():
    ha1 = compute_ha1("alice", "siphub.net", "secret")
    known, both = candidates((ha1, None), "MD5")
    assert known
    assert both.startswith(ha1)
    assert len(both) == 2 * len(ha1)
    unknown, nobodys = candidates((None, None), "MD5")
    assert not unknown
    assert nobodys == 2 * both[32:]
    assert len(candidates((None,), "SHA-256").ha1s) == 64


def test_what_a_digest_is_compared_with_is_not_shown():
    ha1 = compute_ha1("alice", "siphub.net", "secret")
    assert ha1 not in repr(candidates((ha1,), "MD5"))
