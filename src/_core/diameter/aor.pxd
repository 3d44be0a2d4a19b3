"""The address that a request of standard Diameter is about, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Reader, Span, between, reader_of
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.sip.uri cimport URI_IN_BRACKETS, SipUri, take_uri


cdef inline void read_address(Span text, SipUri *out) noexcept nogil:
    """Reads a SIP URI; user and host are of no bytes if it is no SIP URI."""
    cdef Reader r = reader_of(text)
    if not (take_uri(&r, URI_IN_BRACKETS, out) and r.p == r.end):
        ad_zero(out, sizeof(SipUri))


cdef inline Span address_of(const SipUri *uri, bint with_port) noexcept nogil:
    """``user@host[:port]`` as it stands in a URI; the host alone if a password is between them."""
    cdef const uint8_t *start = uri.host.p
    cdef const uint8_t *end = uri.host.p + uri.host.n
    if uri.user.n and uri.user.p + uri.user.n + 1 == uri.host.p:
        start = uri.user.p
    if with_port and uri.port_text.n:
        end = uri.port_text.p + uri.port_text.n
    return between(start, end)
