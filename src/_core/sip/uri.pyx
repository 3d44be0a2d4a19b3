"""URIs of a SIP request: RFC 3261, 19.1 and 25.1; RFC 3966 for tel.

Grammar::

    SIP-URI  = ( "sip" / "sips" ) ":" [ user [ ":" password ] "@" ] host [ ":" port ]
               *( ";" name [ "=" value ] ) [ "?" name "=" value *( "&" name "=" value ) ]
    tel-URI  = "tel:" number *( ";" name [ "=" value ] )
    other    = scheme ":" 1*( reserved / unreserved / escape )

Two deviations are accepted: "_" in a host name, which container networks use, and an unescaped "#" in a user
part, which door stations and trunks send (9901#1) and every other server accepts.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from auth_diameter._core.base.chars cimport (
    AD_DIGIT, AD_HEX, AD_HNAME, AD_HOST, AD_PARAM, AD_URIC, AD_USER, ad_is, ad_skip_class, escaped_byte, is_escape,
    is_lws, is_word, take_class,
)
from auth_diameter._core.base.span cimport Reader, Span, between, reader_of
from auth_diameter._core.base.text cimport as_bytes, span_of_bytes, text_of
from auth_diameter._core.base.zero cimport ad_zero

from auth_diameter._core.errors import ParseError

_SCHEMES = {SCHEME_SIP: "sip", SCHEME_SIPS: "sips", SCHEME_TEL: "tel"}


cdef inline bint take_escaped(Reader *r, int set, Span *out) noexcept nogil:
    """*(characters of `set` / escape), an escape being "%" and two hexadecimal digits."""
    cdef const uint8_t *start = r.p
    cdef const uint8_t *p = ad_skip_class(start, r.end, set)
    cdef bint good = True
    while p < r.end and p[0] == c'%':
        good = is_escape(p, r.end)
        if not good:
            break
        p = ad_skip_class(p + 3, r.end, set)
    r.p = p
    out[0] = between(start, p)
    return good


cdef bint is_ipv6_address(Span s) noexcept nogil:
    """Whether it is an IPv6address of RFC 3261, 25.1, without brackets."""
    cdef size_t i = 0, start
    cdef int groups = 0
    cdef bint gap = False
    if s.n >= 2 and s.p[0] == c':' and s.p[1] == c':':
        gap = True
        i = 2
    while i < s.n:
        start = i
        while i < s.n and ad_is(s.p[i], AD_HEX):
            i += 1
        if i < s.n and s.p[i] == c'.':    # the rest is an IPv4address, which stands for two groups
            if not is_ipv4_address(Span(s.p + start, s.n - start)):
                return False
            groups += 2
            break
        if i == start or i - start > 4:
            return False
        groups += 1
        if i == s.n:
            break
        if s.p[i] != c':':
            return False
        i += 1
        if i < s.n and s.p[i] == c':':
            if gap:
                return False
            gap = True
            i += 1
            if i < s.n and s.p[i] == c':':
                i += 1      # an error in the grammar of RFC 3261 that senders follow: RFC 5118, 4.10
        elif i == s.n:
            return False
    return groups < 8 if gap else groups == 8   # "::" is one group at least: RFC 4291, 2.2


cdef bint is_ipv4_address(Span s) noexcept nogil:
    cdef size_t i = 0, start
    cdef int part = 0, value
    while True:
        start = i
        value = 0
        while i < s.n and ad_is(s.p[i], AD_DIGIT) and i - start < 3:
            value = value * 10 + s.p[i] - c'0'
            i += 1
        if i == start or value > 255:
            return False
        part += 1
        if part == 4:
            return i == s.n
        if i == s.n or s.p[i] != c'.':
            return False
        i += 1


cdef bint take_port(Reader *r, uint16_t *port) noexcept nogil:
    cdef uint32_t value
    if not take_number(r, 65535, &value) or value == 0:
        return False
    port[0] = <uint16_t>value
    return True


cdef bint take_number(Reader *r, uint32_t most, uint32_t *out) noexcept nogil:
    """1*DIGIT with a value up to `most`; leading zeros are allowed (RFC 4475, 3.1.1.1)."""
    cdef Span digits
    cdef uint64_t value = 0
    cdef size_t i
    if not take_class(r, AD_DIGIT, &digits):
        return False
    for i in range(digits.n):
        value = value * 10 + digits.p[i] - c'0'
        if value > most:
            r.p = digits.p
            return False
    out[0] = <uint32_t>value
    return True


cdef bint take_host(Reader *r, Span *host, Span *port_text, uint16_t *port) noexcept nogil:
    """host [ ":" port ]; a host name does not begin with "." or "-"."""
    cdef const uint8_t *start = r.p
    port[0] = 0
    port_text.p = r.p
    port_text.n = 0
    if r.p < r.end and r.p[0] == c'[':
        while r.p < r.end and r.p[0] != c']':
            r.p += 1
        if r.p == r.end or not is_ipv6_address(between(start + 1, r.p)):
            r.p = start
            return False
        r.p += 1
        host[0] = between(start, r.p)
    elif not take_class(r, AD_HOST, host) or host.p[0] == c'.' or host.p[0] == c'-':
        r.p = start
        return False
    if r.p < r.end and r.p[0] == c':':
        r.p += 1
        port_text.p = r.p
        if not take_port(r, port):
            return False
        port_text.n = <size_t>(r.p - port_text.p)
    return True


cdef bint take_telephone_number(Reader *r, Span *out) noexcept nogil:
    """telephone-subscriber of RFC 3966, 3, without its parameters.

    A global number is "+" and digits. A local number may also hold hexadecimal digits, "*" and "#". Both may
    hold visual separators, but not these alone.
    """
    cdef const uint8_t *start = r.p
    cdef bint local = r.p == r.end or r.p[0] != c'+'
    cdef bint dialled = False
    if not local:
        r.p += 1
    while r.p < r.end:
        if ad_is(r.p[0], AD_HEX if local else AD_DIGIT) or (local and (r.p[0] == c'*' or r.p[0] == c'#')):
            dialled = True
        elif r.p[0] != c'-' and r.p[0] != c'.' and r.p[0] != c'(' and r.p[0] != c')':
            break
        r.p += 1
    out[0] = between(start, r.p)
    return dialled


cdef bint take_uri(Reader *r, UriForm form, SipUri *out) noexcept nogil:
    """A URI, up to the first byte that cannot be part of it."""
    cdef const uint8_t *start = r.p
    cdef Span scheme
    ad_zero(out, sizeof(SipUri))
    out.text.p = start
    if not take_scheme(r, &scheme):
        r.p = start
        return False
    if is_word(scheme, "sip", 3) or is_word(scheme, "sips", 4):
        out.scheme = SCHEME_SIP if scheme.n == 3 else SCHEME_SIPS
        if not take_userinfo(r, form, out) or not take_host(r, &out.host, &out.port_text, &out.port):
            return False
    elif is_word(scheme, "tel", 3):
        out.scheme = SCHEME_TEL
        if not take_telephone_number(r, &out.user):
            return False
    else:
        out.scheme = SCHEME_OTHER
        if not take_opaque_part(r, form):
            return False
        out.text.n = <size_t>(r.p - start)
        return True
    out.params.p = r.p
    if form != URI_BARE and not take_uri_parameters(r, form):
        return False
    out.params.n = <size_t>(r.p - out.params.p)
    if form == URI_IN_BRACKETS and r.p < r.end and r.p[0] == c'?':
        r.p += 1
        out.headers.p = r.p
        if not take_uri_headers(r):
            return False
        out.headers.n = <size_t>(r.p - out.headers.p)
    out.text.n = <size_t>(r.p - start)
    return True


cdef inline bint take_scheme(Reader *r, Span *out) noexcept nogil:
    """scheme ":" (RFC 3261, 25.1)."""
    cdef const uint8_t *start = r.p
    if 4 <= r.end - start and start[3] == c':' and is_word(Span(start, 3), "sip", 3):   # the most frequent one
        out[0] = Span(start, 3)
        r.p += 4
        return True
    if r.p == r.end or not ad_is(r.p[0], AD_HEX | AD_HOST) or ad_is(r.p[0], AD_DIGIT) or (
            r.p[0] == c'.' or r.p[0] == c'-' or r.p[0] == c'_'):
        return False
    while r.p < r.end and (ad_is(r.p[0], AD_HOST) or r.p[0] == c'+') and r.p[0] != c'_':
        r.p += 1
    out[0] = between(start, r.p)
    if r.p == r.end or r.p[0] != c':':
        return False
    r.p += 1
    return True


cdef inline bint ends_bare_uri(uint8_t c) noexcept nogil:
    """Whether a URI without angle brackets ends there (RFC 3261, 20)."""
    return c == c';' or c == c'?' or c == c','


cdef inline bint take_userinfo(Reader *r, UriForm form, SipUri *out) noexcept nogil:
    """[ user [ ":" password ] "@" ]

    The first "@" ends it: behind the host none may stand unescaped. Without angle brackets it may hold
    none of ";?," (RFC 3261, 20): the URI ends there, and what follows, in a quoted string perhaps, is no
    part of it.
    """
    cdef const uint8_t *start = r.p
    cdef const uint8_t *at = start
    cdef Span user, password
    cdef bint good = take_escaped(r, AD_USER, &user)
    if form != URI_BARE:
        at = r.p    # among the characters of a user is nothing to look for
    while at < r.end and at[0] != c'@' and not is_lws(at[0]) and at[0] != c'>' and not (
            form == URI_BARE and ends_bare_uri(at[0])):
        at += 1
    if at == r.end or at[0] != c'@':
        r.p = start
        return True
    out.user = user
    if not good or user.n == 0:
        return False
    if r.p[0] == c':':
        r.p += 1
        if not take_escaped(r, AD_USER, &password):
            return False
    if r.p != at:
        return False
    r.p += 1
    return True


cdef inline bint take_opaque_part(Reader *r, UriForm form) noexcept nogil:
    """What follows the scheme of a URI that is not SIP's: 1*( reserved / unreserved / escape )."""
    cdef const uint8_t *start = r.p
    while r.p < r.end and ad_is(r.p[0], AD_URIC) and not (form == URI_BARE and ends_bare_uri(r.p[0])):
        if r.p[0] == c'%' and not is_escape(r.p, r.end):
            return False
        r.p += 1
    return r.p != start


cdef inline bint take_uri_parameters(Reader *r, UriForm form) noexcept nogil:
    """*( ";" name [ "=" value ] ); a Request-URI takes no method parameter (RFC 3261, 19.1.1, table 1)."""
    cdef Span name, value
    while r.p < r.end and r.p[0] == c';':
        r.p += 1
        if not take_escaped(r, AD_PARAM, &name) or name.n == 0:
            return False
        if form == URI_OF_REQUEST and is_word(name, "method", 6):
            r.p = name.p
            return False
        if r.p < r.end and r.p[0] == c'=':
            r.p += 1
            if not take_escaped(r, AD_PARAM, &value) or value.n == 0:
                return False
    return True


cdef inline bint take_uri_headers(Reader *r) noexcept nogil:
    """name "=" value *( "&" name "=" value )"""
    cdef Span name, value
    while True:
        if not take_escaped(r, AD_HNAME, &name) or name.n == 0 or r.p == r.end or r.p[0] != c'=':
            return False
        r.p += 1
        if not take_escaped(r, AD_HNAME, &value):
            return False
        if r.p == r.end or r.p[0] != c'&':
            return True
        r.p += 1


cdef inline uint8_t *put_unescaped(uint8_t *q, Span s) noexcept nogil:
    """Copies the bytes and resolves escapes of unreserved characters (RFC 3261, 19.1.4; RFC 3986, 6.2.2.2).

    Other escapes stay, so that "%00" or "%40" cannot cut or split a name.

    Returns:
        The end.
    """
    cdef size_t i = 0
    cdef uint8_t c
    while i < s.n:
        c = s.p[i]
        if c == c'%':     # take_escaped checked the two digits
            c = escaped_byte(s.p + i)
            if ad_is(c, AD_HOST):
                i += 2
            else:
                c = c'%'
        q[0] = c
        q += 1
        i += 1
    return q


cdef size_t put_address(uint8_t *out, const SipUri *uri) noexcept nogil:
    """Writes user@host, or host without a user; of a tel URI the number, of any other URI all of it.

    `out` has room for uri.text.n bytes.

    Returns:
        How many bytes were written.
    """
    cdef uint8_t *q = out
    if uri.scheme == SCHEME_OTHER:
        memcpy(q, uri.text.p, uri.text.n)
        return uri.text.n
    if uri.user.n:
        q = put_unescaped(q, uri.user)
        if uri.scheme == SCHEME_TEL:
            return <size_t>(q - out)
        q[0] = c'@'
        q += 1
    memcpy(q, uri.host.p, uri.host.n)
    return <size_t>(q - out) + uri.host.n


cdef size_t put_address_and_port(uint8_t *out, const SipUri *uri) noexcept nogil:
    """Writes the same, and ":" port if the URI has one; `out` has room for uri.text.n bytes."""
    cdef size_t n = put_address(out, uri)
    if uri.port_text.n:
        out[n] = c':'
        memcpy(out + n + 1, uri.port_text.p, uri.port_text.n)
        n += 1 + uri.port_text.n
    return n


cdef str without_password(const SipUri *uri):
    """The URI for a repr or a log: without its password (RFC 3261, 19.1.1)."""
    cdef const uint8_t *behind
    if uri.text.p == NULL:
        return None
    if uri.scheme > SCHEME_SIPS or uri.user.n == 0:
        return text_of(uri.text)
    behind = uri.user.p + uri.user.n
    if behind[0] != c':':     # the colon of a password
        return text_of(uri.text)
    return text_of(between(uri.text.p, behind)) + ":…" + text_of(
        between(uri.host.p - 1, uri.text.p + uri.text.n))


@cython.final
cdef class Uri:
    """Uri()\n--\n
    A SIP, SIPS, tel or other URI (RFC 3261, 19.1; RFC 3966); immutable.

    Made by ``Uri.parse`` or ``SipRequest.uri``.
    """

    def __init__(self):
        raise TypeError("a Uri comes from Uri.parse(text) or SipRequest.uri(part)")

    @staticmethod
    def parse(text):
        """Parses a URI.

        Args:
            text: str or bytes-like.

        Returns:
            Uri.

        Raises:
            ParseError: the text is not a URI.
        """
        cdef bytes data = as_bytes(text, "text")
        cdef Uri self = Uri.__new__(Uri)
        cdef Reader r = reader_of(span_of_bytes(data))
        self.data = data
        if not take_uri(&r, URI_IN_BRACKETS, &self.uri) or r.p != r.end:
            raise ParseError("URI: not as RFC 3261, 19.1 has it", r.p - <const uint8_t *>PyBytes_AS_STRING(data))
        return self

    @property
    def text(self):
        """The whole URI, str."""
        return text_of(self.uri.text)

    @property
    def scheme(self):
        """The scheme in lower case, str."""
        return _SCHEMES.get(self.uri.scheme) or self.text.split(":", 1)[0].lower()

    @property
    def user(self):
        """The user part, of a tel URI the number, str, or None; escapes are not resolved."""
        return text_of(self.uri.user) if self.uri.user.n else None

    @property
    def account(self):
        """The user part with escapes of letters, digits, "-", "." and "_" resolved, str, or None.

        "%61lice" and "alice" are the same user (RFC 3261, 19.1.4). Other escapes stay, so that "%00" or "%40"
        cannot cut or split a name.
        """
        cdef bytes room
        cdef uint8_t *start
        if not self.uri.user.n:
            return None
        room = bytes(self.uri.user.n)
        start = <uint8_t *>PyBytes_AS_STRING(room)
        return text_of(between(start, put_unescaped(start, self.uri.user)))

    @property
    def host(self):
        """The host, str, or None; an IPv6 address with its brackets."""
        return text_of(self.uri.host) if self.uri.host.n else None

    @property
    def port(self):
        """The port, int, or None."""
        return self.uri.port or None

    @property
    def parameters(self):
        """The parameters in order, tuple of pairs (name, value) of str; a missing value is None."""
        pairs = (item.partition("=") for item in text_of(self.uri.params).split(";")[1:])
        return tuple((name, value if equal else None) for name, equal, value in pairs)

    def __repr__(self):
        return f"<Uri {without_password(&self.uri)}>"


cdef Uri new_uri(bytes data, const SipUri *uri):
    """A Uri from what `take_uri` found in `data`."""
    cdef Uri self = Uri.__new__(Uri)
    self.data = data
    self.uri = uri[0]
    return self
