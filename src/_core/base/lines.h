/* Splits header fields of one line 32 bytes at a time, where the machine has AVX2 and BMI.
 *
 * Only the common form is taken: name ":" value CRLF, without LWS before the colon, without a fold, without HTAB and
 * other control characters, not too near to the end of the bytes. All else is left to the grammar in parse.pyx, which
 * gives the same for this form.
 */
#ifndef AUTH_DIAMETER_LINES_H
#define AUTH_DIAMETER_LINES_H

#include <string.h>

#include "vectors.h"

typedef struct {
    const uint8_t *name, *name_end;
    const uint8_t *value, *value_end;   /* trimmed */
} ad_line;

enum { AD_LINES = 16 };     /* that are split at once */

#ifdef AD_HAS_VECTORS

/* Splits the header field at p, which 32 bytes at `last` or before can be read of. It returns the next line, or NULL if
 * the field has not the common form. */
__attribute__((target("avx2,bmi"))) static inline const uint8_t *ad_split_line(const uint8_t *p, const uint8_t *last,
                                                                               ad_line *out)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)p);
    uint32_t name = _tzcnt_u32(ad_other_than_token(v) | 1u << 31), hits;     /* so that p[name] is in the vector */
    if (name == 0 || p[name] != ':')
        return NULL;
    const uint8_t *value = p + name + 1, *q = p;
    while ((hits = ad_controls(v)) == 0) {
        q += 32;
        if (q > last)
            return NULL;
        v = _mm256_loadu_si256((const __m256i *)q);
    }
    q += _tzcnt_u32(hits);
    if (q > last + 29 || memcmp(q, "\r\n", 2) != 0 || q[2] == ' ' || q[2] == '\t')
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

static inline int ad_split_lines(const uint8_t **p, const uint8_t *end, ad_line *out)
{
    (void)p, (void)end, (void)out;
    return 0;
}

#endif

#endif
