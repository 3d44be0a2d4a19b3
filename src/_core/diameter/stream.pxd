"""The framing of Diameter messages in a stream (RFC 6733, 3).

`frame` finds the end of one message. `MessageStream` owns the buffer, the position in the stream, the limit
and the fault; every reader of a stream is one. `framing_error` makes the ParseError.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.diameter.header cimport DIAMETER_VERSION, HEADER_SIZE, get_u32


cdef enum:
    DEFAULT_LIMIT = 65536      # bytes a message may have unless the caller says otherwise


# What `frame` returns for bytes that no message can begin with; all are negative.
cdef enum:
    FRAME_VERSION = -1         # the version is not 1; HTTP and SIP on this port end here, too
    FRAME_SHORT = -2           # Message Length below 20
    FRAME_UNALIGNED = -3       # Message Length no multiple of 4
    FRAME_LARGE = -4           # Message Length above the limit


cdef inline Py_ssize_t frame(const uint8_t *p, size_t n, size_t limit) noexcept nogil:
    """The length of the first message in `n` bytes of a stream.

    Returns:
        > 0: the size of the message in bytes, at least 20, all of them there. 0: more bytes are needed. < 0:
        FRAME_VERSION and so on; a wrong version shows with the first byte, an impossible length with the
        fourth.
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
        bytes chunk                # bytes being cut; those before `at` are taken out
        size_t at
        bytearray later            # bytes received after `chunk`, or None
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
