"""Hexadecimal digits of a digest."""

from libc.stdint cimport uint8_t

cdef extern from "base/hex.h" nogil:
    void ad_put_hex(uint8_t *out, const uint8_t *digest) noexcept
    void ad_lower_hex(uint8_t *out, const uint8_t *digits) noexcept
    bint ad_same_hex(const uint8_t *given, const uint8_t *expected, size_t n) noexcept
