"""Pointer and length, and the bounds-checked reads that every parser goes through.

A ``Span`` borrows: whoever fills one keeps the bytes alive. A ``Reader`` is a Span that is used up
from the left; each read says whether there was enough, and takes nothing where there was not
(``need <= left``, in unsigned arithmetic, so that no length can wrap around).

Every parser of ``_core`` returns in the same way; after it, callers write ``if not take_…`` or ``if … <= 0``::

    > 0    read: `out` is filled, and the Reader stands behind what was read
      0    not there: the Reader, or `offset`, is at the first byte that does not fit; at the end of
           a stream more bytes may make it whole
    < 0    malformed, where callers have to know in which way: a named constant says it

One that can fail in one way only, such as every ``take_…``, is a ``bint``. A whole message has more to tell
than a number can: SipMessage, AnswerView and QuestionView carry the fault themselves.
"""

from libc.stdint cimport uint8_t, uint32_t


cdef struct Span:
    const uint8_t *p
    size_t n


cdef struct Reader:
    const uint8_t *p
    const uint8_t *end


cdef inline bint take(Reader *r, size_t need, Span *out) noexcept nogil:
    """The next `need` bytes into `out`; False, and nothing taken, where there are fewer."""
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
    """4 bytes, big-endian; `out` has room for them."""
    out[0] = <uint8_t>(value >> 24)
    out[1] = <uint8_t>(value >> 16)
    out[2] = <uint8_t>(value >> 8)
    out[3] = <uint8_t>value


cdef inline uint8_t lower(uint8_t c) noexcept nogil:
    """ASCII lower case; every other byte as it is."""
    return c | 0x20 if c'A' <= c <= c'Z' else c


cdef inline bint equal_nocase(Span a, Span b) noexcept nogil:
    """ASCII case-insensitive equality."""
    cdef size_t i
    if a.n != b.n:
        return False
    for i in range(a.n):
        if a.p[i] != b.p[i] and lower(a.p[i]) != lower(b.p[i]):
            return False
    return True


cdef inline Span between(const uint8_t *start, const uint8_t *end) noexcept nogil:
    cdef Span s
    s.p = start
    s.n = <size_t>(end - start)
    return s
