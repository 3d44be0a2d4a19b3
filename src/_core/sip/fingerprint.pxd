"""The fingerprint of a SIP request, for compiled code."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.span cimport Span


cdef void fingerprint_of(const uint8_t *data, size_t n, Span host, uint32_t port, uint32_t flow, uint32_t scope,
                         uint64_t *out) noexcept nogil
