"""MAR, the request of RFC 4740 about one SIP request (8.7), as a server reads it. `sip_request` has its AVPs.

A reader takes any order, and passes over what it does not know unless that has the M flag. Real peers send odd
forms. freeDiameter's RADIUS gateway has credentials that answer nothing in its first MAR: they count as none.
OpenSIPS has the Digest AVPs in the message itself.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from auth_diameter._core.base.span cimport Span, equal_nocase
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.diameter.avp cimport AvpView, avp_whole, padded, whole_of
from auth_diameter._core.diameter.codes cimport (
    AVP_ACCT_SESSION_ID, AVP_AUTH_APPLICATION_ID, AVP_AUTH_SESSION_STATE, AVP_DESTINATION_HOST,
    AVP_DESTINATION_REALM, AVP_DIGEST_ALGORITHM, AVP_DIGEST_CNONCE, AVP_DIGEST_ENTITY_BODY_HASH,
    AVP_DIGEST_METHOD, AVP_DIGEST_NONCE, AVP_DIGEST_NONCE_COUNT, AVP_DIGEST_OPAQUE, AVP_DIGEST_QOP,
    AVP_DIGEST_REALM, AVP_DIGEST_RESPONSE, AVP_DIGEST_URI, AVP_DIGEST_USERNAME, AVP_ORIGIN_HOST,
    AVP_ORIGIN_REALM, AVP_PROXY_INFO, AVP_SESSION_ID, AVP_SIP_AOR, AVP_SIP_AUTHENTICATION_SCHEME,
    AVP_SIP_AUTHORIZATION, AVP_SIP_AUTH_DATA_ITEM, AVP_SIP_METHOD, AVP_SIP_NUMBER_AUTH_ITEMS, AVP_SIP_SERVER_URI,
    AVP_USER_NAME, AVP_VENDOR, FLAG_ERROR, RESULT_AUTH_SCHEME_NOT_SUPPORTED,
    RESULT_AVP_OCCURS_TOO_MANY_TIMES, RESULT_INVALID_AVP_VALUE, RESULT_INVALID_HDR_BITS, SCHEME_OF_DIGEST,
)
from auth_diameter._core.diameter.fault cimport (
    Fault, check_text, keep, read_group, read_message, refuse, refuse_unknown, require,
)
from auth_diameter._core.diameter.header cimport HEADER_SIZE, get_u32, header_get
from auth_diameter._core.digest.credentials cimport answers_nothing, check_credentials, is_response
from auth_diameter._core.digest.params cimport (
    ALGORITHM, BAD_NC, BAD_QOP, CNONCE, FIELD_COUNT, MAX_PARAMETER, NC, NONCE, OK, OPAQUE, QOP, REALM, RESPONSE,
    URI, USERNAME, DigestFields, Field, classify_algorithm,
)


cdef struct Reading:
    # A MAR that is being read
    MarView *out
    uint32_t seen               # SEEN_… of the AVPs that had no other place so far
    bint scheme                 # whether the item has a SIP-Authentication-Scheme
    bint authorization          # and a SIP-Authorization


cdef enum:
    SEEN_APPLICATION = 1
    SEEN_STATE = 2
    SEEN_REALM = 4
    SEEN_ITEM = 8
    SEEN_NUMBER = 16


cdef bint read_mar(const uint8_t *p, size_t n, DigestFields *credentials, MarView *out) noexcept nogil:
    """Reads one whole MAR, as framed, and the credentials in it.

    Returns:
        Whether it is well-formed; if not, `out.fault` says why.
    """
    cdef Reading reading
    cdef Fault *fault = &out.fault
    ad_zero(out, sizeof(MarView))
    ad_zero(credentials, sizeof(DigestFields))
    out.credentials = credentials
    ad_zero(&reading, sizeof(Reading))
    reading.out = out
    header_get(p, &out.header)
    out.credentials.raw.p = p
    if out.header.flags & FLAG_ERROR:       # RFC 6733, 3: never in a request
        fault.result = RESULT_INVALID_HDR_BITS
    read_message(&out.fault, Span(p + HEADER_SIZE, n - HEADER_SIZE), read_avp, &reading)
    if not fault.result:
        require(fault, out.session_id.p != NULL, AVP_SESSION_ID, 0)
        require(fault, (reading.seen & SEEN_APPLICATION) != 0, AVP_AUTH_APPLICATION_ID, 0)
        require(fault, (reading.seen & SEEN_STATE) != 0, AVP_AUTH_SESSION_STATE, 0)
        require(fault, out.origin_host.p != NULL, AVP_ORIGIN_HOST, 0)
        require(fault, (reading.seen & SEEN_REALM) != 0, AVP_ORIGIN_REALM, 0)
        require(fault, out.destination_realm.p != NULL, AVP_DESTINATION_REALM, 0)
        require(fault, out.aor.p != NULL, AVP_SIP_AOR, 0)
        require(fault, out.method.p != NULL, AVP_SIP_METHOD, 0)
    check_text(fault, &out.aor, AVP_SIP_AOR, 0)
    check_text(fault, &out.user_name, AVP_USER_NAME, 0)
    check_text(fault, &out.session_id, AVP_SESSION_ID, 0)
    if not fault.result:
        check_response(out)
    return fault.result == 0


cdef void read_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of the message itself; one of a vendor has no meaning here."""
    cdef Reading *reading = <Reading *>to
    if avp.flags & AVP_VENDOR or not take_avp(avp, reading):
        refuse_unknown(&reading.out.fault, avp)


cdef inline bint take_avp(const AvpView *avp, Reading *reading) noexcept nogil:
    """Takes an AVP; False if it has no meaning here."""
    cdef Span *place = place_of(avp.code, reading.out)
    cdef Field field
    cdef uint32_t bit
    if place != NULL:
        keep(&reading.out.fault, place, avp)
        return True
    if avp.code == AVP_PROXY_INFO:
        reading.out.proxy_info += padded(avp_whole(avp).n)
        return True
    field = field_of_code(avp.code)
    if field != <Field>FIELD_COUNT:
        reading.out.is_flat = True
        keep_parameter(field, avp, reading.out)
        return True
    bit = bit_of(avp.code)
    if reading.seen & bit:
        refuse(&reading.out.fault, RESULT_AVP_OCCURS_TOO_MANY_TIMES, avp_whole(avp))
        return True
    reading.seen |= bit
    if bit == SEEN_ITEM:
        read_group(&reading.out.fault, avp, read_item_avp, reading)
        require(&reading.out.fault, reading.scheme, AVP_SIP_AUTHENTICATION_SCHEME, 0)
    return bit != 0


cdef void read_item_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Auth-Data-Item (9.5)."""
    cdef Reading *reading = <Reading *>to
    if avp.flags & AVP_VENDOR:
        refuse_unknown(&reading.out.fault, avp)
    elif avp.code == AVP_SIP_AUTHENTICATION_SCHEME:
        reading.scheme = True
        if avp.data.n != 4 or get_u32(avp.data.p) != SCHEME_OF_DIGEST:
            refuse(&reading.out.fault, RESULT_AUTH_SCHEME_NOT_SUPPORTED, avp_whole(avp))
    elif avp.code == AVP_SIP_AUTHORIZATION:
        if reading.authorization:
            refuse(&reading.out.fault, RESULT_AVP_OCCURS_TOO_MANY_TIMES, avp_whole(avp))
        reading.authorization = True
        read_group(&reading.out.fault, avp, read_authorization_avp, reading)
    else:
        refuse_unknown(&reading.out.fault, avp)


cdef void read_authorization_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Authorization (9.5.4)."""
    cdef MarView *out = (<Reading *>to).out
    cdef Field field = field_of_code(avp.code)
    if avp.flags & AVP_VENDOR:
        refuse_unknown(&out.fault, avp)
    elif field != <Field>FIELD_COUNT:
        keep_parameter(field, avp, out)
    elif avp.code == AVP_DIGEST_METHOD:
        keep(&out.fault, &out.digest_method, avp)
    elif avp.code == AVP_DIGEST_ENTITY_BODY_HASH:
        keep(&out.fault, &out.body_hash, avp)
    else:
        refuse_unknown(&out.fault, avp)


cdef inline uint32_t bit_of(uint32_t code) noexcept nogil:
    """SEEN_… for the code of an AVP; 0: it has none."""
    if code == AVP_AUTH_APPLICATION_ID:
        return SEEN_APPLICATION
    if code == AVP_AUTH_SESSION_STATE:
        return SEEN_STATE
    if code == AVP_ORIGIN_REALM:
        return SEEN_REALM
    if code == AVP_SIP_AUTH_DATA_ITEM:
        return SEEN_ITEM
    return SEEN_NUMBER if code == AVP_SIP_NUMBER_AUTH_ITEMS else 0


cdef Span *place_of(uint32_t code, MarView *out) noexcept nogil:
    """The place for the data of an AVP with that code; NULL if it has none."""
    if code == AVP_SESSION_ID:
        return &out.session_id
    if code == AVP_ORIGIN_HOST:
        return &out.origin_host
    if code == AVP_DESTINATION_REALM:
        return &out.destination_realm
    if code == AVP_DESTINATION_HOST:
        return &out.destination_host
    if code == AVP_USER_NAME:
        return &out.user_name
    if code == AVP_SIP_AOR:
        return &out.aor
    if code == AVP_SIP_METHOD:
        return &out.method
    if code == AVP_SIP_SERVER_URI:
        return &out.server_uri
    if code == AVP_DIGEST_METHOD:
        return &out.digest_method
    if code == AVP_DIGEST_ENTITY_BODY_HASH:
        return &out.body_hash
    return &out.acct_session_id if code == AVP_ACCT_SESSION_ID else NULL


cdef Field field_of_code(uint32_t code) noexcept nogil:
    """The parameter of credentials that a Digest AVP holds; FIELD_COUNT: none."""
    if code == AVP_DIGEST_USERNAME:
        return USERNAME
    if code == AVP_DIGEST_REALM:
        return REALM
    if code == AVP_DIGEST_NONCE:
        return NONCE
    if code == AVP_DIGEST_URI:
        return URI
    if code == AVP_DIGEST_RESPONSE:
        return RESPONSE
    if code == AVP_DIGEST_ALGORITHM:
        return ALGORITHM
    if code == AVP_DIGEST_CNONCE:
        return CNONCE
    if code == AVP_DIGEST_OPAQUE:
        return OPAQUE
    if code == AVP_DIGEST_QOP:
        return QOP
    return NC if code == AVP_DIGEST_NONCE_COUNT else <Field>FIELD_COUNT


cdef inline void keep_parameter(Field field, const AvpView *avp, MarView *out) noexcept nogil:
    """Keeps a parameter of the credentials."""
    if avp.data.n > MAX_PARAMETER:
        refuse(&out.fault, RESULT_INVALID_AVP_VALUE, avp_whole(avp))
    keep(&out.fault, &out.credentials.value[field], avp)


cdef void check_response(MarView *out) noexcept nogil:
    """Classifies the credentials.

    A response that is no digest counts as none: freeDiameter's RADIUS gateway sends one before it has a challenge.
    """
    cdef DigestFields *fields = out.credentials
    cdef size_t offset = 0
    cdef int status
    if not is_response(fields.value[RESPONSE]) or answers_nothing(fields):
        return
    require(&out.fault, fields.value[USERNAME].p != NULL, AVP_DIGEST_USERNAME, 0)
    require(&out.fault, fields.value[REALM].p != NULL, AVP_DIGEST_REALM, 0)
    require(&out.fault, fields.value[URI].p != NULL, AVP_DIGEST_URI, 0)
    if out.fault.result:
        return
    if out.user_name.p != NULL and not is_name_of(out.user_name, fields):
        refuse(&out.fault, RESULT_INVALID_AVP_VALUE, whole_of(out.user_name))
        return
    classify_algorithm(fields)
    status = check_credentials(fields.raw, fields, &offset)
    if status == OK:
        out.has_response = True
    elif status == BAD_NC:
        invalid(out, fields.value[NC])
    elif status == BAD_QOP:
        invalid(out, fields.value[QOP])
    else:
        invalid(out, fields.value[RESPONSE])


cdef inline bint is_name_of(Span user_name, const DigestFields *fields) noexcept nogil:
    """Whether User-Name is the username of the credentials (8.7); OpenSIPS adds their realm to it."""
    cdef Span name = fields.value[USERNAME], realm = fields.value[REALM]
    if user_name.n < name.n or memcmp(user_name.p, name.p, name.n) != 0:
        return False
    return user_name.n == name.n or (
        user_name.p[name.n] == c'@'
        and equal_nocase(Span(user_name.p + name.n + 1, user_name.n - name.n - 1), realm))


cdef inline void invalid(MarView *out, Span data) noexcept nogil:
    """Keeps the first fault: an AVP without a vendor, whose data these are, has a wrong value."""
    if data.p == NULL:      # it is missing, beside another that needs it
        require(&out.fault, False, AVP_DIGEST_QOP, 0)
    else:
        refuse(&out.fault, RESULT_INVALID_AVP_VALUE, whole_of(data))
