"""A stream of Diameter messages, cut into them: RFC 6733, section 3.

`frame` says where one message ends. `MessageStream` keeps what has come of a message, the position in
the stream, the limit and the fault; every reader of a stream is one. `framing_error` makes the ParseError.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.diameter.header cimport DIAMETER_VERSION, HEADER_SIZE, get_u32


cdef enum:
    DEFAULT_LIMIT = 65536      # bytes a message may have where the caller does not say


# What frame says of bytes that no message can begin with; all are negative.
cdef enum:
    FRAME_VERSION = -1         # the version is not 1 (so says HTTP or SIP on this port, too)
    FRAME_SHORT = -2           # Message Length below 20
    FRAME_UNALIGNED = -3       # Message Length no multiple of 4
    FRAME_LARGE = -4           # Message Length above the limit


cdef inline Py_ssize_t frame(const uint8_t *p, size_t n, size_t limit) noexcept nogil:
    """How long the first message in `n` bytes of a stream is.

    > 0: so many bytes, all there, at least 20. 0: more bytes needed. < 0: malformed, which way says
    FRAME_VERSION and so on, as soon as the bytes that say so are there: a version that is not 1
    with the first byte, a length that cannot be with the fourth.
    """
    cdef uint32_t length
    if n == 0:
        return 0
    if p[0] != DIAMETER_VERSION:
        return FRAME_VERSION
    if n < 4:
        return 0
    length = get_u32(p) & 0xFFFFFF
    if length < HEADER_SIZE:
        return FRAME_SHORT
    if length & 3:
        return FRAME_UNALIGNED
    if length > limit:
        return FRAME_LARGE
    return <Py_ssize_t>length if length <= n else 0


cdef class MessageStream:
    cdef:
        readonly size_t limit      # bytes a message may have
        readonly object fault      # the ParseError that ended the stream, or None
        bytes chunk                # what is being cut; all before `at` has been taken out
        size_t at
        bytearray later            # what came after `chunk`, or None
        size_t before              # bytes of the stream before chunk[0]

    cdef int put(self, object data) except -1
    cdef const uint8_t *take(self, size_t *size) except? NULL
    cdef size_t unread(self) noexcept
    cdef int drop_taken(self, const uint8_t *p, size_t have) except -1
    cdef int join(self, const uint8_t *p, size_t have) except -1


@cython.final
cdef class Framer(MessageStream):
    pass


cdef object framing_error(Py_ssize_t status, const uint8_t *p, size_t limit, size_t at)
cdef int check_one_message(const uint8_t *p, size_t n, size_t limit) except -1
