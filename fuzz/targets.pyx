"""What is fuzzed: each target is a C function of pointer and length, over the functions that ship.

A target calls the parsers of ``auth_diameter._core`` as the package's own modules do, and then holds what
they said against what must be true of any input (an oracle): spans lie inside the input, what was
accepted is accepted again with the same parts, what is written has the form that its reader relies on. A
broken promise is named on standard error and ends the process, as a read out of bounds does. Nothing
but `request_path` touches a Python object once it is loaded.

`TARGETS` has the address of each by its name, for harness.c.
"""

import types

from libc.stdint cimport uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from auth_diameter._core.auth.answer cimport (
    SERVICE_OF_AUTHENTICATION, SERVICE_UNKNOWN, VERDICT_CHALLENGE, VERDICT_SUCCESS, AnswerFields,
)
from auth_diameter._core.diameter.avp cimport (
    AVP_CUT, AVP_HEADER, AVP_UNPADDED, GROUP_DEPTH, AvpView, avp_next, avp_put, avp_put_vendor, avp_size,
)
from auth_diameter._core.base.chars cimport (
    AD_HEX, AD_TOKEN, ad_find_control, ad_find_quote, ad_skip_class, unquote,
)
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_CX, AVP_MANDATORY, AVP_ORIGIN_HOST, AVP_ORIGIN_REALM, AVP_VENDOR, COMMAND_CX_MULTIMEDIA_AUTH,
    FLAG_REQUEST, RESULT_AUTHENTICATION_REJECTED, RESULT_SUCCESS, SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK,
)
from auth_diameter._core.digest.challenge cimport is_challenge
from auth_diameter._core.digest.credentials cimport check_credentials, is_for_realm, is_of_other_realm
from auth_diameter._core.digest.params cimport (
    FIELD_COUNT, MAX_PARAMETER, NC, NONCE, OK, OTHER_SCHEME, QOP, QOP_NONE, REALM, RESPONSE, URI, USERNAME,
    USERNAME_STAR, DigestFields, parse_params, parse_params_by, plain_value, put_ext_value, same_fields,
)
from auth_diameter._core.diameter.application cimport MAX_CHALLENGE, AnswerView, Asked
from auth_diameter._core.diameter.cx cimport read_maa as read_cx_maa
from auth_diameter._core.diameter.cx_received cimport CxView, read_cx_mar
from auth_diameter._core.diameter.cx_reply cimport cx_maa_room, cx_result, put_cx_maa
from auth_diameter._core.diameter.disc cimport read_response
from auth_diameter._core.diameter.disc_answer cimport (
    Known, answer_size, challenge_size, put_answer, put_challenge, put_whole_answer, read_answer,
    whole_answer_size,
)
from auth_diameter._core.diameter.disc_question cimport (
    QuestionView, authentication_room, group_check_room, put_authentication, put_group_check, read_question,
)
from auth_diameter._core.diameter.received cimport GOOD_CREDENTIALS, NO_CREDENTIALS
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.sip_answer cimport read_maa
from auth_diameter._core.diameter.sip_received cimport MarView, read_mar
from auth_diameter._core.diameter.sip_request cimport Route, mar_room, put_mar
from auth_diameter._core.sip.contacts cimport (
    BAD_CONTACT, MOST_CONTACTS, NO_ROOM, STAR_WITHOUT_EXPIRES, TOO_MANY_CONTACTS, Binding, bindings_room,
    put_bindings, read_bindings,
)
from auth_diameter._core.sip.fields cimport (
    AUTHORIZATION, CALL_ID, CONTACT_ELEMENT, CSEQ, FROM, PARTY, PROXY_AUTHORIZATION, TO, VIA, Address, Header,
    TopVia, take_address, take_param, take_via,
)
from auth_diameter._core.base.hex cimport ad_lower_hex, ad_same_hex
from auth_diameter._core.diameter.header cimport (
    DIAMETER_VERSION, HEADER_SIZE, Header as DiameterHeader, get_u32, header_get, header_put,
)
from auth_diameter._core.base.scratch cimport ad_scratch_release
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, Work, begin_case
from auth_diameter._core.path.outcome cimport MALFORMED_CREDENTIALS, OUTCOME_NONE, OUTCOMES
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.state.nonce_counts cimport NonceUses
from auth_diameter._core.state.nonces cimport Nonces
from auth_diameter._core.state.users cimport Users
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, FRAME_LARGE, frame
from auth_diameter._core.sip.parse cimport (
    DEFAULT_MAX_LINES, DEFAULT_MAX_SIZE, SipMessage, find_credentials, identity, parse_request,
    parse_request_by, release_request, same_request,
)
from auth_diameter._core.sip.reply cimport (
    can_reply, put_reply_end, put_reply_header, put_reply_start, reply_room,
)
from auth_diameter._core.base.span cimport Reader, Span, between
from auth_diameter._core.base.vectors cimport SCAN_BYTES
from auth_diameter._core.sip.uri cimport (
    SCHEME_SIP, SCHEME_SIPS, URI_BARE, URI_OF_REQUEST, SipUri, UriForm, put_address, put_address_and_port,
    take_uri,
)
from auth_diameter._core.auth.question cimport Flight
from auth_diameter._core.net.addresses cimport Address as Source, put_address as put_source
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.path.local_requests cimport LocalRequests
from auth_diameter._core.path.remote_requests cimport RemoteRequests
from auth_diameter._core.path.slot cimport INLINE, Slot
from auth_diameter._core.state.keys cimport Network, account_of, network_of_text, source_key, user_key
from auth_diameter._core.state.penalties cimport Penalties
from auth_diameter._core.state.transactions cimport Transactions

import traceback

from auth_diameter._core.path.wire import restart_msgids

cdef uint64_t SECRET[2]     # any
SECRET[:] = [1, 2]


cdef void hold(bint promise, const char *what) noexcept nogil:
    """Ends the process where `promise` is broken; a fuzzer keeps the input then."""
    if not promise:
        fprintf(stderr, "broken promise: %s\n", what)
        abort()


cdef bint inside(Span s, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """Whether a span lies within the input; one that was not found is NULL and empty."""
    if s.p == NULL:
        return s.n == 0
    return p <= s.p <= end and s.n <= <size_t>(end - s.p)


cdef bint all_of(Span s, int set) noexcept nogil:
    return ad_skip_class(s.p, s.p + s.n, set) == s.p + s.n


cdef Span span_of(const char *text) noexcept nogil:
    return Span(<const uint8_t *>text, strlen(text))


cdef bint equal(Span a, Span b) noexcept nogil:
    return a.n == b.n and (a.n == 0 or memcmp(a.p, b.p, a.n) == 0)


cdef int parse_credentials(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Parses credentials in the two steps of the core."""
    cdef int status = parse_params(text, out, offset)
    return status if status != OK else check_credentials(text, out, offset)


cdef Reader reader_of(const uint8_t *data, size_t size) noexcept nogil:
    cdef Reader r
    r.p = data
    r.end = data + size
    return r


# ---------------------------------------------------------------------------------- uri


cdef bint same_span(Span a, Span b) noexcept nogil:
    return a.p == b.p and a.n == b.n


cdef void check_uri(const SipUri *uri, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """What is true of every URI that was taken from the bytes between `p` and `end`."""
    cdef uint8_t *out
    cdef size_t n, m
    hold(uri.text.p == p and inside(uri.text, p, end) and uri.text.n > 0, "the URI lies inside the input")
    end = p + uri.text.n
    hold(inside(uri.user, p, end) and inside(uri.host, p, end) and inside(uri.port_text, p, end)
         and inside(uri.params, p, end) and inside(uri.headers, p, end), "the parts lie inside the URI")
    hold(ad_find_control(p, end) == end, "no control character in a URI")
    hold(uri.host.n > 0 if uri.scheme == SCHEME_SIP or uri.scheme == SCHEME_SIPS else uri.host.n == 0,
         "sip and sips have a host, and others none")
    hold((uri.port != 0) == (uri.port_text.n != 0), "a port has digits")
    # Exactly the room that is promised to be enough.
    out = <uint8_t *>malloc(uri.text.n)
    n = put_address_and_port(out, uri)
    hold(0 < n <= uri.text.n, "an address is no longer than its URI")
    hold(ad_find_control(out, out + n) == out + n, "no control character in an address")
    m = put_address(out, uri)
    hold(0 < m <= n, "the address without its port is no longer")
    free(out)


cdef int uri(const uint8_t *data, size_t size) noexcept nogil:
    """One URI in each of the places it may stand: a Request-URI, in angle brackets, bare."""
    cdef Reader r
    cdef SipUri found, again
    cdef UriForm form
    for form in range(URI_OF_REQUEST, URI_BARE + 1):
        r = reader_of(data, size)
        if not take_uri(&r, form, &found):
            hold(data <= r.p <= data + size, "where it fails lies inside the input")
            continue
        hold(r.p == data + found.text.n, "the reader stands behind the URI")
        check_uri(&found, data, data + size)
        # What follows a URI has no part in it.
        r = reader_of(data, found.text.n)
        hold(take_uri(&r, form, &again) and r.p == r.end, "a URI alone is accepted, too")
        hold(again.scheme == found.scheme and again.port == found.port and same_span(again.user, found.user)
             and same_span(again.host, found.host) and same_span(again.port_text, found.port_text)
             and same_span(again.params, found.params) and same_span(again.headers, found.headers),
             "a URI alone has the same parts")
    return 0


# ---------------------------------------------------------------------------------- fields


cdef bint no_byte(Span s, uint8_t byte) noexcept nogil:
    cdef size_t i
    for i in range(s.n):
        if s.p[i] == byte:
            return False
    return True


cdef void check_address(const Address *address, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """What is true of an address that was read from the bytes between `p` and `end`."""
    cdef Reader r
    cdef Span name, value
    cdef bint escaped
    hold(inside(address.name, p, end) and inside(address.params, p, end) and inside(address.tag, p, end),
         "the parts lie inside the value")
    hold(p <= address.uri.text.p, "the URI begins inside the value")
    check_uri(&address.uri, address.uri.text.p, end)
    if address.name.p != NULL:
        hold(address.name.p + address.name.n < address.uri.text.p, "the name stands before the URI")
        hold(address.quoted or no_byte(address.name, c'"'), "no quote in a name without quotes")
    r.p = address.params.p
    r.end = r.p + address.params.n
    while r.p < r.end:
        hold(take_param(&r, &name, &value, &escaped), "a parameter that was accepted is accepted again")
        hold(inside(name, p, end) and inside(value, p, end) and all_of(name, AD_TOKEN), "and lies inside")


cdef int fields(const uint8_t *data, size_t size) noexcept nogil:
    """The value of From or To, and those of Contact and Via with all their elements."""
    cdef Reader r = reader_of(data, size)
    cdef const uint8_t *end = data + size
    cdef const uint8_t *start
    cdef Address found
    cdef TopVia via
    if take_address(&r, PARTY, &found):
        hold(r.p == end, "a name-addr is read whole")
        check_address(&found, data, end)
        hold(found.tag.p == NULL or (found.tag.n and all_of(found.tag, AD_TOKEN)), "a tag is a token")
    else:
        hold(data <= r.p <= end, "where it fails lies inside the input")
    r = reader_of(data, size)
    while True:
        start = r.p
        if not take_address(&r, CONTACT_ELEMENT, &found):
            hold(start <= r.p <= end, "where it fails lies inside the input")
            break
        check_address(&found, start, r.p)
        if r.p == end:
            break
        hold(r.p[0] == c',', "a comma stands between addresses")
        r.p += 1
    r = reader_of(data, size)
    while True:
        start = r.p
        if not take_via(&r, &via):
            hold(start <= r.p <= end, "where it fails lies inside the input")
            break
        hold(inside(via.protocol_and_host, start, r.p) and inside(via.params, start, r.p)
             and inside(via.host, start, r.p) and inside(via.branch, start, r.p),
             "the parts lie inside the via-parm")
        hold(via.params.p == via.protocol_and_host.p + via.protocol_and_host.n, "parameters follow the address")
        hold(via.host.n > 0, "a via-parm has a host")
        if r.p == end:
            break
        hold(r.p[0] == c',', "a comma stands between via-parms")
        r.p += 1
    return 0


# ---------------------------------------------------------------------------------- digest


cdef bint has(const DigestFields *f, int field) noexcept nogil:
    return f.value[field].p != NULL


cdef void check_account(const DigestFields *f) noexcept nogil:
    """The account that credentials are counted for is the same in any case of its realm."""
    cdef uint8_t room[MAX_PARAMETER]
    cdef uint8_t upper[MAX_PARAMETER]
    cdef Span account = account_of(f, room), realm = f.value[REALM]
    cdef Network network = network_of_text(SECRET, f.value[URI])
    cdef uint64_t key = user_key(SECRET, account, realm, network)
    cdef size_t i
    hold(account.n <= MAX_PARAMETER, "an account is no longer than a parameter")
    hold(key != 0 and source_key(SECRET, network) != 0, "a key is not 0")
    for i in range(realm.n):
        upper[i] = realm.p[i] - 32 if c'a' <= realm.p[i] <= c'z' else realm.p[i]
    realm.p = upper
    hold(user_key(SECRET, account, realm, network) == key, "the case of a realm does not matter")


cdef int digest(const uint8_t *data, size_t size) noexcept nogil:
    """Credentials as a request carries them, and a challenge as DISC sends one."""
    cdef const uint8_t *end = data + size
    cdef DigestFields f, again
    cdef Span text = between(data, end), value
    cdef size_t offset = size + 1, at = 0, other_at = 0, n
    cdef uint8_t room[MAX_PARAMETER]
    cdef uint8_t plain[MAX_PARAMETER]
    cdef uint8_t hexes[32]
    cdef int status, field
    hold(parse_params(text, &f, &at) == parse_params_by(text, &again, &other_at, SCAN_BYTES) and at == other_at
         and same_fields(&f, &again), "parameters split by vectors are those split byte by byte")
    status = parse_credentials(text, &f, &offset)
    hold(offset <= size, "the offset lies inside the input")
    hold(inside(f.raw, data, end), "the whole lies inside the input")
    for field in range(FIELD_COUNT):
        value = f.value[field]
        hold(inside(value, data, end), "a value lies inside the input")
        hold(value.n <= MAX_PARAMETER, "a value has no more than MAX_PARAMETER bytes")
        if f.escaped & (1u << field):
            hold(value.p != NULL, "what is escaped is there")
            n = unquote(value, room)
            hold(n <= value.n, "unquoting makes nothing longer")
    if status == OK:
        hold(has(&f, USERNAME) != has(&f, USERNAME_STAR), "one username")
        hold(has(&f, NONCE) and has(&f, URI) and has(&f, RESPONSE), "what RFC 7616 requires is there")
        hold(all_of(f.value[RESPONSE], AD_HEX) and (f.value[RESPONSE].n == 32 or f.value[RESPONSE].n == 64),
             "a response is hexadecimal")
        hold(not has(&f, NC) or (f.value[NC].n == 8 and all_of(f.value[NC], AD_HEX)), "nc is 8LHEX")
        hold(f.qop == QOP_NONE or has(&f, NC), "qop comes with nc")
        hold((f.qop == QOP_NONE) != has(&f, QOP), "an empty qop is none")
        if has(&f, REALM):
            value = f.value[REALM]
            if f.escaped & (1u << REALM):
                value.n = unquote(value, room)
                value.p = room
            hold(is_for_realm(&f, value), "credentials are for the realm that they name")
            hold(not is_of_other_realm(f.raw, value), "and for no other")
            value.n += 1    # one byte of anything else behind it, which is not read
            hold(not is_for_realm(&f, value), "and for no longer one")
        # Without what stood around them they are the same; a copy in a block of their exact size.
        hold(parse_credentials(f.raw, &again, &offset) == OK and again.qop == f.qop
             and again.algorithm == f.algorithm and again.sess == f.sess and again.escaped == f.escaped,
             "credentials without LWS around them are the same")
        if has(&f, USERNAME_STAR):
            value = plain_value(&f, USERNAME_STAR, room)
            n = <size_t>(put_ext_value(plain, value) - plain)
            hold(n + 7 <= value.n, "a name is shorter than its encoding")
        check_account(&f)
        # What `verify` does with what was read, at the level of bytes.
        value = f.value[RESPONSE]
        if value.n == 32:
            ad_lower_hex(hexes, value.p)
            hold(ad_same_hex(value.p, hexes, 32), "a response in lower case is the same response")
    # What is malformed, too, is for nobody twice.
    hold(not is_of_other_realm(text, span_of("a")) or is_of_other_realm(text, span_of("A")),
         "a realm is compared in any case")
    if is_challenge(text, NULL):
        hold(ad_find_control(data, end) == end, "a challenge has no control character")
        hold(status != OTHER_SCHEME, "a challenge is of the Digest scheme")
    return 0


# ---------------------------------------------------------------------------------- diameter


cdef void check_frame(const uint8_t *p, size_t n, Py_ssize_t size) noexcept nogil:
    """`size` is what `frame` said of all `n` bytes: every beginning of them that can tell says the same."""
    cdef size_t k
    cdef Py_ssize_t said
    for k in range((n if n < 5 else 5) + 1):    # the version and the length, and what comes next
        said = frame(p, k, DEFAULT_LIMIT)
        hold(said == size or (said == 0 and (size >= 0 or k < 4)),
             "a message cut short waits, or is refused alike")
    if size > 0:
        hold(frame(p, <size_t>size - 1, DEFAULT_LIMIT) == 0, "a message without its last byte waits")
        hold(frame(p, <size_t>size, DEFAULT_LIMIT) == size, "a message alone is whole")
        hold(frame(p, n, <size_t>size - 1) == FRAME_LARGE, "a message above the limit is refused")


cdef void read_group(const uint8_t *data, size_t size, int depth) noexcept nogil:
    """AVPs, each as a group as well, up to the depth that the package goes to; all of them written again."""
    cdef Reader r = reader_of(data, size)
    cdef AvpView view
    cdef uint8_t *again
    cdef uint8_t *q
    cdef const uint8_t *start
    cdef int status
    cdef size_t n
    while True:
        start = r.p
        status = avp_next(&r, &view)
        if status <= 0:
            break
        hold(inside(view.data, start, r.p), "an AVP's data lie inside of it")
        n = avp_size(view.data.n) + (4 if view.flags & AVP_VENDOR else 0)
        hold(<size_t>(r.p - start) == n, "an AVP is as long as one that is written")
        again = <uint8_t *>malloc(n)
        if view.flags & AVP_VENDOR:
            q = avp_put_vendor(again, view.code, view.flags, view.vendor_id, view.data.p, view.data.n)
        else:
            q = avp_put(again, view.code, view.flags, view.data.p, view.data.n)
        hold(q == again + n, "an AVP is written to its end")
        hold(memcmp(again, start, <size_t>(view.data.p - start) + view.data.n) == 0,
             "what is written is what was read")
        free(again)
        if depth < GROUP_DEPTH and view.data.n >= AVP_HEADER:
            read_group(view.data.p, view.data.n, depth + 1)
    hold(r.p == start and r.p <= r.end, "the reader stays at a malformed AVP")
    hold(status < 0 or r.p == r.end, "the end is the end")
    hold(status >= AVP_UNPADDED, "a status that has a name")
    hold((status == AVP_CUT) == (0 < <size_t>(r.end - r.p) < AVP_HEADER), "only fewer than 8 bytes are no header")


cdef void each_message(const uint8_t *data, size_t size,
                       void (*play)(const uint8_t *, size_t) noexcept nogil) noexcept nogil:
    """Cuts a stream of Diameter messages into them, as whoever reads a connection does, and plays each."""
    cdef Py_ssize_t found
    while True:
        found = frame(data, size, DEFAULT_LIMIT)
        check_frame(data, size, found)
        if found <= 0:
            return
        hold(<size_t>found >= HEADER_SIZE and <size_t>found <= size and found % 4 == 0, "a message is there whole")
        play(data, <size_t>found)
        data += found
        size -= <size_t>found


cdef void check_message(const uint8_t *p, size_t n) noexcept nogil:
    """The header of a message, written again, and its AVPs."""
    cdef DiameterHeader header
    cdef uint8_t again[HEADER_SIZE]
    header_get(p, &header)
    hold(header.length == <uint32_t>n and header.version == DIAMETER_VERSION, "its header says the same")
    header_put(again, &header)
    hold(memcmp(again, p, HEADER_SIZE) == 0, "a header that is written is the one that was read")
    read_group(p + HEADER_SIZE, n - HEADER_SIZE, 0)


cdef int diameter(const uint8_t *data, size_t size) noexcept nogil:
    """A stream of Diameter messages, cut into them; and the whole input as AVPs."""
    each_message(data, size, check_message)
    read_group(data, size, 0)
    return 0


# ---------------------------------------------------------------------------------- sip

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


# ---------------------------------------------------------------------------------- disc_session

# A DISC that knows alice and, of siphub.net, what is offered to whom; of all else it lacks the keys.
_NAMES = ("MD5", "SHA-256", "SHA-512-256")
_CONFIG = types.SimpleNamespace(
    algorithms=tuple(name + sess for name in _NAMES for sess in ("", "-sess")), qop=("auth", "auth-int"),
    uri_policy="host", nonce_uses=2, max_challenges=2, limit_accounts=True, bind_source=False,
    userhash=True, authentication_info=True, rechallenge=True)
_users = Users({kind: 1 << 20 for kind in ("realm", "user", "hashed", "algorithms")})
_users.put(("siphub.net", "realm"), ("siphub.net",))
for _name in _NAMES:
    _users.put(("alice", "siphub.net", _name, "user"), (True, "0" * (32 if _name == "MD5" else 64)))
_users.put(("alice", "siphub.net", "algorithms"), (("MD5",), _NAMES))
cdef Judge _judge = Judge(
    _users, Nonces(b"sixteen secret bytes"), NonceUses(), Penalties(shared=True), _CONFIG, 1 << 16, 1 << 16)


cdef Span CHALLENGE = span_of('Digest realm="siphub.net", nonce="0123456789abcdef", algorithm=MD5, qop="auth"')


cdef void check_answer(const QuestionView *question, uint32_t result_code, int challenges) noexcept nogil:
    """What DISC answers is what our own client reads."""
    cdef size_t more = <size_t>challenges * challenge_size(CHALLENGE)
    cdef size_t n = answer_size(question) + more
    cdef uint8_t *out = <uint8_t *>malloc(n)
    cdef uint8_t *q = out + put_answer(out, question, result_code, more)
    cdef AnswerView answer
    cdef int i
    for _i in range(challenges):
        q = put_challenge(q, CHALLENGE)
    hold(q == out + n, "an answer has the size it says")
    hold(n >= DEFAULT_LIMIT or frame(out, n, DEFAULT_LIMIT) == <Py_ssize_t>n, "an answer is a message")
    hold(not out[4] & FLAG_REQUEST, "and no question")
    read_answer(out, n, NULL, &answer)
    hold((answer.says.service == SERVICE_OF_AUTHENTICATION) == (question.service_type == SERVICE_AUTHENTICATION)
         and (answer.says.service == SERVICE_UNKNOWN) == (question.service_type == 0),
         "the Service-Type is repeated")
    hold(answer.says.challenges == challenges, "the Challenges come through")
    for i in range(challenges):
        hold(equal(answer.says.challenge[i], CHALLENGE), "as they are")
    if question.msgid.n == 4:
        hold(answer.says.code == result_code, "the Result-Code comes through")
        hold(answer.msgid == get_u32(question.msgid.p), "the SIP-MSGID is repeated")
    elif question.msgid.n == 0:
        hold(answer.msgid == question.header.hop_by_hop, "else the Hop-by-Hop Identifier is")
    else:
        hold(answer.msgid == -1 and answer.says.fault != NULL, "a SIP-MSGID of another size is nobody's")
    free(out)


cdef void check_case(const Case *case, const QuestionView *q) noexcept nogil:
    """What a judged question is answered with has the size that was made room for, and our client reads it."""
    cdef AnswerView answer
    cdef size_t n
    cdef uint8_t *out
    hold(case.stage == STAGE_DONE or case.lacks, "a question has an answer, or lacks a key")
    if case.stage != STAGE_DONE:
        return
    hold(OUTCOME_NONE < case.outcome < OUTCOMES, "an answer has an outcome")
    hold(case.answer.verdict != VERDICT_SUCCESS or q.service_type == SERVICE_GROUP_CHECK,
         "nobody guesses a digest")
    n = whole_answer_size(q, &case.answer)
    out = <uint8_t *>malloc(n)
    hold(put_whole_answer(out, q, &case.answer) == out + n, "an answer has the size it says")
    if n < DEFAULT_LIMIT:
        hold(frame(out, n, DEFAULT_LIMIT) == <Py_ssize_t>n, "an answer is a message")
        read_answer(out, n, NULL, &answer)
        hold(answer.says.challenges == case.answer.challenges or answer.says.fault != NULL,
             "the Challenges come through")
    free(out)


cdef void judge(const QuestionView *q, const DigestFields *credentials, int malformed) noexcept nogil:
    """A question is judged, with the realm and the user in it at hand or not."""
    cdef Work work
    cdef Case case
    memset(&work, 0, sizeof(work))
    begin_case(&case)
    case.ask.credentials = credentials
    case.ask.told = q.told
    case.ask.malformed = malformed
    case.ask.is_group_check = q.service_type == SERVICE_GROUP_CHECK
    case.ask.extended = q.told.serial != 0
    case.ask.one_challenge = q.told.serial & 1
    work.cases = &case
    work.count = 1
    work.now = 1_800_000_000.0
    hold(_judge.judge_to_the_end(&work), "there is memory")
    check_case(&case, q)
    ad_scratch_release(&work.scratch)


cdef void ask_disc(const uint8_t *p, size_t n) noexcept nogil:
    """A message that DISC gets: what is in a question, how it is judged, and the answer to it."""
    cdef QuestionView q
    cdef DigestFields credentials
    cdef const uint8_t *end = p + n
    cdef size_t offset = 0
    cdef int status
    if not p[4] & FLAG_REQUEST:
        return
    read_question(p, n, &q)
    hold(inside(q.msgid, p, end) and inside(q.told.user_name, p, end) and inside(q.told.realm, p, end)
         and inside(q.told.resource, p, end) and inside(q.response, p, end)
         and inside(q.told.method, p, end) and inside(q.told.group, p, end)
         and inside(q.told.body_hash, p, end) and inside(q.told.source, p, end),
         "what is asked lies inside the message")
    if q.fault:
        hold(3000 < q.fault < 6000, "a refusal is a Result-Code")
        check_answer(&q, q.fault, 0)
        return
    hold(q.told.user_name.n > 0 and q.told.realm.p != NULL, "a question has a user and a realm")
    status = read_response(&q, &credentials, &offset)
    hold(offset <= q.response.n, "an error lies inside the Response")
    hold(q.response.p != NULL or status == NO_CREDENTIALS, "there are no credentials without a Response")
    judge(&q, &credentials if status == GOOD_CREDENTIALS else NULL,
          0 if status == GOOD_CREDENTIALS or status == NO_CREDENTIALS else MALFORMED_CREDENTIALS)
    check_answer(&q, RESULT_SUCCESS if q.response.p != NULL else RESULT_AUTHENTICATION_REJECTED,
                 0 if q.response.p != NULL else 1 + (q.told.user_name.n & 1))


cdef int disc_session(const uint8_t *data, size_t size) noexcept nogil:
    """The bytes of a TCP connection to DISC: questions, what is in them, and the answers to them."""
    each_message(data, size, ask_disc)
    return 0


# ---------------------------------------------------------------------------------- client_answers

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


# What the reader remembers, from one input to the next one.
cdef Known _known


cdef void answer_client(const uint8_t *p, size_t n) noexcept nogil:
    """A message that our client gets: what is in an answer, and the SIP reply that carries its Challenges."""
    cdef AnswerView answer, same
    cdef const uint8_t *end = p + n
    cdef Span text
    cdef size_t total = 0
    cdef int i
    if p[4] & FLAG_REQUEST:
        return
    read_answer(p, n, NULL, &answer)
    read_answer(p, n, &_known, &same)
    hold(memcmp(&answer, &same, sizeof(answer) - sizeof(answer.text)) == 0, "what is remembered changes nothing")
    hold(inside(answer.says.response_auth, p, end) and inside(answer.says.nextnonce, p, end)
         and inside(answer.says.user_name, p, end), "what comes with a success lies inside the message")
    if answer.says.nextnonce.p != NULL:
        hold(ad_find_quote(answer.says.nextnonce.p, answer.says.nextnonce.p + answer.says.nextnonce.n)
             == answer.says.nextnonce.p + answer.says.nextnonce.n, "a nonce to come fits between quotes")
    hold(answer.msgid == -1 or answer.msgid == <uint32_t>answer.msgid, "an id of 32 bits, or none")
    hold(answer.says.fault != NULL or answer.msgid >= 0, "an answer of nobody is not to be used")
    for i in range(answer.says.challenges):
        text = answer.says.challenge[i]
        hold(text.n > 0 and inside(text, p, end), "a Challenge lies inside the message")
        hold(ad_find_control(text.p, text.p + text.n) == text.p + text.n,
             "no CR, LF or NUL becomes part of a header")
        total += text.n
    hold(total <= MAX_CHALLENGE, "Challenges are no longer than a reply takes")
    check_reply(&_request, answer.says.challenge, answer.says.challenges)


cdef int client_answers(const uint8_t *data, size_t size) noexcept nogil:
    """The bytes of a TCP connection from DISC: answers, and the SIP replies that carry their Challenge."""
    each_message(data, size, answer_client)
    return 0


# ---------------------------------------------------------------------------------- standard Diameter


cdef void check_delegation(const AnswerView *answer, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """HA1 that may be used has the length of its algorithm, and lies inside the message."""
    hold(inside(answer.session_id, p, end) and inside(answer.origin_host, p, end)
         and inside(answer.delegation.ha1, p, end) and inside(answer.delegation.alternate_ha1, p, end)
         and inside(answer.delegation.realm, p, end) and inside(answer.delegation.nonce, p, end)
         and inside(answer.delegation.user_name, p, end), "what is delegated lies inside the message")
    if answer.says.fault == NULL and answer.delegation.ha1.p != NULL:
        hold(answer.delegation.ha1.n == 32 or answer.delegation.ha1.n == 64, "HA1 is a digest")
        hold(all_of(answer.delegation.ha1, AD_HEX), "in hexadecimal")
        hold(answer.delegation.realm.p != NULL, "of a realm")


cdef void answer_standard_client(const uint8_t *p, size_t n) noexcept nogil:
    """A message that our client gets: MAA of RFC 4740 and of Cx, and the SIP reply that carries the challenge."""
    cdef AnswerView answer
    cdef const uint8_t *end = p + n
    cdef const uint8_t *text
    if p[4] & FLAG_REQUEST:
        return
    hold(read_maa(p, n, &answer) == (answer.says.fault == NULL), "an answer that may be used has no fault")
    check_delegation(&answer, p, end)
    hold(answer.says.fault == NULL or answer.says.verdict != VERDICT_SUCCESS, "one that may not is no success")
    hold(answer.says.challenges <= 1, "there is one challenge at most (9.5)")
    hold(inside(answer.says.response_auth, p, end) and inside(answer.says.nextnonce, p, end),
         "what comes with a success lies inside the message")
    if answer.says.challenges:
        text = answer.says.challenge[0].p
        hold(text == &answer.text[0] and answer.says.challenge[0].n <= MAX_CHALLENGE, "a challenge has room")
        hold(ad_find_control(text, text + answer.says.challenge[0].n) == text + answer.says.challenge[0].n,
             "no CR, LF or NUL becomes part of a header")
        hold(is_challenge(answer.says.challenge[0], NULL), "it is one that our own reader takes")
        check_reply(&_request, answer.says.challenge, answer.says.challenges)
    hold(read_cx_maa(p, n, &answer) == (answer.says.fault == NULL), "and so it is with Cx")
    check_delegation(&answer, p, end)
    hold(answer.says.verdict != VERDICT_SUCCESS or (answer.says.fault == NULL and answer.delegation.ha1.p != NULL),
         "a success of Cx has HA1")
    hold(answer.says.challenges == 0, "and an HSS makes no challenges")


cdef int standard_answers(const uint8_t *data, size_t size) noexcept nogil:
    """The bytes of a connection from a server of RFC 4740 or an HSS."""
    each_message(data, size, answer_standard_client)
    return 0


cdef Span HA1 = span_of("0123456789abcdef0123456789abcdef")
cdef uint8_t _origin[64]
cdef Server SERVER
SERVER.host = span_of("disc.siphub.net")
SERVER.realm = REALM_ASKED
SERVER.origin = Span(<const uint8_t *>&_origin[0], avp_size(SERVER.host.n) + avp_size(SERVER.realm.n))
avp_put(avp_put(_origin, AVP_ORIGIN_HOST, AVP_MANDATORY, SERVER.host.p, SERVER.host.n),
        AVP_ORIGIN_REALM, AVP_MANDATORY, SERVER.realm.p, SERVER.realm.n)


cdef void ask_standard_server(const uint8_t *p, size_t n) noexcept nogil:
    """A message that DISC gets as a server of RFC 4740, and as an HSS."""
    if p[4] & FLAG_REQUEST:
        ask_sip_server(p, n)
        ask_hss(p, n)


cdef void ask_hss(const uint8_t *p, size_t n) noexcept nogil:
    """A MAR of Cx, and the MAA that tells HA1 or refuses it."""
    cdef CxView mar
    cdef AnswerFields says
    cdef AnswerView answer
    cdef const uint8_t *end = p + n
    cdef uint8_t *out
    cdef size_t room, size
    read_cx_mar(p, n, &mar)
    hold(inside(mar.session_id, p, end) and inside(mar.origin_host, p, end) and inside(mar.origin_realm, p, end)
         and inside(mar.destination_realm, p, end) and inside(mar.destination_host, p, end)
         and inside(mar.user_name, p, end) and inside(mar.public_identity, p, end)
         and inside(mar.server_name, p, end) and inside(mar.scheme, p, end)
         and inside(mar.fault.failed, p, end), "what is asked lies inside the message")
    hold(mar.fault.result == 0 or 3000 < mar.fault.result < 6000, "a fault is a refusal")
    if mar.fault.result == 0:
        hold(mar.session_id.p != NULL and mar.origin_host.p != NULL and mar.user_name.p != NULL
             and mar.public_identity.p != NULL and mar.scheme.p != NULL, "what must be there is")
    memset(&says, 0, sizeof(says))
    says.verdict = VERDICT_CHALLENGE
    says.code = mar.fault.result
    says.ha1 = HA1
    says.realm = REALM_ASKED
    room = cx_maa_room(&mar, &SERVER, &says)
    out = <uint8_t *>malloc(room)
    size = <size_t>(put_cx_maa(out, &mar, Span(p, n), &SERVER, &says) - out)
    hold(size <= room, "an answer has room")
    hold(frame(out, size, 1 << 24) == <Py_ssize_t>size, "it is one message")
    check_message(out, size)
    if mar.header.command == COMMAND_CX_MULTIMEDIA_AUTH and mar.header.application_id == APPLICATION_CX:
        read_cx_maa(out, size, &answer)
        if cx_result(&mar, &says) == RESULT_SUCCESS:
            hold(answer.says.verdict == VERDICT_SUCCESS and equal(answer.delegation.ha1, HA1)
                 and equal(answer.session_id, mar.session_id), "our own client takes HA1 from it")
        else:
            hold(answer.says.verdict != VERDICT_SUCCESS, "and takes a refusal for one")
    free(out)


cdef void ask_sip_server(const uint8_t *p, size_t n) noexcept nogil:
    """A MAR of RFC 4740."""
    cdef MarView mar
    cdef DigestFields fields
    cdef const uint8_t *end = p + n
    cdef int i
    hold(read_mar(p, n, &fields, &mar) == (mar.fault.result == 0),
         "a MAR is understood, or there is a Result-Code")
    hold(mar.fault.result == 0 or 3000 < mar.fault.result < 6000, "of a refusal")
    hold(inside(mar.session_id, p, end) and inside(mar.origin_host, p, end) and inside(mar.user_name, p, end)
         and inside(mar.aor, p, end) and inside(mar.method, p, end) and inside(mar.digest_method, p, end)
         and inside(mar.body_hash, p, end) and inside(mar.acct_session_id, p, end)
         and inside(mar.destination_realm, p, end), "what is asked lies inside the message")
    hold(inside(mar.fault.failed, p, end), "and so does what is at fault")
    for i in range(FIELD_COUNT):
        hold(inside(mar.credentials.value[i], p, end), "the credentials, too")
    if mar.fault.result == 0:
        hold(mar.session_id.p != NULL and mar.aor.p != NULL and mar.method.p != NULL, "what must be there is")


cdef int standard_questions(const uint8_t *data, size_t size) noexcept nogil:
    """The bytes of a client's connection to DISC, in standard Diameter."""
    each_message(data, size, ask_standard_server)
    return 0


# ---------------------------------------------------------------------------------- request_path

cdef enum:
    # What happens next; the byte before it says to whom, see `Site.play`
    DATAGRAM, AGAIN, FROM_DISC, TIME, BREAK, ODD, CLOSE, EVENTS


cdef class Site:
    """A SIP server with two connections to DISC, its socket's datagrams, and what DISC sends."""
    cdef InFlight in_flight
    cdef Transactions transactions
    cdef Decisions decisions
    cdef RemoteRequests path
    cdef list wires
    cdef list adopted       # the Questions that requests became
    cdef list sizes         # of the datagrams; the address of each has its number
    cdef tuple last         # the last datagram and its source
    cdef double now
    cdef Py_ssize_t ended   # Questions that came back

    def __cinit__(self):
        restart_msgids(0)
        self.in_flight = InFlight(3)
        self.transactions = Transactions(1 << 20)
        self.decisions = Decisions()
        self.adopted = []
        self.sizes = []
        self.path = RemoteRequests(
            -1, self.transactions, self.decisions, self.adopted.append, self.in_flight,
            Penalties(1.0, 100, 100), None, realm="$fd", timeout=4.0, max_size=65535, max_headers=64,
            max_question=4096, tells_source=True, amplification=2, one_challenge=512)
        self.wires = [self.connect(), self.connect()]

    cdef Wire connect(self):
        cdef Wire wire = Wire(4096)
        wire.is_calm = True
        self.in_flight.set_ready(wire, True)
        return wire

    cdef int play(self, int event, int whom, bytes data) except -1:
        cdef Wire wire = self.wires[whom & 1]
        cdef list found = []
        if event == DATAGRAM:
            self.last = (data, (f"10.{len(self.sizes) >> 8}.{len(self.sizes) & 0xFF}.1", 5060 + whom))
            self.sizes.append(len(data))
            self.path.take(data, self.last[1], self.now)
        elif event == AGAIN and self.last is not None:
            self.path.take(*self.last, self.now)
        elif event == FROM_DISC:
            found = [question for question, _ in self.in_flight.received(wire, data, self.now)]
        elif event == TIME:
            self.now += whom / 16
            while (question := self.in_flight.take_expired(self.now)) is not None:
                found.append(question)
        elif event == ODD:
            self.path.take_odd()
            self.path.take_notes()
        elif event == CLOSE:
            self.path.is_open = False
            found = self.path.take_back()
        if event == BREAK or wire.fault is not None:
            self.in_flight.set_ready(wire, False)
            found += self.in_flight.take_back(wire)
            self.wires[whom & 1] = self.connect()
        self.ended += len(found)
        hold(self.ended == len(self.adopted), "a question ends once")
        self.check_replies()
        self.check_flights()
        return 0

    cdef int check_replies(self) except -1:
        cdef const uint8_t *p
        cdef Py_ssize_t most
        for reply, source in self.path.departures.take():
            p = reply
            hold(reply.startswith(b"SIP/2.0 ") and b"\r\n\r\n" in reply, "a reply is one")
            check_lines(p, p + len(reply))
            octets = source[0].split(".")
            most = self.sizes[int(octets[1]) * 256 + int(octets[2])]
            hold(reply.startswith(b"SIP/2.0 200 ") or len(reply) <= max(2 * most, 512), "a reply has its limit")

    cdef int check_flights(self) except -1:
        cdef Flight *flight = self.in_flight.first
        cdef Flight *before = NULL
        cdef Py_ssize_t count = 0, under_way = 0
        while flight != NULL:
            hold(flight.before == before and (before == NULL or before.deadline <= flight.deadline),
                 "deadlines are in order")
            hold(flight.in_slot and self.in_flight.find(flight.msgid) == flight, "a request is found by its id")
            count += 1
            before = flight
            flight = flight.after
        hold(self.in_flight.last == before, "the last one is the last")
        for wire in self.wires:
            under_way += (<Wire>wire).under_way
        hold(count == self.in_flight.count == self.in_flight.in_slots == self.path.in_slots == under_way,
             "the counts are those of the list")


cdef int request_path(const uint8_t *data, size_t size) noexcept nogil:
    """The way of requests through the default route, in records: event, to whom, size of the bytes, and these."""
    cdef const uint8_t *p = data
    cdef const uint8_t *end = data + size
    cdef size_t n
    if size == 0 or p[0] >= EVENTS:
        return 0
    with gil:
        try:
            site = Site()
            while 4 <= end - p and p[0] < EVENTS:
                n = <size_t>p[2] << 8 | p[3]
                if not n <= <size_t>(end - p - 4):
                    n = <size_t>(end - p - 4)
                (<Site>site).play(p[0], p[1], p[4:4 + n])
                p += 4 + n
            (<Site>site).play(CLOSE, 0, b"")
            hold((<Site>site).in_flight.count == 0, "nothing is left")
        except BaseException:
            traceback.print_exc()
            hold(False, "no exception")
    return 0


# ---------------------------------------------------------------------------------- local_path

cdef double NOW = 1_800_000_000.0
_judge.check_at = NOW + 0.1     # the store need not be looked at
cdef LocalRequests _local = LocalRequests(
    -1, Transactions(1 << 20), Decisions(), None, None, _judge, None, tuple(range(64)), waits=False,
    realm="$fd", max_size=65535, max_headers=64, amplification=2, one_challenge=512)
cdef Source _sources[2]
put_source(("192.0.2.1", 5060), &_sources[0])
put_source(("2001:db8::1", 5060, 0, 0), &_sources[1])


cdef void check_local_replies(size_t size) noexcept nogil:
    """A reply is one, and within its limit: nobody knows a password."""
    cdef const uint8_t *p
    cdef size_t n
    hold(_local.departures.count <= 1, "a request has one reply")
    if _local.departures.count:
        p = <const uint8_t *>_local.departures.parts[0].iov_base
        n = _local.departures.parts[0].iov_len
        hold(n > 12 and memcmp(p, b"SIP/2.0 ", 8) == 0, "a reply is one")
        check_lines(p, p + n)
        hold(n <= max(2 * size, <size_t>512) or memcmp(p + 8, b"200", 3) == 0, "a reply has its limit")
    _local.departures.count = 0


cdef int local_path(const uint8_t *data, size_t size) noexcept nogil:
    """The way of a datagram through a SIP server that verifies itself: where it comes from, and its bytes."""
    cdef Slot *s = _local.slots.batch[0]
    cdef Work *work = _local.asked.work
    cdef size_t n = size - 1, i
    if not 1 <= size <= INLINE:
        return 0
    s.source = _sources[data[0] & 1]
    memcpy(s.inline_data, data + 1, n)
    _local.slots.messages[0].msg_len = <unsigned int>n
    work.now = NOW
    _local.take_datagram(0, 0.0)
    _local.judge_turn(0.0)
    check_local_replies(n)
    hold(work.count <= 1, "one question for one request")
    for i in range(work.count):
        if _local.asked.slots[i] != NULL:
            hold(work.cases[i].lacks or work.cases[i].stage == STAGE_DONE,
                 "what is left lacks a key, or has an answer")
            _local.slots.give_back(_local.take_slot(_local.asked, i))
    hold(_local.asked.left == 0 and _local.in_slots == 0, "each slot is given back")
    s = _local.slots.next_odd()
    if s != NULL:
        _local.slots.give_back(s)
    hold(_local.slots.next_odd() == NULL, "one request is odd once")
    _local.notes.count = 0
    work.count = 0
    work.found.buckets = NULL
    ad_scratch_release(&work.scratch)
    return 0


TARGETS = {
    "sip": <uintptr_t>&sip,
    "digest": <uintptr_t>&digest,
    "uri": <uintptr_t>&uri,
    "fields": <uintptr_t>&fields,
    "diameter": <uintptr_t>&diameter,
    "disc_session": <uintptr_t>&disc_session,
    "client_answers": <uintptr_t>&client_answers,
    "standard_answers": <uintptr_t>&standard_answers,
    "standard_questions": <uintptr_t>&standard_questions,
    "request_path": <uintptr_t>&request_path,
    "local_path": <uintptr_t>&local_path,
}
