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
    SMALL = 256             # bytes, less than a reply has; the index has an entry for each 256 bytes of room


@cython.final
cdef class Transactions:
    """The recent requests and their replies. Not for use by several threads at once.

    Args:
        room: bytes of memory for replies, 1 MiB to 1 TiB; the index takes a fifth of that in addition.
        lifetime: seconds that a request is remembered: 64 × T1, after which no client retransmits (RFC 3261,
            17.1.1.2 and 17.1.2.2).

    Raises:
        ConfigError: the room is out of range.
    """

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
        cdef const Entry *entry
        cdef tuple source = request.source
        if source is None:
            raise TypeError("request: expected one with its source")
        entry = self.known(request.fingerprint(), now)
        if entry == NULL:
            return None
        reply = PyBytes_FromStringAndSize(<const char *>self.reply_of(entry), entry.reply_size)
        return reply, source if not entry.reply_size else (source[0], entry.reply_port, *source[2:])

    def complete(self, SipRequest request not None, bytes reply not None, int port):
        """Keeps the reply to a request, unless that is already forgotten.

        Args:
            request: SipRequest.
            reply: bytes; b"" for no reply.
            port: the port of the source that the reply goes to.
        """
        cdef size_t size = <size_t>PyBytes_GET_SIZE(reply)
        cdef uint8_t *place
        if self.search(request.fingerprint()) == NULL or not size <= MOST_KEPT:
            return
        place = self.reserve(size)
        memcpy(place, PyBytes_AS_STRING(reply), size)
        self.keep(request.fingerprint(), place, size, port)

    cdef const Entry *known(self, const uint64_t *fingerprint, double now) noexcept nogil:
        """The entry of a known request; NULL for a new one, which is remembered from here on."""
        cdef Entry *entry = self.search(fingerprint)
        if entry != NULL and now < entry.until and self.has_reply(entry):
            return entry
        if entry == NULL:
            entry = self.replace_oldest(fingerprint)
        entry.until = now + self.lifetime
        entry.reply_size = 0
        return NULL

    cdef const uint8_t *reply_of(self, const Entry *entry) noexcept nogil:
        """The place of the reply in the ring."""
        return self.ring + entry.reply_at % self.room

    cdef void keep(self, const uint64_t *fingerprint, const uint8_t *place, size_t size, int port) noexcept nogil:
        """Keeps a reply that was written to the place that `reserve` returned, unless its request is forgotten.

        Args:
            fingerprint: that of the request.
            place: the result of the last `reserve`.
            size: bytes of the reply, no more than were reserved; what is left of them is free again.
            port: the port of the source that the reply goes to.
        """
        cdef Entry *entry = self.search(fingerprint)
        cdef uint64_t at = self.head - (self.head - <uint64_t>(place - self.ring)) % self.room
        self.head = at + ((size + 7) & ~<uint64_t>7)
        if entry == NULL:
            return
        entry.reply_at = at
        entry.reply_size = <uint32_t>size
        entry.reply_port = <uint32_t>port

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

    cdef uint8_t *reserve(self, size_t size) noexcept nogil:
        """Reserves contiguous bytes in the ring, MOST_KEPT at most.

        Returns:
            Their place, a multiple of 8 bytes from the start of the ring.
        """
        cdef uint64_t need = (size + 7) & ~<uint64_t>7, left = self.room - self.head % self.room
        cdef uint8_t *place
        if not need <= left:
            self.head += left
        place = self.ring + self.head % self.room
        self.head += need
        return place
