"""MAA of RFC 4740, written from plain structs; no Python object is touched, and the caller makes room."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.sip_received cimport MarView

cdef uint32_t maa_result(const MarView *mar, const Server *server, const AnswerFields *says) noexcept nogil
cdef size_t maa_room(const MarView *mar, const Server *server, const AnswerFields *says) noexcept nogil
cdef uint8_t *put_maa(uint8_t *out, const MarView *mar, Span message, const Server *server,
                      const AnswerFields *says) noexcept nogil
