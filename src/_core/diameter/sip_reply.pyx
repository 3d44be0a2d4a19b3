"""MAA, the answer of RFC 4740 (8.8), as a server writes it.

The Result-Code::

    verdict                                  with SIP-Server-URI    without it (figure 2)
    ─────────────────────────────────────────────────────────────────────────────────────
    challenge                                1001                   2008
    success                                  2001                   2006
    the message is at fault                  that of the fault, with Failed-AVP
    the realm is not served                  3003
    the user is unknown                      5032 if the server tells that, else 4001
    the user may not register the address    5033
    any other refusal                        4001
    no decision                              5012

The text of RFC 4740 names no code for a wrong digest; 4001 is that of the base protocol. 5032 would tell everybody
who can make a SIP server ask which users exist, so it has to be wanted.

The order on the wire is that of the grammar. A 3xxx has the E flag and the small grammar of RFC 6733, 7.2. Each
refusal has an Error-Message, by which OpenSIPS knows it. OpenSIPS made the nonce itself and can use no challenge:
it is refused instead, and gets its Acct-Session-Id back, or it would wait.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from auth_diameter._core.auth.answer cimport (
    PART_ALGORITHM, PART_NONCE_COUNT, PART_QOP, PART_REALM, PART_URI, VERDICT_CHALLENGE, VERDICT_REJECTED,
    VERDICT_SUCCESS, WHY_OTHER_ADDRESS, WHY_UNKNOWN_USER, AnswerFields,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.utf8 cimport is_text
from auth_diameter._core.diameter.avp cimport AVP_HEADER, avp_put, avp_put_in_place, avp_put_u32, padded, whole_of
from auth_diameter._core.diameter.avp_text cimport put_parameter, put_text
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_SIP, AVP_ACCT_SESSION_ID, AVP_AUTH_APPLICATION_ID, AVP_AUTH_SESSION_STATE, AVP_DIGEST_ALGORITHM,
    AVP_DIGEST_HA1, AVP_DIGEST_NEXTNONCE, AVP_DIGEST_NONCE, AVP_DIGEST_QOP, AVP_DIGEST_REALM,
    AVP_DIGEST_RESPONSE_AUTH, AVP_DIGEST_STALE, AVP_MANDATORY, AVP_RESULT_CODE, AVP_SESSION_ID,
    AVP_SIP_AUTHENTICATE, AVP_SIP_AUTHENTICATION_INFO, AVP_SIP_AUTHENTICATION_SCHEME, AVP_SIP_AUTH_DATA_ITEM,
    AVP_SIP_NUMBER_AUTH_ITEMS, AVP_USER_NAME, NO_STATE_MAINTAINED, RESULT_AUTHENTICATION_REJECTED,
    RESULT_IDENTITIES_DONT_MATCH, RESULT_MULTI_ROUND_AUTH, RESULT_REALM_NOT_SERVED, RESULT_SUCCESS,
    RESULT_SUCCESS_AUTH_SENT_SERVER_NOT_STORED, RESULT_SUCCESS_SERVER_NAME_NOT_STORED, RESULT_UNABLE_TO_COMPLY,
    RESULT_UNABLE_TO_DELIVER, RESULT_USER_UNKNOWN, SCHEME_OF_DIGEST,
)
from auth_diameter._core.diameter.fault cimport Fault
from auth_diameter._core.diameter.header cimport HEADER_SIZE
from auth_diameter._core.diameter.reply cimport (
    ERROR_ROOM, is_protocol_error, put_end, put_error_message, put_failed, put_whole,
)
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.sip_received cimport MarView
from auth_diameter._core.digest.challenge cimport read_challenge
from auth_diameter._core.digest.params cimport (
    ALGORITHM, FIELD_COUNT, NC, NONCE, QOP, REALM, STALE, URI, USERNAME, DigestFields, Field, is_true,
)

cdef enum:
    # Header, all AVPs of a known size, and the headers and padding of the others
    FRAME_ROOM = HEADER_SIZE + 24 * 12 + ERROR_ROOM


cdef uint32_t maa_result(const MarView *mar, const Server *server, const AnswerFields *says) noexcept nogil:
    """The Result-Code; the table is on top of the file."""
    cdef bint stored = mar.server_uri.p != NULL
    if says.code:
        return says.code
    if says.verdict == VERDICT_SUCCESS:
        return RESULT_SUCCESS if stored else RESULT_SUCCESS_SERVER_NAME_NOT_STORED
    if says.verdict == VERDICT_CHALLENGE and not mar.is_flat:
        return RESULT_MULTI_ROUND_AUTH if stored else RESULT_SUCCESS_AUTH_SENT_SERVER_NOT_STORED
    if says.verdict != VERDICT_REJECTED and says.verdict != VERDICT_CHALLENGE:
        return RESULT_UNABLE_TO_COMPLY
    if says.refused == PART_REALM:
        return RESULT_REALM_NOT_SERVED
    if says.why == WHY_UNKNOWN_USER and server.tells_unknown:
        return RESULT_USER_UNKNOWN
    return RESULT_IDENTITIES_DONT_MATCH if says.why == WHY_OTHER_ADDRESS else RESULT_AUTHENTICATION_REJECTED


cdef inline const char *text_of(uint32_t result, const AnswerFields *says) noexcept nogil:
    """Error-Message for a refusal; it repeats nothing from the message."""
    if result == RESULT_UNABLE_TO_DELIVER:
        return "Destination-Host is another server"
    if says.code:
        return "the message is not acceptable"
    if result == RESULT_REALM_NOT_SERVED:
        return "the realm is not served"
    if result == RESULT_USER_UNKNOWN:
        return "the user is unknown"
    if result == RESULT_IDENTITIES_DONT_MATCH:
        return "the address is another user's"
    if result == RESULT_UNABLE_TO_COMPLY:
        return "no decision is possible now"
    return "the credentials are refused"


cdef inline bint is_refused(uint32_t result) noexcept nogil:
    """Whether a Result-Code is neither a challenge nor a success."""
    return result >= 3000


cdef inline Fault fault_of(const MarView *mar, const AnswerFields *says) noexcept nogil:
    """The AVP at fault: of the message, or the part of the credentials that is refused."""
    cdef Fault fault
    cdef Field field = FIELD_COUNT
    if says.code:
        return mar.fault
    memset(&fault, 0, sizeof(fault))
    if says.refused == PART_URI:
        field = URI
    elif says.refused == PART_QOP:
        field = QOP
    elif says.refused == PART_ALGORITHM:
        field = ALGORITHM
    elif says.refused == PART_NONCE_COUNT:
        field = NC
    if field != <Field>FIELD_COUNT and mar.credentials.value[field].p != NULL:
        fault.failed = whole_of(mar.credentials.value[field])
    return fault


cdef size_t maa_room(const MarView *mar, const Server *server, const AnswerFields *says) noexcept nogil:
    """The largest size that `put_maa` writes."""
    cdef size_t n = (
        FRAME_ROOM + mar.session_id.n + server.origin.n + mar.user_name.n + mar.credentials.value[USERNAME].n
        + says.user_name.n + mar.acct_session_id.n + mar.proxy_info + padded(fault_of(mar, says).failed.n)
        + says.response_auth.n + says.nextnonce.n + says.ha1.n)
    # The values of a challenge are parts of it.
    return n + says.challenge[0].n if says.challenges else n


cdef uint8_t *put_maa(uint8_t *out, const MarView *mar, Span message, const Server *server,
                      const AnswerFields *says) noexcept nogil:
    """Writes a MAA.

    Args:
        out: has `maa_room` bytes.
        mar: the MAR.
        message: the same as bytes.
        server: the server.
        says: the answer; without a verdict its `code` is the Result-Code.

    Returns:
        The end.
    """
    cdef uint32_t result = maa_result(mar, server, says)
    cdef bint small = is_protocol_error(result)
    cdef uint8_t *q = out + HEADER_SIZE
    cdef Fault fault
    if mar.session_id.p != NULL:
        q = put_text(q, AVP_SESSION_ID, mar.session_id)
    if not small:
        q = avp_put_u32(q, AVP_AUTH_APPLICATION_ID, AVP_MANDATORY, APPLICATION_SIP)
    q = avp_put_u32(q, AVP_RESULT_CODE, AVP_MANDATORY, result)
    if not small:
        q = avp_put_u32(q, AVP_AUTH_SESSION_STATE, AVP_MANDATORY, NO_STATE_MAINTAINED)
    q = put_whole(q, server.origin)
    if not small:
        q = put_user_name(q, mar, says)
    if mar.acct_session_id.p != NULL:
        q = avp_put(q, AVP_ACCT_SESSION_ID, 0, mar.acct_session_id.p, mar.acct_session_id.n)
    if is_refused(result):
        fault = fault_of(mar, says)
        q = put_failed(put_error_message(q, text_of(result, says)), &fault)
    else:
        q = put_item(q, mar, says)
    return put_end(out, q, message, &mar.header, mar.proxy_info, result)


cdef inline uint8_t *put_user_name(uint8_t *q, const MarView *mar, const AnswerFields *says) noexcept nogil:
    """Writes the name of the user, as the client has it, unless nobody knows one."""
    if mar.user_name.p != NULL:
        return put_text(q, AVP_USER_NAME, mar.user_name)
    if says.user_name.p != NULL:
        return put_text(q, AVP_USER_NAME, says.user_name)
    if mar.has_response and is_text(mar.credentials.value[USERNAME]):
        return put_text(q, AVP_USER_NAME, mar.credentials.value[USERNAME])
    return q


cdef uint8_t *put_item(uint8_t *q, const MarView *mar, const AnswerFields *says) noexcept nogil:
    """Writes SIP-Number-Auth-Items and SIP-Auth-Data-Item: the challenge, or the server's own proof (9.5).

    Returns:
        The end.
    """
    cdef DigestFields challenge
    cdef uint8_t *item
    cdef uint8_t *inner
    if says.verdict == VERDICT_SUCCESS and says.response_auth.p == NULL and says.nextnonce.p == NULL:
        return q
    q = avp_put_u32(q, AVP_SIP_NUMBER_AUTH_ITEMS, AVP_MANDATORY, 1)
    item = q
    inner = avp_put_u32(item + AVP_HEADER, AVP_SIP_AUTHENTICATION_SCHEME, AVP_MANDATORY, SCHEME_OF_DIGEST)
    q = inner + AVP_HEADER
    if says.verdict == VERDICT_SUCCESS:
        if says.nextnonce.p != NULL:
            q = put_text(q, AVP_DIGEST_NEXTNONCE, says.nextnonce)
        if says.response_auth.p != NULL:
            q = put_text(q, AVP_DIGEST_RESPONSE_AUTH, says.response_auth)
        q = avp_put_in_place(inner, AVP_SIP_AUTHENTICATION_INFO, <size_t>(q - inner - AVP_HEADER))
    else:
        # Only one: the client gets SIP-Authenticate once (9.5), and the verifier knows that.
        read_challenge(says.challenge[0], &challenge)
        q = put_parameter(q, AVP_DIGEST_REALM, &challenge, REALM)
        q = put_parameter(q, AVP_DIGEST_NONCE, &challenge, NONCE)
        if is_true(&challenge, STALE):
            q = avp_put(q, AVP_DIGEST_STALE, AVP_MANDATORY, <const uint8_t *>"true", 4)
        q = put_parameter(q, AVP_DIGEST_ALGORITHM, &challenge, ALGORITHM)
        q = put_parameter(q, AVP_DIGEST_QOP, &challenge, QOP)
        if says.ha1.n:
            q = put_text(q, AVP_DIGEST_HA1, says.ha1)
        q = avp_put_in_place(inner, AVP_SIP_AUTHENTICATE, <size_t>(q - inner - AVP_HEADER))
    return avp_put_in_place(item, AVP_SIP_AUTH_DATA_ITEM, <size_t>(q - item - AVP_HEADER))
