/* Character classes of RFC 3261, 25.1 (for URIs those of RFC 2396), and scans for control characters and
 * quotes, 16 bytes at a time if the machine can.
 */
#ifndef AUTH_DIAMETER_CHARS_H
#define AUTH_DIAMETER_CHARS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum {
    AD_TOKEN = 1,   /* token */
    AD_USER = 2,    /* user, password, without "%", which begins an escape: unreserved / user-unreserved, and "#" */
    AD_PARAM = 4,   /* paramchar of a URI parameter, without "%" */
    AD_HNAME = 8,   /* hname, hvalue of a URI header, without "%" */
    AD_URIC = 16,   /* any URI: reserved / unreserved / "%" */
    AD_HOST = 32,   /* hostname; "_" too, which container networks put into names */
    AD_HEX = 64,
    AD_DIGIT = 128
};

#define AD_UNRESERVED (AD_USER | AD_PARAM | AD_HNAME | AD_URIC)
#define AD_ALPHA (AD_TOKEN | AD_UNRESERVED | AD_HOST)

static const uint8_t ad_class[256] = {
    ['!'] = AD_TOKEN | AD_UNRESERVED,
    ['#'] = AD_USER, /* not in the RFC, but door stations and trunks send it unescaped */
    ['$'] = AD_UNRESERVED,
    ['%'] = AD_TOKEN | AD_URIC,
    ['&'] = AD_USER | AD_PARAM | AD_URIC,
    ['\''] = AD_TOKEN | AD_UNRESERVED,
    ['('] = AD_UNRESERVED, [')'] = AD_UNRESERVED,
    ['*'] = AD_TOKEN | AD_UNRESERVED,
    ['+'] = AD_TOKEN | AD_UNRESERVED,
    [','] = AD_USER | AD_URIC,
    ['-'] = AD_ALPHA,
    ['.'] = AD_ALPHA,
    ['/'] = AD_UNRESERVED,
    ['0'] = AD_ALPHA | AD_HEX | AD_DIGIT, ['1'] = AD_ALPHA | AD_HEX | AD_DIGIT,
    ['2'] = AD_ALPHA | AD_HEX | AD_DIGIT, ['3'] = AD_ALPHA | AD_HEX | AD_DIGIT,
    ['4'] = AD_ALPHA | AD_HEX | AD_DIGIT, ['5'] = AD_ALPHA | AD_HEX | AD_DIGIT,
    ['6'] = AD_ALPHA | AD_HEX | AD_DIGIT, ['7'] = AD_ALPHA | AD_HEX | AD_DIGIT,
    ['8'] = AD_ALPHA | AD_HEX | AD_DIGIT, ['9'] = AD_ALPHA | AD_HEX | AD_DIGIT,
    [':'] = AD_PARAM | AD_HNAME | AD_URIC,
    [';'] = AD_USER | AD_URIC,
    ['='] = AD_USER | AD_URIC,
    ['?'] = AD_USER | AD_HNAME | AD_URIC,
    ['@'] = AD_URIC,
    ['A'] = AD_ALPHA | AD_HEX, ['B'] = AD_ALPHA | AD_HEX, ['C'] = AD_ALPHA | AD_HEX,
    ['D'] = AD_ALPHA | AD_HEX, ['E'] = AD_ALPHA | AD_HEX, ['F'] = AD_ALPHA | AD_HEX,
    ['G'] = AD_ALPHA, ['H'] = AD_ALPHA, ['I'] = AD_ALPHA, ['J'] = AD_ALPHA, ['K'] = AD_ALPHA,
    ['L'] = AD_ALPHA, ['M'] = AD_ALPHA, ['N'] = AD_ALPHA, ['O'] = AD_ALPHA, ['P'] = AD_ALPHA,
    ['Q'] = AD_ALPHA, ['R'] = AD_ALPHA, ['S'] = AD_ALPHA, ['T'] = AD_ALPHA, ['U'] = AD_ALPHA,
    ['V'] = AD_ALPHA, ['W'] = AD_ALPHA, ['X'] = AD_ALPHA, ['Y'] = AD_ALPHA, ['Z'] = AD_ALPHA,
    ['['] = AD_PARAM | AD_HNAME, [']'] = AD_PARAM | AD_HNAME,
    ['_'] = AD_ALPHA,
    ['`'] = AD_TOKEN,
    ['a'] = AD_ALPHA | AD_HEX, ['b'] = AD_ALPHA | AD_HEX, ['c'] = AD_ALPHA | AD_HEX,
    ['d'] = AD_ALPHA | AD_HEX, ['e'] = AD_ALPHA | AD_HEX, ['f'] = AD_ALPHA | AD_HEX,
    ['g'] = AD_ALPHA, ['h'] = AD_ALPHA, ['i'] = AD_ALPHA, ['j'] = AD_ALPHA, ['k'] = AD_ALPHA,
    ['l'] = AD_ALPHA, ['m'] = AD_ALPHA, ['n'] = AD_ALPHA, ['o'] = AD_ALPHA, ['p'] = AD_ALPHA,
    ['q'] = AD_ALPHA, ['r'] = AD_ALPHA, ['s'] = AD_ALPHA, ['t'] = AD_ALPHA, ['u'] = AD_ALPHA,
    ['v'] = AD_ALPHA, ['w'] = AD_ALPHA, ['x'] = AD_ALPHA, ['y'] = AD_ALPHA, ['z'] = AD_ALPHA,
    ['~'] = AD_TOKEN | AD_UNRESERVED,
};

static inline int ad_is(uint8_t c, int set) { return ad_class[c] & set; }

static inline int ad_is_control(uint8_t c) { return (c < 0x20 && c != '\t') || c == 0x7f; }

/* memcpy for short names and numbers: two moves that may overlap, and no call. */
static inline void ad_copy(uint8_t *to, const uint8_t *from, size_t n)
{
    if (n >= 8) {
        if (n > 32) {
            memcpy(to, from, n);
        } else if (n >= 16) {
            unsigned char head[16], tail[16];
            memcpy(head, from, 16);
            memcpy(tail, from + n - 16, 16);
            memcpy(to, head, 16);
            memcpy(to + n - 16, tail, 16);
        } else {
            uint64_t head, tail;
            memcpy(&head, from, 8);
            memcpy(&tail, from + n - 8, 8);
            memcpy(to, &head, 8);
            memcpy(to + n - 8, &tail, 8);
        }
    } else if (n >= 4) {
        uint32_t head, tail;
        memcpy(&head, from, 4);
        memcpy(&tail, from + n - 4, 4);
        memcpy(to, &head, 4);
        memcpy(to + n - 4, &tail, 4);
    } else {
        for (size_t i = 0; i < n; i++)
            to[i] = from[i];
    }
}

/* The first byte at or after p that is not of the class `set`, or end. */
static inline const uint8_t *ad_skip_class(const uint8_t *p, const uint8_t *end, int set)
{
    if (end - p >= 4) {
        const uint8_t *last = end - 4;
        do {        /* one comparison with the end for four bytes */
            if (!(ad_class[p[0]] & set))
                return p;
            if (!(ad_class[p[1]] & set))
                return p + 1;
            if (!(ad_class[p[2]] & set))
                return p + 2;
            if (!(ad_class[p[3]] & set))
                return p + 3;
            p += 4;
        } while (p <= last);
    }
    while (p < end && ad_class[*p] & set)
        p++;
    return p;
}

/* Whether n bytes without control characters are `word` in any case: m bytes of letters, digits, "-", ".", "/", "'"
 * and asterisks. Bit 5 makes letters lower case and leaves the others; n and m are compared first, so that the words
 * are read whole or not at all. */
static inline int ad_is_word(const uint8_t *p, size_t n, const char *word, size_t m)
{
    if (n != m)
        return 0;
    if (m >= 8) {
        uint64_t a, b, c, d;
        const uint64_t bit5 = 0x2020202020202020u;
        memcpy(&a, p, 8);
        memcpy(&b, word, 8);
        memcpy(&c, p + m - 8, 8);
        memcpy(&d, word + m - 8, 8);
        if (((a | bit5) ^ (b | bit5)) | ((c | bit5) ^ (d | bit5)))
            return 0;
        for (size_t i = 8; i + 8 < m; i++)
            if ((p[i] | 0x20) != (word[i] | 0x20))
                return 0;
        return 1;
    }
    if (m >= 4) {
        uint32_t a, b, c, d;
        const uint32_t bit5 = 0x20202020u;
        memcpy(&a, p, 4);
        memcpy(&b, word, 4);
        memcpy(&c, p + m - 4, 4);
        memcpy(&d, word + m - 4, 4);
        return (((a | bit5) ^ (b | bit5)) | ((c | bit5) ^ (d | bit5))) == 0;
    }
    if (m >= 2) {
        uint16_t a, b, c, d;
        const uint16_t bit5 = 0x2020u;
        memcpy(&a, p, 2);
        memcpy(&b, word, 2);
        memcpy(&c, p + m - 2, 2);
        memcpy(&d, word + m - 2, 2);
        return (((a | bit5) ^ (b | bit5)) | ((c | bit5) ^ (d | bit5))) == 0;
    }
    return m == 0 || (p[0] | 0x20) == (word[0] | 0x20);
}

/* Whether all n bytes are hexadecimal digits. */
static inline int ad_is_hex(const uint8_t *p, size_t n)
{
#if defined(__SSE2__)
    const __m128i bit5 = _mm_set1_epi8(0x20), nine = _mm_set1_epi8(9), five = _mm_set1_epi8(5);
    for (; 16 <= n; p += 16, n -= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i digit = _mm_sub_epi8(v, _mm_set1_epi8('0'));
        __m128i letter = _mm_sub_epi8(_mm_or_si128(v, bit5), _mm_set1_epi8('a'));
        __m128i good = _mm_or_si128(_mm_cmpeq_epi8(_mm_min_epu8(digit, nine), digit),   /* unsigned digit <= 9 */
                                    _mm_cmpeq_epi8(_mm_min_epu8(letter, five), letter));
        if (_mm_movemask_epi8(good) != 0xffff)
            return 0;
    }
#endif
    return ad_skip_class(p, p + n, AD_HEX) == p + n;
}

/* The first control character except HTAB at or after p, or end. */
static inline const uint8_t *ad_find_control(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__)
    const __m128i space = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, space), v); /* unsigned v <= 0x1f */
        __m128i hit = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && !ad_is_control(*p))
        p++;
    return p;
}

/* The first double quote, backslash or control character at or after p, or end. */
static inline const uint8_t *ad_find_quote(const uint8_t *p, const uint8_t *end)
{
#if defined(__SSE2__)
    const __m128i space = _mm_set1_epi8(0x1f), tab = _mm_set1_epi8('\t'), del = _mm_set1_epi8(0x7f);
    const __m128i quote = _mm_set1_epi8('"'), back = _mm_set1_epi8('\\');
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(v, space), v);
        __m128i hit = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(v, tab), low), _mm_cmpeq_epi8(v, del));
        hit = _mm_or_si128(hit, _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, back)));
        unsigned mask = (unsigned)_mm_movemask_epi8(hit);
        if (mask)
            return p + __builtin_ctz(mask);
        p += 16;
    }
#endif
    while (p < end && *p != '"' && *p != '\\' && !ad_is_control(*p))
        p++;
    return p;
}

#endif
