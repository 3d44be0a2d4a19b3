"""What DISC has looked up, at hand, in a bounded number of bytes.

Strangers choose the names that are looked up, and how long these are. A character takes one byte or four, so
a number of entries or of characters bounds nothing: a cache counts bytes.
"""

from __future__ import annotations

import sys
from typing import Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

LARGEST = 4096  # bytes of one entry: a name of 253 characters, whatever they are, fits in
_ENTRY = 96  # bytes of a dict for an entry, just after it has grown and while it grows
_ROUNDING = 15  # bytes at most: memory is given in steps of 16
_ASCII = 50 + _ROUNDING  # bytes beside the characters
_TEXT = 76 + 2 * _ROUNDING  # the same of a text that is not ASCII and of its UTF-8


class BoundedCache(Generic[_K, _V]):
    """A dict of at most `max_bytes`; of one thread at a time.

    It has two halves, young and old. A new entry goes into the young half. When that is full it becomes the
    old one, and what was the old one is dropped. An entry that is asked for in the old half goes into the
    young one again. So what is in use stays, while strangers fill the rest.

    Keys and values are strings, numbers, None, or tuples of such. A value is never None.

    :param max_bytes: of keys, values and the dicts. What several entries share counts for each of them.
    :ivar young: the young half, to read. Where each instruction counts, ``cache.young.get(key) or
        cache.get(key)`` spares a call for what is in use.
    """

    __slots__ = ("_half", "_old", "_used", "young")

    def __init__(self, max_bytes: int) -> None:
        self._half = max_bytes // 2
        self.young: dict[_K, _V] = {}
        self._old: dict[_K, _V] = {}
        self._used = 0  # bytes of the young half

    def get(self, key: _K) -> _V | None:
        """The value of `key`; None: it is not kept."""
        found = self.young.get(key)
        if found is None and self._old:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: _K, value: _V) -> None:
        """Keeps `value`, in place of any other of this key. What is larger than `LARGEST` is not kept."""
        size = _ENTRY + size_of(key) + size_of(value)
        if size > LARGEST:
            self.pop(key)
            return
        before = self.young.pop(key, None)
        if before is not None:
            self._used -= _ENTRY + size_of(key) + size_of(before)
        if self._used + size > self._half:
            self._old, self.young = self.young, {}
            self._used = 0
        self.young[key] = value
        self._used += size

    def pop(self, key: _K) -> None:
        """Forgets `key`, where it is kept."""
        found = self.young.pop(key, None)
        if found is not None:
            self._used -= _ENTRY + size_of(key) + size_of(found)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Forgets all."""
        self.young = {}
        self._old = {}
        self._used = 0

    def __len__(self) -> int:
        """How many entries are kept; one that is in both halves counts twice."""
        return len(self.young) + len(self._old)


def size_of(thing: object) -> int:
    """Bytes that `thing` takes in memory, with all that is in it where it is a tuple; always the same.

    Each character that is not ASCII may take four bytes, and four more for UTF-8, which Python keeps beside
    a text once a database was asked for it. So all count eight where one is not ASCII.
    """
    if isinstance(thing, str):
        return _ASCII + len(thing) if thing.isascii() else _TEXT + 8 * len(thing)
    size = sys.getsizeof(thing) + _ROUNDING
    if isinstance(thing, tuple):
        for part in thing:
            size += size_of(part)
    return size
