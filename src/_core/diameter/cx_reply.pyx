"""MAA of Cx (3GPP TS 29.229, 6.1.8), with the HA1 of a user for SIP Digest.

The results, in the order in which they are looked for (29.228, 6.3.1)::

    the message is at fault                          its Result-Code, with Failed-AVP
    no decision                                      5012
    the user, or the realm, is unknown               experimental 5001
    the public identity is another user's            experimental 5002
    the scheme is neither "SIP Digest" nor "unknown" experimental 5006
    any other                                        2001, with SIP-Auth-Data-Item

SIP-Auth-Data-Item has SIP-Digest-Authenticate, with Digest-Realm, Digest-Algorithm, Digest-QoP and Digest-HA1.
There is no nonce in it: the S-CSCF makes the challenge itself.
"""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.answer cimport (
    PART_REALM, VERDICT_CHALLENGE, WHY_OTHER_ADDRESS, WHY_UNKNOWN_USER, AnswerFields,
)
from auth_diameter._core.base.chars cimport is_word
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.avp cimport (
    AVP_HEADER, AVP_VENDOR_HEADER, avp_put_in_place, avp_put_u32, padded,
)
from auth_diameter._core.diameter.avp_text cimport put_text
from auth_diameter._core.diameter.codes cimport (
    AVP_AUTH_SESSION_STATE, AVP_CX_PUBLIC_IDENTITY,
    AVP_CX_SIP_AUTHENTICATION_SCHEME, AVP_CX_SIP_AUTH_DATA_ITEM, AVP_CX_SIP_DIGEST_AUTHENTICATE,
    AVP_CX_SIP_ITEM_NUMBER, AVP_CX_SIP_NUMBER_AUTH_ITEMS, AVP_DIGEST_ALGORITHM, AVP_DIGEST_HA1, AVP_DIGEST_QOP,
    AVP_DIGEST_REALM, AVP_EXPERIMENTAL_RESULT, AVP_EXPERIMENTAL_RESULT_CODE, AVP_MANDATORY, AVP_RESULT_CODE,
    AVP_SESSION_ID, AVP_USER_NAME, AVP_VENDOR_ID,
    NO_STATE_MAINTAINED, RESULT_CX_AUTH_SCHEME_NOT_SUPPORTED, RESULT_CX_IDENTITIES_DONT_MATCH,
    RESULT_CX_USER_UNKNOWN, RESULT_SUCCESS, RESULT_UNABLE_TO_COMPLY, RESULT_UNABLE_TO_DELIVER, VENDOR_3GPP,
)
from auth_diameter._core.diameter.cx_avp cimport put_3gpp, put_3gpp_group, put_3gpp_u32, put_cx_application
from auth_diameter._core.diameter.header cimport HEADER_SIZE
from auth_diameter._core.diameter.reply cimport (
    ERROR_ROOM, is_protocol_error, put_end, put_error_message, put_failed, put_whole,
)

cdef enum:
    # Header, all AVPs of a known size, and the headers and padding of the others
    FRAME_ROOM = HEADER_SIZE + 28 * 12 + ERROR_ROOM

cdef Span SIP_DIGEST = Span(<const uint8_t *>b"SIP Digest", 10)
cdef Span MD5 = Span(<const uint8_t *>b"MD5", 3)
cdef Span AUTH = Span(<const uint8_t *>b"auth", 4)


cdef uint32_t cx_result(const CxView *mar, const AnswerFields *says) noexcept nogil:
    """The Result-Code, or the Experimental-Result-Code, which `is_experimental` tells apart."""
    if says.code:
        return says.code
    if says.why == WHY_UNKNOWN_USER or says.refused == PART_REALM:
        return RESULT_CX_USER_UNKNOWN
    if says.why == WHY_OTHER_ADDRESS:
        return RESULT_CX_IDENTITIES_DONT_MATCH
    if says.verdict != VERDICT_CHALLENGE or not says.ha1.n:
        return RESULT_UNABLE_TO_COMPLY
    if is_word(mar.scheme, "SIP Digest", 10) or is_word(mar.scheme, "unknown", 7):
        return RESULT_SUCCESS
    return RESULT_CX_AUTH_SCHEME_NOT_SUPPORTED


cdef inline bint is_experimental(uint32_t result, const AnswerFields *says) noexcept nogil:
    return not says.code and result != RESULT_SUCCESS and result != RESULT_UNABLE_TO_COMPLY


cdef inline const char *text_of(uint32_t result, const AnswerFields *says) noexcept nogil:
    """Error-Message for a refusal; it repeats nothing from the message."""
    if says.code:
        return ("Destination-Host is another server" if result == RESULT_UNABLE_TO_DELIVER
                else "the message is not acceptable")
    if result == RESULT_CX_USER_UNKNOWN:
        return "the user is unknown"
    if result == RESULT_CX_IDENTITIES_DONT_MATCH:
        return "the public identity is another user's"
    if result == RESULT_CX_AUTH_SCHEME_NOT_SUPPORTED:
        return "the scheme is not SIP Digest"
    return "no decision is possible now"


cdef size_t cx_maa_room(const CxView *mar, const Server *server, const AnswerFields *says) noexcept nogil:
    """The largest size that `put_cx_maa` writes."""
    return (FRAME_ROOM + mar.session_id.n + server.origin.n + mar.user_name.n + mar.public_identity.n
            + mar.proxy_info + padded(mar.fault.failed.n) + says.ha1.n + says.realm.n)


cdef uint8_t *put_cx_maa(uint8_t *out, const CxView *mar, Span message, const Server *server,
                         const AnswerFields *says) noexcept nogil:
    """Writes a MAA.

    Args:
        out: has `cx_maa_room` bytes.
        mar: the MAR.
        message: the same as bytes.
        server: the server.
        says: the answer; without a verdict its `code` is the Result-Code.

    Returns:
        The end.
    """
    cdef uint32_t result = cx_result(mar, says)
    cdef bint small = is_protocol_error(result)
    cdef uint8_t *q = out + HEADER_SIZE
    cdef uint8_t *end
    if mar.session_id.p != NULL:
        q = put_text(q, AVP_SESSION_ID, mar.session_id)
    if not small:
        q = put_cx_application(q)
    if is_experimental(result, says):
        end = avp_put_u32(q + AVP_HEADER, AVP_VENDOR_ID, AVP_MANDATORY, VENDOR_3GPP)
        end = avp_put_u32(end, AVP_EXPERIMENTAL_RESULT_CODE, AVP_MANDATORY, result)
        q = avp_put_in_place(q, AVP_EXPERIMENTAL_RESULT, <size_t>(end - q - AVP_HEADER))
    else:
        q = avp_put_u32(q, AVP_RESULT_CODE, AVP_MANDATORY, result)
    if not small:
        q = avp_put_u32(q, AVP_AUTH_SESSION_STATE, AVP_MANDATORY, NO_STATE_MAINTAINED)
    q = put_whole(q, server.origin)
    if not small and mar.user_name.p != NULL:
        q = put_text(q, AVP_USER_NAME, mar.user_name)
    if not small and mar.public_identity.p != NULL:
        q = put_3gpp(q, AVP_CX_PUBLIC_IDENTITY, mar.public_identity)
    if result == RESULT_SUCCESS:
        q = put_item(q, says)
    else:
        q = put_failed(put_error_message(q, text_of(result, says)), &mar.fault)
    return put_end(out, q, message, &mar.header, mar.proxy_info, result)


cdef uint8_t *put_item(uint8_t *q, const AnswerFields *says) noexcept nogil:
    """Writes SIP-Number-Auth-Items and SIP-Auth-Data-Item with HA1 (29.229, 6.3.13 and 6.3.36).

    Returns:
        The end.
    """
    cdef uint8_t *item
    cdef uint8_t *inner
    q = put_3gpp_u32(q, AVP_CX_SIP_NUMBER_AUTH_ITEMS, 1)
    item = q
    q = put_3gpp_u32(item + AVP_VENDOR_HEADER, AVP_CX_SIP_ITEM_NUMBER, 1)
    q = put_3gpp(q, AVP_CX_SIP_AUTHENTICATION_SCHEME, SIP_DIGEST)
    inner = q
    q = put_text(inner + AVP_VENDOR_HEADER, AVP_DIGEST_REALM, says.realm)
    q = put_text(q, AVP_DIGEST_ALGORITHM, MD5)
    q = put_text(q, AVP_DIGEST_QOP, AUTH)
    q = put_text(q, AVP_DIGEST_HA1, says.ha1)
    q = put_3gpp_group(inner, AVP_CX_SIP_DIGEST_AUTHENTICATE, 0, q)     # 29.229, table 6.3.1: without M
    return put_3gpp_group(item, AVP_CX_SIP_AUTH_DATA_ITEM, AVP_MANDATORY, q)
