"""Which nonce counts were used: the server's check against replays (RFC 7616, 3.4 and 5.5)."""

import enum
from collections import deque

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef enum:
    WINDOW = 64             # counts that may come out of order: more requests than one UA has under way
    MARKS = 4               # of the latest uses of a nonce, to know the retransmissions of these requests
    GUESSES = 16            # at a mark: who repeats a digest in other requests could meet one of 32 bits in time

cdef double RETRANSMITTED = 32.0    # seconds in which a request may come again: 64 × T1 (RFC 3261, 17.1.2.2)


class Use(enum.Enum):
    """What coming back with a nonce count means."""

    UNKNOWN = enum.auto()   # a nonce that nobody has used yet, as far as is remembered
    FIRST = enum.auto()
    AGAIN = enum.auto()     # the retransmission of a request that was judged before
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
    """One nonce that came back with right credentials."""

    cdef str realm, algorithm, source   # what it is bound to
    cdef double made                    # seconds since 1970
    cdef uint32_t highest               # count
    cdef uint64_t window                # bit n stands for the count n below the highest
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
        # Not the count is limited: belle-sip goes on counting from one nonce to the next.
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
    """The nonces that came back with right credentials, and the counts that they came back with.

    For each nonce the highest count and the 64 below it: requests may come out of order, but none
    twice. Memory is bounded. Nonces that do not fit any more are not forgotten one by one: of those as
    old as them none counts as unused any longer, so that being out of memory never lets a replay in.

    :param lifetime: seconds for which a nonce may be used, and has to be remembered.
    :param ahead: seconds that another clock, which made a nonce, may be ahead of ours.
    :param most: nonces that are remembered; each takes some 400 bytes.
    :param limit: how often one may be used; 0: as often as the client counts.
    """

    cdef double lifetime, ahead
    cdef Py_ssize_t most
    cdef uint32_t limit
    cdef double forgotten   # the latest time of making among the nonces that are remembered no more
    cdef dict nonces        # str to _Nonce
    cdef object order       # deque of the keys: to take the first out of a dict costs time for each before it

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
        """Notes a use of a nonce that is remembered, after its digest was found right.

        :param realm, algorithm, source: what the nonce must be bound to.
        :param count: nc, from 1 on; without qop there is none, and 1 is meant.
        :param mark: of the whole question, the same for a retransmission; 0: it cannot be told.
        :param now: seconds since 1970.
        :returns: Use. UNKNOWN: the nonce is to be checked, and given to `add` if it is good.
        """
        cdef _Nonce found = self.nonces.get(nonce)
        if found is None or found.algorithm != algorithm or found.realm != realm or found.source != source:
            return _UNKNOWN
        if now - found.made > self.lifetime:
            return _EXPIRED
        return found.take(count, mark, now, self.limit)

    def add(self, str nonce not None, str realm not None, str algorithm not None, str source not None,
            uint32_t count, int64_t mark, double now, double made):
        """The first use of a nonce that was checked and is fresh; see `take`.

        :param made: when the nonce was made, seconds since 1970.
        """
        cdef _Nonce found = self.nonces.get(nonce)
        cdef _Nonce oldest
        if found is not None:
            # Bound to the same realm in another spelling; that it was taken before still counts.
            return found.take(count, mark, now, self.limit)
        # After a step back of the clock, what was forgotten lies in the future, and is foreign.
        if made <= self.forgotten <= now + self.ahead:
            return _REPLAYED    # it may have been used: nobody knows any more
        found = _Nonce.__new__(_Nonce)
        found.realm = realm
        found.algorithm = algorithm
        found.source = source
        found.made = made
        self.nonces[nonce] = found
        self.order.append(nonce)
        # Room for the next: those that expired go, two at a time, and then the ones that came first.
        for _ in range(2):
            oldest = self.nonces[self.order[0]]
            if len(self.nonces) <= self.most and now - oldest.made <= self.lifetime:
                break
            del self.nonces[self.order.popleft()]
            self.forgotten = max(self.forgotten, oldest.made)
        return found.take(count, mark, now, self.limit)
