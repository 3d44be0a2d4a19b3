"""Messages as Python values: RFC 6733, 3."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from auth_diameter._core.base.arguments cimport checked
from auth_diameter._core.diameter.avp cimport (
    FOR_LOGS,
    IN_FULL,
    Avp,
    Detail,
    format_avps,
    in_application,
    put,
    read_avps,
    size_of,
)
from auth_diameter._core.diameter.codes cimport (
    AVP_VENDOR,
    FLAG_ERROR,
    FLAG_PROXIABLE,
    FLAG_REQUEST,
    FLAG_RETRANSMITTED,
)
from auth_diameter._core.diameter.dictionary cimport command_name
from auth_diameter._core.diameter.header cimport (
    DIAMETER_VERSION,
    HEADER_SIZE,
    MESSAGE_LENGTH_LIMIT,
    Header,
    header_get,
    header_put,
)
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, check_one_message

from auth_diameter._core.errors import ConfigError


@cython.final
cdef class Message:
    """Message(command, avps=(), *, application_id=0, flags=128, hop_by_hop=0, end_to_end=0)\n--\n
    A Diameter message (RFC 6733, 3); immutable.

    Two messages are equal if their headers are, and their AVPs in the same order.

    Args:
        command: Command Code, 0 to 2**24 - 1.
        avps: iterable of Avp, in order.
        application_id: Application-ID, 0 to 2**32 - 1.
        flags: all eight command flags; 0x80 is R (request), 0 makes an answer.
        hop_by_hop: Hop-by-Hop Identifier, 0 to 2**32 - 1.
        end_to_end: End-to-End Identifier, 0 to 2**32 - 1.

    Attributes:
        avps: tuple of Avp. The other parameters are attributes, too: int.

    Raises:
        ConfigError: a number is out of range, or the message does not fit the 24 bits of Message Length.
        TypeError: `avps` holds something that is not an Avp.
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
            own.append(in_application(<Avp>avp, self.application_id))
        if size >= MESSAGE_LENGTH_LIMIT:
            raise ConfigError(f"avps: {size} bytes are more than a message can have")
        self.avps = tuple(own)
        self.size = size

    @property
    def version(self):
        """The version of the protocol, int: always 1."""
        return DIAMETER_VERSION

    @property
    def is_request(self):
        """Whether the R flag is set, bool."""
        return (self.flags & FLAG_REQUEST) != 0

    @property
    def name(self):
        """The message's name, such as ``"AA-Request"``, str.

        ``"Request"`` or ``"Answer"`` if the command is not in the dictionary.
        """
        kind = "Request" if self.flags & FLAG_REQUEST else "Answer"
        command = command_name(self.command)
        return kind if command is None else f"{command}-{kind}"

    def find(self, uint32_t code, vendor_id=None):
        """The first AVP with that code.

        Args:
            code: AVP Code.
            vendor_id: Vendor-ID; None for an AVP without one.

        Returns:
            Avp, or None.
        """
        cdef Avp avp
        for avp in self.avps:
            if avp.code == code and _of_vendor(avp, vendor_id):
                return avp
        return None

    def find_all(self, uint32_t code, vendor_id=None):
        """All AVPs with that code, in order.

        Args:
            code: AVP Code.
            vendor_id: Vendor-ID; None for AVPs without one.

        Returns:
            List of Avp.
        """
        cdef Avp avp
        return [avp for avp in self.avps if avp.code == code and _of_vendor(avp, vendor_id)]

    def encode(self):
        """The whole message, bytes; of a decoded message, exactly the bytes that were decoded."""
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
    @cython.embedsignature(False)
    def decode(cls, data, *, limit=DEFAULT_LIMIT):
        """decode($type, data, *, limit=65536)\n--\n
        Decodes exactly one message.

        AVPs inside a Grouped AVP are decoded by `Avp.avps` only. Flags are kept as they are, reserved
        ones included. Time and memory are linear in the size of `data`.

        Args:
            data: bytes-like, one whole message and nothing after it. For a stream, see `Framer`.
            limit: bytes a message may have, up to 2**24; 64 KiB by default.

        Returns:
            Message.

        Raises:
            ParseError: the version is not 1; Message Length is below 20, not a multiple of 4, above the
                limit, or not the size of `data`; an AVP Length is below 8 (12 with a Vendor-ID) or goes
                beyond the message. The offset points into `data`.
            ConfigError: the limit is out of range.
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
        return _format(self, FOR_LOGS)


def format_message(Message message not None, *, bint secrets=False):
    """The message as text for people: one line for the header and one for each AVP.

    Control characters are escaped.

    Args:
        message: Message.
        secrets: False for the text of `repr`, which is fit for logs: an AVP that holds a password, a key, a
            response or a nonce shows its size only, and long values and messages are cut. True to show
            everything.

    Returns:
        Str.
    """
    return _format(message, IN_FULL if secrets else FOR_LOGS)


cdef bint _of_vendor(Avp avp, object vendor_id):
    if vendor_id is None:
        return not avp.flags & AVP_VENDOR
    return avp.flags & AVP_VENDOR and avp.vendor == vendor_id


cdef Message _decode(const uint8_t *p, size_t n, size_t limit):
    cdef Header header
    cdef Message message
    check_one_message(p, n, limit)
    header_get(p, &header)
    message = Message.__new__(Message)
    message.command = header.command
    message.flags = header.flags
    message.application_id = header.application_id
    message.hop_by_hop = header.hop_by_hop
    message.end_to_end = header.end_to_end
    message.avps = read_avps(p, p + HEADER_SIZE, p + n, header.application_id, 0)
    message.size = n
    return message


cdef str _format(Message message, Detail detail):
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
    return "\n".join([head, *format_avps(message.avps, detail, "  ")])
