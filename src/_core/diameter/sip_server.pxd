"""RFC 4740 as a server speaks it, for compiled code."""

from libc.stdint cimport uint32_t, uint64_t

from auth_diameter._core.diameter.received cimport Received, Terms
from auth_diameter._core.diameter.sip_received cimport MarView
from auth_diameter._core.diameter.sip_reply cimport Server
from auth_diameter._core.diameter.stream cimport MessageStream


cdef enum:
    COUNTED_RESULTS = 32        # Result-Codes that are counted, of which there are fewer


cdef struct ResultCount:
    uint32_t result             # 0: a free place
    uint64_t count


cdef class DiameterServer:
    cdef Server server
    cdef ResultCount counts[COUNTED_RESULTS]
    cdef tuple kept             # the texts of `server`
    cdef bint own_addresses     # whether a user may register no other address than their own


cdef class MarRequest(Received):
    cdef DiameterServer at
    cdef MarView mar
    cdef Terms own_terms        # `terms` points here
    cdef uint64_t session[2]    # and `view.told.session` here


cdef class DiameterStream(MessageStream):
    cdef DiameterServer at
    cdef public bint takes_any_nonce    # in a MAR with flat Digest AVPs
