"""Digest challenges for compiled code."""

from auth_diameter._core.base.span cimport Span


cdef bint is_challenge(Span text) noexcept nogil
cdef bint is_stale_challenge(Span text) noexcept nogil
