"""Nonce counts: the server's protection against replays (RFC 7616, 3.4 and 5.5)."""

import enum
from collections import deque

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    WINDOW = 64             # counts that may come out of order; no UA has as many requests in flight
    MARKS = 4               # latest uses of a nonce whose retransmissions are known
    GUESSES = 16            # guesses at a mark of 32 bits, by repeating a digest in other requests

cdef double RETRANSMITTED = 32.0    # seconds in which a request is retransmitted: 64 × T1 (RFC 3261, 17.1.2.2)


class Use(enum.Enum):
    """The meaning of a nonce with a count."""

    UNKNOWN = enum.auto()   # a nonce that is not remembered
    FIRST = enum.auto()
    AGAIN = enum.auto()     # the retransmission of a request that was verified before
    REPLAYED = enum.auto()
    EXPIRED = enum.auto()


cdef object _UNKNOWN = Use.UNKNOWN
cdef object _FIRST = Use.FIRST
cdef object _AGAIN = Use.AGAIN
cdef object _REPLAYED = Use.REPLAYED
cdef object _EXPIRED = Use.EXPIRED

cdef struct Mark:
    double when
    int64_t mark
    uint32_t count


@cython.final
@cython.freelist(256)
@cython.no_gc  # it holds strings only
cdef class _Nonce:
    """A nonce that was used with correct credentials."""

    cdef str realm, algorithm, source   # the nonce is bound to these
    cdef double made                    # seconds since 1970
    cdef uint32_t highest               # count
    cdef uint64_t window                # bit n is the count n below the highest
    cdef uint32_t uses
    cdef Mark marks[MARKS]
    cdef int next_mark
    cdef int replays                    # since the latest mark

    cdef object take(self, uint32_t count, int64_t mark, double now, uint32_t limit):
        cdef uint32_t distance
        if count <= self.highest:
            distance = self.highest - count
            if distance >= WINDOW or self.window >> distance & 1:
                if self.replays < GUESSES and self.is_again(count, mark, now):
                    return _AGAIN
                self.replays += 1
                return _REPLAYED
        # The limit is on uses, not on the count: belle-sip continues the count from one nonce to the next.
        if limit and self.uses >= limit:
            return _EXPIRED
        self.uses += 1
        if count > self.highest:
            distance = count - self.highest
            self.window = (self.window << distance if distance < WINDOW else 0) | 1
            self.highest = count
        else:
            self.window |= <uint64_t>1 << distance
        if mark:
            self.marks[self.next_mark] = Mark(now, mark, count)
            self.next_mark = (self.next_mark + 1) % MARKS
            self.replays = 0
        return _FIRST

    cdef bint is_again(self, uint32_t count, int64_t mark, double now) noexcept:
        cdef int i
        for i in range(MARKS):
            if self.marks[i].mark == mark and self.marks[i].count == count and mark:
                return 0 <= now - self.marks[i].when <= RETRANSMITTED
        return False


@cython.final
cdef class NonceUses:
    """The nonces that were used with correct credentials, and their counts.

    It keeps the highest count of each nonce and the 64 below it: requests may come out of order, but none
    twice. Memory is bounded. Once a nonce is forgotten, no nonce of its age counts as unused, so that a full
    memory never lets a replay in.

    Args:
        lifetime: seconds in which a nonce may be used, and is remembered.
        most: nonces to remember; each takes some 400 bytes.
        limit: how often a nonce may be used; 0 for no limit.
        ahead: seconds that the clock which made a nonce may be ahead of ours.
    """

    cdef double lifetime, ahead
    cdef Py_ssize_t most
    cdef uint32_t limit
    cdef double forgotten   # the latest creation time of a forgotten nonce
    cdef dict nonces        # str to _Nonce
    cdef object order       # deque of the keys: finding the first key of a dict takes time for each one removed

    def __cinit__(self, double lifetime=300.0, Py_ssize_t most=131_072, uint32_t limit=0, double ahead=0.0):
        self.lifetime = lifetime
        self.ahead = ahead
        self.most = most
        self.limit = limit
        self.nonces = {}
        self.order = deque()

    def __len__(self):
        return len(self.nonces)

    def take(self, str nonce not None, str realm not None, str algorithm not None, str source not None,
             uint32_t count, int64_t mark, double now):
        """Records the use of a remembered nonce, after its digest was verified.

        Args:
            nonce: str.
            realm: the realm it must be bound to, str.
            algorithm: the algorithm it must be bound to, str.
            source: the source it must be bound to, str.
            count: the nonce count, from 1 on; 1 without qop.
            mark: a hash of the whole question, the same for a retransmission; 0 if there is none.
            now: seconds since 1970.

        Returns:
            Use. For UNKNOWN the caller checks the nonce, and calls `add` if it is valid.
        """
        cdef _Nonce found = self.nonces.get(nonce)
        if found is None or found.algorithm != algorithm or found.realm != realm or found.source != source:
            return _UNKNOWN
        if now - found.made > self.lifetime:
            return _EXPIRED
        return found.take(count, mark, now, self.limit)

    def add(self, str nonce not None, str realm not None, str algorithm not None, str source not None,
            uint32_t count, int64_t mark, double now, double made):
        """Records the first use of a valid nonce; the parameters are those of `take`.

        Args:
            made: the creation time of the nonce, seconds since 1970.

        Returns:
            Use.
        """
        cdef _Nonce found = self.nonces.get(nonce)
        cdef _Nonce oldest
        if found is not None:
            # It is bound to the same realm in another spelling; its uses count all the same.
            return found.take(count, mark, now, self.limit)
        # After a step back of the clock, `forgotten` is in the future and means nothing.
        if made <= self.forgotten <= now + self.ahead:
            return _REPLAYED    # it may have been used before
        found = _Nonce.__new__(_Nonce)
        found.realm = realm
        found.algorithm = algorithm
        found.source = source
        found.made = made
        self.nonces[nonce] = found
        self.order.append(nonce)
        # Room for the next: at most two go at a time, expired ones and then the oldest.
        for _ in range(2):
            oldest = self.nonces[self.order[0]]
            if len(self.nonces) <= self.most and now - oldest.made <= self.lifetime:
                break
            del self.nonces[self.order.popleft()]
            self.forgotten = max(self.forgotten, oldest.made)
        return found.take(count, mark, now, self.limit)
