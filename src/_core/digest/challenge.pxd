"""Digest challenges as compiled code sees them."""

from auth_diameter._core.base.span cimport Span


cdef bint is_challenge(Span text) noexcept nogil
