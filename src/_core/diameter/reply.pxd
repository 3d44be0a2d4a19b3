"""Parts of the answers of a server of standard Diameter, written for compiled code; the caller makes room."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport strlen

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.avp cimport (
    AVP_HEADER, AvpView, avp_each, avp_put, avp_put_data, avp_put_in_place, avp_put_u32, avp_put_vendor,
    avp_whole,
)
from auth_diameter._core.diameter.codes cimport (
    AVP_AUTH_APPLICATION_ID, AVP_AUTH_SESSION_STATE, AVP_ERROR_MESSAGE, AVP_FAILED_AVP, AVP_MANDATORY,
    AVP_PROXY_INFO, AVP_SIP_AUTHENTICATION_SCHEME, FLAG_ERROR, FLAG_PROXIABLE,
)
from auth_diameter._core.diameter.fault cimport Fault
from auth_diameter._core.diameter.header cimport DIAMETER_VERSION, HEADER_SIZE, Header, header_put

cdef enum:
    ERROR_ROOM = 96         # bytes of Error-Message, and of Failed-AVP without what is in it


cdef inline bint is_protocol_error(uint32_t result) noexcept nogil:
    """Whether an answer has the E flag and the small grammar (RFC 6733, 7.1.3 and 7.2)."""
    return result // 1000 == 3


cdef inline uint8_t *put_whole(uint8_t *q, Span avps) noexcept nogil:
    """Copies AVPs, and pads the last one; returns the end."""
    return avp_put_data(q, avps.p, avps.n)


cdef inline uint8_t *put_error_message(uint8_t *q, const char *text) noexcept nogil:
    """Writes Error-Message, which repeats nothing from the request; returns the end."""
    return avp_put(q, AVP_ERROR_MESSAGE, 0, <const uint8_t *>text, strlen(text))


cdef inline bint is_of_32_bits(uint32_t code) noexcept nogil:
    """Whether an example of an AVP, which has the least length and zeros (RFC 6733, 7.5), has 32 bits."""
    return (code == AVP_AUTH_APPLICATION_ID or code == AVP_AUTH_SESSION_STATE
            or code == AVP_SIP_AUTHENTICATION_SCHEME)


cdef inline uint8_t *put_failed(uint8_t *q, const Fault *fault) noexcept nogil:
    """Writes Failed-AVP if an AVP is at fault (RFC 6733, 7.5); returns the end."""
    cdef uint8_t *end
    if fault.failed.p != NULL:
        end = put_whole(q + AVP_HEADER, fault.failed)
    elif not fault.code:
        return q
    elif fault.vendor_id:
        end = avp_put_vendor(q + AVP_HEADER, fault.code, AVP_MANDATORY, fault.vendor_id, NULL, 0)
    elif is_of_32_bits(fault.code):
        end = avp_put_u32(q + AVP_HEADER, fault.code, AVP_MANDATORY, 0)
    else:
        end = avp_put(q + AVP_HEADER, fault.code, AVP_MANDATORY, NULL, 0)
    return avp_put_in_place(q, AVP_FAILED_AVP, <size_t>(end - q - AVP_HEADER))


cdef inline void put_proxy_info(const AvpView *avp, void *to) noexcept nogil:
    """Copies an AVP to the answer if it is a Proxy-Info."""
    cdef uint8_t **q = <uint8_t **>to
    if avp.code == AVP_PROXY_INFO and not avp.vendor_id:
        q[0] = put_whole(q[0], avp_whole(avp))


cdef inline uint8_t *put_end(uint8_t *out, uint8_t *q, Span message, const Header *asked, size_t proxy_info,
                             uint32_t result) noexcept nogil:
    """Writes the Proxy-Info of the request, as they are and in order (RFC 6733, 6.7.2), and the header.

    Args:
        out: the answer.
        q: the end of its AVPs so far.
        message: the request.
        asked: its header.
        proxy_info: bytes of its Proxy-Info.
        result: Result-Code of the answer.

    Returns:
        The end.
    """
    cdef Header header = asked[0]
    cdef Span rest
    if proxy_info:
        avp_each(Span(message.p + HEADER_SIZE, message.n - HEADER_SIZE), put_proxy_info, &q, &rest)
    header.version = DIAMETER_VERSION
    header.length = <uint32_t>(q - out)
    header.flags = asked.flags & FLAG_PROXIABLE
    if is_protocol_error(result):
        header.flags |= FLAG_ERROR
    header_put(out, &header)
    return q
