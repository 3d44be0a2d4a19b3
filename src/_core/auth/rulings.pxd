"""The causes of decisions for compiled code; what each stands for is in causes.py."""

from auth_diameter._core.base.span cimport Span

cdef enum:
    # The members of Cause, in their order
    CAUSE_AUTHORIZED, CAUSE_MEMBER, CAUSE_BYPASSED, CAUSE_CHALLENGED, CAUSE_RECHALLENGED, CAUSE_FORBIDDEN
    CAUSE_UNKNOWN_ALGORITHM, CAUSE_UNKNOWN_QOP, CAUSE_REALM_NOT_SERVED, CAUSE_PENALIZED, CAUSE_NOT_MEMBER
    CAUSE_NOT_AUTHORIZED, CAUSE_MALFORMED_REQUEST, CAUSE_MALFORMED_CREDENTIALS, CAUSE_MALFORMED_QOP
    CAUSE_MALFORMED_RESPONSE, CAUSE_NO_IDENTITY, CAUSE_TOO_LARGE, CAUSE_DISC_REFUSED, CAUSE_DISC_UNUSABLE
    CAUSE_DISC_TIMEOUT, CAUSE_DISC_LOST, CAUSE_DISC_UNREACHABLE, CAUSE_OVERLOADED, CAUSE_UNASKED_SUCCESS
    CAUSE_OTHER_SESSION, CAUSE_OTHER_SCHEME, CAUSE_UNFIT_HA1, CAUSE_SEVERAL_ITEMS
    CAUSE_COUNT


cdef tuple CAUSES               # Cause by its place


cdef inline bint is_error_of_back_end(int cause) noexcept nogil:
    """Whether an answer came that says nothing about the request."""
    return (cause == CAUSE_DISC_REFUSED or cause == CAUSE_DISC_UNUSABLE
            or CAUSE_UNASKED_SUCCESS <= cause <= CAUSE_SEVERAL_ITEMS)


cdef int status_of(int cause, bint proxy) noexcept nogil
cdef Span phrase_of(int status) noexcept nogil
cdef Span challenge_header(bint proxy) noexcept nogil
