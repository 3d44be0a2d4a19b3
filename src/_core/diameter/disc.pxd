"""Messages of the DISC dialect for compiled code."""

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.diameter.application cimport Application
from auth_diameter._core.diameter.disc_answer cimport Known
from auth_diameter._core.diameter.disc_question cimport QuestionView
from auth_diameter._core.digest.params cimport DigestFields

cdef enum:
    # What a question holds; or the status of credentials that cannot be read, which is OTHER_SCHEME or negative
    NO_CREDENTIALS = 2
    GOOD_CREDENTIALS = 1
    NO_REALM = -100


cdef int read_response(const QuestionView *view, DigestFields *fields, size_t *offset) noexcept nogil


cdef class AaRequest:
    cdef bytes message              # every span points in here
    cdef QuestionView view
    cdef DigestFields fields        # of the Response, if its status is GOOD_CREDENTIALS
    cdef int status                 # of the Response: NO_CREDENTIALS, GOOD_CREDENTIALS, or what is wrong with it
    cdef size_t offset              # of what is wrong, in the Response
    cdef Question asked             # once somebody wants the object
    cdef public object asker        # the SIP server that sent it, or None; set by the listener
    cdef public bint one_challenge  # whether that SIP server can use one challenge only; set by the listener


cdef class DiscApplication(Application):
    cdef Known known                # of the answers so far, for the next ones


cdef DiscApplication DIALECT        # for whoever needs none of its own
