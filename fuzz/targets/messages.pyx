"""Diameter messages as they are on the wire, in whatever application."""

from libc.stdint cimport uint32_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp

from auth_diameter._core.base.span cimport Reader
from auth_diameter._core.diameter.avp cimport (
    AVP_CUT, AVP_HEADER, AVP_UNPADDED, AvpView, GROUP_DEPTH, avp_next, avp_put, avp_put_vendor, avp_size,
)
from auth_diameter._core.diameter.codes cimport AVP_VENDOR
from auth_diameter._core.diameter.header cimport (
    DIAMETER_VERSION, HEADER_SIZE, Header as DiameterHeader, header_get, header_put,
)
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, FRAME_LARGE, frame

from targets.promises cimport hold, inside, reader_of


cdef void check_frame(const uint8_t *p, size_t n, Py_ssize_t size) noexcept nogil:
    """`size` is what `frame` said of all `n` bytes: every beginning of them that can tell says the same."""
    cdef size_t k
    cdef Py_ssize_t said
    for k in range((n if n < 5 else 5) + 1):    # the version and the length, and what comes next
        said = frame(p, k, DEFAULT_LIMIT)
        hold(said == size or (said == 0 and (size >= 0 or k < 4)),
             "a message cut short waits, or is refused alike")
    if size > 0:
        hold(frame(p, <size_t>size - 1, DEFAULT_LIMIT) == 0, "a message without its last byte waits")
        hold(frame(p, <size_t>size, DEFAULT_LIMIT) == size, "a message alone is whole")
        hold(frame(p, n, <size_t>size - 1) == FRAME_LARGE, "a message above the limit is refused")


cdef void read_group(const uint8_t *data, size_t size, int depth) noexcept nogil:
    """AVPs, each as a group as well, up to the depth that the package goes to; all of them written again."""
    cdef Reader r = reader_of(data, size)
    cdef AvpView view
    cdef uint8_t *again
    cdef uint8_t *q
    cdef const uint8_t *start
    cdef int status
    cdef size_t n
    while True:
        start = r.p
        status = avp_next(&r, &view)
        if status <= 0:
            break
        hold(inside(view.data, start, r.p), "an AVP's data lie inside of it")
        n = avp_size(view.data.n) + (4 if view.flags & AVP_VENDOR else 0)
        hold(<size_t>(r.p - start) == n, "an AVP is as long as one that is written")
        again = <uint8_t *>malloc(n)
        if view.flags & AVP_VENDOR:
            q = avp_put_vendor(again, view.code, view.flags, view.vendor_id, view.data.p, view.data.n)
        else:
            q = avp_put(again, view.code, view.flags, view.data.p, view.data.n)
        hold(q == again + n, "an AVP is written to its end")
        hold(memcmp(again, start, <size_t>(view.data.p - start) + view.data.n) == 0,
             "what is written is what was read")
        free(again)
        if depth < GROUP_DEPTH and view.data.n >= AVP_HEADER:
            read_group(view.data.p, view.data.n, depth + 1)
    hold(r.p == start and r.p <= r.end, "the reader stays at a malformed AVP")
    hold(status < 0 or r.p == r.end, "the end is the end")
    hold(status >= AVP_UNPADDED, "a status that has a name")
    hold((status == AVP_CUT) == (0 < <size_t>(r.end - r.p) < AVP_HEADER), "only fewer than 8 bytes are no header")


cdef void each_message(const uint8_t *data, size_t size,
                       void (*play)(const uint8_t *, size_t) noexcept nogil) noexcept nogil:
    """Cuts a stream of Diameter messages into them, as whoever reads a connection does, and plays each."""
    cdef Py_ssize_t found
    while True:
        found = frame(data, size, DEFAULT_LIMIT)
        check_frame(data, size, found)
        if found <= 0:
            return
        hold(<size_t>found >= HEADER_SIZE and <size_t>found <= size and found % 4 == 0, "a message is there whole")
        play(data, <size_t>found)
        data += found
        size -= <size_t>found


cdef void check_message(const uint8_t *p, size_t n) noexcept nogil:
    """The header of a message, written again, and its AVPs."""
    cdef DiameterHeader header
    cdef uint8_t again[HEADER_SIZE]
    header_get(p, &header)
    hold(header.length == <uint32_t>n and header.version == DIAMETER_VERSION, "its header says the same")
    header_put(again, &header)
    hold(memcmp(again, p, HEADER_SIZE) == 0, "a header that is written is the one that was read")
    read_group(p + HEADER_SIZE, n - HEADER_SIZE, 0)


cdef int diameter(const uint8_t *data, size_t size) noexcept nogil:
    """A stream of Diameter messages, cut into them; and the whole input as AVPs."""
    each_message(data, size, check_message)
    read_group(data, size, 0)
    return 0


TARGETS = {
    "diameter": <uintptr_t>&diameter,
}
