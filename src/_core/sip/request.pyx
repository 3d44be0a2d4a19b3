"""SipRequest, a SIP request as a Python object. The grammar is in parse.pyx, replies are in reply.pyx.

A Python object for a value is made when the value is read.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from auth_diameter._core.base.chars cimport AD_HOST, ad_is
from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take, ad_look, ad_show
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport OK, OTHER_SCHEME, DigestFields, parse_error
from auth_diameter._core.sip.build cimport build_request
from auth_diameter._core.sip.contacts cimport contact_addresses, contact_headers, is_star_contact
from auth_diameter._core.sip.fields cimport (
    AUTHORIZATION, CALL_ID, CONTENT_LENGTH, CSEQ, FROM, MAX_FORWARDS, PARTY, PROXY_AUTHORIZATION, TO, VIA,
    Address, Header, take_address,
)
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, find_credentials, identity, parse_request,
    release_request,
)
from auth_diameter._core.sip.reply cimport new_reply
from auth_diameter._core.sip.values cimport new_address, unfolded
from auth_diameter._core.base.span cimport Reader, Span, equal_nocase, reader_of
from auth_diameter._core.base.text cimport borrow, span_of, text_of
from auth_diameter._core.sip.uri cimport SipUri, new_uri, without_password

from auth_diameter._core.errors import ConfigError, ParseError

# Names of header fields in their usual spelling.
_HEADER_NAMES = {
    VIA: "Via", FROM: "From", TO: "To", CALL_ID: "Call-ID", CSEQ: "CSeq", MAX_FORWARDS: "Max-Forwards",
    CONTENT_LENGTH: "Content-Length", AUTHORIZATION: "Authorization",
    PROXY_AUTHORIZATION: "Proxy-Authorization",
}
# Compact forms: RFC 3261, 7.3.3, and those that later RFCs registered.
_COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition",
    "e": "content-encoding", "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported",
    "l": "content-length", "m": "contact", "o": "event", "r": "refer-to", "s": "subject", "t": "to",
    "u": "allow-events", "v": "via", "x": "session-expires", "y": "identity",
}
# Long and compact form by the lower-case name in either form.
cdef dict _FORMS = {}
for _letter, _long in _COMPACT.items():
    _FORMS[_letter] = _FORMS[_long] = (_long.encode(), _letter.encode())


@cython.final
@cython.freelist(256)
@cython.no_gc  # it holds no object that could hold it
cdef class SipRequest:
    """SipRequest(data, source=None, *, max_size=65535, max_headers=256)\n--\n
    A SIP request (RFC 3261); immutable, except that an authorize call marks its credentials.

    Args:
        data: bytes-like, the whole request. Bytes beyond Content-Length are ignored, as RFC 3261, 18.3
            requires for a datagram.
        source: the address it came from, (host, port) or for IPv6 (host, port, flow, scope), for the Via of
            replies (RFC 3261, 18.2.1; RFC 3581) and for ``$si`` and ``$sp``; None if it is not known.
        max_size: bytes a request may have.
        max_headers: header fields a request may have.

    Attributes:
        source: tuple, or None.

    Raises:
        ConfigError: `source` is not an address with a port up to 65535, or a limit is negative.
        ParseError: the grammar of RFC 3261 is broken at ``offset``, or a limit is exceeded. ``header`` is the
            name of the header field; ``request`` can still make a reply if one can be addressed.
    """

    def __dealloc__(self):
        release_request(&self.m)

    def __init__(self, data, source=None, *, size_t max_size=DEFAULT_MAX_SIZE, int max_headers=DEFAULT_MAX_LINES):
        if self.data is not None:
            raise TypeError("a SipRequest is read once")    # its spans point into the first data
        if max_headers < 0:
            raise ConfigError(f"max_headers {max_headers}: expected 0 or more")
        self.data = data if type(data) is bytes else bytes(memoryview(data))
        if source is not None:
            self.source = address_of(source)    # which may call `__init__` again
        if not self.read(self.data, max_size, max_headers):
            raise self.refusal()

    @classmethod
    def from_parts(cls, method, uri, headers, body=b"", source=None, *, max_size=65535, max_headers=256):
        """A request from its parts, for SIP stacks that do not keep the bytes that came.

        Args:
            method: str or bytes.
            uri: the Request-URI, str or bytes.
            headers: pairs (name, value) of str or bytes, in their order, or a dict. Content-Length may be left
                out: it is that of `body` in any case.
            body: bytes-like or str.
            source: as in `SipRequest`.
            max_size: as in `SipRequest`.
            max_headers: as in `SipRequest`.

        Returns:
            SipRequest.

        Raises:
            ConfigError: a header is no pair; or as `SipRequest`.
            ParseError: as `SipRequest`; or a part holds the end of a line, or the method or the URI a space.
            TypeError: a part has another type.
        """
        return cls(build_request(method, uri, headers, body), source, max_size=max_size, max_headers=max_headers)

    cdef bint read(self, bytes data, size_t max_size, int max_headers) noexcept:
        """Parses the data of a request that is new; if it is malformed, `refusal` has the reason."""
        self.data = data
        return parse_request(&self.m, <const uint8_t *>PyBytes_AS_STRING(self.data),
                             <size_t>PyBytes_GET_SIZE(self.data), max_size, max_headers)

    cdef const uint64_t *fingerprint(self) except NULL:
        """That of all bytes of the request and its source, two words, computed once: `fingerprint_of`."""
        cdef Span host
        cdef uint32_t port = 0, flow = 0, scope = 0
        cdef uint64_t found[2]
        if ad_look(&self.has_fingerprint):
            return self.known_fingerprint
        host.p = NULL
        host.n = 0
        if self.source is not None:
            span_of(self.source[0], &host, "source")
            port = self.source[1]
            if len(self.source) == 4:
                flow = self.source[2]
                scope = self.source[3]
        fingerprint_of(self.m.start, self.m.size, host, port, flow, scope, found)
        self.keep_fingerprint(found)
        return self.known_fingerprint

    cdef void keep_fingerprint(self, const uint64_t *fingerprint) noexcept:
        """Keeps the fingerprint, unless another thread has."""
        ad_lock_take(&self.fingerprint_lock)
        if not self.has_fingerprint:
            self.known_fingerprint[0] = fingerprint[0]
            self.known_fingerprint[1] = fingerprint[1]
            ad_show(&self.has_fingerprint, True)
        ad_lock_give(&self.fingerprint_lock)

    cdef object refusal(self):
        """The ParseError for a request that was refused."""
        cdef str header = _HEADER_NAMES.get(self.m.error_header)
        cdef str reason = self.m.error.decode("ascii")
        if self.m.error_limit:
            reason = f"{reason} of {self.m.error_limit}"
        return ParseError(
            f"{header}: {reason}" if header else reason, self.m.error_at, header=header,
            status=self.m.error_status,
            request=self if self.m.method_name.n and self.m.first[VIA] >= 0 else None)

    # ------------------------------------------------------------------ what it says

    @property
    def method(self):
        """The method, str."""
        return text_of(self.m.method_name)

    @property
    def is_register(self):
        """Whether the method is REGISTER, bool: its user is in To (RFC 3261, 10.2)."""
        return self.m.method == METHOD_REGISTER

    @property
    def is_ack_or_cancel(self):
        """Whether the method is ACK or CANCEL, bool: neither is challenged (RFC 3261, 22.1)."""
        return self.m.method == METHOD_ACK or self.m.method == METHOD_CANCEL

    @property
    def request_uri(self):
        """The Request-URI, str."""
        return text_of(self.m.request_uri.text) if self.m.request_uri.text.p != NULL else None

    @property
    def from_uri(self):
        """The URI in From, str; None if From is missing."""
        return text_of(self.m.from_.text) if self.m.from_.text.p != NULL else None

    @property
    def to_uri(self):
        """The URI in To, str; None if To is missing."""
        return text_of(self.m.to.text) if self.m.to.text.p != NULL else None

    @property
    def call_id(self):
        """The value of Call-ID, str."""
        return text_of(self.m.call_id)

    @property
    def cseq(self):
        """The number in CSeq, int."""
        return self.m.cseq

    @property
    def body(self):
        """The body, bytes."""
        return self.m.body.p[:self.m.body.n] if self.m.body.n else b""

    @property
    def data_size(self):
        """The size of the data in bytes, int."""
        return self.m.size

    @property
    def from_host(self):
        """The host of the URI in From, str, or None."""
        return text_of(self.m.from_.host) if self.m.from_.host.n else None

    @property
    def to_host(self):
        """The host of the URI in To, str, or None."""
        return text_of(self.m.to.host) if self.m.to.host.n else None

    @property
    def identity_host(self):
        """The host of the user's URI, str, or None: To of a REGISTER, else From (RFC 3261, 10.2 and 22.1)."""
        cdef const SipUri *uri = identity(&self.m)
        return text_of(uri.host) if uri.host.n else None

    @property
    def request_host(self):
        """The host of the Request-URI, str, or None."""
        return text_of(self.m.request_uri.host) if self.m.request_uri.host.n else None

    def uri(self, str part not None):
        """A URI of the request in its parts.

        Args:
            part: "request", "from" or "to".

        Returns:
            Uri, or None if it is missing.

        Raises:
            ConfigError: `part` is none of these.
        """
        cdef const SipUri *found
        if part == "request":
            found = &self.m.request_uri
        elif part == "from":
            found = &self.m.from_
        elif part == "to":
            found = &self.m.to
        else:
            raise ConfigError(f"part {part!r}: expected request, from or to")
        return new_uri(self.data, found) if found.text.p != NULL else None

    @property
    def from_(self):
        """From with display name, URI and parameters, NameAddr; None if it is missing."""
        return self.party(FROM)

    @property
    def to(self):
        """To with display name, URI and parameters, NameAddr; None if it is missing."""
        return self.party(TO)

    cdef object party(self, Header header):
        """From or To as NameAddr, or None."""
        cdef Address found
        cdef Reader r
        # A malformed one has no URI here: the whole request was refused.
        if (self.m.from_ if header == FROM else self.m.to).text.p == NULL:
            return None
        r = reader_of(self.m.lines[self.m.first[header]].value)
        take_address(&r, PARTY, &found)
        return new_address(self.data, &found)

    @property
    def contacts(self):
        """The addresses of all Contact fields in order, tuple of NameAddr (RFC 3261, 20.10).

        "*" is not an address: see `has_star_contact`. Contact is parsed here only; a malformed one does not
        make the request malformed.

        Raises:
            ParseError: an address is malformed or stands beside "*" (10.3, step 6), or there are more than
                256.
        """
        return tuple(contact_addresses(&self.m, self.data, self))

    @property
    def has_star_contact(self):
        """Whether Contact is "*", bool: all bindings are to be removed (RFC 3261, 10.2.2)."""
        return is_star_contact(&self.m)

    def contact_headers(self):
        """The Contact fields of the 200 to this REGISTER (RFC 3261, 10.3); nothing is stored.

        They are the addresses that the request registers, with the URI and the expiry alone. The expiry is the
        ``expires`` parameter, else the Expires field, else an hour. An address that expires at once is removed
        and left out; after "*" all are.

        Returns:
            List of pairs (name, value) of str.

        Raises:
            ParseError: Contact is malformed, "*" stands beside an address or without Expires: 0 (10.3, step
                6), or there are more than 256 addresses.
        """
        return contact_headers(&self.m, self)

    def tag(self, str part not None):
        """The tag of From or To.

        Args:
            part: "from" or "to".

        Returns:
            Str, or None.

        Raises:
            ConfigError: `part` is neither.
        """
        cdef Span tag
        if part not in ("from", "to"):
            raise ConfigError(f"part {part!r}: expected from or to")
        tag = self.m.from_tag if part == "from" else self.m.to_tag
        return text_of(tag) if tag.p != NULL else None

    def header(self, str name not None):
        """The value of the first header field with that name; each fold is one space.

        Args:
            name: str, in long or compact form and in any case.

        Returns:
            Str, or None.
        """
        cdef list found = self.find(name, 1)
        return found[0] if found else None

    def headers(self, str name not None):
        """The values of all header fields with that name, in order.

        Args:
            name: str, in long or compact form and in any case.

        Returns:
            List of str, one for each header field.
        """
        return self.find(name, self.m.line_count)

    cdef list find(self, str name, int enough):
        """The values of the first `enough` header fields with that name."""
        cdef str wanted = name.lower()
        cdef tuple forms = _FORMS.get(wanted)
        cdef bytes long_name, compact
        cdef Span long_span, compact_span
        cdef list found = []
        cdef int i
        long_name, compact = forms if forms is not None else (wanted.encode("utf-8", "surrogateescape"), b"")
        span_of(long_name, &long_span, "name")
        span_of(compact, &compact_span, "name")
        for i in range(self.m.line_count):
            if equal_nocase(self.m.lines[i].name, long_span) or equal_nocase(self.m.lines[i].name, compact_span):
                found.append(unfolded(self.m.lines[i].value))
                if len(found) == enough:
                    break
        return found

    # ------------------------------------------------------------------ credentials

    def credentials(self, realm, bint proxy=False):
        """The Digest credentials for a realm (RFC 3261, 22.2 and 22.3).

        Among several, those with the strongest algorithm (RFC 8760, 2.4), and of these the first. Other schemes
        and realms are passed over, and so are credentials whose nonce or response is empty or missing: they
        answer no challenge (3GPP TS 24.229, 5.1.1.2).

        Args:
            realm: str or bytes, compared without regard to case.
            proxy: whether to read Proxy-Authorization, and not Authorization.

        Returns:
            Credentials, or None.

        Raises:
            ParseError: the only credentials for this realm, or for a realm that cannot be read, break the
                grammar.
        """
        cdef Header header = PROXY_AUTHORIZATION if proxy else AUTHORIZATION
        cdef Span wanted
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef int status
        if self.m.first[header] < 0:
            return None
        _kept = borrow(realm, &wanted, "realm")
        status = find_credentials(&self.m, header, wanted, &fields, &offset)
        if status == OTHER_SCHEME:
            return None
        if status != OK:
            error = parse_error(status, offset, _HEADER_NAMES[header])
            error.header = _HEADER_NAMES[header]
            error.request = self
            raise error
        return new_credentials(self.data, &fields)

    cpdef mark_authorized(self, Credentials credentials, bint proxy=False, str username=None):
        """Marks these credentials as verified; a group check for "Credentials" uses them.

        Args:
            credentials: Credentials.
            proxy: whether they are from Proxy-Authorization.
            username: the user's name, str, if the credentials hold only its hash (RFC 7616, 3.4.4).
        """
        with cython.critical_section(self):
            if proxy:
                self.marked_proxy = credentials
                self.name_proxy = username
            else:
                self.marked_www = credentials
                self.name_www = username

    cdef tuple verified(self):
        """`authorized` and `authorized_username`, read at once."""
        cdef Credentials found
        cdef str name
        with cython.critical_section(self):
            found = self.marked_www
            name = self.name_www
            if found is None:
                found = self.marked_proxy
                name = self.name_proxy
        return found, name if name is not None or found is None else found.user()

    @property
    def authorized(self):
        """The verified credentials, those of Authorization first, Credentials; None before an authorize call."""
        cdef Credentials found
        with cython.critical_section(self):
            found = self.marked_www if self.marked_www is not None else self.marked_proxy
        return found

    @property
    def authorized_username(self):
        """The user's name in the verified credentials, str; None before an authorize call."""
        return self.verified()[1]

    # ------------------------------------------------------------------ replies

    @property
    def reply_address(self):
        """The address that replies go to, (host, port), or None without a source (RFC 3261, 18.2.2; RFC 3581, 4).

        For IPv6 it has the flow and scope of the source, which a link-local address needs. The host is always
        that of the source, whatever maddr or received says, so that no reply can be aimed at a third party.
        """
        if self.source is None:
            return None
        if self.m.via.has_rport or self.m.via.protocol_and_host.p == NULL:
            return self.source
        return (self.source[0], self.m.via.port or 5060, *self.source[2:])

    def reply(self, code, reason, headers=(), body=b""):
        """The whole stateless reply (RFC 3261, 8.2.6 and 8.2.7).

        It has all Via fields in order, the first with received and rport; From; To with a tag, the same for a
        retransmission; Call-ID; CSeq; `headers`; Content-Length; `body`.

        Args:
            code: int, 100 to 699.
            reason: str, the reason phrase.
            headers: pairs (name, value) of str, or a dict.
            body: bytes-like; it needs a Content-Type in `headers` (20.15).

        Returns:
            Bytes; b"" if no reply may be sent, as to an ACK, or none can be addressed.

        Raises:
            ConfigError: the code is out of range; a header is not a pair, its name is not a token or is one
                of those above; reason or headers hold a control character; or a body has no Content-Type.
            TypeError: an argument is of another type.
        """
        return new_reply(&self.m, self.source, self.fingerprint()[1], code, reason, headers, body)

    def __repr__(self):
        return f"<SipRequest {self.method} {without_password(&self.m.request_uri)} call_id={self.call_id!r}>"


cdef SipRequest new_request(bytes data, tuple source, size_t max_size, int max_headers):
    """As `SipRequest`, with the source that the kernel has named.

    Raises:
        ParseError: as there.
    """
    cdef SipRequest request = SipRequest.__new__(SipRequest)
    request.source = source
    if not request.read(data, max_size, max_headers):
        raise request.refusal()
    return request


cdef tuple address_of(object source):
    """The source of a request, checked: replies repeat it."""
    cdef tuple parts = tuple(source)
    cdef Span host
    cdef size_t i
    if len(parts) != 2 and len(parts) != 4:
        raise ConfigError(f"source {source!r}: expected (host, port)")
    if type(parts[0]) is not str or not all([type(number) is int for number in parts[1:]]):
        parts = (str(parts[0]), *[int(number) for number in parts[1:]])
    if not 0 <= parts[1] <= 65535:
        raise ConfigError(f"source {source!r}: expected a port up to 65535")
    _kept = borrow(parts[0], &host, "source")
    for i in range(host.n):
        # A name or an address; an IPv6 address may have brackets and a zone.
        if not ad_is(host.p[i], AD_HOST) and host.p[i] not in b":%[]":
            raise ConfigError(f"source {source!r}: expected the address of a host")
    if len(parts) == 4 and not (0 <= parts[2] <= 0xFFFFF and 0 <= parts[3] <= 0xFFFFFFFF):
        raise ConfigError(f"source {source!r}: expected a flow of 20 bits and a scope of 32")
    return parts


cdef SipRequest request_with(bytes data, SipMessage *m, const uint64_t *fingerprint):
    """The SipRequest for a message that was parsed from `data`, whether it was refused or not.

    Args:
        data: the bytes, into which the spans of `m` point.
        m: the message. It moves: `m` has no lines of its own any more.
        fingerprint: that of the request, NULL if it was refused.
    """
    cdef SipRequest request = SipRequest.__new__(SipRequest)
    request.data = data
    memcpy(&request.m, m, sizeof(SipMessage))
    if m.lines == m.inline_lines:
        request.m.lines = request.m.inline_lines
    m.lines = m.inline_lines
    if fingerprint != NULL:
        request.keep_fingerprint(fingerprint)
    return request
