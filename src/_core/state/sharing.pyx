"""Records for the state that several back ends share, and what it says about them.

A record tells no name, no address, no nonce and no response: all of these are keyed hashes. Integers are
little-endian. The records of the questions that were judged together stand behind one header::

    header   version (1 byte)  zeros (3)  now (4: seconds since 1970)
             lifetime (4: seconds for which a nonce may be used)  limit (4: uses of a nonce; 0: none)
    record   kind (1: SHARE_…)  user at a source (8)  source (8)  nonce (16)  count (4)  mark (8)
             made (4: when the nonce was made, seconds since 1970)

A user or a source of zeros is not counted. The nonce and what follows are zeros unless the kind is SHARE_RIGHT.

The hashes of users and sources are keyed with a secret made of the first nonce key. The hashes of a nonce are keyed
with its own mac, which only those know who have the key of the nonce, or the nonce: so they are the same at all
back ends that accept it, also while their keys are being changed.

The reply has a code for each record (1 byte: SHARED_…). Behind all codes follow, for each SHARED_PENALIZED and
SHARED_WRONG, the standings of the user and of the source::

    standing   wrong (2: in a row; of a source: users)  penalty (1: seconds)  left (2: milliseconds of it)
"""

import hashlib
import hmac

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.chars cimport hex_value
from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take, ad_look, ad_show
from auth_diameter._core.base.secret cimport ad_wipe
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_end_64, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.nonce_counts cimport RETRANSMITTED
from auth_diameter._core.state.nonces cimport NONCE_SIZE, nonce_made_at
from auth_diameter._core.state.tallies cimport LONGEST, RECENT, SOURCE_TRIES, USER_TRIES, WINDOW, Standing

cdef enum:
    VERSION = 1
    STAMP = 24              # hex digits of a nonce before its mac
    OF_NONCE, OF_MARK       # what a hash under the mac of a nonce is of

#: The rules of penalties.pyx and nonce_counts.pyx, for whoever counts records; seconds.
PENALTY_RULES = {
    "USER_TRIES": USER_TRIES,
    "SOURCE_TRIES": SOURCE_TRIES,
    "WINDOW": WINDOW,
    "LONGEST": LONGEST,
    "RECENT": RECENT,
    "RETRANSMITTED": RETRANSMITTED,
}

#: The layout of records, for whoever counts them.
RECORDS = {
    "VERSION": VERSION,
    "HEADER": HEADER_SIZE,
    "RECORD": RECORD_SIZE,
    "STANDINGS": STANDINGS_SIZE,
    "RIGHT": SHARE_RIGHT,
    "WRONG": SHARE_WRONG,
    "NEITHER": SHARE_NEITHER,
    "LOGIN": SHARE_LOGIN,
    "IS_FIRST": SHARED_FIRST,
    "IS_AGAIN": SHARED_AGAIN,
    "IS_REPLAYED": SHARED_REPLAYED,
    "IS_EXPIRED": SHARED_EXPIRED,
    "IS_PENALIZED": SHARED_PENALIZED,
    "IS_WRONG": SHARED_WRONG,
    "IS_NOTHING": SHARED_NOTHING,
}


@cython.final
cdef class Sharing:
    """How questions are told to shared state; thread-safe.

    Args:
        key: the first nonce key, bytes.
        lifetime: seconds for which a nonce may be used, with the difference of clocks.
        limit: how often a nonce may be used; 0 for no limit.

    Attributes:
        is_reachable: bool, whether the state answers. While it does not, what is remembered here decides alone;
            False at first.
    """

    def __init__(self, key, double lifetime, uint32_t limit=0):
        self.use_key(key)
        self.lifetime = <uint32_t>lifetime + 1
        self.limit = limit

    def use_key(self, key not None):
        """Replaces the first nonce key. From then on users and sources have other hashes."""
        cdef bytes made = hmac.new(key, b"auth-diameter: users and sources in shared state", hashlib.sha256).digest()
        ad_lock_take(&self.lock)
        memcpy(self.secret, <const uint8_t *>made, sizeof(self.secret))
        ad_lock_give(&self.lock)

    @property
    def is_reachable(self):
        """Whether the state answers, bool."""
        return ad_look(&self.reachable) != 0

    @is_reachable.setter
    def is_reachable(self, bint value):
        ad_show(&self.reachable, value)

    def header(self, double now):
        """The header of records that are told now, bytes.

        Args:
            now: seconds since 1970.
        """
        cdef uint8_t out[HEADER_SIZE]
        self.put_header(out, now)
        return out[:HEADER_SIZE]

    cdef void copy_secret(self, uint64_t *out) noexcept nogil:
        ad_lock_take(&self.lock)
        memcpy(out, self.secret, sizeof(self.secret))
        ad_lock_give(&self.lock)

    cdef void put_header(self, uint8_t *out, double now) noexcept nogil:
        memset(out, 0, HEADER_SIZE)
        out[0] = VERSION
        put_32(out + 4, <uint32_t>now)
        put_32(out + 8, self.lifetime)
        put_32(out + 12, self.limit)

    def __repr__(self):
        return f"<Sharing is_reachable={self.is_reachable}>"


cdef inline void put_32(uint8_t *out, uint32_t value) noexcept nogil:
    cdef int i
    for i in range(4):
        out[i] = <uint8_t>(value >> 8 * i)


cdef inline uint16_t read_16(const uint8_t *p) noexcept nogil:
    return <uint16_t>(p[0] | p[1] << 8)


cdef void put_record(uint8_t *out, int kind, uint64_t user, uint64_t source) noexcept nogil:
    """Writes a record without a use; a user or a source of 0 is not counted."""
    memset(out, 0, RECORD_SIZE)
    out[0] = <uint8_t>kind
    memcpy(out + 1, &user, sizeof(user))
    memcpy(out + 9, &source, sizeof(source))


cdef void put_use(uint8_t *out, Span nonce, uint32_t count, uint32_t serial, Span session,
                  Span response) noexcept nogil:
    """Adds the use of a nonce to a record.

    Args:
        out: the record.
        nonce: one of ours, NONCE_SIZE bytes, which was verified.
        count: the nonce count.
        serial: the same for a retransmission; 0: nothing is a retransmission of this.
        session: the same for a retransmission.
        response: of the credentials.
    """
    cdef ad_siphash s
    cdef uint64_t key[2]
    cdef uint64_t value[2]
    cdef int i
    if nonce.n != NONCE_SIZE:
        return
    key[0] = key[1] = 0
    for i in range(NONCE_SIZE - STAMP):
        key[i // 16] = key[i // 16] << 4 | <uint64_t>hex_value(nonce.p[STAMP + i]) & 15
    ad_siphash_begin(&s, key)
    ad_siphash_word(&s, OF_NONCE)
    ad_siphash_bytes(&s, nonce.p, STAMP)
    ad_siphash_end(&s, value)
    memcpy(out + 17, value, 16)
    put_32(out + 33, count)
    if serial:
        ad_siphash_begin(&s, key)
        ad_siphash_word(&s, <uint64_t>serial << 32 | OF_MARK)
        ad_siphash_word(&s, <uint64_t>session.n << 32 | response.n)
        ad_siphash_bytes(&s, session.p, session.n)
        ad_siphash_bytes(&s, response.p, response.n)
        value[0] = ad_siphash_end_64(&s) or 1
        memcpy(out + 37, value, 8)
    put_32(out + 45, <uint32_t>nonce_made_at(nonce))
    ad_wipe(key, sizeof(key))


cdef bint fits(int kind, int code) noexcept nogil:
    """Whether a record of this kind can get this code."""
    if code == SHARED_PENALIZED:
        return True
    if kind == SHARE_WRONG:
        return code == SHARED_WRONG
    if kind == SHARE_NEITHER:
        return code == SHARED_NOTHING
    return SHARED_FIRST <= code <= SHARED_EXPIRED


cdef bint is_reply(const uint8_t *records, size_t count, const uint8_t *reply, size_t size) noexcept nogil:
    """Whether a reply is one to these records; nothing of another one may be believed."""
    cdef size_t i, details = 0
    if size < count:
        return False
    for i in range(count):
        if not fits(records[i * RECORD_SIZE] & ~SHARE_LOGIN, reply[i]):
            return False
        details += reply[i] == SHARED_PENALIZED or reply[i] == SHARED_WRONG
    return size == count + details * STANDINGS_SIZE


cdef size_t read_reply(const uint8_t *reply, size_t count, size_t i, size_t details, Shared *out) noexcept nogil:
    """What a reply, which `is_reply`, says about a record.

    Args:
        reply: the reply.
        count: the number of records.
        i: the number of the record.
        details: how many of those before it have standings.
        out: filled.

    Returns:
        `details` for the next one.
    """
    cdef const uint8_t *p = reply + count + details * STANDINGS_SIZE
    memset(out, 0, sizeof(Shared))
    out.code = reply[i]
    if out.code != SHARED_PENALIZED and out.code != SHARED_WRONG:
        return details
    read_standing(p, &out.user)
    read_standing(p + STANDINGS_SIZE // 2, &out.source)
    return details + 1


cdef void read_standing(const uint8_t *p, Standing *out) noexcept nogil:
    out.wrong = read_16(p)
    out.delay = p[2]
    out.left = read_16(p + 3) / 1000.0
