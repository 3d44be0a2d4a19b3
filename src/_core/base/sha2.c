/* SHA-256 and SHA-512/256 (FIPS 180-4), and HMAC-SHA-256 (RFC 2104). */
#include "sha2.h"

#include "secret.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static inline uint32_t load32(const unsigned char *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t load64(const unsigned char *p)
{
    return (uint64_t)load32(p) << 32 | load32(p + 4);
}

static inline void store32(unsigned char *p, uint32_t word)
{
    p[0] = (unsigned char)(word >> 24), p[1] = (unsigned char)(word >> 16);
    p[2] = (unsigned char)(word >> 8), p[3] = (unsigned char)word;
}

static inline void store64(unsigned char *p, uint64_t word)
{
    store32(p, (uint32_t)(word >> 32));
    store32(p + 4, (uint32_t)word);
}

static inline uint32_t rotate32(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static inline uint64_t rotate64(uint64_t x, int n)
{
    return x >> n | x << (64 - n);
}

/* FIPS 180-4, 4.2.3; the first 64, cut to their upper halves, are those of SHA-256 (4.2.2). */
static const uint64_t constants[80] = {
    0x428a2f98d728ae22u, 0x7137449123ef65cdu, 0xb5c0fbcfec4d3b2fu, 0xe9b5dba58189dbbcu,
    0x3956c25bf348b538u, 0x59f111f1b605d019u, 0x923f82a4af194f9bu, 0xab1c5ed5da6d8118u,
    0xd807aa98a3030242u, 0x12835b0145706fbeu, 0x243185be4ee4b28cu, 0x550c7dc3d5ffb4e2u,
    0x72be5d74f27b896fu, 0x80deb1fe3b1696b1u, 0x9bdc06a725c71235u, 0xc19bf174cf692694u,
    0xe49b69c19ef14ad2u, 0xefbe4786384f25e3u, 0x0fc19dc68b8cd5b5u, 0x240ca1cc77ac9c65u,
    0x2de92c6f592b0275u, 0x4a7484aa6ea6e483u, 0x5cb0a9dcbd41fbd4u, 0x76f988da831153b5u,
    0x983e5152ee66dfabu, 0xa831c66d2db43210u, 0xb00327c898fb213fu, 0xbf597fc7beef0ee4u,
    0xc6e00bf33da88fc2u, 0xd5a79147930aa725u, 0x06ca6351e003826fu, 0x142929670a0e6e70u,
    0x27b70a8546d22ffcu, 0x2e1b21385c26c926u, 0x4d2c6dfc5ac42aedu, 0x53380d139d95b3dfu,
    0x650a73548baf63deu, 0x766a0abb3c77b2a8u, 0x81c2c92e47edaee6u, 0x92722c851482353bu,
    0xa2bfe8a14cf10364u, 0xa81a664bbc423001u, 0xc24b8b70d0f89791u, 0xc76c51a30654be30u,
    0xd192e819d6ef5218u, 0xd69906245565a910u, 0xf40e35855771202au, 0x106aa07032bbd1b8u,
    0x19a4c116b8d2d0c8u, 0x1e376c085141ab53u, 0x2748774cdf8eeb99u, 0x34b0bcb5e19b48a8u,
    0x391c0cb3c5c95a63u, 0x4ed8aa4ae3418acbu, 0x5b9cca4f7763e373u, 0x682e6ff3d6b2b8a3u,
    0x748f82ee5defb2fcu, 0x78a5636f43172f60u, 0x84c87814a1f0ab72u, 0x8cc702081a6439ecu,
    0x90befffa23631e28u, 0xa4506cebde82bde9u, 0xbef9a3f7b2c67915u, 0xc67178f2e372532bu,
    0xca273eceea26619cu, 0xd186b8c721c0c207u, 0xeada7dd6cde0eb1eu, 0xf57d4f7fee6ed178u,
    0x06f067aa72176fbau, 0x0a637dc5a2c898a6u, 0x113f9804bef90daeu, 0x1b710b35131c471bu,
    0x28db77f523047d84u, 0x32caab7b40c72493u, 0x3c9ebe0a15c9bebcu, 0x431d67c49c100d4cu,
    0x4cc5d4becb3e42b6u, 0x597f299cfc657e2au, 0x5fcb6fab3ad6faecu, 0x6c44198c4a475817u,
};

/* Both functions are the same but for the size of a word and the shifts (FIPS 180-4, 6.2.2 and 6.4.2). */
#define SHA2_CHOOSE(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define SHA2_MAJORITY(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))

/* One step; the variables change their roles and not their values. */
#define SHA2_STEP(rotate, a, b, c, d, e, f, g, h, word, r1, r2, r3, r4, r5, r6) do { \
    h += (rotate(e, r1) ^ rotate(e, r2) ^ rotate(e, r3)) + SHA2_CHOOSE(e, f, g) + (word); \
    d += h; \
    h += (rotate(a, r4) ^ rotate(a, r5) ^ rotate(a, r6)) + SHA2_MAJORITY(a, b, c); \
} while (0)
#define SHA2_STEPS(STEP, t) do { \
    STEP(a, b, c, d, e, f, g, h, t); STEP(h, a, b, c, d, e, f, g, t + 1); \
    STEP(g, h, a, b, c, d, e, f, t + 2); STEP(f, g, h, a, b, c, d, e, t + 3); \
    STEP(e, f, g, h, a, b, c, d, t + 4); STEP(d, e, f, g, h, a, b, c, t + 5); \
    STEP(c, d, e, f, g, h, a, b, t + 6); STEP(b, c, d, e, f, g, h, a, t + 7); \
} while (0)
#define STEP_256(a, b, c, d, e, f, g, h, t) SHA2_STEP(rotate32, a, b, c, d, e, f, g, h, \
    (uint32_t)(constants[t] >> 32) + w[t], 6, 11, 25, 2, 13, 22)
#define STEP_512(a, b, c, d, e, f, g, h, t) SHA2_STEP(rotate64, a, b, c, d, e, f, g, h, \
    constants[t] + w[t], 14, 18, 41, 28, 34, 39)

__attribute__((always_inline)) static inline void compress256(uint32_t state[8], const unsigned char *data,
                                                              size_t blocks)
{
    uint32_t w[64];
    for (; blocks; blocks--, data += 64) {
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 16; t++)
            w[t] = load32(data + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] + (rotate32(x, 7) ^ rotate32(x, 18) ^ x >> 3)
                + (rotate32(y, 17) ^ rotate32(y, 19) ^ y >> 10);
        }
        for (int t = 0; t < 64; t += 8)
            SHA2_STEPS(STEP_256, t);
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

static void compress256_portable(uint32_t state[8], const unsigned char *data, size_t blocks)
{
    compress256(state, data, blocks);
}

static void compress512(uint64_t state[8], const unsigned char *data, size_t blocks)
{
    uint64_t w[80];
    for (; blocks; blocks--, data += 128) {
        uint64_t a = state[0], b = state[1], c = state[2], d = state[3];
        uint64_t e = state[4], f = state[5], g = state[6], h = state[7];
        for (int t = 0; t < 16; t++)
            w[t] = load64(data + 8 * t);
        for (int t = 16; t < 80; t++) {
            uint64_t x = w[t - 15], y = w[t - 2];
            w[t] = w[t - 16] + w[t - 7] + (rotate64(x, 1) ^ rotate64(x, 8) ^ x >> 7)
                + (rotate64(y, 19) ^ rotate64(y, 61) ^ y >> 6);
        }
        for (int t = 0; t < 80; t += 8)
            SHA2_STEPS(STEP_512, t);
        state[0] += a, state[1] += b, state[2] += c, state[3] += d;
        state[4] += e, state[5] += f, state[6] += g, state[7] += h;
    }
}

#if defined(__x86_64__)

/* The same with a rotation that needs no copy of its operand. */
__attribute__((target("bmi2"))) static void compress256_bmi2(uint32_t state[8], const unsigned char *data,
                                                             size_t blocks)
{
    compress256(state, data, blocks);
}

static int has_bmi2(void)
{
    return __builtin_cpu_supports("bmi2");
}

/* Four rounds: the two halves of the state take two each. */
#define SHA_ROUNDS(words, k) do { \
    __m128i sum = _mm_add_epi32(words, k); \
    cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum); \
    abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0e)); \
} while (0)

__attribute__((target("sha,sse4.1"))) static inline __m128i sha_constants(int t)
{
    return _mm_set_epi32((int)(constants[t + 3] >> 32), (int)(constants[t + 2] >> 32),
                         (int)(constants[t + 1] >> 32), (int)(constants[t] >> 32));
}

/* The SHA extensions keep the state as two vectors, A B E F and C D G H from the highest word on. */
__attribute__((target("sha,sse4.1"))) static void compress256_sha(uint32_t state[8], const unsigned char *data,
                                                                   size_t blocks)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i dcba = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hgfe = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    __m128i abef = _mm_alignr_epi8(cdab, efgh, 8), cdgh = _mm_blend_epi16(efgh, cdab, 0xf0);
    for (; blocks; blocks--, data += 64) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(const void *)(data + 16 * i)), swap);
            SHA_ROUNDS(w[i], sha_constants(4 * i));
        }
        for (int t = 16; t < 64; t += 16)
            for (int i = 0; i < 4; i++) {
                __m128i next = _mm_sha256msg1_epu32(w[i], w[(i + 1) & 3]);
                next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
                w[i] = _mm_sha256msg2_epu32(next, w[(i + 3) & 3]);
                SHA_ROUNDS(w[i], sha_constants(t + 4 * i));
            }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

/* CPUID leaf 7, EBX bit 29; older compilers do not know the name "sha" of __builtin_cpu_supports. */
#include <cpuid.h>
static int has_sha(void)
{
    unsigned a, b, c, d;
    return __builtin_cpu_supports("sse4.1") && __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1;
}

#endif

typedef struct {
    const char *name;
    void (*compress)(uint32_t state[8], const unsigned char *data, size_t blocks);
    int (*runs_here)(void);     /* null: everywhere */
} instructions;

static const instructions known[] = {
#if defined(__x86_64__)
    {"sha", compress256_sha, has_sha},
    {"bmi2", compress256_bmi2, has_bmi2},
#endif
    {"portable", compress256_portable, NULL},
};
enum { KNOWN = sizeof known / sizeof *known };

/* Null until first used. */
static const instructions *_Atomic chosen;

static const instructions *choose(void)
{
    const instructions *found = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (found)
        return found;
    const instructions *best = known;
    while (best->runs_here && !best->runs_here())
        best++;
    /* Unless another thread was first: with the same choice, or with that of ad_sha256_use_instructions, which stays. */
    return atomic_compare_exchange_strong(&chosen, &found, best) ? best : found;
}

const char *ad_sha256_instructions(void)
{
    return choose()->name;
}

int ad_sha256_use_instructions(const char *name)
{
    for (const instructions *one = known; one < known + KNOWN; one++)
        if (strcmp(name, one->name) == 0 && (!one->runs_here || one->runs_here())) {
            atomic_store_explicit(&chosen, one, memory_order_relaxed);
            return 0;
        }
    return -1;
}

/* FIPS 180-4, 5.3.3. */
static const uint32_t initial256[8] = {
    0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au, 0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
};

void ad_sha256_init(ad_sha256 *stream)
{
    memcpy(stream->state, initial256, sizeof initial256);
    stream->length = 0;
}

void ad_sha256_update(ad_sha256 *stream, const void *data, size_t size)
{
    const unsigned char *p = data;
    size_t held = stream->length % 64, blocks;
    if (!size)
        return;
    stream->length += size;
    if (held) {
        size_t wanted = 64 - held;
        if (size < wanted) {
            memcpy(stream->block + held, p, size);
            return;
        }
        memcpy(stream->block + held, p, wanted);
        choose()->compress(stream->state, stream->block, 1);
        p += wanted, size -= wanted;
    }
    blocks = size / 64;
    if (blocks)
        choose()->compress(stream->state, p, blocks);
    if (size % 64)
        memcpy(stream->block, p + 64 * blocks, size % 64);
}

void ad_sha256_final(ad_sha256 *stream, unsigned char digest[32])
{
    size_t held = stream->length % 64;
    stream->block[held++] = 0x80;
    if (held > 56) {
        memset(stream->block + held, 0, 64 - held);
        choose()->compress(stream->state, stream->block, 1);
        held = 0;
    }
    memset(stream->block + held, 0, 56 - held);
    store64(stream->block + 56, stream->length << 3);
    choose()->compress(stream->state, stream->block, 1);
    for (int i = 0; i < 8; i++)
        store32(digest + 4 * i, stream->state[i]);
}

/* FIPS 180-4, 5.3.6.2. */
static const uint64_t initial512_256[8] = {
    0x22312194fc2bf72cu, 0x9f555fa3c84c64c2u, 0x2393b86b6f53b151u, 0x963877195940eabdu,
    0x96283ee2a88effe3u, 0xbe5e1e2553863992u, 0x2b0199fc2c85b8aau, 0x0eb72ddc81c52ca2u,
};

void ad_sha512_256_init(ad_sha512_256 *stream)
{
    memcpy(stream->state, initial512_256, sizeof initial512_256);
    stream->length = 0;
}

void ad_sha512_256_update(ad_sha512_256 *stream, const void *data, size_t size)
{
    const unsigned char *p = data;
    size_t held = stream->length % 128, blocks;
    if (!size)
        return;
    stream->length += size;
    if (held) {
        size_t wanted = 128 - held;
        if (size < wanted) {
            memcpy(stream->block + held, p, size);
            return;
        }
        memcpy(stream->block + held, p, wanted);
        compress512(stream->state, stream->block, 1);
        p += wanted, size -= wanted;
    }
    blocks = size / 128;
    compress512(stream->state, p, blocks);
    if (size % 128)
        memcpy(stream->block, p + 128 * blocks, size % 128);
}

void ad_sha512_256_final(ad_sha512_256 *stream, unsigned char digest[32])
{
    size_t held = stream->length % 128;
    stream->block[held++] = 0x80;
    if (held > 112) {
        memset(stream->block + held, 0, 128 - held);
        compress512(stream->state, stream->block, 1);
        held = 0;
    }
    memset(stream->block + held, 0, 120 - held);
    store64(stream->block + 120, stream->length << 3);
    compress512(stream->state, stream->block, 1);
    for (int i = 0; i < 4; i++)
        store64(digest + 8 * i, stream->state[i]);
}

void ad_hmac_prepare(ad_hmac_key *prepared, const void *key, size_t size)
{
    unsigned char block[64] = {0};
    ad_sha256 stream;
    if (size > sizeof block) {
        ad_sha256_init(&stream);
        ad_sha256_update(&stream, key, size);
        ad_sha256_final(&stream, block);
    } else if (size) {
        memcpy(block, key, size);
    }
    for (int i = 0; i < 64; i++)
        block[i] ^= 0x36;
    memcpy(prepared->inner, initial256, sizeof initial256);
    choose()->compress(prepared->inner, block, 1);
    for (int i = 0; i < 64; i++)
        block[i] ^= 0x36 ^ 0x5c;
    memcpy(prepared->outer, initial256, sizeof initial256);
    choose()->compress(prepared->outer, block, 1);
    ad_wipe(&stream, sizeof stream);
    ad_wipe(block, sizeof block);
}

void ad_hmac_begin(ad_sha256 *stream, const ad_hmac_key *key)
{
    memcpy(stream->state, key->inner, sizeof key->inner);
    stream->length = 64;
}

void ad_hmac_end(ad_sha256 *stream, const ad_hmac_key *key, unsigned char mac[32])
{
    unsigned char digest[32];
    ad_sha256_final(stream, digest);
    memcpy(stream->state, key->outer, sizeof key->outer);
    stream->length = 64;
    ad_sha256_update(stream, digest, sizeof digest);
    ad_sha256_final(stream, mac);
}
