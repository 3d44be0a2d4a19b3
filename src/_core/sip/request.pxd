"""SipRequest for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.sip.fields cimport Header
from auth_diameter._core.sip.parse cimport DEFAULT_MAX_LINES, DEFAULT_MAX_SIZE, SipMessage


cdef class SipRequest:
    cdef bytes data                         # every span points in here
    cdef readonly tuple source              # (host, port, …) the request came from, or None
    # Any thread may be the first to need the fingerprint. It is written once, under the lock.
    cdef uint64_t known_fingerprint[2]
    cdef int has_fingerprint
    cdef ad_lock fingerprint_lock
    # What an authorize call verified, which any thread may do: only in a critical section of the request
    cdef Credentials marked_www, marked_proxy
    cdef str name_www, name_proxy           # the user, if they hold only a hash
    cdef SipMessage m

    cdef bint read(self, bytes data, size_t max_size, int max_headers) noexcept
    cdef const uint64_t *fingerprint(self) except NULL
    cdef void keep_fingerprint(self, const uint64_t *fingerprint) noexcept
    cdef object refusal(self)
    cpdef mark_authorized(self, Credentials credentials, bint proxy=*, str username=*)
    cdef tuple verified(self)
    cdef list find(self, str name, int enough)
    cdef object party(self, Header header)


# The SipRequest for a message that was parsed from `data`; the message moves into it
cdef SipRequest request_with(bytes data, SipMessage *m, const uint64_t *fingerprint)
cdef SipRequest new_request(bytes data, tuple source, size_t max_size, int max_headers)


cdef inline Span host_of_source(SipRequest request):
    """The host that a request came from, borrowed from it; n is 0: it is not known."""
    cdef Span host = Span(NULL, 0)
    if request.source is not None:
        span_of(request.source[0], &host, "source")     # of ASCII, so it is the source's own text
    return host
