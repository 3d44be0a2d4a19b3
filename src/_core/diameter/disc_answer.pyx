"""Answers of the DISC dialect on the wire. The format is in disc.pyx."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.diameter.avp cimport (
    AVP_HEADER, AvpView, avp_next, avp_put, avp_put_in_place, avp_put_u32, avp_size,
)
from auth_diameter._core.base.chars cimport ad_find_control, is_lws
from auth_diameter._core.diameter.codes cimport (
    AVP_CHALLENGE, AVP_DIGEST_NEXTNONCE, AVP_DIGEST_RESPONSE_AUTH, AVP_FAILED_AVP, AVP_MANDATORY, AVP_RESULT_CODE,
    AVP_SERVICE_TYPE, AVP_SIP_MSGID, AVP_USER_NAME, COMMAND_AA, FLAG_ERROR, FLAG_PROXIABLE,
)
from auth_diameter._core.diameter.disc_question cimport QuestionView
from auth_diameter._core.digest.challenge cimport is_challenge
from auth_diameter._core.digest.credentials cimport is_response
from auth_diameter._core.diameter.header cimport (
    DIAMETER_VERSION, HEADER_SIZE, Header, get_u32, header_get, header_put,
)
from auth_diameter._core.base.span cimport Reader, Span


# ---------------------------------------------------------------------------------- read


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
