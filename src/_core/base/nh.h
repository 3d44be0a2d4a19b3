/* NH, the universal hash of UMAC (RFC 4418, 5.2.2; Black, Halevi, Krawczyk, Krovetz and Rogaway, "UMAC: Fast and Secure
 * Message Authentication", 1999), with words of 64 bits:
 *
 *     NH(key, m) = sum over i of (m[2i] + key[2i]) * (m[2i+1] + key[2i+1])     inner sums mod 2**64, the outer mod 2**128
 *
 * Any two different messages of one size have the same sum for one random key in 2**64 at most; and both that sum and
 * another, with the key from its third word on (a Toeplitz shift, RFC 4418, 5.2.1), for one in 2**128. Messages of
 * different sizes may share sums, since the last words are filled with zeros: whoever uses the sums hashes the size, too.
 *
 * Where the machine has PCLMULQDQ, CLNH (Lemire and Kaser, "Faster 64-bit universal hashing using carry-less
 * multiplications", 2016) takes half the work. There all numbers are polynomials over GF(2): every sum is an exclusive or,
 * and no product is reduced. The same bounds hold, for the same reason: where two messages differ in a word, the
 * difference of their sums is the other word of the key times something that is not zero, plus what does not depend on
 * that word, so that one value of it makes them the same at most. A shifted key has a new word for the last place where
 * they differ.
 *
 * A sum tells something of the key: nothing but a pseudorandom function may see it.
 *
 * Words are in the byte order of the machine, so that a sum is for this machine alone.
 */
#ifndef AUTH_DIAMETER_NH_H
#define AUTH_DIAMETER_NH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>
#define AD_HAS_CLNH 1
#endif

enum {
    AD_NH_BLOCK = 1024,                 /* bytes that the key is enough for */
    AD_NH_KEY = AD_NH_BLOCK / 8 + 2     /* words, two more for the shift */
};

#ifdef __SIZEOF_INT128__
__extension__ typedef unsigned __int128 ad_nh_sum;
#else
typedef struct {
    uint64_t low, high;
} ad_nh_sum;
#endif

/* The low half of the product is returned. */
static inline uint64_t ad_nh_multiply(uint64_t a, uint64_t b, uint64_t *high)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, one = a1 * b0, two = a0 * b1;
    uint64_t middle = (low >> 32) + (uint32_t)one + (uint32_t)two;      /* below 3 * 2**32 */
    *high = a1 * b1 + (one >> 32) + (two >> 32) + (middle >> 32);
    return middle << 32 | (uint32_t)low;
}

static inline void ad_nh_add(ad_nh_sum *sum, const uint64_t key[2], const unsigned char *p)
{
    uint64_t a, b;
    memcpy(&a, p, sizeof a);
    memcpy(&b, p + sizeof a, sizeof b);
    a += key[0];
    b += key[1];
#ifdef __SIZEOF_INT128__
    *sum += (ad_nh_sum)a * b;
#else
    uint64_t high, low = ad_nh_multiply(a, b, &high);
    sum->low += low;
    sum->high += high + (sum->low < low);
#endif
}

/* The sum of up to AD_NH_BLOCK bytes, the last pair of words filled with zeros; the low word first. */
static inline void ad_nh(const uint64_t *key, const void *data, size_t size, uint64_t out[2])
{
    const unsigned char *p = data;
    ad_nh_sum sum;
    unsigned char last[16] = {0};
    memset(&sum, 0, sizeof sum);
    while (64 <= size) {
        for (size_t i = 0; i < 64; i += 16)     /* unrolled by the compiler */
            ad_nh_add(&sum, key + i / 8, p + i);
        key += 8;
        p += 64;
        size -= 64;
    }
    while (16 <= size) {
        ad_nh_add(&sum, key, p);
        key += 2;
        p += 16;
        size -= 16;
    }
    if (size) {
        memcpy(last, p, size);
        ad_nh_add(&sum, key, last);
    }
#ifdef __SIZEOF_INT128__
    out[0] = (uint64_t)sum;
    out[1] = (uint64_t)(sum >> 64);
#else
    out[0] = sum.low;
    out[1] = sum.high;
#endif
}

/* Both sums that the fingerprint needs: with the key, and with the key from its third word on. */
static inline void ad_nh_twice(const uint64_t *key, const void *data, size_t size, uint64_t out[4])
{
    ad_nh(key, data, size, out);
    ad_nh(key + 2, data, size, out + 2);
}

#ifdef AD_HAS_CLNH

static inline int ad_has_clnh(void)
{
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx");
}

/* The product of the two words of m, each with its word of the key added. */
__attribute__((target("avx,pclmul"))) static inline __m128i ad_clnh_product(__m128i m, const uint64_t key[2])
{
    m = _mm_xor_si128(m, _mm_loadu_si128((const __m128i *)key));
    return _mm_clmulepi64_si128(m, m, 0x10);
}

/* Both sums of up to AD_NH_BLOCK bytes, in one walk over them. */
__attribute__((target("avx,pclmul"))) static inline void ad_clnh_twice(const uint64_t *key, const void *data, size_t size,
                                                                       uint64_t out[4])
{
    const unsigned char *p = data;
    __m128i one = _mm_setzero_si128(), two = one, m;
    unsigned char last[16] = {0};
    for (; 64 <= size; key += 8, p += 64, size -= 64)
        for (size_t i = 0; i < 64; i += 16) {       /* unrolled by the compiler */
            m = _mm_loadu_si128((const __m128i *)(p + i));
            one = _mm_xor_si128(one, ad_clnh_product(m, key + i / 8));
            two = _mm_xor_si128(two, ad_clnh_product(m, key + i / 8 + 2));
        }
    for (; size; key += 2) {
        size_t n = size < 16 ? size : 16;
        const unsigned char *from = p;
        if (n < 16)
            from = memcpy(last, p, n);
        m = _mm_loadu_si128((const __m128i *)from);
        one = _mm_xor_si128(one, ad_clnh_product(m, key));
        two = _mm_xor_si128(two, ad_clnh_product(m, key + 2));
        p += n;
        size -= n;
    }
    _mm_storeu_si128((__m128i *)out, one);
    _mm_storeu_si128((__m128i *)(out + 2), two);
}

#else

static inline int ad_has_clnh(void) { return 0; }

static inline void ad_clnh_twice(const uint64_t *key, const void *data, size_t size, uint64_t out[4])
{
    ad_nh_twice(key, data, size, out);
}

#endif

#endif
