"""Secrets in memory: wiping them, and comparing them without a difference in time."""

from libc.stdint cimport uint8_t

cdef extern from "base/secret.h" nogil:
    void ad_wipe(void *memory, size_t size) noexcept
    bint ad_same_bytes(const uint8_t *a, const uint8_t *b, size_t n) noexcept
