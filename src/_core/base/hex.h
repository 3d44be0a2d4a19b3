/* Hexadecimal digits of 16 bytes: writing, lower case and comparison in a few instructions. */
#ifndef AUTH_DIAMETER_HEX_H
#define AUTH_DIAMETER_HEX_H

#include <stddef.h>
#include <stdint.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* LHEX of RFC 7616, 3.1.1: 32 lower-case digits. */
static inline void ad_put_hex(uint8_t *out, const uint8_t *digest)
{
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi8(15), zero = _mm_set1_epi8('0');
    const __m128i nine = _mm_set1_epi8(9), letter = _mm_set1_epi8('a' - '0' - 10);
    __m128i v = _mm_loadu_si128((const __m128i *)digest);
    __m128i hi = _mm_and_si128(_mm_srli_epi16(v, 4), low), lo = _mm_and_si128(v, low);
    __m128i a = _mm_unpacklo_epi8(hi, lo), b = _mm_unpackhi_epi8(hi, lo);
    a = _mm_add_epi8(_mm_add_epi8(a, zero), _mm_and_si128(_mm_cmpgt_epi8(a, nine), letter));
    b = _mm_add_epi8(_mm_add_epi8(b, zero), _mm_and_si128(_mm_cmpgt_epi8(b, nine), letter));
    _mm_storeu_si128((__m128i *)out, a);
    _mm_storeu_si128((__m128i *)(out + 16), b);
#else
    for (int i = 0; i < 16; i++) {
        out[2 * i] = (uint8_t)"0123456789abcdef"[digest[i] >> 4];
        out[2 * i + 1] = (uint8_t)"0123456789abcdef"[digest[i] & 15];
    }
#endif
}

/* 32 hexadecimal digits in lower case: bit 5 is set in every digit and every lower-case letter. */
static inline void ad_lower_hex(uint8_t *out, const uint8_t *digits)
{
    for (int i = 0; i < 32; i++)
        out[i] = digits[i] | 0x20;
}

/* Whether n digits are equal without regard to case, in constant time. */
static inline int ad_same_hex(const uint8_t *given, const uint8_t *expected, size_t n)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < n; i++)
        difference |= (uint8_t)((given[i] | 0x20) ^ expected[i]);
    return difference == 0;
}

#endif
