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

from __future__ import annotations

import socket
import threading
from typing import Generic, NamedTuple, TypeAlias, TypeVar

_FIRST = 1.0  # seconds of the first penalty
_LONGEST = 60.0  # and of the longest: so long a user who has corrected his password waits at most
_RECENT = 3600.0  # seconds that a success speaks for a user: telephones register about once an hour
_MOST_SOURCES = 20_000  # addresses with wrong credentials: 6 MB if as many guess
_MOST_USERS = 50_000  # users with wrong credentials: 15 MB
_MOST_RIGHT = 200_000  # users who got in: 30 MB

_MAPPED = bytes(10) + b"\xff\xff"

_Source: TypeAlias = str | bytes  # an IPv4 address, or 8 bytes of an IPv6 one

K = TypeVar("K")
V = TypeVar("V")


class _Rule(NamedTuple):
    tries: int  # that may be wrong
    window: float  # seconds in which they count together


# A person who mistypes, and a telephone that tries again, stay below.
_USER = _Rule(5, 600.0)
# An office behind one address may have some telephones with old passwords.
_SOURCE = _Rule(50, 60.0)


class _Guesses:
    """Wrong credentials of one user or source, and what came of them."""

    __slots__ = ("_delay", "_rule", "_trying", "_wrong", "forgotten_at", "until")

    def __init__(self, rule: _Rule, now: float) -> None:
        self._rule = rule
        self._wrong = 0
        self._delay = 0.0  # of the last penalty; 0: there was none
        self._trying = False  # whether an attempt after it is being looked at
        self.until = now  # the end of the penalty
        self.forgotten_at = now + rule.window

    def let_one_try(self, now: float) -> None:
        """After a penalty. Those beside it are refused, or a thousand at once would be one attempt."""
        if self._delay:
            self.until = now + self._delay
            self._trying = True

    def add(self, now: float) -> None:
        """One more. Those that were asked before a penalty and are answered in it do not prolong it."""
        if now < self.until and not self._trying:
            return
        self._trying = False
        self._wrong += 1
        if self._wrong >= self._rule.tries:
            self._delay = min(2 * self._delay, _LONGEST) or _FIRST
            self.until = now + self._delay
            self.forgotten_at = self.until + self._rule.window


class _Recent(Generic[K, V]):
    """A dict that forgets what was put into it least lately, half of all at a time.

    Where two threads put at once, it may forget more.
    """

    __slots__ = ("_half", "_old", "_young")

    def __init__(self, most: int) -> None:
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._half = most // 2

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __contains__(self, key: K) -> bool:
        return key in self._young or key in self._old

    def get(self, key: K) -> V | None:
        found = self._young.get(key)
        return found if found is not None else self._old.get(key)

    def put(self, key: K, value: V) -> None:
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def drop(self, key: K) -> None:
        self._young.pop(key, None)
        self._old.pop(key, None)


class Penalties:
    """The penalties of one client; any thread may use it.

    A user is a name and a realm, with its domain in the name or without; a source an IPv4 address or an
    IPv6 /64, all of which one host may have; `now` are seconds, monotonic.
    """

    def __init__(self) -> None:
        self._sources: _Recent[_Source, _Guesses] = _Recent(_MOST_SOURCES)
        self._users: _Recent[int, _Guesses] = _Recent(_MOST_USERS)
        self._right: _Recent[int, float] = _Recent(_MOST_RIGHT)  # when a user got in from a source
        self._lock = threading.Lock()  # for the guesses

    def refuses(self, username: str, realm: str, address: str, now: float) -> bool:
        """Whether credentials are to be refused unseen. Else whoever looks tells what they were."""
        source = _source(address)
        if source not in self._sources:
            return False  # nearly always
        key = _key(username, realm, source)
        with self._lock:
            found = [_known(self._users, key, now)]
            if not self._got_in(key, now):
                found.append(_known(self._sources, source, now))
            guesses = [one for one in found if one is not None]
            if any(now < one.until for one in guesses):
                return True
            for one in guesses:
                one.let_one_try(now)
        return False

    def right(self, username: str, realm: str, address: str, now: float) -> None:
        """The credentials were right."""
        source = _source(address)
        key = _key(username, realm, source)
        self._right.put(key, now)
        if source in self._sources:
            with self._lock:
                self._users.drop(key)

    def wrong(self, username: str, realm: str, address: str, now: float, certain: bool = True) -> None:
        """They were wrong.

        :param certain: False where DISC only wants others: that may be for the nonce alone, as after it
            was started again. Of those the second on of a user counts for the source.
        """
        source = _source(address)
        key = _key(username, realm, source)
        with self._lock:
            of_source = _known(self._sources, source, now) or _Guesses(_SOURCE, now)
            user = _known(self._users, key, now)
            if (certain or user is not None) and not self._got_in(key, now):
                of_source.add(now)
            user = user or _Guesses(_USER, now)
            user.add(now)
            self._sources.put(source, of_source)
            self._users.put(key, user)

    def _got_in(self, key: int, now: float) -> bool:
        when = self._right.get(key)
        return when is not None and now - when < _RECENT


def _source(address: str) -> _Source:
    """Whom a guess counts for: its IPv4 address, or its IPv6 /64."""
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    # An IPv4 address as an IPv6 socket has it: RFC 4291, 2.5.5.2
    return packed if packed.startswith(_MAPPED) else packed[:8]


def _key(username: str, realm: str, source: _Source) -> int:
    """Stands for a user at a source, however long the name is.

    Python's hash has 64 bits and a secret of this process in it: two do not meet by accident, nor can
    anyone make them.
    """
    name, at, domain = username.rpartition("@")
    if at and domain.lower() == realm.lower():
        username = name
    return hash((username, realm.lower(), source))


def _known(guesses: _Recent[K, _Guesses], key: K, now: float) -> _Guesses | None:
    found = guesses.get(key)
    return found if found is not None and now < found.forgotten_at else None
