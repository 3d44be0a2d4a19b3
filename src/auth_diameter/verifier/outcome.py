"""What becomes of a question, and what each outcome is to who asked.

==============================================================  ========================  =============
case                                                            outcome                   verdict
==============================================================  ========================  =============
no credentials, realm served                                    CHALLENGED                CHALLENGE
digest right, nonce fresh, its count unused                     AUTHORIZED                SUCCESS
the same again: a retransmission                                RETRANSMITTED             SUCCESS
digest right, nonce expired, its count used, or not ours        STALE, REPLAYED,          CHALLENGE,
                                                                FOREIGN_NONCE             stale
`bind_source`, and the nonce was not given to this source       FOREIGN_NONCE             the same
digest wrong, user unknown                                      WRONG_DIGEST,             REJECTED
                                                                UNKNOWN_USER
digest-uri for elsewhere, algorithm or qop not offered,         OTHER_URI, …              REJECTED, and
count 0                                                                                   what of it
realm not served, credentials malformed                         REALM_NOT_SERVED, …       the same
a user or a source that guesses passwords                       PENALIZED                 the same
member, or not                                                  MEMBER, NOT_MEMBER        SUCCESS, DENIED
the store cannot be read, or a mistake of ours                  STORE_FAILED, FAILED      FAILURE
==============================================================  ========================  =============

With `rechallenge` a wrong digest, and what else is refused about credentials, gets a CHALLENGE instead.
"""

from __future__ import annotations

import enum

from auth_diameter._core import Answer, Part, Verdict


class Outcome(enum.Enum):
    """What became of a question."""

    __hash__ = object.__hash__  # members are single objects; Enum's own hash is a call in Python

    CHALLENGED = enum.auto()
    AUTHORIZED = enum.auto()
    RETRANSMITTED = enum.auto()
    STALE = enum.auto()
    REPLAYED = enum.auto()
    FOREIGN_NONCE = enum.auto()
    WRONG_DIGEST = enum.auto()
    UNKNOWN_USER = enum.auto()
    ALGORITHM_NOT_OFFERED = enum.auto()
    QOP_NOT_OFFERED = enum.auto()
    MALFORMED_RESPONSE = enum.auto()
    COUNT_ZERO = enum.auto()
    OTHER_URI = enum.auto()
    PENALIZED = enum.auto()
    MALFORMED_QOP = enum.auto()
    MALFORMED_CREDENTIALS = enum.auto()
    REALM_NOT_SERVED = enum.auto()
    MEMBER = enum.auto()
    NOT_MEMBER = enum.auto()
    STORE_FAILED = enum.auto()
    FAILED = enum.auto()
    MALFORMED = enum.auto()
    """The message that the question came in."""


# What is refused for another reason than a wrong digest.
PARTS = {
    Outcome.PENALIZED: Part.SOURCE,
    Outcome.MALFORMED_RESPONSE: Part.RESPONSE,
    Outcome.OTHER_URI: Part.URI,
    Outcome.QOP_NOT_OFFERED: Part.QOP,
    Outcome.MALFORMED_QOP: Part.QOP,
    Outcome.ALGORITHM_NOT_OFFERED: Part.ALGORITHM,
    Outcome.COUNT_ZERO: Part.NONCE_COUNT,
    Outcome.REALM_NOT_SERVED: Part.REALM,
    Outcome.MALFORMED_CREDENTIALS: Part.CREDENTIALS,
}

_VERDICTS = {
    Outcome.AUTHORIZED: Verdict.SUCCESS,
    Outcome.RETRANSMITTED: Verdict.SUCCESS,
    Outcome.MEMBER: Verdict.SUCCESS,
    Outcome.NOT_MEMBER: Verdict.DENIED,
    Outcome.STORE_FAILED: Verdict.FAILURE,
    Outcome.FAILED: Verdict.FAILURE,
    Outcome.MALFORMED: Verdict.FAILURE,
}

# The whole answer of an outcome that has nothing else to say; a refusal where no verdict is named.
ANSWERS = {
    outcome: Answer(_VERDICTS.get(outcome, Verdict.REJECTED), refused=PARTS.get(outcome))
    for outcome in Outcome
}

# By the parameter of credentials that is malformed; None: another one.
MALFORMED: dict[str | None, Outcome] = {
    "qop": Outcome.MALFORMED_QOP,
    "response": Outcome.MALFORMED_RESPONSE,
}

# Refusals, for the log, by whether `bind_source` has proven the source before them.
_UNPROVEN_REFUSALS = frozenset(
    {
        Outcome.ALGORITHM_NOT_OFFERED,
        Outcome.QOP_NOT_OFFERED,
        Outcome.MALFORMED_RESPONSE,
        Outcome.MALFORMED_QOP,
        Outcome.MALFORMED_CREDENTIALS,
        Outcome.REALM_NOT_SERVED,
    }
)
PROVEN_REFUSALS = frozenset(
    {
        Outcome.WRONG_DIGEST,
        Outcome.UNKNOWN_USER,
        Outcome.COUNT_ZERO,
        Outcome.OTHER_URI,
        Outcome.PENALIZED,
    }
)
REFUSALS = PROVEN_REFUSALS | _UNPROVEN_REFUSALS
