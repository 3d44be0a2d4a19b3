"""What a server says of itself in each answer, and counts; for compiled code."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.result_counts cimport ResultCounts


cdef struct Server:
    Span host               # its DiameterIdentity
    Span realm
    Span origin             # Origin-Host and Origin-Realm, as AVPs
    bint own_addresses      # whether a user may register no other address than their own
    bint tells_unknown      # whether 5032 tells who does not exist
    ResultCounts counts
