"""Questions of DISC that are judged together, for compiled code."""

from auth_diameter._core.path.findings cimport Finding
from auth_diameter._core.path.inquiry cimport Inquiry, Work
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.diameter.disc cimport AaRequest


cdef void inquiry_of_request(AaRequest request, Inquiry *out) noexcept


cdef class Batch:
    cdef Work work
    cdef readonly list requests     # of AaRequest; the cases borrow their bytes
    cdef readonly bint is_done
    cdef list errors                # of keys that could not be fetched, and of memory

    cdef int give_up(self, Judge judge, object error) except -1
    cdef int add_error(self, object error) except -1
    cdef Finding *finding_of(self, tuple key) except NULL
