"""The keys that users and sources are counted under, for compiled code."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport DigestFields

cdef enum:
    # The kind of a Network
    UNKNOWN     # no source is known; the value is 0
    IPV4        # the address
    IPV6        # the /64
    OTHER       # a hash of text that is no IP address


cdef struct Network:
    # What an address is counted under; the same for its text and for its bytes
    uint64_t value
    uint32_t kind


cdef Network network_of_ipv4(const uint8_t *address) noexcept nogil
cdef Network network_of_ipv6(const uint8_t *address) noexcept nogil
cdef Network network_of_text(const uint64_t *secret, Span address) noexcept nogil
cdef uint64_t user_key(const uint64_t *secret, Span name, Span realm, Network network) noexcept nogil
cdef uint64_t source_key(const uint64_t *secret, Network network) noexcept nogil
cdef Span account_of(const DigestFields *fields, uint8_t *room) noexcept nogil
