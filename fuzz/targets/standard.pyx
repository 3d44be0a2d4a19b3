"""Standard Diameter: what our client gets from servers of RFC 4740 and from an HSS, and what DISC gets as one."""

from libc.stdint cimport uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from auth_diameter._core.auth.answer cimport AnswerFields, VERDICT_CHALLENGE, VERDICT_SUCCESS
from auth_diameter._core.base.chars cimport AD_HEX, ad_find_control
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.application cimport AnswerView, MAX_CHALLENGE
from auth_diameter._core.diameter.avp cimport avp_put, avp_size
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_CX, AVP_MANDATORY, AVP_ORIGIN_HOST, AVP_ORIGIN_REALM, COMMAND_CX_MULTIMEDIA_AUTH, FLAG_REQUEST,
    RESULT_SUCCESS,
)
from auth_diameter._core.diameter.cx cimport read_maa as read_cx_maa
from auth_diameter._core.diameter.cx_received cimport CxView, read_cx_mar
from auth_diameter._core.diameter.cx_reply cimport cx_maa_room, cx_result, put_cx_maa
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.sip_answer cimport read_maa
from auth_diameter._core.diameter.sip_received cimport MarView, read_mar
from auth_diameter._core.diameter.stream cimport frame
from auth_diameter._core.digest.challenge cimport is_challenge
from auth_diameter._core.digest.params cimport DigestFields, FIELD_COUNT

from targets.messages cimport check_message, each_message
from targets.promises cimport all_of, equal, hold, inside, span_of
from targets.requests cimport REALM_ASKED, check_challenges


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
        check_challenges(answer.says.challenge, answer.says.challenges)
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


TARGETS = {
    "standard_answers": <uintptr_t>&standard_answers,
    "standard_questions": <uintptr_t>&standard_questions,
}
