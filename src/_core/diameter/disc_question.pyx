"""Questions of the DISC dialect on the wire. The format is in disc.pyx."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memchr, memcpy

from auth_diameter._core.diameter.application cimport Asked
from auth_diameter._core.diameter.avp cimport AVP_HEADER, AvpView, avp_next, avp_put, avp_put_in_place
from auth_diameter._core.base.chars cimport ad_find_control, is_lws
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_NASREQ, AVP_CALLING_STATION_ID, AVP_DESTINATION_REALM, AVP_DIGEST_ENTITY_BODY_HASH, AVP_MANDATORY,
    AVP_METHOD, AVP_RESOURCE, AVP_RESPONSE, AVP_SERVICE_TYPE, AVP_SESSION_ID, AVP_SIP_MSGID, AVP_USER_GROUP,
    AVP_USER_NAME, COMMAND_AA, FLAG_ERROR, FLAG_REQUEST, FLAG_RETRANSMITTED, RESULT_AVP_OCCURS_TOO_MANY_TIMES,
    RESULT_COMMAND_UNSUPPORTED, RESULT_INVALID_AVP_LENGTH, RESULT_INVALID_AVP_VALUE, RESULT_INVALID_HDR_BITS,
    RESULT_MISSING_AVP, SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK,
)
from auth_diameter._core.digest.params cimport (
    MAX_PARAMETER, REALM, USERNAME, USERNAME_STAR, DigestFields, plain_value, put_ext_value,
)
from auth_diameter._core.base.hex cimport ad_put_hex
from auth_diameter._core.diameter.header cimport DIAMETER_VERSION, HEADER_SIZE, Header, header_get, header_put
from auth_diameter._core.sip.parse cimport SipMessage, identity
from auth_diameter._core.base.span cimport Reader, Span, put_u32
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.sip.uri cimport SipUri, put_address, put_address_and_port

cdef enum:
    SESSION_SIZE = 32       # hexadecimal digits
    # Header, the headers and padding of all AVPs that a question may have, and Session-Id
    FRAME_ROOM = HEADER_SIZE + 11 * 12 + SESSION_SIZE


# ---------------------------------------------------------------------------------- written


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
        ad_put_hex(q + AVP_HEADER, <const uint8_t *>asked.fingerprint)
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
    if credentials.value[USERNAME_STAR].p == NULL:
        name = plain_value(credentials, USERNAME, room)
        if name.n:
            memcpy(at, name.p, name.n)
        at += name.n
    else:
        at = put_ext_value(at, plain_value(credentials, USERNAME_STAR, room))
    if memchr(start, c'@', <size_t>(at - start)) == NULL:
        at[0] = c'@'
        at += 1
        name = plain_value(credentials, REALM, room)
        if name.n:
            memcpy(at, name.p, name.n)
        at += name.n
    p = <uint8_t *>memchr(start, 0, <size_t>(at - start))
    while p != NULL:
        p[0] = c'?'
        p = <uint8_t *>memchr(p, 0, <size_t>(at - p))
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


# ---------------------------------------------------------------------------------- read


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
    ad_zero(out, sizeof(QuestionView))
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
    return s.n > 0 and memchr(s.p, 0, s.n) != NULL
