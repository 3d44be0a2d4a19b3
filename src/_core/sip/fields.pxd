"""The header fields that decisions and replies depend on, and their grammars."""

from libc.stdint cimport uint16_t

from auth_diameter._core.base.span cimport Reader, Span
from auth_diameter._core.sip.uri cimport SipUri

ctypedef int Header

cdef enum:
    # The header fields that the parser reads; all others are looked up by name on demand.
    HEADER_OTHER, VIA, FROM, TO, CALL_ID, CSEQ, MAX_FORWARDS, CONTENT_LENGTH
    AUTHORIZATION, PROXY_AUTHORIZATION, CONTACT, EXPIRES
    HEADER_COUNT


cdef struct TopVia:
    # The first via-parm of the first Via: RFC 3261, 20.42
    Span protocol_and_host  # up to the parameters
    Span params             # from the first ";" on
    Span rest               # the other via-parms of the header field, from the comma on
    Span host
    Span branch
    uint16_t port           # 0 where absent
    bint has_rport


ctypedef int Place

cdef enum:
    # The place of an address: alone in From or To, or in the list of Contact.
    PARTY, CONTACT_ELEMENT


cdef struct Address:
    # name-addr or addr-spec with its parameters: RFC 3261, 20.10, 20.20, 20.39
    Span name       # display name, without quotes; p is NULL if there is none
    bint quoted     # whether the name is a quoted string
    bint escaped    # whether it then holds quoted-pairs or folds
    SipUri uri
    Span params     # parameters of the header field, from the first ";" on
    Span tag        # in From and To


cdef inline bint is_once(Header header) noexcept nogil:
    """Whether a request with two such header fields is malformed.

    Contact and Expires are not checked: of two Expires the first counts.
    """
    return VIA < header < AUTHORIZATION


cdef Header header_of(Span name) noexcept nogil
cdef bint take_address(Reader *r, Place place, Address *out) noexcept nogil
cdef bint take_param(Reader *r, Span *name, Span *value, bint *escaped) noexcept nogil
cdef bint take_via(Reader *r, TopVia *out) noexcept nogil
