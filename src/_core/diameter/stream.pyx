"""Streams of Diameter messages as Python reads them: RFC 6733, section 3."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from auth_diameter._core.base.arguments cimport checked
from auth_diameter._core.diameter.header cimport MESSAGE_LENGTH_LIMIT

from auth_diameter._core.errors import ConfigError, ParseError


cdef class MessageStream:
    """The bytes of one connection or file, cut into messages.

    :param limit: bytes a message may have, 20 to 2**24; 64 KiB by default.
    :ivar limit: int.
    :ivar fault: the ParseError that ended the stream, or None. Where the next message begins cannot be
        known any more, so what comes after it is not kept.
    :raises ConfigError: for a limit out of range.

    Not for use by several threads at once.
    """

    def __cinit__(self, limit=DEFAULT_LIMIT):
        self.limit = checked(limit, "limit", MESSAGE_LENGTH_LIMIT)
        if self.limit < HEADER_SIZE:
            raise ConfigError(f"limit: {limit} is below the {HEADER_SIZE} bytes of a header")
        self.chunk = b""

    @property
    def pending(self):
        """Bytes that came of a message which is not whole yet, int; 0 after a fault."""
        return self.unread() if self.fault is None else 0

    cdef int put(self, object data) except -1:
        """Takes in the next bytes of the stream, cut anywhere.

        A message that comes in one piece is not copied; no byte is copied more than three times, however
        small the pieces are.
        """
        if self.fault is not None:
            return 0
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        if self.unread() == 0:
            self.before += self.at
            self.at = 0
            self.chunk = <bytes>data
        elif self.later is None:
            self.later = PyByteArray_FromStringAndSize(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        else:
            self.later += data
        return 0

    cdef const uint8_t *take(self, size_t *size) except? NULL:
        """The next whole message, which lies in `chunk`; NULL where there is none yet, or a fault.

        Let go of `chunk` only after the last use of it.
        """
        cdef const uint8_t *p
        cdef size_t have
        cdef Py_ssize_t length
        while self.fault is None:
            p = <const uint8_t *>PyBytes_AS_STRING(self.chunk) + self.at
            have = <size_t>PyBytes_GET_SIZE(self.chunk) - self.at
            length = frame(p, have, self.limit)
            if length > 0:
                self.at += <size_t>length
                size[0] = <size_t>length
                return p
            if length < 0:
                self.fault = framing_error(length, p, self.limit, self.before + self.at)
            elif self.later is None or (have >= 4 and self.unread() < (get_u32(p) & 0xFFFFFF)):
                self.drop_taken(p, have)
                return NULL
            else:
                self.join(p, have)
        return NULL

    cdef size_t unread(self) noexcept:
        """Bytes put in and not taken out."""
        cdef size_t n = <size_t>PyBytes_GET_SIZE(self.chunk) - self.at
        return n if self.later is None else n + <size_t>PyByteArray_GET_SIZE(self.later)

    cdef int drop_taken(self, const uint8_t *p, size_t have) except -1:
        """Keeps of `chunk` only the `have` bytes at `p`, so that a short rest holds no long chunk."""
        if self.at:
            self.chunk = PyBytes_FromStringAndSize(<const char *>p, <Py_ssize_t>have)
            self.before += self.at
            self.at = 0
        return 0

    cdef int join(self, const uint8_t *p, size_t have) except -1:
        """Makes one chunk of the `have` bytes at `p` and of what came later."""
        cdef size_t n = <size_t>PyByteArray_GET_SIZE(self.later)
        cdef bytes joined = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(have + n))
        memcpy(PyBytes_AS_STRING(joined), p, have)
        memcpy(PyBytes_AS_STRING(joined) + have, PyByteArray_AS_STRING(self.later), n)
        self.chunk = joined
        self.later = None
        self.before += self.at
        self.at = 0
        return 0


@cython.final
cdef class Framer(MessageStream):
    """Cuts a stream of bytes, as TCP delivers it, into messages.

    ::

        framer = Framer()
        for message in framer.feed(received):   # whole messages, as bytes
            ...

    :param limit: bytes a message may have, 20 to 2**24; 64 KiB by default.
    :ivar limit: int.
    :ivar fault: the ParseError that ended the stream, or None.
    :raises ConfigError: for a limit out of range.

    What is fed is kept until it has been taken out, so less than `limit` bytes where everything is
    taken out each time. Not for use by several threads at once.
    """

    def feed(self, data):
        """Takes in the next bytes of the stream.

        Taking out (``for``, ``next``) yields each whole message as bytes, without a look at its AVPs.
        It raises ParseError at the first place where no message can begin: another version than 1, or
        a Message Length below 20, no multiple of 4, or above the limit (RFC 6733, section 3). It does
        so as soon as the bytes that say so are there, after the messages before them. Each further
        call raises the same. The offset counts from the first byte of the stream.

        :param data: bytes-like, cut anywhere.
        :returns: the Framer itself, to take messages out of.
        """
        self.put(data)
        return self

    @property
    def pending(self):
        """Bytes fed and not yet taken out, int: where the stream ends in a whole message, 0."""
        return self.unread()

    def __iter__(self):
        return self

    def __next__(self):
        cdef size_t n
        cdef const uint8_t *p
        if self.fault is not None:
            raise ParseError(*self.fault.args)      # a new one, for each raise adds to the traceback
        p = self.take(&n)
        if p != NULL:
            return PyBytes_FromStringAndSize(<const char *>p, <Py_ssize_t>n)
        if self.fault is not None:
            raise self.fault
        raise StopIteration


def message_length(data, limit=DEFAULT_LIMIT):
    """The length of the first message in a stream.

    :param data: bytes-like; the stream from the message's first byte on, cut anywhere.
    :param limit: bytes a message may have, up to 2**24; 64 KiB by default.
    :returns: int, bytes of the message, all of them in `data`; 0: more bytes are needed.
    :raises ParseError: where no message can begin like this, as `Framer.feed` says.
    :raises ConfigError: for a limit out of range.
    """
    cdef Py_buffer view
    cdef Py_ssize_t length
    cdef size_t most = checked(limit, "limit", MESSAGE_LENGTH_LIMIT)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        length = frame(<const uint8_t *>view.buf, <size_t>view.len, most)
        if length < 0:
            raise framing_error(length, <const uint8_t *>view.buf, most, 0)
        return length
    finally:
        PyBuffer_Release(&view)


cdef int check_one_message(const uint8_t *p, size_t n, size_t limit) except -1:
    """Raises ParseError where the `n` bytes at `p` are not exactly one message."""
    cdef Py_ssize_t length = frame(p, n, limit)
    if length < 0:
        raise framing_error(length, p, limit, 0)
    if length == 0 and n < HEADER_SIZE:
        raise ParseError(f"{n} bytes where a Diameter header has {HEADER_SIZE}", n)
    if length == 0:
        raise ParseError(f"Message Length is {get_u32(p) & 0xFFFFFF}, and only {n} bytes are there", n)
    if <size_t>length < n:
        raise ParseError(f"{n - <size_t>length} bytes after the message", length)
    return 0


cdef object framing_error(Py_ssize_t status, const uint8_t *p, size_t limit, size_t at):
    """The ParseError for what `frame` said of the bytes at `p`, byte `at` of the stream."""
    cdef size_t length
    if status == FRAME_VERSION:
        return ParseError(f"Diameter version is {p[0]}, not {DIAMETER_VERSION}", at)
    length = get_u32(p) & 0xFFFFFF
    if status == FRAME_SHORT:
        return ParseError(
            f"Message Length {length} is below the {HEADER_SIZE} of the header", at + 1
        )
    if status == FRAME_UNALIGNED:
        return ParseError(f"Message Length {length} is no multiple of 4", at + 1)
    return ParseError(f"Message Length {length} is above the limit of {limit}", at + 1)
