"""Digest challenges, as WWW-Authenticate and Proxy-Authenticate carry them (RFC 7616, 3.3; RFC 3261, 20.44)."""

import re

cimport cython
from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.base.chars cimport ad_find_control, ad_find_quote
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.digest.params cimport (
    ALGORITHM, NONCE, OK, OPAQUE, QOP, REALM, STALE, DigestFields, Field, is_true, parameter_pairs, parse_params,
    parse_value, text_value,
)

from auth_diameter._core.digest.algorithms import ALGORITHMS as _ALGORITHMS
from auth_diameter._core.errors import ConfigError, ParseError

_TOKEN = re.compile(r"[\w\-.!%*+`'~]+", re.ASCII).fullmatch     # RFC 3261, 25.1


@cython.final
cdef class Challenge:
    """Challenge()\n--\n
    A Digest challenge, the value of WWW-Authenticate (RFC 7616, 3.3; RFC 3261, 20.44).

    Made by ``Challenge.parse``; immutable.
    """

    cdef object owner
    cdef DigestFields fields

    def __init__(self):
        raise TypeError("a Challenge comes from Challenge.parse(value)")

    @staticmethod
    def parse(value):
        """Parses the value of a WWW-Authenticate or Proxy-Authenticate header.

        Args:
            value: str or bytes-like, from the scheme on.

        Returns:
            Challenge.

        Raises:
            ParseError: the scheme is not Digest, the grammar is broken, or realm or nonce is missing.
        """
        cdef Challenge self = Challenge.__new__(Challenge)
        cdef size_t offset = 0
        self.owner = parse_value(value, "challenge", &self.fields, &offset)
        if not is_complete(&self.fields):
            raise ParseError("challenge: realm or nonce missing", offset)
        return self

    cdef str text(self, Field field):
        return text_value(&self.fields, field)

    @property
    def realm(self):
        """The realm, str."""
        return self.text(REALM)

    @property
    def nonce(self):
        """The nonce, str."""
        return self.text(NONCE)

    @property
    def opaque(self):
        """The opaque value, str, or None."""
        return self.text(OPAQUE)

    @property
    def algorithm(self):
        """The algorithm, str; "MD5" if none is given (RFC 7616, 3.3)."""
        return self.text(ALGORITHM) or "MD5"

    @property
    def qop(self):
        """The offered values of qop, tuple of str; empty in an RFC 2069 challenge."""
        return tuple(word.strip() for word in (self.text(QOP) or "").split(",") if word.strip())

    @property
    def stale(self):
        """Whether stale=true, bool: the nonce was refused, not the password."""
        return is_true(&self.fields, STALE)

    @property
    def parameters(self):
        """All parameters in order, tuple of pairs (name in lower case, value) of str; unknown ones included."""
        return parameter_pairs(&self.fields)

    def __repr__(self):
        return f"<Challenge realm={self.realm!r} algorithm={self.algorithm} qop={self.qop} stale={self.stale}>"


cdef bint is_challenge(Span text, KnownChallenge *known) noexcept nogil:
    """Whether a Challenge from DISC may become a header field: one line of the Digest scheme.

    Args:
        known: what this says of the challenge before, and now of this one, or NULL. DISC's challenges often
            differ in their nonces alone, so that the rest needs no second look.
    """
    cdef DigestFields fields
    if known != NULL and is_known_but_for_nonce(text, known):
        return True
    if ad_find_control(text.p, text.p + text.n) != text.p + text.n or not read_challenge(text, &fields):
        return False
    if known != NULL:
        remember_challenge(text, &fields, known)
    return True


cdef inline bint is_known_but_for_nonce(Span text, const KnownChallenge *known) noexcept nogil:
    """Whether a challenge is that one, or the same with another nonce of that length.

    The grammar reads both alike then, up to the nonce, over it and behind it: between the quotes are neither
    quotes nor backslashes nor control characters.
    """
    cdef const uint8_t *nonce
    cdef const uint8_t *behind
    if text.n != known.n or known.n == 0:
        return False
    nonce = text.p + known.nonce
    behind = nonce + known.nonce_size
    return (memcmp(text.p, known.text, known.nonce) == 0
            and memcmp(behind, known.text + (behind - text.p), <size_t>(text.p + text.n - behind)) == 0
            and ad_find_quote(nonce, behind) == behind)


cdef inline void remember_challenge(Span text, const DigestFields *fields, KnownChallenge *known) noexcept nogil:
    """Keeps an accepted challenge, unless it is long or its nonce is no plain quoted string."""
    cdef Span nonce = fields.value[NONCE]
    if text.n <= MOST_KNOWN and (nonce.p - 1)[0] == c'"' and not fields.escaped & (1u << NONCE):
        memcpy(known.text, text.p, text.n)
        known.n = text.n
        known.nonce = <size_t>(nonce.p - text.p)
        known.nonce_size = nonce.n


cdef bint read_challenge(Span text, DigestFields *out) noexcept nogil:
    """Parses a challenge.

    Returns:
        Whether it is one; `out` is filled.
    """
    cdef size_t offset
    return parse_params(text, out, &offset) == OK and is_complete(out)


cdef bint is_stale_challenge(Span text) noexcept nogil:
    """Whether text is a challenge with stale=true: the nonce was refused, not the password."""
    cdef DigestFields fields
    return read_challenge(text, &fields) and is_true(&fields, STALE)


cdef inline bint is_complete(const DigestFields *fields) noexcept nogil:
    """Whether the parameters that a challenge must have are there (RFC 7616, 3.3)."""
    return fields.value[REALM].p != NULL and fields.value[NONCE].p != NULL


def quote(str value not None):
    """The value as a quoted-string (RFC 3261, 25.1).

    Args:
        value: str.

    Returns:
        Str.

    Raises:
        ConfigError: the value holds a control character.
    """
    cdef Span s
    cdef const uint8_t *end
    _kept = borrow(value, &s, "value")
    end = s.p + s.n
    if ad_find_control(s.p, end) != end or "\t" in value:
        raise ConfigError("a quoted string takes no control characters")
    if ad_find_quote(s.p, end) != end:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


@cython.binding(True)       # inspect loses the comma of ("auth",) in a signature that is text
@cython.embedsignature(False)
def format_challenge(str realm not None, str nonce not None, *, str algorithm="MD5", qop=("auth",),
                     opaque=None, bint stale=False, bint userhash=False):
    """The value of a WWW-Authenticate header (RFC 7616, 3.3).

    Args:
        realm: str.
        nonce: str.
        algorithm: str, a token.
        qop: iterable of str, the values to offer in order; empty for an RFC 2069 challenge.
        opaque: str, or None.
        stale: whether the nonce was refused, not the password.
        userhash: whether the username may come hashed (RFC 7616, 3.4.4).

    Returns:
        Str, which ends with a quoted parameter.

    Raises:
        ConfigError: a value holds a control character, or the algorithm is not a token.
    """
    if algorithm not in _ALGORITHMS and not _TOKEN(algorithm):
        raise ConfigError(f"algorithm {algorithm!r}: not a token of RFC 3261, 25.1")
    cdef str text = f"Digest realm={quote(realm)}, nonce={quote(nonce)}"
    if stale:
        text += ", stale=true"
    if userhash:
        text += ", userhash=true"
    text += f", algorithm={algorithm}"
    if opaque is not None:
        text += f", opaque={quote(opaque)}"
    if qop:
        text += f", qop={quote(','.join(qop))}"
    return text
