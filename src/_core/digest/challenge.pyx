"""Digest challenges, as WWW-Authenticate and Proxy-Authenticate carry them (RFC 7616, 3.3; RFC 3261, 20.44)."""

import re

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t

from auth_diameter._core.base.chars cimport ad_find_control, ad_find_quote
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport as_bytes, borrow, text_of
from auth_diameter._core.digest.params cimport (
    ALGORITHM, CONTROL, MAX_PARAMETER, NONCE, OK, OPAQUE, QOP, REALM, STALE, DigestFields, Field, find_bad_control,
    parameter_pairs, parse_error, parse_params, plain_value,
)

from auth_diameter._core.errors import ConfigError, ParseError

_TOKEN = re.compile(r"[\w\-.!%*+`'~]+", re.ASCII).fullmatch     # RFC 3261, 25.1
cdef frozenset _KNOWN = frozenset(("MD5", "SHA-256", "SHA-512-256"))


@cython.final
cdef class Challenge:
    """A Digest challenge (RFC 7616, 3.3; RFC 3261, 20.44): what WWW-Authenticate carries.

    :ivar realm: str. :ivar nonce: str. :ivar opaque: str or None.
    :ivar algorithm: str, "MD5" where none was named.
    :ivar qop: tuple of str, as offered; empty for an RFC 2069 challenge.
    :ivar stale: bool.
    """

    cdef object owner
    cdef DigestFields fields

    def __init__(self):
        raise TypeError("a Challenge comes from Challenge.parse(value)")

    @staticmethod
    def parse(value):
        """Reads the value of a WWW-Authenticate or Proxy-Authenticate header (str or bytes-like).

        :raises ParseError: another scheme, broken grammar, or no realm or nonce in it.
        """
        cdef bytes data = as_bytes(value, "value")
        cdef Challenge self
        cdef Py_ssize_t bad = find_bad_control(data)
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef int status
        if bad >= 0:
            raise parse_error(CONTROL, bad, "challenge")
        status = parse_params(
            Span(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data)), &fields, &offset)
        if status != OK:
            raise parse_error(status, offset, "challenge")
        if fields.value[REALM].p == NULL or fields.value[NONCE].p == NULL:
            raise ParseError("challenge: realm or nonce missing", offset)
        self = Challenge.__new__(Challenge)
        self.owner = data
        self.fields = fields
        return self

    cdef str text(self, Field field):
        cdef uint8_t room[MAX_PARAMETER]
        if self.fields.value[field].p == NULL:
            return None
        return text_of(plain_value(&self.fields, field, room))

    @property
    def realm(self):
        return self.text(REALM)

    @property
    def nonce(self):
        return self.text(NONCE)

    @property
    def opaque(self):
        return self.text(OPAQUE)

    @property
    def algorithm(self):
        return self.text(ALGORITHM) or "MD5"

    @property
    def qop(self):
        return tuple(word.strip() for word in (self.text(QOP) or "").split(",") if word.strip())

    @property
    def stale(self):
        return (self.text(STALE) or "").lower() == "true"

    @property
    def parameters(self):
        """All parameters as pairs (name in lower case, value), in order, unknown ones included."""
        return parameter_pairs(&self.fields)

    def __repr__(self):
        return f"<Challenge realm={self.realm!r} algorithm={self.algorithm} qop={self.qop} stale={self.stale}>"


cdef bint is_challenge(Span text) noexcept nogil:
    """Whether DISC's Challenge may become a header of ours: one line of the Digest scheme."""
    cdef DigestFields fields
    cdef size_t offset
    if ad_find_control(text.p, text.p + text.n) != text.p + text.n:
        return False
    return parse_params(text, &fields, &offset) == OK and (
        fields.value[REALM].p != NULL and fields.value[NONCE].p != NULL)


def quote(str value not None):
    """`value` as a quoted-string (RFC 3261, 25.1). :raises ConfigError: it holds a control character."""
    cdef Span s
    cdef const uint8_t *end
    _kept = borrow(value, &s, "value")
    end = s.p + s.n
    if ad_find_control(s.p, end) != end or "\t" in value:
        raise ConfigError("a quoted string takes no control characters")
    if ad_find_quote(s.p, end) != end:
        value = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{value}"'


def format_challenge(str realm not None, str nonce not None, *, str algorithm="MD5", qop=("auth",),
                     opaque=None, bint stale=False, bint userhash=False):
    """The value of a WWW-Authenticate header (RFC 7616, 3.3), str; it ends with a quoted parameter.

    :param qop: names to offer, in order; empty for an RFC 2069 challenge.
    :param userhash: whether the username may come hashed (RFC 7616, 3.4.4).
    :raises ConfigError: a value with a control character, or an algorithm that is no token.
    """
    if algorithm not in _KNOWN and not _TOKEN(algorithm):
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
