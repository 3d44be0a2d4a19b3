"""The slots of one UDP socket, for compiled code."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t

from auth_diameter._core.net.addresses cimport iovec, mmsghdr
from auth_diameter._core.net.departures cimport BATCH
from auth_diameter._core.path.slot cimport Slot


cdef class Slots:
    cdef PyObject *owner            # of the flights in the slots; it owns this object
    cdef Slot *batch[BATCH]         # for the datagrams of the next read
    cdef Slot *unused
    cdef Slot *odd_first            # those that Python is to handle, in order
    cdef Slot *odd_last
    cdef uint8_t *overflow          # what each datagram of a read has beyond its slot
    cdef mmsghdr messages[BATCH]
    cdef iovec parts[2 * BATCH]

    cdef int fill(self, object owner) except -1
    cdef int receive(self, int fd) noexcept nogil
    cdef Slot *arrived(self, int i) noexcept nogil
    cdef void give_back(self, Slot *s) noexcept nogil
    cdef void add_odd(self, Slot *s) noexcept nogil
    cdef Slot *next_odd(self) noexcept nogil
    cdef void free_all(self, Slot *s) noexcept nogil
    cdef Slot *new_slot(self) noexcept nogil
    cdef void empty(self, Slot *s) noexcept nogil
    cdef void prepare(self, int i) noexcept nogil
