"""Stateless replies to a SIP request."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.sip.parse cimport SipMessage


cdef bytes new_reply(const SipMessage *m, tuple source, uint64_t tag, object code, object reason, object headers,
                     object body)

cdef bint can_reply(const SipMessage *m) noexcept nogil
cdef size_t reply_room(const SipMessage *m, Span reason, Span source_host) noexcept nogil
cdef uint8_t *put_reply_start(uint8_t *q, const SipMessage *m, int code, Span reason, Span source_host,
                              int source_port, uint64_t tag) noexcept nogil
cdef uint8_t *put_reply_header(uint8_t *q, Span name, Span value) noexcept nogil
cdef uint8_t *put_reply_end(uint8_t *q, Span body) noexcept nogil
cdef uint8_t *put_number(uint8_t *q, size_t number) noexcept nogil
