"""MAA, the answer of RFC 4740 (8.8), as a client reads it.

A client's decision on a MAA::

    Result-Code             SIP-Auth-Data-Item                   verdict
    ──────────────────────────────────────────────────────────────────────────────────────
    1001, 2008, 4013        SIP-Authenticate                     challenge
    2001, 2006              any or none                          success
    4001, 5003, 5032, 5033                                       rejected
    any other                                                    failure

A success counts only for a MAR that had a response, which is for the caller to see. What follows is never used:
the E flag with a success; another scheme than DIGEST; two items, of which at most one may be there (9.5); HA1 that
is none of its algorithm; an AVP with the M flag that is not known (RFC 6733, 4.1).
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from auth_diameter._core.auth.answer cimport (
    UNUSABLE_HA1, UNUSABLE_ITEMS, UNUSABLE_OTHERWISE, UNUSABLE_SCHEME,
    VERDICT_CHALLENGE, VERDICT_FAILURE, VERDICT_REJECTED, VERDICT_SUCCESS, AnswerFields,
)
from auth_diameter._core.base.chars cimport AD_TOKEN, ad_is_hex, is_all, is_word
from auth_diameter._core.base.quoting cimport is_quotable, put_escaped, put_span, put_text
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.answer_fault cimport (
    begin_maa, check_result, fail, is_unknown, read_group, read_whole,
)
from auth_diameter._core.diameter.application cimport MAX_CHALLENGE, AnswerView
from auth_diameter._core.diameter.avp cimport AvpView
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_SIP, AVP_AUTHORIZATION_LIFETIME, AVP_DIGEST_ALGORITHM, AVP_DIGEST_DOMAIN, AVP_DIGEST_HA1,
    AVP_DIGEST_NEXTNONCE, AVP_DIGEST_NONCE, AVP_DIGEST_OPAQUE, AVP_DIGEST_QOP, AVP_DIGEST_REALM,
    AVP_DIGEST_RESPONSE_AUTH, AVP_DIGEST_STALE, AVP_ORIGIN_HOST, AVP_RESULT_CODE, AVP_SESSION_ID,
    AVP_SIP_AUTHENTICATE, AVP_SIP_AUTHENTICATION_INFO, AVP_SIP_AUTHENTICATION_SCHEME, AVP_SIP_AUTH_DATA_ITEM,
    AVP_USER_NAME, COMMAND_MULTIMEDIA_AUTH, RESULT_AUTHENTICATION_REJECTED,
    RESULT_AUTHORIZATION_REJECTED, RESULT_IDENTITIES_DONT_MATCH, RESULT_MULTI_ROUND_AUTH, RESULT_SUCCESS,
    RESULT_SUCCESS_AUTH_SENT_SERVER_NOT_STORED, RESULT_SUCCESS_SERVER_NAME_NOT_STORED, RESULT_USER_NAME_REQUIRED,
    RESULT_USER_UNKNOWN, SCHEME_OF_DIGEST,
)
from auth_diameter._core.diameter.header cimport Header, get_u32
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, ad_algorithms
from auth_diameter._core.digest.challenge cimport is_nextnonce
from auth_diameter._core.digest.credentials cimport is_response
from auth_diameter._core.digest.params cimport ALGORITHM, DigestFields, classify_algorithm


cdef struct Authenticate:
    # SIP-Authenticate (9.5.3); p is NULL where absent
    Span realm
    Span nonce
    Span domain
    Span opaque
    Span stale
    Span algorithm
    Span qop
    Span ha1


cdef struct Reading:
    # A MAA that is being read
    AnswerView *out
    Authenticate challenge
    bint result             # whether it has a Result-Code
    int items               # how many SIP-Auth-Data-Item
    bint scheme             # whether the item has a SIP-Authentication-Scheme
    bint authenticate       # and a SIP-Authenticate


# ---------------------------------------------------------------------------------- read


cdef bint read_maa(const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
    """Reads one whole MAA, as framed.

    Returns:
        Whether the answer may be used; if not, `out.says.fault` is the reason.
    """
    cdef Header header
    cdef Reading reading
    cdef AnswerFields *says = &out.says
    memset(&reading, 0, sizeof(reading))
    reading.out = out
    begin_maa(p, COMMAND_MULTIMEDIA_AUTH, APPLICATION_SIP, &header, out)
    read_whole(p, n, read_avp, &reading, says)
    check_result(&header, reading.result, says)
    if reading.authenticate and says.fault == NULL:
        make_challenge(&reading.challenge, out)
    says.verdict = verdict_of(says)
    return says.fault == NULL


cdef inline int verdict_of(const AnswerFields *says) noexcept nogil:
    """The verdict of a Result-Code (RFC 4740, 8.8 and 10.1)."""
    cdef uint32_t code = says.code
    if says.fault != NULL:
        return VERDICT_FAILURE
    if (code == RESULT_MULTI_ROUND_AUTH or code == RESULT_SUCCESS_AUTH_SENT_SERVER_NOT_STORED
            or (code == RESULT_USER_NAME_REQUIRED and says.challenges)):
        return VERDICT_CHALLENGE
    if code == RESULT_SUCCESS or code == RESULT_SUCCESS_SERVER_NAME_NOT_STORED:
        return VERDICT_SUCCESS
    if (code == RESULT_AUTHENTICATION_REJECTED or code == RESULT_AUTHORIZATION_REJECTED
            or code == RESULT_USER_UNKNOWN or code == RESULT_IDENTITIES_DONT_MATCH):
        return VERDICT_REJECTED
    return VERDICT_FAILURE


cdef inline bint is_passed_over(const AvpView *avp, AnswerFields *says) noexcept nogil:
    """Whether an AVP has no meaning here."""
    return is_unknown(avp, says) or avp.vendor_id != 0


cdef void read_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of the message itself."""
    cdef Reading *reading = <Reading *>to
    cdef AnswerView *out = reading.out
    cdef AnswerFields *says = &out.says
    if is_passed_over(avp, says):
        return
    if avp.code == AVP_SESSION_ID:
        if out.session_id.p != NULL:
            fail(says, UNUSABLE_OTHERWISE, "Session-Id twice")
        out.session_id = avp.data
    elif avp.code == AVP_ORIGIN_HOST:
        out.origin_host = avp.data
    elif avp.code == AVP_USER_NAME:
        out.delegation.user_name = avp.data
    elif avp.code == AVP_RESULT_CODE:
        if avp.data.n != 4 or reading.result:
            fail(says, UNUSABLE_OTHERWISE, "Result-Code of a wrong size, or twice")
        else:
            says.code = get_u32(avp.data.p)
        reading.result = True
    elif avp.code == AVP_AUTHORIZATION_LIFETIME:
        if avp.data.n == 4:
            out.delegation.lifetime = get_u32(avp.data.p)
    elif avp.code == AVP_SIP_AUTH_DATA_ITEM:
        reading.items += 1
        if reading.items > 1:
            fail(says, UNUSABLE_ITEMS, "more than one SIP-Auth-Data-Item")
            return
        read_group(avp.data, read_item_avp, reading, says)
        if not reading.scheme:
            fail(says, UNUSABLE_SCHEME, "no SIP-Authentication-Scheme")


cdef void read_item_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Auth-Data-Item (9.5)."""
    cdef Reading *reading = <Reading *>to
    cdef AnswerFields *says = &reading.out.says
    if is_passed_over(avp, says):
        return
    if avp.code == AVP_SIP_AUTHENTICATION_SCHEME:
        if reading.scheme or avp.data.n != 4 or get_u32(avp.data.p) != SCHEME_OF_DIGEST:
            fail(says, UNUSABLE_SCHEME, "SIP-Authentication-Scheme is not DIGEST")
        reading.scheme = True
    elif avp.code == AVP_SIP_AUTHENTICATE:
        if reading.authenticate:
            fail(says, UNUSABLE_ITEMS, "SIP-Authenticate twice")
            return
        reading.authenticate = True
        read_group(avp.data, read_authenticate_avp, reading, says)
        if reading.challenge.realm.p == NULL or reading.challenge.nonce.p == NULL:
            fail(says, UNUSABLE_OTHERWISE, "SIP-Authenticate without Digest-Realm or Digest-Nonce")
    elif avp.code == AVP_SIP_AUTHENTICATION_INFO:
        read_group(avp.data, read_info_avp, reading, says)


cdef void read_authenticate_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Authenticate (9.5.3)."""
    cdef Reading *reading = <Reading *>to
    cdef Span *place
    if is_passed_over(avp, &reading.out.says):
        return
    place = place_of(avp.code, &reading.challenge)
    if place == NULL:
        return
    if place.p != NULL:
        fail(&reading.out.says, UNUSABLE_OTHERWISE, "an AVP of SIP-Authenticate twice")
    place[0] = avp.data


cdef inline Span *place_of(uint32_t code, Authenticate *out) noexcept nogil:
    """The place for the data of an AVP of SIP-Authenticate; NULL if it has none."""
    if code == AVP_DIGEST_REALM:
        return &out.realm
    if code == AVP_DIGEST_NONCE:
        return &out.nonce
    if code == AVP_DIGEST_DOMAIN:
        return &out.domain
    if code == AVP_DIGEST_OPAQUE:
        return &out.opaque
    if code == AVP_DIGEST_STALE:
        return &out.stale
    if code == AVP_DIGEST_ALGORITHM:
        return &out.algorithm
    if code == AVP_DIGEST_QOP:
        return &out.qop
    return &out.ha1 if code == AVP_DIGEST_HA1 else NULL


cdef void read_info_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Authentication-Info (9.5.5).

    With auth-int the server leaves rspauth to the SIP server, which has no HA1 here: there is none then.
    """
    cdef AnswerFields *says = &(<Reading *>to).out.says
    if is_passed_over(avp, says):
        return
    if avp.code == AVP_DIGEST_RESPONSE_AUTH and says.response_auth.p == NULL and is_response(avp.data):
        says.response_auth = avp.data
    elif avp.code == AVP_DIGEST_NEXTNONCE and says.nextnonce.p == NULL and is_nextnonce(avp.data):
        says.nextnonce = avp.data


# ---------------------------------------------------------------------------------- the challenge


cdef void make_challenge(const Authenticate *given, AnswerView *out) noexcept nogil:
    """Writes the challenge as the value of a header field (RFC 7616, 3.3), and keeps HA1."""
    cdef AnswerFields *says = &out.says
    cdef DigestFields fields
    cdef uint8_t *q = &out.text[0]
    cdef size_t quoted = given.realm.n + given.nonce.n + given.domain.n + given.opaque.n + given.qop.n
    cdef size_t need = 128 + 2 * quoted + given.algorithm.n
    if need > MAX_CHALLENGE or not (
            is_quotable(given.realm) and is_quotable(given.nonce) and is_quotable(given.domain)
            and is_quotable(given.opaque) and is_quotable(given.qop)
            and (given.algorithm.n == 0 or is_all(given.algorithm, AD_TOKEN))):
        fail(says, UNUSABLE_OTHERWISE, "SIP-Authenticate makes no header field")
        return
    memset(&fields, 0, sizeof(fields))
    fields.value[ALGORITHM] = given.algorithm
    classify_algorithm(&fields)
    if given.ha1.p != NULL and (
            fields.algorithm == ALGORITHM_UNKNOWN or given.ha1.n != ad_algorithms[fields.algorithm].digits
            or not ad_is_hex(given.ha1.p, given.ha1.n)):
        fail(says, UNUSABLE_HA1, "Digest-HA1 is none of its algorithm")
        return
    q = put_escaped(put_text(q, b'Digest realm="'), given.realm)
    q = put_escaped(put_text(q, b'", nonce="'), given.nonce)
    q = put_text(q, b'"')
    if given.domain.n:
        q = put_text(put_escaped(put_text(q, b', domain="'), given.domain), b'"')
    if given.opaque.p != NULL:
        q = put_text(put_escaped(put_text(q, b', opaque="'), given.opaque), b'"')
    if is_word(given.stale, "true", 4):
        q = put_text(q, b", stale=true")
    if given.algorithm.n:
        q = put_span(put_text(q, b", algorithm="), given.algorithm)
    if given.qop.n:
        q = put_text(put_escaped(put_text(q, b', qop="'), given.qop), b'"')
    says.challenge[0] = Span(&out.text[0], <size_t>(q - &out.text[0]))
    says.challenges = 1
    # With a session algorithm HA1 holds a cnonce that nobody has chosen yet (9.5.6.1).
    if given.ha1.p != NULL and not fields.sess:
        out.delegation.ha1 = given.ha1
        out.delegation.realm = given.realm
        out.delegation.nonce = given.nonce
        out.delegation.algorithm = fields.algorithm
