"""A SIP request: header fields found once, URIs, and stateless replies (RFC 3261).

Grammar (RFC 3261, 25.1), as far as a gatekeeper needs it::

    Request        = *CRLF Request-Line *( header CRLF ) CRLF [ body ]
    Request-Line   = Method SP Request-URI SP "SIP/2.0" CRLF
    header         = token *( SP / HTAB ) ":" value     a line that starts with SP or HTAB goes on
    SIP-URI        = ( "sip" / "sips" ) ":" [ user [ ":" password ] "@" ] host [ ":" port ]
                     *( ";" param ) [ "?" headers ]
    From, To       = ( name-addr / addr-spec ) *( ";" token [ "=" value ] )
    Via            = 1#( "SIP" "/" "2.0" "/" token LWS host [ ":" port ] *( ";" param ) )
    CSeq           = 1*DIGIT LWS Method

What breaks it is refused, with these exceptions, which senders in the field need: a missing
Max-Forwards (RFC 2543), "_" in a host, empty lines before the Request-Line (keep-alives). A missing
From or To is reported by those who need it. Header fields of no concern to us are not judged.

Parsing is one pass over the bytes that fills spans; a Python object is made when one is asked for.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from auth_diameter._core.chars cimport (
    AD_HOST, AD_TOKEN, ad_copy, ad_find_control, ad_is, ad_skip_class, is_lws, is_word, skip_byte, skip_lws,
    take_class, take_quoted,
)
from auth_diameter._core.digest cimport (
    OK, OTHER_SCHEME, Credentials, DigestFields, new_credentials, parse_credentials, parse_error, realm_is,
)
from auth_diameter._core.fields cimport (
    AUTHORIZATION, CALL_ID, CONTENT_LENGTH, CSEQ, FROM, HEADER_COUNT, HEADER_OTHER, MAX_FORWARDS,
    PROXY_AUTHORIZATION, TO, VIA, Header, TopVia, header_of, take_name_addr, take_via,
)
from auth_diameter._core.hex cimport ad_put_hex
from auth_diameter._core.md5 cimport ad_md5_final, ad_md5_init, ad_md5_stream, ad_md5_update
from auth_diameter._core.span cimport Reader, Span, between, equal_nocase
from auth_diameter._core.text cimport borrow, span_of, text_of
from auth_diameter._core.uri cimport SipUri, Uri, take_number, take_uri

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


# Makes To-tags that nobody else can foresee, and the same for a retransmission (RFC 3261, 8.2.6.2).
cdef bytes _tag_secret = os.urandom(16)
cdef const uint8_t *_tag_key = <const uint8_t *>PyBytes_AS_STRING(_tag_secret)


@cython.final
@cython.freelist(256)
@cython.no_gc  # it holds no object that could hold it
cdef class SipRequest:
    """A SIP request, read once; immutable but for the mark that an authorize call leaves.

    :param data: the whole request, bytes-like, of up to 65,535 bytes. Bytes beyond Content-Length
        are ignored, as RFC 3261, 18.3 wants it of a datagram.
    :param source: (host, port) that it came from, for the Via of replies (RFC 3261, 18.2.1;
        RFC 3581) and for ``$si`` and ``$sp``; None if not known.
    :raises ConfigError: a source that is not an address and a port up to 65535.
    :raises ParseError: RFC 3261 forbids what stands at ``offset``; ``.header`` names the field and
        ``.request`` can still make a reply where one can be addressed.
    """

    def __cinit__(self):
        cdef int i
        self.lines = self.inline_lines
        self.line_room = INLINE_LINES
        for i in range(HEADER_COUNT):
            self.first[i] = -1

    def __dealloc__(self):
        if self.lines != self.inline_lines:
            free(self.lines)

    def __init__(self, data, source=None):
        if self.data is not None:
            raise TypeError("a SipRequest is read once")    # its spans point into the first bytes
        self.data = data if type(data) is bytes else bytes(memoryview(data))
        self.start = <const uint8_t *>PyBytes_AS_STRING(self.data)
        self.size = <size_t>PyBytes_GET_SIZE(self.data)
        if source is not None:
            self.source = address_of(source)
        if not self.parse():
            raise self.refusal()

    cdef object refusal(self):
        cdef str header = _HEADER_NAMES.get(self.error_header)
        cdef str reason = self.error.decode("ascii")
        return ParseError(
            f"{header}: {reason}" if header else reason, self.error_at, header=header, status=self.error_status,
            request=self if self.method_span.n and self.first[VIA] >= 0 else None)

    # ------------------------------------------------------------------ parsing

    cdef void fail(self, const char *reason, const uint8_t *at, Header header) noexcept nogil:
        """Remembers the first thing that is wrong."""
        if self.error == NULL:
            self.error = reason
            self.error_at = <size_t>(at - self.start)
            self.error_header = header
            self.error_status = 400

    cdef bint parse(self) noexcept nogil:
        """The whole of `data`. After an error the lines are still split, so that a reply can be made."""
        cdef const uint8_t *p = self.start
        cdef const uint8_t *end = p + self.size
        cdef const uint8_t *line_end
        cdef Reader r
        cdef Span uri, version
        if not end - p <= MAX_MESSAGE:
            self.fail("more than 65535 bytes", p + MAX_MESSAGE, HEADER_OTHER)
            return False
        # RFC 3261, 7.5: empty lines before the start-line are ignored.
        while 2 <= end - p and p[0] == 13 and p[1] == 10:
            p += 2
        line_end = ad_find_control(p, end)
        r.p = p
        r.end = line_end
        if not take_class(&r, AD_TOKEN, &self.method_span) or r.p == r.end or r.p[0] != 32:
            if (r.p < r.end and r.p[0] == 47 and is_word(self.method_span, "SIP", 3)):
                self.fail("a response, not a request", p, HEADER_OTHER)
            else:
                self.fail("a method and a space expected", r.p, HEADER_OTHER)
            self.method_span.n = 0      # nothing to be answered
            return False
        uri.p = r.p + 1
        while r.end > uri.p and (r.end - 1)[0] == 32:
            r.end -= 1      # RFC 4475, 3.1.2.10
        if r.end != line_end:
            self.fail("a space at the end of the Request-Line", r.end, HEADER_OTHER)
        # The Request-URI ends at the last space: what stands between the first two may hold one
        # (RFC 4475, 3.1.2.8), which is then an error of the URI.
        version.p = r.end
        while version.p > uri.p and (version.p - 1)[0] != 32:
            version.p -= 1
        version.n = <size_t>(r.end - version.p)
        if not 2 <= end - line_end or line_end[0] != 13 or line_end[1] != 10:
            self.fail("CRLF expected at the end of the Request-Line", line_end, HEADER_OTHER)
            return False
        if version.p == uri.p or not 4 <= version.n or not is_word(Span(version.p, 4), "SIP/", 4):
            self.fail("SIP-Version expected at the end of the Request-Line", version.p, HEADER_OTHER)
            self.method_span.n = 0
            return False
        if not is_word(version, "SIP/2.0", 7):
            if self.error == NULL:
                self.fail("SIP-Version is not SIP/2.0", version.p, HEADER_OTHER)
                self.error_status = 505
        r.p = uri.p
        r.end = version.p - 1
        if not take_uri(&r, False, True, &self.request_uri_) or r.p != r.end:
            self.fail("Request-URI: not as RFC 3261, 19.1 has it", r.p, HEADER_OTHER)
            memset(&self.request_uri_, 0, sizeof(SipUri))
        self.method_id = method_of(self.method_span)
        if self.parse_lines(line_end + 2, end) != 0:
            return False
        self.check_fields()
        return self.error == NULL

    cdef int parse_lines(self, const uint8_t *p, const uint8_t *end) noexcept nogil:
        """Splits header fields up to the empty line and sets the body. 0, or -1 if that never came."""
        cdef const uint8_t *start
        cdef const uint8_t *hit
        cdef Span name, value
        cdef bint good
        while True:
            if p == end:
                self.fail("the empty line after the header fields is missing", p, HEADER_OTHER)
                return -1
            if p[0] == 13 and 2 <= end - p and p[1] == 10:
                self.body_ = between(p + 2, end)
                return 0
            start = p
            p = ad_skip_class(p, end, AD_TOKEN)
            name = between(start, p)
            while p < end and (p[0] == 32 or p[0] == 9):
                p += 1
            good = name.n > 0 and p < end and p[0] == 58
            if not good:
                self.fail("a header field's name and ':' expected", p if name.n else start, HEADER_OTHER)
            else:
                p += 1
            while p < end and (p[0] == 32 or p[0] == 9):
                p += 1
            value.p = p
            while True:
                hit = ad_find_control(p, end)
                if 2 <= end - hit and hit[0] == 13 and hit[1] == 10:
                    if 3 <= end - hit and (hit[2] == 32 or hit[2] == 9):
                        p = hit + 3     # a fold: the value goes on
                        continue
                    break
                if hit == end:
                    self.fail("CRLF expected at the end of a header field", hit, HEADER_OTHER)
                    return -1
                # A quoted-pair may hold a control character (RFC 3261, 25.1); CR and LF may not be in one.
                if hit[0] == 13 or hit[0] == 10 or hit == value.p or (hit - 1)[0] != 92:
                    self.fail("a control character in a header field", hit, HEADER_OTHER)
                    good = False
                p = hit + 1
            p = hit + 2
            if not good:
                continue
            while hit > value.p and is_lws((hit - 1)[0]):
                hit -= 1
            while value.p < hit and is_lws(value.p[0]):
                value.p += 1
            value.n = <size_t>(hit - value.p)
            if self.add_line(name, value) != 0:
                self.fail("more than 256 header fields", start, HEADER_OTHER)
                return -1

    cdef int add_line(self, Span name, Span value) noexcept nogil:
        cdef Line *more
        cdef Line *line
        cdef int room
        if self.line_count == self.line_room:
            room = MAX_LINES if self.line_room < MAX_LINES else 0
            more = <Line *>malloc(room * sizeof(Line)) if room else NULL
            if more == NULL:
                return -1
            memcpy(more, self.lines, self.line_count * sizeof(Line))
            self.lines = more
            self.line_room = room
        line = &self.lines[self.line_count]
        line.name = name
        line.value = value
        line.id = header_of(name)
        if line.id != HEADER_OTHER:
            if self.first[line.id] < 0:
                self.first[line.id] = self.line_count
            elif line.id != VIA and line.id != AUTHORIZATION and line.id != PROXY_AUTHORIZATION:
                self.fail("given twice", name.p, line.id)
        self.line_count += 1
        return 0

    cdef void check_fields(self) noexcept nogil:
        """The header fields that decisions and replies are made from."""
        cdef Reader r
        cdef Span value, word
        cdef TopVia via
        cdef uint32_t number
        cdef int i
        cdef bint more
        if self.first[VIA] < 0 or self.first[CALL_ID] < 0 or self.first[CSEQ] < 0:
            # RFC 3261, 8.1.1
            self.fail("Via, Call-ID or CSeq missing", self.body_.p, HEADER_OTHER)
            if self.first[VIA] < 0:
                return
        for i in range(self.first[VIA], self.line_count):
            if self.lines[i].id != VIA:
                continue
            value = self.lines[i].value
            r.p = value.p
            r.end = value.p + value.n
            more = True
            while more:
                more = take_via(&r, &via)
                if not more:
                    self.fail("not as RFC 3261, 20.42 has it", r.p, VIA)
                    return
                if self.via.protocol_and_host.p == NULL:
                    self.via = via
                    self.via.rest = between(r.p, r.end)
                if r.p == r.end:
                    break
                r.p += 1
        if self.first[CALL_ID] >= 0:
            value = self.lines[self.first[CALL_ID]].value
            self.call_id_ = value
            more = value.n > 0
            for i in range(<int>value.n):
                more = more and value.p[i] > 32
            if not more:
                self.fail("not a word", value.p, CALL_ID)
        if self.first[CSEQ] >= 0:
            value = self.lines[self.first[CSEQ]].value
            r.p = value.p
            r.end = value.p + value.n
            # RFC 3261, 8.1.1.5: less than 2**31
            if not take_number(&r, 0x7FFFFFFF, &self.cseq_number) or r.p == r.end or not is_lws(r.p[0]):
                self.fail("a number below 2**31 expected", r.p, CSEQ)
            else:
                skip_lws(&r)
                word = between(r.p, r.end)
                if word.n != self.method_span.n or not memcmp(word.p, self.method_span.p, word.n) == 0:
                    self.fail("its method is not that of the Request-Line", r.p, CSEQ)
        if self.first[MAX_FORWARDS] >= 0:
            value = self.lines[self.first[MAX_FORWARDS]].value
            r.p = value.p
            r.end = value.p + value.n
            if not take_number(&r, 255, &number) or r.p != r.end:
                self.fail("a number up to 255 expected", r.p, MAX_FORWARDS)
        if self.first[CONTENT_LENGTH] >= 0:
            value = self.lines[self.first[CONTENT_LENGTH]].value
            r.p = value.p
            r.end = value.p + value.n
            if not take_number(&r, MAX_MESSAGE, &number) or r.p != r.end:
                self.fail("a number up to 65535 expected", r.p, CONTENT_LENGTH)
            elif not number <= self.body_.n:
                self.fail("more than the bytes that came", value.p, CONTENT_LENGTH)
            else:
                self.body_.n = number
        self.check_party(FROM, &self.from_, &self.from_tag)
        self.check_party(TO, &self.to_, &self.to_tag)

    cdef void check_party(self, Header header, SipUri *uri, Span *tag) noexcept nogil:
        cdef Reader r
        cdef Span value
        if self.first[header] < 0:
            return
        value = self.lines[self.first[header]].value
        r.p = value.p
        r.end = value.p + value.n
        if not take_name_addr(&r, uri, tag):
            memset(uri, 0, sizeof(SipUri))
            self.fail("not a name-addr or addr-spec of RFC 3261, 25.1", r.p, header)

    # ------------------------------------------------------------------ what it says

    @property
    def method(self):
        return text_of(self.method_span)

    @property
    def is_register(self):
        """Whether it is a REGISTER, whose user is that of To (RFC 3261, 10.2)."""
        return self.method_id == METHOD_REGISTER

    @property
    def is_ack_or_cancel(self):
        """Whether it must not be challenged (RFC 3261, 22.1)."""
        return self.method_id == METHOD_ACK or self.method_id == METHOD_CANCEL

    @property
    def request_uri(self):
        return text_of(self.request_uri_.text) if self.request_uri_.text.p != NULL else None

    @property
    def from_uri(self):
        """The URI of From without name and header parameters; None where From is missing."""
        return text_of(self.from_.text) if self.from_.text.p != NULL else None

    @property
    def to_uri(self):
        """The URI of To without name and header parameters; None where To is missing."""
        return text_of(self.to_.text) if self.to_.text.p != NULL else None

    @property
    def call_id(self):
        return text_of(self.call_id_)

    @property
    def cseq(self):
        """The number of CSeq, int; its method is always that of the request."""
        return self.cseq_number

    @property
    def body(self):
        return self.body_.p[:self.body_.n] if self.body_.n else b""

    @property
    def data_size(self):
        """How many bytes came, int."""
        return self.size

    @property
    def from_host(self):
        return text_of(self.from_.host) if self.from_.host.n else None

    @property
    def to_host(self):
        return text_of(self.to_.host) if self.to_.host.n else None

    @property
    def request_host(self):
        return text_of(self.request_uri_.host) if self.request_uri_.host.n else None

    def uri(self, str part not None):
        """The URI of "request", "from" or "to" in its parts, as `Uri`; None where it is missing."""
        cdef Uri made = Uri.__new__(Uri)
        if part == "request":
            made.uri = self.request_uri_
        elif part == "from":
            made.uri = self.from_
        elif part == "to":
            made.uri = self.to_
        else:
            raise ConfigError(f"part {part!r}: expected request, from or to")
        made.data = self.data
        return made if made.uri.text.p != NULL else None

    def tag(self, str part not None):
        """The tag of "from" or "to", str; None where there is none."""
        cdef Span tag
        if part not in ("from", "to"):
            raise ConfigError(f"part {part!r}: expected from or to")
        tag = self.from_tag if part == "from" else self.to_tag
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
        for i in range(self.line_count):
            if equal_nocase(self.lines[i].name, long_span) or equal_nocase(self.lines[i].name, compact_span):
                found.append(unfolded(self.lines[i].value))
                if once:
                    break
        return found

    # ------------------------------------------------------------------ credentials

    def credentials(self, realm, bint proxy=False):
        """The first Digest credentials for `realm` (RFC 3261, 22.2 and 22.3); None where none match.

        :param realm: str, compared without regard to case.
        :param proxy: look into Proxy-Authorization instead of Authorization.
        :raises ParseError: a Digest header before the match breaks the grammar. Other schemes and
            realms are passed over.
        """
        cdef Header header = PROXY_AUTHORIZATION if proxy else AUTHORIZATION
        cdef Span wanted, value
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef int i, status
        if self.first[header] < 0:
            return None
        _kept = borrow(realm, &wanted, "realm")
        for i in range(self.first[header], self.line_count):
            if self.lines[i].id != header:
                continue
            value = self.lines[i].value
            status = parse_credentials(value, &fields, &offset)
            if status == OTHER_SCHEME:
                continue
            if status != OK:
                offset += <size_t>(value.p - self.start)
                error = parse_error(status, offset, _HEADER_NAMES[header])
                error.header = _HEADER_NAMES[header]
                error.request = self
                raise error
            if realm_is(&fields, wanted):
                return new_credentials(self.data, &fields)
        return None

    def mark_authorized(self, Credentials credentials not None, bint proxy=False):
        """Notes that DISC found these credentials right; a group check for "Credentials" reads it."""
        if proxy:
            self.marked_proxy = credentials
        else:
            self.marked_www = credentials

    @property
    def authorized(self):
        """The credentials that were found right, those of Authorization first; None before that."""
        return self.marked_www if self.marked_www is not None else self.marked_proxy

    # ------------------------------------------------------------------ replies

    @property
    def reply_address(self):
        """(host, port) that replies go to (RFC 3261, 18.2.2; RFC 3581, 4); None without a source.

        Always the address the request came from, whatever maddr or received claim, so that no reply
        can be aimed at a third party.
        """
        if self.source is None:
            return None
        if self.via.has_rport or self.via.protocol_and_host.p == NULL:
            return self.source
        return (self.source[0], self.via.port or 5060)

    def reply(self, int code, str reason not None, headers=()):
        """The whole stateless reply, bytes (RFC 3261, 8.2.6 and 8.2.7); b"" where none may be sent.

        All Via in order, the top one with received and rport; From; To with a tag that is the same
        for a retransmission; Call-ID; CSeq; `headers`; Content-Length: 0. An ACK is never answered.

        :param code: 100 to 699. :param headers: pairs (name, value) of str.
        :raises ConfigError: a code out of range, a name that is no token, or a CR, LF or other control
            character in the rest.
        """
        cdef list kept = []     # names and values in turn, whose bytes are borrowed while we write
        cdef Span phrase, span
        cdef size_t room = 0
        if not 100 <= code <= 699:
            raise ConfigError(f"code {code}: expected 100 to 699")
        _reason_kept = borrow(reason, &phrase, "reason")
        for name, value in headers:
            kept.append(borrow(name, &span, "header name"))
            if span.n == 0 or ad_skip_class(span.p, span.p + span.n, AD_TOKEN) != span.p + span.n:
                raise ConfigError(f"header name {name!r}: not a token of RFC 3261, 25.1")
            room += span.n + 4
            kept.append(borrow(value, &span, "header value"))
            if ad_find_control(span.p, span.p + span.n) != span.p + span.n:
                raise ConfigError("reason and headers of a reply take no control characters")
            room += span.n
        if ad_find_control(phrase.p, phrase.p + phrase.n) != phrase.p + phrase.n:
            raise ConfigError("reason and headers of a reply take no control characters")
        return self.render_reply(code, phrase, kept, room + 256 + phrase.n)

    cdef bytes render_reply(self, int code, Span reason, list headers, size_t room):
        """The reply; `headers` are names and values in turn, and `room` has space for them."""
        cdef uint8_t small[4096]
        cdef uint8_t *out = small
        cdef uint8_t *q
        cdef int i
        cdef Line *line
        cdef Span host, name, value
        cdef bytes made
        host.p = NULL
        host.n = 0
        if self.method_id == METHOD_ACK or self.method_span.n == 0 or self.first[VIA] < 0:
            return b""
        if self.source is not None:
            span_of(self.source[0], &host, "source")
            room += host.n
        for i in range(self.line_count):
            if self.lines[i].id != HEADER_OTHER:
                room += self.lines[i].value.n + 16
        if room > sizeof(small):
            out = <uint8_t *>malloc(room)
            if out == NULL:
                raise MemoryError()
        q = put(out, b"SIP/2.0 ", 8)
        q[0] = 48 + code // 100
        q[1] = 48 + code // 10 % 10
        q[2] = 48 + code % 10
        q[3] = 32
        q = put_line(q + 4, reason)
        for i in range(self.first[VIA], self.line_count):
            line = &self.lines[i]
            if line.id == VIA:
                q = put(q, b"Via: ", 5)
                if i == self.first[VIA] and host.n and self.via.protocol_and_host.p != NULL:
                    q = self.put_top_via(q, host, self.source[1])
                else:
                    q = put(q, line.value.p, line.value.n)
                q = put(q, b"\r\n", 2)
        if self.first[FROM] >= 0:
            q = put_line(put(q, b"From: ", 6), self.lines[self.first[FROM]].value)
        if self.first[TO] >= 0:
            line = &self.lines[self.first[TO]]
            q = put(put(q, b"To: ", 4), line.value.p, line.value.n)
            if self.to_tag.p == NULL and code > 100 and self.to_.text.p != NULL:
                q = self.put_tag(put(q, b";tag=", 5))
            q = put(q, b"\r\n", 2)
        if self.first[CALL_ID] >= 0:
            q = put_line(put(q, b"Call-ID: ", 9), self.lines[self.first[CALL_ID]].value)
        if self.first[CSEQ] >= 0:
            q = put_line(put(q, b"CSeq: ", 6), self.lines[self.first[CSEQ]].value)
        for i in range(0, len(headers), 2):
            span_of(headers[i], &name, "header name")
            span_of(headers[i + 1], &value, "header value")
            q = put_line(put(put(q, name.p, name.n), b": ", 2), value)
        q = put(q, b"Content-Length: 0\r\n\r\n", 21)
        made = PyBytes_FromStringAndSize(<const char *>out, q - out)
        if out != small:
            free(out)
        return made

    cdef uint8_t *put_top_via(self, uint8_t *q, Span source_host, int source_port) noexcept:
        """The top via-parm with our received and rport in place of any that the sender claims."""
        cdef Reader r
        cdef Span name, value
        cdef const uint8_t *start
        cdef uint8_t digits[8]
        cdef int n = 0
        q = put(q, self.via.protocol_and_host.p, self.via.protocol_and_host.n)
        r.p = self.via.params.p
        r.end = r.p + self.via.params.n
        while r.p < r.end:
            start = r.p
            skip_byte(&r, 59)
            take_class(&r, AD_TOKEN, &name)
            while r.p < r.end and r.p[0] != 59:
                if r.p[0] == 34:
                    take_quoted(&r, &value)
                else:
                    r.p += 1
            if not is_word(name, "received", 8) and not is_word(name, "rport", 5):
                q = put(q, start, <size_t>(r.p - start))
        if self.via.has_rport:
            q = put(q, b";rport=", 7)
            while source_port or n == 0:
                digits[n] = 48 + source_port % 10
                source_port //= 10
                n += 1
            while n:
                n -= 1
                q[0] = digits[n]
                q += 1
        if self.via.has_rport or not same_host(self.via.host, source_host):
            q = put(put(q, b";received=", 10), source_host.p, source_host.n)
        return put(q, self.via.rest.p, self.via.rest.n)

    cdef uint8_t *put_tag(self, uint8_t *q) noexcept nogil:
        """16 hexadecimal digits from what a retransmission repeats: branch, Call-ID and CSeq."""
        cdef ad_md5_stream stream
        cdef uint8_t digest[16]
        cdef uint8_t tag[32]
        ad_md5_init(&stream)
        ad_md5_update(&stream, _tag_key, 16)
        ad_md5_update(&stream, self.via.branch.p, self.via.branch.n)
        ad_md5_update(&stream, self.call_id_.p, self.call_id_.n)
        ad_md5_update(&stream, &self.cseq_number, 4)
        ad_md5_final(&stream, digest)
        ad_put_hex(tag, digest)
        memcpy(q, tag, 16)      # half of it is enough: RFC 3261, 19.3 asks for 32 bits
        return q + 16

    def __repr__(self):
        return f"<SipRequest {self.method} {self.request_uri} call_id={self.call_id!r}>"


cdef Method method_of(Span name) noexcept nogil:
    """Methods are case-sensitive (RFC 3261, 7.1)."""
    if name.n == 8 and memcmp(name.p, b"REGISTER", 8) == 0:
        return METHOD_REGISTER
    if name.n == 6 and memcmp(name.p, b"INVITE", 6) == 0:
        return METHOD_INVITE
    if name.n == 6 and memcmp(name.p, b"CANCEL", 6) == 0:
        return METHOD_CANCEL
    if name.n == 3 and memcmp(name.p, b"ACK", 3) == 0:
        return METHOD_ACK
    return METHOD_OTHER


cdef str unfolded(Span value):
    """A header's value with each fold as one space (RFC 3261, 7.3.1)."""
    cdef str text = text_of(value)
    if "\n" not in text:
        return text
    parts = [part.strip(" \t") for part in text.split("\r\n")]
    return " ".join(part for part in parts if part)


cdef tuple address_of(object source):
    """(host, port) of a socket's address, of which IPv6 has four parts; replies repeat it."""
    cdef tuple parts = tuple(source)
    cdef Span host
    cdef size_t i
    if len(parts) < 2:
        raise ConfigError(f"source {source!r}: expected (host, port)")
    if len(parts) != 2 or type(parts[0]) is not str or type(parts[1]) is not int:
        parts = (str(parts[0]), int(parts[1]))
    if not 0 <= parts[1] <= 65535:
        raise ConfigError(f"source {source!r}: expected a port up to 65535")
    _kept = borrow(parts[0], &host, "source")
    for i in range(host.n):
        # A name or an address, of IPv6 with brackets or a zone perhaps.
        if not ad_is(host.p[i], AD_HOST) and host.p[i] not in b":%[]":
            raise ConfigError(f"source {source!r}: expected the address of a host")
    return parts


cdef inline bint same_host(Span a, Span b) noexcept nogil:
    """The sent-by host against an address; an IPv6 address stands in brackets there only."""
    if a.n >= 2 and a.p[0] == 91:
        a.p += 1
        a.n -= 2
    return equal_nocase(a, b)


cdef inline uint8_t *put(uint8_t *q, const void *p, size_t n) noexcept nogil:
    ad_copy(q, <const uint8_t *>p, n)
    return q + n


cdef inline uint8_t *put_line(uint8_t *q, Span s) noexcept nogil:
    return put(put(q, s.p, s.n), b"\r\n", 2)
