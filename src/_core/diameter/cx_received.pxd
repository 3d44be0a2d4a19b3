"""MAR of Cx, read into a struct that the caller owns; no Python object is touched."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.fault cimport Fault
from auth_diameter._core.diameter.header cimport Header

cdef struct CxView:
    Header header
    Span session_id             # p is NULL where absent, as in all spans below
    Span origin_host
    Span origin_realm
    Span destination_realm
    Span destination_host
    Span user_name              # the private identity
    Span public_identity
    Span server_name            # SIP URI of the S-CSCF
    Span scheme                 # of the item
    size_t proxy_info           # bytes of all Proxy-Info, which go back as they are (RFC 6733, 6.7.2)
    Fault fault


cdef void read_cx_mar(const uint8_t *p, size_t n, CxView *out) noexcept nogil
