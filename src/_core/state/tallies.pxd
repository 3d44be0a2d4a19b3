"""Tallies of attempts and the table they lie in, for compiled code; penalties.pyx has the rules."""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    WAYS = 8                # tallies of a set; their keys fill a cache line

cdef enum:
    # In a row that may be wrong. A person who mistypes, or a telephone that retries, has fewer.
    USER_TRIES = 5
    # Users with wrong ones. An office behind one address may have sixty telephones with old passwords; a guesser
    # tries thousands of names.
    SOURCE_TRIES = 75
    WINDOW = 600            # seconds in which they count
    LONGEST = 60            # seconds, the longest wait of a user who has corrected the password
    RECENT = 3600           # seconds for which a login counts: telephones register once an hour
    MOST_LOGINS = 95        # logins that allow one more attempt in flight each: a hundred in all


cdef struct Tally:
    # The count of attempts of one user from one source, or of one source. Zeros where no key has it.
    double login_at         # the last one, seconds; -INFINITY: none
    double until            # the end of the penalty; -INFINITY: there was none
    double forgotten_at     # the end of the window of the wrong ones
    Waiting *held           # the row of those that wait for those in flight; NULL: none
    float delay             # seconds of the last penalty; 0: there was none
    uint32_t used           # the table's clock at the last search
    uint32_t attempts       # in flight or held; while there are any, the tally stays
    int wrong               # in a row; of a source: users with wrong ones
    uint16_t in_flight
    uint16_t logins         # since the last wrong one, up to MOST_LOGINS
    uint32_t holder         # a number of the key that has it: another one once it is dropped or replaced


cdef struct Trial:
    # An attempt without a Python object. The tallies stay where they are until it has ended, or was given up.
    Tally *user
    Tally *source           # NULL if the user logged in from there recently, or the source is not known
    uint32_t user_holder    # of the tallies when it began
    uint32_t source_holder
    int state               # see penalties.pxd


cdef struct Standing:
    # What shared state knows about a user at a source, or about a source
    int wrong               # in a row; of a source: users with wrong ones
    float delay             # seconds of the last penalty; 0: there was none
    double left             # seconds of it that are left


cdef struct Waiting:
    # An attempt's place in a row, which is a circle
    Waiting *next
    Waiting *before
    Waiting **row           # the first of the row; NULL while it is in none
    void *attempt           # the Attempt that this is a part of; the row owns a reference
    Trial trial


cdef struct Table:
    # Tallies by key, in sets. A hash selects the set, and nobody can choose it. Whatever change a killed process
    # leaves unfinished in shared memory: each key has a tally of its own, and only `count` may be wrong.
    uint64_t *keys          # apart from the tallies, so that those of a set fit into a cache line; 0: free
    Tally *tallies          # of the keys
    uint64_t sets
    uint64_t count          # of keys
    uint32_t clock          # searches that found something; it may wrap around


cdef size_t table_size(uint64_t most) noexcept nogil
cdef void table_place(Table *table, uint64_t most, uint8_t *memory) noexcept nogil
cdef void recount(Table *table) noexcept nogil
cdef Tally *make(Table *table, uint64_t key, double now) noexcept nogil
cdef void drop(Table *table, Tally *tally) noexcept nogil
cdef Waiting *any_held(const Table *table) noexcept nogil

cdef void add_wrong(Tally *tally, int tries, double now, double first) noexcept nogil
cdef void take_one_back(Tally *source, double now) noexcept nogil
cdef void put_standing(Table *table, uint64_t key, const Standing *standing, double now) noexcept nogil

cdef void put_last(Waiting **row, Waiting *one) noexcept nogil
cdef void put_first(Waiting **row, Waiting *one) noexcept nogil
cdef void take_out(Waiting *one) noexcept nogil


cdef inline bint is_recent(const Tally *user, double now) noexcept nogil:
    """Whether the user logged in from this source within the hour."""
    return now - user.login_at < RECENT


cdef inline bint is_penalized(const Tally *tally, double now) noexcept nogil:
    # After a step back of the clock the end is too far ahead and does not count.
    return now < tally.until <= now + LONGEST


cdef inline bint has_room(const Tally *tally, int tries) noexcept nogil:
    """Whether one more may be in flight. After a penalty it is one at a time."""
    cdef int left = 1 if tally.delay else tries - tally.wrong
    return tally.in_flight < (left if left > 1 else 1) + tally.logins


cdef inline void clear(Tally *tally) noexcept nogil:
    """Forgets the wrong attempts and the penalty."""
    tally.wrong = 0
    tally.delay = 0
    tally.until = -INFINITY


cdef inline uint64_t first_of_set(const Table *table, uint64_t key) noexcept nogil:
    return ((key >> 32) * table.sets >> 32) * WAYS


cdef inline Tally *find(Table *table, uint64_t key, double now) noexcept nogil:
    """The tally of a key, or NULL."""
    cdef uint64_t at = first_of_set(table, key)
    cdef Tally *found
    cdef int i
    for i in range(WAYS):
        if table.keys[at + i] == key:
            found = table.tallies + at + i
            table.clock += 1
            found.used = table.clock
            if found.wrong and now >= found.forgotten_at:
                clear(found)
            return found
    return NULL


cdef inline void give_up_attempts(Tally *tally) noexcept nogil:
    """Forgets the attempts in flight, where none is held."""
    tally.in_flight = 0
    tally.attempts = 0


cdef inline void drop_idle(Table *table, Tally *tally) noexcept nogil:
    """Forgets a tally that says nothing."""
    if not tally.wrong and not tally.attempts and tally.login_at == -INFINITY:
        drop(table, tally)


cdef inline bint is_refused(const Trial *trial, double now) noexcept nogil:
    """Whether there is a penalty for the user, or for the source."""
    return (trial.user != NULL and is_penalized(trial.user, now)) or (
        trial.source != NULL and is_penalized(trial.source, now))


cdef inline Tally *find_blocked(const Trial *trial, const Tally *waited) noexcept nogil:
    """The tally that has no room for an attempt, or whose held attempts it would overtake; NULL: it may go on.

    Args:
        trial: the attempt.
        waited: the tally of whose held attempts it is the first, or NULL.
    """
    cdef Tally *user = trial.user
    cdef Tally *source = trial.source
    if user != NULL and (not has_room(user, USER_TRIES) or (user.held != NULL and user != waited)):
        return user
    if source != NULL and (not has_room(source, SOURCE_TRIES) or (source.held != NULL and source != waited)):
        return source
    return NULL


cdef inline void count_down(Tally *tally) noexcept nogil:
    """Takes one attempt out of flight; there is none if all were given up."""
    tally.in_flight -= tally.in_flight > 0
