"""Nonce counts: the server's protection against replays (RFC 7616, 3.4 and 5.5).

A nonce, and what it is bound to, is remembered as a keyed hash of 128 bits: nobody without the key can make two
alike, and they do not by accident. The nonces are a ring in the order of their first use, and an index of hashes
finds one in it.
"""

import enum
import os

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.state.nonces cimport Binding, bind

from auth_diameter._core.errors import ConfigError

cdef enum:
    WINDOW = 64             # counts that may come out of order; no UA has as many requests in flight
    GUESSES = 16            # guesses at a mark of 32 bits, by repeating a digest in other requests
    SMALLEST = 64           # places of the ring at first

cdef uint64_t LARGEST = 1 << 31     # places of the ring at most

cdef double RETRANSMITTED = 32.0    # seconds in which a request is retransmitted: 64 × T1 (RFC 3261, 17.1.2.2)


class Use(enum.Enum):
    """The meaning of a nonce with a count."""

    UNKNOWN = USE_UNKNOWN   # a nonce that is not remembered
    FIRST = USE_FIRST
    AGAIN = USE_AGAIN       # the retransmission of a request that was verified before
    REPLAYED = USE_REPLAYED
    EXPIRED = USE_EXPIRED


cdef tuple _USES = (None, *Use)     # by their values


cdef void bound_of(const uint64_t *secret, const Binding *bound, uint64_t *out) noexcept nogil:
    """A hash of what a nonce is bound to."""
    cdef ad_siphash s
    ad_siphash_begin(&s, secret)
    ad_siphash_word(&s, bound.realm.n)
    ad_siphash_word(&s, <uint64_t>bound.algorithm.n << 32 | bound.source.n)
    ad_siphash_bytes(&s, bound.realm.p, bound.realm.n)
    ad_siphash_bytes(&s, bound.algorithm.p, bound.algorithm.n)
    ad_siphash_bytes(&s, bound.source.p, bound.source.n)
    ad_siphash_end(&s, out)


cdef int use(UsedNonce *found, uint32_t count, uint64_t mark, double now, uint32_t limit) noexcept nogil:
    """Records the use of a nonce that is good, and says which it is."""
    cdef uint32_t distance = 0
    if count <= found.highest:
        distance = found.highest - count
        if distance >= WINDOW or found.window >> distance & 1:
            if found.replays < GUESSES and is_again(found, count, mark, now):
                return USE_AGAIN
            found.replays += 1
            return USE_REPLAYED
    # The limit is on uses, not on the count: belle-sip continues the count from one nonce to the next.
    if limit and found.uses >= limit:
        return USE_EXPIRED
    found.uses += 1
    if count > found.highest:
        distance = count - found.highest
        found.window = (found.window << distance if distance < WINDOW else 0) | 1
        found.highest = count
    else:
        found.window |= <uint64_t>1 << distance
    if mark:
        found.marks[found.next_mark] = Mark(now, mark, count)
        found.next_mark = (found.next_mark + 1) % MARKS
        found.replays = 0
    return USE_FIRST


cdef bint is_again(const UsedNonce *found, uint32_t count, uint64_t mark, double now) noexcept nogil:
    cdef int i
    for i in range(MARKS):
        if found.marks[i].mark == mark and found.marks[i].count == count and mark:
            return 0 <= now - found.marks[i].when <= RETRANSMITTED
    return False


@cython.final
cdef class NonceUses:
    """The nonces that were used with correct credentials, and their counts; thread-safe.

    It keeps the highest count of each nonce and the 64 below it: requests may come out of order, but none
    twice. Memory is bounded. Once a nonce is forgotten, no nonce of its age counts as unused, so that a full
    memory never lets a replay in.

    Args:
        lifetime: seconds in which a nonce may be used, and is remembered.
        most: nonces to remember, from 1 on; each takes some 200 bytes.
        limit: how often a nonce may be used; 0 for no limit.
        ahead: seconds that the clock which made a nonce may be ahead of ours.

    Raises:
        ConfigError: `most` is below 1.
    """

    def __cinit__(self, double lifetime=300.0, Py_ssize_t most=131_072, uint32_t limit=0, double ahead=0.0):
        if most < 1:
            raise ConfigError(f"most: expected 1 at least, not {most}")
        self.lifetime = lifetime
        self.ahead = ahead
        self.most = <uint64_t>most
        self.limit = limit
        self.secret[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        self.secret[1] = <uint64_t>int.from_bytes(os.urandom(8), "little")

    def __dealloc__(self):
        PyMem_RawFree(self.ring)
        PyMem_RawFree(self.index)

    def __len__(self):
        cdef uint64_t count
        ad_lock_take(&self.lock)
        count = self.end - self.first
        ad_lock_give(&self.lock)
        return <Py_ssize_t>count

    def take(self, str nonce not None, str realm not None, str algorithm not None, str source not None,
             uint32_t count, uint64_t mark, double now):
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
        cdef Binding bound
        cdef Span text
        _kept = bind(&bound, realm, algorithm, source), borrow(nonce, &text, "nonce")
        return _USES[self.take_use(text, &bound, count, mark, now)]

    def add(self, str nonce not None, str realm not None, str algorithm not None, str source not None,
            uint32_t count, uint64_t mark, double now, double made):
        """Records the first use of a valid nonce; the parameters are those of `take`.

        Args:
            made: the creation time of the nonce, seconds since 1970.

        Returns:
            Use.
        """
        cdef Binding bound
        cdef Span text
        _kept = bind(&bound, realm, algorithm, source), borrow(nonce, &text, "nonce")
        return _USES[self.add_use(text, &bound, count, mark, now, made)]

    cdef int take_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark,
                      double now) noexcept nogil:
        """`take`; returns one of USE_…"""
        cdef uint64_t name[2]
        cdef uint64_t binding[2]
        cdef UsedNonce *found
        cdef int how = USE_UNKNOWN
        self.name_of(nonce, name)
        bound_of(self.secret, bound, binding)
        ad_lock_take(&self.lock)
        found = self.find(name)
        if found != NULL and found.bound[0] == binding[0] and found.bound[1] == binding[1]:
            how = USE_EXPIRED if now - found.made > self.lifetime else use(found, count, mark, now, self.limit)
        ad_lock_give(&self.lock)
        return how

    cdef int add_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark, double now,
                     double made) noexcept nogil:
        """`add`; returns one of USE_…, and USE_REPLAYED if there is no memory for another nonce."""
        cdef uint64_t name[2]
        cdef UsedNonce *found
        cdef int how = USE_REPLAYED
        self.name_of(nonce, name)
        ad_lock_take(&self.lock)
        found = self.find(name)
        # One that is remembered is bound to the same realm in another spelling; its uses count all the same. Else
        # it may have been used before, unless the clock stepped back: then `forgotten` is in the future.
        if found == NULL and not made <= self.forgotten <= now + self.ahead:
            self.make_room(now)
            found = self.append(name)
            if found != NULL:
                bound_of(self.secret, bound, found.bound)
                found.made = made
        if found != NULL:
            how = use(found, count, mark, now, self.limit)
        ad_lock_give(&self.lock)
        return how

    cdef uint64_t mark_of(self, uint32_t serial, Span session, Span response) noexcept nogil:
        """The mark of a request, which only its retransmission shares; 0 without a serial."""
        cdef ad_siphash s
        cdef uint64_t out[2]
        if not serial:
            return 0
        ad_siphash_begin(&s, self.secret)
        # The serial alone has 32 bits: a replay of a digest in many requests would match it one day.
        ad_siphash_word(&s, serial)
        ad_siphash_word(&s, <uint64_t>session.n << 32 | response.n)
        ad_siphash_bytes(&s, session.p, session.n)
        ad_siphash_bytes(&s, response.p, response.n)
        ad_siphash_end(&s, out)
        return out[0] or 1

    cdef void name_of(self, Span nonce, uint64_t *out) noexcept nogil:
        """A hash of the text of a nonce."""
        cdef ad_siphash s
        ad_siphash_begin(&s, self.secret)
        ad_siphash_word(&s, nonce.n)
        ad_siphash_bytes(&s, nonce.p, nonce.n)
        ad_siphash_end(&s, out)

    # For a caller that has the lock

    cdef UsedNonce *find(self, const uint64_t *name) noexcept nogil:
        """The nonce with that hash, or NULL."""
        cdef uint64_t mask = 2 * self.room - 1, at = name[0] & mask
        cdef UsedNonce *found
        if not self.room:
            return NULL
        while self.index[at]:
            found = &self.ring[self.index[at] - 1]
            if found.name[0] == name[0] and found.name[1] == name[1]:
                return found
            at = (at + 1) & mask
        return NULL

    cdef UsedNonce *append(self, const uint64_t *name) noexcept nogil:
        """A new nonce behind all others, with zeros; NULL if there is no memory for it."""
        cdef UsedNonce *found
        cdef uint64_t place
        if self.end - self.first == self.room and not self.grow():
            return NULL
        place = self.end & (self.room - 1)
        self.end += 1
        found = &self.ring[place]
        memset(found, 0, sizeof(UsedNonce))
        found.name[0] = name[0]
        found.name[1] = name[1]
        put_index(self.index, 2 * self.room, found, place)
        return found

    cdef bint grow(self) noexcept nogil:
        """Doubles the ring and the index; False if there is no memory for it."""
        cdef uint64_t room = 2 * self.room if self.room else SMALLEST, count = self.end - self.first, i
        cdef UsedNonce *ring
        cdef uint32_t *index
        if room > LARGEST:
            return False
        ring = <UsedNonce *>PyMem_RawMalloc(room * sizeof(UsedNonce))
        index = <uint32_t *>PyMem_RawCalloc(2 * room, sizeof(uint32_t))
        if ring == NULL or index == NULL:
            PyMem_RawFree(ring)
            PyMem_RawFree(index)
            return False
        for i in range(count):
            ring[i] = self.ring[(self.first + i) & (self.room - 1)]
            put_index(index, 2 * room, &ring[i], i)
        PyMem_RawFree(self.ring)
        PyMem_RawFree(self.index)
        self.ring = ring
        self.index = index
        self.room = room
        self.first = 0
        self.end = count
        return True

    cdef void make_room(self, double now) noexcept nogil:
        """Makes room for another nonce: at most two go at a time, expired ones and then the oldest."""
        for _i in range(2):
            if self.end == self.first or (self.end - self.first < self.most and now - self.ring[
                    self.first & (self.room - 1)].made <= self.lifetime):
                return
            self.forget_first()

    cdef void forget_first(self) noexcept nogil:
        """Forgets the oldest nonce."""
        cdef uint64_t mask = 2 * self.room - 1, place = self.first & (self.room - 1)
        cdef UsedNonce *oldest = &self.ring[place]
        cdef uint64_t hole = oldest.name[0] & mask, at, home
        while self.index[hole] != place + 1:
            hole = (hole + 1) & mask
        # What follows moves up, unless it would come before the place that its hash gives it.
        at = (hole + 1) & mask
        while self.index[at]:
            home = self.ring[self.index[at] - 1].name[0] & mask
            if ((at - home) & mask) >= ((at - hole) & mask):
                self.index[hole] = self.index[at]
                hole = at
            at = (at + 1) & mask
        self.index[hole] = 0
        self.first += 1
        if oldest.made > self.forgotten:
            self.forgotten = oldest.made


cdef inline void put_index(uint32_t *index, uint64_t size, const UsedNonce *found, uint64_t place) noexcept nogil:
    cdef uint64_t at = found.name[0] & (size - 1)
    while index[at]:
        at = (at + 1) & (size - 1)
    index[at] = <uint32_t>(place + 1)
