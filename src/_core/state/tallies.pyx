"""Tallies of attempts: how wrong ones add up, who waits, and the table in which tallies lie.

The table has a fixed size and is never searched beyond one set. A new key takes a free place. If its set has
none, it replaces the tally used least recently among those with no attempt in flight or held; one of a user
who logged in within the hour goes last. If all have attempts, there is no place for the new key.
"""

from libc.math cimport INFINITY
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from auth_diameter._core.base.shared cimport ad_shared_order

# ---------------------------------------------------------------------------------- the table


cdef size_t table_size(uint64_t most) noexcept nogil:
    """The bytes of a table with room for so many tallies, a multiple of 64."""
    return (most // WAYS or 1) * WAYS * (sizeof(uint64_t) + sizeof(Tally))


cdef void table_place(Table *table, uint64_t most, uint8_t *memory) noexcept nogil:
    """Makes a table in memory of zeros, as much as `table_size` says."""
    table.sets = most // WAYS or 1
    table.keys = <uint64_t *>memory
    table.tallies = <Tally *>(table.keys + table.sets * WAYS)


cdef void recount(Table *table) noexcept nogil:
    """Counts the keys anew."""
    cdef uint64_t i
    table.count = 0
    for i in range(table.sets * WAYS):
        table.count += table.keys[i] != 0


cdef Tally *make(Table *table, uint64_t key, double now) noexcept nogil:
    """A new tally for a key that has none; NULL if all in its set have attempts."""
    cdef uint64_t at = first_of_set(table, key)
    cdef int way = choose_way(table, at, now)
    cdef Tally *tally
    cdef uint32_t holder
    if way < 0:
        return NULL
    tally = table.tallies + at + way
    if table.keys[at + way]:
        drop(table, tally)
    holder = tally.holder
    memset(tally, 0, sizeof(Tally))
    tally.holder = holder
    tally.login_at = -INFINITY
    clear(tally)
    table.clock += 1
    tally.used = table.clock
    ad_shared_order()       # a key never has the tally of another one
    table.keys[at + way] = key
    table.count += 1
    return tally


cdef int choose_way(const Table *table, uint64_t at, double now) noexcept nogil:
    """The place of a set that a new key takes, or -1."""
    cdef const Tally *tally
    cdef uint64_t rank, highest = 0
    cdef int i, way = -1
    for i in range(WAYS):
        if not table.keys[at + i]:
            return i
        tally = table.tallies + at + i
        if tally.attempts:
            continue
        rank = <uint32_t>(table.clock - tally.used)
        if not is_recent(tally, now):
            rank += <uint64_t>1 << 32
        if rank >= highest:
            highest = rank
            way = i
    return way


cdef void drop(Table *table, Tally *tally) noexcept nogil:
    """Forgets a tally."""
    table.keys[tally - table.tallies] = 0
    table.count -= 1
    tally.holder += 1       # a trial that was given up knows by it that this is not its tally any more
    ad_shared_order()


cdef Waiting *any_held(const Table *table) noexcept nogil:
    """Any attempt that is held for a tally of the table, or NULL; it looks at the whole table."""
    cdef uint64_t i
    for i in range(table.sets * WAYS):
        if table.keys[i] and table.tallies[i].held != NULL:
            return table.tallies[i].held
    return NULL


# ---------------------------------------------------------------------------------- the rules


cdef void add_wrong(Tally *tally, int tries, double now, double first) noexcept nogil:
    """Counts a wrong attempt, and begins a penalty if there are too many.

    An attempt that was in flight before a penalty and ends during it does not extend it.
    """
    tally.logins = 0
    if not tally.wrong:
        tally.forgotten_at = now + WINDOW
    tally.wrong += 1
    if tally.wrong >= tries and not is_penalized(tally, now):
        tally.delay = min(2 * tally.delay, <float>LONGEST) or <float>first
        tally.until = now + tally.delay
        tally.forgotten_at = tally.until + WINDOW


cdef void take_one_back(Tally *source, double now) noexcept nogil:
    """Counts one user less, because another one logged in."""
    if source.wrong:
        source.wrong -= 1
    if source.wrong < SOURCE_TRIES and not is_penalized(source, now):
        source.delay = 0


cdef void put_standing(Table *table, uint64_t key, const Standing *standing, double now) noexcept nogil:
    """Makes the tally of a key say what shared state knows."""
    cdef Tally *tally = find(table, key, now)
    if tally == NULL:
        if not standing.wrong:
            return
        tally = make(table, key, now)
        if tally == NULL:
            return
    tally.wrong = standing.wrong
    tally.delay = standing.delay
    tally.until = now + standing.left if standing.left > 0 else -INFINITY
    tally.forgotten_at = now + standing.left + WINDOW
    if standing.wrong:
        tally.logins = 0
    drop_idle(table, tally)


# ---------------------------------------------------------------------------------- rows


cdef void put_last(Waiting **row, Waiting *one) noexcept nogil:
    """Puts an attempt that is in no row behind all of one."""
    cdef Waiting *first = row[0]
    if first == NULL:
        one.next = one.before = one
        row[0] = one
    else:
        one.next = first
        one.before = first.before
        first.before.next = one
        first.before = one
    one.row = row


cdef void put_first(Waiting **row, Waiting *one) noexcept nogil:
    """Puts an attempt that is in no row before all of one."""
    put_last(row, one)      # of a circle the last is before the first
    row[0] = one


cdef void take_out(Waiting *one) noexcept nogil:
    """Takes an attempt out of its row."""
    if one.next == one:
        one.row[0] = NULL
    else:
        one.before.next = one.next
        one.next.before = one.before
        if one.row[0] == one:
            one.row[0] = one.next
    one.next = one.before = NULL
    one.row = NULL
