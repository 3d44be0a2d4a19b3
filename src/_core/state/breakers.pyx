"""The circuit breakers of peers that forked processes have in common.

A worker that asks one question at a time learns slowly that a peer hangs: it waits for the whole time limit. So
the workers tell each other::

    asked, heard        since when the peer is asked in vain: those that wait give up with the first one
    change, look        a breaker that one of them has opened or closed; `version` shows that there was a change
    claim_probe         which of them tries a peer in doubt next

What a state means is the callers' business; 0 is that of a breaker nobody has told of. `now` is seconds on a
clock that all processes share, such as CLOCK_MONOTONIC.

Who waits for a while tells of it. What is heard is noted only if somebody has, and costs nothing the other times.
Nothing here has to fit together, so a process that is killed while it has the lock leaves nothing to be repaired.
"""

import os

cimport cython
from libc.stdint cimport uint64_t

from auth_diameter._core.base.shared cimport (
    ad_shared_lock_give, ad_shared_lock_init, ad_shared_lock_repaired, ad_shared_lock_take, ad_shared_look,
    ad_shared_map, ad_shared_show, ad_shared_unmap,
)
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end_64,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow


@cython.final
cdef class Breakers:
    """The breakers of up to 64 peers; processes that are forked later have them in common.

    Raises:
        MemoryError: there is no memory for them.
    """

    def __cinit__(self):
        self.secret[0] = int.from_bytes(os.urandom(8), "little")
        self.secret[1] = int.from_bytes(os.urandom(8), "little")
        self.board = <Board *>ad_shared_map(sizeof(Board))
        if self.board == NULL or not ad_shared_lock_init(&self.board.lock):
            raise MemoryError()

    def __dealloc__(self):
        ad_shared_unmap(self.board, sizeof(Board))

    @property
    def version(self):
        """A number that grows with each change of a state, int."""
        return self.board.version

    def place_of(self, str address not None):
        """The place of a peer, the same in all processes.

        Args:
            address: ``HOST:PORT``, str.

        Returns:
            Int for the other methods; -1: all places are taken by other peers.
        """
        cdef ad_siphash s
        cdef Span text
        cdef uint64_t key
        cdef int place, found = -1
        _kept = borrow(address, &text, "address")
        ad_siphash_begin(&s, self.secret)
        ad_siphash_bytes(&s, text.p, text.n)
        key = ad_siphash_end_64(&s) or 1
        self.take_lock()
        for place in range(MOST_PEERS):
            if self.board.breakers[place].key == key or not self.board.breakers[place].key:
                self.board.breakers[place].key = key
                found = place
                break
        self.give_lock()
        return found

    def look(self, int place):
        """The state of a breaker.

        Returns:
            The state, int; and when the next probe may be sent, float.
        """
        cdef Breaker *breaker = self.at(place)
        self.take_lock()
        state, rest_until = breaker.state, breaker.rest_until
        self.give_lock()
        return state, rest_until

    def change(self, int place, int state, double rest_until):
        """Notes that a breaker was opened or closed.

        Args:
            place: that of the peer.
            state: int.
            rest_until: when the next probe may be sent.
        """
        cdef Breaker *breaker = self.at(place)
        self.take_lock()
        breaker.rest_until = rest_until
        if breaker.state != state:
            breaker.state = state
            self.board.version += 1
        self.give_lock()

    def claim_probe(self, int place, double now, double until):
        """Claims the next probe of a peer in doubt.

        Args:
            place: that of the peer.
            now: seconds.
            until: when the one after it may be sent.

        Returns:
            `now`: this process may send the probe. Later: when the next one may be claimed.
        """
        cdef Breaker *breaker = self.at(place)
        cdef double may = now
        self.take_lock()
        if breaker.rest_until <= now:
            breaker.rest_until = until
        else:
            may = breaker.rest_until
        self.give_lock()
        return may

    def asked(self, int place, double since, double now, double patience):
        """Notes that a process waits for an answer.

        Args:
            place: that of the peer.
            since: when the question was asked.
            now: seconds.
            patience: seconds after which the process that asked does not wait any more.

        Returns:
            When the first question was asked that is still waited for, and after which nothing came, float. It is
            this one if there was none before.
        """
        cdef Breaker *breaker = self.at(place)
        cdef double first
        self.take_lock()
        # One that is older belonged to a process that was killed.
        if (breaker.asked_at <= breaker.heard_at or now >= breaker.asked_at + patience
                or since < breaker.asked_at):
            ad_shared_show(&breaker.asked_at, since)
        first = breaker.asked_at
        self.give_lock()
        return first

    def heard(self, int place, double now):
        """Notes that bytes came from a peer."""
        self.at(place)
        self.note_heard(place, now)

    cdef void note_heard(self, int place, double now) noexcept nogil:
        cdef Breaker *breaker = &self.board.breakers[place]
        if ad_shared_look(&breaker.asked_at) <= ad_shared_look(&breaker.heard_at):
            return      # nobody waits; a write would take the memory from the caches of all other workers
        self.take_lock()
        if breaker.heard_at < now:
            ad_shared_show(&breaker.heard_at, now)
        self.give_lock()

    def heard_since(self, int place, double then):
        """Whether bytes came from a peer to any process since `then`, after which somebody waited, bool."""
        cdef Breaker *breaker = self.at(place)
        cdef double heard_at
        self.take_lock()
        heard_at = breaker.heard_at
        self.give_lock()
        return heard_at >= then

    cdef Breaker *at(self, int place) except NULL:
        """The breaker at a place.

        Raises:
            IndexError: there is no such place.
        """
        if not 0 <= place < MOST_PEERS:
            raise IndexError(f"place {place}: expected 0 to {MOST_PEERS - 1}")
        return &self.board.breakers[place]

    cdef void take_lock(self) noexcept nogil:
        if ad_shared_lock_take(&self.board.lock):
            ad_shared_lock_repaired(&self.board.lock)

    cdef void give_lock(self) noexcept nogil:
        ad_shared_lock_give(&self.board.lock)
