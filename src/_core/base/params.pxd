"""Parameters between commas, for Cython; params.h says what the function does."""

from libc.stdint cimport uint8_t


cdef extern from "base/params.h" nogil:
    enum:
        AD_PARAMS

    ctypedef struct ad_param:
        const uint8_t *name
        const uint8_t *name_end
        const uint8_t *value
        const uint8_t *value_end

    int ad_split_params(const uint8_t *start, const uint8_t **p, const uint8_t *end, size_t most,
                        ad_param *out) noexcept
