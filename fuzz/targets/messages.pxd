"""Diameter messages as they are on the wire, for other targets."""

from libc.stdint cimport uint8_t


cdef void each_message(const uint8_t *data, size_t size,
                       void (*play)(const uint8_t *, size_t) noexcept nogil) noexcept nogil
cdef void check_message(const uint8_t *p, size_t n) noexcept nogil
