"""The grammars that stand alone, for other targets."""

from libc.stdint cimport uint8_t

from auth_diameter._core.sip.uri cimport SipUri


cdef void check_uri(const SipUri *uri, const uint8_t *p, const uint8_t *end) noexcept nogil
