"""A SIP request on the wire: its header fields, found once, and its URIs (RFC 3261).

Grammar (RFC 3261, 25.1), as far as a gatekeeper needs it::

    Request        = *CRLF Request-Line *( header CRLF ) CRLF [ body ]
    Request-Line   = Method SP Request-URI SP "SIP/2.0" CRLF
    header         = token *( SP / HTAB ) ":" value     a line that starts with SP or HTAB goes on
    SIP-URI        = ( "sip" / "sips" ) ":" [ user [ ":" password ] "@" ] host [ ":" port ]
                     *( ";" param ) [ "?" headers ]
    From, To       = ( name-addr / addr-spec ) *( ";" token [ "=" value ] )
    Via            = 1#( "SIP" "/" "2.0" "/" token LWS host [ ":" port ] *( ";" param ) )
    CSeq           = 1*DIGIT LWS Method

Senders in the field need these exceptions: a missing Max-Forwards (RFC 2543), "_" in a host, "#" in a user
part, anything but quotes in an unquoted display name, empty lines before the Request-Line (keep-alives). A
missing From or To is reported by the code that needs it. Other header fields are not checked.

Parsing is one pass over the bytes that fills spans.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from auth_diameter._core.base.chars cimport (
    AD_TOKEN, ad_find_control, ad_skip_class, is_lws, is_word, skip_lws, take_class, trim,
)
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, AlgorithmIndex
from auth_diameter._core.digest.credentials cimport (
    answers_nothing, check_credentials, is_for_realm, is_of_other_realm,
)
from auth_diameter._core.digest.params cimport OK, OTHER_SCHEME, REALM, DigestFields, parse_params
from auth_diameter._core.sip.fields cimport (
    CALL_ID, CONTENT_LENGTH, CSEQ, FROM, HEADER_COUNT, HEADER_OTHER, MAX_FORWARDS, PARTY, TO, VIA, Address, Header,
    TopVia, header_of, is_once, take_address, take_via,
)
from auth_diameter._core.base.lines cimport AD_LINES, ad_line, ad_split_lines
from auth_diameter._core.base.span cimport Reader, Span, between, reader_of
from auth_diameter._core.base.text cimport span_of_bytes
from auth_diameter._core.base.vectors cimport SCAN_BYTES, SCAN_VECTORS, Scan, ad_has_vectors, best_scan
from auth_diameter._core.sip.uri cimport URI_OF_REQUEST, SipUri, take_number, take_uri


cdef void fail(SipMessage *m, const char *reason, const uint8_t *at, Header header) noexcept nogil:
    """Keeps the first error."""
    if m.error == NULL:
        m.error = reason
        m.error_at = <size_t>(at - m.start)
        m.error_header = header
        m.error_status = 400


cdef bint parse_request(SipMessage *m, const uint8_t *data, size_t n, size_t max_size,
                        int max_lines) noexcept nogil:
    """Parses a request of `n` bytes at `data`.

    `m` was cleared before, stays in place, and goes to `release_request` in the end. After an error the
    header fields are still split, so that a reply can be made.

    Returns:
        Whether it is a request by RFC 3261; if not, `m.error` is the reason.
    """
    return parse_request_by(m, data, n, max_size, max_lines, best_scan())


cdef bint parse_request_by(SipMessage *m, const uint8_t *data, size_t n, size_t max_size, int max_lines,
                           Scan scan) noexcept nogil:
    """The same, with header fields split in a way that the caller chooses; the machine must have it."""
    cdef const uint8_t *p = data
    cdef const uint8_t *end = data + n
    cdef int i
    m.start = data
    m.size = n
    m.lines = m.inline_lines
    m.line_room = INLINE_LINES if INLINE_LINES < max_lines else max_lines
    m.max_lines = max_lines
    for i in range(HEADER_COUNT):
        m.first[i] = -1
    if not n <= max_size:
        fail(m, "more bytes than the limit", p + max_size, HEADER_OTHER)
        m.error_limit = max_size
        return False
    # RFC 3261, 7.5: empty lines before the start-line are ignored.
    while 2 <= end - p and p[0] == c'\r' and p[1] == c'\n':
        p += 2
    p = parse_request_line(m, p, end)
    if p == NULL or not parse_lines(m, p, end, scan):
        return False
    check_fields(m)
    return m.error == NULL


cdef inline const uint8_t *parse_request_line(SipMessage *m, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Method SP Request-URI SP SIP-Version CRLF (RFC 3261, 25.1).

    Returns:
        The start of the header fields; NULL if it cannot be known.
    """
    cdef const uint8_t *line_end = ad_find_control(p, end)
    cdef Reader r
    cdef Span uri, version
    r.p = p
    r.end = line_end
    if not take_class(&r, AD_TOKEN, &m.method_name) or r.p == r.end or r.p[0] != c' ':
        if r.p < r.end and r.p[0] == c'/' and is_word(m.method_name, "SIP", 3):
            fail(m, "a response, not a request", p, HEADER_OTHER)
        else:
            fail(m, "a method and a space expected", r.p, HEADER_OTHER)
        m.method_name.n = 0      # no reply
        return NULL
    uri.p = r.p + 1
    while r.end > uri.p and (r.end - 1)[0] == c' ':
        r.end -= 1      # RFC 4475, 3.1.2.10
    if r.end != line_end:
        fail(m, "a space at the end of the Request-Line", r.end, HEADER_OTHER)
    # The Request-URI ends at the last space. A space in the URI itself (RFC 4475, 3.1.2.8) is then an
    # error of the URI.
    version.p = r.end
    if 8 <= r.end - uri.p and memcmp(r.end - 8, b" SIP/2.0", 8) == 0:   # as nearly all write it
        version.p = r.end - 7
    while version.p > uri.p and (version.p - 1)[0] != c' ':
        version.p -= 1
    version.n = <size_t>(r.end - version.p)
    if not 2 <= end - line_end or line_end[0] != c'\r' or line_end[1] != c'\n':
        fail(m, "CRLF expected at the end of the Request-Line", line_end, HEADER_OTHER)
        return NULL
    if version.p == uri.p or not 4 <= version.n or not is_word(Span(version.p, 4), "SIP/", 4):
        fail(m, "SIP-Version expected at the end of the Request-Line", version.p, HEADER_OTHER)
        m.method_name.n = 0
        return NULL
    if not is_word(version, "SIP/2.0", 7) and m.error == NULL:
        fail(m, "SIP-Version is not SIP/2.0", version.p, HEADER_OTHER)
        m.error_status = 505
    r.p = uri.p
    r.end = version.p - 1
    if not take_uri(&r, URI_OF_REQUEST, &m.request_uri) or r.p != r.end:
        fail(m, "Request-URI: not as RFC 3261, 19.1 has it", r.p, HEADER_OTHER)
        memset(&m.request_uri, 0, sizeof(SipUri))
    m.method = method_of(m.method_name)
    return line_end + 2


cdef bint parse_lines(SipMessage *m, const uint8_t *p, const uint8_t *end, Scan scan) noexcept nogil:
    """Splits the header fields and sets the body; False if the empty line between them is missing."""
    cdef ad_line lines[AD_LINES]
    cdef int n = 0, i
    while True:
        if scan == SCAN_VECTORS:
            n = ad_split_lines(&p, end, lines)
            for i in range(n):
                if not keep_line(m, between(lines[i].name, lines[i].name_end),
                                 between(lines[i].value, lines[i].value_end)):
                    return False
        # What the vectors leave, one line of it
        if n < AD_LINES:
            if p == end:
                fail(m, "the empty line after the header fields is missing", p, HEADER_OTHER)
                return False
            if p[0] == c'\r' and 2 <= end - p and p[1] == c'\n':
                m.body = between(p + 2, end)
                return True
            p = parse_line(m, p, end)
            if p == NULL:
                return False


cdef inline const uint8_t *parse_line(SipMessage *m, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """One header field with its folds; a malformed one is passed over.

    Returns:
        The next line; NULL if it cannot be known, or the limit of header fields is reached.
    """
    cdef const uint8_t *start = p
    cdef const uint8_t *value_end
    cdef Span name, value
    cdef bint good
    p = ad_skip_class(p, end, AD_TOKEN)
    name = between(start, p)
    p = skip_blanks(p, end)
    good = name.n > 0 and p < end and p[0] == c':'
    if good:
        p += 1
    else:
        fail(m, "a header field's name and ':' expected", p if name.n else start, HEADER_OTHER)
    value.p = skip_blanks(p, end)
    value_end = find_value_end(m, value.p, end, &good)
    if value_end == NULL:
        return NULL
    if good:
        value.n = <size_t>(value_end - value.p)
        trim(&value)
        if not keep_line(m, name, value):
            return NULL
    return value_end + 2


cdef inline const uint8_t *skip_blanks(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Passes over spaces and tabs."""
    while p < end and (p[0] == c' ' or p[0] == c'\t'):
        p += 1
    return p


cdef inline const uint8_t *find_value_end(SipMessage *m, const uint8_t *start, const uint8_t *end,
                                          bint *good) noexcept nogil:
    """The CRLF that ends the value at `start`, after its folds; NULL if there is none.

    `good` becomes False if the value holds a control character.
    """
    cdef const uint8_t *p = start
    cdef const uint8_t *hit
    while True:
        hit = ad_find_control(p, end)
        if 2 <= end - hit and hit[0] == c'\r' and hit[1] == c'\n':
            if 3 <= end - hit and (hit[2] == c' ' or hit[2] == c'\t'):
                p = hit + 3     # a fold: the value goes on
                continue
            return hit
        if hit == end:
            fail(m, "CRLF expected at the end of a header field", hit, HEADER_OTHER)
            return NULL
        # A quoted-pair may hold a control character (RFC 3261, 25.1); CR and LF may not be in one.
        if hit[0] == c'\r' or hit[0] == c'\n' or hit == start or (hit - 1)[0] != c'\\':
            fail(m, "a control character in a header field", hit, HEADER_OTHER)
            good[0] = False
        p = hit + 1


cdef inline bint keep_line(SipMessage *m, Span name, Span value) noexcept nogil:
    """Appends a header field; False, and an error, if the limit is reached."""
    cdef Header header
    cdef Line *line
    cdef int at = m.line_count
    if at == m.line_room and not make_room(m):
        if m.error == NULL:
            m.error_limit = <size_t>m.max_lines
        fail(m, "more header fields than the limit", name.p, HEADER_OTHER)
        return False
    m.line_count = at + 1
    header = header_of(name)
    line = &m.lines[at]
    line.name = name
    line.value = value
    line.id = header
    if header != HEADER_OTHER:
        m.behind[header] = at + 1
        if m.first[header] < 0:
            m.first[header] = at
        elif is_once(header):
            fail(m, "given twice", name.p, header)
    return True


cdef bint make_room(SipMessage *m) noexcept nogil:
    """Makes room for more header fields; False if the limit is reached."""
    cdef Line *more
    cdef int room
    if m.line_count == m.max_lines:
        return False
    room = m.max_lines if m.max_lines < 8 * m.line_room else 8 * m.line_room
    more = <Line *>malloc(room * sizeof(Line))
    if more == NULL:
        return False
    memcpy(more, m.lines, m.line_count * sizeof(Line))
    release_request(m)
    m.lines = more
    m.line_room = room
    return True


cdef void check_fields(SipMessage *m) noexcept nogil:
    """Checks the header fields that decisions and replies depend on."""
    cdef uint32_t number
    if m.first[VIA] < 0 or m.first[CALL_ID] < 0 or m.first[CSEQ] < 0:
        # RFC 3261, 8.1.1
        fail(m, "Via, Call-ID or CSeq missing", m.body.p, HEADER_OTHER)
        if m.first[VIA] < 0:
            return
    if not check_vias(m):
        return
    if m.first[CALL_ID] >= 0:
        m.call_id = m.lines[m.first[CALL_ID]].value
        if not is_callid(m.call_id):
            fail(m, "not a word", m.call_id.p, CALL_ID)
    check_cseq(m)
    check_number(m, MAX_FORWARDS, 255, "a number up to 255 expected", &number)
    if check_number(m, CONTENT_LENGTH, 0x7FFFFFFF, "a number below 2**31 expected", &number):
        if number <= m.body.n:
            m.body.n = number
        else:
            fail(m, "more than the bytes that came", m.lines[m.first[CONTENT_LENGTH]].value.p, CONTENT_LENGTH)
    check_party(m, FROM, &m.from_, &m.from_tag)
    check_party(m, TO, &m.to, &m.to_tag)


cdef inline bint check_vias(SipMessage *m) noexcept nogil:
    """Checks all Via fields and keeps the first via-parm."""
    cdef Reader r
    cdef TopVia via
    cdef int i
    for i in range(m.first[VIA], m.behind[VIA]):
        if m.lines[i].id != VIA:
            continue
        r = reader_of(m.lines[i].value)
        while True:
            if not take_via(&r, &via):
                fail(m, "not as RFC 3261, 20.42 has it", r.p, VIA)
                return False
            if m.via.protocol_and_host.p == NULL:
                m.via = via
                m.via.rest = between(r.p, r.end)
            if r.p == r.end:
                break
            r.p += 1
    return True


cdef inline bint is_callid(Span s) noexcept nogil:
    """Whether it is not empty and holds no space or control character."""
    cdef const uint8_t *end = s.p + s.n
    cdef const uint8_t *p = ad_skip_class(s.p, end, AD_TOKEN)
    while p < end:
        if p[0] <= c' ':
            return False
        p = ad_skip_class(p + 1, end, AD_TOKEN)
    return s.n > 0


cdef inline void check_cseq(SipMessage *m) noexcept nogil:
    """1*DIGIT LWS Method (RFC 3261, 20.16), the Method that of the Request-Line."""
    cdef Reader r
    cdef Span word
    if m.first[CSEQ] < 0:
        return
    r = reader_of(m.lines[m.first[CSEQ]].value)
    # RFC 3261, 8.1.1.5: less than 2**31
    if not take_number(&r, 0x7FFFFFFF, &m.cseq) or r.p == r.end or not is_lws(r.p[0]):
        fail(m, "a number below 2**31 expected", r.p, CSEQ)
        return
    skip_lws(&r)
    word = between(r.p, r.end)
    if word.n != m.method_name.n or not memcmp(word.p, m.method_name.p, word.n) == 0:
        fail(m, "its method is not that of the Request-Line", r.p, CSEQ)


cdef inline bint check_number(SipMessage *m, Header header, uint32_t most, const char *reason,
                              uint32_t *out) noexcept nogil:
    """Reads a header field that is a number, 1*DIGIT; False if it is missing or malformed."""
    cdef Reader r
    if m.first[header] < 0:
        return False
    r = reader_of(m.lines[m.first[header]].value)
    if take_number(&r, most, out) and r.p == r.end:
        return True
    fail(m, reason, r.p, header)
    return False


cdef void check_party(SipMessage *m, Header header, SipUri *uri, Span *tag) noexcept nogil:
    cdef Reader r
    cdef Address address
    if m.first[header] < 0:
        return
    r = reader_of(m.lines[m.first[header]].value)
    if take_address(&r, PARTY, &address):
        uri[0] = address.uri
        tag[0] = address.tag
    else:
        fail(m, "not a name-addr or addr-spec of RFC 3261, 25.1", r.p, header)


cdef void release_request(SipMessage *m) noexcept nogil:
    """Frees the heap block of a request with many header fields."""
    if m.lines != m.inline_lines:
        free(m.lines)
        m.lines = m.inline_lines


cdef bint same_request(const SipMessage *a, const SipMessage *b) noexcept nogil:
    """Whether two results for the same bytes are the same in every field; for tests of the ways to scan."""
    cdef size_t before = <size_t>(<const char *>&a.lines - <const char *>a)
    cdef const Line *one
    cdef const Line *other
    cdef int i
    if memcmp(a, b, before) != 0 or a.line_count != b.line_count or a.max_lines != b.max_lines:
        return False
    for i in range(a.line_count):
        one = &a.lines[i]
        other = &b.lines[i]
        if one.id != other.id or one.name.p != other.name.p or one.name.n != other.name.n or (
                one.value.p != other.value.p or one.value.n != other.value.n):
            return False
    return True


def is_scan_the_same(bytes data not None, size_t max_size, int max_lines):
    """Whether both ways to split header fields give the same for a request; for tests.

    Args:
        data: the whole request.
        max_size: as SipRequest has it.
        max_lines: the `max_headers` of SipRequest.

    Returns:
        Bool; None where the machine has one way only.
    """
    cdef SipMessage one, other
    cdef Span s = span_of_bytes(data)
    cdef bint same
    if not ad_has_vectors():
        return None
    memset(&one, 0, sizeof(one))
    memset(&other, 0, sizeof(other))
    same = parse_request_by(&one, s.p, s.n, max_size, max_lines, SCAN_BYTES) == parse_request_by(
        &other, s.p, s.n, max_size, max_lines, SCAN_VECTORS) and same_request(&one, &other)
    release_request(&one)
    release_request(&other)
    return same


cdef int find_credentials(const SipMessage *m, Header header, Span realm, DigestFields *out,
                          size_t *offset) noexcept nogil:
    """The Digest credentials for `realm` in the header fields of that name (RFC 3261, 22.2 and 22.3).

    Among several, those with the strongest algorithm (RFC 8760, 2.4), and of these the first. Credentials of
    another scheme or realm are passed over, even malformed ones, and so are those that answer no challenge
    (`answers_nothing`). Malformed credentials for the same realm do not invalidate good ones, in any order:
    they prove nothing, and their sender could have left them out.

    Returns:
        OK; OTHER_SCHEME if there are none; else the negative status of the first malformed ones, with
        `offset` into the request.
    """
    cdef DigestFields another
    cdef DigestFields *fields = out
    cdef Span value
    cdef size_t at = 0
    cdef int i, status, fault = OTHER_SCHEME
    if m.first[header] < 0:
        return OTHER_SCHEME
    for i in range(m.first[header], m.behind[header]):
        if m.lines[i].id != header:
            continue
        value = m.lines[i].value
        status = parse_params(value, fields, &at)
        if status == OTHER_SCHEME or (status != OK and is_of_other_realm(value, realm)):
            continue
        if status == OK and fields.value[REALM].p != NULL and (
                not is_for_realm(fields, realm) or answers_nothing(fields)):
            continue
        if status == OK:
            status = check_credentials(value, fields, &at)
        if status != OK:
            if fault == OTHER_SCHEME:
                fault = status
                offset[0] = at + <size_t>(value.p - m.start)
            continue
        if fields.value[REALM].p == NULL:
            continue    # they are for no realm
        if fields == out:
            fields = &another
        elif strength(another.algorithm) > strength(out.algorithm):
            out[0] = another
    return fault if fields == out else OK


cdef inline int strength(AlgorithmIndex algorithm) noexcept nogil:
    """The rank of an algorithm; an unknown one is the weakest."""
    return -1 if algorithm == ALGORITHM_UNKNOWN else algorithm


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
