"""The watch on the nonces of several DISC: which one issues a nonce, and whether another one accepts it.

One DISC has just issued a nonce, and another one calls it stale although nobody has used it before: they have
no common key. After a few such refusals a warning is due, if they outnumber the logins that succeeded across
two DISC. It is due once.

A sample of the nonces is enough. The table has sets, and a hash of the nonce selects one. A nonce is remembered
until a client uses it. If its set is full it is not remembered, or all others are forgotten, if the oldest has
been there for a minute.
"""

import os

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memset

from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take, ad_look, ad_show
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end_64, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of_bytes
from auth_diameter._core.digest.challenge cimport read_challenge
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, STALE, DigestFields, is_true, plain_value

cdef enum:
    WATCHING, DUE, TOLD
    NOBODY = -1
    YOUNG = 60          # seconds for which a nonce is remembered; no DISC's nonces expire so early
    ENOUGH = 3          # refusals before the warning
    MOST_CHALLENGES = 8     # of one answer that are remembered


@cython.final
cdef class NonceIssuers:
    """Which DISC issued a nonce that no client has used yet; thread-safe.

    A DISC is a number, 0 or more. `now` is seconds, monotonic.
    """

    def __cinit__(self):
        self.secret[0] = int.from_bytes(os.urandom(8), "little")
        self.secret[1] = int.from_bytes(os.urandom(8), "little")

    def __len__(self):
        """The number of nonces that are remembered."""
        cdef size_t count
        ad_lock_take(&self.lock)
        count = self.count
        ad_lock_give(&self.lock)
        return count

    def authorized(self, str nonce not None, int peer, double now):
        """Notes that a DISC accepted credentials, and so their nonce."""
        cdef Span used
        _kept = borrow(nonce, &used, "nonce")
        self.saw_authorized(used, peer, now)

    def challenged(self, str nonce, int peer, tuple challenges not None, double now):
        """Notes the challenges in an answer of a DISC.

        Args:
            nonce: that of the credentials in the question, or None.
            peer: the number of the DISC.
            challenges: tuple of bytes; one that cannot be parsed is passed over.
            now: seconds, monotonic.
        """
        cdef Span used = Span(NULL, 0)
        cdef Span spans[MOST_CHALLENGES]
        cdef size_t count = 0
        if nonce is not None:
            _kept = borrow(nonce, &used, "nonce")
        for value in challenges[:MOST_CHALLENGES]:
            spans[count] = span_of_bytes(<bytes?>value)
            count += 1
        self.saw_challenges(used, peer, spans, count, now)

    def take_warning(self):
        """The warning that is due, once.

        Returns:
            The numbers of the DISC that issued a nonce and of the DISC that refused it, or None.
        """
        cdef bint is_due
        if not self.is_warning_due():
            return None
        ad_lock_take(&self.lock)
        is_due = self.stage == DUE
        ad_show(&self.stage, TOLD)
        ad_lock_give(&self.lock)
        return (self.issuer, self.refuser) if is_due else None

    # ------------------------------------------------------------------ without the GIL

    cdef void saw_authorized(self, Span used, int peer, double now) noexcept nogil:
        cdef uint64_t key
        if used.p == NULL or ad_look(&self.stage) != WATCHING:
            return
        key = self.key_of(used)
        ad_lock_take(&self.lock)
        if self.take(key, peer, now) != NOBODY:
            self.taken += 1
        ad_lock_give(&self.lock)

    cdef void saw_challenges(
            self, Span used, int peer, const Span *challenges, size_t count, double now) noexcept nogil:
        cdef uint8_t room[MAX_PARAMETER]
        cdef DigestFields fields
        cdef uint64_t fresh[MOST_CHALLENGES]
        cdef size_t i, found = 0
        cdef bint stale = False
        cdef int issuer = NOBODY
        if ad_look(&self.stage) != WATCHING:
            return
        for i in range(count):
            if found < MOST_CHALLENGES and read_challenge(challenges[i], &fields):
                fresh[found] = self.key_of(plain_value(&fields, NONCE, room))
                found += 1
                stale |= is_true(&fields, STALE)
        cdef uint64_t key = self.key_of(used) if used.p != NULL else 0
        ad_lock_take(&self.lock)
        if key:
            issuer = self.take(key, peer, now)
        if issuer != NOBODY and stale:
            self.refused += 1
            if self.refused >= ENOUGH and self.refused > self.taken and self.stage == WATCHING:
                self.issuer = issuer
                self.refuser = peer
                self.forget_all()
                ad_show(&self.stage, DUE)
        for i in range(found):
            self.put(fresh[i], peer, now)
        ad_lock_give(&self.lock)

    cdef bint is_warning_due(self) noexcept nogil:
        return ad_look(&self.stage) == DUE

    cdef uint64_t key_of(self, Span nonce) noexcept nogil:
        cdef ad_siphash s
        ad_siphash_begin(&s, self.secret)
        ad_siphash_word(&s, nonce.n)
        ad_siphash_bytes(&s, nonce.p, nonce.n)
        return ad_siphash_end_64(&s) or 1

    # ------------------------------------------------------------------ under the lock

    cdef int take(self, uint64_t key, int peer, double now) noexcept nogil:
        """Forgets a nonce, which is used now.

        Returns:
            The DISC that issued it, if another DISC now sees it for the first time; otherwise NOBODY.
        """
        cdef Issued *place = self.issued + key % ISSUED_SETS * ISSUED_WAYS
        cdef int i
        for i in range(ISSUED_WAYS):
            if place[i].key == key:
                place[i].key = 0
                self.count -= 1
                return place[i].issuer if place[i].issuer != peer and now - place[i].at <= YOUNG else NOBODY
        return NOBODY

    cdef void put(self, uint64_t key, int peer, double now) noexcept nogil:
        """Remembers a nonce, if there is room."""
        cdef Issued *place = self.issued + key % ISSUED_SETS * ISSUED_WAYS
        cdef int i, way = -1
        for i in range(ISSUED_WAYS):
            if place[i].key == key:
                way = i
                break
            if way < 0 and not place[i].key:
                way = i
        if way < 0:
            if now - self.first <= YOUNG:
                return
            self.forget_all()
            way = 0
        if not self.count:
            self.first = now
        if not place[way].key:
            self.count += 1
        place[way] = Issued(key, now, peer)

    cdef void forget_all(self) noexcept nogil:
        memset(self.issued, 0, sizeof(self.issued))
        self.count = 0
        self.refused = self.taken = 0
