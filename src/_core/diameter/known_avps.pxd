"""Which AVPs the dictionary has, for compiled code."""

from libc.stdint cimport uint32_t

cdef bint is_known_avp(uint32_t code, uint32_t vendor) noexcept nogil
