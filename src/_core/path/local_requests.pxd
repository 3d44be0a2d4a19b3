"""The way of a request through a SIP server that has the users itself, for compiled code."""

from auth_diameter._core.net.departures cimport BATCH
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.requests cimport RequestPath
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.verify cimport Judge


cdef class LocalRequests(RequestPath):
    cdef Judge rules
    cdef object policy              # what Python decides, see local_requests.pyx
    cdef object clock               # function that returns seconds since 1970
    cdef Batch batch                # the questions of this read; between two reads it is empty
    cdef Slot *asked[BATCH]         # the slot of each question; NULL: it is concluded

    cdef void conclude_done(self) noexcept nogil
    cdef bint conclude_one(self, size_t i) noexcept nogil
    cdef int finish_left(self) except -1
    cdef int conclude_in_python(self, size_t i) except -1
