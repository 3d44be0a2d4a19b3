"""Records for the state that several back ends share, and what it says about them.

They tell no name, no address, no nonce and no response: all of these are keyed hashes. Integers are
little-endian. The records of the questions that were judged together are one piece, in columns, so that a script
can take a column apart at once::

    header   version (1 byte)  flags (1: FLAG_…)  records (2)  uses (2)  logins (2)  runs (2)  zeros (2)
             now (4: seconds since 1970)  lifetime (4: seconds for which a nonce may be used)
             limit (4: uses of a nonce; 0: none)
    runs     slot (4: its nonces were made in these eight seconds, since 1970)  uses (2); for each run of uses
    kinds    (1: SHARE_…), for each record; those with a use come first, in the order of the runs
    uses     nonce (16)  count (4)  mark (8)  now (4), for each use
    made     (4: when the nonce was made, seconds since 1970), for each use
    logins   user at a source (8)  "1", for each record with SHARE_LOGIN
    tallies  "adu"  user at a source (8)  "ads"  source (8), for each record, with FLAG_COUNTED

A user or a source of zeros is not counted.

The hashes of users and sources are keyed with a secret made of the first nonce key. The hashes of a nonce are
keyed with its own mac, which only those know who have the key of the nonce, or the nonce: so they are the same at
all back ends that accept it, also while their keys are being changed.

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
    SLOT = 8                # seconds

# What the first nonce key is hashed with
cdef bytes LABEL = b"auth-diameter: users and sources in shared state"

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
    "RUN": RUN_SIZE,
    "USE": USE_SIZE,
    "NONCE": 16,
    "FIELD": FIELD_SIZE,
    "MARK": USE_SIZE - FIELD_SIZE,
    "MADE": MADE_SIZE,
    "LOGGED_IN": LOGIN_SIZE,
    "USER": USER_SIZE,
    "TALLY": TALLY_SIZE,
    "SLOT": SLOT,
    "COUNTED": FLAG_COUNTED,
    "PLAIN": FLAG_PLAIN,
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
        cdef bytes made = hmac.new(key, LABEL, hashlib.sha256).digest()
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
        """What is told without any record, bytes.

        Args:
            now: seconds since 1970.
        """
        cdef uint8_t out[HEADER_SIZE]
        cdef Columns columns
        memset(&columns, 0, sizeof(columns))
        self.put_header(out, &columns, now)
        return out[:HEADER_SIZE]

    cdef void copy_secret(self, uint64_t *out) noexcept nogil:
        ad_lock_take(&self.lock)
        memcpy(out, self.secret, sizeof(self.secret))
        ad_lock_give(&self.lock)

    cdef void put_header(self, uint8_t *out, const Columns *columns, double now) noexcept nogil:
        memset(out, 0, HEADER_SIZE)
        out[0] = VERSION
        out[1] = <uint8_t>((FLAG_COUNTED if columns.counted else 0)
                           | (FLAG_PLAIN if columns.uses == columns.records else 0))
        put_16(out + 2, columns.records)
        put_16(out + 4, columns.uses)
        put_16(out + 6, columns.logins)
        put_16(out + 8, columns.runs)
        put_32(out + 12, <uint32_t>now)
        put_32(out + 16, self.lifetime)
        put_32(out + 20, self.limit)

    def __repr__(self):
        return f"<Sharing is_reachable={self.is_reachable}>"


cdef inline void put_32(uint8_t *out, uint32_t value) noexcept nogil:
    cdef int i
    for i in range(4):
        out[i] = <uint8_t>(value >> 8 * i)


cdef inline void put_16(uint8_t *out, uint32_t value) noexcept nogil:
    out[0] = <uint8_t>value
    out[1] = <uint8_t>(value >> 8)


cdef inline uint16_t read_16(const uint8_t *p) noexcept nogil:
    return <uint16_t>(p[0] | p[1] << 8)


cdef size_t columns_size(const Columns *columns) noexcept nogil:
    """The bytes of all columns, with the header."""
    return (HEADER_SIZE + columns.runs * RUN_SIZE + columns.records + columns.uses * (USE_SIZE + MADE_SIZE)
            + columns.logins * LOGIN_SIZE + (columns.records * TALLY_SIZE if columns.counted else 0))


cdef uint32_t slot_of(Span nonce) noexcept nogil:
    """The slot of the uses of a nonce of ours."""
    return <uint32_t>nonce_made_at(nonce) // SLOT


cdef void begin_columns(Columns *columns, uint8_t *out) noexcept nogil:
    """Lays the columns out behind the header at `out`; how many of everything there are is known."""
    columns.run = out + HEADER_SIZE
    columns.kind = columns.run + columns.runs * RUN_SIZE
    columns.use = columns.kind + columns.records
    columns.made = columns.use + columns.uses * USE_SIZE
    columns.login = columns.made + columns.uses * MADE_SIZE
    columns.tally = columns.login + columns.logins * LOGIN_SIZE


cdef void put_run(Columns *columns, uint32_t slot, uint32_t uses) noexcept nogil:
    """Adds a run of uses, which are put next."""
    put_32(columns.run, slot)
    put_16(columns.run + 4, uses)
    columns.run += RUN_SIZE


cdef void put_record(Columns *columns, int kind, uint64_t user, uint64_t source) noexcept nogil:
    """Adds a record; its use, if it has one, is put next. A user or a source of 0 is not counted."""
    columns.kind[0] = <uint8_t>kind
    columns.kind += 1
    if kind & SHARE_LOGIN:
        memcpy(columns.login, &user, USER_SIZE)
        columns.login[USER_SIZE] = c'1'
        columns.login += LOGIN_SIZE
    if columns.counted:
        memcpy(columns.tally, b"adu", 3)
        memcpy(columns.tally + 3, &user, sizeof(user))
        memcpy(columns.tally + 11, b"ads", 3)
        memcpy(columns.tally + 14, &source, sizeof(source))
        columns.tally += TALLY_SIZE


cdef void put_use(Columns *columns, Span nonce, uint32_t count, uint32_t serial, Span session, Span response,
                  double now) noexcept nogil:
    """Adds the use of a nonce.

    Args:
        columns: the columns.
        nonce: one of ours, NONCE_SIZE bytes, which was verified.
        count: the nonce count.
        serial: the same for a retransmission; 0: nothing is a retransmission of this.
        session: the same for a retransmission.
        response: of the credentials.
        now: seconds since 1970.
    """
    cdef ad_siphash s
    cdef uint64_t key[2]
    cdef uint64_t value[2]
    cdef uint8_t *out = columns.use
    cdef int i
    key[0] = key[1] = 0
    for i in range(NONCE_SIZE - STAMP):
        key[i // 16] = key[i // 16] << 4 | <uint64_t>hex_value(nonce.p[STAMP + i]) & 15
    ad_siphash_begin(&s, key)
    ad_siphash_word(&s, OF_NONCE)
    ad_siphash_bytes(&s, nonce.p, STAMP)
    ad_siphash_end(&s, value)
    memcpy(out, value, 16)
    put_32(out + 16, count)
    value[0] = 0
    if serial:
        ad_siphash_begin(&s, key)
        ad_siphash_word(&s, <uint64_t>serial << 32 | OF_MARK)
        ad_siphash_word(&s, <uint64_t>session.n << 32 | response.n)
        ad_siphash_bytes(&s, session.p, session.n)
        ad_siphash_bytes(&s, response.p, response.n)
        value[0] = ad_siphash_end_64(&s) or 1
    memcpy(out + 20, value, 8)
    put_32(out + 28, <uint32_t>now)
    put_32(columns.made, <uint32_t>nonce_made_at(nonce))
    columns.use += USE_SIZE
    columns.made += MADE_SIZE
    ad_wipe(key, sizeof(key))


cdef size_t read_reply(const uint8_t *reply, size_t count, size_t i, size_t details, Shared *out) noexcept nogil:
    """What a reply that fits says about a record.

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
    if not has_standings(out.code):
        return details
    read_standing(p, &out.user)
    read_standing(p + STANDINGS_SIZE // 2, &out.source)
    return details + 1


cdef void read_standing(const uint8_t *p, Standing *out) noexcept nogil:
    out.wrong = read_16(p)
    out.delay = p[2]
    out.left = read_16(p + 3) / 1000.0
