"""Refusals for the log, for compiled code."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.net.addresses cimport HOST_ROOM
from auth_diameter._core.path.slot cimport Slot

cdef enum:
    MOST_NOTES = 16         # refusals that are told apart until Python takes them
    ACCOUNT_ROOM = 256      # bytes of an account in a note; a line of the log shows 64 characters


cdef struct Note:
    # A refusal for the log, and how often it came
    int cause               # a CAUSE_…, or an outcome
    uint64_t times
    uint8_t account[ACCOUNT_ROOM]
    size_t account_size
    char host[HOST_ROOM]
    size_t host_size


cdef class Notes:
    cdef Note notes[MOST_NOTES]
    cdef tuple names                # what each `cause` stands for
    cdef readonly int count
    cdef uint64_t others            # refusals without a place in `notes`

    cdef void add(self, const Slot *s, int cause) noexcept nogil
