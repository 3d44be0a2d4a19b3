"""Messages of the DISC dialect for compiled code."""

from auth_diameter._core.diameter.application cimport Application
from auth_diameter._core.diameter.disc_answer cimport Known
from auth_diameter._core.diameter.disc_question cimport QuestionView
from auth_diameter._core.diameter.received cimport Received
from auth_diameter._core.digest.params cimport DigestFields

cdef int read_response(const QuestionView *view, DigestFields *fields, size_t *offset) noexcept nogil


cdef class AaRequest(Received):
    pass


cdef class DiscApplication(Application):
    cdef Known known                # of the answers so far, for the next ones


cdef DiscApplication DIALECT        # for whoever needs none of its own
