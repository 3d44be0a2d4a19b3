"""Text in UTF-8, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span


cdef inline bint is_text(Span s) noexcept nogil:
    """Whether bytes are UTF-8 (RFC 3629, 4) without control characters."""
    cdef size_t i = 0, more
    cdef uint8_t c, least, most
    while i < s.n:
        c = s.p[i]
        i += 1
        if c < 0x80:
            if c < 0x20 or c == 0x7F:
                return False
            continue
        least, most = 0x80, 0xBF        # of the next byte
        if 0xC2 <= c <= 0xDF:
            more = 1
        elif 0xE0 <= c <= 0xEF:
            more = 2
            if c == 0xE0:
                least = 0xA0            # no overlong form
            elif c == 0xED:
                most = 0x9F             # no surrogate
        elif 0xF0 <= c <= 0xF4:
            more = 3
            if c == 0xF0:
                least = 0x90
            elif c == 0xF4:
                most = 0x8F
        else:
            return False
        if s.n - i < more:
            return False
        while more:
            if not least <= s.p[i] <= most:
                return False
            least, most = 0x80, 0xBF
            i += 1
            more -= 1
    return True
