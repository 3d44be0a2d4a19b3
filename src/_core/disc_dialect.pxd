"""The DISC dialect's messages as compiled code sees them."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.digest cimport Credentials
from auth_diameter._core.message cimport Header
from auth_diameter._core.sip cimport SipRequest
from auth_diameter._core.span cimport Span
from auth_diameter._core.uri cimport SipUri


cdef class Question:
    cdef readonly SipRequest request
    cdef readonly Credentials credentials   # None: DISC is asked for a challenge
    cdef readonly str realm                 # Destination-Realm
    cdef readonly str user_name             # of a group check; else it follows from the rest
    cdef readonly str group
    cdef readonly bint proxy
    cdef uint8_t service
    # The pool's: where the question is on its way.
    cdef public object callback
    cdef public object connection
    cdef public double deadline
    cdef public uint32_t msgid
    cdef public int attempts

    cdef size_t room(self)
    cdef SipUri *identity(self) noexcept
    cdef size_t write(self, uint8_t *out, uint32_t msgid) except 0


cdef class Answer:
    cdef readonly uint32_t result_code      # 0: there was none
    cdef readonly uint8_t service_type      # the ASCII digit; 0: there was none
    cdef readonly bytes challenge           # None, or one line of the Digest scheme
    cdef readonly str fault                 # None, or why the answer must not be used


cdef class AaRequest:
    cdef bytes data                 # every span points in here
    cdef Header header
    cdef Span msgid, user_name_, realm_, resource_, response_, method_, group_
    cdef readonly uint8_t service_type      # the ASCII digit; 0: there was none
    cdef readonly uint32_t fault            # the Result-Code that refuses the message; 0: none does

    cdef void read(self, const uint8_t *p, size_t n) noexcept nogil
    cdef void refuse(self, uint32_t result_code) noexcept nogil
