"""NH, for Cython; nh.h says what each function does."""

from libc.stdint cimport uint64_t


cdef extern from "base/nh.h" nogil:
    enum:
        AD_NH_BLOCK, AD_NH_KEY

    bint ad_has_clnh() noexcept
    void ad_nh_twice(const uint64_t *key, const void *data, size_t size, uint64_t *out) noexcept
    void ad_clnh_twice(const uint64_t *key, const void *data, size_t size, uint64_t *out) noexcept
