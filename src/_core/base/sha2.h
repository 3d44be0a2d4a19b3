/* SHA-256 and SHA-512/256 (FIPS 180-4), and HMAC-SHA-256 (RFC 2104) with a key that is prepared once.
 *
 * Nothing here allocates, fails or keeps state, except the choice of the instructions for SHA-256, made once at load
 * time.
 */
#ifndef AUTH_DIAMETER_SHA2_H
#define AUTH_DIAMETER_SHA2_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t state[8];
    uint64_t length;            /* bytes taken so far */
    unsigned char block[64];    /* the unfinished block */
} ad_sha256;

void ad_sha256_init(ad_sha256 *stream);
void ad_sha256_update(ad_sha256 *stream, const void *data, size_t size);
void ad_sha256_final(ad_sha256 *stream, unsigned char digest[32]);

typedef struct {
    uint64_t state[8];
    uint64_t length;            /* bytes taken so far */
    unsigned char block[128];   /* the unfinished block */
} ad_sha512_256;

void ad_sha512_256_init(ad_sha512_256 *stream);
void ad_sha512_256_update(ad_sha512_256 *stream, const void *data, size_t size);
void ad_sha512_256_final(ad_sha512_256 *stream, unsigned char digest[32]);

/* The states of SHA-256 behind the two blocks that HMAC makes of a key; as secret as the key. */
typedef struct {
    uint32_t inner[8], outer[8];
} ad_hmac_key;

void ad_hmac_prepare(ad_hmac_key *prepared, const void *key, size_t size);
void ad_hmac_begin(ad_sha256 *stream, const ad_hmac_key *key);
void ad_hmac_end(ad_sha256 *stream, const ad_hmac_key *key, unsigned char mac[32]);

/* The instructions in use: "sha" (x86 SHA extensions), "bmi2" or "portable". */
const char *ad_sha256_instructions(void);
/* Uses those from now on. 0: done; -1: this machine or build does not have them. */
int ad_sha256_use_instructions(const char *name);

#endif
