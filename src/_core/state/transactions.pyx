"""What came before, and the reply that it got: server transactions (RFC 3261, 17.2) in bounded memory.

A client of UDP repeats its request until it has a reply (RFC 3261, 17.1), up to ten times in 32 seconds.
It is to have the same reply each time, and its request is to be judged once.

The key is the request's fingerprint: every byte of the datagram and the address that it came from. Branch
and sent-by (RFC 3261, 17.2.3) would do as well, but they are the sender's word: whoever saw or guessed
another's would be given the reply to that request, or lay one ready for it that was made for other
credentials. From the same bytes and the same address nobody learns what he was not told before.

The index has sets of a few requests each. Which set one belongs to nobody can choose; in it what is new
takes the place of what is oldest. So do the replies, which lie in a ring: more requests than there is room
for shorten the time for which one is known, and cost nothing else. One that is forgotten is judged once
more, which is right as well, only not as cheap.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy

from auth_diameter._core.sip.request cimport SipRequest

from auth_diameter._core.errors import ConfigError

cdef uint64_t MOST_ROOM = <uint64_t>1 << 40     # below what the sizes made of it could overflow

cdef enum:
    LEAST_ROOM = 1 << 20    # a reply of 64 KiB fits in many times
    WAYS = 7                # requests of a set: what looks for one that is not there reads 32 bytes
    SMALL = 256             # bytes, less than a reply: for each so many there is a place in the index

cdef struct Entry:
    # A request that was begun
    uint64_t fingerprint[2]
    double until            # seconds, monotonic
    uint64_t reply_at       # position of the reply in the ring
    uint32_t reply_size     # 0: none yet, or none at all
    uint32_t reply_port

cdef struct Marks:
    # Of a set. Apart from the entries, so that all of them find room in a cache.
    uint32_t mark[WAYS]     # a quarter of each fingerprint
    uint32_t next           # which way is the oldest


@cython.final
cdef class Transactions:
    """The requests of the last seconds and their replies. `now` are seconds, monotonic.

    :param room: bytes of memory for replies, 1 MiB at least; used as they fill. What leads to them has a
        fifth of that.
    :param lifetime: seconds for which one is known: 64 × T1, after which nobody repeats a request
        (RFC 3261, 17.1.1.2 and 17.1.2.2).
    :raises ConfigError: less room than that, or more than 1 TiB.
    """

    cdef uint8_t *ring
    cdef Marks *marks       # of each set
    cdef Entry *entries     # WAYS of each set
    cdef uint64_t room      # a multiple of 8
    cdef uint64_t head      # position of the next byte; positions only grow, and wrap around in the ring
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
        """Remembers a request that is new: None. Of one that is known the reply, (bytes, address).

        While there is no reply, or is to be none, the bytes are b"".

        :raises TypeError: it is not known where the request came from.
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
        """Keeps the reply to it, b"" for none, which goes to that port of where it came from.

        Where the request is forgotten already, nothing is kept.
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
        """In the place of the oldest of its set."""
        cdef uint64_t at = fingerprint[0] & (self.count - 1)
        cdef Marks *marks = self.marks + at
        cdef uint32_t way = marks.next
        cdef Entry *entry = self.entries + at * WAYS + way
        marks.next = way + 1 if way + 1 < WAYS else 0
        marks.mark[way] = <uint32_t>fingerprint[1]
        memcpy(entry.fingerprint, fingerprint, sizeof(entry.fingerprint))
        return entry

    cdef bint has_reply(self, const Entry *entry) noexcept nogil:
        """Whether its reply has not been overwritten since."""
        return entry.reply_size == 0 or self.head - entry.reply_at <= self.room

    cdef uint64_t reserve(self, size_t size) noexcept nogil:
        """The position of so many bytes in one piece."""
        cdef uint64_t need = (size + 7) & ~<uint64_t>7, left = self.room - self.head % self.room, at
        if not need <= left:
            self.head += left
        at = self.head
        self.head += need
        return at
