"""SipRequest: a SIP request as Python sees it. Its grammar is in parse.pyx, the making of replies in reply.pyx.

A Python object is made for a value when it is asked for.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t

from auth_diameter._core.base.chars cimport AD_HOST, ad_is, is_word
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport OK, OTHER_SCHEME, DigestFields, parse_error
from auth_diameter._core.sip.fields cimport (
    AUTHORIZATION, CALL_ID, CONTACT, CONTENT_LENGTH, CSEQ, FROM, MAX_FORWARDS, PARTY, PROXY_AUTHORIZATION, TO, VIA,
    Address, Header, take_address,
)
from auth_diameter._core.sip.parse cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, Line, find_credentials, parse_request, release_request,
)
from auth_diameter._core.sip.reply cimport new_reply
from auth_diameter._core.sip.values cimport DEFAULT_EXPIRES, delta_seconds, new_address, new_binding, unfolded
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Reader, Span, equal_nocase
from auth_diameter._core.base.text cimport borrow, span_of, text_of
from auth_diameter._core.sip.uri cimport SipUri, new_uri, without_password

from auth_diameter._core.errors import ConfigError, ParseError

# Header names as they are best known, for messages and replies.
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
# By a name in lower case, its long form and its compact form; a name that has no other is long itself.
cdef dict _FORMS = {}
for _letter, _long in _COMPACT.items():
    _FORMS[_letter] = _FORMS[_long] = (_long.encode(), _letter.encode())


cdef enum:
    MOST_CONTACTS = 256     # no registrar binds as many, and each costs a microsecond


# Of this process and those forked from it.
cdef uint64_t _fingerprint_key[2]
_fingerprint_key[0] = int.from_bytes(os.urandom(8), "little")
_fingerprint_key[1] = int.from_bytes(os.urandom(8), "little")


@cython.final
@cython.freelist(256)
@cython.no_gc  # it holds no object that could hold it
cdef class SipRequest:
    """A SIP request, read once; immutable but for the mark that an authorize call leaves.

    :param data: the whole request, bytes-like. Bytes beyond Content-Length are ignored, as RFC 3261,
        18.3 wants it of a datagram.
    :param source: (host, port) that it came from, of IPv6 (host, port, flow, scope), for the Via of
        replies (RFC 3261, 18.2.1; RFC 3581) and for ``$si`` and ``$sp``; None if not known.
    :param max_size: bytes that it may have, int. :param max_headers: header fields, int.
    :raises ConfigError: a source that is not an address and a port up to 65535.
    :raises ParseError: RFC 3261 forbids what stands at ``offset``, or a limit is passed; ``.header``
        names the field and ``.request`` can still make a reply where one can be addressed.
    """

    def __dealloc__(self):
        release_request(&self.m)

    def __init__(self, data, source=None, *, size_t max_size=DEFAULT_MAX_SIZE, int max_headers=DEFAULT_MAX_LINES):
        if self.data is not None:
            raise TypeError("a SipRequest is read once")    # its spans point into the first bytes
        if max_headers < 0:
            raise ConfigError(f"max_headers {max_headers}: expected 0 or more")
        self.data = data if type(data) is bytes else bytes(memoryview(data))
        if source is not None:
            self.source = address_of(source)
        if not parse_request(&self.m, <const uint8_t *>PyBytes_AS_STRING(self.data),
                             <size_t>PyBytes_GET_SIZE(self.data), max_size, max_headers):
            raise self.refusal()

    cdef const uint64_t *fingerprint(self) except NULL:
        """128 bits that stand for every byte of the request and for where it came from.

        A retransmission has the same. Who does not know this process's key can neither foresee them nor
        make another request that has them: the UAC sees the second half, as the tag of To, and DISC a
        half of the first.
        """
        cdef ad_siphash s
        cdef Span host
        cdef uint64_t port = 0, flow = 0, scope = 0
        if self.known_fingerprint[0] or self.known_fingerprint[1]:
            return self.known_fingerprint
        host.p = NULL
        host.n = 0
        if self.source is not None:
            span_of(self.source[0], &host, "source")
            port = <uint64_t>self.source[1] + 1     # 0: not known
            if len(self.source) == 4:
                flow = self.source[2]
                scope = self.source[3]
        ad_siphash_begin(&s, _fingerprint_key)
        ad_siphash_word(&s, self.m.size)
        ad_siphash_word(&s, host.n << 32 | port)
        ad_siphash_word(&s, flow << 32 | scope)
        ad_siphash_bytes(&s, host.p, host.n)
        ad_siphash_bytes(&s, self.m.start, self.m.size)
        ad_siphash_end(&s, self.known_fingerprint)
        return self.known_fingerprint

    cdef object refusal(self):
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
        return text_of(self.m.method_name)

    @property
    def is_register(self):
        """Whether it is a REGISTER, whose user is that of To (RFC 3261, 10.2)."""
        return self.m.method == METHOD_REGISTER

    @property
    def is_ack_or_cancel(self):
        """Whether it must not be challenged (RFC 3261, 22.1)."""
        return self.m.method == METHOD_ACK or self.m.method == METHOD_CANCEL

    @property
    def request_uri(self):
        return text_of(self.m.request_uri.text) if self.m.request_uri.text.p != NULL else None

    @property
    def from_uri(self):
        """The URI of From without name and header parameters; None where From is missing."""
        return text_of(self.m.from_.text) if self.m.from_.text.p != NULL else None

    @property
    def to_uri(self):
        """The URI of To without name and header parameters; None where To is missing."""
        return text_of(self.m.to.text) if self.m.to.text.p != NULL else None

    @property
    def call_id(self):
        return text_of(self.m.call_id)

    @property
    def cseq(self):
        """The number of CSeq, int; its method is always that of the request."""
        return self.m.cseq

    @property
    def body(self):
        return self.m.body.p[:self.m.body.n] if self.m.body.n else b""

    @property
    def data_size(self):
        """How many bytes came, int."""
        return self.m.size

    @property
    def from_host(self):
        return text_of(self.m.from_.host) if self.m.from_.host.n else None

    @property
    def to_host(self):
        return text_of(self.m.to.host) if self.m.to.host.n else None

    @property
    def request_host(self):
        return text_of(self.m.request_uri.host) if self.m.request_uri.host.n else None

    def uri(self, str part not None):
        """The URI of "request", "from" or "to" in its parts, as `Uri`; None where it is missing."""
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
        """From with display name, URI and parameters, as `NameAddr`; None where it is missing."""
        return self.party(FROM)

    @property
    def to(self):
        """To with display name, URI and parameters, as `NameAddr`; None where it is missing."""
        return self.party(TO)

    cdef object party(self, Header header):
        cdef Address found
        cdef Reader r
        cdef Span value
        # Those that were malformed made the whole request malformed, and stand here without a URI.
        if (self.m.from_ if header == FROM else self.m.to).text.p == NULL:
            return None
        value = self.m.lines[self.m.first[header]].value
        r.p = value.p
        r.end = value.p + value.n
        take_address(&r, PARTY, &found)
        return new_address(self.data, &found)

    @property
    def contacts(self):
        """The addresses of all Contact fields, in order, tuple of `NameAddr` (RFC 3261, 20.10).

        "*" is no address: of a request with "*" it is empty, see `has_star_contact`.

        :raises ParseError: one is malformed, or stands beside "*" (10.3, step 6), or there are more than 256.
            No one but the reader of Contact cares: such a request is not malformed on that account.
        """
        return tuple(self.read_contacts(-1))

    cdef list read_contacts(self, int64_t expires):
        """As NameAddr. Not below 0, `expires` is the default for pairs: URI as it is written, and seconds."""
        cdef list found = [], lines = self.contact_lines()
        cdef Address address
        cdef Reader r
        cdef Py_ssize_t at
        for start, end in lines:
            r.p = self.m.start + <size_t>start
            r.end = self.m.start + <size_t>end
            if end - start == 1 and r.p[0] == c'*' and len(lines) == 1:
                break
            while True:
                at = r.p - self.m.start
                if len(found) == MOST_CONTACTS:
                    raise ParseError(f"Contact: more addresses than the limit of {MOST_CONTACTS}", at,
                                     header="Contact", request=self)
                if not take_address(&r, CONTACT, &address):
                    at = r.p - self.m.start
                    raise ParseError("Contact: not a name-addr or addr-spec of RFC 3261, 25.1", at,
                                     header="Contact", request=self)
                found.append(new_address(self.data, &address) if expires < 0 else new_binding(&address, expires))
                if r.p == r.end:
                    break
                r.p += 1
        return found

    @property
    def has_star_contact(self):
        """Whether Contact is "*": all bindings are to go (RFC 3261, 10.2.2)."""
        cdef list lines = self.contact_lines()
        return len(lines) == 1 and self.m.start[<size_t>lines[0][0]:<size_t>lines[0][1]] == b"*"

    def contact_headers(self):
        """The Contact fields of a 200 to a REGISTER (RFC 3261, 10.3), of a registrar that keeps no bindings.

        A list of pairs (name, value): the addresses that the request registers, each with its expiry. An address
        has the ``expires`` of its own, else that of the Expires field, else an hour. What expires at once is
        removed, and so is not there; after "*" nothing is. Nothing but the URI is repeated.

        :raises ParseError: a malformed Contact; or "*" beside another, or without Expires: 0 (10.3, step 6).
        """
        cdef int64_t usual = DEFAULT_EXPIRES
        cdef const Line *line
        cdef int i
        for i in range(self.m.line_count):
            line = &self.m.lines[i]
            if is_word(line.name, "expires", 7):
                usual = delta_seconds(line.value)
                break
        asked = self.read_contacts(usual)
        if not asked and usual and self.has_star_contact:
            raise ParseError("Contact: * without Expires: 0", header="Contact", request=self)
        return [("Contact", f"<{uri}>;expires={seconds}") for uri, seconds in dict(asked).items() if seconds]

    cdef list contact_lines(self):
        """Where the values of all Contact fields begin and end."""
        cdef const Line *line
        cdef list found = []
        cdef int i
        for i in range(self.m.line_count):
            line = &self.m.lines[i]
            if is_word(line.name, "contact", 7) or is_word(line.name, "m", 1):
                found.append((line.value.p - self.m.start, line.value.p + line.value.n - self.m.start))
        return found

    def tag(self, str part not None):
        """The tag of "from" or "to", str; None where there is none."""
        cdef Span tag
        if part not in ("from", "to"):
            raise ConfigError(f"part {part!r}: expected from or to")
        tag = self.m.from_tag if part == "from" else self.m.to_tag
        return text_of(tag) if tag.p != NULL else None

    def header(self, str name not None):
        """The value of the first header field of that name, str; None where there is none.

        :param name: long or compact, in any case. Folds become one space.
        """
        cdef list found = self.find(name, 1)
        return found[0] if found else None

    def headers(self, str name not None):
        """The values of all header fields of that name, list of str, one for each line, in order."""
        return self.find(name, self.m.line_count)

    cdef list find(self, str name, int enough):
        """The values of the first `enough` header fields of that name."""
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
        """The Digest credentials for `realm` (RFC 3261, 22.2 and 22.3); None where none match.

        Of several those with the strongest algorithm (RFC 8760, 2.4), of these the first.

        :param realm: str, compared without regard to case.
        :param proxy: look into Proxy-Authorization instead of Authorization.
        :raises ParseError: there are none but such as break the grammar, of this realm or of none that can be
            read. Other schemes and realms are passed over, and so is what answers no challenge: with a nonce
            or response that is empty or left out (3GPP TS 24.229, 5.1.1.2).
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
        """Notes that DISC found these credentials right; a group check for "Credentials" reads it.

        :param username: whose they are, where they hold its hash alone (RFC 7616, 3.4.4).
        """
        if proxy:
            self.marked_proxy = credentials
            self.name_proxy = username
        else:
            self.marked_www = credentials
            self.name_www = username

    @property
    def authorized(self):
        """The credentials that were found right, those of Authorization first; None before that."""
        return self.marked_www if self.marked_www is not None else self.marked_proxy

    @property
    def authorized_username(self):
        """Whose credentials `authorized` are, str; None before that."""
        cdef Credentials found = self.authorized
        cdef str name = self.name_www if self.marked_www is not None else self.name_proxy
        return name if name is not None or found is None else found.username

    # ------------------------------------------------------------------ replies

    @property
    def reply_address(self):
        """(host, port) that replies go to (RFC 3261, 18.2.2; RFC 3581, 4); None without a source.

        Of IPv6 with flow and scope, where the source has them, as a link-local address needs them.
        Always the address the request came from, whatever maddr or received claim, so that no reply
        can be aimed at a third party.
        """
        if self.source is None:
            return None
        if self.m.via.has_rport or self.m.via.protocol_and_host.p == NULL:
            return self.source
        return (self.source[0], self.m.via.port or 5060, *self.source[2:])

    def reply(self, code, reason, headers=(), body=b""):
        """The whole stateless reply, bytes (RFC 3261, 8.2.6 and 8.2.7); b"" where none may be sent.

        All Via in order, the top one with received and rport; From; To with a tag that is the same
        for a retransmission; Call-ID; CSeq; `headers`; Content-Length; `body`. An ACK is never answered.

        :param code: int, 100 to 699. :param reason: str.
        :param headers: pairs (name, value) of str, or a dict.
        :param body: bytes-like; it wants a Content-Type among `headers` (20.15).
        :raises ConfigError: a code out of range, a header that is no pair, whose name is no token or one of
            those above, a CR, LF or other control character in the rest, or a body without its type.
        :raises TypeError: something of another type.
        """
        return new_reply(&self.m, self.source, self.fingerprint()[1], code, reason, headers, body)

    def __repr__(self):
        return f"<SipRequest {self.method} {without_password(&self.m.request_uri)} call_id={self.call_id!r}>"


cdef tuple address_of(object source):
    """A socket's address; replies repeat it."""
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
        # A name or an address, of IPv6 with brackets or a zone perhaps.
        if not ad_is(host.p[i], AD_HOST) and host.p[i] not in b":%[]":
            raise ConfigError(f"source {source!r}: expected the address of a host")
    if len(parts) == 4 and not (0 <= parts[2] <= 0xFFFFF and 0 <= parts[3] <= 0xFFFFFFFF):
        raise ConfigError(f"source {source!r}: expected a flow of 20 bits and a scope of 32")
    return parts
