"""What a server says of itself in each answer, and counts; for compiled code."""

from libc.stdint cimport uint32_t, uint64_t

from auth_diameter._core.base.span cimport Span

cdef enum:
    COUNTED_RESULTS = 32    # Result-Codes that are counted, of which there are fewer


cdef struct ResultCount:
    uint32_t command
    uint32_t result         # 0: a free place
    uint64_t count


cdef struct Server:
    Span host               # its DiameterIdentity
    Span realm
    Span origin             # Origin-Host and Origin-Realm, as AVPs
    bint own_addresses      # whether a user may register no other address than their own
    bint tells_unknown      # whether 5032 tells who does not exist
    ResultCount counts[COUNTED_RESULTS]


cdef inline void count_result(Server *server, uint32_t command, uint32_t result) noexcept nogil:
    """Counts an answer."""
    cdef int i
    cdef ResultCount *one
    for i in range(COUNTED_RESULTS):
        one = &server.counts[i]
        if one.result == 0:
            one.command = command
            one.result = result
        if one.result == result and one.command == command:
            one.count += 1
            return
