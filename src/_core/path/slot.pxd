"""A slot: all that the path keeps of one request, from the datagram to the reply."""

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.auth.question cimport Flight
from auth_diameter._core.net.addresses cimport HOST_ROOM, Address
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.state.tallies cimport Trial

cdef enum:
    INLINE = 2048           # bytes of a datagram that need no memory of their own


cdef struct Slot:
    Flight flight           # while DISC is asked about it; the first member, so that one pointer is both
    Slot *next              # of those that are free, or that Python is to handle
    Address source          # where it came from
    char host[HOST_ROOM]    # the same as text, without the port
    size_t host_size
    uint64_t fingerprint[2]     # of all its bytes and its source
    Trial trial             # of its credentials, while they are verified
    Asking asking           # what is asked about it
    SipMessage message      # spans into `data`
    uint8_t *data           # the datagram: `inline_data`, or a block of the heap
    size_t size
    uint8_t inline_data[INLINE]
