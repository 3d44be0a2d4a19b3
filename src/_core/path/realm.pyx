"""Where the realm of requests comes from: the usual pseudo-variables need no Python."""

cimport cython

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes
from auth_diameter._core.path.decide cimport Asking, domain_of_user
from auth_diameter._core.sip.parse cimport SipMessage

cdef dict _ORIGINS = {
    "$fd": REALM_FROM, "$td": REALM_TO, "$rd": REALM_REQUEST, "$od": REALM_REQUEST, "": REALM_OF_USER,
}


@cython.final
cdef class Realm:
    """Where the realm of requests comes from; immutable."""


cdef Realm new_realm(str text, object expand):
    """The Realm for a text that may have pseudo-variables.

    Args:
        text: the text.
        expand: function that expands it for a SipRequest, or None.
    """
    cdef Realm self = Realm.__new__(Realm)
    self.origin = _ORIGINS.get(text, REALM_TEMPLATE if "$" in text else REALM_TEXT)
    self.text = text.encode("utf-8", "surrogateescape")
    self.span = span_of_bytes(self.text)
    self.expand = expand
    return self


cdef void set_realm(Realm realm, const SipMessage *m, Asking *asking) noexcept nogil:
    """Sets the realm for a request; an empty one is missing, and so is that of REALM_TEMPLATE."""
    if realm.origin == REALM_FROM:
        asking.realm = m.from_.host
    elif realm.origin == REALM_TO:
        asking.realm = m.to.host
    elif realm.origin == REALM_REQUEST:
        asking.realm = m.request_uri.host
        if asking.realm.n == 0:     # such as tel: or urn:, for which Python expands it to an empty text
            asking.realm = domain_of_user(m, asking.proxy)
    elif realm.origin == REALM_OF_USER:
        asking.realm = domain_of_user(m, asking.proxy)
    elif realm.origin == REALM_TEXT:
        asking.realm = realm.span
    else:
        asking.realm = Span(NULL, 0)
