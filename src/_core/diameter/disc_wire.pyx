"""The DISC dialect of Diameter, that of OpenSER's auth_diameter, on the wire.

A message has a Diameter header (RFC 6733, 3) with command 265 (AA) and application 1. AVPs 400 to 406 have
meanings of their own; NASREQ (RFC 7155) gives these numbers to other AVPs, so that the dialect never shares a
connection with standard Diameter. The order on the wire::

    question, authentication   Resource, Destination-Realm, Service-Type "6", SIP-MSGID, User-Name,
                               and with credentials: Response, Method
    question, group check      Destination-Realm, Service-Type "8", SIP-MSGID, User-Group, User-Name
    answer                     Result-Code, SIP-MSGID, Service-Type, and with 4001: Challenge

Extensions that OpenSER's module does not know, used only if both sides are configured for them: several
Challenge AVPs in one answer (RFC 8760), Digest-Entity-Body-Hash with qop=auth-int, Calling-Station-Id with
the address of the UAC, Session-Id with an identifier that retransmissions of a SIP request share, Digest-
Response-Auth and Digest-Nextnonce for Authentication-Info, and Failed-AVP if credentials were refused for a
reason other than a wrong digest.

Readers accept any order. An answer belongs to the question with the same SIP-MSGID, or, without one, with the
same Hop-by-Hop Identifier. SIP-MSGID comes first because the original DISC puts identifiers of its own into
the header.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.diameter.avp cimport AVP_HEADER, AvpView, avp_next, avp_put, avp_put_u32, avp_size
from auth_diameter._core.base.chars cimport ad_find_control, is_lws
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_NASREQ, AVP_CALLING_STATION_ID, AVP_CHALLENGE, AVP_DESTINATION_REALM,
    AVP_DIGEST_ENTITY_BODY_HASH, AVP_DIGEST_NEXTNONCE, AVP_DIGEST_RESPONSE_AUTH, AVP_MANDATORY, AVP_METHOD,
    AVP_RESOURCE,
    AVP_FAILED_AVP, AVP_RESPONSE, AVP_RESULT_CODE, AVP_SERVICE_TYPE, AVP_SESSION_ID, AVP_SIP_MSGID, AVP_USER_GROUP,
    AVP_USER_NAME, COMMAND_AA,
    FLAG_ERROR, FLAG_PROXIABLE, FLAG_REQUEST, FLAG_RETRANSMITTED, RESULT_AVP_OCCURS_TOO_MANY_TIMES,
    RESULT_COMMAND_UNSUPPORTED,
    RESULT_INVALID_AVP_LENGTH, RESULT_INVALID_AVP_VALUE, RESULT_INVALID_HDR_BITS, RESULT_MISSING_AVP,
    SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK,
)
from auth_diameter._core.digest.challenge cimport is_challenge
from auth_diameter._core.digest.credentials cimport is_response
from auth_diameter._core.digest.params cimport (
    MAX_PARAMETER, REALM, USERNAME, USERNAME_STAR, DigestFields, plain_value, put_ext_value,
)
from auth_diameter._core.base.hex cimport ad_put_hex
from auth_diameter._core.diameter.header cimport (
    DIAMETER_VERSION, HEADER_SIZE, Header, get_u32, header_get, header_put,
)
from auth_diameter._core.sip.parse cimport SipMessage, identity
from auth_diameter._core.base.span cimport Reader, Span, put_u32
from auth_diameter._core.sip.uri cimport SipUri, put_address, put_address_and_port

cdef enum:
    SESSION_SIZE = 32       # hexadecimal digits
    # Header, the headers and padding of all AVPs that a question may have, and Session-Id
    FRAME_ROOM = HEADER_SIZE + 11 * 12 + SESSION_SIZE


# ---------------------------------------------------------------------------------- questions, written


cdef size_t authentication_room(const Asked *asked) noexcept nogil:
    """The largest size that `put_authentication` writes."""
    cdef size_t n = FRAME_ROOM + asked.realm.n + asked.body_hash.n + asked.source.n
    # User-Name is the realm where the identity has no host.
    n += asked.request.request_uri.text.n + identity(asked.request).text.n + asked.realm.n
    if asked.credentials != NULL:
        # Response holds all of them, and User-Name at most username and realm, which are parts of them.
        n += 2 * asked.credentials.raw.n + asked.request.method_name.n
    return n


cdef size_t put_authentication(uint8_t *out, const Asked *asked) noexcept nogil:
    """Writes the question about credentials, or for a challenge.

    Returns:
        Its size.
    """
    cdef const SipMessage *m = asked.request
    cdef uint8_t *q = out + HEADER_SIZE
    q = avp_put_in_place(q, AVP_RESOURCE, put_address_and_port(q + AVP_HEADER, &m.request_uri))
    q = put_common(q, asked.realm, SERVICE_AUTHENTICATION, asked.msgid)
    if asked.credentials == NULL:
        q = put_identity_avp(q, identity(m), asked.realm)
    else:
        q = put_username_avp(q, asked.credentials)
        q = put_response_avp(q, asked.credentials.raw)
        q = avp_put(q, AVP_METHOD, AVP_MANDATORY, m.method_name.p, m.method_name.n)
    if asked.body_hash.n:
        q = avp_put(q, AVP_DIGEST_ENTITY_BODY_HASH, 0, asked.body_hash.p, asked.body_hash.n)
    if asked.source.n:
        q = avp_put(q, AVP_CALLING_STATION_ID, 0, asked.source.p, asked.source.n)
        ad_put_hex(q + AVP_HEADER, <const uint8_t *>asked.session)
        q = avp_put_in_place(q, AVP_SESSION_ID, SESSION_SIZE)
    return put_question_header(out, q, asked.msgid, asked.end_to_end,
                               FLAG_REQUEST | (FLAG_RETRANSMITTED if asked.again else 0))


cdef size_t group_check_room(Span realm, Span user_name, Span group) noexcept nogil:
    """The largest size that `put_group_check` writes."""
    return FRAME_ROOM + realm.n + user_name.n + group.n


cdef size_t put_group_check(uint8_t *out, Span realm, Span user_name, Span group, uint32_t msgid) noexcept nogil:
    """Writes the question whether a user is in a group; `msgid` becomes all three identifiers.

    Returns:
        Its size.
    """
    cdef uint8_t *q = put_common(out + HEADER_SIZE, realm, SERVICE_GROUP_CHECK, msgid)
    q = avp_put(q, AVP_USER_GROUP, AVP_MANDATORY, group.p, group.n)
    q = avp_put(q, AVP_USER_NAME, AVP_MANDATORY, user_name.p, user_name.n)
    return put_question_header(out, q, msgid, msgid, FLAG_REQUEST)


cdef inline uint8_t *put_common(uint8_t *q, Span realm, uint8_t service, uint32_t msgid) noexcept nogil:
    """Writes the AVPs that every question has.

    Returns:
        The end.
    """
    cdef uint8_t id_bytes[4]
    put_u32(id_bytes, msgid)
    q = avp_put(q, AVP_DESTINATION_REALM, AVP_MANDATORY, realm.p, realm.n)
    q = avp_put(q, AVP_SERVICE_TYPE, AVP_MANDATORY, &service, 1)
    return avp_put(q, AVP_SIP_MSGID, 0, id_bytes, 4)


cdef inline size_t put_question_header(uint8_t *out, const uint8_t *end, uint32_t msgid, uint32_t end_to_end,
                                       uint8_t flags) noexcept nogil:
    """Writes the header of the question that ends at `end`.

    Returns:
        The size of the question.
    """
    cdef Header header
    header.version = DIAMETER_VERSION
    header.length = <uint32_t>(end - out)
    header.flags = flags
    header.command = COMMAND_AA
    header.application_id = APPLICATION_NASREQ
    header.hop_by_hop = msgid
    header.end_to_end = end_to_end
    header_put(out, &header)
    return header.length


cdef uint8_t *put_identity_avp(uint8_t *q, const SipUri *uri, Span realm) noexcept nogil:
    """Writes User-Name without credentials: user@host, or the host alone.

    A URI without a host, such as tel: and urn:, names no user of the realm: User-Name is the realm then. It
    is never empty, which DISC would refuse.

    Returns:
        The end.
    """
    if uri.host.n:
        return avp_put_in_place(q, AVP_USER_NAME, put_address(q + AVP_HEADER, uri))
    return avp_put(q, AVP_USER_NAME, AVP_MANDATORY, realm.p, realm.n)


cdef uint8_t *avp_put_in_place(uint8_t *q, uint32_t code, size_t n) noexcept nogil:
    """Writes header and padding around n bytes of data that are already in place behind the header.

    Returns:
        The end.
    """
    put_u32(q, code)
    put_u32(q + 4, (<uint32_t>AVP_MANDATORY << 24) | <uint32_t>(AVP_HEADER + n))
    memset(q + AVP_HEADER + n, 0, avp_size(n) - AVP_HEADER - n)
    return q + avp_size(n)


cdef uint8_t *put_username_avp(uint8_t *q, const DigestFields *credentials) noexcept nogil:
    """Writes User-Name with credentials: the username if it holds an "@", else username@realm.

    A NUL, from a quoted-pair or %00, becomes "?": DISC refuses a message with a NUL, and uses the username in
    the credentials anyway.

    Returns:
        The end.
    """
    cdef uint8_t *start = q + AVP_HEADER
    cdef uint8_t *at = start
    cdef uint8_t *p
    cdef uint8_t room[MAX_PARAMETER]
    cdef Span name
    cdef bint qualified = False
    if credentials.value[USERNAME_STAR].p == NULL:
        name = plain_value(credentials, USERNAME, room)
        if name.n:
            memcpy(at, name.p, name.n)
        at += name.n
    else:
        at = put_ext_value(at, plain_value(credentials, USERNAME_STAR, room))
    p = start
    while p < at:
        qualified = qualified or p[0] == c'@'
        p += 1
    if not qualified:
        at[0] = c'@'
        at += 1
        name = plain_value(credentials, REALM, room)
        if name.n:
            memcpy(at, name.p, name.n)
        at += name.n
    p = start
    while p < at:
        if p[0] == 0:
            p[0] = c'?'
        p += 1
    return avp_put_in_place(q, AVP_USER_NAME, <size_t>(at - start))


cdef uint8_t *put_response_avp(uint8_t *q, Span raw) noexcept nogil:
    """Writes Response: the whole credentials, each fold as one space (RFC 3261, 7.3.1).

    Returns:
        The end.
    """
    cdef const uint8_t *p = raw.p
    cdef const uint8_t *end = raw.p + raw.n
    cdef uint8_t *at = q + AVP_HEADER
    cdef const uint8_t *hit
    while p < end:
        hit = ad_find_control(p, end)
        memcpy(at, p, <size_t>(hit - p))
        at += hit - p
        p = hit
        if p < end and p[0] == c'\r':
            while p < end and is_lws(p[0]):
                p += 1
            at[0] = c' '
            at += 1
        elif p < end:
            at[0] = p[0]
            at += 1
            p += 1
    return avp_put_in_place(q, AVP_RESPONSE, <size_t>(at - q - AVP_HEADER))


# ---------------------------------------------------------------------------------- answers, read


cdef struct Seen:
    # What the AVPs of an answer held so far
    int msgids
    bint result_code
    size_t challenge_bytes


cdef bint read_answer(const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
    """Reads one whole message, as framed.

    Returns:
        Whether the answer may be used; if not, `out.fault` is the reason.
    """
    cdef Header header
    cdef Reader r
    cdef AvpView avp
    cdef Seen seen
    cdef int status
    memset(out, 0, sizeof(AnswerView))
    memset(&seen, 0, sizeof(Seen))
    header_get(p, &header)
    out.msgid = header.hop_by_hop
    r.p = p + HEADER_SIZE
    r.end = p + n
    if header.command != COMMAND_AA:
        out.fault = "not an AA-Answer"
    while True:
        status = avp_next(&r, &avp)
        if status <= 0:
            break
        if not avp.vendor_id:
            read_answer_avp(&avp, &seen, out)
    if status < 0:
        out.fault = "malformed AVP"
    elif not seen.result_code and out.fault == NULL:
        out.fault = "no Result-Code"
    elif header.flags & FLAG_ERROR and out.result_code // 1000 == 2 and out.fault == NULL:
        out.fault = "a success with the error bit"      # RFC 6733, 7.1.3: it stands with 3xxx alone
    return out.fault == NULL


cdef inline void read_answer_avp(const AvpView *avp, Seen *seen, AnswerView *out) noexcept nogil:
    """Reads one AVP of an answer; unknown ones are passed over."""
    if avp.code == AVP_SIP_MSGID:
        seen.msgids += 1
        if avp.data.n != 4 or seen.msgids > 1:
            out.fault = "SIP-MSGID of a wrong size, or twice"
            out.msgid = -1
        else:
            out.msgid = get_u32(avp.data.p)
    elif avp.code == AVP_RESULT_CODE:
        if avp.data.n != 4 or seen.result_code:
            out.fault = "Result-Code of a wrong size, or twice"
        else:
            out.result_code = get_u32(avp.data.p)
        seen.result_code = True
    elif avp.code == AVP_SERVICE_TYPE:
        if avp.data.n != 1 or avp.data.p[0] == 0 or out.service_type:
            out.fault = "Service-Type of a wrong size, NUL, or twice"
        else:
            out.service_type = avp.data.p[0]
    elif avp.code == AVP_CHALLENGE:
        add_challenge(avp.data, seen, out)
    elif avp.code == AVP_DIGEST_RESPONSE_AUTH:
        if not is_response(avp.data) or out.response_auth.p != NULL:
            out.fault = "Digest-Response-Auth is no response, or given twice"
        else:
            out.response_auth = avp.data
    elif avp.code == AVP_DIGEST_NEXTNONCE:
        if not is_nonce(avp.data) or out.nextnonce.p != NULL:
            out.fault = "Digest-Nextnonce cannot stand in a quoted string, or is given twice"
        else:
            out.nextnonce = avp.data
    elif avp.code == AVP_FAILED_AVP:
        if AVP_HEADER <= avp.data.n:
            out.failed_avp = get_u32(avp.data.p)
    elif avp.code == AVP_USER_NAME:
        if out.user_name.p != NULL or ad_find_control(avp.data.p, avp.data.p + avp.data.n) != (
                avp.data.p + avp.data.n):
            out.fault = "User-Name with a control character, or twice"
        else:
            out.user_name = avp.data


cdef inline void add_challenge(Span text, Seen *seen, AnswerView *out) noexcept nogil:
    """Keeps a Challenge, which becomes a header field of the reply."""
    # DISC ends it with CRLF, see put_challenge.
    while text.n and is_lws(text.p[text.n - 1]):
        text.n -= 1
    seen.challenge_bytes += text.n
    if out.challenges == MAX_CHALLENGES or seen.challenge_bytes > MAX_CHALLENGE:
        out.fault = "more Challenges than fit into a reply"
    elif not is_challenge(text):
        out.fault = "Challenge is not one line of the Digest scheme"
    else:
        out.challenge[out.challenges] = text
        out.challenges += 1


cdef inline bint is_nonce(Span s) noexcept nogil:
    """Whether it needs no escapes in a quoted string: printable ASCII without quote and backslash."""
    cdef size_t i
    for i in range(s.n):
        if s.p[i] <= c' ' or s.p[i] >= 127 or s.p[i] == c'"' or s.p[i] == c'\\':
            return False
    return 0 < s.n <= MAX_NEXTNONCE


# ---------------------------------------------------------------------------------- questions, read


cdef bint read_question(const uint8_t *p, size_t n, QuestionView *out) noexcept nogil:
    """Reads one whole message, as framed, from our client or from the C module of OpenSER and Kamailio.

    The C module ends User-Name and Resource with NUL bytes, which are cut off.

    Returns:
        Whether the question is well-formed; if not, `out.fault` is the Result-Code of the refusal.
    """
    cdef Reader r
    cdef AvpView avp
    cdef int status
    cdef Span service
    cdef Span *place
    memset(out, 0, sizeof(QuestionView))
    service.p = NULL
    service.n = 0
    header_get(p, &out.header)
    out.told.serial = out.header.end_to_end
    if out.header.flags & FLAG_ERROR:
        out.fault = RESULT_INVALID_HDR_BITS
    elif out.header.command != COMMAND_AA:
        out.fault = RESULT_COMMAND_UNSUPPORTED
    r.p = p + HEADER_SIZE
    r.end = p + n
    while True:
        status = avp_next(&r, &avp)
        if status <= 0:
            break
        if avp.vendor_id:
            continue
        place = &service if avp.code == AVP_SERVICE_TYPE else place_of(avp.code, out)
        if place == NULL:
            continue
        if place.p != NULL:
            refuse(out, RESULT_AVP_OCCURS_TOO_MANY_TIMES)
        place[0] = avp.data
    if service.n == 1:
        out.service_type = service.p[0]    # a refusal repeats it, too
    if status < 0:
        refuse(out, RESULT_INVALID_AVP_LENGTH)
    else:
        cut_nuls(&out.told.user_name)
        cut_nuls(&out.told.resource)
        check_question(service, out)
    return out.fault == 0


cdef inline Span *place_of(uint32_t code, QuestionView *out) noexcept nogil:
    """The place for the data of an AVP with that code; NULL if it is unknown, or Service-Type."""
    if code == AVP_USER_NAME:
        return &out.told.user_name
    if code == AVP_DESTINATION_REALM:
        return &out.told.realm
    if code == AVP_RESOURCE:
        return &out.told.resource
    if code == AVP_RESPONSE:
        return &out.response
    if code == AVP_METHOD:
        return &out.told.method
    if code == AVP_USER_GROUP:
        return &out.told.group
    if code == AVP_SIP_MSGID:
        return &out.msgid
    if code == AVP_DIGEST_ENTITY_BODY_HASH:
        return &out.told.body_hash
    if code == AVP_CALLING_STATION_ID:
        return &out.told.source
    if code == AVP_SESSION_ID:
        return &out.told.session
    return NULL


cdef inline void check_question(Span service, QuestionView *out) noexcept nogil:
    """Checks the AVPs that the Service-Type requires."""
    if service.p == NULL or out.told.user_name.p == NULL or out.told.realm.p == NULL:
        refuse(out, RESULT_MISSING_AVP)
    elif service.n != 1:
        refuse(out, RESULT_INVALID_AVP_LENGTH)
    elif holds_nul(out.told.user_name) or out.told.user_name.n == 0:
        refuse(out, RESULT_INVALID_AVP_VALUE)
    elif out.service_type == SERVICE_AUTHENTICATION:
        if out.response.p != NULL and out.told.method.n == 0:
            refuse(out, RESULT_MISSING_AVP)
    elif out.service_type == SERVICE_GROUP_CHECK:
        if out.told.group.n == 0:
            refuse(out, RESULT_MISSING_AVP)
    else:
        refuse(out, RESULT_INVALID_AVP_VALUE)


cdef inline void refuse(QuestionView *question, uint32_t result_code) noexcept nogil:
    """Keeps the first fault."""
    if question.fault == 0:
        question.fault = result_code


cdef inline void cut_nuls(Span *s) noexcept nogil:
    while s.n and s.p[s.n - 1] == 0:
        s.n -= 1


cdef inline bint holds_nul(Span s) noexcept nogil:
    cdef size_t i
    for i in range(s.n):
        if s.p[i] == 0:
            return True
    return False


# ---------------------------------------------------------------------------------- answers, written


cdef size_t answer_size(const QuestionView *question) noexcept nogil:
    """The size that `put_answer` writes."""
    cdef size_t n = HEADER_SIZE + 12
    if question.msgid.n:
        n += avp_size(question.msgid.n)
    if question.service_type:
        n += avp_size(1)
    return n


cdef size_t put_answer(uint8_t *out, const QuestionView *question, uint32_t result_code,
                       size_t more) noexcept nogil:
    """Writes the AA-Answer up to Service-Type; `more` bytes of other AVPs will follow.

    Returns:
        The size without them.
    """
    cdef uint8_t *q
    cdef Header header = question.header
    cdef size_t n = answer_size(question)
    header.version = DIAMETER_VERSION
    header.length = <uint32_t>(n + more)
    header.flags = question.header.flags & FLAG_PROXIABLE
    if result_code // 1000 == 3:
        header.flags |= FLAG_ERROR      # RFC 6733, 7.1.3: protocol errors, and they only
    q = header_put(out, &header)
    q = avp_put_u32(q, AVP_RESULT_CODE, AVP_MANDATORY, result_code)
    if question.msgid.n:
        q = avp_put(q, AVP_SIP_MSGID, 0, question.msgid.p, question.msgid.n)
    if question.service_type:
        q = avp_put(q, AVP_SERVICE_TYPE, AVP_MANDATORY, &question.service_type, 1)
    return n


cdef size_t failed_avp_size() noexcept nogil:
    """The size that `put_failed_avp` writes."""
    return avp_size(AVP_HEADER)


cdef uint8_t *put_failed_avp(uint8_t *q, uint32_t code) noexcept nogil:
    """Writes Failed-AVP with an empty AVP of that code (RFC 6733, 7.5).

    Returns:
        The end.
    """
    avp_put(q + AVP_HEADER, code, 0, NULL, 0)
    return avp_put_in_place(q, AVP_FAILED_AVP, AVP_HEADER)


cdef size_t challenge_size(Span challenge) noexcept nogil:
    """The size that `put_challenge` writes."""
    return avp_size(challenge.n + 2)


cdef uint8_t *put_challenge(uint8_t *q, Span challenge) noexcept nogil:
    """Writes a Challenge AVP.

    Its value ends with CRLF: the C module copies it unchanged and puts the next header field right behind it.

    Returns:
        The end.
    """
    memcpy(q + AVP_HEADER, challenge.p, challenge.n)
    memcpy(q + AVP_HEADER + challenge.n, b"\r\n", 2)
    return avp_put_in_place(q, AVP_CHALLENGE, challenge.n + 2)
