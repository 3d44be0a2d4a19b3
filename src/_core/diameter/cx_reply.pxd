"""MAA of Cx, written from plain structs; no Python object is touched, and the caller makes room."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.cx_received cimport CxView
from auth_diameter._core.diameter.server cimport Server

cdef uint32_t cx_result(const CxView *mar, const AnswerFields *says) noexcept nogil
cdef size_t cx_maa_room(const CxView *mar, const Server *server, const AnswerFields *says) noexcept nogil
cdef uint8_t *put_cx_maa(uint8_t *out, const CxView *mar, Span message, const Server *server,
                         const AnswerFields *says) noexcept nogil
