"""What is judged about a question: of a message of DISC, of a Question, and of a SIP message in place.

For the same request the three say the same: a back end in this process answers as DISC would.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.scratch cimport ad_scratch, ad_scratch_take
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.diameter.codes cimport SERVICE_GROUP_CHECK
from auth_diameter._core.diameter.received cimport GOOD_CREDENTIALS, NO_CREDENTIALS, Received
from auth_diameter._core.digest.params cimport BAD_QOP, BAD_RESPONSE
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.outcome cimport MALFORMED_CREDENTIALS, MALFORMED_QOP, MALFORMED_RESPONSE
from auth_diameter._core.sip.parse cimport SipMessage, identity
from auth_diameter._core.sip.uri cimport put_address, put_address_and_port
from auth_diameter._core.state.values cimport copy_span


cdef inline int malformed_of(int status) noexcept nogil:
    """The outcome for credentials with this status; 0 for good ones, and without any."""
    if status == GOOD_CREDENTIALS or status == NO_CREDENTIALS:
        return 0
    if status == BAD_QOP:
        return MALFORMED_QOP
    return MALFORMED_RESPONSE if status == BAD_RESPONSE else MALFORMED_CREDENTIALS


cdef void inquiry_of_request(Received request, Inquiry *out) noexcept:
    """Fills in the inquiry of a request, whose bytes it borrows."""
    out.credentials = &request.fields if request.status == GOOD_CREDENTIALS else NULL
    out.told = request.view.told
    out.malformed = malformed_of(request.status)
    out.fault = request.view.fault
    out.is_group_check = request.view.service_type == SERVICE_GROUP_CHECK
    out.extended = request.view.told.serial != 0
    out.one_challenge = request.one_challenge
    out.terms = request.terms


cdef int inquiry_of_question(Question question, ad_scratch *scratch, Inquiry *out) except -1:
    """Fills in the inquiry of a Question about a SipRequest, both of which the caller keeps.

    Raises:
        MemoryError: there is no memory.
        TypeError: the Question is about no SipRequest.
    """
    cdef Asking asking
    cdef Span source
    if question.request is None:
        raise TypeError("question: it is about no SipRequest")
    copy_text("" if question.request.source is None else question.request.source[0], scratch, &source)
    if question.is_group_check:
        memset(out, 0, sizeof(Inquiry))
        out.is_group_check = out.extended = True
        out.told.source = source
        copy_text(question.user, scratch, &out.told.user_name)
        copy_text(question.group_name, scratch, &out.told.group)
        return 0
    copy_text(question.realm_name, scratch, &asking.realm)
    asking.proxy = question.proxy
    asking.has_credentials = question.credentials is not None
    if not inquiry_of_message(
            &question.request.m, &asking, source, question.request.fingerprint(), scratch, out):
        raise MemoryError()
    if question.credentials is not None:
        out.credentials = &question.credentials.fields      # `asking` ends here
    if question.body_hash is not None:
        copy_text(question.body_hash, scratch, &out.told.body_hash)
    return 0


cdef int copy_text(object text, ad_scratch *scratch, Span *out) except -1:
    """Copies text, str or bytes, as UTF-8."""
    cdef Span borrowed
    _kept = borrow(text, &borrowed, "text")
    if not copy_span(scratch, borrowed, out):
        raise MemoryError()
    return 0


cdef bint inquiry_of_message(const SipMessage *m, const Asking *asking, Span source, const uint64_t *fingerprint,
                             ad_scratch *scratch, Inquiry *out) noexcept nogil:
    """Fills in the inquiry of a SIP request, without the hash of its body; it borrows from all arguments.

    Returns:
        False if there is no memory.
    """
    cdef uint8_t *room
    memset(out, 0, sizeof(Inquiry))
    out.extended = True
    out.told.realm = asking.realm
    out.told.method = m.method_name
    out.told.source = source
    if not asking.has_credentials:
        room = <uint8_t *>ad_scratch_take(scratch, identity(m).text.n)
        if room == NULL:
            return False
        out.told.user_name = Span(room, put_address(room, identity(m)))
        return True
    room = <uint8_t *>ad_scratch_take(scratch, m.request_uri.text.n)
    if room == NULL:
        return False
    out.told.resource = Span(room, put_address_and_port(room, &m.request_uri))
    out.credentials = &asking.credentials
    # Only a retransmission has the same fingerprint.
    out.told.session = Span(<const uint8_t *>fingerprint, 16)
    out.told.serial = <uint32_t>fingerprint[0] or 1
    return True
