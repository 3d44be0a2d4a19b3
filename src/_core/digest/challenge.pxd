"""Digest challenges for compiled code."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport DigestFields


cdef bint is_challenge(Span text) noexcept nogil
cdef bint read_challenge(Span text, DigestFields *out) noexcept nogil
