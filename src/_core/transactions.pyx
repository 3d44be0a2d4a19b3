"""What came before, and the reply that it got: server transactions (RFC 3261, 17.2) in bounded memory.

A client of UDP repeats its request until it has a reply (RFC 3261, 17.1), up to ten times in 32 seconds.
It is to have the same reply each time, and its request is to be judged once.

The key is the datagram itself, every byte of it, and the address that it came from. Branch and sent-by
(RFC 3261, 17.2.3) would be shorter, but they are the sender's word: whoever saw or guessed another's would
be given the reply to that request, or lay one ready for it that was made for other credentials. From the
same bytes and the same address nobody learns what he was not told before.

All of it lies in a ring: what is new overwrites what is oldest, so that more requests than there is room
for shorten the time for which one is known and cost nothing else. One that is forgotten is judged once
more, which is right as well, only not as cheap. An index of hashes leads into the ring; of hashes that are
the same the oldest is overwritten, so that to make them collide gains nothing either.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from auth_diameter._core.span cimport Span
from auth_diameter._core.text cimport span_of

from auth_diameter._core.errors import ConfigError

cdef enum:
    LEAST_ROOM = 1 << 20    # a request and its reply of 64 KiB each fit in many times
    WAYS = 8                # places for hashes that share their lower bits
    SMALL = 256             # bytes, less than a request and its reply: for each so many there is a place

cdef struct Slot:
    uint64_t at             # position of a record; one that is not alive for a free slot
    uint64_t hash

cdef struct Record:
    # What lies in the ring for each request; its host and its bytes follow.
    double until            # seconds, monotonic
    uint64_t reply_at       # position of the reply
    uint32_t reply_size     # 0: none yet, or none at all
    uint32_t size
    uint32_t port, flow, scope
    uint32_t reply_port
    uint32_t host_size

cdef struct Key:
    Span data, host
    uint32_t port, flow, scope
    uint64_t hash


@cython.final
cdef class Transactions:
    """The requests of the last seconds and their replies.

    A request is a pair (bytes, address) as `DatagramBatch` receives it, `now` are seconds, monotonic.

    :param room: bytes of memory for them, 1 MiB at least; used as they fill.
    :param lifetime: seconds for which one is known: 64 × T1, after which nobody repeats a request
        (RFC 3261, 17.1.1.2 and 17.1.2.2).
    :raises ConfigError: less room than that.
    """

    cdef uint8_t *ring
    cdef Slot *slots
    cdef uint64_t room      # a multiple of 8
    cdef uint64_t head      # position of the next byte; positions only grow, and wrap around in the ring
    cdef uint64_t sets      # of WAYS slots each, a power of two
    cdef double lifetime

    def __cinit__(self, size_t room=64 << 20, double lifetime=32.0):
        if not LEAST_ROOM <= room:
            raise ConfigError(f"room {room}: expected {LEAST_ROOM} bytes or more")
        self.room = room & ~<uint64_t>7
        self.lifetime = lifetime
        self.head = 2 * self.room   # so that position 0, that of empty slots, is not alive
        self.sets = 1
        while self.sets * WAYS * SMALL < self.room:
            self.sets *= 2
        self.ring = <uint8_t *>malloc(self.room)
        self.slots = <Slot *>calloc(self.sets * WAYS, sizeof(Slot))
        if self.ring == NULL or self.slots == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self.ring)
        free(self.slots)

    def find(self, tuple request not None, double now):
        """The reply to the same request before, (bytes, address), with b"" while there is none; else None."""
        cdef Key key
        cdef Record *found
        read_key(request, &key)
        found = self.search(&key, now)
        if found == NULL:
            return None
        source = request[1]
        return (
            PyBytes_FromStringAndSize(
                <const char *>self.ring + found.reply_at % self.room, found.reply_size),
            (source[0], found.reply_port, *source[2:]))

    def begin(self, tuple request not None, double now):
        """Remembers a request that is new. Its place for `complete`, int; 0 where it is too long."""
        cdef Key key
        cdef uint64_t at
        cdef Record *record
        cdef uint8_t *out
        read_key(request, &key)
        at = self.take(sizeof(Record) + key.host.n + key.data.n)
        if at == 0:
            return 0
        record = self.record(at)
        record.until = now + self.lifetime
        record.reply_at = at
        record.reply_size = 0
        record.size = <uint32_t>key.data.n
        record.port = record.reply_port = key.port
        record.flow = key.flow
        record.scope = key.scope
        record.host_size = <uint32_t>key.host.n
        out = <uint8_t *>(record + 1)
        memcpy(out, key.host.p, key.host.n)
        memcpy(out + key.host.n, key.data.p, key.data.n)
        self.put_slot(key.hash, at)
        return at

    def complete(self, uint64_t place, bytes reply not None, int port):
        """Keeps the reply, b"" for none, which goes to that port of where the request came from.

        :param place: as `begin` gave it; where the request is forgotten already, nothing is kept.
        """
        cdef size_t size = <size_t>PyBytes_GET_SIZE(reply)
        cdef uint64_t at
        cdef Record *record
        if not self.is_alive(place):
            return
        at = self.take(size)
        if at == 0 or not self.is_alive(place):     # the reply may just have overwritten it
            return
        memcpy(self.ring + at % self.room, PyBytes_AS_STRING(reply), size)
        record = self.record(place)
        record.reply_at = at
        record.reply_size = <uint32_t>size
        record.reply_port = <uint32_t>port

    # ------------------------------------------------------------------ the ring

    cdef bint is_alive(self, uint64_t at) noexcept nogil:
        """Whether what was put there has not been overwritten since."""
        return self.head - at <= self.room

    cdef Record *record(self, uint64_t at) noexcept nogil:
        return <Record *>(self.ring + at % self.room)

    cdef uint64_t take(self, size_t size) noexcept nogil:
        """The position of so many bytes in one piece; 0 where they are more than a datagram can have."""
        cdef uint64_t need, left, at
        if not size <= LEAST_ROOM // 4:
            return 0
        need = (size + 7) & ~<uint64_t>7
        left = self.room - self.head % self.room
        if not need <= left:
            self.head += left
        at = self.head
        self.head += need
        return at

    # ------------------------------------------------------------------ the index

    cdef Slot *set_of(self, uint64_t hash) noexcept nogil:
        return self.slots + (hash & (self.sets - 1)) * WAYS

    cdef Record *search(self, const Key *key, double now) noexcept nogil:
        cdef Slot *slot = self.set_of(key.hash)
        cdef Record *record
        cdef const uint8_t *p
        cdef int i
        for i in range(WAYS):
            if slot[i].hash != key.hash or not self.is_alive(slot[i].at):
                continue
            record = self.record(slot[i].at)
            p = <const uint8_t *>(record + 1)
            if (now < record.until and record.size == key.data.n and record.host_size == key.host.n
                    and record.port == key.port and record.flow == key.flow and record.scope == key.scope
                    and memcmp(p, key.host.p, key.host.n) == 0
                    and memcmp(p + key.host.n, key.data.p, key.data.n) == 0):
                return record
        return NULL

    cdef void put_slot(self, uint64_t hash, uint64_t at) noexcept nogil:
        """Into the slot whose record is the oldest, free ones first."""
        cdef Slot *slot = self.set_of(hash)
        cdef int i, oldest = 0
        for i in range(1, WAYS):
            if slot[i].at < slot[oldest].at:
                oldest = i
        slot[oldest].hash = hash
        slot[oldest].at = at


cdef int read_key(tuple request, Key *key) except -1:
    """Borrows from `request`."""
    cdef bytes data
    cdef tuple source
    if len(request) != 2:
        raise TypeError("request: expected a pair (bytes, address)")
    data = request[0]
    source = request[1]
    if data is None or source is None or len(source) < 2:
        raise TypeError("request: expected a pair (bytes, address)")
    key.data.p = <const uint8_t *>PyBytes_AS_STRING(data)
    key.data.n = <size_t>PyBytes_GET_SIZE(data)
    span_of(source[0], &key.host, "address")
    key.port = source[1]
    key.flow = source[2] if len(source) > 2 else 0
    key.scope = source[3] if len(source) > 3 else 0
    key.hash = mix(mix(key.port, key.host), key.data)
    return 0


cdef uint64_t mix(uint64_t hash, Span s) noexcept nogil:
    """Spreads the bytes over 64 bits, in four lanes that do not wait for each other."""
    cdef uint64_t lanes[4]
    cdef uint64_t words[4]
    cdef size_t i
    for i in range(4):
        lanes[i] = hash + i
    while 32 <= s.n:
        memcpy(words, s.p, 32)
        for i in range(4):
            lanes[i] = spread(lanes[i], words[i])
        s.p += 32
        s.n -= 32
    memset(words, 0, 32)
    memcpy(words, s.p, s.n)
    hash = s.n
    for i in range(4):
        hash = spread(hash, spread(lanes[i], words[i]))
    return hash


cdef inline uint64_t spread(uint64_t hash, uint64_t word) noexcept nogil:
    hash = (hash ^ word) * <uint64_t>6364136223846793005    # the multiplier of Knuth's MMIX
    return hash << 32 | hash >> 32
