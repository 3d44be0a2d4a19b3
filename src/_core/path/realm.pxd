"""Where the realm of requests comes from, for compiled code."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.sip.parse cimport SipMessage

cdef enum:
    REALM_FROM, REALM_TO, REALM_REQUEST     # the host of that URI
    REALM_OF_USER                           # that of the user's URI: see `domain_of_user`
    REALM_TEXT                              # always the same text
    REALM_TEMPLATE                          # text with other pseudo-variables, which Python expands


cdef class Realm:
    cdef int origin         # REALM_…
    cdef bytes text         # of REALM_TEXT
    cdef Span span          # its bytes
    cdef object expand      # function of a SipRequest that gives the realm as str or None; None: there is none


cdef Realm new_realm(str text, object expand)
cdef void set_realm(Realm realm, const SipMessage *m, Asking *asking) noexcept nogil
