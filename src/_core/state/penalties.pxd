"""Penalties for compiled code: attempts without Python objects and without the GIL."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.shared cimport ad_shared_lock
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.keys cimport Network
from auth_diameter._core.state.tallies cimport Standing, Table, Tally, Trial, Waiting

cdef enum:
    # The state of an attempt
    ENDED           # or not begun
    ADMITTED        # its credentials are verified, and the verdict ends it
    HELD            # it waits for the verdicts on those before it; only an Attempt does
    REFUSED         # it needs no end
    UNCOUNTED       # verified, and needs no end: there was no room to count it
    # Of `begin_trial` only: nothing was begun, and `begin` or `begin_for` would hold it.
    MUST_WAIT


cdef class Attempt:
    cdef Waiting place      # with the Trial
    cdef uint64_t owner     # a random number of the Penalties that began it
    cdef object item        # while held, the object that `take_released` gives back
    cdef readonly bint was_held     # whether it waited, or does


cdef struct Tables:
    # In one memory, with the keys and tallies behind it
    ad_shared_lock lock     # if they are shared
    Table users             # a user at a source
    Table sources


cdef class Penalties:
    # Each function without the GIL takes the lock itself, so that any thread may call it at any time; if the
    # tables are shared, so may any process that was forked since. The tables neither move nor grow: a Trial is
    # valid in its process until the Penalties are gone.
    cdef ad_lock lock       # if the tables are not shared
    cdef bint shared
    cdef public double patience     # seconds for which `begin_among_all` waits
    cdef Tables *tables     # NULL until there is memory
    cdef size_t size        # bytes of the memory
    cdef Waiting *released  # the row of those that are no longer held
    cdef uint64_t waiting   # in any row
    # Set before a fork, and never changed: all processes count with the same keys.
    cdef double first       # seconds of the first penalty
    cdef uint64_t secret[2]

    # Begins the attempt for an account (`account_of` credentials) in a realm, from a source (`network_of…`).
    # Returns ADMITTED, REFUSED, UNCOUNTED or MUST_WAIT; `out` is filled in any case. One that is ADMITTED must be
    # ended by one of the three functions below. To end one again, or one that was not admitted, does nothing.
    cdef int begin_trial(self, Span account, Span realm, Network source, double now, Trial *out) noexcept nogil
    # The same for shared tables, after a long wait, and never MUST_WAIT: the attempts in flight are given up
    # instead, as those of a process that was killed. It does no harm if one of them ends later.
    cdef int begin_trial_at_last(self, Span account, Span realm, Network source, double now,
                                 Trial *out) noexcept nogil
    cdef void right_trial(self, Trial *trial, double now) noexcept nogil
    cdef void wrong_trial(self, Trial *trial, double now) noexcept nogil
    cdef void neither_trial(self, Trial *trial, double now) noexcept nogil
    # With shared state, which decides on the penalty of a source: there others know which users logged in. The
    # same as `begin_trial`, but an attempt that only the source's penalty refuses is UNCOUNTED.
    cdef int begin_shared_trial(self, Span account, Span realm, Network source, double now,
                                Trial *out) noexcept nogil
    # Notes a login that shared state has let in, whose attempt has ended.
    cdef void note_login(self, Span account, Span realm, Network source, double now) noexcept nogil
    # Whether a login would be the user's first from there in this period; time is cut into periods of so many
    # seconds.
    cdef bint is_first_login(self, Span account, Span realm, Network source, double period,
                             double now) noexcept nogil
    # Notes what shared state knows about a user and a source.
    cdef void note_standings(self, Span account, Span realm, Network source, const Standing *of_user,
                             const Standing *of_source, double now) noexcept nogil
    # The network that the text of an address is counted under; "" is an unknown one.
    cdef Network network_of(self, Span address) noexcept nogil
    # Whether held attempts were released; `take_released` returns them.
    cdef bint any_released(self) noexcept nogil
    # `begin_trial` of shared tables that waits where that would return MUST_WAIT
    cdef void begin_among_all(self, Span account, Span realm, Network network, double now,
                              Trial *out) noexcept nogil
    # An Attempt that goes on with the trial, which is ended here without an end.
    cdef Attempt attempt_of(self, Trial *trial)

    cdef void take_lock(self) noexcept nogil
    cdef void give_lock(self) noexcept nogil

    # For a caller that has the lock
    cdef int start(self, uint64_t key, Network network, double now, Trial *trial, Waiting *place) noexcept nogil
    cdef void log_in(self, Tally *user, Tally *source, double now) noexcept nogil
    cdef bint is_counted(self, Trial *trial) noexcept nogil
    cdef void end(self, Trial *trial, double now) noexcept nogil
    cdef void release(self, Tally *waited, double now) noexcept nogil
    cdef void forget(self, Trial *trial) noexcept nogil
    cdef void forget_source(self, Trial *trial) noexcept nogil
    cdef Attempt begin_as(self, Span account, Span realm, Network network, double now, object item)
