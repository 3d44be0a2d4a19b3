"""Memory that lives as long as one batch of work, for Cython; scratch.h says what each function does."""

cdef extern from "base/scratch.h" nogil:
    ctypedef struct ad_scratch:
        void *blocks
        bint is_small

    void *ad_scratch_take(ad_scratch *scratch, size_t n) noexcept
    void *ad_scratch_take_plain(ad_scratch *scratch, size_t n) noexcept
    void ad_scratch_release(ad_scratch *scratch) noexcept
    void ad_scratch_empty(ad_scratch *scratch) noexcept
