"""MAA of RFC 4740, written from plain structs; no Python object is touched, and the caller makes room."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.sip_received cimport MarView


cdef struct Server:
    # What a server says of itself, and how much of others
    Span host               # its DiameterIdentity
    Span realm
    Span origin             # Origin-Host and Origin-Realm, as AVPs
    bint tells_unknown      # whether 5032 tells who does not exist


cdef uint32_t maa_result(const MarView *mar, const Server *server, const AnswerFields *says) noexcept nogil
cdef size_t maa_room(const MarView *mar, const Server *server, const AnswerFields *says) noexcept nogil
cdef uint8_t *put_maa(uint8_t *out, const MarView *mar, Span message, const Server *server,
                      const AnswerFields *says) noexcept nogil
