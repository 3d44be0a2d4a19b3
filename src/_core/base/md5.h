/* MD5 (RFC 1321): one stream, and many streams at once in SIMD lanes.
 *
 * Nothing here allocates, fails or keeps state, except the choice of lanes, made once at load time.
 */
#ifndef AUTH_DIAMETER_MD5_H
#define AUTH_DIAMETER_MD5_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[4];
    uint64_t length;            /* bytes taken so far */
    unsigned char block[64];    /* the unfinished block */
} ad_md5_stream;

void ad_md5_init(ad_md5_stream *stream);
void ad_md5_update(ad_md5_stream *stream, const void *data, size_t size);
void ad_md5_final(ad_md5_stream *stream, unsigned char digest[16]);

/* The whole of `data` at once; it may be null if `size` is 0. */
void ad_md5(const void *data, size_t size, unsigned char digest[16]);

/* One compression step for each of two independent states, interleaved: about the time of one. */
void ad_md5_compress2(uint32_t state_a[4], const unsigned char block_a[64],
                      uint32_t state_b[4], const unsigned char block_b[64]);
void ad_md5_compress(uint32_t state[4], const unsigned char block[64]);
extern const uint32_t ad_md5_initial_state[4];

/* Many independent messages of any lengths; each digest is written to its job's own place. `data` may be null if `size`
 * is 0. Not one byte outside the data is read. */
typedef struct {
    const unsigned char *data;
    size_t size;
    unsigned char *digest;      /* 16 bytes */
} ad_md5_job;
void ad_md5_many(const ad_md5_job *jobs, size_t count);

/* The lanes in use: "avx512", "avx2", "sse2", "neon" or "scalar". */
const char *ad_md5_lanes(void);
/* Uses the lanes of that name from now on, and narrower ones for fewer messages than would fill half of them. 0: done;
 * -1: this machine or build does not have them. */
int ad_md5_use_lanes(const char *name);

#endif
