"""Grammars of the header fields that decisions and replies are made from (RFC 3261, 20 and 25.1).

::

    From, To  = ( [ display-name ] "<" URI ">" / URI ) *( ";" token [ "=" value ] )
    Via       = 1#( "SIP" "/" "2.0" "/" token LWS host [ ":" port ] *( ";" token [ "=" value ] ) )
"""

from libc.stdint cimport uint8_t
from libc.string cimport memset

from auth_diameter._core.chars cimport (
    AD_HEX, AD_HOST, AD_TOKEN, ad_is, is_lws, is_word, skip_byte, skip_lws, take_class, take_quoted,
)
from auth_diameter._core.span cimport Reader, Span, between, lower
from auth_diameter._core.uri cimport SipUri, take_host, take_port, take_uri


cdef Header header_of(Span name) noexcept nogil:
    """The Header of that name, compact forms included (RFC 3261, 7.3.3)."""
    cdef uint8_t first = lower(name.p[0])
    if name.n == 1:
        if first == 118:    # v
            return VIA
        if first == 102:    # f
            return FROM
        if first == 116:    # t
            return TO
        if first == 105:    # i
            return CALL_ID
        if first == 108:    # l
            return CONTENT_LENGTH
    elif name.n == 2:
        if first == 116 and lower(name.p[1]) == 111:
            return TO
    elif name.n == 3:
        if first == 118 and is_word(name, "via", 3):
            return VIA
    elif name.n == 4:
        if first == 102 and is_word(name, "from", 4):
            return FROM
        if first == 99 and is_word(name, "cseq", 4):
            return CSEQ
    elif name.n == 7:
        if first == 99 and is_word(name, "call-id", 7):
            return CALL_ID
    elif name.n == 12:
        if first == 109 and is_word(name, "max-forwards", 12):
            return MAX_FORWARDS
    elif name.n == 13:
        if first == 97 and is_word(name, "authorization", 13):
            return AUTHORIZATION
    elif name.n == 14:
        if first == 99 and is_word(name, "content-length", 14):
            return CONTENT_LENGTH
    elif name.n == 19:
        if first == 112 and is_word(name, "proxy-authorization", 19):
            return PROXY_AUTHORIZATION
    return HEADER_OTHER


cdef bint take_params(Reader *r, Span *tag) noexcept nogil:
    """*( ";" token [ "=" ( token / host / quoted-string ) ] ) up to the end; False at the place.

    `tag` is filled from a parameter of that name, which may stand there once and is a token.
    """
    cdef Span name, value
    while True:
        skip_lws(r)
        if r.p == r.end:
            return True
        if not skip_byte(r, 59) or not take_class(r, AD_TOKEN, &name):
            return False
        if skip_byte(r, 61):
            if is_word(name, "tag", 3):
                if tag.p != NULL or not take_class(r, AD_TOKEN, tag):
                    return False
            elif r.p < r.end and r.p[0] == 34:
                if take_quoted(r, &value) < 0:
                    return False
            elif r.p < r.end and r.p[0] == 91:  # [ of an IPv6reference
                r.p += 1
                while r.p < r.end and (ad_is(r.p[0], AD_HEX) or r.p[0] == 58 or r.p[0] == 46):
                    r.p += 1
                if r.p == r.end or r.p[0] != 93:
                    return False
                r.p += 1
            elif not take_class(r, AD_TOKEN | AD_HOST, &value):
                return False
        elif is_word(name, "tag", 3):
            return False    # a reply would add a second one


cdef bint take_name_addr(Reader *r, SipUri *uri, Span *tag) noexcept nogil:
    """The value of From or To (RFC 3261, 20.20 and 20.39), whole; False with r.p at the place."""
    cdef Span word
    cdef const uint8_t *start
    tag.p = NULL
    tag.n = 0
    skip_lws(r)
    start = r.p
    if r.p < r.end and r.p[0] == 34:
        if take_quoted(r, &word) < 0:
            return False
        skip_lws(r)
    else:
        # *( token LWS ) "<" is a display name; a token right before ":" is a scheme.
        while take_class(r, AD_TOKEN, &word):
            skip_lws(r)
        if r.p < r.end and r.p[0] != 60:
            r.p = start
            if not take_uri(r, True, False, uri):
                return False
            return take_params(r, tag)
    if r.p == r.end or r.p[0] != 60:    # <
        return False
    r.p += 1
    if not take_uri(r, False, False, uri):
        return False
    if r.p == r.end or r.p[0] != 62:    # >
        return False
    r.p += 1
    return take_params(r, tag)


cdef bint take_via(Reader *r, TopVia *out) noexcept nogil:
    """One via-parm, up to a comma or the end; False with r.p at the place."""
    cdef Reader address
    cdef Span word, port_text
    cdef const uint8_t *start
    cdef const uint8_t *after
    memset(out, 0, sizeof(TopVia))
    skip_lws(r)
    start = r.p
    if not take_class(r, AD_TOKEN, &word) or not is_word(word, "SIP", 3) or not skip_byte(r, 47):
        return False
    if not take_class(r, AD_TOKEN, &word) or not is_word(word, "2.0", 3) or not skip_byte(r, 47):
        return False
    if not take_class(r, AD_TOKEN, &word) or r.p == r.end or not is_lws(r.p[0]):
        return False
    skip_lws(r)
    if r.p < r.end and r.p[0] == 91:
        # Up to its bracket only: LWS may stand around the colon here, unlike in a URI.
        address.p = r.p
        address.end = r.p
        while address.end < r.end and address.end[0] != 93:
            address.end += 1
        if address.end < r.end:
            address.end += 1
        if not take_host(&address, &out.host, &port_text, &out.port):
            return False
        r.p = address.p
    elif not take_class(r, AD_HOST, &out.host):
        return False
    after = r.p
    if skip_byte(r, 58):
        if not take_port(r, &out.port):
            return False
    else:
        r.p = after
    out.protocol_and_host = between(start, r.p)
    out.params.p = r.p
    after = r.p
    while skip_byte(r, 59):
        if not take_class(r, AD_TOKEN, &word):
            return False
        after = r.p
        if word.n == 5 and is_word(word, "rport", 5):
            out.has_rport = True
        if skip_byte(r, 61):
            start = r.p
            if r.p < r.end and r.p[0] == 34:
                if take_quoted(r, &port_text) < 0:
                    return False
            else:
                # token, or an address: of IPv6 with or without brackets (RFC 5118, 4.5)
                while r.p < r.end and (ad_is(r.p[0], AD_TOKEN | AD_HOST) or r.p[0] == 58 or r.p[0] == 91
                                       or r.p[0] == 93):
                    r.p += 1
                if r.p == start:
                    return False
            if word.n == 6 and is_word(word, "branch", 6):
                out.branch = between(start, r.p)
            after = r.p
    out.params.n = <size_t>(after - out.params.p)
    skip_lws(r)
    return r.p == r.end or r.p[0] == 44
