"""Messages as Python values, and a stream cut into them: RFC 6733, section 3."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from auth_diameter._core.diameter.avp cimport Avp, checked, format_avps, put, read_avps, size_of, under
from auth_diameter._core.diameter.codes cimport (
    AVP_VENDOR,
    FLAG_ERROR,
    FLAG_PROXIABLE,
    FLAG_REQUEST,
    FLAG_RETRANSMITTED,
)
from auth_diameter._core.diameter.dictionary cimport command_name
from auth_diameter._core.errors import ConfigError, ParseError


@cython.final
cdef class Message:
    """One Diameter message, RFC 6733, section 3. It does not change.

    :param command: Command Code, 0 to 2**24 - 1.
    :param avps: its AVPs, in order.
    :param application_id: Application-ID, 0 to 2**32 - 1.
    :param flags: all eight command flags; 0x80 is R (request), 0 makes an answer.
    :param hop_by_hop: Hop-by-Hop Identifier, 0 to 2**32 - 1.
    :param end_to_end: End-to-End Identifier, 0 to 2**32 - 1.
    :raises ConfigError: for a number out of range, or more AVPs than the 24 bits of Message Length
        have room for.
    :raises TypeError: for something among `avps` that is no Avp.

    Equal are messages with the same header and equal AVPs in the same order.
    """

    def __cinit__(self):
        self.avps = ()
        self.size = HEADER_SIZE

    def __init__(
        self, command, avps=(), *, application_id=0, flags=FLAG_REQUEST, hop_by_hop=0, end_to_end=0
    ):
        cdef list own = []
        cdef size_t size = HEADER_SIZE
        self.command = checked(command, "command", 0xFFFFFF)
        self.application_id = checked(application_id, "application_id", 0xFFFFFFFF)
        self.flags = checked(flags, "flags", 0xFF)
        self.hop_by_hop = checked(hop_by_hop, "hop_by_hop", 0xFFFFFFFF)
        self.end_to_end = checked(end_to_end, "end_to_end", 0xFFFFFFFF)
        for avp in avps:
            if not isinstance(avp, Avp):
                raise TypeError(f"avps: {type(avp).__name__}, where only Avp may be")
            size += size_of(<Avp>avp)
            own.append(under(<Avp>avp, self.application_id))
        if size >= MESSAGE_LENGTH_LIMIT:
            raise ConfigError(f"avps: {size} bytes are more than a message can have")
        self.avps = tuple(own)
        self.size = size

    @property
    def version(self):
        """Always 1: nothing else is decoded."""
        return DIAMETER_VERSION

    @property
    def is_request(self):
        """Whether the R flag is set."""
        return (self.flags & FLAG_REQUEST) != 0

    @property
    def name(self):
        """What the message is called, such as ``"AA-Request"``; ``"Request"`` or ``"Answer"`` where
        the command is not known.
        """
        kind = "Request" if self.flags & FLAG_REQUEST else "Answer"
        command = command_name(self.command)
        return kind if command is None else f"{command}-{kind}"

    def find(self, uint32_t code, vendor_id=None):
        """The first AVP of that code, or None.

        :param code: AVP Code.
        :param vendor_id: Vendor-ID; None: only an AVP without one.
        """
        cdef Avp avp
        for avp in self.avps:
            if avp.code == code and _of_vendor(avp, vendor_id):
                return avp
        return None

    def find_all(self, uint32_t code, vendor_id=None):
        """All AVPs of that code and Vendor-ID, as a list, in order; see `find`."""
        cdef Avp avp
        return [avp for avp in self.avps if avp.code == code and _of_vendor(avp, vendor_id)]

    def encode(self):
        """The whole message as bytes; after `decode`, the very bytes that were decoded."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>self.size)
        cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(out)
        cdef Header header
        cdef Avp avp
        header.version = DIAMETER_VERSION
        header.length = <uint32_t>self.size
        header.flags = self.flags
        header.command = self.command
        header.application_id = self.application_id
        header.hop_by_hop = self.hop_by_hop
        header.end_to_end = self.end_to_end
        p = header_put(p, &header)
        for avp in self.avps:
            p = put(p, avp)
        return out

    @classmethod
    def decode(cls, data, *, limit=DEFAULT_LIMIT):
        """The message that `data` is, exactly.

        :param data: bytes-like; one whole message and nothing after it. For a stream, see `Framer`.
        :param limit: bytes the message may have; 64 KiB where not said, under 2**24 in any case.
        :raises ParseError: for another version than 1; for a Message Length below 20, no multiple
            of 4, above the limit, or another than that of `data`; for an AVP Length below 8 (12
            with a Vendor-ID) or beyond the message. The offset points into `data`.

        What stands inside a Grouped AVP is read only when asked for (`Avp.avps`). Flags that RFC
        6733 reserves are kept, and no flag is judged. It takes time and memory linear in `data`.
        """
        cdef Py_buffer view
        cdef size_t most = checked(limit, "limit", MESSAGE_LENGTH_LIMIT)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return _decode(<const uint8_t *>view.buf, <size_t>view.len, most)
        finally:
            PyBuffer_Release(&view)

    def __eq__(self, other):
        cdef Message that
        if not isinstance(other, Message):
            return NotImplemented
        that = <Message>other
        return (
            self.command == that.command
            and self.flags == that.flags
            and self.application_id == that.application_id
            and self.hop_by_hop == that.hop_by_hop
            and self.end_to_end == that.end_to_end
            and self.avps == that.avps
        )

    def __hash__(self):
        return hash(
            (
                self.command, self.flags, self.application_id, self.hop_by_hop, self.end_to_end,
                self.avps,
            )
        )

    def __repr__(self):
        return _format(self, False)


def format_message(Message message not None, *, bint secrets=False):
    """The message as text for people: a line for the header and one for each AVP.

    :param secrets: False: as `repr` has it, fit for logs: of an AVP that holds a password, a key, a
        response or a nonce only the size is shown, and long values and long messages are cut. True:
        everything is shown, whole.

    Control characters are escaped in either case.
    """
    return _format(message, secrets)


@cython.final
cdef class Framer:
    """Cuts a stream of bytes, as TCP delivers it, into messages.

    ::

        framer = Framer()
        for message in framer.feed(received):   # whole messages, as bytes
            ...

    :param limit: bytes a message may have; 64 KiB where not said, under 2**24 in any case.
    :raises ConfigError: for a limit that leaves no room for a header.

    What is fed is kept until it has been taken out, so less than `limit` bytes where everything is
    taken out each time. Not for use by several threads at once.
    """

    def __cinit__(self, limit=DEFAULT_LIMIT):
        self.limit = checked(limit, "limit", MESSAGE_LENGTH_LIMIT)
        if self.limit < HEADER_SIZE:
            raise ConfigError(f"limit: {limit} is below the {HEADER_SIZE} bytes of a header")
        self.buffer = bytearray()

    def feed(self, data):
        """Takes the next bytes of the stream; returns the Framer itself, to take messages out of.

        :param data: bytes-like, cut anywhere.

        Taking out (``for``, ``next``) yields each whole message as bytes, without a look at its
        AVPs, and raises ParseError at the first place where no message can begin: another version
        than 1, or a Message Length below 20, no multiple of 4, or above the limit (RFC 6733,
        section 3). It does so as soon as the bytes that say so are there, after the messages before
        them; nothing in the stream can be trusted from there on, and each further call raises the
        same. The offset counts from the stream's first byte.
        """
        if self.at:
            # Taking from the front of a bytearray only moves its start.
            self.fed += self.at
            del self.buffer[:self.at]
            self.at = 0
        if self.fault is None:
            self.buffer += data
        return self

    @property
    def pending(self):
        """Bytes fed and not yet taken out: where the stream ends in a whole message, 0."""
        return <size_t>PyByteArray_GET_SIZE(self.buffer) - self.at

    def __iter__(self):
        return self

    def __next__(self):
        cdef const uint8_t *p
        cdef size_t have
        cdef Py_ssize_t length
        if self.fault is not None:
            raise ParseError(*self.fault)
        p = <const uint8_t *>PyByteArray_AS_STRING(self.buffer) + self.at
        have = <size_t>PyByteArray_GET_SIZE(self.buffer) - self.at
        length = frame(p, have, self.limit)
        if length == 0:
            raise StopIteration
        if length < 0:
            fault = _unframed(length, p, self.limit, self.fed + self.at)
            self.fault = fault.args
            raise fault
        self.at += <size_t>length
        return PyBytes_FromStringAndSize(<const char *>p, length)


def message_length(data, limit=DEFAULT_LIMIT):
    """How long the first message in a stream is.

    :param data: bytes-like; the stream from the message's first byte on, cut anywhere.
    :param limit: bytes the message may have; 64 KiB where not said, under 2**24 in any case.
    :returns: the message's bytes, all of them in `data`; 0: more bytes are needed.
    :raises ParseError: where no message can begin like this, as `Framer.feed` says.
    """
    cdef Py_buffer view
    cdef Py_ssize_t length
    cdef size_t most = checked(limit, "limit", MESSAGE_LENGTH_LIMIT)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        length = frame(<const uint8_t *>view.buf, <size_t>view.len, most)
        if length < 0:
            raise _unframed(length, <const uint8_t *>view.buf, most, 0)
        return length
    finally:
        PyBuffer_Release(&view)


cdef bint _of_vendor(Avp avp, object vendor_id):
    if vendor_id is None:
        return not avp.flags & AVP_VENDOR
    return avp.flags & AVP_VENDOR and avp.vendor == vendor_id


cdef Message _decode(const uint8_t *p, size_t n, size_t limit):
    cdef Header header
    cdef Message message
    cdef Py_ssize_t length = frame(p, n, limit)
    if length < 0:
        raise _unframed(length, p, limit, 0)
    if length == 0 and n < HEADER_SIZE:
        raise ParseError(f"{n} bytes where a Diameter header has {HEADER_SIZE}", n)
    header_get(p, &header)
    if length == 0:
        raise ParseError(f"Message Length is {header.length}, and only {n} bytes are there", n)
    if <size_t>length < n:
        raise ParseError(f"{n - <size_t>length} bytes after the message", length)
    message = Message.__new__(Message)
    message.command = header.command
    message.flags = header.flags
    message.application_id = header.application_id
    message.hop_by_hop = header.hop_by_hop
    message.end_to_end = header.end_to_end
    message.avps = read_avps(p, p + HEADER_SIZE, p + n, header.application_id, 0)
    message.size = n
    return message


cdef object _unframed(Py_ssize_t status, const uint8_t *p, size_t limit, size_t at):
    """The ParseError for what `frame` said of the bytes at `p`; RFC 6733, section 3."""
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


cdef str _format(Message message, bint secrets):
    flags = (
        ("R" if message.flags & FLAG_REQUEST else "-")
        + ("P" if message.flags & FLAG_PROXIABLE else "-")
        + ("E" if message.flags & FLAG_ERROR else "-")
        + ("T" if message.flags & FLAG_RETRANSMITTED else "-")
        + (f"+0x{message.flags & 0x0F:02x}" if message.flags & 0x0F else "")
    )
    head = (
        f"{message.name}({message.command}) application={message.application_id} flags={flags}"
        f" hop-by-hop=0x{message.hop_by_hop:08x} end-to-end=0x{message.end_to_end:08x}"
    )
    return "\n".join([head, *format_avps(message.avps, secrets, "  ")])
