"""MAA of RFC 4740, read into a struct that the caller owns; no Python object is touched."""

from libc.stdint cimport uint8_t

from auth_diameter._core.diameter.application cimport AnswerView

cdef bint read_maa(const uint8_t *p, size_t n, AnswerView *out) noexcept nogil
