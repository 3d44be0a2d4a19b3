"""URIs as spans into the header field they came in."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from auth_diameter._core.base.span cimport Reader, Span

ctypedef int Scheme

cdef enum:
    SCHEME_SIP, SCHEME_SIPS, SCHEME_TEL, SCHEME_OTHER

cdef struct SipUri:
    Span text           # p is NULL if there is no such URI
    Scheme scheme
    Span user           # as written, escapes included; n is 0 where absent
    Span host           # IPv6 with its brackets; n is 0 for tel and unknown schemes
    Span port_text
    Span params         # from the first ";" on
    Span headers        # behind the "?"
    uint16_t port       # 0 where absent


ctypedef int UriForm

cdef enum:
    URI_OF_REQUEST      # a Request-URI: no headers, no method parameter (RFC 3261, 19.1.1, table 1)
    URI_IN_BRACKETS     # name-addr: with parameters and headers
    URI_BARE            # addr-spec without angle brackets: ";", "?" and "," end it (RFC 3261, 20)


cdef bint take_uri(Reader *r, UriForm form, SipUri *out) noexcept nogil
cdef bint take_host(Reader *r, Span *host, Span *port_text, uint16_t *port) noexcept nogil
cdef bint take_port(Reader *r, uint16_t *port) noexcept nogil
cdef bint take_number(Reader *r, uint32_t most, uint32_t *out) noexcept nogil
cdef str without_password(const SipUri *uri)
cdef size_t put_address(uint8_t *out, const SipUri *uri) noexcept nogil
cdef size_t put_address_and_port(uint8_t *out, const SipUri *uri) noexcept nogil


cdef class Uri:
    cdef bytes data
    cdef SipUri uri

cdef Uri new_uri(bytes data, const SipUri *uri)
