/* SipHash-1-3 with 128 bits (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012, and its reference's
 * double output). Without the key nobody can predict a hash, or make two inputs collide.
 *
 * One compression round for each word, as in the hash tables of Python and Rust, which have the same aim.
 */
#ifndef AUTH_DIAMETER_SIPHASH_H
#define AUTH_DIAMETER_SIPHASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint64_t v0, v1, v2, v3;
} ad_siphash;

static inline uint64_t ad_siphash_rotate(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static inline void ad_siphash_round(ad_siphash *s)
{
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = ad_siphash_rotate(s->v1, 13) ^ s->v0;
    s->v3 = ad_siphash_rotate(s->v3, 16) ^ s->v2;
    s->v0 = ad_siphash_rotate(s->v0, 32) + s->v3;
    s->v2 += s->v1;
    s->v1 = ad_siphash_rotate(s->v1, 17) ^ s->v2;
    s->v3 = ad_siphash_rotate(s->v3, 21) ^ s->v0;
    s->v2 = ad_siphash_rotate(s->v2, 32);
}

static inline void ad_siphash_begin(ad_siphash *s, const uint64_t key[2])
{
    s->v0 = key[0] ^ 0x736f6d6570736575u;   /* "somepseudorandomlygeneratedbytes" */
    s->v1 = key[1] ^ 0x646f72616e646f6du ^ 0xee;
    s->v2 = key[0] ^ 0x6c7967656e657261u;
    s->v3 = key[1] ^ 0x7465646279746573u;
}

static inline void ad_siphash_word(ad_siphash *s, uint64_t word)
{
    s->v3 ^= word;
    ad_siphash_round(s);
    s->v0 ^= word;
}

/* Fewer than 8 bytes, filled with zeros to a word; without a call of memcpy, which would take longer than all of this. */
static inline uint64_t ad_siphash_filled(const unsigned char *p, size_t size)
{
    uint64_t word = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (size >= sizeof(uint32_t)) {
        uint32_t first, last;       /* they may overlap */
        memcpy(&first, p, sizeof first);
        memcpy(&last, p + size - sizeof last, sizeof last);
        return first | (uint64_t)last << 8 * (size - sizeof last);
    }
    if (size)
        word = p[0] | (uint64_t)p[size / 2] << 8 * (size / 2) | (uint64_t)p[size - 1] << 8 * (size - 1);
#else
    memcpy(&word, p, size);
#endif
    return word;
}

/* The bytes of `data`, the last word filled with zeros; the caller of several hashes their sizes first. */
static inline void ad_siphash_bytes(ad_siphash *s, const void *data, size_t size)
{
    ad_siphash state = *s;      /* in registers: the data might be anywhere, `s` too */
    const unsigned char *p = data;
    uint64_t word;
    while (sizeof word <= size) {
        memcpy(&word, p, sizeof word);
        ad_siphash_word(&state, word);
        p += sizeof word;
        size -= sizeof word;
    }
    if (size)
        ad_siphash_word(&state, ad_siphash_filled(p, size));
    *s = state;
}

static inline uint64_t ad_siphash_half(ad_siphash *s)
{
    for (int i = 0; i < 3; i++)
        ad_siphash_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* 64 of the 128 bits, for less time. */
static inline uint64_t ad_siphash_end_64(ad_siphash *s)
{
    s->v2 ^= 0xee;
    return ad_siphash_half(s);
}

static inline void ad_siphash_end(ad_siphash *s, uint64_t out[2])
{
    out[0] = ad_siphash_end_64(s);
    s->v1 ^= 0xdd;
    out[1] = ad_siphash_half(s);
}

#endif
