"""Nonces: made and recognised with a key, without memory (RFC 7616, 3.3 and 5.4)."""

import hmac
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_diameter.verifier.nonces import Nonces, NonceState

NOW = 1_800_000_000.0
KEY = b"0123456789abcdef"


@pytest.fixture
def nonces():
    return Nonces(KEY, lifetime=300.0)


def test_a_nonce_is_recognised_by_whoever_has_the_key(nonces):
    nonce = nonces.make("siphub.net", NOW)
    assert Nonces(KEY).check(nonce, "siphub.net", NOW) is NonceState.FRESH


def test_a_nonce_needs_no_quoting_and_fits_a_header(nonces):
    # nonce-value is a quoted-string (RFC 7616, 3.3); hex digits need no escape in it.
    assert re.fullmatch(r"[0-9a-f]{56}", nonces.make("siphub.net", NOW))


def test_two_nonces_of_one_second_differ(nonces):
    made = {nonces.make("siphub.net", NOW) for _ in range(1000)}
    assert len(made) == 1000


def test_nor_are_those_of_two_processes_of_one_key_and_second_the_same():
    """After a restart, or on two nodes: the counts of one would be taken for those of the other."""
    made = [nonces.make("siphub.net", NOW) for nonces in (Nonces(KEY), Nonces(KEY)) for _ in range(1000)]
    assert len(set(made)) == 2000


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (0.0, NonceState.FRESH),
        (299.0, NonceState.FRESH),
        (300.0, NonceState.FRESH),
        (310.0, NonceState.FRESH),  # by the clock of another DISC it is 300
        (311.0, NonceState.EXPIRED),
        (1e6, NonceState.EXPIRED),
    ],
)
def test_a_nonce_expires_after_its_lifetime(nonces, age, state):
    nonce = nonces.make("siphub.net", NOW)
    assert nonces.check(nonce, "siphub.net", NOW + age) is state


def test_the_lifetime_is_that_of_the_one_who_checks():
    nonce = Nonces(KEY, lifetime=300.0).make("siphub.net", NOW)
    assert Nonces(KEY, lifetime=10.0).check(nonce, "siphub.net", NOW + 21) is NonceState.EXPIRED


def test_a_clock_that_steps_back_makes_the_future_foreign(nonces):
    nonce = nonces.make("siphub.net", NOW)
    assert nonces.check(nonce, "siphub.net", NOW - 10.0) is NonceState.FRESH
    assert nonces.check(nonce, "siphub.net", NOW - 11.0) is NonceState.FOREIGN
    assert nonces.check(nonce, "siphub.net", NOW - 60.0) is NonceState.FOREIGN


def test_a_nonce_is_for_the_realm_it_was_made_for(nonces):
    nonce = nonces.make("siphub.net", NOW)
    assert nonces.check(nonce, "example.org", NOW) is NonceState.FOREIGN
    # Realms are host names here, so that their case tells nothing (RFC 4343).
    assert nonces.check(nonce, "SipHub.NET", NOW) is NonceState.FRESH


def test_another_key_does_not_recognise_it(nonces):
    nonce = nonces.make("siphub.net", NOW)
    assert Nonces(b"another key that is secret").check(nonce, "siphub.net", NOW) is NonceState.FOREIGN
    # Without a key there is a random one: after a restart all nonces are foreign.
    assert Nonces().check(nonce, "siphub.net", NOW) is NonceState.FOREIGN


@pytest.mark.parametrize("place", [0, 7, 8, 23, 24, 55])
def test_a_nonce_that_was_touched_is_foreign(nonces, place):
    nonce = nonces.make("siphub.net", NOW)
    digit = "0" if nonce[place] != "0" else "1"
    touched = nonce[:place] + digit + nonce[place + 1 :]
    assert nonces.check(touched, "siphub.net", NOW) is NonceState.FOREIGN


def test_when_it_was_made(nonces):
    assert nonces.made_at(nonces.make("siphub.net", NOW + 0.7)) == NOW


def test_upper_case_is_not_what_was_sent(nonces):
    nonce = nonces.make("siphub.net", NOW).replace("0", "a")
    assert nonces.check(nonce.upper(), "siphub.net", NOW) is NonceState.FOREIGN


@given(st.text(max_size=80) | st.text("0123456789abcdef", min_size=56, max_size=56), st.text(max_size=20))
def test_what_others_invent_is_foreign_and_never_an_error(nonce, realm):
    assert Nonces(KEY).check(nonce, realm, NOW) is NonceState.FOREIGN


@given(st.text(max_size=40), st.floats(0, 4e9))
def test_every_realm_has_nonces(realm, now):
    # A realm that came as other bytes than UTF-8 is kept as surrogates.
    for text in (realm, realm.encode().decode("ascii", "surrogateescape")):
        nonces = Nonces(KEY)
        assert nonces.check(nonces.make(text, now), text, now) is NonceState.FRESH


@pytest.mark.parametrize("size", [1, 32, 64, 65, 200])
def test_the_mac_is_hmac_sha_256_of_time_salt_and_realm(size):
    """RFC 2104, for keys shorter and longer than a block of the hash."""
    key = bytes(range(size))
    nonce = Nonces(key).make("SipHub.net", 1_000_000.0)
    expected = hmac.digest(key, f"{nonce[:24]}MD5\0\0siphub.net".encode(), "sha256")[:16].hex()
    assert nonce[24:] == expected


@pytest.mark.parametrize("instructions", ["sha", "bmi2", "portable"])
def test_all_instructions_for_sha_256_give_the_same(instructions):
    """A nonce of one node is one of another, whatever its processor; texts of one block and of several."""
    program = """
import hmac
from auth_diameter._core import Nonces
for size in (1, 64, 65, 200):
    for source in ("", "s" * 20, "s" * 63, "s" * 200):
        key = bytes(range(size))
        nonce = Nonces(key).make("siphub.net", 1e6, "SHA-512-256-sess", source)
        text = f"{nonce[:24]}SHA-512-256-sess\\0{source}\\0siphub.net".encode()
        assert nonce[24:] == hmac.digest(key, text, "sha256")[:16].hex()
"""
    environment = {**os.environ, "AUTH_DIAMETER_SHA256": instructions}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    if b"has none of that name" in done.stderr and instructions != "portable":
        pytest.skip("not on this machine")
    assert (done.returncode, done.stderr) == (0, b"")


# ------------------------------------------------------------------ what a nonce is bound to


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512-256", "md5", ""])
def test_a_nonce_of_another_algorithm_is_foreign(nonces, algorithm):
    """Else the challenge for a strong algorithm could be answered with a weak one (RFC 8760, 6)."""
    nonce = nonces.make("siphub.net", NOW, "MD5")
    assert nonces.check(nonce, "siphub.net", NOW, algorithm) is NonceState.FOREIGN


def test_a_nonce_bound_to_an_address_is_foreign_from_elsewhere(nonces):
    nonce = nonces.make("siphub.net", NOW, source="192.0.2.1")
    assert nonces.check(nonce, "siphub.net", NOW, source="192.0.2.1") is NonceState.FRESH
    for source in ("192.0.2.2", "192.0.2.10", ""):
        assert nonces.check(nonce, "siphub.net", NOW, source=source) is NonceState.FOREIGN


def test_no_binding_reads_like_another(nonces):
    nonce = nonces.make("b.siphub.net", NOW, "MD5", "a")
    assert nonces.check(nonce, "siphub.net", NOW, "MD5", "a\0b.") is NonceState.FOREIGN
    assert nonces.check(nonce, "b.siphub.net", NOW, "MD5a", "") is NonceState.FOREIGN


def test_a_ring_of_keys():
    """The first makes, all are recognised: a new one comes in front, the old one goes a lifetime later."""
    old = Nonces([KEY]).make("siphub.net", NOW)
    ring = Nonces([b"the key to come!", KEY])
    new = ring.make("siphub.net", NOW)
    assert ring.check(old, "siphub.net", NOW) is NonceState.FRESH
    assert ring.check(new, "siphub.net", NOW) is NonceState.FRESH
    after = Nonces([b"the key to come!"])
    assert after.check(new, "siphub.net", NOW) is NonceState.FRESH
    assert after.check(old, "siphub.net", NOW) is NonceState.FOREIGN


@pytest.mark.parametrize("digit", range(56))
def test_any_flipped_bit_is_foreign(nonces, digit):
    nonce = nonces.make("siphub.net", NOW)
    for bit in range(8):
        changed = chr(ord(nonce[digit]) ^ 1 << bit)
        other = nonce[:digit] + changed + nonce[digit + 1 :]
        assert nonces.check(other, "siphub.net", NOW) is NonceState.FOREIGN


def test_other_keys_while_nonces_are_about():
    """SIGHUP: the new key makes nonces, those of keys that stay are recognised, of others foreign."""
    old, both, new = b"o" * 16, (b"n" * 16, b"o" * 16), b"n" * 16
    nonces = Nonces(old)
    first = nonces.make("a", 1000.0)
    nonces.use(both)
    second = nonces.make("a", 1000.0)
    assert nonces.check(first, "a", 1000.0) is nonces.check(second, "a", 1000.0) is NonceState.FRESH
    nonces.use(new)
    assert nonces.check(first, "a", 1000.0) is NonceState.FOREIGN
    assert nonces.check(second, "a", 1000.0) is NonceState.FRESH
