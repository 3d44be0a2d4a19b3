"""SipHash, for Cython; siphash.h says what each function does."""

from libc.stdint cimport uint8_t, uint64_t


cdef extern from "base/siphash.h" nogil:
    ctypedef struct ad_siphash:
        uint64_t v0

    uint64_t ad_siphash_filled(const uint8_t *p, size_t size) noexcept
    void ad_siphash_begin(ad_siphash *s, const uint64_t *key) noexcept
    void ad_siphash_word(ad_siphash *s, uint64_t word) noexcept
    void ad_siphash_bytes(ad_siphash *s, const void *data, size_t size) noexcept
    uint64_t ad_siphash_end_64(ad_siphash *s) noexcept
    void ad_siphash_end(ad_siphash *s, uint64_t *out) noexcept
