"""Values of a SIP request's header fields as Python objects."""

from libc.stdint cimport int64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.sip.fields cimport Address


cdef enum:
    # Seconds, where the request says nothing, or nothing that can be read: RFC 3261, 20.10
    DEFAULT_EXPIRES = 3600


cdef object new_address(bytes data, const Address *address)
cdef tuple new_binding(const Address *address, int64_t expires)
cdef int64_t delta_seconds(Span text) noexcept nogil
cdef str unfolded(Span value)
