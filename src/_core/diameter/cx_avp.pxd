"""AVPs of 3GPP (TS 29.229), written for compiled code; each function returns the end."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.span cimport Span, put_u32
from auth_diameter._core.diameter.avp cimport (
    AVP_HEADER, AVP_VENDOR_HEADER, avp_put_in_place, avp_put_u32, avp_put_vendor,
)
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_CX, AVP_AUTH_APPLICATION_ID, AVP_MANDATORY, AVP_VENDOR, AVP_VENDOR_ID,
    AVP_VENDOR_SPECIFIC_APPLICATION_ID, VENDOR_3GPP,
)


cdef inline uint8_t *put_3gpp(uint8_t *q, uint32_t code, Span data) noexcept nogil:
    """Writes an AVP with the M flag."""
    return avp_put_vendor(q, code, AVP_MANDATORY, VENDOR_3GPP, data.p, data.n)


cdef inline uint8_t *put_3gpp_u32(uint8_t *q, uint32_t code, uint32_t value) noexcept nogil:
    """Writes an AVP with the M flag and a number."""
    cdef uint8_t data[4]
    put_u32(data, value)
    return put_3gpp(q, code, Span(&data[0], 4))


cdef inline uint8_t *put_3gpp_group(uint8_t *q, uint32_t code, uint8_t flags, uint8_t *end) noexcept nogil:
    """Writes the header of a group whose AVPs are in place, from AVP_VENDOR_HEADER behind `q` to `end`."""
    put_u32(q, code)
    put_u32(q + 4, <uint32_t>(flags | AVP_VENDOR) << 24 | <uint32_t>(end - q))
    put_u32(q + 8, VENDOR_3GPP)
    return end


cdef inline uint8_t *put_cx_application(uint8_t *q) noexcept nogil:
    """Writes Vendor-Specific-Application-Id, which messages of Cx have instead of Auth-Application-Id."""
    cdef uint8_t *end = avp_put_u32(q + AVP_HEADER, AVP_VENDOR_ID, AVP_MANDATORY, VENDOR_3GPP)
    end = avp_put_u32(end, AVP_AUTH_APPLICATION_ID, AVP_MANDATORY, APPLICATION_CX)
    return avp_put_in_place(q, AVP_VENDOR_SPECIFIC_APPLICATION_ID, <size_t>(end - q - AVP_HEADER))
