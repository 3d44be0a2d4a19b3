"""Writing the text of a challenge, for compiled code; the caller makes room."""

from libc.stdint cimport uint8_t
from libc.string cimport memchr, memcpy, strlen

from auth_diameter._core.base.chars cimport ad_find_control
from auth_diameter._core.base.span cimport Span


cdef inline uint8_t *put_span(uint8_t *q, Span s) noexcept nogil:
    memcpy(q, s.p, s.n)
    return q + s.n


cdef inline uint8_t *put_text(uint8_t *q, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    memcpy(q, text, n)
    return q + n


cdef inline uint8_t *put_escaped(uint8_t *q, Span s) noexcept nogil:
    """Writes the content of a quoted-string (RFC 3261, 25.1)."""
    cdef size_t i
    for i in range(s.n):
        if s.p[i] == c'"' or s.p[i] == c'\\':
            q[0] = c'\\'
            q += 1
        q[0] = s.p[i]
        q += 1
    return q


cdef inline bint is_quotable(Span s) noexcept nogil:
    """Whether a quoted string takes it: it has no control character."""
    cdef const uint8_t *end = s.p + s.n
    return ad_find_control(s.p, end) == end and (not s.n or memchr(s.p, c'\t', s.n) == NULL)
