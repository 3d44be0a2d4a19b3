"""Requests of SIP, for other targets."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span


cdef Span REALM_ASKED

cdef void check_lines(const uint8_t *p, const uint8_t *end) noexcept nogil
cdef void check_challenges(const Span *challenges, int count) noexcept nogil
