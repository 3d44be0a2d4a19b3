"""Messages of the DISC dialect for compiled code."""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.diameter.disc_question cimport QuestionView


cdef class AaRequest:
    cdef bytes message              # every span points in here
    cdef QuestionView view
    cdef readonly Question question


cdef size_t room_of(Question q) except 0
cdef size_t write_question(Question q, uint8_t *out, uint32_t msgid) except 0
