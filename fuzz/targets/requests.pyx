"""Requests of SIP: what is read in them, what is replied, and what is asked about them."""

from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset

from auth_diameter._core.base.chars cimport AD_HEX, AD_TOKEN, ad_find_control, ad_skip_class
from auth_diameter._core.base.span cimport Reader, Span
from auth_diameter._core.base.vectors cimport SCAN_BYTES
from auth_diameter._core.diameter.application cimport Asked
from auth_diameter._core.diameter.codes cimport SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK
from auth_diameter._core.diameter.disc_question cimport (
    QuestionView, authentication_room, group_check_room, put_authentication, put_group_check, read_question,
)
from auth_diameter._core.diameter.sip_received cimport MarView, read_mar
from auth_diameter._core.diameter.sip_request cimport Route, mar_room, put_mar
from auth_diameter._core.diameter.stream cimport frame
from auth_diameter._core.digest.params cimport DigestFields, OK, OTHER_SCHEME
from auth_diameter._core.sip.contacts cimport (
    BAD_CONTACT, Binding, MOST_CONTACTS, NO_ROOM, STAR_WITHOUT_EXPIRES, TOO_MANY_CONTACTS, bindings_room,
    put_bindings, read_bindings,
)
from auth_diameter._core.sip.fields cimport (
    AUTHORIZATION, CALL_ID, CSEQ, FROM, Header, PROXY_AUTHORIZATION, TO, TopVia, VIA, take_via,
)
from auth_diameter._core.sip.parse cimport (
    DEFAULT_MAX_LINES, DEFAULT_MAX_SIZE, SipMessage, find_credentials, identity, parse_request,
    parse_request_by, release_request, same_request,
)
from auth_diameter._core.sip.reply cimport (
    can_reply, put_reply_end, put_reply_header, put_reply_start, reply_room,
)
from auth_diameter._core.sip.uri cimport SipUri

from targets.grammar cimport check_uri
from targets.promises cimport all_of, equal, hold, inside, span_of


# What replies are made with: a source that is not the one that Via names, and a tag.
cdef Span REASON = span_of("Unauthorized")
cdef Span CHALLENGE_HEADER = span_of("WWW-Authenticate")
cdef Span SOURCE = span_of("192.0.2.77")
cdef Span BODY_HASH = span_of("d41d8cd98f00b204e9800998ecf8427e")
cdef Span REALM_ASKED = span_of("siphub.net")
cdef enum:
    SOURCE_PORT = 40561
    TAG = 0x3261


cdef void check_lines(const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Control characters stand at the end of a line, in a fold, or, but for CR and LF, behind a backslash."""
    while True:
        p = ad_find_control(p, end)
        if p == end:
            return
        if p[0] == c'\r':
            hold(2 <= end - p and p[1] == c'\n', "CR comes with LF")
            p += 2
        else:
            hold(p[0] != c'\n' and (p - 1)[0] == c'\\', "no control character of its own")
            p += 1


cdef void expect(Reader *r, Span text) noexcept nogil:
    hold(text.n <= <size_t>(r.end - r.p) and equal(Span(r.p, text.n), text), "the reply says what it must")
    r.p += text.n


cdef void expect_line(Reader *r, const char *name, Span value) noexcept nogil:
    expect(r, span_of(name))
    expect(r, value)
    expect(r, span_of("\r\n"))


cdef void expect_top_via(Reader *r, const SipMessage *m) noexcept nogil:
    """Parameters are the sender's but for received and rport, and other elements are as they were."""
    cdef Reader line
    cdef TopVia via
    expect(r, span_of("Via: "))
    line.p = r.p
    line.end = ad_find_control(r.p, r.end)
    while 3 <= r.end - line.end and (line.end[0] != c'\r' or line.end[2] == c' ' or line.end[2] == c'\t'):
        line.end = ad_find_control(line.end + 1, r.end)     # a fold, or behind a backslash
    hold(take_via(&line, &via), "the top Via of a reply is one")
    hold(equal(via.host, m.via.host) and via.port == m.via.port and equal(via.branch, m.via.branch)
         and via.has_rport == m.via.has_rport, "the top Via is that of the request")
    r.p = line.p
    expect_line(r, "", m.via.rest)


cdef void check_reply(const SipMessage *m, const Span *challenges, int count) noexcept nogil:
    """A reply to what was parsed, accepted or not, has the lines of RFC 3261, 8.2.6.2, and no other."""
    cdef size_t room = reply_room(m, REASON, SOURCE)
    cdef uint8_t *out
    cdef uint8_t *q
    cdef Reader r
    cdef Span line
    cdef int i
    room += BODY_HASH.n     # any bytes may be a body
    for i in range(count):
        room += CHALLENGE_HEADER.n + challenges[i].n + 4
    out = <uint8_t *>malloc(room)
    q = put_reply_start(out, m, 401, REASON, SOURCE, SOURCE_PORT, TAG)
    for i in range(count):
        q = put_reply_header(q, CHALLENGE_HEADER, challenges[i])
    q = put_reply_end(q, BODY_HASH)
    hold(<size_t>(q - out) <= room, "a reply has room")
    check_lines(out, q)
    r.p = out
    r.end = q
    expect_line(&r, "SIP/2.0 401 ", REASON)
    for i in range(m.line_count):
        line = m.lines[i].value
        if m.lines[i].id == VIA:
            if i == m.first[VIA] and m.via.protocol_and_host.p != NULL:
                expect_top_via(&r, m)
            else:
                expect_line(&r, "Via: ", line)
    if m.first[FROM] >= 0:
        expect_line(&r, "From: ", m.lines[m.first[FROM]].value)
    if m.first[TO] >= 0:
        expect(&r, span_of("To: "))
        expect(&r, m.lines[m.first[TO]].value)
        if m.to.text.p != NULL and m.to_tag.p == NULL:
            expect(&r, span_of(";tag="))
            hold(16 <= r.end - r.p and ad_skip_class(r.p, r.p + 16, AD_HEX) == r.p + 16, "a tag of 16 digits")
            r.p += 16
        expect(&r, span_of("\r\n"))
    if m.first[CALL_ID] >= 0:
        expect_line(&r, "Call-ID: ", m.lines[m.first[CALL_ID]].value)
    if m.first[CSEQ] >= 0:
        expect_line(&r, "CSeq: ", m.lines[m.first[CSEQ]].value)
    for i in range(count):
        expect_line(&r, "WWW-Authenticate: ", challenges[i])
    expect_line(&r, "Content-Length: 32", span_of("\r\n"))
    expect(&r, BODY_HASH)
    hold(r.p == r.end, "a reply ends with its body")
    free(out)


cdef void check_question(const SipMessage *m, const DigestFields *credentials, Span realm) noexcept nogil:
    """The question about a request is one that our own DISC understands."""
    cdef Asked asked
    cdef QuestionView question
    cdef size_t room, n
    cdef uint8_t *out
    asked.request = m
    asked.credentials = credentials
    asked.realm = realm
    asked.body_hash = BODY_HASH
    asked.source = SOURCE
    memset(asked.fingerprint, 1, sizeof(asked.fingerprint))
    asked.msgid = 0x01020304
    asked.end_to_end = 0x05060708
    asked.again = False
    room = authentication_room(&asked)
    out = <uint8_t *>malloc(room)
    n = put_authentication(out, &asked)
    hold(n <= room, "a question has room")
    hold(frame(out, n, room) == <Py_ssize_t>n, "a question is a message")
    read_question(out, n, &question)
    # Whatever the username: one with a NUL, behind a backslash or as %00, is refused by its digest.
    hold(question.fault == 0, "DISC takes a question")
    hold(question.service_type == SERVICE_AUTHENTICATION and question.msgid.n == 4
         and equal(question.told.realm, realm), "DISC reads what was asked")
    hold((question.response.p != NULL) == (credentials != NULL), "credentials come through")
    hold(equal(question.told.body_hash, BODY_HASH) and equal(question.told.source, SOURCE),
         "and what belongs to them")
    hold(question.header.end_to_end == 0x05060708, "and the id of the SIP request")
    if credentials != NULL:
        hold(equal(question.told.method, m.method_name), "the method comes through")
    free(out)
    check_mar(&asked)


cdef Route ROUTE
memset(&ROUTE, 0, sizeof(ROUTE))
ROUTE.origin_host = span_of("sip.example.net")
ROUTE.origin_realm = span_of("example.net")


cdef void check_mar(Asked *asked) noexcept nogil:
    """The MAR about a request is one that our own server understands."""
    cdef MarView mar
    cdef DigestFields fields
    cdef size_t room = mar_room(asked, &ROUTE), n
    cdef uint8_t *out = <uint8_t *>malloc(room)
    asked.session[0] = asked.session[1] = 0xFFFFFFFF
    n = put_mar(out, asked, &ROUTE)
    hold(n <= room, "a MAR has room")
    hold(frame(out, n, room) == <Py_ssize_t>n, "it is a message")
    read_mar(out, n, &fields, &mar)
    hold(equal(mar.method, asked.request.method_name), "the method comes through")
    hold(mar.fault.result == 0 or asked.credentials != NULL, "a MAR without credentials is understood")
    free(out)


cdef void check_group_question(const SipUri *uri) noexcept nogil:
    """Whether who a URI names is in a group of that name, too, is a question that DISC takes."""
    cdef QuestionView question
    cdef size_t room = group_check_room(uri.host, uri.user, uri.user)
    cdef uint8_t *out = <uint8_t *>malloc(room)
    cdef size_t n = put_group_check(out, uri.host, uri.user, uri.user, 0x01020304)
    hold(n <= room and frame(out, n, room) == <Py_ssize_t>n, "a group check is a message and has room")
    read_question(out, n, &question)
    hold(question.fault == 0 and question.service_type == SERVICE_GROUP_CHECK
         and equal(question.told.realm, uri.host) and equal(question.told.user_name, uri.user)
         and equal(question.told.group, uri.user), "DISC reads what was asked")
    free(out)


cdef void check_questions(const SipMessage *m, Header header) noexcept nogil:
    """What is asked about a good request whose credentials, if any, are in that header."""
    cdef DigestFields credentials
    cdef size_t offset = 0
    cdef int status = find_credentials(m, header, REALM_ASKED, &credentials, &offset)
    hold(offset <= m.size, "an error lies inside the request")
    if status == OK:
        hold(inside(credentials.raw, m.start, m.start + m.size), "credentials lie inside the request")
    if identity(m).text.p == NULL:
        return
    if status == OK:
        check_question(m, &credentials, REALM_ASKED)
    elif status == OTHER_SCHEME:
        check_question(m, NULL, REALM_ASKED)


cdef void check_bindings(const SipMessage *m) noexcept nogil:
    """The bindings of a REGISTER, and the Contact fields of the 200 to it."""
    cdef Binding bindings[MOST_CONTACTS]
    cdef Binding few[2]
    cdef size_t offset = m.size + 1, room
    cdef uint8_t *out
    cdef uint8_t *q
    cdef int n = read_bindings(m, bindings, MOST_CONTACTS, &offset), i, j
    if n < 0:
        hold(n == BAD_CONTACT or n == TOO_MANY_CONTACTS or n == STAR_WITHOUT_EXPIRES, "an error has a name")
        hold(offset <= m.size, "and lies inside the request")
        return
    hold(n <= MOST_CONTACTS, "no more bindings than the limit")
    for i in range(n):
        hold(bindings[i].uri.n and inside(bindings[i].uri, m.start, m.start + m.size), "a URI lies inside")
        for j in range(i):
            hold(not equal(bindings[i].uri, bindings[j].uri), "a URI is bound once")
    hold(read_bindings(m, few, 2, &offset) == (n if n <= 2 else NO_ROOM), "too little room is told")
    room = bindings_room(bindings, n)
    out = <uint8_t *>malloc(room)
    q = put_bindings(out, bindings, n)
    hold(q <= out + room, "bindings have room")
    j = 0
    for i in range(n):
        j += bindings[i].seconds > 0
    check_contact_lines(out, q, j)
    free(out)


cdef void check_contact_lines(const uint8_t *p, const uint8_t *end, int n) noexcept nogil:
    """Between `p` and `end` are `n` lines of a Contact each, and nothing else."""
    cdef const uint8_t *line_end
    for _i in range(n):
        line_end = ad_find_control(p, end)
        hold(end - line_end >= 2 and line_end[0] == c'\r' and line_end[1] == c'\n', "a line ends with CRLF")
        hold(line_end - p > 21 and memcmp(p, b"Contact: <", 10) == 0, "it is a Contact")
        p = line_end + 2
    hold(p == end, "and no other line")


cdef void check_scan(const SipMessage *m) noexcept nogil:
    """Header fields that were split by vectors, where the machine has them, are the same byte by byte."""
    cdef SipMessage again
    memset(&again, 0, sizeof(again))
    parse_request_by(&again, m.start, m.size, DEFAULT_MAX_SIZE, DEFAULT_MAX_LINES, SCAN_BYTES)
    hold(same_request(m, &again), "both ways to split header fields give the same")
    release_request(&again)


cdef int sip(const uint8_t *data, size_t size) noexcept nogil:
    """A request from the network; the reply to it, and the question that DISC is asked about it."""
    cdef SipMessage m
    cdef const uint8_t *end = data + size
    cdef int i
    cdef bint good
    memset(&m, 0, sizeof(m))
    good = parse_request(&m, data, size, DEFAULT_MAX_SIZE, DEFAULT_MAX_LINES)
    check_scan(&m)
    hold(good == (m.error == NULL), "what is refused has a reason")
    hold(m.error_at <= size and (good or m.error_status == 400 or m.error_status == 505),
         "and a place and a status")
    hold(0 <= m.line_count <= DEFAULT_MAX_LINES, "no more header fields than the limit")
    hold(inside(m.method_name, data, end) and inside(m.call_id, data, end) and inside(m.body, data, end),
         "the parts lie inside the request")
    for i in range(m.line_count):
        hold(inside(m.lines[i].name, data, end) and inside(m.lines[i].value, data, end), "lines lie inside")
        hold(m.lines[i].name.n > 0 and all_of(m.lines[i].name, AD_TOKEN), "a name is a token")
        check_lines(m.lines[i].value.p, m.lines[i].value.p + m.lines[i].value.n)
    if m.request_uri.text.p != NULL:
        check_uri(&m.request_uri, m.request_uri.text.p, end)
    if m.from_.text.p != NULL:
        check_uri(&m.from_, m.from_.text.p, end)
    if m.to.text.p != NULL:
        check_uri(&m.to, m.to.text.p, end)
    if can_reply(&m):
        check_reply(&m, NULL, 0)
    if good:
        hold(m.method_name.n and m.request_uri.text.p and m.via.host.n and m.call_id.n and m.first[CSEQ] >= 0,
             "what a request must have is there")
        check_bindings(&m)
        check_questions(&m, AUTHORIZATION)
        check_questions(&m, PROXY_AUTHORIZATION)
        if m.request_uri.host.n and m.request_uri.user.n:
            check_group_question(&m.request_uri)
    release_request(&m)
    return 0


# The request that is on its way while DISC answers.
cdef Span REQUEST = span_of(
    "REGISTER sip:siphub.net SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bK776asdhds\r\n"
    "From: <sip:alice@siphub.net>;tag=1928301774\r\n"
    "To: <sip:alice@siphub.net>\r\n"
    "Call-ID: a84b4c76e66710@pc33\r\n"
    "CSeq: 1 REGISTER\r\n"
    "Content-Length: 0\r\n"
    "\r\n")
cdef SipMessage _request
memset(&_request, 0, sizeof(_request))
if not parse_request(&_request, REQUEST.p, REQUEST.n, DEFAULT_MAX_SIZE, DEFAULT_MAX_LINES):
    raise AssertionError("the request is none")


cdef void check_challenges(const Span *challenges, int count) noexcept nogil:
    """A reply to a usual request, with these challenges, has no line more."""
    check_reply(&_request, challenges, count)


TARGETS = {
    "sip": <uintptr_t>&sip,
}
