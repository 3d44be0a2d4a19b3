"""Names and types of AVPs, commands and results, for those who read a message."""

cimport cython
from libc.stdint cimport uint32_t


# How an AVP's data is to be read: RFC 6733, sections 4.2 to 4.4
cdef enum:
    OCTETS     # OctetString
    TEXT       # UTF8String, DiameterIdentity, DiameterURI, IPFilterRule
    I32        # Integer32, Enumerated
    I64        # Integer64
    U32        # Unsigned32
    U64        # Unsigned64
    F32        # Float32
    F64        # Float64
    ADDRESS    # Address
    TIME       # Time
    GROUPED    # Grouped

cdef enum:
    SECRET = 1


@cython.final
cdef class Entry:
    cdef:
        str name
        dict values    # what a value stands for, or None
        int kind       # OCTETS, TEXT and so on
        bint secret    # not to be shown unasked: from it, passwords or sessions could be had


cdef Entry lookup(uint32_t application, uint32_t vendor, uint32_t code)
cdef str command_name(uint32_t command)
