"""Records for shared state, for compiled code; sharing.pyx has their layout."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.keys cimport Network
from auth_diameter._core.state.tallies cimport Standing

cdef enum:
    # What a record asks for
    SHARE_RIGHT = 1     # a right digest, to be let in
    SHARE_WRONG         # a guess
    SHARE_NEITHER       # a right digest that is refused: only whether there is a penalty
    SHARE_LOGIN = 0x80  # added to SHARE_RIGHT: a login that the others should know of

cdef enum:
    # What the state says about a record
    SHARED_FIRST = 1
    SHARED_AGAIN
    SHARED_REPLAYED
    SHARED_EXPIRED
    SHARED_PENALIZED
    SHARED_WRONG
    SHARED_NOTHING

cdef enum:
    # Bytes; of all but the header, for each
    HEADER_SIZE = 24
    RUN_SIZE = 6
    FIELD_SIZE = 20     # nonce and count
    USE_SIZE = 32
    MADE_SIZE = 4
    USER_SIZE = 8
    LOGIN_SIZE = 9
    TALLY_SIZE = 22
    STANDINGS_SIZE = 10

cdef enum:
    FLAG_COUNTED = 1    # there are tallies
    FLAG_PLAIN = 2      # each record has a use


cdef struct Columns:
    # How many of everything there are, and where the next one is put
    uint32_t records, uses, logins, runs
    bint counted            # whether guesses of any of the records are counted
    uint8_t *run
    uint8_t *kind
    uint8_t *use
    uint8_t *made
    uint8_t *login
    uint8_t *tally


cdef struct Shared:
    # What the state says about a question
    int code
    Standing user
    Standing source


cdef class Sharing:
    cdef ad_lock lock
    cdef uint64_t secret[2]     # of users and sources; the same wherever the first nonce key is the same
    cdef uint32_t lifetime
    cdef uint32_t limit
    cdef int reachable          # whether the state answers; else the local memory decides

    cdef void copy_secret(self, uint64_t *out) noexcept nogil
    cdef void put_header(self, uint8_t *out, const Columns *columns, double now) noexcept nogil


cdef size_t columns_size(const Columns *columns) noexcept nogil
cdef uint32_t slot_of(Span nonce) noexcept nogil
cdef void begin_columns(Columns *columns, uint8_t *out) noexcept nogil
cdef void put_run(Columns *columns, uint32_t slot, uint32_t uses) noexcept nogil
cdef void put_record(Columns *columns, int kind, uint64_t user, uint64_t source) noexcept nogil
cdef void put_use(Columns *columns, Span nonce, uint32_t count, uint32_t serial, Span session, Span response,
                  double now) noexcept nogil
cdef size_t read_reply(const uint8_t *reply, size_t count, size_t i, size_t details, Shared *out) noexcept nogil


cdef inline bint has_standings(int code) noexcept nogil:
    return code == SHARED_PENALIZED or code == SHARED_WRONG


cdef inline bint fits(int kind, int code) noexcept nogil:
    """Whether a record of this kind, without SHARE_LOGIN, can get this code."""
    if code == SHARED_PENALIZED:
        return True
    if kind == SHARE_WRONG:
        return code == SHARED_WRONG
    if kind == SHARE_NEITHER:
        return code == SHARED_NOTHING
    return SHARED_FIRST <= code <= SHARED_EXPIRED
