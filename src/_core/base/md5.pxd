"""MD5, for Cython; md5.h says what each function does."""

from libc.stdint cimport uint32_t, uint64_t


cdef extern from "base/md5.h" nogil:
    ctypedef struct ad_md5_stream:
        uint32_t state[4]
        uint64_t length
        unsigned char block[64]

    void ad_md5_init(ad_md5_stream *stream) noexcept
    void ad_md5_update(ad_md5_stream *stream, const void *data, size_t size) noexcept
    void ad_md5_final(ad_md5_stream *stream, unsigned char *digest) noexcept
    void ad_md5(const void *data, size_t size, unsigned char *digest) noexcept

    const uint32_t ad_md5_initial_state[4]
    void ad_md5_compress(uint32_t *state, const unsigned char *block) noexcept
    void ad_md5_compress2(uint32_t *state_a, const unsigned char *block_a,
                          uint32_t *state_b, const unsigned char *block_b) noexcept

    ctypedef struct ad_md5_job:
        const unsigned char *data
        size_t size
        unsigned char *digest

    void ad_md5_many(const ad_md5_job *jobs, size_t count) noexcept
    const char *ad_md5_lanes() noexcept
    int ad_md5_use_lanes(const char *name) noexcept
