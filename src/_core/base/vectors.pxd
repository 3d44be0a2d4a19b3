"""The ways to scan bytes, for Cython: one by one, or by vectors (vectors.h). Both give the same."""

ctypedef int Scan

cdef enum:
    SCAN_BYTES, SCAN_VECTORS


cdef extern from "base/vectors.h" nogil:
    bint ad_has_vectors() noexcept


cdef inline Scan best_scan() noexcept nogil:
    """The fastest way that this machine has."""
    return SCAN_VECTORS if ad_has_vectors() else SCAN_BYTES
