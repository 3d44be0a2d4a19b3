"""Which AVPs the dictionary has. Compiled code asks it for each AVP, by the rule of the M flag (RFC 6733, 4.1)."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.diameter.codes cimport VENDOR_3GPP, VENDOR_CABLELABS, VENDOR_CISCO, VENDOR_ETSI

from auth_diameter._core.diameter.dictionary import codes_by_vendor

cdef enum:
    VENDORS = 5
    CODES = 2048

cdef uint8_t _is_known[VENDORS][CODES]      # for each vendor, by code
for _vendor, _codes in codes_by_vendor().items():
    if number_of_vendor(_vendor) == VENDORS:
        raise ValueError(f"VENDORS: without {_vendor}")
    for _code in _codes:
        if _code >= CODES:
            raise ValueError(f"CODES: too few for AVP {_code}")
        _is_known[number_of_vendor(_vendor)][<uint32_t>_code] = True


cdef int number_of_vendor(uint32_t vendor) noexcept nogil:
    """The place of a vendor in `_is_known`; VENDORS for one of whom nothing is known."""
    if vendor == 0:
        return 0
    if vendor == VENDOR_3GPP:
        return 1
    if vendor == VENDOR_ETSI:
        return 2
    if vendor == VENDOR_CABLELABS:
        return 3
    return 4 if vendor == VENDOR_CISCO else VENDORS


cdef bint is_known_avp(uint32_t code, uint32_t vendor) noexcept nogil:
    """Whether the dictionary has an AVP, so that its M flag is no reason to refuse a message."""
    cdef int number = number_of_vendor(vendor)
    return number != VENDORS and code < CODES and _is_known[number][code]
