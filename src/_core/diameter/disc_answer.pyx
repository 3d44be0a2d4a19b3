"""Answers of the DISC dialect on the wire. The format is in disc.pyx."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from auth_diameter._core.auth.answer cimport (
    MAX_CHALLENGES, PART_ALGORITHM, PART_CREDENTIALS, PART_NONCE_COUNT, PART_NONE, PART_QOP, PART_REALM,
    PART_RESPONSE, PART_SOURCE, PART_URI, SERVICE_OF_AUTHENTICATION, SERVICE_OF_GROUP_CHECK, SERVICE_OTHER,
    SERVICE_UNKNOWN, VERDICT_CHALLENGE, VERDICT_DENIED, VERDICT_FAILURE, VERDICT_REJECTED, VERDICT_SUCCESS,
    AnswerFields,
)
from auth_diameter._core.diameter.application cimport MAX_CHALLENGE, AnswerView
from auth_diameter._core.diameter.avp cimport (
    AVP_HEADER, AvpView, avp_next, avp_put, avp_put_in_place, avp_put_u32, avp_size,
)
from auth_diameter._core.base.chars cimport ad_find_control, is_lws
from auth_diameter._core.diameter.codes cimport (
    AVP_CALLING_STATION_ID, AVP_CHALLENGE, AVP_DESTINATION_REALM, AVP_DIGEST_ALGORITHM, AVP_DIGEST_NEXTNONCE,
    AVP_DIGEST_NONCE_COUNT, AVP_DIGEST_QOP, AVP_DIGEST_RESPONSE, AVP_DIGEST_RESPONSE_AUTH, AVP_DIGEST_URI,
    AVP_FAILED_AVP, AVP_MANDATORY, AVP_RESPONSE, AVP_RESULT_CODE, AVP_SERVICE_TYPE, AVP_SIP_MSGID, AVP_USER_NAME,
    COMMAND_AA, FLAG_ERROR, FLAG_PROXIABLE, RESULT_AUTHENTICATION_REJECTED, RESULT_AUTHORIZATION_REJECTED,
    RESULT_SUCCESS, RESULT_UNABLE_TO_COMPLY, SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK,
)
from auth_diameter._core.diameter.disc_question cimport QuestionView
from auth_diameter._core.digest.challenge cimport KnownChallenge, is_challenge, is_nextnonce
from auth_diameter._core.digest.credentials cimport is_response
from auth_diameter._core.diameter.header cimport (
    DIAMETER_VERSION, HEADER_SIZE, Header, get_u32, header_get, header_put,
)
from auth_diameter._core.base.span cimport Reader, Span
from auth_diameter._core.base.zero cimport ad_zero


# ---------------------------------------------------------------------------------- read


cdef struct Seen:
    # What the AVPs of an answer held so far
    int msgids
    bint result_code
    uint8_t service_type    # the ASCII digit; 0: there was none
    size_t challenge_bytes


cdef bint read_answer(const uint8_t *p, size_t n, Known *known, AnswerView *out) noexcept nogil:
    """Reads one whole message, as framed.

    Args:
        p: the message.
        n: its size.
        known: what is remembered from one answer to the next one, which changes no result; or NULL.
        out: where it is written.

    Returns:
        Whether the answer may be used; if not, `out.says.fault` is the reason.
    """
    cdef Header header
    cdef Reader r
    cdef AvpView avp
    cdef Seen seen
    cdef int status
    cdef AnswerFields *says = &out.says
    ad_zero(out, sizeof(AnswerView) - sizeof(out.text))
    ad_zero(&seen, sizeof(Seen))
    header_get(p, &header)
    out.msgid = header.hop_by_hop
    r.p = p + HEADER_SIZE
    r.end = p + n
    if header.command != COMMAND_AA:
        says.fault = "not an AA-Answer"
    while True:
        status = avp_next(&r, &avp)
        if status <= 0:
            break
        if not avp.vendor_id:
            read_answer_avp(&avp, &seen, known, out)
    if status < 0:
        says.fault = "malformed AVP"
    elif not seen.result_code and says.fault == NULL:
        says.fault = "no Result-Code"
    elif header.flags & FLAG_ERROR and says.code // 1000 == 2 and says.fault == NULL:
        says.fault = "a success with the error bit"     # RFC 6733, 7.1.3: it stands with 3xxx alone
    says.service = service_of(seen.service_type)
    says.verdict = verdict_of(says)
    return says.fault == NULL


cdef inline int service_of(uint8_t service_type) noexcept nogil:
    if service_type == SERVICE_AUTHENTICATION:
        return SERVICE_OF_AUTHENTICATION
    if service_type == SERVICE_GROUP_CHECK:
        return SERVICE_OF_GROUP_CHECK
    return SERVICE_UNKNOWN if service_type == 0 else SERVICE_OTHER


cdef inline int verdict_of(const AnswerFields *says) noexcept nogil:
    """The verdict that a Result-Code (RFC 6733, 7.1) stands for in the dialect."""
    if says.fault != NULL:
        return VERDICT_FAILURE
    if says.code == RESULT_SUCCESS:
        return VERDICT_SUCCESS
    if says.code == RESULT_AUTHENTICATION_REJECTED:
        return VERDICT_CHALLENGE if says.service == SERVICE_OF_AUTHENTICATION else VERDICT_DENIED
    return VERDICT_REJECTED if says.code == RESULT_AUTHORIZATION_REJECTED else VERDICT_FAILURE


cdef uint32_t failed_avp_of(int part) noexcept nogil:
    """The code of the AVP in Failed-AVP (RFC 6733, 7.5) for a part of the credentials."""
    if part == PART_SOURCE:
        return AVP_CALLING_STATION_ID
    if part == PART_REALM:
        return AVP_DESTINATION_REALM
    if part == PART_RESPONSE:
        return AVP_DIGEST_RESPONSE
    if part == PART_URI:
        return AVP_DIGEST_URI
    if part == PART_QOP:
        return AVP_DIGEST_QOP
    if part == PART_ALGORITHM:
        return AVP_DIGEST_ALGORITHM
    if part == PART_NONCE_COUNT:
        return AVP_DIGEST_NONCE_COUNT
    return AVP_RESPONSE


cdef inline int part_of(uint32_t code) noexcept nogil:
    """The part of the credentials for the code of the AVP in Failed-AVP; all of them for an unknown code."""
    cdef int part
    for part in range(PART_SOURCE, PART_CREDENTIALS):
        if failed_avp_of(part) == code:
            return part
    return PART_CREDENTIALS if code else PART_NONE


cdef inline void read_answer_avp(const AvpView *avp, Seen *seen, Known *known, AnswerView *out) noexcept nogil:
    """Reads one AVP of an answer; unknown ones are passed over."""
    cdef AnswerFields *says = &out.says
    if avp.code == AVP_SIP_MSGID:
        seen.msgids += 1
        if avp.data.n != 4 or seen.msgids > 1:
            says.fault = "SIP-MSGID of a wrong size, or twice"
            out.msgid = -1
        else:
            out.msgid = get_u32(avp.data.p)
    elif avp.code == AVP_RESULT_CODE:
        if avp.data.n != 4 or seen.result_code:
            says.fault = "Result-Code of a wrong size, or twice"
        else:
            says.code = get_u32(avp.data.p)
        seen.result_code = True
    elif avp.code == AVP_SERVICE_TYPE:
        if avp.data.n != 1 or avp.data.p[0] == 0 or seen.service_type:
            says.fault = "Service-Type of a wrong size, NUL, or twice"
        else:
            seen.service_type = avp.data.p[0]
    elif avp.code == AVP_CHALLENGE:
        add_challenge(avp.data, seen, known, says)
    elif avp.code == AVP_DIGEST_RESPONSE_AUTH:
        if not is_response(avp.data) or says.response_auth.p != NULL:
            says.fault = "Digest-Response-Auth is no response, or given twice"
        else:
            says.response_auth = avp.data
    elif avp.code == AVP_DIGEST_NEXTNONCE:
        if not is_nextnonce(avp.data) or says.nextnonce.p != NULL:
            says.fault = "Digest-Nextnonce cannot stand in a quoted string, or is given twice"
        else:
            says.nextnonce = avp.data
    elif avp.code == AVP_FAILED_AVP:
        if AVP_HEADER <= avp.data.n:
            says.refused = part_of(get_u32(avp.data.p))
    elif avp.code == AVP_USER_NAME:
        if says.user_name.p != NULL or ad_find_control(avp.data.p, avp.data.p + avp.data.n) != (
                avp.data.p + avp.data.n):
            says.fault = "User-Name with a control character, or twice"
        else:
            says.user_name = avp.data


cdef inline void add_challenge(Span text, Seen *seen, Known *known, AnswerFields *says) noexcept nogil:
    """Keeps a Challenge, which becomes a header field of the reply."""
    cdef KnownChallenge *same_place = NULL
    if known != NULL and says.challenges < KNOWN_CHALLENGES:
        same_place = &known.challenge[says.challenges]
    # DISC ends it with CRLF, see put_challenge.
    while text.n and is_lws(text.p[text.n - 1]):
        text.n -= 1
    seen.challenge_bytes += text.n
    if says.challenges == MAX_CHALLENGES or seen.challenge_bytes > MAX_CHALLENGE:
        says.fault = "more Challenges than fit into a reply"
    elif not is_challenge(text, same_place):
        says.fault = "Challenge is not one line of the Digest scheme"
    else:
        says.challenge[says.challenges] = text
        says.challenges += 1


# ---------------------------------------------------------------------------------- written


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


cdef inline uint32_t result_code_of(const AnswerFields *says) noexcept nogil:
    """The Result-Code of an answer (RFC 6733, 7.1). In the dialect 4001 is both, a challenge and "no member"."""
    if says.code:
        return says.code
    if says.verdict == VERDICT_SUCCESS:
        return RESULT_SUCCESS
    if says.verdict == VERDICT_CHALLENGE or says.verdict == VERDICT_DENIED:
        return RESULT_AUTHENTICATION_REJECTED
    return RESULT_AUTHORIZATION_REJECTED if says.verdict == VERDICT_REJECTED else RESULT_UNABLE_TO_COMPLY


cdef inline size_t optional_size(Span value) noexcept nogil:
    return avp_size(value.n) if value.p != NULL else 0


cdef inline uint8_t *put_optional(uint8_t *q, uint32_t code, uint8_t flags, Span value) noexcept nogil:
    return avp_put(q, code, flags, value.p, value.n) if value.p != NULL else q


cdef inline size_t more_size(const QuestionView *question, const AnswerFields *says) noexcept nogil:
    """The size of what comes behind Service-Type."""
    cdef size_t n = (optional_size(says.response_auth) + optional_size(says.nextnonce)
                     + optional_size(says.user_name))
    cdef int i
    for i in range(says.challenges):
        n += challenge_size(says.challenge[i])
    # OpenSER's module accepts no Failed-AVP.
    return n + failed_avp_size() if says.refused != PART_NONE and question.told.serial else n


cdef size_t whole_answer_size(const QuestionView *question, const AnswerFields *says) noexcept nogil:
    """The size that `put_whole_answer` writes."""
    return answer_size(question) + more_size(question, says)


cdef uint8_t *put_whole_answer(uint8_t *out, const QuestionView *question,
                               const AnswerFields *says) noexcept nogil:
    """Writes an AA-Answer.

    Returns:
        The end.
    """
    cdef uint8_t *q = out + put_answer(out, question, result_code_of(says), more_size(question, says))
    cdef int i
    for i in range(says.challenges):
        q = put_challenge(q, says.challenge[i])
    q = put_optional(q, AVP_DIGEST_RESPONSE_AUTH, 0, says.response_auth)
    q = put_optional(q, AVP_DIGEST_NEXTNONCE, 0, says.nextnonce)
    q = put_optional(q, AVP_USER_NAME, AVP_MANDATORY, says.user_name)
    if says.refused != PART_NONE and question.told.serial:
        q = put_failed_avp(q, failed_avp_of(says.refused))
    return q
