"""AVPs as Python values: RFC 6733, 4. Their layout, and reading in place, is in avp.pxd."""

cimport cython
from cpython.buffer cimport PyObject_CheckBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from auth_diameter._core.base.arguments cimport checked
from auth_diameter._core.diameter.codes cimport APPLICATION_NASREQ, AVP_MANDATORY, AVP_PROTECTED
from auth_diameter._core.diameter.dictionary cimport (
    ADDRESS,
    F32,
    F64,
    GROUPED,
    I32,
    I64,
    TEXT,
    TIME,
    U32,
    U64,
    Entry,
    lookup,
)
from auth_diameter._core.errors import ConfigError, ParseError

cdef object _float32 = Struct(">f")
cdef object _float64 = Struct(">d")
cdef object _1900 = datetime(1900, 1, 1, tzinfo=timezone.utc)  # RFC 6733, 4.3.1 (Time)

cdef enum:
    SHOWN_ROWS = 100     # AVPs that an unasked repr shows
    SHOWN_CHARS = 200    # characters of one value that it shows


@cython.final
@cython.freelist(64)
cdef class Avp:
    """Avp(code, data, *, flags=64, vendor_id=None)\n--\n
    An attribute-value pair (RFC 6733, 4.1); immutable.

    Two AVPs are equal if code, flags, Vendor-ID and data are; padding does not count. `name` and `value`
    depend on the application of the message that holds the AVP. An AVP in no message belongs to the DISC
    dialect.

    Args:
        code: AVP Code, 0 to 2**32 - 1.
        data: bytes-like, str (encoded as UTF-8), a number, an IP address, an aware datetime, or a sequence of
            Avp (Grouped). A number, an address or a time is encoded in the AVP's type by the dictionary; a
            number in an AVP of any other type as Unsigned32.
        flags: all eight flag bits; 0x40 is M (mandatory). `vendor_id` sets the V flag, 0x80.
        vendor_id: Vendor-ID, 0 to 2**32 - 1; None for no Vendor-ID.

    Attributes:
        code: int.
        flags: int, all eight flag bits.
        data: bytes, without the padding.

    Raises:
        ConfigError: a value is out of range, text cannot be encoded as UTF-8, or data does not fit the 24
            bits of AVP Length.
        TypeError: data is of another type.
    """

    def __cinit__(self):
        self.data = b""
        self.application = APPLICATION_NASREQ

    def __init__(self, code, data, *, flags=AVP_MANDATORY, vendor_id=None):
        cdef Entry entry
        cdef Py_ssize_t head
        if self.made:
            raise TypeError("an Avp is made once")
        self.made = True
        self.code = checked(code, "code", 0xFFFFFFFF)
        self.flags = checked(flags, "flags", 0xFF)
        if vendor_id is not None:
            self.vendor = checked(vendor_id, "vendor_id", 0xFFFFFFFF)
            self.flags |= AVP_VENDOR
        elif self.flags & AVP_VENDOR:
            raise ConfigError("flags: the V flag, 0x80, needs a vendor_id")
        if type(data) is bytes:
            self.data = <bytes>data
        else:
            entry = lookup(self.application, self.vendor, self.code)
            self.data = _encoded(data, -1 if entry is None else entry.kind)
        head = AVP_VENDOR_HEADER if self.flags & AVP_VENDOR else AVP_HEADER
        if head + PyBytes_GET_SIZE(self.data) >= AVP_LENGTH_LIMIT:
            raise ConfigError(f"data: {len(self.data)} bytes are more than an AVP can hold")

    @property
    def vendor_id(self):
        """Vendor-ID, int; None without the V flag."""
        return self.vendor if self.flags & AVP_VENDOR else None

    @property
    def name(self):
        """The AVP's name, such as ``"User-Name"``, str; ``"AVP"`` if it is not in the dictionary."""
        return _name(self.application, self.vendor, self.code)

    @property
    def value(self):
        """The data, decoded by its type (RFC 6733, 4.2 to 4.4).

        An int, a float, a str, an IPv4Address or IPv6Address, a datetime (UTC, in the years 1968 to
        2104: section 4.3.1), or a tuple of Avp. It is bytes if the type is OctetString or not known, or
        if the data does not fit the type.
        """
        cdef Entry entry = lookup(self.application, self.vendor, self.code)
        return self.data if entry is None else _decoded(self, entry.kind)

    @property
    def avps(self):
        """The AVPs inside a Grouped one (RFC 6733, 4.4), tuple of Avp; decoded at each access.

        Raises:
            ParseError: the data is not a sequence of AVPs, or is nested more than 16 groups deep. The offset
                counts from the start of `data`.
        """
        return _inner(self)

    def encode(self):
        """The whole AVP: header, data, and padding to a multiple of 4.

        Padding is zeros (RFC 6733, 4). An AVP that was decoded keeps the padding it had.

        Returns:
            Bytes.
        """
        cdef bytes out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size_of(self))
        put(<uint8_t *>PyBytes_AS_STRING(out), self)
        return out

    def __eq__(self, other):
        cdef Avp that
        if not isinstance(other, Avp):
            return NotImplemented
        that = <Avp>other
        return (
            self.code == that.code
            and self.flags == that.flags
            and self.vendor == that.vendor
            and self.data == that.data
        )

    def __hash__(self):
        return hash((self.code, self.flags, self.vendor, self.data))

    def __repr__(self):
        return "\n".join(format_avps((self,), FOR_LOGS, ""))


# Reading

cdef tuple read_avps(
    const uint8_t *start,
    const uint8_t *body,
    const uint8_t *end,
    uint32_t application,
    uint8_t depth,
):
    """The AVPs between `body` and `end`; the offset of a ParseError counts from `start`."""
    cdef Reader reader
    cdef AvpView view
    cdef Avp avp
    cdef list avps = []
    cdef int status
    cdef size_t i, padded
    reader.p = body
    reader.end = end
    status = avp_next(&reader, &view)
    while status > 0:
        avp = Avp.__new__(Avp)
        avp.made = True
        avp.code = view.code
        avp.flags = view.flags
        avp.vendor = view.vendor_id
        avp.data = PyBytes_FromStringAndSize(<const char *>view.data.p, <Py_ssize_t>view.data.n)
        avp.application = application
        avp.depth = depth
        padded = <size_t>(reader.p - view.data.p)
        for i in range((padded - view.data.n) & 3):     # 3 at most, and the compiler is to see it
            avp.padding[i] = view.data.p[view.data.n + i]
        avps.append(avp)
        status = avp_next(&reader, &view)
    if status < 0:
        raise _malformed(status, &reader, &view, start, application)
    return tuple(avps)


cdef object _malformed(
    int status,
    const Reader *reader,
    const AvpView *view,
    const uint8_t *start,
    uint32_t application,
):
    """The ParseError for the status that `avp_next` returned at reader.p (RFC 6733, 4.1)."""
    cdef size_t at = <size_t>(reader.p - start), have = <size_t>(reader.end - reader.p)
    cdef size_t length, head
    if status == AVP_CUT:
        return ParseError(f"{have} bytes where an AVP header has {AVP_HEADER}", at + have)
    length = (<size_t>reader.p[5] << 16) | (<size_t>reader.p[6] << 8) | reader.p[7]
    head = AVP_VENDOR_HEADER if view.flags & AVP_VENDOR else AVP_HEADER
    name = f"{_name(application, view.vendor_id, view.code)}({view.code})"
    if status == AVP_LENGTH_SMALL:
        return ParseError(f"{name}: AVP Length {length} is below the {head} of the header", at + 5)
    if status == AVP_LENGTH_LARGE:
        return ParseError(f"{name}: AVP Length {length} where {have} bytes are left", at + 5)
    return ParseError(f"{name}: the end comes before its padding", at + have)


cdef tuple _inner(Avp avp):
    cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(avp.data)
    if avp.depth >= GROUP_DEPTH:
        raise ParseError(f"AVPs nested more than {GROUP_DEPTH} groups deep")
    return read_avps(p, p, p + PyBytes_GET_SIZE(avp.data), avp.application, avp.depth + 1)


cdef object _decoded(Avp avp, int kind):
    """The value of an AVP of that type; its bytes if they do not fit the type."""
    cdef bytes data = avp.data
    cdef Py_ssize_t n = PyBytes_GET_SIZE(data)
    if kind == TEXT:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data
    if kind == GROUPED:
        try:
            return _inner(avp)
        except ParseError:
            return data
    if n == 4 and (kind == U32 or kind == I32):
        return int.from_bytes(data, "big", signed=kind == I32)
    if n == 8 and (kind == U64 or kind == I64):
        return int.from_bytes(data, "big", signed=kind == I64)
    if n == 4 and kind == F32:
        return _float32.unpack(data)[0]
    if n == 8 and kind == F64:
        return _float64.unpack(data)[0]
    if n == 6 and kind == ADDRESS and data[:2] == b"\x00\x01":
        return IPv4Address(data[2:])
    if n == 18 and kind == ADDRESS and data[:2] == b"\x00\x02":
        return IPv6Address(data[2:])
    if n == 4 and kind == TIME:
        seconds = int.from_bytes(data, "big")
        # The count starts again in 2036: a time before 1968 is one after 2036.
        return _1900 + timedelta(seconds=seconds if seconds >> 31 else seconds + (1 << 32))
    return data


# Writing

cdef size_t size_of(Avp avp) noexcept:
    """Bytes of the encoded AVP."""
    return avp_size(PyBytes_GET_SIZE(avp.data)) + (4 if avp.flags & AVP_VENDOR else 0)


cdef uint8_t *put(uint8_t *out, Avp avp) noexcept:
    """Writes the AVP, `size_of(avp)` bytes.

    Returns:
        The end.
    """
    cdef const uint8_t *data = <const uint8_t *>PyBytes_AS_STRING(avp.data)
    cdef size_t i, n = <size_t>PyBytes_GET_SIZE(avp.data)
    if avp.flags & AVP_VENDOR:
        out = avp_put_vendor(out, avp.code, avp.flags, avp.vendor, data, n)
    else:
        out = avp_put(out, avp.code, avp.flags, data, n)
    n = (4 - (n & 3)) & 3
    for i in range(n):
        (out - n + i)[0] = avp.padding[i]
    return out


cdef Avp in_application(Avp avp, uint32_t application):
    """The same AVP as part of a message of `application`."""
    cdef Avp other
    cdef int i
    if avp.application == application and avp.depth == 0:
        return avp
    other = Avp.__new__(Avp)
    other.made = True
    other.code = avp.code
    other.flags = avp.flags
    other.vendor = avp.vendor
    other.data = avp.data
    other.application = application
    for i in range(3):
        other.padding[i] = avp.padding[i]
    return other


cdef bytes _encoded(object data, int kind):
    """The data of an AVP of that type (-1: not known)."""
    if isinstance(data, str):
        try:
            return data.encode()
        except UnicodeEncodeError as e:
            raise ConfigError(f"data: no UTF-8 for the character at {e.start}") from None
    if isinstance(data, int):
        if kind == F32 or kind == F64:
            return _encoded(float(data), kind)
        return _encoded_int(data, kind)
    if isinstance(data, float):
        if kind != F32 and kind != F64:
            raise TypeError("data: a float, and the AVP is not of a floating point type")
        try:
            return (_float32 if kind == F32 else _float64).pack(data)
        except OverflowError:
            raise ConfigError(f"data: {data} does not fit Float32") from None
    if isinstance(data, IPv4Address):
        return b"\x00\x01" + data.packed
    if isinstance(data, IPv6Address):
        return b"\x00\x02" + data.packed
    if isinstance(data, datetime):
        return _encoded_time(data)
    if PyObject_CheckBuffer(data):
        return bytes(data)
    return _encoded_group(data)


cdef bytes _encoded_int(object number, int kind):
    """The number as that integer type, as Unsigned32 for any other type."""
    size = 8 if kind == U64 or kind == I64 else 4
    signed = kind == I32 or kind == I64
    try:
        return number.to_bytes(size, "big", signed=signed)
    except OverflowError:
        name = f"{'Integer' if signed else 'Unsigned'}{size * 8}"
        raise ConfigError(f"data: {number} does not fit {name}") from None


cdef bytes _encoded_time(object when):
    if when.tzinfo is None:
        raise ConfigError("data: a datetime without a time zone")
    seconds = (when - _1900) // timedelta(seconds=1)
    if not 1 << 31 <= seconds < 3 << 31:
        raise ConfigError("data: Time has the years 1968 to 2104 (RFC 6733, section 4.3.1)")
    return (seconds & 0xFFFFFFFF).to_bytes(4, "big")


cdef bytes _encoded_group(object data):
    cdef list parts = []
    try:
        avps = iter(data)
    except TypeError:
        avps = None
    if avps is not None:
        for avp in avps:
            if not isinstance(avp, Avp):
                raise TypeError(f"data: {type(avp).__name__} in a group, where only Avp may be")
            parts.append(avp.encode())
        return b"".join(parts)
    raise TypeError(
        "data: bytes, str, int, an IP address, a datetime or a sequence of Avp,"
        f" not {type(data).__name__}"
    )


# Showing

cdef str _name(uint32_t application, uint32_t vendor, uint32_t code):
    cdef Entry entry = lookup(application, vendor, code)
    return "AVP" if entry is None else entry.name


cdef list format_avps(tuple avps, Detail detail, str indent):
    """A line for each AVP, in columns; those in groups are indented. See message.format_message."""
    cdef list rows = []
    cdef Py_ssize_t width = 0
    _collect(avps, detail, indent, rows)
    for label, _ in rows:
        width = max(width, len(label))
    return [f"{label:<{width}} {rest}" if rest else label for label, rest in rows]


cdef _collect(tuple avps, Detail detail, str indent, list rows):
    """Appends a pair (name and number; flags and value) to `rows` for each AVP."""
    cdef Avp avp
    cdef Entry entry
    cdef Py_ssize_t done = 0
    for avp in avps:
        if detail == FOR_LOGS and len(rows) >= SHOWN_ROWS:
            rows.append((f"{indent}... and {len(avps) - done} more", ""))
            return
        done += 1
        entry = lookup(avp.application, avp.vendor, avp.code)
        label = f"{indent}{'AVP' if entry is None else entry.name}({avp.code}"
        label += f", vendor {avp.vendor})" if avp.flags & AVP_VENDOR else ")"
        inner = None
        if entry is not None and entry.kind == GROUPED and not (entry.secret and detail == FOR_LOGS):
            try:
                inner = _inner(avp)
                shown = ""
            except ParseError as e:
                # The bytes may hold a secret that an AVP in a well-formed group would have hidden.
                shown = f"<{len(avp.data)} bytes, no group: {e}>"
                if detail == IN_FULL:
                    shown = f"{_shown_bytes(avp.data)} {shown}"
        else:
            shown = _shown(avp, entry, detail)
        rows.append((label, f"flags={_flags(avp.flags)} {shown}".rstrip()))
        if inner is not None:
            _collect(inner, detail, indent + "  ", rows)


cdef str _flags(uint8_t flags):
    """The set flags as ``VMP``, and reserved bits in hexadecimal."""
    text = (
        ("V" if flags & AVP_VENDOR else "-")
        + ("M" if flags & AVP_MANDATORY else "-")
        + ("P" if flags & AVP_PROTECTED else "-")
    )
    return f"{text}+0x{flags & 0x1F:02x}" if flags & 0x1F else text


cdef str _shown_bytes(bytes data):
    """A bytes literal if all of it is printable, else hexadecimal."""
    return repr(data) if data.isascii() and data.decode().isprintable() else "0x" + data.hex()


cdef str _shown(Avp avp, Entry entry, Detail detail):
    """The value as text without control characters, which could act on a terminal or a log."""
    if entry is not None and entry.secret and detail == FOR_LOGS:
        return f"<{len(avp.data)} bytes>"
    value = avp.data if entry is None else _decoded(avp, entry.kind)
    if isinstance(value, bytes):
        text = repr(value) if entry is not None and entry.kind == TEXT else _shown_bytes(value)
    elif isinstance(value, str):
        text = repr(value)
    else:
        text = str(value)
    if detail == FOR_LOGS and len(text) > SHOWN_CHARS:
        return f"{text[:SHOWN_CHARS]}... ({len(avp.data)} bytes)"
    meaning = None if entry is None or entry.values is None else entry.values.get(value)
    return text if meaning is None else f"{text} ({meaning})"
