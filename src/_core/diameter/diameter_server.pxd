"""A server of standard Diameter, for compiled code."""

from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.stream cimport MessageStream


cdef class DiameterServer:
    cdef Server server
    cdef tuple kept                     # the texts of `server`


cdef class DiameterStream(MessageStream):
    cdef DiameterServer at
    cdef public bint takes_any_nonce    # in a MAR with flat Digest AVPs
    cdef public bint tells_ha1          # to this peer
    cdef readonly bint has_others       # whether the last `feed` had other messages than MAR
