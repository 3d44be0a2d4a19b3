"""What makes an answer of standard Diameter unusable, as the client that reads it finds out; for compiled code."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from auth_diameter._core.auth.answer cimport (
    SERVICE_OF_AUTHENTICATION, UNUSABLE_OTHERWISE, UNUSABLE_SESSION, AnswerFields,
)
from auth_diameter._core.auth.question cimport Flight
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.application cimport NO_LIFETIME, AnswerView
from auth_diameter._core.diameter.avp cimport AvpHandler, AvpView, avp_each
from auth_diameter._core.diameter.codes cimport AVP_MANDATORY, FLAG_ERROR
from auth_diameter._core.diameter.known_avps cimport is_known_avp
from auth_diameter._core.diameter.header cimport HEADER_SIZE, Header, header_get
from auth_diameter._core.diameter.sip_request cimport Route, read_session


cdef inline void begin_maa(const uint8_t *p, uint32_t command, uint32_t application, Header *header,
                           AnswerView *out) noexcept nogil:
    """Begins to read the MAA of an application."""
    memset(out, 0, sizeof(AnswerView) - sizeof(out.text))
    out.delegation.lifetime = NO_LIFETIME
    out.says.service = SERVICE_OF_AUTHENTICATION
    header_get(p, header)
    out.msgid = header.hop_by_hop
    if header.command != command or header.application_id != application:
        fail(&out.says, UNUSABLE_OTHERWISE, "not a Multimedia-Auth-Answer")


cdef inline void fail(AnswerFields *says, int unusable, const char *fault) noexcept nogil:
    """Keeps the first fault."""
    if says.fault == NULL:
        says.fault = fault
        says.unusable = unusable


cdef inline bint is_unknown(const AvpView *avp, AnswerFields *says) noexcept nogil:
    """Whether an AVP is not known; one with the M flag is a fault (RFC 6733, 4.1)."""
    if is_known_avp(avp.code, avp.vendor_id):
        return False
    if avp.flags & AVP_MANDATORY:
        fail(says, UNUSABLE_OTHERWISE, "an unknown AVP with the M flag")
    return True


cdef inline void read_group(Span data, AvpHandler handle, void *to, AnswerFields *says) noexcept nogil:
    """Has each AVP of a group handled."""
    cdef Span rest
    if not avp_each(data, handle, to, &rest):
        fail(says, UNUSABLE_OTHERWISE, "malformed AVP in a group")


cdef inline void read_whole(const uint8_t *p, size_t n, AvpHandler handle, void *to,
                            AnswerFields *says) noexcept nogil:
    """Has each AVP of a message handled."""
    cdef Span rest
    if not avp_each(Span(p + HEADER_SIZE, n - HEADER_SIZE), handle, to, &rest):
        fail(says, UNUSABLE_OTHERWISE, "malformed AVP")


cdef inline void check_result(const Header *header, bint there, AnswerFields *says) noexcept nogil:
    """Checks that an answer has a result, and no success with the E flag (RFC 6733, 7.1.3)."""
    if not there:
        fail(says, UNUSABLE_OTHERWISE, "no Result-Code")
    elif header.flags & FLAG_ERROR and says.code // 1000 == 2:
        fail(says, UNUSABLE_OTHERWISE, "a success with the error bit")


cdef inline void match_session(const Flight *flight, const Route *route, AnswerView *view) noexcept nogil:
    """Notes as the fault of an answer that its Session-Id is not that of a flight.

    An error of an agent need not have one (RFC 6733, 7.2).
    """
    cdef uint32_t session[2]
    if view.session_id.p == NULL and view.says.code // 1000 == 3:
        return
    if not (read_session(view.session_id, route.origin_host, session)
            and session[0] == flight.session[0] and session[1] == flight.session[1]):
        fail(&view.says, UNUSABLE_SESSION, "an answer of another session")
