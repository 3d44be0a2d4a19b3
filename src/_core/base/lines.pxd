"""Header fields of one line, for Cython; lines.h says what each function does."""

from libc.stdint cimport uint8_t


cdef extern from "base/lines.h" nogil:
    enum:
        AD_LINES

    ctypedef struct ad_line:
        const uint8_t *name
        const uint8_t *name_end
        const uint8_t *value
        const uint8_t *value_end

    int ad_split_lines(const uint8_t **p, const uint8_t *end, ad_line *out) noexcept
