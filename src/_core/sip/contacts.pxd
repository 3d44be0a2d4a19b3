"""The Contact fields of a SIP request, for compiled code.

`request`, the SipRequest, is for a ParseError alone.
"""

from auth_diameter._core.sip.parse cimport SipMessage


cdef list contact_addresses(const SipMessage *m, bytes data, object request)
cdef list contact_bindings(const SipMessage *m, object request)
cdef bint is_star_contact(const SipMessage *m)
