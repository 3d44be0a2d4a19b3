"""The Contact fields of a SIP request, for compiled code."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.sip.parse cimport SipMessage


cdef enum:
    MOST_CONTACTS = 256     # no registrar binds as many; each takes a microsecond
    # Status that `read_bindings` returns
    BAD_CONTACT = -1
    TOO_MANY_CONTACTS = -2
    STAR_WITHOUT_EXPIRES = -3
    NO_ROOM = -4


cdef struct Binding:
    # An address that a REGISTER binds to its user: RFC 3261, 10.2.1
    Span uri            # as written, without angle brackets; it holds no control character
    uint32_t seconds    # until it expires; 0: it is to be removed


cdef int read_bindings(const SipMessage *m, Binding *out, int room, size_t *offset) noexcept nogil
cdef size_t bindings_room(const Binding *bindings, int n) noexcept nogil
cdef uint8_t *put_bindings(uint8_t *q, const Binding *bindings, int n) noexcept nogil
cdef bint is_star_contact(const SipMessage *m) noexcept nogil

# `request`, the SipRequest, is for a ParseError alone.
cdef list contact_addresses(const SipMessage *m, bytes data, object request)
cdef list contact_headers(const SipMessage *m, object request)
