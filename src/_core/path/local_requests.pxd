"""The way of a request through a SIP server that has the users itself, for compiled code."""

from auth_diameter._core.net.departures cimport BATCH
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.inquiry cimport Case, Work
from auth_diameter._core.path.requests cimport RequestPath
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.verify cimport Judge


cdef struct Asked:
    # The questions of one read
    Work *work                      # that of the batch
    Slot *slots[BATCH]              # the slot of each question; NULL: it is concluded
    size_t left                     # of them


cdef class Turn:
    cdef Batch batch
    cdef Asked asked


cdef class LocalRequests(RequestPath):
    cdef Judge rules
    cdef object policy              # what Python decides, see local_requests.pyx
    cdef object clock               # function that returns seconds since 1970
    cdef bint waits                 # whether the store waits
    cdef Turn turn                  # of this read; between two reads it is empty
    cdef Asked *asked               # that of the turn
    cdef set waiting                # the turns that the policy has

    cdef void conclude_done(self, Asked *asked) noexcept nogil
    cdef Slot *take_slot(self, Asked *asked, size_t i) noexcept nogil
    cdef bint conclude_one(self, Slot *s, const Case *case) noexcept nogil
    cdef int finish_left(self, Turn turn) except -1
    cdef int conclude_left(self, Turn turn) except -1
    cdef int conclude_in_python(self, Slot *s, const Case *case) except -1
    cdef void give_up(self, Asked *asked) noexcept
    cdef int use(self, Turn turn) except -1
