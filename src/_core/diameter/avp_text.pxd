"""AVPs with text in them, and with a parameter of Digest, written for compiled code; the M flag is set."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.avp cimport avp_put
from auth_diameter._core.diameter.codes cimport AVP_MANDATORY
from auth_diameter._core.digest.params cimport MAX_PARAMETER, DigestFields, Field, plain_value


cdef inline uint8_t *put_text(uint8_t *q, uint32_t code, Span text) noexcept nogil:
    """Writes an AVP; returns its end."""
    return avp_put(q, code, AVP_MANDATORY, text.p, text.n)


cdef inline uint8_t *put_parameter(
    uint8_t *q, uint32_t code, const DigestFields *fields, Field field
) noexcept nogil:
    """Writes the plain value of a parameter, unless it is missing; returns the end."""
    cdef uint8_t room[MAX_PARAMETER]
    return put_text(q, code, plain_value(fields, field, room)) if fields.value[field].p != NULL else q
