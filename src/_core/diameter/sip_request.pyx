"""MAR, the request of RFC 4740 about one SIP request (8.7), as a client writes it. `sip_received` reads it.

::

    Session-Id                          <our Origin-Host>;<number>;<number>, the same for all requests of a call
    Auth-Application-Id                 6
    Auth-Session-State                  NO_STATE_MAINTAINED
    Origin-Host, Origin-Realm
    Destination-Realm, [Destination-Host]
    SIP-AOR                             REGISTER: To; any other: the Request-URI
    SIP-Method
    [User-Name]                         with credentials: the username in them
    [SIP-Server-URI]                    of a registrar
    SIP-Number-Auth-Items               1
    [SIP-Auth-Data-Item]                with credentials:
        SIP-Authentication-Scheme       DIGEST
        SIP-Authorization               Digest-Username, -Realm, -Nonce, -URI, -Response, [-Algorithm], [-CNonce],
                                        [-Opaque], [-QoP], [-Nonce-Count], -Method, [-Entity-Body-Hash]

Values of Digest AVPs are plain: they have neither quotes nor quoted-pairs (9.5.1).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end_64, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.avp cimport AVP_HEADER, avp_put_in_place, avp_put_u32
from auth_diameter._core.diameter.avp_text cimport put_parameter, put_text
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_SIP, AVP_AUTH_APPLICATION_ID, AVP_AUTH_SESSION_STATE, AVP_DESTINATION_HOST,
    AVP_DESTINATION_REALM, AVP_DIGEST_ALGORITHM, AVP_DIGEST_CNONCE, AVP_DIGEST_ENTITY_BODY_HASH,
    AVP_DIGEST_METHOD, AVP_DIGEST_NONCE, AVP_DIGEST_NONCE_COUNT, AVP_DIGEST_OPAQUE, AVP_DIGEST_QOP,
    AVP_DIGEST_REALM, AVP_DIGEST_RESPONSE, AVP_DIGEST_URI, AVP_DIGEST_USERNAME, AVP_MANDATORY, AVP_ORIGIN_HOST,
    AVP_ORIGIN_REALM, AVP_SESSION_ID, AVP_SIP_AOR, AVP_SIP_AUTHENTICATION_SCHEME, AVP_SIP_AUTHORIZATION,
    AVP_SIP_AUTH_DATA_ITEM, AVP_SIP_METHOD, AVP_SIP_NUMBER_AUTH_ITEMS, AVP_SIP_SERVER_URI, AVP_USER_NAME,
    COMMAND_MULTIMEDIA_AUTH, FLAG_PROXIABLE, FLAG_REQUEST, FLAG_RETRANSMITTED, NO_STATE_MAINTAINED,
    SCHEME_OF_DIGEST,
)
from auth_diameter._core.diameter.header cimport DIAMETER_VERSION, HEADER_SIZE, Header, header_put
from auth_diameter._core.digest.params cimport (
    ALGORITHM, CNONCE, MAX_PARAMETER, NC, NONCE, OPAQUE, QOP, REALM, RESPONSE, URI, USERNAME, USERNAME_STAR,
    DigestFields, plain_value, put_ext_value,
)
from auth_diameter._core.sip.parse cimport METHOD_REGISTER, SipMessage
from auth_diameter._core.sip.uri cimport SCHEME_SIP, SCHEME_SIPS, SipUri, put_address_and_port

cdef enum:
    NUMBER_ROOM = 10            # digits of 32 bits
    # Header, the headers and padding of all AVPs, and the values of a known size
    FRAME_ROOM = HEADER_SIZE + 32 * 12 + 2 * (NUMBER_ROOM + 1)


# ---------------------------------------------------------------------------------- written


cdef size_t mar_room(const Asked *asked, const Route *route) noexcept nogil:
    """The largest size that `put_mar` writes."""
    cdef size_t n = (FRAME_ROOM + 2 * route.origin_host.n + route.origin_realm.n + route.destination_realm.n
                     + route.destination_host.n + route.server_uri.n + asked.realm.n + asked.body_hash.n)
    n += target_of(asked.request).text.n + 2 * asked.request.method_name.n + 5      # "sips:"
    if asked.credentials != NULL:
        # The parameters are parts of them, and the username is there twice.
        n += 2 * asked.credentials.raw.n
    return n


cdef inline const SipUri *target_of(const SipMessage *m) noexcept nogil:
    """The URI of SIP-AOR (8.7)."""
    return &m.to if m.method == METHOD_REGISTER else &m.request_uri


cdef size_t put_mar(uint8_t *out, const Asked *asked, const Route *route) noexcept nogil:
    """Writes the MAR about a request.

    Args:
        out: has `mar_room` bytes.
        asked: the question, with its identifiers.
        route: the client, and where its requests go.

    Returns:
        The size.
    """
    cdef const SipMessage *m = asked.request
    cdef Header header
    cdef Span realm = route.destination_realm if route.destination_realm.n else asked.realm
    cdef uint8_t *q = out + HEADER_SIZE
    q = avp_put_in_place(q, AVP_SESSION_ID, put_session(q + AVP_HEADER, route.origin_host, asked.session))
    q = avp_put_u32(q, AVP_AUTH_APPLICATION_ID, AVP_MANDATORY, APPLICATION_SIP)
    q = avp_put_u32(q, AVP_AUTH_SESSION_STATE, AVP_MANDATORY, NO_STATE_MAINTAINED)
    q = put_text(q, AVP_ORIGIN_HOST, route.origin_host)
    q = put_text(q, AVP_ORIGIN_REALM, route.origin_realm)
    q = put_text(q, AVP_DESTINATION_REALM, realm)
    if route.destination_host.n:
        q = put_text(q, AVP_DESTINATION_HOST, route.destination_host)
    q = avp_put_in_place(q, AVP_SIP_AOR, put_uri(q + AVP_HEADER, target_of(m)))
    q = put_text(q, AVP_SIP_METHOD, m.method_name)
    if asked.credentials != NULL:
        q = avp_put_in_place(q, AVP_USER_NAME, put_username(q + AVP_HEADER, asked.credentials))
    if route.server_uri.n:
        q = put_text(q, AVP_SIP_SERVER_URI, route.server_uri)
    q = avp_put_u32(q, AVP_SIP_NUMBER_AUTH_ITEMS, AVP_MANDATORY, 1)
    if asked.credentials != NULL:
        q = put_item(q, asked)
    header.version = DIAMETER_VERSION
    header.length = <uint32_t>(q - out)
    header.flags = FLAG_REQUEST | FLAG_PROXIABLE | (FLAG_RETRANSMITTED if asked.again else 0)
    header.command = COMMAND_MULTIMEDIA_AUTH
    header.application_id = APPLICATION_SIP
    header.hop_by_hop = asked.msgid
    header.end_to_end = asked.end_to_end
    header_put(out, &header)
    return header.length


cdef uint8_t *put_item(uint8_t *q, const Asked *asked) noexcept nogil:
    """Writes SIP-Auth-Data-Item with the credentials (9.5).

    Returns:
        The end.
    """
    cdef const DigestFields *fields = asked.credentials
    cdef uint8_t *item = q
    cdef uint8_t *inner
    q = avp_put_u32(item + AVP_HEADER, AVP_SIP_AUTHENTICATION_SCHEME, AVP_MANDATORY, SCHEME_OF_DIGEST)
    inner = q
    q = inner + AVP_HEADER
    q = avp_put_in_place(q, AVP_DIGEST_USERNAME, put_username(q + AVP_HEADER, fields))
    q = put_parameter(q, AVP_DIGEST_REALM, fields, REALM)
    q = put_parameter(q, AVP_DIGEST_NONCE, fields, NONCE)
    q = put_parameter(q, AVP_DIGEST_URI, fields, URI)
    q = put_parameter(q, AVP_DIGEST_RESPONSE, fields, RESPONSE)
    q = put_parameter(q, AVP_DIGEST_ALGORITHM, fields, ALGORITHM)
    q = put_parameter(q, AVP_DIGEST_CNONCE, fields, CNONCE)
    q = put_parameter(q, AVP_DIGEST_OPAQUE, fields, OPAQUE)
    q = put_parameter(q, AVP_DIGEST_QOP, fields, QOP)
    q = put_parameter(q, AVP_DIGEST_NONCE_COUNT, fields, NC)
    q = put_text(q, AVP_DIGEST_METHOD, asked.request.method_name)
    if asked.body_hash.n:
        q = put_text(q, AVP_DIGEST_ENTITY_BODY_HASH, asked.body_hash)
    q = avp_put_in_place(inner, AVP_SIP_AUTHORIZATION, <size_t>(q - inner - AVP_HEADER))
    return avp_put_in_place(item, AVP_SIP_AUTH_DATA_ITEM, <size_t>(q - item - AVP_HEADER))


cdef inline size_t put_username(uint8_t *q, const DigestFields *fields) noexcept nogil:
    """Writes the username, decoded where it is ``username*`` (RFC 8187); returns its size."""
    cdef uint8_t room[MAX_PARAMETER]
    cdef Span name
    if fields.value[USERNAME_STAR].p != NULL:
        return <size_t>(put_ext_value(q, plain_value(fields, USERNAME_STAR, room)) - q)
    name = plain_value(fields, USERNAME, room)
    if name.n:
        memcpy(q, name.p, name.n)
    return name.n


cdef inline size_t put_uri(uint8_t *q, const SipUri *uri) noexcept nogil:
    """Writes an addr-spec without password, parameters and headers; one of another scheme as it is."""
    if uri.scheme == SCHEME_SIP and uri.host.n:
        memcpy(q, b"sip:", 4)
        return 4 + put_address_and_port(q + 4, uri)
    if uri.scheme == SCHEME_SIPS and uri.host.n:
        memcpy(q, b"sips:", 5)
        return 5 + put_address_and_port(q + 5, uri)
    if uri.text.n:
        memcpy(q, uri.text.p, uri.text.n)
    return uri.text.n


# ---------------------------------------------------------------------------------- Session-Id


cdef void session_of(const Asked *asked, const Route *route, uint32_t *session) noexcept nogil:
    """The two numbers of the Session-Id (RFC 6733, 8.8) of all requests with this Call-ID and tag of From.

    So a request and the same with credentials have one Session-Id, to which some servers bind their nonces. The
    hash is keyed: nobody can choose it.
    """
    cdef ad_siphash s
    cdef uint64_t hashed
    cdef Span call_id = asked.request.call_id, tag = asked.request.from_tag
    ad_siphash_begin(&s, route.session_key)
    ad_siphash_word(&s, <uint64_t>call_id.n << 32 | tag.n)
    ad_siphash_bytes(&s, call_id.p, call_id.n)
    ad_siphash_bytes(&s, tag.p, tag.n)
    hashed = ad_siphash_end_64(&s)
    session[0] = <uint32_t>(hashed >> 32)
    session[1] = <uint32_t>hashed


cdef size_t put_session(uint8_t *q, Span origin_host, const uint32_t *session) noexcept nogil:
    """Writes a Session-Id; returns its size."""
    cdef uint8_t *at = q
    memcpy(at, origin_host.p, origin_host.n)
    at += origin_host.n
    at[0] = c';'
    at = put_number(at + 1, session[0])
    at[0] = c';'
    return <size_t>(put_number(at + 1, session[1]) - q)


cdef inline uint8_t *put_number(uint8_t *q, uint32_t number) noexcept nogil:
    """Writes a number in decimal digits; returns its end."""
    cdef uint8_t digits[NUMBER_ROOM]
    cdef int n = NUMBER_ROOM
    while True:
        n -= 1
        digits[n] = <uint8_t>(c'0' + number % 10)
        number //= 10
        if not number:
            break
    memcpy(q, digits + n, <size_t>(NUMBER_ROOM - n))
    return q + NUMBER_ROOM - n


cdef bint read_session(Span text, Span origin_host, uint32_t *session) noexcept nogil:
    """Reads the numbers of one of our own Session-Ids; False if it is none."""
    cdef size_t at = origin_host.n
    cdef uint64_t number = 0
    cdef int found = 0
    if not at + 2 <= text.n or memcmp(text.p, origin_host.p, at) != 0 or text.p[at] != c';':
        return False
    at += 1
    while at < text.n:
        if text.p[at] == c';':
            if found:
                return False
            session[0] = <uint32_t>number
            number = 0
            found = 1
        elif c'0' <= text.p[at] <= c'9':
            number = 10 * number + text.p[at] - c'0'
            if number >> 32:
                return False
        else:
            return False
        at += 1
    session[1] = <uint32_t>number
    return found == 1
