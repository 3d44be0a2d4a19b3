"""Messages of the DISC dialect for compiled code."""

from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.diameter.disc_question cimport QuestionView


cdef class AaRequest:
    cdef bytes message              # every span points in here
    cdef QuestionView view
    cdef readonly Question question
