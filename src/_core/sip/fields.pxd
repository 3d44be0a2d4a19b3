"""The header fields that decisions and replies are made from: which they are, and their grammars."""

from libc.stdint cimport uint16_t

from auth_diameter._core.base.span cimport Reader, Span
from auth_diameter._core.sip.uri cimport SipUri

ctypedef int Header

cdef enum:
    # The header fields that the parser itself reads; all others are found by name when asked for.
    HEADER_OTHER, VIA, FROM, TO, CALL_ID, CSEQ, MAX_FORWARDS, CONTENT_LENGTH
    AUTHORIZATION, PROXY_AUTHORIZATION
    HEADER_COUNT


cdef struct TopVia:
    # The first via-parm of the first Via: RFC 3261, 20.42
    Span protocol_and_host  # up to the parameters
    Span params             # from the first ";" on
    Span rest               # what follows in that header line, from the comma on
    Span host
    Span branch
    uint16_t port           # 0 where absent
    bint has_rport


ctypedef int Place

cdef enum:
    # Where an address stands: alone in From or To, or among others, with commas between them, in Contact.
    PARTY, CONTACT


cdef struct Address:
    # name-addr or addr-spec with its parameters: RFC 3261, 20.10, 20.20, 20.39
    Span name       # display name, without quotes; p is NULL where there is none
    bint quoted     # whether it stood between quotes
    bint escaped    # whether quoted-pairs or folds stand in it, then
    SipUri uri
    Span params     # those of the header field, from the first ";" on
    Span tag        # of From or To


cdef Header header_of(Span name) noexcept nogil
cdef bint take_address(Reader *r, Place place, Address *out) noexcept nogil
cdef bint take_param(Reader *r, Span *name, Span *value, bint *escaped) noexcept nogil
cdef bint take_via(Reader *r, TopVia *out) noexcept nogil
