"""A call from the script of a SIP server, for compiled code."""

from auth_diameter._core.sip.request cimport SipRequest


cdef class ScriptCalls:
    cdef object decide              # function of a request, a realm and whether by proxy
    cdef str encoded                # the pseudo-variable that is the message in base64
    cdef size_t max_size            # bytes of a request
    cdef int max_headers            # header fields of a request
    cdef object number              # of the message that `request` is, as the server counts them
    cdef str address                # that it came from, or None
    cdef readonly SipRequest request
    cdef readonly bytes data        # of the request

    cdef int take(self, object get) except -1
    cdef bytes read(self, object get)
    cdef void forget(self, bytes data) noexcept
