"""Stateless replies to a SIP request (RFC 3261, 8.2.6 and 8.2.7).

`new_reply` checks the arguments and makes the reply. The functions below it write from pointer and length and
touch no Python object; the caller makes the room that `reply_room` names.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from auth_diameter._core.base.chars cimport (
    AD_TOKEN, ad_copy, ad_find_control, ad_skip_class, is_word, skip_byte, take_class, take_quoted,
)
from auth_diameter._core.base.hex cimport ad_put_hex
from auth_diameter._core.base.span cimport Reader, Span, equal_nocase, reader_of
from auth_diameter._core.base.text cimport PyUnicode_IS_ASCII, as_bytes, borrow, span_of
from auth_diameter._core.sip.fields cimport (
    CALL_ID, CONTENT_LENGTH, CSEQ, FROM, HEADER_OTHER, TO, VIA, Header, header_of,
)
from auth_diameter._core.sip.parse cimport METHOD_ACK, Line, SipMessage

from auth_diameter._core.errors import ConfigError


cdef bytes new_reply(const SipMessage *m, tuple source, uint64_t tag, object code, object reason, object headers,
                     object body):
    """The whole reply; see `SipRequest.reply`.

    Args:
        source: the address the request came from, (host, port, …), or None.
        tag: the tag of To, if the request has none.
    """
    cdef int status = checked_status(code), port = 0
    cdef list kept = []     # names and values in turn; the spans borrow their bytes
    cdef Span phrase, host, body_span
    cdef size_t room
    _reason_kept = line_text(reason, "reason", &phrase)
    if type(body) is not bytes:
        body = as_bytes(body, "body")
    span_of(body, &body_span, "body")
    host.p = NULL
    host.n = 0
    if source is not None:
        span_of(source[0], &host, "source")
        port = source[1]
    room = reply_room(m, phrase, host) + body_span.n + borrow_headers(headers, body_span.n > 0, kept)
    if not can_reply(m):
        return b""
    return write_reply(m, status, phrase, host, port, tag, kept, body_span, room)


cdef int checked_status(object code) except -1:
    """The status code as a C int, checked."""
    cdef int status
    if not isinstance(code, int):
        raise TypeError(f"code: expected int, not {type(code).__name__}")
    try:
        status = code
    except OverflowError:
        status = 0
    if not 100 <= status <= 699:
        raise ConfigError(f"code {code}: expected 100 to 699")
    return status


cdef size_t borrow_headers(object headers, bint has_body, list kept) except? 0:
    """Checks the caller's header fields and appends names and values in turn to `kept`.

    Returns:
        Bytes that they take in the reply.
    """
    cdef Span name, value
    cdef size_t room = 0
    cdef bint typed = False
    if isinstance(headers, dict):
        headers = headers.items()
    for pair in headers:
        if type(pair) is not tuple and type(pair) is not list or len(pair) != 2:
            raise ConfigError("headers: expected pairs (name, value)")
        kept.append(line_text(pair[0], "header name", &name))
        if name.n == 0 or ad_skip_class(name.p, name.p + name.n, AD_TOKEN) != name.p + name.n:
            raise ConfigError(f"header name {pair[0]!r}: not a token of RFC 3261, 25.1")
        if is_copied(header_of(name)):
            raise ConfigError(f"header {pair[0]!r}: reply() sets it itself (RFC 3261, 8.2.6)")
        if is_word(name, "content-type", 12) or is_word(name, "c", 1):
            typed = True
        kept.append(line_text(pair[1], "header value", &value))
        room += name.n + value.n + 4
    if has_body and not typed:
        raise ConfigError("body: expected a Content-Type among headers")
    return room


cdef bytes write_reply(const SipMessage *m, int status, Span reason, Span host, int port, uint64_t tag, list kept,
                       Span body, size_t room):
    """The reply, of at most `room` bytes, from checked arguments."""
    cdef uint8_t small[4096]
    cdef uint8_t *out = small
    cdef uint8_t *q
    cdef Span name, value
    cdef Py_ssize_t i
    if room > sizeof(small):
        out = <uint8_t *>malloc(room)
        if out == NULL:
            raise MemoryError()
    try:
        q = put_reply_start(out, m, status, reason, host, port, tag)
        for i in range(0, len(kept), 2):
            span_of(kept[i], &name, "header name")
            span_of(kept[i + 1], &value, "header value")
            q = put_reply_header(q, name, value)
        q = put_reply_end(q, body)
        return PyBytes_FromStringAndSize(<const char *>out, q - out)
    finally:
        if out != small:
            free(out)


cdef object line_text(object value, str what, Span *out):
    """Borrows the bytes of text for a line of the reply.

    Returns:
        The object that owns the bytes.

    Raises:
        ConfigError: the text cannot be encoded as UTF-8, or holds a control character.
    """
    kept = value
    if isinstance(value, str) and not PyUnicode_IS_ASCII(value):
        try:
            kept = borrow(value, out, what)
        except UnicodeEncodeError:
            raise ConfigError(f"{what}: a character that UTF-8 does not have") from None
    else:
        span_of(value, out, what)
    if ad_find_control(out.p, out.p + out.n) != out.p + out.n:
        raise ConfigError(f"{what}: holds a control character")
    return kept


cdef inline bint is_copied(Header header) noexcept nogil:
    """Whether a reply copies the header field from the request, or sets it (RFC 3261, 8.2.6.2 and 20.14)."""
    return (header == VIA or header == FROM or header == TO or header == CALL_ID or header == CSEQ
            or header == CONTENT_LENGTH)


# ---------------------------------------------------------------------------------- on the wire


cdef bint can_reply(const SipMessage *m) noexcept nogil:
    """Whether a reply may be sent and can be addressed; an ACK has none (RFC 3261, 17.1.1.3)."""
    return m.method != METHOD_ACK and m.method_name.n > 0 and m.first[VIA] >= 0


cdef size_t reply_room(const SipMessage *m, Span reason, Span source_host) noexcept nogil:
    """The largest size of a reply in bytes, without the caller's header fields and body."""
    cdef size_t room = 256 + reason.n + source_host.n
    cdef int i
    for i in range(m.line_count):
        if m.lines[i].id != HEADER_OTHER:
            room += m.lines[i].value.n + 16
    return room


cdef uint8_t *put_reply_start(uint8_t *q, const SipMessage *m, int code, Span reason, Span source_host,
                              int source_port, uint64_t tag) noexcept nogil:
    """Writes Status-Line, Via, From, To, Call-ID and CSeq (RFC 3261, 8.2.6.2).

    The caller's header fields follow, `put_reply_header`, and then `put_reply_end`.

    Args:
        source_host: empty if it is not known.
        tag: the tag of To if the request has none; unpredictable, and the same for a retransmission.

    Returns:
        The end.
    """
    cdef const Line *line
    cdef int i
    q = put(q, b"SIP/2.0 ", 8)
    q[0] = <uint8_t>(c'0' + code // 100)
    q[1] = <uint8_t>(c'0' + code // 10 % 10)
    q[2] = <uint8_t>(c'0' + code % 10)
    q[3] = c' '
    q = put_line(q + 4, reason)
    for i in range(m.first[VIA], m.behind[VIA]):
        line = &m.lines[i]
        if line.id == VIA:
            q = put(q, b"Via: ", 5)
            if i == m.first[VIA] and source_host.n and m.via.protocol_and_host.p != NULL:
                q = put_top_via(q, m, source_host, source_port)
            else:
                q = put(q, line.value.p, line.value.n)
            q = put(q, b"\r\n", 2)
    if m.first[FROM] >= 0:
        q = put_line(put(q, b"From: ", 6), m.lines[m.first[FROM]].value)
    if m.first[TO] >= 0:
        line = &m.lines[m.first[TO]]
        q = put(put(q, b"To: ", 4), line.value.p, line.value.n)
        if m.to_tag.p == NULL and code > 100 and m.to.text.p != NULL:
            q = put_tag(put(q, b";tag=", 5), tag)
        q = put(q, b"\r\n", 2)
    if m.first[CALL_ID] >= 0:
        q = put_line(put(q, b"Call-ID: ", 9), m.lines[m.first[CALL_ID]].value)
    if m.first[CSEQ] >= 0:
        q = put_line(put(q, b"CSeq: ", 6), m.lines[m.first[CSEQ]].value)
    return q


cdef uint8_t *put_reply_header(uint8_t *q, Span name, Span value) noexcept nogil:
    """Writes one header field, name.n + value.n + 4 bytes; the caller has checked both.

    Returns:
        The end.
    """
    return put_line(put(put(q, name.p, name.n), b": ", 2), value)


cdef uint8_t *put_reply_end(uint8_t *q, Span body) noexcept nogil:
    """Writes Content-Length, the empty line and the body.

    Returns:
        The end.
    """
    q = put_number(put(q, b"Content-Length: ", 16), body.n)
    return put(put(q, b"\r\n\r\n", 4), body.p, body.n)


cdef uint8_t *put_number(uint8_t *q, size_t number) noexcept nogil:
    """Writes a number in decimal, up to 20 digits.

    Returns:
        The end.
    """
    cdef uint8_t digits[20]
    cdef int n = 0
    while number or n == 0:
        digits[n] = <uint8_t>(c'0' + number % 10)
        number //= 10
        n += 1
    while n:
        n -= 1
        q[0] = digits[n]
        q += 1
    return q


cdef uint8_t *put_top_via(uint8_t *q, const SipMessage *m, Span source_host, int source_port) noexcept nogil:
    """Writes the first Via field with our received and rport in place of the sender's.

    Returns:
        The end.
    """
    cdef Reader r = reader_of(m.via.params)
    cdef Span name, value
    cdef bint escaped
    cdef const uint8_t *start
    q = put(q, m.via.protocol_and_host.p, m.via.protocol_and_host.n)
    while r.p < r.end:
        start = r.p
        skip_byte(&r, c';')
        take_class(&r, AD_TOKEN, &name)
        while r.p < r.end and r.p[0] != c';':
            if r.p[0] == c'"':
                take_quoted(&r, &value, &escaped)
            else:
                r.p += 1
        if not is_word(name, "received", 8) and not is_word(name, "rport", 5):
            q = put(q, start, <size_t>(r.p - start))
    if m.via.has_rport:
        q = put_number(put(q, b";rport=", 7), <size_t>source_port)
    if m.via.has_rport or not same_host(m.via.host, source_host):
        q = put(put(q, b";received=", 10), source_host.p, source_host.n)
    return put(q, m.via.rest.p, m.via.rest.n)


cdef uint8_t *put_tag(uint8_t *q, uint64_t tag) noexcept nogil:
    """Writes a tag of 16 hexadecimal digits; RFC 3261, 19.3 requires 32 bits.

    Returns:
        The end.
    """
    cdef uint64_t bits[2]
    cdef uint8_t digits[32]
    bits[0] = bits[1] = tag
    ad_put_hex(digits, <const uint8_t *>bits)
    memcpy(q, digits, 16)
    return q + 16


cdef inline bint same_host(Span a, Span b) noexcept nogil:
    """Whether the sent-by host `a` is the address `b`; only sent-by has an IPv6 address in brackets."""
    if a.n >= 2 and a.p[0] == c'[':
        a.p += 1
        a.n -= 2
    return equal_nocase(a, b)


cdef inline uint8_t *put(uint8_t *q, const void *p, size_t n) noexcept nogil:
    ad_copy(q, <const uint8_t *>p, n)
    return q + n


cdef inline uint8_t *put_line(uint8_t *q, Span s) noexcept nogil:
    return put(put(q, s.p, s.n), b"\r\n", 2)
