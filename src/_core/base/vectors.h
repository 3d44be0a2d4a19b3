/* Classes of 32 bytes at once, where the machine has AVX2 and BMI, which is found at run time. */
#ifndef AUTH_DIAMETER_VECTORS_H
#define AUTH_DIAMETER_VECTORS_H

#include <stddef.h>
#include <stdint.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define AD_HAS_VECTORS 1
#endif

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

#else

static inline int ad_has_vectors(void) { return 0; }

#endif

#endif
