"""MAR of Cx (3GPP TS 29.229, 6.1.7), in which an S-CSCF asks for what it verifies credentials with.

What is read::

    User-Name                       the private identity, the digest username: alice@example.net
    Public-Identity                 the address to register
    Server-Name                     the SIP URI of the S-CSCF
    SIP-Auth-Data-Item:
        SIP-Authentication-Scheme   "SIP Digest"; "unknown": whatever the HSS has

A reader takes any order, and passes over what it does not know unless that has the M flag.
"""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.diameter.avp cimport AvpView, avp_whole, padded
from auth_diameter._core.diameter.codes cimport (
    AVP_CX_PUBLIC_IDENTITY, AVP_CX_SERVER_NAME, AVP_CX_SIP_AUTHENTICATION_SCHEME, AVP_CX_SIP_AUTH_DATA_ITEM,
    AVP_DESTINATION_HOST, AVP_DESTINATION_REALM, AVP_ORIGIN_HOST, AVP_ORIGIN_REALM, AVP_PROXY_INFO,
    AVP_SESSION_ID, AVP_USER_NAME, FLAG_ERROR, RESULT_INVALID_HDR_BITS, VENDOR_3GPP,
)
from auth_diameter._core.diameter.fault cimport (
    Fault, check_text, is_unknown, keep, read_group, read_message, require,
)
from auth_diameter._core.diameter.header cimport HEADER_SIZE, header_get


cdef void read_cx_mar(const uint8_t *p, size_t n, CxView *out) noexcept nogil:
    """Reads one whole MAR, as framed; `out.fault` says what is wrong with it."""
    cdef Fault *fault = &out.fault
    ad_zero(out, sizeof(CxView))
    header_get(p, &out.header)
    if out.header.flags & FLAG_ERROR:       # RFC 6733, 3: never in a request
        fault.result = RESULT_INVALID_HDR_BITS
    read_message(fault, Span(p + HEADER_SIZE, n - HEADER_SIZE), read_avp, out)
    require(fault, out.session_id.p != NULL, AVP_SESSION_ID, 0)
    require(fault, out.origin_host.p != NULL, AVP_ORIGIN_HOST, 0)
    require(fault, out.origin_realm.p != NULL, AVP_ORIGIN_REALM, 0)
    require(fault, out.destination_realm.p != NULL, AVP_DESTINATION_REALM, 0)
    require(fault, out.user_name.p != NULL, AVP_USER_NAME, 0)
    require(fault, out.public_identity.p != NULL, AVP_CX_PUBLIC_IDENTITY, VENDOR_3GPP)
    require(fault, out.scheme.p != NULL, AVP_CX_SIP_AUTHENTICATION_SCHEME, VENDOR_3GPP)
    check_text(fault, &out.server_name, AVP_CX_SERVER_NAME, VENDOR_3GPP)
    check_text(fault, &out.public_identity, AVP_CX_PUBLIC_IDENTITY, VENDOR_3GPP)
    check_text(fault, &out.user_name, AVP_USER_NAME, 0)
    check_text(fault, &out.origin_host, AVP_ORIGIN_HOST, 0)
    check_text(fault, &out.origin_realm, AVP_ORIGIN_REALM, 0)
    check_text(fault, &out.session_id, AVP_SESSION_ID, 0)


cdef void read_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of the message itself."""
    cdef CxView *out = <CxView *>to
    cdef Span *place
    if is_unknown(&out.fault, avp):
        return
    if avp.vendor_id == VENDOR_3GPP:
        if avp.code == AVP_CX_PUBLIC_IDENTITY:
            keep(&out.fault, &out.public_identity, avp)
        elif avp.code == AVP_CX_SERVER_NAME:
            keep(&out.fault, &out.server_name, avp)
        elif avp.code == AVP_CX_SIP_AUTH_DATA_ITEM:
            read_group(&out.fault, avp, read_item_avp, out)
    elif avp.code == AVP_PROXY_INFO and not avp.vendor_id:
        out.proxy_info += padded(avp_whole(avp).n)
    elif not avp.vendor_id:
        place = place_of(avp.code, out)
        if place != NULL:
            keep(&out.fault, place, avp)


cdef inline Span *place_of(uint32_t code, CxView *out) noexcept nogil:
    """The place for the data of an AVP of the base protocol; NULL if it has none."""
    if code == AVP_SESSION_ID:
        return &out.session_id
    if code == AVP_ORIGIN_HOST:
        return &out.origin_host
    if code == AVP_ORIGIN_REALM:
        return &out.origin_realm
    if code == AVP_DESTINATION_REALM:
        return &out.destination_realm
    if code == AVP_DESTINATION_HOST:
        return &out.destination_host
    return &out.user_name if code == AVP_USER_NAME else NULL


cdef void read_item_avp(const AvpView *avp, void *to) noexcept nogil:
    """Reads an AVP of SIP-Auth-Data-Item."""
    cdef CxView *out = <CxView *>to
    if (not is_unknown(&out.fault, avp) and avp.vendor_id == VENDOR_3GPP
            and avp.code == AVP_CX_SIP_AUTHENTICATION_SCHEME):
        keep(&out.fault, &out.scheme, avp)
