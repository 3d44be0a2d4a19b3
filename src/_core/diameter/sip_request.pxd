"""MAR of RFC 4740, written from plain structs; no Python object is touched, and the caller makes room."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.application cimport Asked

cdef struct Route:
    # What all requests of a client say of it and of where they go
    Span origin_host
    Span origin_realm
    Span destination_realm      # n is 0: the realm that is asked about
    Span destination_host       # n is 0: whoever serves the realm
    Span server_uri             # n is 0: the client is no registrar (RFC 4740, 8.7)
    uint64_t session_key[2]     # of the hash that makes Session-Ids


cdef size_t mar_room(const Asked *asked, const Route *route) noexcept nogil
cdef size_t put_mar(uint8_t *out, const Asked *asked, const Route *route) noexcept nogil
cdef void session_of(const Asked *asked, const Route *route, uint32_t *session) noexcept nogil
cdef size_t put_session(uint8_t *q, Span origin_host, const uint32_t *session) noexcept nogil
cdef bint read_session(Span text, Span origin_host, uint32_t *session) noexcept nogil
