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
used least recently are forgotten, which favours the guesser and locks nobody out.
"""

import os
from collections import deque

cimport cython
from libc.stdint cimport uint64_t

from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.state.keys cimport name_in, network_of, user_key

cdef enum:
    ENDED, ADMITTED, HELD, REFUSED      # an attempt that was not begun is ended
    MOST_LOGINS = 95            # logins that allow one more attempt in flight each: a hundred in all

cdef double LONGEST = 60.0      # seconds, the longest wait of a user who has corrected the password
cdef double RECENT = 3600.0     # seconds for which a login counts: telephones register once an hour
cdef double NEVER = -1e300

cdef struct Rule:
    int tries                   # that may be wrong
    double window               # seconds in which they count

# A person who mistypes, or a telephone that retries, has fewer.
cdef Rule USER = Rule(5, 600.0)
# An office behind one address may have sixty telephones with old passwords; a guesser tries thousands of names.
cdef Rule SOURCE = Rule(75, 600.0)


@cython.final
@cython.freelist(1024)
cdef class _Tally:
    """The count of attempts of one user from one source, or of one source."""

    cdef Rule rule
    cdef int wrong              # in a row; of a source: users with wrong ones
    cdef int in_flight
    cdef int attempts           # in flight or held
    cdef int logins             # since the last wrong one, up to MOST_LOGINS
    cdef double login_at        # the last one, seconds
    cdef double delay           # of the last penalty; 0: there was none
    cdef double until           # the end of the penalty
    cdef double forgotten_at
    cdef object held            # deque of Attempts that wait for those in flight, or None

    cdef bint is_penalized(self, double now) noexcept:
        # After a step back of the clock the end is too far ahead and does not count.
        return now < self.until <= now + LONGEST

    cdef bint has_room(self) noexcept:
        """Whether one more may be in flight. After a penalty it is one at a time."""
        cdef int left = 1 if self.delay else self.rule.tries - self.wrong
        return self.in_flight < (left if left > 1 else 1) + self.logins

    cdef void add_wrong(self, double now, double first) noexcept:
        """An attempt that was in flight before a penalty and ends during it does not extend it."""
        self.logins = 0
        if not self.wrong:
            self.forgotten_at = now + self.rule.window
        self.wrong += 1
        if self.wrong >= self.rule.tries and not self.is_penalized(now):
            self.delay = min(2 * self.delay, LONGEST) or first
            self.until = now + self.delay
            self.forgotten_at = self.until + self.rule.window

    cdef void take_one_back(self, double now) noexcept:
        if self.wrong:
            self.wrong -= 1
        if self.wrong < self.rule.tries and not self.is_penalized(now):
            self.delay = 0

    cdef void clear(self) noexcept:
        self.wrong = 0
        self.delay = 0
        self.until = NEVER

    cdef bint is_idle(self) noexcept:
        return not self.wrong and not self.attempts


@cython.final
@cython.freelist(1024)
cdef class Attempt:
    """A request to verify credentials; made by `Penalties.begin`, ended by it once."""

    cdef _Tally user
    cdef _Tally source          # None if the user logged in from there recently, or the source is not known
    cdef object user_key, source_key
    cdef object item            # while held, the object that `released` gives back
    cdef int state

    def __init__(self):
        raise TypeError("an Attempt comes from Penalties.begin(…)")

    @property
    def is_held(self):
        """Whether it waits for the verdicts on attempts before it, bool."""
        return self.state == HELD

    @property
    def is_refused(self):
        """Whether it is refused unseen, bool."""
        return self.state == REFUSED


@cython.final
cdef class _Recent:
    """A dict that forgets the older half of its entries when it is full."""

    cdef dict young, old
    cdef Py_ssize_t half

    def __cinit__(self, Py_ssize_t most):
        self.young = {}
        self.old = {}
        self.half = most // 2

    cdef Py_ssize_t size(self):
        return len(self.young) + len(self.old)

    cdef object get(self, object key):
        found = self.young.get(key)
        return found if found is not None else self.old.get(key)

    cdef int put(self, object key, object value) except -1:
        if len(self.young) >= self.half:
            self.old, self.young = self.young, {}
        self.young[key] = value
        return 0

    cdef int drop(self, object key) except -1:
        self.young.pop(key, None)
        self.old.pop(key, None)
        return 0


@cython.final
cdef class Penalties:
    """The attempts and penalties of one client, or of one DISC; thread-safe.

    A user is a name, with or without its domain, and a realm. A source is an IPv4 address or an IPv6 /64, which
    may belong to one host. `now` is seconds; if their clock steps, a penalty may end early, and lasts a minute
    at most.

    Each admitted attempt must be ended by `right`, `wrong` or `neither`. Afterwards the caller drains `released`.

    Args:
        first: seconds of the first penalty.
        most_sources: sources to remember, 6 MB for the default.
        most_users: users without a login to remember, 15 MB for the default.
        most_right: users with a login to remember, 50 MB for the default.

    Attributes:
        released: deque of (Attempt, item) for attempts that are no longer held, but admitted or refused.
    """

    cdef _Recent sources        # _Tally of a source
    cdef _Recent users          # _Tally of a user at a source, before the first login
    cdef _Recent logged_in      # _Tally of a user at a source, after a login
    cdef double first
    cdef uint64_t secret[2]
    cdef readonly object released

    def __cinit__(self, double first=1.0, Py_ssize_t most_sources=20_000, Py_ssize_t most_users=50_000,
                  Py_ssize_t most_right=200_000):
        self.sources = _Recent(most_sources)
        self.users = _Recent(most_users)
        self.logged_in = _Recent(most_right)
        self.released = deque()
        self.first = first
        self.secret[0] = int.from_bytes(os.urandom(8), "little")
        self.secret[1] = int.from_bytes(os.urandom(8), "little")

    def __len__(self):
        """The number of users and sources that are remembered."""
        return self.sources.size() + self.users.size() + self.logged_in.size()

    def begin(self, Credentials credentials not None, str realm not None, tuple address, double now, item):
        """Begins the attempt to verify credentials.

        Args:
            credentials: Credentials.
            realm: str.
            address: the source of the SipRequest, (host, port, …), or None.
            now: seconds.
            item: an object for `released`, if the attempt is held.

        Returns:
            Attempt, or None without an address.
        """
        if address is None:
            return None
        if not len(address):
            raise ValueError("address: expected (host, port)")
        with cython.critical_section(self):
            return self.begin_as(name_in(credentials), realm, address[0], now, item)

    def begin_for(self, str account not None, str realm not None, str source not None, double now, item):
        """Begins the attempt for an account, however the credentials spell its name.

        Args:
            account: the user's name, str.
            realm: str.
            source: an address, str; "" if it is not known, and the account alone counts.
            now: seconds.
            item: an object for `released`, if the attempt is held.

        Returns:
            Attempt.
        """
        with cython.critical_section(self):
            return self.begin_as(account, realm, source, now, item)

    def right(self, Attempt attempt not None, double now):
        """Ends an attempt that was a login."""
        cdef _Tally user
        with cython.critical_section(self):
            if attempt.state != ADMITTED:
                return
            user = attempt.user
            if attempt.source is not None and not is_recent(user, now):
                attempt.source.take_one_back(now)
            user.clear()
            user.login_at = now
            if user.logins < MOST_LOGINS:
                user.logins += 1
            if self.logged_in.young.get(attempt.user_key) is not user:
                self.users.drop(attempt.user_key)
                self.logged_in.put(attempt.user_key, user)
            self.end(attempt, now)

    def wrong(self, Attempt attempt not None, double now):
        """Ends an attempt that was wrong."""
        with cython.critical_section(self):
            if attempt.state != ADMITTED:
                return
            if attempt.source is not None and not attempt.user.wrong:
                attempt.source.add_wrong(now, self.first)
            attempt.user.add_wrong(now, self.first)
            self.end(attempt, now)

    def neither(self, Attempt attempt not None, double now):
        """Ends an attempt that told nothing about the password, or was correct but no login.

        A held attempt is given up.
        """
        with cython.critical_section(self):
            if attempt.state == HELD:
                attempt.state = ENDED
                attempt.item = None         # it may be large
                pass_over_ended(attempt.user.held)
                if attempt.source is not None:
                    pass_over_ended(attempt.source.held)
                self.forget(attempt)
            elif attempt.state == ADMITTED:
                self.end(attempt, now)

    cdef object begin_as(self, str account, str realm, str address, double now, object item):
        cdef Attempt attempt = Attempt.__new__(Attempt)
        cdef _Tally blocked
        network = network_of(address)
        attempt.user_key = user_key(self.secret, account, realm, network)
        attempt.user = self.user_tally(attempt.user_key, now)
        if network and not is_recent(attempt.user, now):
            attempt.source_key = network
            attempt.source = tally(self.sources, network, &SOURCE, now)
            attempt.source.attempts += 1
        attempt.user.attempts += 1
        blocked = self.place(attempt, now, None)
        if blocked is not None:
            attempt.item = item
            hold(blocked, attempt)
        elif attempt.state == REFUSED:
            self.forget(attempt)
        return attempt

    cdef _Tally place(self, Attempt attempt, double now, _Tally waited):
        """Admits or refuses an attempt, or marks it as held.

        Args:
            waited: the tally whose first held attempt it is, or None: it overtakes no other.

        Returns:
            The tally without room, for which it is held, or None.
        """
        cdef _Tally user = attempt.user, source = attempt.source
        if source is not None and is_recent(user, now):
            self.forget_source(attempt)         # the user logged in meanwhile
            source = None
        if user.is_penalized(now) or (source is not None and source.is_penalized(now)):
            attempt.state = REFUSED
            return None
        if not user.has_room() or (user.held and user is not waited):
            attempt.state = HELD
            return user
        if source is not None and (not source.has_room() or (source.held and source is not waited)):
            attempt.state = HELD
            return source
        attempt.state = ADMITTED
        user.in_flight += 1
        if source is not None:
            source.in_flight += 1
        return None

    cdef int end(self, Attempt attempt, double now) except -1:
        """Ends an attempt in flight and releases those that waited for it."""
        cdef _Tally user = attempt.user, source = attempt.source
        attempt.state = ENDED
        user.in_flight -= 1
        if source is not None:
            source.in_flight -= 1
        if user.held:
            self.release(user, now)
        if source is not None and source.held:
            self.release(source, now)
        self.forget(attempt)
        return 0

    cdef int release(self, _Tally waited, double now) except -1:
        """Releases the attempts held for a tally, in order, while there is room."""
        cdef Attempt attempt
        cdef _Tally blocked
        while waited.held:
            attempt = waited.held[0]
            if attempt.state != HELD:
                waited.held.popleft()
                continue
            blocked = self.place(attempt, now, waited)
            if blocked is waited:
                break
            waited.held.popleft()
            if blocked is None:
                self.released.append((attempt, attempt.item))
                attempt.item = None
                if attempt.state == REFUSED:
                    self.forget(attempt)
            else:
                hold(blocked, attempt)
        return 0

    cdef int forget(self, Attempt attempt) except -1:
        """Removes an ended attempt from its tallies, and drops tallies that hold nothing any more."""
        cdef _Tally user = attempt.user
        user.attempts -= 1
        if user.is_idle() and user.login_at == NEVER and self.users.get(attempt.user_key) is user:
            self.users.drop(attempt.user_key)
        return self.forget_source(attempt)

    cdef int forget_source(self, Attempt attempt) except -1:
        """Removes an attempt from the tally of its source."""
        cdef _Tally source = attempt.source
        if source is None:
            return 0
        attempt.source = None
        source.attempts -= 1
        if source.is_idle() and self.sources.get(attempt.source_key) is source:
            self.sources.drop(attempt.source_key)
        return 0

    cdef _Tally user_tally(self, object key, double now):
        cdef _Tally found = self.logged_in.get(key)
        if found is None:
            return tally(self.users, key, &USER, now)
        forget_old(found, now)
        return found


cdef int hold(_Tally blocked, Attempt attempt) except -1:
    """Puts an attempt behind those that wait for the same tally."""
    if blocked.held is None:
        blocked.held = deque()
    blocked.held.append(attempt)
    return 0


cdef int pass_over_ended(held) except -1:
    """Removes ended attempts at both ends: those refused at once, and those that waited too long."""
    cdef Attempt attempt
    while held:
        attempt = held.pop()
        if attempt.state != ENDED:
            held.append(attempt)
            break
    while held and (<Attempt>held[0]).state == ENDED:
        held.popleft()
    return 0


cdef bint is_recent(_Tally user, double now) noexcept:
    """Whether the user logged in from this source within the hour."""
    return now - user.login_at < RECENT


cdef _Tally tally(_Recent known, object key, const Rule *rule, double now):
    """The tally of a key, made if there is none."""
    cdef _Tally found = known.get(key)
    if found is not None:
        forget_old(found, now)
        return found
    found = _Tally.__new__(_Tally)
    found.rule = rule[0]
    found.login_at = NEVER
    found.until = NEVER
    known.put(key, found)
    return found


cdef void forget_old(_Tally found, double now) noexcept:
    if found.wrong and now >= found.forgotten_at:
        found.clear()
