"""Pointer and length, and the bounds-checked reads that every parser uses.

A ``Span`` borrows bytes: the caller keeps them alive. A ``Reader`` is a Span that parsers consume from the
left. A read either takes all it needs or nothing. The check is ``need <= left`` in unsigned arithmetic, which
cannot wrap around.

All parsers of ``_core`` share one return convention::

    > 0    read; `out` is filled, and the Reader is behind the bytes that were read
      0    not there, or in a stream not complete; the Reader, or `offset`, is at the byte that does not fit
    < 0    malformed; a named constant tells how, and the Reader, or `offset`, is at the place

A parser with one way to fail, such as any ``take_…``, is a ``bint``. A fault in a whole message needs more than a
number: it is in SipMessage, AnswerView or QuestionView.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp


cdef struct Span:
    const uint8_t *p
    size_t n


cdef struct Reader:
    const uint8_t *p
    const uint8_t *end


cdef inline bint take(Reader *r, size_t need, Span *out) noexcept nogil:
    """The next `need` bytes."""
    if not need <= <size_t>(r.end - r.p):
        return False
    out.p = r.p
    out.n = need
    r.p += need
    return True


cdef inline bint take_u32(Reader *r, uint32_t *out) noexcept nogil:
    """The next 4 bytes, big-endian."""
    cdef Span s
    if not take(r, 4, &s):
        return False
    out[0] = (<uint32_t>s.p[0] << 24) | (<uint32_t>s.p[1] << 16) | (<uint32_t>s.p[2] << 8) | s.p[3]
    return True


cdef inline void put_u32(uint8_t *out, uint32_t value) noexcept nogil:
    """Writes 4 bytes, big-endian."""
    out[0] = <uint8_t>(value >> 24)
    out[1] = <uint8_t>(value >> 16)
    out[2] = <uint8_t>(value >> 8)
    out[3] = <uint8_t>value


cdef inline uint8_t lower(uint8_t c) noexcept nogil:
    """The lower case of an ASCII letter; any other byte unchanged."""
    return c | 0x20 if c'A' <= c <= c'Z' else c


cdef inline bint equal_nocase(Span a, Span b) noexcept nogil:
    """Whether two spans are equal without regard to the case of ASCII letters."""
    cdef size_t i
    if a.n != b.n:
        return False
    if a.n == 0 or memcmp(a.p, b.p, a.n) == 0:      # nearly all that are equal are so to the letter
        return True
    for i in range(a.n):
        if a.p[i] != b.p[i] and lower(a.p[i]) != lower(b.p[i]):
            return False
    return True


cdef inline Reader reader_of(Span s) noexcept nogil:
    cdef Reader r
    r.p = s.p
    r.end = s.p + s.n
    return r


cdef inline Span between(const uint8_t *start, const uint8_t *end) noexcept nogil:
    cdef Span s
    s.p = start
    s.n = <size_t>(end - start)
    return s
