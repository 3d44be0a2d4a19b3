"""Messages of the DISC dialect for compiled code."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.diameter.disc_wire cimport Asked, QuestionView
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.base.span cimport Span


cdef class Question:
    cdef readonly SipRequest request
    cdef readonly Credentials credentials   # None: DISC is asked for a challenge
    cdef readonly str realm                 # Destination-Realm
    cdef readonly str user_name             # of a group check; else it follows from the rest
    cdef readonly str group
    cdef readonly bint proxy
    cdef readonly bint is_group_check
    cdef readonly bytes body_hash           # hexadecimal, of credentials with qop=auth-int; else None
    cdef readonly bint tells_source         # whether DISC is told where the request came from
    # The pool's: where the question is on its way.
    cdef public object callback
    cdef public object connection
    cdef public double deadline
    cdef public uint32_t msgid
    cdef public int attempts
    cdef public object attempt              # the Attempt that its credentials are, while they are judged, or None

    cdef void put_asked(self, Asked *out, Span realm)
    cdef size_t room(self) except 0
    cdef size_t write(self, uint8_t *out, uint32_t msgid) except 0


cdef class Answer:
    cdef readonly uint32_t result_code      # 0: there was none
    cdef readonly uint8_t service_type      # the ASCII digit; 0: there was none
    cdef readonly tuple challenges          # of bytes, each one line of the Digest scheme
    cdef readonly bytes response_auth       # rspauth of Authentication-Info, or None
    cdef readonly bytes nextnonce           # the same
    cdef readonly bytes user_name           # whose hashed username it was, or None
    cdef readonly uint32_t failed_avp       # code of the AVP that Failed-AVP holds, or 0
    cdef readonly str fault                 # None, or why the answer must not be used


cdef class AaRequest:
    cdef bytes data             # every span points in here
    cdef QuestionView view
    cdef DigestFields fields    # of Response, once somebody asked for them
    cdef int status             # what their parser said
    cdef size_t offset
    cdef bint looked            # whether it was asked

    cdef bint look(self) noexcept
