"""Penalties for guessing passwords: which credentials are verified, which wait, which are refused unseen.

An attempt is a request to verify credentials. It counts while it is in flight, and later if it was wrong::

    begin ─┬─► admitted ──► right, wrong or neither     the verdict; neither: the client learns nothing
           ├─► held ──────► admitted or refused         when the attempts in flight before it have ended
           └─► refused

    limit                                                           refused
    5 wrong in a row, of one user from one source                   that user from that source
    75 users with wrong ones within ten minutes, from one source    that source, except users who logged in
                                                                    from there within the hour

The first penalty lasts a second. Then one attempt at a time is verified, and each wrong one doubles the
penalty, up to a minute. A login ends the penalty of the user. So a guesser has five attempts and then 60 an
hour for an account from each address. The owner of the account can log in from everywhere else, and so can
users who share the guesser's address, for example behind a NAT, if they have logged in before.

No more attempts are in flight than may be wrong: others wait for the verdicts. Each login since the last
wrong attempt allows one more in flight, up to a hundred, so that a trunk with many calls does not wait. A
guesser who shares its address gains no more than that.

A user counts once for the source: sixty telephones with old passwords behind one address, which try again and
again, are sixty guesses and not thousands, because each tries an account of its own. A user who logs in from
there, and had not within the hour, takes one of them back.

Memory is bounded, and strangers may fill it, because the source of a datagram can be forged. Then the entries
used least recently are forgotten, those of users who logged in within the hour last. Entries with attempts in
flight stay, and where there is no other one, an attempt is verified uncounted. All of that favours the guesser
and locks nobody out.

Attempts are counted without Python objects and without the GIL (penalties.pxd). An Attempt is an object with a
Trial in it, which can wait in a row.

Processes that are forked may share the tables, so that a guesser has no five attempts at each of them. Then no
Attempt is held, since a row is of objects of one process: `begin` waits itself, as long as a verdict may take. A
process may be killed with a trial in flight. That leaves a place taken for ever: `begin_trial_at_last` gives it
up.
"""

import os

cimport cython
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.math cimport INFINITY, floor
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport calloc, free

from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take, ad_look, ad_show
from auth_diameter._core.base.shared cimport (
    ad_shared_lines, ad_shared_lock_give, ad_shared_lock_init, ad_shared_lock_repaired, ad_shared_lock_take,
    ad_shared_map, ad_shared_unmap, ad_shared_wait_for,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport MAX_PARAMETER
from auth_diameter._core.state.keys cimport UNKNOWN, Network, account_of, network_of_text, source_key, user_key
from auth_diameter._core.state.tallies cimport (
    MOST_LOGINS, SOURCE_TRIES, USER_TRIES, Standing, Tally, Trial, Waiting, add_wrong, any_held, clear, count_down,
    drop_idle, find, find_blocked, give_up_attempts, is_penalized, is_recent, is_refused, make, put_first,
    put_last, put_standing, recount, table_place, table_size, take_one_back, take_out,
)

from auth_diameter._core.errors import ConfigError

cdef enum:
    MOST = 1 << 24          # tallies of a table, a GB


@cython.final
@cython.freelist(1024)
cdef class Attempt:
    """A request to verify credentials; made by `Penalties.begin`, ended by it once.

    Attributes:
        was_held: bool, whether it had to wait when it was begun.
    """

    def __init__(self):
        raise TypeError("an Attempt comes from Penalties.begin(…)")

    @property
    def is_held(self):
        """Whether it waits for the verdicts on attempts before it, bool."""
        return ad_look(&self.place.trial.state) == HELD

    @property
    def is_refused(self):
        """Whether it is refused unseen, bool."""
        return ad_look(&self.place.trial.state) == REFUSED


@cython.final
cdef class Penalties:
    """The attempts and penalties of one client, or of one DISC; thread-safe.

    A user is a name, with or without its domain, and a realm. A source is an IPv4 address or an IPv6 /64, which
    may belong to one host. `now` is seconds; if their clock steps, a penalty may end early, and lasts a minute
    at most.

    Each admitted attempt must be ended by `right`, `wrong` or `neither`, of the Penalties that began it.
    Afterwards the caller takes those that were `take_released`.

    Args:
        first: seconds of the first penalty.
        most_sources: sources to remember, 1.3 MB for the default.
        most_users: users at their sources to remember, 16 MB for the default. Memory that was never needed is
            not taken from the system.
        shared: whether processes that are forked later have them in common. Then no attempt is held.

    Attributes:
        patience: float, seconds for which `begin` of shared tables waits for verdicts, up to 3600. After that,
            attempts in flight count as those of processes that were killed.

    Raises:
        ConfigError: a number is out of range.
        MemoryError: there is no memory for as many.
    """

    def __cinit__(self, double first=1.0, Py_ssize_t most_sources=20_000, Py_ssize_t most_users=250_000, *,
                  bint shared=False):
        cdef uint8_t *memory
        for name, most in (("most_sources", most_sources), ("most_users", most_users)):
            if not 1 <= most <= MOST:
                raise ConfigError(f"{name} {most}: expected 1 to {MOST}")
        self.first = first
        self.secret[0] = int.from_bytes(os.urandom(8), "little")
        self.secret[1] = int.from_bytes(os.urandom(8), "little")
        self.shared = shared
        self.patience = 0.1
        self.size = ad_shared_lines(sizeof(Tables)) + table_size(most_sources) + table_size(most_users)
        self.tables = <Tables *>(ad_shared_map(self.size) if shared else calloc(1, self.size))
        if self.tables == NULL or (shared and not ad_shared_lock_init(&self.tables.lock)):
            raise MemoryError()
        memory = <uint8_t *>self.tables + ad_shared_lines(sizeof(Tables))
        table_place(&self.tables.sources, most_sources, memory)
        table_place(&self.tables.users, most_users, memory + table_size(most_sources))

    def __dealloc__(self):
        cdef Waiting *one
        while self.waiting:
            one = self.released or any_held(&self.tables.users) or any_held(&self.tables.sources)
            self.waiting -= 1
            take_out(one)
            one.trial.state = ENDED
            Py_DECREF(<Attempt>one.attempt)
        if self.shared:
            ad_shared_unmap(self.tables, self.size)
        else:
            free(self.tables)

    def __len__(self):
        """The number of users and sources that are remembered."""
        cdef uint64_t count
        self.take_lock()
        count = self.tables.users.count + self.tables.sources.count
        self.give_lock()
        return count

    # ------------------------------------------------------------------ objects

    def begin(self, Credentials credentials not None, str realm not None, tuple address, double now, item):
        """Begins the attempt to verify credentials.

        Args:
            credentials: Credentials.
            realm: str.
            address: the source of the SipRequest, (host, port, …), or None.
            now: seconds.
            item: an object for `take_released`, if the attempt is held.

        Returns:
            Attempt, or None without an address.
        """
        cdef uint8_t room[MAX_PARAMETER]
        cdef Span domain, host
        if address is None:
            return None
        if not len(address):
            raise ValueError("address: expected (host, port)")
        _domain_kept = borrow(realm, &domain, "realm")
        _host_kept = borrow(address[0], &host, "address")
        return self.begin_as(account_of(&credentials.fields, room), domain, self.network_of(host), now, item)

    def begin_for(self, str account not None, str realm not None, str source not None, double now, item):
        """Begins the attempt for an account, however the credentials spell its name.

        Args:
            account: the user's name, str.
            realm: str.
            source: an address, str; "" if it is not known, and the account alone counts.
            now: seconds.
            item: an object for `take_released`, if the attempt is held.

        Returns:
            Attempt.
        """
        cdef Span name, domain, host
        _name_kept = borrow(account, &name, "account")
        _domain_kept = borrow(realm, &domain, "realm")
        _host_kept = borrow(source, &host, "source")
        return self.begin_as(name, domain, self.network_of(host), now, item)

    def right(self, Attempt attempt not None, double now):
        """Ends an attempt that was a login."""
        if attempt.owner == self.secret[0]:
            self.right_trial(&attempt.place.trial, now)

    def wrong(self, Attempt attempt not None, double now):
        """Ends an attempt that was wrong."""
        if attempt.owner == self.secret[0]:
            self.wrong_trial(&attempt.place.trial, now)

    def neither(self, Attempt attempt not None, double now):
        """Ends an attempt that told nothing about the password, or was correct but no login.

        A held attempt is given up.
        """
        cdef bint held
        if attempt.owner != self.secret[0]:
            return
        self.take_lock()
        held = attempt.place.trial.state == HELD
        if held:
            take_out(&attempt.place)
            self.waiting -= 1
            ad_show(&attempt.place.trial.state, ENDED)
            self.forget(&attempt.place.trial)
        self.give_lock()
        if held:
            attempt.item = None         # it may be large
            Py_DECREF(attempt)
        else:
            self.neither_trial(&attempt.place.trial, now)

    @property
    def has_released(self):
        """Whether `take_released` would return anything, bool."""
        return self.any_released()

    def take_released(self):
        """Takes the attempts that are no longer held, but admitted or refused.

        Returns:
            List of (Attempt, item), in the order in which they were released; each is returned once.
        """
        cdef list found = []
        cdef Waiting *one
        cdef Attempt attempt
        while True:
            self.take_lock()
            one = self.released
            if one != NULL:
                take_out(one)
                self.waiting -= 1
            self.give_lock()
            if one == NULL:
                return found
            attempt = <Attempt>one.attempt
            Py_DECREF(attempt)      # that of the row
            item, attempt.item = attempt.item, None
            found.append((attempt, item))

    cdef Attempt begin_as(self, Span account, Span realm, Network network, double now, object item):
        cdef Trial trial
        cdef Attempt attempt
        cdef int state
        if self.shared:
            with nogil:
                self.begin_among_all(account, realm, network, now, &trial)
            return self.attempt_of(&trial)
        if self.begin_trial(account, realm, network, now, &trial) != MUST_WAIT:
            return self.attempt_of(&trial)
        attempt = self.attempt_of(&trial)
        attempt.item = item
        attempt.place.attempt = <void *>attempt
        Py_INCREF(attempt)          # for the row
        self.take_lock()
        state = self.start(user_key(self.secret, account, realm, network), network, now,
                           &attempt.place.trial, &attempt.place)
        self.give_lock()
        if state == HELD:
            attempt.was_held = True
        else:                       # one before it has ended meanwhile
            attempt.item = None
            Py_DECREF(attempt)
        return attempt

    cdef void begin_among_all(self, Span account, Span realm, Network network, double now,
                              Trial *out) noexcept nogil:
        """Begins an attempt of shared tables, after the verdicts of other processes if it must wait for them."""
        cdef int rounds = 0
        while self.begin_trial(account, realm, network, now, out) == MUST_WAIT:
            if not ad_shared_wait_for(&rounds, <int>(1000 * self.patience)):
                self.begin_trial_at_last(account, realm, network, now, out)
                return

    cdef Attempt attempt_of(self, Trial *trial):
        cdef Attempt attempt = Attempt.__new__(Attempt)
        attempt.owner = self.secret[0]
        attempt.place.trial = trial[0]
        trial.state = ENDED
        return attempt

    # ------------------------------------------------------------------ trials

    cdef Network network_of(self, Span address) noexcept nogil:
        return network_of_text(self.secret, address)

    cdef int begin_trial(self, Span account, Span realm, Network source, double now, Trial *out) noexcept nogil:
        cdef uint64_t key = user_key(self.secret, account, realm, source)
        cdef int state
        self.take_lock()
        state = self.start(key, source, now, out, NULL)
        self.give_lock()
        return state

    cdef int begin_trial_at_last(self, Span account, Span realm, Network source, double now,
                                 Trial *out) noexcept nogil:
        cdef uint64_t key = user_key(self.secret, account, realm, source)
        cdef int state
        self.take_lock()
        state = self.start(key, source, now, out, NULL)
        for _i in range(2):     # the user and the source may have no room
            if state == MUST_WAIT:
                give_up_attempts(find_blocked(out, NULL))
                state = self.start(key, source, now, out, NULL)
        self.give_lock()
        return state

    cdef void right_trial(self, Trial *trial, double now) noexcept nogil:
        self.take_lock()
        if self.is_counted(trial):
            self.log_in(trial.user, trial.source, now)
            self.end(trial, now)
        self.give_lock()

    cdef void wrong_trial(self, Trial *trial, double now) noexcept nogil:
        self.take_lock()
        if self.is_counted(trial):
            if trial.source != NULL and not trial.user.wrong:
                add_wrong(trial.source, SOURCE_TRIES, now, self.first)
            add_wrong(trial.user, USER_TRIES, now, self.first)
            self.end(trial, now)
        self.give_lock()

    cdef void neither_trial(self, Trial *trial, double now) noexcept nogil:
        self.take_lock()
        if self.is_counted(trial):
            self.end(trial, now)
        self.give_lock()

    # ------------------------------------------------------------------ with shared state

    cdef int begin_shared_trial(self, Span account, Span realm, Network source, double now,
                                Trial *out) noexcept nogil:
        cdef uint64_t key = user_key(self.secret, account, realm, source)
        cdef int state
        self.take_lock()
        state = self.start(key, source, now, out, NULL)
        if state == REFUSED and (out.user == NULL or not is_penalized(out.user, now)):
            out.state = state = UNCOUNTED
        self.give_lock()
        return state

    cdef void note_login(self, Span account, Span realm, Network source, double now) noexcept nogil:
        cdef uint64_t key = user_key(self.secret, account, realm, source)
        cdef Tally *user
        cdef Tally *where = NULL
        self.take_lock()
        user = find(&self.tables.users, key, now)
        if user == NULL:
            user = make(&self.tables.users, key, now)
        if user != NULL:
            if source.kind != UNKNOWN:
                where = find(&self.tables.sources, source_key(self.secret, source), now)
            self.log_in(user, where, now)
            if where != NULL:
                drop_idle(&self.tables.sources, where)
        self.give_lock()

    cdef bint is_first_login(self, Span account, Span realm, Network source, double period,
                             double now) noexcept nogil:
        cdef uint64_t key = user_key(self.secret, account, realm, source)
        cdef Tally *user
        cdef double login_at = -INFINITY
        self.take_lock()
        user = find(&self.tables.users, key, now)
        if user != NULL:
            login_at = user.login_at
        self.give_lock()
        return floor(login_at / period) != floor(now / period)

    cdef void note_standings(self, Span account, Span realm, Network source, const Standing *of_user,
                             const Standing *of_source, double now) noexcept nogil:
        cdef uint64_t key = user_key(self.secret, account, realm, source)
        self.take_lock()
        put_standing(&self.tables.users, key, of_user, now)
        if source.kind != UNKNOWN:
            put_standing(&self.tables.sources, source_key(self.secret, source), of_source, now)
        self.give_lock()

    cdef bint any_released(self) noexcept nogil:
        cdef bint found
        self.take_lock()
        found = self.released != NULL
        self.give_lock()
        return found

    # ------------------------------------------------------------------ the lock

    cdef inline void take_lock(self) noexcept nogil:
        if not self.shared:
            ad_lock_take(&self.lock)
        elif ad_shared_lock_take(&self.tables.lock):
            # Guesses are not forgotten: whoever can make a process crash must gain nothing by it.
            recount(&self.tables.users)
            recount(&self.tables.sources)
            ad_shared_lock_repaired(&self.tables.lock)

    cdef inline void give_lock(self) noexcept nogil:
        if self.shared:
            ad_shared_lock_give(&self.tables.lock)
        else:
            ad_lock_give(&self.lock)

    # ------------------------------------------------------------------ under the lock

    cdef int start(self, uint64_t key, Network network, double now, Trial *trial, Waiting *place) noexcept nogil:
        """Begins an attempt: admits it, refuses it, or holds it.

        Args:
            key: of the user.
            network: of the source.
            now: seconds.
            trial: filled.
            place: where the trial waits in a row; NULL: it is not held, and not begun if it would have to be.

        Returns:
            The state, or MUST_WAIT.
        """
        cdef Tally *user = find(&self.tables.users, key, now)
        cdef Tally *source = NULL
        cdef Tally *blocked
        cdef uint64_t where = 0
        cdef bint alone = network.kind == UNKNOWN or (user != NULL and is_recent(user, now))
        if not alone:
            where = source_key(self.secret, network)
            source = find(&self.tables.sources, where, now)
        trial.user = user
        trial.source = source
        if is_refused(trial, now):
            trial.state = REFUSED
            return REFUSED
        blocked = find_blocked(trial, NULL)
        if blocked != NULL and place == NULL:
            trial.state = ENDED
            return MUST_WAIT
        # Up to here nobody lost an entry to this attempt.
        if user == NULL:
            trial.user = make(&self.tables.users, key, now)
            if trial.user == NULL:
                trial.state = UNCOUNTED
                return UNCOUNTED
        if source == NULL and not alone:
            trial.source = make(&self.tables.sources, where, now)
        trial.user.attempts += 1
        trial.user_holder = trial.user.holder
        if trial.source != NULL:
            trial.source.attempts += 1
            trial.source_holder = trial.source.holder
        if blocked == NULL:
            admit(trial)
            return ADMITTED
        trial.state = HELD
        put_last(&blocked.held, place)
        self.waiting += 1
        return HELD

    cdef void log_in(self, Tally *user, Tally *source, double now) noexcept nogil:
        """Counts a login; `source` is NULL if the source is not counted."""
        if source != NULL and not is_recent(user, now):
            take_one_back(source, now)
        clear(user)
        user.login_at = now
        if user.logins < MOST_LOGINS:
            user.logins += 1

    cdef bint is_counted(self, Trial *trial) noexcept nogil:
        """Whether an attempt is in flight. One that was given up loses the tallies that others have now."""
        if trial.state != ADMITTED:
            return False
        if trial.source != NULL and trial.source.holder != trial.source_holder:
            trial.source = NULL
        if trial.user.holder == trial.user_holder:
            return True
        trial.state = ENDED
        if trial.source != NULL:
            count_down(trial.source)
            self.forget_source(trial)
        return False

    cdef void end(self, Trial *trial, double now) noexcept nogil:
        """Ends an attempt in flight and releases those that waited for it."""
        ad_show(&trial.state, ENDED)
        count_down(trial.user)
        if trial.source != NULL:
            count_down(trial.source)
        if trial.user.held != NULL:
            self.release(trial.user, now)
        if trial.source != NULL and trial.source.held != NULL:
            self.release(trial.source, now)
        self.forget(trial)

    cdef void release(self, Tally *waited, double now) noexcept nogil:
        """Releases the attempts held for a tally, in order, while there is room."""
        cdef Waiting *one
        cdef Tally *blocked
        while waited.held != NULL:
            one = waited.held
            take_out(one)
            if one.trial.source != NULL and is_recent(one.trial.user, now):
                self.forget_source(&one.trial)      # the user logged in meanwhile
            if is_refused(&one.trial, now):
                ad_show(&one.trial.state, REFUSED)
                self.forget(&one.trial)
                put_last(&self.released, one)
                continue
            blocked = find_blocked(&one.trial, waited)
            if blocked == waited:
                put_first(&waited.held, one)
                return
            if blocked == NULL:
                admit(&one.trial)
                put_last(&self.released, one)
            else:
                put_last(&blocked.held, one)

    cdef void forget(self, Trial *trial) noexcept nogil:
        """Removes an attempt from its tallies, and drops tallies that hold nothing any more."""
        trial.user.attempts -= trial.user.attempts > 0      # none are left if they were given up
        drop_idle(&self.tables.users, trial.user)
        trial.user = NULL
        if trial.source != NULL:
            self.forget_source(trial)

    cdef void forget_source(self, Trial *trial) noexcept nogil:
        """Removes an attempt from the tally of its source."""
        trial.source.attempts -= trial.source.attempts > 0
        drop_idle(&self.tables.sources, trial.source)
        trial.source = NULL


cdef inline void admit(Trial *trial) noexcept nogil:
    ad_show(&trial.state, ADMITTED)
    trial.user.in_flight += 1
    if trial.source != NULL:
        trial.source.in_flight += 1
