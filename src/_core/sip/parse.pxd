"""A SIP request as spans into its bytes: plain structs and functions.

Nothing here touches a Python object: parsers fill a struct that the caller owns.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.sip.fields cimport HEADER_COUNT, Header, TopVia
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.vectors cimport Scan
from auth_diameter._core.sip.uri cimport SipUri

ctypedef int Method

cdef enum:
    METHOD_OTHER, METHOD_REGISTER, METHOD_INVITE, METHOD_ACK, METHOD_CANCEL

cdef struct Line:
    # One header field: RFC 3261, 7.3
    Span name
    Span value          # trimmed, folds inside
    Header id


cdef enum:
    INLINE_LINES = 32           # a request has some 15 header fields; more go to the heap
    # Limits, unless the caller sets others:
    DEFAULT_MAX_SIZE = 65535    # bytes, what UDP can carry
    DEFAULT_MAX_LINES = 256     # more than any UA sends; bounds the work for one datagram


cdef struct SipMessage:
    const uint8_t *start        # every span points into these bytes, which the caller keeps
    size_t size
    Method method
    Span method_name            # n is 0 if no reply is possible
    SipUri request_uri, from_, to
    Span call_id, from_tag, to_tag
    TopVia via
    uint32_t cseq
    Span body
    const char *error           # the first error, or NULL
    size_t error_at             # index into the bytes
    size_t error_limit          # the limit that was exceeded, 0 for any other error
    Header error_header
    int error_status            # SIP status of the reply
    int first[HEADER_COUNT]     # index of the first line of that id, -1 for none
    int behind[HEADER_COUNT]    # index behind the last line of that id, 0 for none
    Line *lines                 # inline_lines, or a block of the heap
    int line_count, line_room, max_lines
    Line inline_lines[INLINE_LINES]


cdef bint parse_request(SipMessage *m, const uint8_t *data, size_t n, size_t max_size,
                        int max_lines) noexcept nogil
cdef bint parse_request_by(SipMessage *m, const uint8_t *data, size_t n, size_t max_size, int max_lines,
                           Scan scan) noexcept nogil
cdef bint same_request(const SipMessage *a, const SipMessage *b) noexcept nogil
cdef void release_request(SipMessage *m) noexcept nogil
cdef int find_credentials(const SipMessage *m, Header header, Span realm, DigestFields *out,
                          size_t *offset) noexcept nogil


cdef inline void clear_request(SipMessage *m) noexcept nogil:
    """Makes `m` ready for `parse_request`: all but the lines, of which that writes those that there are."""
    memset(m, 0, <size_t>(<uint8_t *>m.inline_lines - <uint8_t *>m))


cdef inline const SipUri *identity(const SipMessage *m) noexcept nogil:
    """The URI of the user: that in To of a REGISTER, else that in From (RFC 3261, 10.2 and 22.1)."""
    return &m.to if m.method == METHOD_REGISTER else &m.from_
