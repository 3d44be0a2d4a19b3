"""What is wrong with a request, as the server that reads it finds out; for compiled code."""

from libc.stdint cimport uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.utf8 cimport is_text
from auth_diameter._core.diameter.avp cimport AVP_HEADER, AvpHandler, AvpView, avp_each, avp_whole
from auth_diameter._core.diameter.codes cimport (
    AVP_MANDATORY, AVP_VENDOR, RESULT_AVP_OCCURS_TOO_MANY_TIMES, RESULT_AVP_UNSUPPORTED, RESULT_INVALID_AVP_LENGTH,
    RESULT_INVALID_AVP_VALUE, RESULT_MISSING_AVP,
)
from auth_diameter._core.diameter.known_avps cimport is_known_avp
from auth_diameter._core.diameter.header cimport get_u32


cdef struct Fault:
    # The first fault of a message
    uint32_t result         # the Result-Code that refuses the message, or 0
    Span failed             # the AVP at fault, whole; p is NULL: Failed-AVP has an empty AVP, an example
    uint32_t code           # of the example; 0: there is none
    uint32_t vendor_id      # the same


cdef inline void refuse(Fault *fault, uint32_t result, Span avp) noexcept nogil:
    """Keeps the first fault, with the AVP that has it."""
    if fault.result == 0:
        fault.result = result
        fault.failed = avp


cdef inline void refuse_like(Fault *fault, uint32_t result, uint32_t code, uint32_t vendor_id) noexcept nogil:
    """Keeps the first fault, with an example of the AVP that has it."""
    if fault.result == 0:
        fault.result = result
        fault.code = code
        fault.vendor_id = vendor_id


cdef inline void require(Fault *fault, bint there, uint32_t code, uint32_t vendor_id) noexcept nogil:
    """Keeps the first fault: an AVP is missing."""
    if not there:
        refuse_like(fault, RESULT_MISSING_AVP, code, vendor_id)


cdef inline void keep(Fault *fault, Span *place, const AvpView *avp) noexcept nogil:
    """Keeps the data of an AVP that may occur once."""
    if place.p != NULL:
        refuse(fault, RESULT_AVP_OCCURS_TOO_MANY_TIMES, avp_whole(avp))
    place[0] = avp.data


cdef inline void check_text(Fault *fault, Span *value, uint32_t code, uint32_t vendor_id) noexcept nogil:
    """Refuses bytes that are no text. They do not go back: there is an agent that ends at the sight of them."""
    if value.p != NULL and not is_text(value[0]):
        value.p = NULL
        value.n = 0
        fault.result = 0
        fault.failed.p = NULL
        fault.failed.n = 0
        refuse_like(fault, RESULT_INVALID_AVP_VALUE, code, vendor_id)


cdef inline bint is_unknown(Fault *fault, const AvpView *avp) noexcept nogil:
    """Whether an AVP is not known, which with the M flag is a fault (RFC 6733, 4.1)."""
    if is_known_avp(avp.code, avp.vendor_id):
        return False
    if avp.flags & AVP_MANDATORY:
        refuse(fault, RESULT_AVP_UNSUPPORTED, avp_whole(avp))
    return True


cdef inline void refuse_unknown(Fault *fault, const AvpView *avp) noexcept nogil:
    """Passes over an AVP that has no meaning in a message, unless it is not known and has the M flag."""
    is_unknown(fault, avp)


cdef inline void read_message(Fault *fault, Span body, AvpHandler handle, void *to) noexcept nogil:
    """Has each AVP of a message handled; one whose length cannot be is a fault (RFC 6733, 7.1.5)."""
    cdef Span rest
    if not avp_each(body, handle, to, &rest):
        # What is left cannot be read as AVPs by the other side either: it gets an example.
        refuse_like(
            fault, RESULT_INVALID_AVP_LENGTH, get_u32(rest.p) if rest.n >= AVP_HEADER else 0,
            get_u32(rest.p + AVP_HEADER) if rest.n >= AVP_HEADER + 4 and rest.p[4] & AVP_VENDOR else 0)


cdef inline void read_group(Fault *fault, const AvpView *avp, AvpHandler handle, void *to) noexcept nogil:
    """The same for the AVPs of a group."""
    cdef Span rest
    if not avp_each(avp.data, handle, to, &rest):
        refuse_like(fault, RESULT_INVALID_AVP_LENGTH, avp.code, avp.vendor_id)
