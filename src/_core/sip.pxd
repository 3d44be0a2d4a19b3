"""A SIP request as spans into its bytes: what other compiled modules may read of it."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.fields cimport HEADER_COUNT, Header, TopVia
from auth_diameter._core.span cimport Span
from auth_diameter._core.uri cimport SipUri

ctypedef int Method

cdef enum:
    METHOD_OTHER, METHOD_REGISTER, METHOD_INVITE, METHOD_ACK, METHOD_CANCEL

cdef struct Line:
    # One header field: RFC 3261, 7.3
    Span name
    Span value          # trimmed, folds inside
    Header id


cdef enum:
    INLINE_LINES = 32       # a request has some 15 header fields; more go to the heap
    MAX_LINES = 256         # of no use to any UA, and a bound on the work for one datagram
    MAX_MESSAGE = 65535     # what UDP can carry


cdef class SipRequest:
    cdef bytes data                 # every span points in here
    cdef const uint8_t *start
    cdef size_t size
    cdef readonly tuple source      # (host, port) the request came from, or None
    cdef Method method_id
    cdef Span method_span
    cdef SipUri request_uri_, from_, to_
    cdef Span call_id_, cseq_method, from_tag, to_tag
    cdef TopVia via
    cdef uint32_t cseq_number
    cdef Span body_
    cdef Line inline_lines[INLINE_LINES]
    cdef Line *lines                # inline_lines, or a block of the heap
    cdef int line_count, line_room
    cdef int first[HEADER_COUNT]    # index of the first line of that id, -1 for none
    cdef const char *error          # the first thing wrong, NULL while all is well
    cdef size_t error_at
    cdef Header error_header
    cdef int error_status
    cdef object marked_www, marked_proxy    # Credentials that an authorize call found right

    cdef bint parse(self) noexcept nogil
    cdef int parse_lines(self, const uint8_t *p, const uint8_t *end) noexcept nogil
    cdef int add_line(self, Span name, Span value) noexcept nogil
    cdef void fail(self, const char *reason, const uint8_t *at, Header header) noexcept nogil
    cdef void check_fields(self) noexcept nogil
    cdef void check_party(self, Header header, SipUri *uri, Span *tag) noexcept nogil
    cdef object refusal(self)
    cdef list find(self, str name, bint once)
    cdef bytes render_reply(self, int code, Span reason, list headers, size_t room)
    cdef uint8_t *put_top_via(self, uint8_t *q, Span source_host, int source_port) noexcept
    cdef uint8_t *put_tag(self, uint8_t *q) noexcept nogil
