"""RFC 4740 as a server speaks it, for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.received cimport Received, Terms
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.sip_received cimport MarView


cdef struct Mar:
    # What a MAR says, in `Received.more`
    Server *server
    MarView view
    Terms terms
    uint64_t session[2]         # `Received.view.told.session` points here


cdef class MarRequest(Received):
    pass


cdef MarRequest new_mar(Span message, bytes chunk, object owner, Server *server, bint takes_any_nonce,
                        bint tells_ha1)
