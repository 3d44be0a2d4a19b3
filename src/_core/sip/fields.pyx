"""Grammars of the header fields that decisions and replies depend on (RFC 3261, 20 and 25.1).

::

    From, To  = ( [ display-name ] "<" URI ">" / URI ) *( ";" token [ "=" value ] )
    Contact   = 1#( the same )
    Via       = 1#( "SIP" "/" "2.0" "/" token LWS host [ ":" port ] *( ";" token [ "=" value ] ) )
"""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from auth_diameter._core.base.chars cimport (
    AD_HEX, AD_HOST, AD_TOKEN, ad_is, ad_is_control, ad_skip_class, is_lws, is_word, skip_byte, skip_lws,
    take_class, take_quoted, trim,
)
from auth_diameter._core.base.span cimport Reader, Span, between, lower
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.sip.uri cimport URI_BARE, URI_IN_BRACKETS, take_host, take_port, take_uri


cdef Header header_of(Span name) noexcept nogil:
    """The Header of that name, in long or compact form (RFC 3261, 7.3.3)."""
    cdef uint8_t letter
    if name.n == 1:
        letter = lower(name.p[0])
        if letter == c'v':
            return VIA
        if letter == c'f':
            return FROM
        if letter == c't':
            return TO
        if letter == c'i':
            return CALL_ID
        if letter == c'l':
            return CONTENT_LENGTH
        if letter == c'm':
            return CONTACT
    elif name.n == 2:
        if is_word(name, "to", 2):
            return TO
    elif name.n == 3:
        if is_word(name, "via", 3):
            return VIA
    elif name.n == 4:
        if is_word(name, "from", 4):
            return FROM
        if is_word(name, "cseq", 4):
            return CSEQ
    elif name.n == 7:
        if is_word(name, "call-id", 7):
            return CALL_ID
        if is_word(name, "contact", 7):
            return CONTACT
        if is_word(name, "expires", 7):
            return EXPIRES
    elif name.n == 12:
        if is_word(name, "max-forwards", 12):
            return MAX_FORWARDS
    elif name.n == 13:
        if is_word(name, "authorization", 13):
            return AUTHORIZATION
    elif name.n == 14:
        if is_word(name, "content-length", 14):
            return CONTENT_LENGTH
    elif name.n == 19:
        if is_word(name, "proxy-authorization", 19):
            return PROXY_AUTHORIZATION
    return HEADER_OTHER


cdef bint take_param(Reader *r, Span *name, Span *value, bint *escaped) noexcept nogil:
    """";" token [ "=" ( token / host / quoted-string ) ]

    `value` is without quotes, and its p is NULL if there is none; `escaped` is that of `take_quoted`.
    """
    value.p = NULL
    value.n = 0
    escaped[0] = False
    if not skip_byte(r, c';') or not take_class(r, AD_TOKEN, name):
        return False
    if not skip_byte(r, c'='):
        return True
    if r.p < r.end and r.p[0] == c'"':
        return take_quoted(r, value, escaped)
    if r.p < r.end and r.p[0] == c'[':      # IPv6reference
        value.p = r.p
        r.p += 1
        while r.p < r.end and (ad_is(r.p[0], AD_HEX) or r.p[0] == c':' or r.p[0] == c'.'):
            r.p += 1
        if r.p == r.end or r.p[0] != c']':
            return False
        r.p += 1
        value.n = <size_t>(r.p - value.p)
        return True
    return take_class(r, AD_TOKEN | AD_HOST, value)


cdef bint take_params(Reader *r, Place place, Address *out) noexcept nogil:
    """*( ";" param ) up to the end, in Contact up to a comma.

    From and To have at most one tag, a token: a reply would add a second one.
    """
    cdef Span name, value
    cdef bint escaped
    cdef const uint8_t *after
    skip_lws(r)
    out.params.p = r.p
    after = r.p
    while r.p < r.end and not (place == CONTACT_ELEMENT and r.p[0] == c','):
        if not take_param(r, &name, &value, &escaped):
            return False
        after = r.p
        if place == PARTY and is_word(name, "tag", 3):
            # Neither a quoted string nor an IPv6reference
            if out.tag.p != NULL or value.p == NULL or ad_skip_class(value.p, r.p, AD_TOKEN) != r.p:
                return False
            out.tag = value
        skip_lws(r)
    out.params.n = <size_t>(after - out.params.p)
    return True


cdef bint take_name(Reader *r, Place place, Address *out) noexcept nogil:
    """[ display-name ] before "<"; nothing is taken before a URI without brackets.

    By the RFC an unquoted name is tokens. Senders put anything there, commas and UTF-8 too, and every other
    server accepts it. So an unquoted name is all bytes before "<" except quotes, ">" and control characters
    outside a fold, and in Contact also the comma, which ends an element. It does not begin like a sip, sips
    or tel URI: in "sip:a@b, <sip:c@d>" two readers might see two senders.
    """
    cdef const uint8_t *start = r.p
    cdef const uint8_t *p
    cdef Span name
    if r.p < r.end and r.p[0] == c'"':
        out.quoted = True
        if not take_quoted(r, &out.name, &out.escaped):
            return False
        skip_lws(r)
        return True
    if begins_as_uri(r[0]):
        return True
    p = start
    while p < r.end and p[0] != c'<' and p[0] != c'>' and p[0] != c'"' and not (
            place == CONTACT_ELEMENT and p[0] == c','):
        if ad_is_control(p[0]) and not is_lws(p[0]):
            r.p = p
            return False
        p += 1
    if p == r.end or p[0] != c'<':
        return True
    name = between(start, p)
    trim(&name)
    if name.n:
        out.name = name
    r.p = p
    return True


cdef bint begins_as_uri(Reader r) noexcept nogil:
    """Whether the next bytes are "sip:", "sips:" or "tel:"."""
    cdef Span scheme
    return take_class(&r, AD_TOKEN, &scheme) and r.p < r.end and r.p[0] == c':' and (
        is_word(scheme, "sip", 3) or is_word(scheme, "sips", 4) or is_word(scheme, "tel", 3))


cdef bint take_address(Reader *r, Place place, Address *out) noexcept nogil:
    """The whole value of From or To, or one element of Contact up to a comma (RFC 3261, 20.10, 20.20, 20.39)."""
    ad_zero(out, sizeof(Address))
    skip_lws(r)
    if not take_name(r, place, out):
        return False
    if r.p < r.end and r.p[0] == c'<':
        r.p += 1
        if not take_uri(r, URI_IN_BRACKETS, &out.uri):
            return False
        if r.p == r.end or r.p[0] != c'>':
            return False
        r.p += 1
    elif out.name.p != NULL or not take_uri(r, URI_BARE, &out.uri):
        return False
    return take_params(r, place, out)


cdef bint take_via(Reader *r, TopVia *out) noexcept nogil:
    """One via-parm, up to a comma or the end."""
    cdef const uint8_t *start
    ad_zero(out, sizeof(TopVia))
    skip_lws(r)
    start = r.p
    if not take_sent_protocol(r) or not take_sent_by(r, out):
        return False
    out.protocol_and_host = between(start, r.p)
    if not take_via_params(r, out):
        return False
    skip_lws(r)
    return r.p == r.end or r.p[0] == c','


cdef inline bint take_sent_protocol(Reader *r) noexcept nogil:
    """"SIP" "/" "2.0" "/" token LWS"""
    cdef Span word
    if 8 <= r.end - r.p and memcmp(r.p, b"SIP/2.0/", 8) == 0:   # as nearly all write it
        r.p += 8
        skip_lws(r)
    else:
        if not take_class(r, AD_TOKEN, &word) or not is_word(word, "SIP", 3) or not skip_byte(r, c'/'):
            return False
        if not take_class(r, AD_TOKEN, &word) or not is_word(word, "2.0", 3) or not skip_byte(r, c'/'):
            return False
    if not take_class(r, AD_TOKEN, &word) or r.p == r.end or not is_lws(r.p[0]):
        return False
    skip_lws(r)
    return True


cdef inline bint take_sent_by(Reader *r, TopVia *out) noexcept nogil:
    """host [ ":" port ]; unlike in a URI, LWS may stand around the colon."""
    cdef Reader address
    cdef Span port_text
    cdef const uint8_t *after
    if r.p < r.end and r.p[0] == c'[':
        address.p = r.p
        address.end = r.p       # up to the bracket only
        while address.end < r.end and address.end[0] != c']':
            address.end += 1
        if address.end < r.end:
            address.end += 1
        if not take_host(&address, &out.host, &port_text, &out.port):
            return False
        r.p = address.p
    elif not take_class(r, AD_HOST, &out.host):
        return False
    after = r.p
    if skip_byte(r, c':'):
        return take_port(r, &out.port)
    r.p = after
    return True


cdef inline bint take_via_params(Reader *r, TopVia *out) noexcept nogil:
    """*( ";" token [ "=" value ] )"""
    cdef Span name, quoted
    cdef bint escaped
    cdef const uint8_t *start
    cdef const uint8_t *after = r.p
    out.params.p = r.p
    while skip_byte(r, c';'):
        if not take_class(r, AD_TOKEN, &name):
            return False
        after = r.p
        if name.n == 5 and is_word(name, "rport", 5):
            out.has_rport = True
        if not skip_byte(r, c'='):
            continue
        start = r.p
        if r.p < r.end and r.p[0] == c'"':
            if not take_quoted(r, &quoted, &escaped):
                return False
        else:
            # token, or an address; an IPv6 address with or without brackets (RFC 5118, 4.5)
            r.p = ad_skip_class(r.p, r.end, AD_TOKEN | AD_HOST)
            while r.p < r.end and (r.p[0] == c':' or r.p[0] == c'[' or r.p[0] == c']'):
                r.p = ad_skip_class(r.p + 1, r.end, AD_TOKEN | AD_HOST)
            if r.p == start:
                return False
        if name.n == 6 and is_word(name, "branch", 6):
            out.branch = between(start, r.p)
        after = r.p
    out.params.n = <size_t>(after - out.params.p)
    return True
