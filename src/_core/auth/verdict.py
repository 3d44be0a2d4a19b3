"""The verdicts of a back end, whatever protocol carries them."""

from __future__ import annotations

import enum


class Service(enum.Enum):
    """The service that a question asks for."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    AUTHENTICATION = 1
    GROUP_CHECK = 2
    OTHER = 3


class Verdict(enum.Enum):
    """The verdict of a back end."""

    __hash__ = object.__hash__

    SUCCESS = 1
    """The credentials are correct, or the user is in the group."""

    CHALLENGE = 2
    """Other credentials are needed, which answer one of the challenges."""

    DENIED = 3
    """The user is not in the group, or the credentials are refused without a new challenge."""

    REJECTED = 4
    """The credentials are refused, or the realm has no users."""

    FAILURE = 5
    """The back end cannot decide."""


class Part(enum.Enum):
    """The part of the credentials that is refused, if not their digest."""

    __hash__ = object.__hash__

    SOURCE = 1
    """The source: too many wrong credentials came from it, or for this user."""

    REALM = 2
    RESPONSE = 3
    URI = 4
    QOP = 5
    ALGORITHM = 6
    NONCE_COUNT = 7
    CREDENTIALS = 8
    """All of them: they break the grammar."""
