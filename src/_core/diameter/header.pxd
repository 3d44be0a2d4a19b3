"""The Diameter header: RFC 6733, 3.

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------+-----------------------------------------------+
    |  Version (1)  |       Message Length, this header included    |
    +---------------+-----------------------------------------------+
    |R P E T r r r r|                  Command Code                 |
    +---------------+-----------------------------------------------+
    |                         Application-ID                        |
    +---------------------------------------------------------------+
    |                      Hop-by-Hop Identifier                    |
    +---------------------------------------------------------------+
    |                      End-to-End Identifier                    |
    +---------------------------------------------------------------+
    |  AVPs ...

The functions here allocate nothing and touch no Python object.
"""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.span cimport put_u32


cdef enum:
    DIAMETER_VERSION = 1
    HEADER_SIZE = 20
    MESSAGE_LENGTH_LIMIT = 1 << 24   # Message Length has 24 bits: it is less than this


cdef struct Header:
    uint32_t length            # of the whole message, in bytes; 24 bits
    uint32_t command           # 24 bits
    uint32_t application_id
    uint32_t hop_by_hop
    uint32_t end_to_end
    uint8_t version
    uint8_t flags              # all eight bits


cdef inline uint32_t get_u32(const uint8_t *p) noexcept nogil:
    """Reads 4 bytes, big-endian; the caller has checked the bounds."""
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline void header_get(const uint8_t *p, Header *out) noexcept nogil:
    """Reads the header at `p`, HEADER_SIZE bytes; nothing is checked."""
    out.version = p[0]
    out.length = get_u32(p) & 0xFFFFFF
    out.flags = p[4]
    out.command = get_u32(p + 4) & 0xFFFFFF
    out.application_id = get_u32(p + 8)
    out.hop_by_hop = get_u32(p + 12)
    out.end_to_end = get_u32(p + 16)


cdef inline uint8_t *header_put(uint8_t *out, const Header *header) noexcept nogil:
    """Writes the header.

    Returns:
        Its end, where the first AVP goes.
    """
    put_u32(out, (<uint32_t>header.version << 24) | (header.length & 0xFFFFFF))
    put_u32(out + 4, (<uint32_t>header.flags << 24) | (header.command & 0xFFFFFF))
    put_u32(out + 8, header.application_id)
    put_u32(out + 12, header.hop_by_hop)
    put_u32(out + 16, header.end_to_end)
    return out + HEADER_SIZE
