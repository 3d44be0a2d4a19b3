"""Character classes and scans of ``chars.h``, and the lexical steps that the grammars of SIP share."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Reader, Span

cdef extern from "base/chars.h" nogil:
    const uint8_t AD_TOKEN, AD_USER, AD_PARAM, AD_HNAME, AD_URIC, AD_HOST, AD_HEX, AD_DIGIT
    bint ad_is(uint8_t c, int set) noexcept
    bint ad_is_control(uint8_t c) noexcept
    void ad_copy(uint8_t *to, const uint8_t *start, size_t n) noexcept
    const uint8_t *ad_skip_class(const uint8_t *p, const uint8_t *end, int set) noexcept
    bint ad_is_word(const uint8_t *p, size_t n, const char *word, size_t m) noexcept
    bint ad_is_hex(const uint8_t *p, size_t n) noexcept
    const uint8_t *ad_find_control(const uint8_t *p, const uint8_t *end) noexcept
    const uint8_t *ad_find_quote(const uint8_t *p, const uint8_t *end) noexcept


cdef inline int hex_value(uint8_t c) noexcept nogil:
    """The value of a hexadecimal digit."""
    return c - c'0' if c <= c'9' else (c | 0x20) - c'a' + 10


cdef inline bint is_escape(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Whether two hexadecimal digits follow the "%" at `p` (RFC 3261, 25.1: escaped; RFC 8187: pct-encoded)."""
    return 3 <= end - p and ad_is(p[1], AD_HEX) and ad_is(p[2], AD_HEX)


cdef inline uint8_t escaped_byte(const uint8_t *p) noexcept nogil:
    """The byte of the escape at `p`, which `is_escape` accepted."""
    return <uint8_t>(hex_value(p[1]) * 16 + hex_value(p[2]))


cdef inline bint is_lws(uint8_t c) noexcept nogil:
    """Whether it is SP, HTAB or part of a fold: the value of a header field has CR and LF in folds only."""
    return c == c' ' or c == c'\t' or c == c'\r' or c == c'\n'


cdef inline void skip_lws(Reader *r) noexcept nogil:
    """Passes over LWS."""
    cdef const uint8_t *p = r.p
    while p < r.end and p[0] <= c' ' and is_lws(p[0]):    # most are not; the first comparison tells
        p += 1
    r.p = p


cdef inline void trim(Span *s) noexcept nogil:
    """Cuts LWS off both ends."""
    cdef const uint8_t *end = s.p + s.n
    while end > s.p and is_lws((end - 1)[0]):
        end -= 1
    while s.p < end and is_lws(s.p[0]):
        s.p += 1
    s.n = <size_t>(end - s.p)


cdef inline bint skip_byte(Reader *r, uint8_t c) noexcept nogil:
    """The byte `c` with LWS on both sides (RFC 3261, 25.1: SEMI, EQUAL …)."""
    skip_lws(r)
    if r.p < r.end and r.p[0] == c:
        r.p += 1
        skip_lws(r)
        return True
    return False


cdef inline bint take_class(Reader *r, int set, Span *out) noexcept nogil:
    """1*(bytes of the class `set`)"""
    out.p = r.p
    r.p = ad_skip_class(r.p, r.end, set)
    out.n = <size_t>(r.p - out.p)
    return out.n > 0


cdef inline bint is_all(Span s, int set) noexcept nogil:
    """Whether all bytes are of the class `set`."""
    return ad_skip_class(s.p, s.p + s.n, set) == s.p + s.n


cdef inline bint is_word(Span s, const char *word, size_t n) noexcept nogil:
    """Whether `s` is `word` of n bytes in any case; `s` holds no control character."""
    return ad_is_word(s.p, s.n, word, n)


cdef inline bint take_quoted(Reader *r, Span *out, bint *escaped) noexcept nogil:
    """A quoted-string with r.p on its opening quote; `out` is the content without the quotes.

    `escaped` is whether it holds quoted-pairs or folds, which `unquote` resolves.
    """
    cdef const uint8_t *start = r.p + 1
    cdef const uint8_t *p = start
    escaped[0] = False
    while True:
        p = ad_find_quote(p, r.end)
        if p == r.end:
            r.p = p
            return False
        if p[0] == c'"':
            out.p = start
            out.n = <size_t>(p - start)
            r.p = p + 1
            return True
        escaped[0] = True
        if p[0] == c'\\':  # \ : quoted-pair = "\" (%x00-09 / %x0B-0C / %x0E-7F)
            if not 2 <= r.end - p or p[1] == c'\n' or p[1] == c'\r' or p[1] > 127:
                r.p = p
                return False
            p += 2
        elif p[0] == c'\r' and 3 <= r.end - p and p[1] == c'\n' and (p[2] == c' ' or p[2] == c'\t'):
            p += 3      # a fold counts as one space
        else:
            r.p = p
            return False


cdef inline size_t unquote(Span s, uint8_t *out) noexcept nogil:
    """Writes the content of a quoted-string with quoted-pairs resolved and each fold as one SP.

    `out` has room for s.n bytes.

    Returns:
        How many bytes were written.
    """
    cdef const uint8_t *p = s.p
    cdef const uint8_t *end = s.p + s.n
    cdef uint8_t *q = out
    while p < end:
        if p[0] == c'\\' and p + 1 < end:
            p += 1
        elif p[0] == c'\r':
            while p < end and is_lws(p[0]):
                p += 1
            q[0] = c' '
            q += 1
            continue
        q[0] = p[0]
        q += 1
        p += 1
    return <size_t>(q - out)
