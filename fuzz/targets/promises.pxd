"""What the targets hold what was said against, and how they write spans."""

from libc.stdint cimport uint8_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort
from libc.string cimport memcmp, strlen

from auth_diameter._core.base.chars cimport ad_skip_class
from auth_diameter._core.base.span cimport Reader, Span


cdef inline void hold(bint promise, const char *what) noexcept nogil:
    """Ends the process where `promise` is broken; a fuzzer keeps the input then."""
    if not promise:
        fprintf(stderr, "broken promise: %s\n", what)
        abort()


cdef inline bint inside(Span s, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Whether a span lies within the input; one that was not found is NULL and empty."""
    if s.p == NULL:
        return s.n == 0
    return p <= s.p <= end and s.n <= <size_t>(end - s.p)


cdef inline bint all_of(Span s, int set) noexcept nogil:
    return ad_skip_class(s.p, s.p + s.n, set) == s.p + s.n


cdef inline Span span_of(const char *text) noexcept nogil:
    return Span(<const uint8_t *>text, strlen(text))


cdef inline bint equal(Span a, Span b) noexcept nogil:
    return a.n == b.n and (a.n == 0 or memcmp(a.p, b.p, a.n) == 0)


cdef inline Reader reader_of(const uint8_t *data, size_t size) noexcept nogil:
    cdef Reader r
    r.p = data
    r.end = data + size
    return r
