/* MD5 (RFC 1321); what is done in many lanes is in md5_lanes.h. */
#include "md5.h"

#include <stdatomic.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__) && defined(__ARM_NEON) && !defined(__AARCH64EB__)
#include <arm_neon.h>
#define MD5_NEON 1
#endif

#define MD5_INLINE static inline __attribute__((always_inline))

/* RFC 1321, section 3.3. */
const uint32_t ad_md5_initial_state[4] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};

MD5_INLINE uint32_t load32(const unsigned char *p)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint32_t word;
    memcpy(&word, p, 4);
    return word;
#else
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
#endif
}

MD5_INLINE void store32(unsigned char *p, uint32_t word)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    memcpy(p, &word, 4);
#else
    p[0] = (unsigned char)word, p[1] = (unsigned char)(word >> 8);
    p[2] = (unsigned char)(word >> 16), p[3] = (unsigned char)(word >> 24);
#endif
}

/* The 64 steps of RFC 1321, section 3.4: X(function, a, b, c, d, k, s, T[i]). The constants are written here once, for
 * one stream, for two and for every kind of lanes. */
#define MD5_STEPS(X) \
    X(F, a,b,c,d,  0,  7, 0xd76aa478u) X(F, d,a,b,c,  1, 12, 0xe8c7b756u) \
    X(F, c,d,a,b,  2, 17, 0x242070dbu) X(F, b,c,d,a,  3, 22, 0xc1bdceeeu) \
    X(F, a,b,c,d,  4,  7, 0xf57c0fafu) X(F, d,a,b,c,  5, 12, 0x4787c62au) \
    X(F, c,d,a,b,  6, 17, 0xa8304613u) X(F, b,c,d,a,  7, 22, 0xfd469501u) \
    X(F, a,b,c,d,  8,  7, 0x698098d8u) X(F, d,a,b,c,  9, 12, 0x8b44f7afu) \
    X(F, c,d,a,b, 10, 17, 0xffff5bb1u) X(F, b,c,d,a, 11, 22, 0x895cd7beu) \
    X(F, a,b,c,d, 12,  7, 0x6b901122u) X(F, d,a,b,c, 13, 12, 0xfd987193u) \
    X(F, c,d,a,b, 14, 17, 0xa679438eu) X(F, b,c,d,a, 15, 22, 0x49b40821u) \
    X(G, a,b,c,d,  1,  5, 0xf61e2562u) X(G, d,a,b,c,  6,  9, 0xc040b340u) \
    X(G, c,d,a,b, 11, 14, 0x265e5a51u) X(G, b,c,d,a,  0, 20, 0xe9b6c7aau) \
    X(G, a,b,c,d,  5,  5, 0xd62f105du) X(G, d,a,b,c, 10,  9, 0x02441453u) \
    X(G, c,d,a,b, 15, 14, 0xd8a1e681u) X(G, b,c,d,a,  4, 20, 0xe7d3fbc8u) \
    X(G, a,b,c,d,  9,  5, 0x21e1cde6u) X(G, d,a,b,c, 14,  9, 0xc33707d6u) \
    X(G, c,d,a,b,  3, 14, 0xf4d50d87u) X(G, b,c,d,a,  8, 20, 0x455a14edu) \
    X(G, a,b,c,d, 13,  5, 0xa9e3e905u) X(G, d,a,b,c,  2,  9, 0xfcefa3f8u) \
    X(G, c,d,a,b,  7, 14, 0x676f02d9u) X(G, b,c,d,a, 12, 20, 0x8d2a4c8au) \
    X(H, a,b,c,d,  5,  4, 0xfffa3942u) X(H, d,a,b,c,  8, 11, 0x8771f681u) \
    X(H, c,d,a,b, 11, 16, 0x6d9d6122u) X(H, b,c,d,a, 14, 23, 0xfde5380cu) \
    X(H, a,b,c,d,  1,  4, 0xa4beea44u) X(H, d,a,b,c,  4, 11, 0x4bdecfa9u) \
    X(H, c,d,a,b,  7, 16, 0xf6bb4b60u) X(H, b,c,d,a, 10, 23, 0xbebfbc70u) \
    X(H, a,b,c,d, 13,  4, 0x289b7ec6u) X(H, d,a,b,c,  0, 11, 0xeaa127fau) \
    X(H, c,d,a,b,  3, 16, 0xd4ef3085u) X(H, b,c,d,a,  6, 23, 0x04881d05u) \
    X(H, a,b,c,d,  9,  4, 0xd9d4d039u) X(H, d,a,b,c, 12, 11, 0xe6db99e5u) \
    X(H, c,d,a,b, 15, 16, 0x1fa27cf8u) X(H, b,c,d,a,  2, 23, 0xc4ac5665u) \
    X(I, a,b,c,d,  0,  6, 0xf4292244u) X(I, d,a,b,c,  7, 10, 0x432aff97u) \
    X(I, c,d,a,b, 14, 15, 0xab9423a7u) X(I, b,c,d,a,  5, 21, 0xfc93a039u) \
    X(I, a,b,c,d, 12,  6, 0x655b59c3u) X(I, d,a,b,c,  3, 10, 0x8f0ccc92u) \
    X(I, c,d,a,b, 10, 15, 0xffeff47du) X(I, b,c,d,a,  1, 21, 0x85845dd1u) \
    X(I, a,b,c,d,  8,  6, 0x6fa87e4fu) X(I, d,a,b,c, 15, 10, 0xfe2ce6e0u) \
    X(I, c,d,a,b,  6, 15, 0xa3014314u) X(I, b,c,d,a, 13, 21, 0x4e0811a1u) \
    X(I, a,b,c,d,  4,  6, 0xf7537e82u) X(I, d,a,b,c, 11, 10, 0xbd3af235u) \
    X(I, c,d,a,b,  2, 15, 0x2ad7d2bbu) X(I, b,c,d,a,  9, 21, 0xeb86d391u)

#define CONSTANT(f, a, b, c, d, k, s, t) t,
static const uint32_t md5_constants[64] = {MD5_STEPS(CONSTANT)};
#undef CONSTANT

/* The functions of RFC 1321, section 3.4, each added to `sum`, for numbers and for vectors of them.
 *
 * x is the result of the step before, hence the late one: everything that does not need it comes first. G is (x & z) |
 * (y & ~z), whose sides never share a bit: added one by one, only one AND and one addition wait for x. */
#define MD5_ADD_F(sum, x, y, z) ((sum) + ((z) ^ ((x) & ((y) ^ (z)))))
#define MD5_ADD_G(sum, x, y, z) (((sum) + ((y) & ~(z))) + ((x) & (z)))
#define MD5_ADD_H(sum, x, y, z) ((sum) + ((x) ^ ((y) ^ (z))))
#define MD5_ADD_I(sum, x, y, z) ((sum) + ((y) ^ ((x) | ~(z))))
#define MD5_ROTATE(x, n) ((x) << (n) | (x) >> (32 - (n)))
/* The compiler may not reorder a sum across this, as it else does, to make it wait for x longer than it must. */
#define MD5_FIRST(reg, sum) __asm__("" : "+" reg(sum));

void ad_md5_compress(uint32_t state[4], const unsigned char block[64])
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
#define STEP(f, a, b, c, d, k, s, t) \
    a += load32(block + 4 * k) + t; \
    MD5_FIRST("r", a) \
    a = MD5_ADD_##f(a, b, c, d); \
    a = MD5_ROTATE(a, s) + b;
    MD5_STEPS(STEP)
#undef STEP
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
}

/* Writes the last one or two blocks (RFC 1321, sections 3.1 and 3.2) such that they end at `end`, and returns how many.
 * `data` and `size` are the message of `total` bytes, or the end of it from any block on. The MD5_TAIL_ROOM bytes
 * before `end` are overwritten. */
#define MD5_TAIL_ROOM 192
MD5_INLINE size_t write_tail(unsigned char *end, const unsigned char *data, size_t size, uint64_t total)
{
    size_t rest = size % 64, blocks = 1 + (rest >= 56);
    unsigned char *tail = end - 64 * blocks;
    memset(end - 128, 0, 64);       /* Two small ones: for 128 bytes GCC takes REP STOS, slow to start. */
    memset(end - 64, 0, 64);
    /* With a full block before the rest, copying 64 bytes takes a piece of it along, into the room before the tail: one
     * copy of fixed size, without a branch on the length, that still reads not one byte too far. */
    if (size >= 64)
        memcpy(tail + rest - 64, data + size - 64, 64);
    else if (size)
        memcpy(tail, data, size);
    tail[rest] = 0x80;
    store32(end - 8, (uint32_t)(total << 3));
    store32(end - 4, (uint32_t)(total >> 29));
    return blocks;
}

MD5_INLINE void finish(uint32_t state[4], const unsigned char *data, size_t size, uint64_t total,
                       unsigned char digest[16])
{
    unsigned char tail[MD5_TAIL_ROOM];
    for (size_t left = write_tail(tail + sizeof tail, data, size, total); left; left--)
        ad_md5_compress(state, tail + sizeof tail - 64 * left);
    for (int w = 0; w < 4; w++)
        store32(digest + 4 * w, state[w]);
}

void ad_md5_init(ad_md5_stream *stream)
{
    memcpy(stream->state, ad_md5_initial_state, sizeof stream->state);
    stream->length = 0;
}

void ad_md5_update(ad_md5_stream *stream, const void *data, size_t size)
{
    const unsigned char *p = data;
    size_t held = stream->length % 64;
    stream->length += size;
    if (held) {
        size_t wanted = 64 - held;
        if (size < wanted) {
            if (size)
                memcpy(stream->block + held, p, size);
            return;
        }
        memcpy(stream->block + held, p, wanted);
        ad_md5_compress(stream->state, stream->block);
        p += wanted, size -= wanted;
    }
    for (; size >= 64; p += 64, size -= 64)
        ad_md5_compress(stream->state, p);
    if (size)
        memcpy(stream->block, p, size);
}

void ad_md5_final(ad_md5_stream *stream, unsigned char digest[16])
{
    finish(stream->state, stream->block, stream->length % 64, stream->length, digest);
}

void ad_md5(const void *data, size_t size, unsigned char digest[16])
{
    const unsigned char *p = data;
    uint32_t state[4];
    memcpy(state, ad_md5_initial_state, sizeof state);
    for (size_t left = size / 64; left; left--, p += 64)
        ad_md5_compress(state, p);
    finish(state, data, size, size, digest);
}

/* Too many blocks to count in the lanes' narrow numbers. */
#define MD5_IS_HUGE(size) ((uint64_t)(size) >> 36 != 0)

/* Numbers are vectors of one lane: the plain path of ad_md5_many, and ad_md5_compress2. */
#define LANES_NAME scalar
#define LANES_TARGET
#define LANES_TYPE uint32_t
#define LANES_EACH 1
#define LANES_REGISTER "r"
#include "md5_lanes.h"

void ad_md5_compress2(uint32_t state_a[4], const unsigned char block_a[64],
                      uint32_t state_b[4], const unsigned char block_b[64])
{
    const unsigned char *const block[2] = {block_a, block_b};
    uint32_t state[4][2];
    for (int w = 0; w < 4; w++)
        state[w][0] = state_a[w], state[w][1] = state_b[w];
    compress_scalar(state, block);
    for (int w = 0; w < 4; w++)
        state_a[w] = state[w][0], state_b[w] = state[w][1];
}

#if defined(__x86_64__)

#define MD5_LOAD16(p) _mm_loadu_si128((const __m128i *)(const void *)(p))

typedef uint32_t lanes_sse2 __attribute__((vector_size(16)));
#define LANES_NAME sse2
#define LANES_TARGET
#define LANES_TYPE lanes_sse2
#define LANES_EACH 4
#define LANES_REGISTER "x"
#define LANES_ROW(p, at) (lanes_sse2)MD5_LOAD16((p)[0] + (at))
#define LANES_LO32(x, y) (lanes_sse2)_mm_unpacklo_epi32((__m128i)(x), (__m128i)(y))
#define LANES_HI32(x, y) (lanes_sse2)_mm_unpackhi_epi32((__m128i)(x), (__m128i)(y))
#define LANES_LO64(x, y) (lanes_sse2)_mm_unpacklo_epi64((__m128i)(x), (__m128i)(y))
#define LANES_HI64(x, y) (lanes_sse2)_mm_unpackhi_epi64((__m128i)(x), (__m128i)(y))
#include "md5_lanes.h"

typedef uint32_t lanes_avx2 __attribute__((vector_size(32)));
#define LANES_NAME avx2
#define LANES_TARGET __attribute__((target("avx2")))
#define LANES_TYPE lanes_avx2
#define LANES_EACH 8
#define LANES_REGISTER "x"
#define LANES_ROW(p, at) (lanes_avx2)_mm256_inserti128_si256( \
    _mm256_castsi128_si256(MD5_LOAD16((p)[0] + (at))), MD5_LOAD16((p)[1] + (at)), 1)
#define LANES_LO32(x, y) (lanes_avx2)_mm256_unpacklo_epi32((__m256i)(x), (__m256i)(y))
#define LANES_HI32(x, y) (lanes_avx2)_mm256_unpackhi_epi32((__m256i)(x), (__m256i)(y))
#define LANES_LO64(x, y) (lanes_avx2)_mm256_unpacklo_epi64((__m256i)(x), (__m256i)(y))
#define LANES_HI64(x, y) (lanes_avx2)_mm256_unpackhi_epi64((__m256i)(x), (__m256i)(y))
#include "md5_lanes.h"

/* VPTERNLOGD takes any function of three bits as a table: bit 4x + 2y + z of the number is its value. */
typedef uint32_t lanes_avx512 __attribute__((vector_size(64)));
#define MD5_TERNARY(x, y, z, table) \
    (lanes_avx512)_mm512_ternarylogic_epi32((__m512i)(x), (__m512i)(y), (__m512i)(z), table)

/* write_tail in three stores, for an `end` aligned to 64: a masked load touches no byte whose bit is not set, so the
 * end of a page is no matter. */
__attribute__((target("avx512f,avx512bw"))) MD5_INLINE size_t write_tail_avx512(
    unsigned char *end, const unsigned char *data, size_t size, uint64_t total)
{
    static const unsigned char padding[128] = {[64] = 0x80};
    size_t rest = size % 64, blocks = 1 + (rest >= 56);
    /* Right so even where nothing is to be read, but slow at an address such as null, where nothing is mapped. */
    const unsigned char *from = rest ? data + (size - rest) : padding;
    __m512i text = _mm512_maskz_loadu_epi8(((uint64_t)1 << rest) - 1, from);
    text = _mm512_or_si512(text, _mm512_loadu_si512(padding + 64 - rest));
    _mm512_store_si512(end - 64, _mm512_setzero_si512());
    _mm512_store_si512(end - 64 * blocks, text);
    total <<= 3;
    memcpy(end - 8, &total, 8);
    return blocks;
}
#define LANES_NAME avx512
#define LANES_TARGET __attribute__((target("avx512f,avx512bw")))
#define LANES_TYPE lanes_avx512
#define LANES_EACH 16
#define LANES_REGISTER "v"
#define MD5_HALF(p, q) _mm256_inserti128_si256(_mm256_castsi128_si256(MD5_LOAD16(p)), MD5_LOAD16(q), 1)
#define LANES_ROW(p, at) (lanes_avx512)_mm512_inserti64x4(_mm512_castsi256_si512( \
    MD5_HALF((p)[0] + (at), (p)[1] + (at))), MD5_HALF((p)[2] + (at), (p)[3] + (at)), 1)
#define LANES_TAIL write_tail_avx512
#define LANES_LO32(x, y) (lanes_avx512)_mm512_unpacklo_epi32((__m512i)(x), (__m512i)(y))
#define LANES_HI32(x, y) (lanes_avx512)_mm512_unpackhi_epi32((__m512i)(x), (__m512i)(y))
#define LANES_LO64(x, y) (lanes_avx512)_mm512_unpacklo_epi64((__m512i)(x), (__m512i)(y))
#define LANES_HI64(x, y) (lanes_avx512)_mm512_unpackhi_epi64((__m512i)(x), (__m512i)(y))
#define LANES_ADD_F(sum, x, y, z) ((sum) + MD5_TERNARY(x, y, z, 0xca))
#define LANES_ADD_G(sum, x, y, z) ((sum) + MD5_TERNARY(x, y, z, 0xe4))
#define LANES_ADD_H(sum, x, y, z) ((sum) + MD5_TERNARY(x, y, z, 0x96))
#define LANES_ADD_I(sum, x, y, z) ((sum) + MD5_TERNARY(x, y, z, 0x39))
#define LANES_ROTATE(x, n) (lanes_avx512)_mm512_rol_epi32((__m512i)(x), n)
#include "md5_lanes.h"

#elif defined(MD5_NEON)

#define MD5_ZIP64(which, x, y) \
    vreinterpretq_u32_u64(which(vreinterpretq_u64_u32(x), vreinterpretq_u64_u32(y)))
#define LANES_NAME neon
#define LANES_TARGET
#define LANES_TYPE uint32x4_t
#define LANES_EACH 4
#define LANES_REGISTER "w"
#define LANES_ROW(p, at) vreinterpretq_u32_u8(vld1q_u8((p)[0] + (at)))
#define LANES_LO32(x, y) vzip1q_u32(x, y)
#define LANES_HI32(x, y) vzip2q_u32(x, y)
#define LANES_LO64(x, y) MD5_ZIP64(vzip1q_u64, x, y)
#define LANES_HI64(x, y) MD5_ZIP64(vzip2q_u64, x, y)
#define LANES_ADD_F(sum, x, y, z) ((sum) + vbslq_u32(x, y, z))
#define LANES_ADD_G(sum, x, y, z) (((sum) + vbicq_u32(y, z)) + ((x) & (z)))
#define LANES_ADD_H MD5_ADD_H
#define LANES_ADD_I(sum, x, y, z) ((sum) + ((y) ^ vornq_u32(x, z)))
#define LANES_ROTATE(x, n) vsriq_n_u32(vshlq_n_u32(x, n), x, 32 - (n))
#include "md5_lanes.h"

#endif

/* The choice of lanes: best first, each with half as many as the one before or less. What runs one of them runs those
 * that follow. */
typedef struct {
    const char *name;
    size_t width;
    void (*many)(const ad_md5_job *jobs, size_t count);
} lanes;

static const lanes known[] = {
#if defined(__x86_64__)
    {"avx512", 32, many_avx512},
    {"avx2", 16, many_avx2},
    {"sse2", 8, many_sse2},
#elif defined(MD5_NEON)
    {"neon", 8, many_neon},
#endif
    {"scalar", 2, many_scalar},
};
enum { LAST = sizeof known / sizeof *known - 1 };

static int runs_here(const lanes *l)
{
#if defined(__x86_64__)
    /* These ask the operating system too: it has to save the wider registers. */
    if (l->width >= 16 && !__builtin_cpu_supports("avx2"))
        return 0;
    if (l->width >= 32 && !(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")))
        return 0;
#endif
    return l->width != 0;
}

/* Null until first used. */
static const lanes *_Atomic chosen;

static const lanes *choose(void)
{
    const lanes *l = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (l)
        return l;
    const lanes *best = known;
    while (!runs_here(best))
        best++;
    /* Unless another thread was first: with the same choice, or with that of ad_md5_use_lanes, which stays. */
    return atomic_compare_exchange_strong(&chosen, &l, best) ? best : l;
}

const char *ad_md5_lanes(void)
{
    return choose()->name;
}

int ad_md5_use_lanes(const char *name)
{
    for (const lanes *l = known; l <= known + LAST; l++)
        if (strcmp(name, l->name) == 0 && runs_here(l)) {
            atomic_store_explicit(&chosen, l, memory_order_relaxed);
            return 0;
        }
    return -1;
}

void ad_md5_many(const ad_md5_job *jobs, size_t count)
{
    const lanes *l = choose();
    /* Wider lanes take longer for a block, whether filled or not. */
    while (l < known + LAST && count <= l[1].width)
        l++;
    l->many(jobs, count);
}
