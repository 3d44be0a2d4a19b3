"""Cx as a client speaks it, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.diameter.application cimport AnswerView

cdef bint read_maa(const uint8_t *p, size_t n, AnswerView *out) noexcept nogil
