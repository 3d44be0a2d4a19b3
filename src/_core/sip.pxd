"""SipRequest as compiled code sees it."""

from auth_diameter._core.sip_wire cimport DEFAULT_MAX_LINES, DEFAULT_MAX_SIZE, SipMessage


cdef class SipRequest:
    cdef bytes data                         # every span points in here
    cdef readonly tuple source              # (host, port) the request came from, or None
    cdef object marked_www, marked_proxy    # Credentials that an authorize call found right
    cdef SipMessage m

    cdef object refusal(self)
    cdef list find(self, str name, bint once)
