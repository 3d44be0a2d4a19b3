/* Splits header fields of one line 32 bytes at a time, where the machine has AVX2 and BMI.
 *
 * Only the common form is taken: name ":" value CRLF, without LWS before the colon, without a fold, without HTAB and
 * other control characters, not too near to the end of the bytes. All else is left to the grammar in parse.pyx, which
 * gives the same for this form.
 */
#ifndef AUTH_DIAMETER_LINES_H
#define AUTH_DIAMETER_LINES_H

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define AD_HAS_VECTORS 1
#endif

typedef struct {
    const uint8_t *name, *name_end;
    const uint8_t *value, *value_end;   /* trimmed */
} ad_line;

enum { AD_LINES = 16 };     /* that are split at once */

#ifdef AD_HAS_VECTORS

static inline int ad_has_vectors(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi");
}

/* A bit for each of 32 bytes that is no token character (RFC 3261, 25.1). The lower half of a byte selects a set of
 * upper halves, a bit for each of 0 to 7; both selections are shuffles. A byte above 127 selects the empty set. */
__attribute__((target("avx2,bmi"))) static inline uint32_t ad_other_than_token(__m256i v)
{
    const __m256i sets = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        (char)0xe8, (char)0xfc, (char)0xf8, (char)0xf8, (char)0xf8, (char)0xfc, (char)0xf8, (char)0xfc,
        (char)0xf8, (char)0xf8, (char)0xf4, 0x54, 0x50, 0x54, (char)0xd4, 0x70));
    const __m256i bits = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(1, 2, 4, 8, 16, 32, 64, (char)128, 1, 1, 1, 1, 1, 1, 1, 1));
    __m256i upper = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
    __m256i bit = _mm256_shuffle_epi8(bits, upper);
    __m256i found = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(sets, v), bit), bit);
    return ~(uint32_t)_mm256_movemask_epi8(found);
}

/* A bit for each of 32 bytes that is a control character. */
__attribute__((target("avx2,bmi"))) static inline uint32_t ad_controls(__m256i v)
{
    __m256i low = _mm256_cmpeq_epi8(_mm256_min_epu8(v, _mm256_set1_epi8(0x1f)), v);     /* unsigned v <= 0x1f */
    __m256i del = _mm256_cmpeq_epi8(v, _mm256_set1_epi8(0x7f));
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(low, del));
}

/* Splits the header field at p, which 32 bytes at `last` or before can be read of. It returns the next line, or NULL if
 * the field has not the common form. */
__attribute__((target("avx2,bmi"))) static inline const uint8_t *ad_split_line(const uint8_t *p, const uint8_t *last,
                                                                               ad_line *out)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)p);
    uint32_t name = _tzcnt_u32(ad_other_than_token(v)), hits;
    if (name == 0 || name == 32 || p[name] != ':')
        return NULL;
    const uint8_t *value = p + name + 1, *q = p;
    while ((hits = ad_controls(v)) == 0) {
        q += 32;
        if (q > last)
            return NULL;
        v = _mm256_loadu_si256((const __m256i *)q);
    }
    q += _tzcnt_u32(hits);
    if (last + 32 - q < 3 || q[0] != '\r' || q[1] != '\n' || q[2] == ' ' || q[2] == '\t')
        return NULL;
    out->name = p;
    out->name_end = p + name;
    p = q + 2;
    while (*value == ' ')       /* at the latest the CR is none */
        value++;
    while (value < q && q[-1] == ' ')
        q--;
    out->value = value;
    out->value_end = q;
    return p;
}

/* Splits up to AD_LINES header fields from *p on, which moves behind them. It returns how many. */
__attribute__((target("avx2,bmi"))) static int ad_split_lines(const uint8_t **p, const uint8_t *end, ad_line *out)
{
    const uint8_t *at = *p, *next;
    int n = 0;
    if (end - at < 32)
        return 0;
    const uint8_t *last = end - 32;     /* the last place to read 32 bytes at */
    while (n < AD_LINES && at <= last && (next = ad_split_line(at, last, &out[n])) != NULL) {
        at = next;
        n++;
    }
    *p = at;
    return n;
}

#else

static inline int ad_has_vectors(void) { return 0; }

static inline int ad_split_lines(const uint8_t **p, const uint8_t *end, ad_line *out)
{
    (void)p, (void)end, (void)out;
    return 0;
}

#endif

#endif
