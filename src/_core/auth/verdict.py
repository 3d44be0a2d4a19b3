"""The verdicts of a back end, whatever protocol carries them."""

from __future__ import annotations

import enum


class Service(enum.Enum):
    """The service that a question asks for."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    AUTHENTICATION = enum.auto()
    GROUP_CHECK = enum.auto()
    OTHER = enum.auto()


class Verdict(enum.Enum):
    """The verdict of a back end."""

    __hash__ = object.__hash__

    SUCCESS = enum.auto()
    """The credentials are correct, or the user is in the group."""

    CHALLENGE = enum.auto()
    """Other credentials are needed, which answer one of the challenges."""

    DENIED = enum.auto()
    """The user is not in the group, or the credentials are refused without a new challenge."""

    REJECTED = enum.auto()
    """The credentials are refused, or the realm has no users."""

    FAILURE = enum.auto()
    """The back end cannot decide."""


class Part(enum.Enum):
    """The part of the credentials that is refused, if not their digest."""

    __hash__ = object.__hash__

    SOURCE = enum.auto()
    """The source: too many wrong credentials came from it, or for this user."""

    REALM = enum.auto()
    RESPONSE = enum.auto()
    URI = enum.auto()
    QOP = enum.auto()
    ALGORITHM = enum.auto()
    NONCE_COUNT = enum.auto()
    CREDENTIALS = enum.auto()
    """All of them: they break the grammar."""
