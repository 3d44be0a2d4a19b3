"""SipRequest: a SIP request as Python sees it. Its grammar, and the making of replies, are in sip_wire.pyx.

A Python object is made for a value when it is asked for.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from auth_diameter._core.chars cimport AD_HOST, AD_TOKEN, ad_find_control, ad_is, ad_skip_class
from auth_diameter._core.digest cimport OK, OTHER_SCHEME, Credentials, DigestFields, new_credentials, parse_error
from auth_diameter._core.fields cimport (
    AUTHORIZATION, CALL_ID, CONTENT_LENGTH, CSEQ, FROM, MAX_FORWARDS, PROXY_AUTHORIZATION, TO, VIA, Header,
)
from auth_diameter._core.sip_wire cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, can_reply, find_credentials, parse_request,
    put_reply_end, put_reply_header, put_reply_start, release_request, reply_room,
)
from auth_diameter._core.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.span cimport Span, equal_nocase
from auth_diameter._core.text cimport borrow, span_of, text_of
from auth_diameter._core.uri cimport Uri, shown

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
        if self.print[0] or self.print[1]:
            return self.print
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
        ad_siphash_end(&s, self.print)
        return self.print

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
        cdef Uri made = Uri.__new__(Uri)
        if part == "request":
            made.uri = self.m.request_uri
        elif part == "from":
            made.uri = self.m.from_
        elif part == "to":
            made.uri = self.m.to
        else:
            raise ConfigError(f"part {part!r}: expected request, from or to")
        made.data = self.data
        return made if made.uri.text.p != NULL else None

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
        cdef list found = self.find(name, True)
        return found[0] if found else None

    def headers(self, str name not None):
        """The values of all header fields of that name, list of str, one for each line, in order."""
        return self.find(name, False)

    cdef list find(self, str name, bint once):
        cdef str wanted = name.lower()
        cdef bytes long_name = _COMPACT.get(wanted, wanted).encode("utf-8", "surrogateescape")
        cdef bytes compact = b""
        cdef Span long_span, compact_span
        cdef list found = []
        cdef int i
        for letter, known in _COMPACT.items():
            if known.encode() == long_name:
                compact = letter.encode()
        span_of(long_name, &long_span, "name")
        span_of(compact, &compact_span, "name")
        for i in range(self.m.line_count):
            if equal_nocase(self.m.lines[i].name, long_span) or equal_nocase(self.m.lines[i].name, compact_span):
                found.append(unfolded(self.m.lines[i].value))
                if once:
                    break
        return found

    # ------------------------------------------------------------------ credentials

    def credentials(self, realm, bint proxy=False):
        """The Digest credentials for `realm` (RFC 3261, 22.2 and 22.3); None where none match.

        Of several those with the strongest algorithm (RFC 8760, 2.4), of these the first.

        :param realm: str, compared without regard to case.
        :param proxy: look into Proxy-Authorization instead of Authorization.
        :raises ParseError: a Digest header before the match breaks the grammar. Other schemes and
            realms are passed over.
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

    def reply(self, int code, str reason not None, headers=()):
        """The whole stateless reply, bytes (RFC 3261, 8.2.6 and 8.2.7); b"" where none may be sent.

        All Via in order, the top one with received and rport; From; To with a tag that is the same
        for a retransmission; Call-ID; CSeq; `headers`; Content-Length: 0. An ACK is never answered.

        :param code: 100 to 699. :param headers: pairs (name, value) of str.
        :raises ConfigError: a code out of range, a name that is no token, or a CR, LF or other control
            character in the rest.
        """
        cdef list kept = []     # names and values in turn, whose bytes are borrowed while we write
        cdef Span phrase, span, host, value_span
        cdef size_t room
        cdef uint8_t small[4096]
        cdef uint8_t *out = small
        cdef uint8_t *q
        cdef Py_ssize_t i
        cdef int port = 0
        cdef bytes made
        if not 100 <= code <= 699:
            raise ConfigError(f"code {code}: expected 100 to 699")
        _reason_kept = borrow(reason, &phrase, "reason")
        if has_control(phrase):
            raise ConfigError("reason and headers of a reply take no control characters")
        host.p = NULL
        host.n = 0
        if self.source is not None:
            span_of(self.source[0], &host, "source")
            port = self.source[1]
        room = reply_room(&self.m, phrase, host)
        for name, value in headers:
            kept.append(borrow(name, &span, "header name"))
            if span.n == 0 or ad_skip_class(span.p, span.p + span.n, AD_TOKEN) != span.p + span.n:
                raise ConfigError(f"header name {name!r}: not a token of RFC 3261, 25.1")
            room += span.n + 4
            kept.append(borrow(value, &span, "header value"))
            if has_control(span):
                raise ConfigError("reason and headers of a reply take no control characters")
            room += span.n
        if not can_reply(&self.m):
            return b""
        if room > sizeof(small):
            out = <uint8_t *>malloc(room)
            if out == NULL:
                raise MemoryError()
        q = put_reply_start(out, &self.m, code, phrase, host, port, self.fingerprint()[1])
        for i in range(0, len(kept), 2):
            span_of(kept[i], &span, "header name")
            span_of(kept[i + 1], &value_span, "header value")
            q = put_reply_header(q, span, value_span)
        q = put_reply_end(q)
        made = PyBytes_FromStringAndSize(<const char *>out, q - out)
        if out != small:
            free(out)
        return made

    def __repr__(self):
        return f"<SipRequest {self.method} {shown(&self.m.request_uri)} call_id={self.call_id!r}>"


cdef inline bint has_control(Span s) noexcept nogil:
    return ad_find_control(s.p, s.p + s.n) != s.p + s.n


cdef str unfolded(Span value):
    """A header's value with each fold as one space (RFC 3261, 7.3.1)."""
    cdef str text = text_of(value)
    if "\n" not in text:
        return text
    parts = [part.strip(" \t") for part in text.split("\r\n")]
    return " ".join(part for part in parts if part)


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
