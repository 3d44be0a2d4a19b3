"""Nonce counts: the server's protection against replays (RFC 7616, 3.4 and 5.5).

A nonce, and what it is bound to, is remembered as a keyed hash of 128 bits: nobody without the key can make two
alike, and they do not by accident. The nonces are a ring in the order of their first use, and an index of hashes
finds one in it.

All of them are in memory that forked processes share, so that a replay is found out by whichever process it comes
to. Ring and index use as much of it as they need, and grow to the double in place: a small load stays in cache.
If a process is killed in the middle of a change, all nonces are forgotten: nobody knows what was changed.
"""

import enum
import os

cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.shared cimport (
    ad_shared_lines, ad_shared_lock_give, ad_shared_lock_init, ad_shared_lock_repaired, ad_shared_lock_take,
    ad_shared_map, ad_shared_unmap,
)
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_end_64, ad_siphash_word,
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

    Processes that are forked later have them in common: what one has seen, all have seen.

    It keeps the highest count of each nonce and the 64 below it: requests may come out of order, but none twice.
    Memory is bounded. Once a nonce is forgotten, no nonce of its age counts as unused, so that a full memory never
    lets a replay in.

    Args:
        lifetime: seconds in which a nonce may be used, and is remembered.
        most: nonces to remember, from 1 on; each takes some 200 bytes, once there are as many.
        limit: how often a nonce may be used; 0 for no limit.
        ahead: seconds that the clock which made a nonce may be ahead of ours.

    Raises:
        ConfigError: `most` is below 1.
        MemoryError: there are no addresses for as many.
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
        self.largest = SMALLEST
        while self.largest < self.most and self.largest < LARGEST:
            self.largest *= 2
        self.book = <Book *>ad_shared_map(self.size())
        if self.book == NULL or not ad_shared_lock_init(&self.book.lock):
            raise MemoryError()
        self.index = <uint32_t *>(<uint8_t *>self.book + ad_shared_lines(sizeof(Book)))
        self.ring = <UsedNonce *>(self.index + 2 * self.largest)
        self.book.room = SMALLEST

    def __dealloc__(self):
        ad_shared_unmap(self.book, self.size())

    def __len__(self):
        cdef uint64_t count
        self.take_lock()
        count = self.book.end - self.book.first
        self.give_lock()
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
        self.take_lock()
        found = self.find(name)
        if found != NULL and found.bound[0] == binding[0] and found.bound[1] == binding[1]:
            how = USE_EXPIRED if now - found.made > self.lifetime else use(found, count, mark, now, self.limit)
        self.give_lock()
        return how

    cdef bint is_in_use(self, Span nonce, const Binding *bound, double now) noexcept nogil:
        cdef uint64_t name[2]
        cdef uint64_t binding[2]
        cdef UsedNonce *found
        cdef bint is_one
        self.name_of(nonce, name)
        bound_of(self.secret, bound, binding)
        self.take_lock()
        found = self.find(name)
        is_one = (found != NULL and found.bound[0] == binding[0] and found.bound[1] == binding[1]
                  and now - found.made <= self.lifetime)
        self.give_lock()
        return is_one

    cdef int add_use(self, Span nonce, const Binding *bound, uint32_t count, uint64_t mark, double now,
                     double made) noexcept nogil:
        """`add`; returns one of USE_…, and USE_REPLAYED if there is no memory for another nonce."""
        cdef uint64_t name[2]
        cdef UsedNonce *found
        cdef int how = USE_REPLAYED
        self.name_of(nonce, name)
        self.take_lock()
        found = self.find(name)
        # One that is remembered is bound to the same realm in another spelling; its uses count all the same.
        if found == NULL and not self.is_forgotten(made, now):
            if made > self.book.latest:
                self.book.latest = made
            self.make_room(now)
            found = self.append(name)
            if found != NULL:
                bound_of(self.secret, bound, found.bound)
                found.made = made
        if found != NULL:
            how = use(found, count, mark, now, self.limit)
        self.give_lock()
        return how

    cdef void disown_use(self, Span nonce, uint32_t count, uint64_t mark) noexcept nogil:
        cdef uint64_t name[2]
        cdef UsedNonce *found
        cdef int i
        self.name_of(nonce, name)
        self.take_lock()
        found = self.find(name)
        if found != NULL:
            for i in range(MARKS):
                if found.marks[i].mark == mark and found.marks[i].count == count:
                    found.marks[i].mark = 0
        self.give_lock()

    cdef uint64_t mark_of(self, uint32_t serial, Span session, Span response) noexcept nogil:
        """The mark of a request, which only its retransmission shares; 0 without a serial."""
        cdef ad_siphash s
        if not serial:
            return 0
        ad_siphash_begin(&s, self.secret)
        # The serial alone has 32 bits: a replay of a digest in many requests would match it one day.
        ad_siphash_word(&s, serial)
        ad_siphash_word(&s, <uint64_t>session.n << 32 | response.n)
        ad_siphash_bytes(&s, session.p, session.n)
        ad_siphash_bytes(&s, response.p, response.n)
        return ad_siphash_end_64(&s) or 1

    cdef void name_of(self, Span nonce, uint64_t *out) noexcept nogil:
        """A hash of the text of a nonce."""
        cdef ad_siphash s
        ad_siphash_begin(&s, self.secret)
        ad_siphash_word(&s, nonce.n)
        ad_siphash_bytes(&s, nonce.p, nonce.n)
        ad_siphash_end(&s, out)

    cdef size_t size(self) noexcept nogil:
        """The bytes of the shared memory."""
        return ad_shared_lines(sizeof(Book)) + self.largest * (2 * sizeof(uint32_t) + sizeof(UsedNonce))

    cdef void take_lock(self) noexcept nogil:
        if ad_shared_lock_take(&self.book.lock):
            self.forget_all()
            ad_shared_lock_repaired(&self.book.lock)

    cdef void give_lock(self) noexcept nogil:
        ad_shared_lock_give(&self.book.lock)

    # For a caller that has the lock. Whatever the memory holds, nothing is read or written beyond it, and no loop
    # is longer than the index.

    cdef void forget_all(self) noexcept nogil:
        """Forgets all nonces, after a process was killed in the middle of a change."""
        self.book.lost = True
        self.book.first = self.book.end = 0
        self.book.room = SMALLEST
        memset(self.index, 0, 2 * SMALLEST * sizeof(uint32_t))

    cdef bint is_forgotten(self, double made, double now) noexcept nogil:
        """Whether a nonce that is not remembered may have been used before."""
        cdef Book *book = self.book
        if book.lost:
            # `latest` was set before any nonce of that time was good, with one store, so it is whole. But it may
            # be in the future, if the clock stepped back. No good nonce was made later than `ahead` from now.
            book.forgotten = book.latest if book.latest <= now + self.ahead else now + self.ahead
            book.lost = False
        # If the clock stepped back, `forgotten` is in the future.
        return made <= book.forgotten <= now + self.ahead

    cdef inline uint64_t mask(self) noexcept nogil:
        """The places of the index less one."""
        return (2 * self.book.room - 1) & (2 * self.largest - 1)

    cdef inline UsedNonce *at(self, uint64_t place) noexcept nogil:
        """A place of the ring."""
        return &self.ring[place & (self.largest - 1)]

    cdef UsedNonce *find(self, const uint64_t *name) noexcept nogil:
        """The nonce with that hash, or NULL."""
        cdef uint64_t mask = self.mask(), at = name[0] & mask
        cdef UsedNonce *found
        for _i in range(mask):
            if not self.index[at]:
                break
            found = self.at(self.index[at] - 1)
            if found.name[0] == name[0] and found.name[1] == name[1]:
                return found
            at = (at + 1) & mask
        return NULL

    cdef UsedNonce *append(self, const uint64_t *name) noexcept nogil:
        """A new nonce behind all others, with zeros; NULL if there is no room for it."""
        cdef Book *book = self.book
        cdef UsedNonce *found
        cdef uint64_t place
        if book.end - book.first == book.room and not self.grow():
            return NULL
        place = book.end & (book.room - 1)
        book.end += 1
        found = self.at(place)
        memset(found, 0, sizeof(UsedNonce))
        found.name[0] = name[0]
        found.name[1] = name[1]
        self.put_index(found, place)
        return found

    cdef bint grow(self) noexcept nogil:
        """Doubles the room of a full ring and its index; False if there is no more.

        The oldest nonce stays where it is. Those that were wrapped around, to places before it, move behind.
        """
        cdef Book *book = self.book
        cdef uint64_t before = book.room, first = book.first & (before - 1), i
        if not SMALLEST <= before <= self.largest // 2:
            return False
        memcpy(self.ring + before, self.ring, first * sizeof(UsedNonce))
        book.room = 2 * before
        book.first = first
        book.end = first + before
        memset(self.index, 0, 2 * book.room * sizeof(uint32_t))
        for i in range(first, first + before):
            self.put_index(&self.ring[i], i)
        return True

    cdef void put_index(self, const UsedNonce *found, uint64_t place) noexcept nogil:
        cdef uint64_t mask = self.mask(), at = found.name[0] & mask
        for _i in range(mask):
            if not self.index[at]:
                break
            at = (at + 1) & mask
        self.index[at] = <uint32_t>(place + 1)

    cdef void make_room(self, double now) noexcept nogil:
        """Makes room for another nonce: at most two go at a time, expired ones and then the oldest."""
        cdef Book *book = self.book
        for _i in range(2):
            if book.end == book.first or (
                    book.end - book.first < self.most
                    and now - self.at(book.first & (book.room - 1)).made <= self.lifetime):
                return
            self.forget_first()

    cdef void forget_first(self) noexcept nogil:
        """Forgets the oldest nonce."""
        cdef Book *book = self.book
        cdef uint64_t mask = self.mask(), place = book.first & (book.room - 1)
        cdef UsedNonce *oldest = self.at(place)
        cdef uint64_t hole = oldest.name[0] & mask, at, home
        for _i in range(mask):
            if self.index[hole] == place + 1:
                break
            hole = (hole + 1) & mask
        # What follows moves up, unless it would come before the place that its hash gives it.
        at = (hole + 1) & mask
        for _i in range(mask):
            if not self.index[at]:
                break
            home = self.at(self.index[at] - 1).name[0] & mask
            if ((at - home) & mask) >= ((at - hole) & mask):
                self.index[hole] = self.index[at]
                hole = at
            at = (at + 1) & mask
        self.index[hole] = 0
        book.first += 1
        if oldest.made > book.forgotten:
            book.forgotten = oldest.made
