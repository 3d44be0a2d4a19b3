/* Splits parameters, name=value and name="value" between commas, 32 bytes at a time, where the machine has AVX2 and BMI.
 *
 * Only the common form is taken: no LWS but spaces behind a comma, a name and its token within 32 bytes, and a quoted
 * string without backslash and control character. All else is left to the grammar in params.pyx, which gives the same
 * for this form.
 */
#ifndef AUTH_DIAMETER_PARAMS_H
#define AUTH_DIAMETER_PARAMS_H

#include "vectors.h"

typedef struct {
    const uint8_t *name, *name_end;
    const uint8_t *value, *value_end;   /* without quotes */
} ad_param;

enum { AD_PARAMS = 16 };    /* that are split at once */

#ifdef AD_HAS_VECTORS

/* A bit for each of 32 bytes that is a double quote, a backslash or a control character. */
__attribute__((target("avx2,bmi"))) static inline uint32_t ad_quotes_and_controls(__m256i v)
{
    __m256i quote = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('"'));
    __m256i back = _mm256_cmpeq_epi8(v, _mm256_set1_epi8('\\'));
    return (uint32_t)_mm256_movemask_epi8(_mm256_or_si256(quote, back)) | ad_controls(v);
}

/* The first bit of `hits` from bit `from` on, counted from there; 32 - from, the end of the vector, if there is none. */
__attribute__((target("avx2,bmi"))) static inline size_t ad_next_hit(uint32_t hits, size_t from)
{
    return _tzcnt_u64((hits | (uint64_t)1 << 32) >> from);
}

/* The first double quote, backslash or control character at or after q, or end. 32 bytes at `last`, which ends at
 * `end`, and before can be read. */
__attribute__((target("avx2,bmi"))) static inline const uint8_t *ad_skip_to_quote(const uint8_t *q, const uint8_t *last)
{
    while (q < last + 32) {
        const uint8_t *at = q < last ? q : last;    /* the last vector begins before q, so that none is cut off */
        uint32_t hits = ad_quotes_and_controls(_mm256_loadu_si256((const __m256i *)at));
        q += ad_next_hit(hits, (size_t)(q - at));
        if (q < at + 32)
            break;
    }
    return q;
}

/* Splits the parameter at p, before the end. It returns where the next one begins, or NULL if the parameter has not
 * the common form or its value more than `most` bytes. */
__attribute__((target("avx2,bmi"))) static inline const uint8_t *ad_split_param(const uint8_t *p, const uint8_t *last,
                                                                                size_t most, ad_param *out)
{
    const uint8_t *end = last + 32, *at = p < last ? p : last, *q = p;
    __m256i v = _mm256_loadu_si256((const __m256i *)at);
    uint32_t others = ad_other_than_token(v);
    q += ad_next_hit(others, (size_t)(q - at));
    out->name = p;
    out->name_end = q;
    if (q == p || at + 32 - q < 2 || *q != '=')     /* the first byte of the value is in the vector, too */
        return NULL;
    q++;
    const uint8_t *value = q;
    if (*q == '"') {
        value = ++q;
        q += ad_next_hit(ad_quotes_and_controls(v), (size_t)(q - at));
        if (q == at + 32)
            q = ad_skip_to_quote(q, last);
        if (q == end || *q != '"')
            return NULL;
        out->value_end = q++;
    } else {
        q += ad_next_hit(others, (size_t)(q - at));
        if (q == value || (q == at + 32 && q != end))
            return NULL;
        out->value_end = q;
    }
    out->value = value;
    if ((size_t)(out->value_end - value) > most)
        return NULL;
    if (q == end)
        return q;
    if (*q != ',')
        return NULL;
    q++;
    while (q < end && *q == ' ')
        q++;
    return q;
}

/* Splits up to AD_PARAMS parameters from *p on, which moves behind them; their values have up to `most` bytes. The
 * bytes from `start` to `end` can be read, and *p lies between. It returns how many. */
__attribute__((target("avx2,bmi"))) static inline int ad_split_params(const uint8_t *start, const uint8_t **p,
                                                                      const uint8_t *end, size_t most, ad_param *out)
{
    const uint8_t *at = *p, *next;
    int n = 0;
    if (end - start < 32)
        return 0;
    const uint8_t *last = end - 32;     /* the last place to read 32 bytes at */
    while (n < AD_PARAMS && at < end && (next = ad_split_param(at, last, most, &out[n])) != NULL) {
        at = next;
        n++;
    }
    *p = at;
    return n;
}

#else

static inline int ad_split_params(const uint8_t *start, const uint8_t **p, const uint8_t *end, size_t most,
                                  ad_param *out)
{
    (void)start, (void)p, (void)end, (void)most, (void)out;
    return 0;
}

#endif

#endif
