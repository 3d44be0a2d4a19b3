"""Cx as a server speaks it, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.cx_received cimport CxView
from auth_diameter._core.diameter.received cimport Received, Terms
from auth_diameter._core.diameter.server cimport Server


cdef struct CxMar:
    # What a MAR says, in `Received.more`
    Server *server
    const uint8_t *start        # of the message
    CxView view
    Terms terms


cdef class CxMarRequest(Received):
    cdef const CxView *view_of(self) except NULL


cdef CxMarRequest new_cx_mar(Span message, bytes chunk, object owner, Server *server)
