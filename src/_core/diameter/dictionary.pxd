"""Names and types of AVPs, commands and results, to show messages to people."""

cimport cython
from libc.stdint cimport uint32_t


# The type of an AVP's data: RFC 6733, 4.2 to 4.4
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
    SECRET = 1     # logs do not show the value: it reveals a password or takes over a session
    OPTIONAL = 2   # sent without the M flag


@cython.final
cdef class Entry:
    cdef:
        str name
        dict values    # meanings of values, or None
        int kind       # OCTETS, TEXT and so on
        bint secret    # see SECRET
        bint optional  # see OPTIONAL


cdef Entry lookup(uint32_t application, uint32_t vendor, uint32_t code)
cdef str command_name(uint32_t command)
