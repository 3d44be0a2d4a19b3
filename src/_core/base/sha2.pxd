"""SHA-2 and HMAC, for Cython; sha2.h says what each function does."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "base/sha2.h" nogil:
    ctypedef struct ad_sha256:
        uint32_t state[8]
        uint64_t length
        unsigned char block[64]

    void ad_sha256_init(ad_sha256 *stream) noexcept
    void ad_sha256_update(ad_sha256 *stream, const void *data, size_t size) noexcept
    void ad_sha256_final(ad_sha256 *stream, unsigned char *digest) noexcept

    ctypedef struct ad_sha512_256:
        uint64_t state[8]
        uint64_t length
        unsigned char block[128]

    void ad_sha512_256_init(ad_sha512_256 *stream) noexcept
    void ad_sha512_256_update(ad_sha512_256 *stream, const void *data, size_t size) noexcept
    void ad_sha512_256_final(ad_sha512_256 *stream, unsigned char *digest) noexcept

    ctypedef struct ad_hmac_key:
        uint32_t inner[8]
        uint32_t outer[8]

    void ad_hmac_prepare(ad_hmac_key *prepared, const void *key, size_t size) noexcept
    void ad_hmac_begin(ad_sha256 *stream, const ad_hmac_key *key) noexcept
    void ad_hmac_end(ad_sha256 *stream, const ad_hmac_key *key, unsigned char *mac) noexcept

    const char *ad_sha256_instructions() noexcept
    int ad_sha256_use_instructions(const char *name) noexcept
