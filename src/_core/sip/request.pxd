"""SipRequest for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.sip.fields cimport Header
from auth_diameter._core.sip.parse cimport DEFAULT_MAX_LINES, DEFAULT_MAX_SIZE, SipMessage


cdef class SipRequest:
    cdef bytes data                         # every span points in here
    cdef readonly tuple source              # (host, port, …) the request came from, or None
    cdef uint64_t known_fingerprint[2]      # zeros before the first call
    cdef object marked_www, marked_proxy    # Credentials that an authorize call verified
    cdef str name_www, name_proxy           # the user, if they hold only a hash
    cdef SipMessage m

    cdef const uint64_t *fingerprint(self) except NULL
    cdef object refusal(self)
    cpdef mark_authorized(self, Credentials credentials, bint proxy=*, str username=*)
    cdef list find(self, str name, int enough)
    cdef object party(self, Header header)
