"""Messages for compiled code."""

cimport cython
from libc.stdint cimport uint8_t, uint32_t


@cython.final
cdef class Message:
    cdef:
        readonly tuple avps
        size_t size            # of the encoded message, in bytes
        readonly uint32_t command
        readonly uint32_t application_id
        readonly uint32_t hop_by_hop
        readonly uint32_t end_to_end
        readonly uint8_t flags
