"""The words in which a back end answers, whatever protocol carries them."""

from __future__ import annotations

import enum


class Service(enum.Enum):
    """What is asked for."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    AUTHENTICATION = enum.auto()
    GROUP_CHECK = enum.auto()
    OTHER = enum.auto()


class Verdict(enum.Enum):
    """What a back end says."""

    __hash__ = object.__hash__

    SUCCESS = enum.auto()
    """The credentials are right; the user is in the group."""

    CHALLENGE = enum.auto()
    """Other credentials are wanted, that answer one of these challenges."""

    DENIED = enum.auto()
    """The user is not in the group; or the credentials are refused, and no others are asked for."""

    REJECTED = enum.auto()
    """The credentials are refused; or nobody is known in the realm."""

    FAILURE = enum.auto()
    """The back end cannot tell."""


class Part(enum.Enum):
    """What about credentials is refused, other than their digest."""

    __hash__ = object.__hash__

    SOURCE = enum.auto()
    """Where they came from: too many wrong ones came from there, or for this user."""

    REALM = enum.auto()
    RESPONSE = enum.auto()
    URI = enum.auto()
    QOP = enum.auto()
    ALGORITHM = enum.auto()
    NONCE_COUNT = enum.auto()
    CREDENTIALS = enum.auto()
    """All of them: they break the grammar."""
