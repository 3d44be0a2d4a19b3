"""Values of a SIP request's header fields as Python objects."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.sip.fields cimport Address


cdef object new_address(bytes data, const Address *address)
cdef str unfolded(Span value)
