"""Server transactions (RFC 3261, 17.2): recent requests and their replies, in bounded memory.

A UDP client retransmits its request until it has a reply (RFC 3261, 17.1), up to ten times in 32 seconds. It
gets the same reply each time, and its request is verified once.

The key is the fingerprint of the request: all bytes of the datagram and its source. Branch and sent-by (RFC
3261, 17.2.3) identify a transaction as well, but the sender chooses them: whoever saw or guessed those of
another client would get its reply, or could prepare a reply for it from other credentials. The same bytes
from the same address get nothing that was not sent there before.

The index has sets of a few requests each. The fingerprint selects the set, and nobody can choose it. In a
set, and in the ring of replies, a new entry replaces the oldest. More requests than fit shorten the time that
each is remembered. A request that is forgotten is verified again, which is correct and only costs time.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from auth_diameter._core.sip.request cimport SipRequest

from auth_diameter._core.errors import ConfigError

cdef uint64_t MOST_ROOM = <uint64_t>1 << 40     # larger sizes could overflow

cdef enum:
    LEAST_ROOM = 1 << 20    # enough for many replies of 64 KiB
    WAYS = 7                # requests of a set; a search that finds nothing reads 32 bytes
    SMALL = 256             # bytes, less than a reply has; the index has an entry for each 256 bytes of room

cdef struct Entry:
    # A request and the place of its reply
    uint64_t fingerprint[2]
    double until            # seconds, monotonic
    uint64_t reply_at       # position of the reply in the ring
    uint32_t reply_size     # 0: none yet, or none at all
    uint32_t reply_port

cdef struct Marks:
    # The index of a set; apart from the entries, so that all of it fits into a cache
    uint32_t mark[WAYS]     # a quarter of each fingerprint
    uint32_t next           # the oldest entry


@cython.final
cdef class Transactions:
    """The recent requests and their replies.

    Args:
        room: bytes of memory for replies, 1 MiB to 1 TiB; the index takes a fifth of that in addition.
        lifetime: seconds that a request is remembered: 64 × T1, after which no client retransmits (RFC 3261,
            17.1.1.2 and 17.1.2.2).

    Raises:
        ConfigError: the room is out of range.
    """

    cdef uint8_t *ring
    cdef Marks *marks       # of each set
    cdef Entry *entries     # WAYS of each set
    cdef uint64_t room      # a multiple of 8
    cdef uint64_t head      # position of the next byte: it only grows, and the ring wraps
    cdef uint64_t count     # of sets, a power of two
    cdef double lifetime

    def __cinit__(self, size_t room=48 << 20, double lifetime=32.0):
        if not LEAST_ROOM <= room <= MOST_ROOM:
            raise ConfigError(f"room {room}: expected {LEAST_ROOM} to {MOST_ROOM} bytes")
        self.room = room & ~<uint64_t>7
        self.lifetime = lifetime
        self.count = 1
        while self.count * WAYS * SMALL < self.room:
            self.count *= 2
        self.ring = <uint8_t *>malloc(self.room)
        self.marks = <Marks *>calloc(self.count, sizeof(Marks))
        self.entries = <Entry *>calloc(self.count * WAYS, sizeof(Entry))
        if self.ring == NULL or self.marks == NULL or self.entries == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.ring)
        free(self.marks)
        free(self.entries)

    def begin(self, SipRequest request not None, double now):
        """Looks up a request, and remembers a new one.

        Args:
            request: SipRequest with a source.
            now: seconds, monotonic.

        Returns:
            None for a new request; (bytes, address) of the reply for a known one, b"" if there is none.

        Raises:
            TypeError: the request has no source.
        """
        cdef const uint64_t *fingerprint = request.fingerprint()
        cdef Entry *entry = self.search(fingerprint)
        if request.source is None:
            raise TypeError("request: expected one with its source")
        cdef tuple source = request.source
        if entry != NULL and now < entry.until and self.has_reply(entry):
            reply = PyBytes_FromStringAndSize(
                <const char *>self.ring + entry.reply_at % self.room, entry.reply_size)
            return reply, source if not entry.reply_size else (source[0], entry.reply_port, *source[2:])
        if entry == NULL:
            entry = self.replace_oldest(fingerprint)
        entry.until = now + self.lifetime
        entry.reply_size = 0
        return None

    def complete(self, SipRequest request not None, bytes reply not None, int port):
        """Keeps the reply to a request, unless that is already forgotten.

        Args:
            request: SipRequest.
            reply: bytes; b"" for no reply.
            port: the port of the source that the reply goes to.
        """
        cdef Entry *entry = self.search(request.fingerprint())
        cdef size_t size = <size_t>PyBytes_GET_SIZE(reply)
        if entry == NULL or not size <= LEAST_ROOM // 4:
            return
        entry.reply_at = self.reserve(size)
        entry.reply_size = <uint32_t>size
        entry.reply_port = <uint32_t>port
        memcpy(self.ring + entry.reply_at % self.room, PyBytes_AS_STRING(reply), size)

    cdef Entry *search(self, const uint64_t *fingerprint) noexcept nogil:
        cdef uint64_t at = fingerprint[0] & (self.count - 1)
        cdef const Marks *marks = self.marks + at
        cdef Entry *entry = self.entries + at * WAYS
        cdef int i
        for i in range(WAYS):
            if marks.mark[i] == <uint32_t>fingerprint[1] and (
                    memcmp(entry[i].fingerprint, fingerprint, sizeof(entry.fingerprint)) == 0):
                return entry + i
        return NULL

    cdef Entry *replace_oldest(self, const uint64_t *fingerprint) noexcept nogil:
        """A new entry in place of the oldest of its set."""
        cdef uint64_t at = fingerprint[0] & (self.count - 1)
        cdef Marks *marks = self.marks + at
        cdef uint32_t way = marks.next
        cdef Entry *entry = self.entries + at * WAYS + way
        marks.next = way + 1 if way + 1 < WAYS else 0
        marks.mark[way] = <uint32_t>fingerprint[1]
        memcpy(entry.fingerprint, fingerprint, sizeof(entry.fingerprint))
        return entry

    cdef bint has_reply(self, const Entry *entry) noexcept nogil:
        """Whether the reply is not overwritten yet."""
        return entry.reply_size == 0 or self.head - entry.reply_at <= self.room

    cdef uint64_t reserve(self, size_t size) noexcept nogil:
        """Reserves contiguous bytes in the ring.

        Returns:
            Their position.
        """
        cdef uint64_t need = (size + 7) & ~<uint64_t>7, left = self.room - self.head % self.room, at
        if not need <= left:
            self.head += left
        at = self.head
        self.head += need
        return at
