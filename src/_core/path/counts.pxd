"""The decisions of a client, counted by cause; for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.auth.rulings cimport CAUSE_COUNT
from auth_diameter._core.base.lock cimport ad_count


cdef class Decisions:
    cdef uint64_t by_cause[CAUSE_COUNT]


cdef inline void count(Decisions decisions, int cause) noexcept nogil:
    """Counts one decision with that CAUSE_…."""
    ad_count(&decisions.by_cause[cause])
