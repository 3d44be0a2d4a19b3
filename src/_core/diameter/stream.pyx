"""Streams of Diameter messages as Python reads them: RFC 6733, 3."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from auth_diameter._core.base.arguments cimport checked
from auth_diameter._core.diameter.header cimport MESSAGE_LENGTH_LIMIT

from auth_diameter._core.errors import ConfigError, ParseError


cdef class MessageStream:
    """MessageStream(limit=65536)\n--\n
    The bytes of one connection or file, cut into messages.

    Not for use by several threads at once.

    Args:
        limit: bytes a message may have, 20 to 2**24; 64 KiB by default.

    Attributes:
        limit: int.
        fault: the ParseError that ended the stream, or None. Later bytes are dropped, since nobody can tell
            where the next message begins.

    Raises:
        ConfigError: the limit is out of range.
    """

    def __cinit__(self, limit=DEFAULT_LIMIT):
        self.limit = checked(limit, "limit", MESSAGE_LENGTH_LIMIT)
        if self.limit < HEADER_SIZE:
            raise ConfigError(f"limit: {limit} is below the {HEADER_SIZE} bytes of a header")
        self.chunk = b""

    @property
    def pending(self):
        """Bytes of a message that is not complete yet, int; 0 after a fault."""
        return self.unread() if self.fault is None else 0

    cdef int put(self, object data) except -1:
        """Takes in the next bytes of the stream, cut anywhere.

        A message that comes in one piece is not copied. In small pieces, no byte is copied more than three
        times.
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
        """The next complete message, as a pointer into `chunk`; NULL if there is none, or a fault.

        The caller keeps a reference to `chunk` while it uses the pointer.
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
        """Bytes put in and not yet taken out."""
        cdef size_t n = <size_t>PyBytes_GET_SIZE(self.chunk) - self.at
        return n if self.later is None else n + <size_t>PyByteArray_GET_SIZE(self.later)

    cdef int drop_taken(self, const uint8_t *p, size_t have) except -1:
        """Reduces `chunk` to the `have` bytes at `p`: a short rest keeps no long chunk in memory."""
        if self.at:
            self.chunk = PyBytes_FromStringAndSize(<const char *>p, <Py_ssize_t>have)
            self.before += self.at
            self.at = 0
        return 0

    cdef int join(self, const uint8_t *p, size_t have) except -1:
        """Makes one chunk of the `have` bytes at `p` and of `later`."""
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
    """Framer(limit=65536)\n--\n
    Cuts a stream of bytes, as TCP delivers it, into messages.

    ::

        framer = Framer()
        for message in framer.feed(received):   # whole messages, as bytes
            ...

    It keeps what is fed until it is taken out: less than `limit` bytes if everything is taken out each time.
    Not for use by several threads at once.

    Args:
        limit: bytes a message may have, 20 to 2**24; 64 KiB by default.

    Attributes:
        limit: int.
        fault: the ParseError that ended the stream, or None.

    Raises:
        ConfigError: the limit is out of range.
    """

    def feed(self, data):
        """Takes in the next bytes of the stream.

        Iteration (``for``, ``next``) yields each whole message as bytes and does not look at its AVPs. It
        raises ParseError where no message can begin: the version is not 1, or Message Length is below 20,
        not a multiple of 4, or above the limit (RFC 6733, 3). It does so as soon as these bytes are
        there, after the messages before them, and again at each further call. The offset counts from the
        first byte of the stream.

        Args:
            data: bytes-like, cut anywhere.

        Returns:
            The Framer itself, to iterate over.
        """
        self.put(data)
        return self

    @property
    def pending(self):
        """Bytes fed and not yet taken out, int; 0 if the stream ends with a whole message."""
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


@cython.embedsignature(False)
def message_length(data, limit=DEFAULT_LIMIT):
    """message_length(data, limit=65536)\n--\n
    The length of the first message in a stream.

    Args:
        data: bytes-like, the stream from the message's first byte on, cut anywhere.
        limit: bytes a message may have, up to 2**24; 64 KiB by default.

    Returns:
        Int, the size of the message in bytes, all of them in `data`; 0 if more bytes are needed.

    Raises:
        ParseError: no message can begin like this, see `Framer.feed`.
        ConfigError: the limit is out of range.
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
    """Raises ParseError unless the `n` bytes at `p` are exactly one message."""
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
    """The ParseError for the status that `frame` returned for the bytes at `p`, byte `at` of the stream."""
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
