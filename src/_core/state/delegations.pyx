"""HA1 that servers delegate with their nonces (RFC 4740, 6.3): whose it is, and how long it counts.

It is found by its nonce alone. So a user cannot come in with HA1 that came with the nonce of an earlier time, or
with that of somebody else.
"""

import os

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.scratch cimport ad_scratch, ad_scratch_release
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, algorithm_of
from auth_diameter._core.state.values cimport Key, values_copy, values_free, values_init, values_put

cdef enum:
    PARTS = 5               # realm, HA1, the two names, and the address


cdef struct Head:
    # How a value begins; behind it lie the parts
    double made
    double until
    size_t sizes[PARTS]
    int algorithm


cdef inline Key key_of(Span nonce) noexcept nogil:
    cdef Key key
    memset(&key, 0, sizeof(key))
    key.part[0] = nonce
    return key


@cython.final
cdef class Delegations:
    """What servers have delegated, bounded in bytes: what was used least recently is forgotten; thread-safe.

    Args:
        room: bytes.
    """

    def __cinit__(self, size_t room):
        cdef uint64_t secret[2]
        secret[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        secret[1] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        if not values_init(&self.kept, room, secret):
            raise MemoryError()

    def __dealloc__(self):
        values_free(&self.kept)

    def put(self, str nonce not None, str username not None, str other_name not None, str realm not None,
            str algorithm not None, str ha1 not None, double made, double until, str address not None=""):
        """Keeps what came with a nonce.

        Args:
            nonce: the nonce.
            username: whose HA1 it is.
            other_name: another form of the username; "": there is none.
            realm: the realm.
            algorithm: its name in RFC 7616.
            ha1: lower-case hexadecimal.
            made: when it came, seconds.
            until: when it ends, seconds of the same clock.
            address: that a REGISTER was about, as `DelegatedJudge.address_of` says; "": another request.
        """
        cdef Head head
        cdef Span at, parts[PARTS]
        cdef bytearray value
        cdef Key key
        cdef bint sess
        cdef int i
        cdef list kept = []
        head.made, head.until = made, until
        head.algorithm = algorithm_of(algorithm, &sess)
        if head.algorithm == ALGORITHM_UNKNOWN or sess:
            raise ValueError(f"algorithm: expected one without a session, not {algorithm!r}")
        for i, text in enumerate((realm, ha1, username, other_name, address)):
            kept.append(borrow(text, &parts[i], "text"))
            head.sizes[i] = parts[i].n
        value = bytearray((<const uint8_t *>&head)[:sizeof(head)])
        for i in range(PARTS):
            value += parts[i].p[:parts[i].n]
        kept.append(borrow(nonce, &at, "nonce"))
        key = key_of(at)
        values_put(&self.kept, &key, Span(<const uint8_t *><char *>value, <size_t>len(value)))
        value[:] = bytes(len(value))    # it had HA1

    def has(self, str nonce not None):
        """Whether a nonce is known, bool."""
        cdef Span text
        _kept = borrow(nonce, &text, "nonce")
        return self.knows(text)

    cdef bint knows(self, Span nonce) noexcept nogil:
        cdef ad_scratch scratch
        cdef Delegated found
        cdef bint known
        memset(&scratch, 0, sizeof(scratch))
        known = self.find(nonce, &scratch, &found) > 0
        ad_scratch_release(&scratch)
        return known

    cdef int find(self, Span nonce, ad_scratch *scratch, Delegated *out) noexcept nogil:
        cdef Key key = key_of(nonce)
        cdef Span value
        cdef Head head
        cdef const uint8_t *p
        cdef int status = values_copy(&self.kept, &key, scratch, &value)
        if status <= 0:
            return status
        memcpy(&head, value.p, sizeof(head))
        p = value.p + sizeof(head)
        out.made, out.until, out.algorithm = head.made, head.until, head.algorithm
        out.realm = Span(p, head.sizes[0])
        p += head.sizes[0]
        out.ha1 = Span(p, head.sizes[1])
        p += head.sizes[1]
        out.username = Span(p, head.sizes[2])
        p += head.sizes[2]
        out.other_name = Span(p, head.sizes[3])
        out.address = Span(p + head.sizes[3], head.sizes[4])
        return 1
