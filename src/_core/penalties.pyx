"""Who guesses passwords, without I/O: for how long no credentials of theirs are looked at.

Counted are wrong credentials by source address, and of each source by user::

    5 in a row of one user from one source ──► that user from that source
    50 within a minute from one source ──────► that source, but not who got in from there within an hour

is refused for a second. After that one attempt is looked at; while it is wrong, the time doubles, up to a
minute. Right credentials end it for the user. So a guesser has 60 attempts an hour for each address of
his, the owner of the account is let in from everywhere else, and so are those who share an address with
the guesser, behind a NAT say, when they have been let in before.

Memory is bounded, and strangers may fill it, for the source of a datagram can be forged: then what was
used least lately is forgotten, which favours the guesser and locks nobody out.
"""

import os
import socket

cimport cython
from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.digest cimport Credentials
from auth_diameter._core.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.span cimport Span, equal_nocase
from auth_diameter._core.text cimport borrow

cdef double LONGEST = 60.0      # seconds: so long who has corrected his password waits at most
cdef double RECENT = 3600.0     # seconds that a success speaks for a user: telephones register once an hour

cdef bytes _MAPPED = bytes(10) + b"\xff\xff"

cdef struct Rule:
    int tries                   # that may be wrong
    double window               # seconds in which they count together

# A person who mistypes, and a telephone that tries again, stay below.
cdef Rule USER = Rule(5, 600.0)
# An office behind one address may have some telephones with old passwords.
cdef Rule SOURCE = Rule(50, 60.0)


@cython.final
cdef class _Guesses:
    """Wrong credentials of one user or source, and what came of them."""

    cdef Rule rule
    cdef int count              # of wrong ones
    cdef double delay           # of the last penalty; 0: there was none
    cdef bint trying            # whether an attempt after it is being looked at
    cdef double until           # the end of the penalty
    cdef double forgotten_at

    cdef void let_one_try(self, double now) noexcept:
        """After a penalty. Those beside it are refused, or a thousand at once would be one attempt."""
        if self.delay:
            self.until = now + self.delay
            self.trying = True

    cdef void add(self, double now, double first) noexcept:
        """One more. Those that were asked before a penalty and are answered in it do not prolong it."""
        if now < self.until and not self.trying:
            return
        self.trying = False
        self.count += 1
        if self.count >= self.rule.tries:
            self.delay = min(2 * self.delay, LONGEST) or first
            self.until = now + self.delay
            self.forgotten_at = self.until + self.rule.window


cdef _Guesses new_guesses(Rule rule, double now):
    cdef _Guesses self = _Guesses.__new__(_Guesses)
    self.rule = rule
    self.until = now
    self.forgotten_at = now + rule.window
    return self


@cython.final
cdef class _Recent:
    """A dict that forgets what was put into it least lately, half of all at a time."""

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
    """The penalties of one client; any thread may use it.

    A user is a name and a realm, with its domain in the name or without; a source an IPv4 address or an
    IPv6 /64, all of which one host may have, given as the SipRequest has it: (host, port, …), or None
    where it is not known, and nothing is counted. `now` are seconds, monotonic.

    :param first: seconds of the first penalty.
    :param most_sources: addresses with wrong credentials that are remembered, 6 MB if as many guess.
    :param most_users: users with wrong credentials, 10 MB. :param most_right: users who got in, 30 MB.
    """

    cdef _Recent sources        # _Guesses of a source
    cdef _Recent users          # _Guesses of a user at a source
    cdef _Recent got_in         # when a user got in from a source, seconds
    cdef double first
    cdef uint64_t key[2]

    def __cinit__(self, double first=1.0, Py_ssize_t most_sources=20_000, Py_ssize_t most_users=50_000,
                  Py_ssize_t most_right=200_000):
        self.sources = _Recent(most_sources)
        self.users = _Recent(most_users)
        self.got_in = _Recent(most_right)
        self.first = first
        self.key[0] = int.from_bytes(os.urandom(8), "little")
        self.key[1] = int.from_bytes(os.urandom(8), "little")

    def __len__(self):
        """How much is remembered."""
        return self.sources.size() + self.users.size() + self.got_in.size()

    def refuses(self, Credentials credentials not None, str realm not None, tuple address, double now):
        """Whether credentials are to be refused unseen. Else whoever looks tells what they were."""
        cdef _Guesses of_user, of_source = None
        with cython.critical_section(self):
            if address is None or not self.sources.size():
                return False    # nobody guesses
            source = source_of(address)
            if self.sources.get(source) is None:
                return False
            user = self.user_of(credentials.user(), realm, source)
            of_user = known(self.users, user, now)
            if not self.is_recent(user, now):
                of_source = known(self.sources, source, now)
            if (of_user is not None and now < of_user.until) or (of_source is not None and now < of_source.until):
                return True
            if of_user is not None:
                of_user.let_one_try(now)
            if of_source is not None:
                of_source.let_one_try(now)
        return False

    def right(self, Credentials credentials not None, str realm not None, tuple address, double now):
        """The credentials were right."""
        if address is None:
            return
        with cython.critical_section(self):
            source = source_of(address)
            user = self.user_of(credentials.user(), realm, source)
            self.got_in.put(user, now)
            if self.users.size():
                self.users.drop(user)

    def wrong(self, Credentials credentials not None, str realm not None, tuple address, double now,
              bint certain=True):
        """They were wrong.

        :param certain: False where DISC only wants others: that may be for the nonce alone, as after it
            was started again. Of those the second on of a user counts for the source.
        """
        cdef _Guesses of_source, of_user
        if address is None:
            return
        with cython.critical_section(self):
            source = source_of(address)
            user = self.user_of(credentials.user(), realm, source)
            of_source = known(self.sources, source, now)
            of_user = known(self.users, user, now)
            if of_source is None:
                of_source = new_guesses(SOURCE, now)
            if (certain or of_user is not None) and not self.is_recent(user, now):
                of_source.add(now, self.first)
            if of_user is None:
                of_user = new_guesses(USER, now)
            of_user.add(now, self.first)
            self.sources.put(source, of_source)
            self.users.put(user, of_user)

    cdef bint is_recent(self, object user, double now) except -1:
        """Whether the user got in from that source."""
        when = self.got_in.get(user)
        return when is not None and now - <double>when < RECENT

    cdef object user_of(self, str username, str realm, object source):
        """Stands for a user at a source, int, however long the name is.

        It has 64 bits under a secret key: two do not meet by accident, nor can anyone make them.
        """
        cdef ad_siphash s
        cdef uint64_t out[2]
        cdef Span name, domain, at_source, own
        cdef uint8_t lower[8]
        cdef size_t i, j, n
        _name_kept = borrow(username, &name, "username")
        _domain_kept = borrow(realm, &domain, "realm")
        _source_kept = borrow(source, &at_source, "address")
        # DISC knows an account by its name and by name@realm (RFC 7616, 3.4.2).
        if name.n > domain.n and name.p[name.n - domain.n - 1] == 64:
            own.p = name.p + name.n - domain.n
            own.n = domain.n
            if domain.n and equal_nocase(own, domain):
                name.n -= domain.n + 1
        ad_siphash_begin(&s, self.key)
        ad_siphash_word(&s, <uint64_t>name.n << 32 | domain.n)
        ad_siphash_word(&s, at_source.n)
        ad_siphash_bytes(&s, name.p, name.n)
        for i in range(0, domain.n, 8):     # a realm's case does not matter
            n = domain.n - i if domain.n - i < 8 else 8
            for j in range(n):
                lower[j] = domain.p[i + j] | 0x20 if 65 <= domain.p[i + j] <= 90 else domain.p[i + j]
            ad_siphash_bytes(&s, lower, n)
        ad_siphash_bytes(&s, at_source.p, at_source.n)
        ad_siphash_end(&s, out)
        return out[0]


cdef _Guesses known(_Recent guesses, object key, double now):
    cdef _Guesses found = guesses.get(key)
    return found if found is not None and now < found.forgotten_at else None


cdef object source_of(tuple source):
    """Whom a guess counts for: its IPv4 address, or the 8 bytes of its IPv6 /64."""
    cdef str address
    if not len(source):
        raise ValueError("address: expected (host, port)")
    address = source[0]
    if address is None or ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    # An IPv4 address as an IPv6 socket has it: RFC 4291, 2.5.5.2
    return packed if packed.startswith(_MAPPED) else packed[:8]
