"""Questions that are judged together, for compiled code."""

from auth_diameter._core.path.findings cimport Finding
from auth_diameter._core.path.inquiry cimport Case, Work
from auth_diameter._core.path.share cimport Shares
from auth_diameter._core.path.verify cimport Judge


cdef class Batch:
    cdef Work work
    cdef size_t room                # cases that there is memory for
    cdef readonly list requests     # one for each case, whose bytes the cases borrow; None in `new_batch`
    cdef readonly bint is_done
    cdef Shares shares              # those of `told`
    cdef bytes told                 # the records that `shared` is to answer; None: there are none
    cdef list errors                # of keys that could not be fetched, and of memory

    # The next case, whose `ask` the caller fills in; there are `room` of them
    cdef Case *add(self) noexcept nogil
    cdef int fail_cases(self, Judge judge, object error, bint every) except -1
    cdef int add_error(self, object error) except -1
    cdef Finding *finding_of(self, tuple key) except NULL


# A batch without cases so far, which the caller adds
cdef Batch new_batch(size_t room, double now)
# The same with the room of a batch that gets no cases any more, which keeps no more than it needs
cdef Batch take_room(Batch batch)
# Removes all cases, and wipes what was made for them
cdef void empty_batch(Batch batch) noexcept
