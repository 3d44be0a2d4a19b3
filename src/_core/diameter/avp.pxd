"""AVPs, read and written in place: RFC 6733, 4.1.

::

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +---------------------------------------------------------------+
    |                            AVP Code                           |
    +-+-+-+-+-+-+-+-+-----------------------------------------------+
    |V M P r r r r r|                  AVP Length                   |
    +-+-+-+-+-+-+-+-+-----------------------------------------------+
    |                   Vendor-ID, only with the V flag             |
    +---------------------------------------------------------------+
    |    Data, then zeros up to a multiple of 4 (not in AVP Length) |

The functions here allocate nothing and touch no Python object. Readers fill structs that the caller owns,
with pointers into the caller's bytes; for writers the caller makes room.
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.diameter.codes cimport AVP_MANDATORY, AVP_VENDOR
from auth_diameter._core.base.span cimport Reader, Span, put_u32, reader_of, take, take_u32


cdef enum:
    AVP_HEADER = 8             # RFC 6733, 4.1: code, flags and length
    AVP_VENDOR_HEADER = 12     # the same with a Vendor-ID
    AVP_LENGTH_LIMIT = 1 << 24  # AVP Length has 24 bits: it is less than this
    GROUP_DEPTH = 16           # how deep groups may be nested


ctypedef int Detail

# What the text of an AVP shows
cdef enum:
    FOR_LOGS                   # no secret, and long values cut
    IN_FULL


# What `avp_next` returns for a malformed AVP; all are negative.
cdef enum:
    AVP_CUT = -1               # fewer than 8 bytes left, and some
    AVP_LENGTH_SMALL = -2      # AVP Length below 8, or below 12 with the V flag
    AVP_LENGTH_LARGE = -3      # AVP Length beyond the end
    AVP_UNPADDED = -4          # the end comes before the padding does


# A borrowed view of one AVP, valid while the bytes are alive
cdef struct AvpView:
    uint32_t code
    uint32_t vendor_id         # 0 without the V flag
    uint8_t flags              # all eight bits, as they came
    Span data                  # without the padding


cdef inline int avp_next(Reader *r, AvpView *out) noexcept nogil:
    """The next AVP in the body of a message or group.

    Padding should be zeros (RFC 6733, 4), but real peers send other bytes: they are not checked.

    Returns:
        1; 0 at the end; < 0 if malformed, AVP_CUT and so on: r.p stays at the AVP's first byte, and out.code
        and out.flags are set except for AVP_CUT.
    """
    cdef Reader at = r[0]
    cdef Span padding
    cdef uint32_t word
    cdef size_t length, head
    if at.p == at.end:
        return 0
    if not (take_u32(&at, &out.code) and take_u32(&at, &word)):
        return AVP_CUT
    out.flags = <uint8_t>(word >> 24)
    out.vendor_id = 0
    length = word & 0xFFFFFF
    head = AVP_VENDOR_HEADER if out.flags & AVP_VENDOR else AVP_HEADER
    if length < head:
        return AVP_LENGTH_SMALL
    if head == AVP_VENDOR_HEADER and not take_u32(&at, &out.vendor_id):
        return AVP_LENGTH_LARGE
    if not take(&at, length - head, &out.data):
        return AVP_LENGTH_LARGE
    if not take(&at, (4 - (length & 3)) & 3, &padding):
        return AVP_UNPADDED
    r[0] = at
    return 1


# What is done with each AVP of a message or group
ctypedef void (*AvpHandler)(const AvpView *avp, void *to) noexcept nogil


cdef inline bint avp_each(Span data, AvpHandler handle, void *to, Span *rest) noexcept nogil:
    """Has each AVP in the body of a message or group handled, in order.

    Args:
        data: the body.
        handle: the handler.
        to: what it gets besides the AVP.
        rest: gets the bytes from a malformed AVP on.

    Returns:
        False if an AVP is malformed; those before it are handled.
    """
    cdef Reader r = reader_of(data)
    cdef AvpView avp
    cdef int status
    while True:
        status = avp_next(&r, &avp)
        if status <= 0:
            rest.p = r.p
            rest.n = <size_t>(r.end - r.p)
            return status == 0
        handle(&avp, to)


cdef inline Span avp_whole(const AvpView *avp) noexcept nogil:
    """The bytes of an AVP with its header. What is behind them need not be padding: a message may end there."""
    cdef size_t head = AVP_VENDOR_HEADER if avp.flags & AVP_VENDOR else AVP_HEADER
    return Span(avp.data.p - head, head + avp.data.n)


cdef inline Span whole_of(Span data) noexcept nogil:
    """The bytes of an AVP without a Vendor-ID that was received with this data, with its header."""
    return Span(data.p - AVP_HEADER, AVP_HEADER + data.n)


cdef inline size_t padded(size_t n) noexcept nogil:
    """The size of so many bytes of an AVP with its padding."""
    return (n + 3) & ~<size_t>3


cdef inline size_t avp_size(size_t data_size) noexcept nogil:
    """The size of an AVP without a Vendor-ID, header and padding included; 4 bytes more with one."""
    return (AVP_HEADER + data_size + 3) & ~<size_t>3


cdef inline uint8_t *avp_put_data(uint8_t *out, const uint8_t *data, size_t n) noexcept nogil:
    """Writes data and zero padding.

    Returns:
        The end.
    """
    cdef size_t padded = (n + 3) & ~<size_t>3
    if n:
        memcpy(out, data, n)
        memset(out + n, 0, padded - n)
    return out + padded


cdef inline uint8_t *avp_put(
    uint8_t *out, uint32_t code, uint8_t flags, const uint8_t *data, size_t n
) noexcept nogil:
    """Writes an AVP without a Vendor-ID.

    `flags` has no AVP_VENDOR, and 8 + n is below AVP_LENGTH_LIMIT.

    Returns:
        The end, `avp_size(n)` bytes on.
    """
    put_u32(out, code)
    put_u32(out + 4, (<uint32_t>flags << 24) | <uint32_t>(AVP_HEADER + n))
    return avp_put_data(out + AVP_HEADER, data, n)


cdef inline uint8_t *avp_put_in_place(uint8_t *out, uint32_t code, size_t n) noexcept nogil:
    """Writes header and padding of a mandatory AVP around n bytes of data that are in place behind the header.

    Returns:
        The end.
    """
    put_u32(out, code)
    put_u32(out + 4, (<uint32_t>AVP_MANDATORY << 24) | <uint32_t>(AVP_HEADER + n))
    memset(out + AVP_HEADER + n, 0, avp_size(n) - AVP_HEADER - n)
    return out + avp_size(n)


cdef inline uint8_t *avp_put_vendor(
    uint8_t *out, uint32_t code, uint8_t flags, uint32_t vendor_id, const uint8_t *data, size_t n
) noexcept nogil:
    """Writes an AVP with a Vendor-ID and the V flag.

    Returns:
        The end, `avp_size(n) + 4` bytes on.
    """
    put_u32(out, code)
    put_u32(
        out + 4, (<uint32_t>(flags | AVP_VENDOR) << 24) | <uint32_t>(AVP_VENDOR_HEADER + n)
    )
    put_u32(out + 8, vendor_id)
    return avp_put_data(out + AVP_VENDOR_HEADER, data, n)


cdef inline uint8_t *avp_put_u32(
    uint8_t *out, uint32_t code, uint8_t flags, uint32_t value
) noexcept nogil:
    """Writes an AVP of type Unsigned32 (RFC 6733, 4.2), 12 bytes.

    Returns:
        The end.
    """
    cdef uint8_t data[4]
    put_u32(data, value)
    return avp_put(out, code, flags, data, 4)


@cython.final
cdef class Avp:
    cdef:
        readonly bytes data    # without the padding
        readonly uint32_t code
        uint32_t vendor        # 0 without the V flag
        uint32_t application   # under which `name` and `value` are looked up
        readonly uint8_t flags
        uint8_t depth          # how many groups it was inside of
        bint made              # whether it has its values, which then never change
        uint8_t padding[3]     # as received, so that encoding gives the bytes that were decoded


cdef size_t size_of(Avp avp) noexcept
cdef uint8_t *put(uint8_t *out, Avp avp) noexcept
cdef Avp in_application(Avp avp, uint32_t application)
cdef tuple read_avps(
    const uint8_t *start,
    const uint8_t *body,
    const uint8_t *end,
    uint32_t application,
    uint8_t depth,
)
cdef list format_avps(tuple avps, Detail detail, str indent)
