"""Cx as a server speaks it, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.cx_received cimport CxView
from auth_diameter._core.diameter.received cimport Received, Terms
from auth_diameter._core.diameter.server cimport Server


cdef class CxMarRequest(Received):
    cdef object owner           # of `server`
    cdef Server *server         # NULL: nobody filled it
    cdef const uint8_t *start   # of the message
    cdef CxView mar
    cdef Terms own_terms        # `terms` points here


cdef CxMarRequest new_cx_mar(Span message, bytes chunk, object owner, Server *server)
