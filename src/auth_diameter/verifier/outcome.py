"""The outcomes of a question, and the verdict for each.

==============================================================  ========================  =============
case                                                            outcome                   verdict
==============================================================  ========================  =============
no credentials, realm served                                    CHALLENGED                CHALLENGE
digest right, nonce fresh, its count unused                     AUTHORIZED                SUCCESS
a retransmission of such a request                              RETRANSMITTED             SUCCESS
digest right, nonce expired, its count used, or foreign         STALE, REPLAYED,          CHALLENGE,
                                                                FOREIGN_NONCE             stale
`bind_source`, and the nonce was not made for this source       FOREIGN_NONCE             CHALLENGE,
                                                                                          stale
digest wrong, user unknown                                      WRONG_DIGEST,             REJECTED
                                                                UNKNOWN_USER
digest-uri of another resource, algorithm or qop not offered,   OTHER_URI, …              REJECTED, with
count 0                                                                                   the part
digest right, address to register of another user (RFC 4740)    OTHER_ADDRESS             REJECTED
realm not served, credentials malformed                         REALM_NOT_SERVED, …       REJECTED, with
                                                                                          the part
too many guesses from the source or at the account              PENALIZED                 REJECTED, with
                                                                                          the part
member of the group, or not                                     MEMBER, NOT_MEMBER        SUCCESS, DENIED
HA1 told to a SIP server that verifies credentials itself       DELEGATED                 CHALLENGE
the store cannot be read, or an internal error                  STORE_FAILED, FAILED      FAILURE
==============================================================  ========================  =============

With `rechallenge` refused credentials get a CHALLENGE instead of REJECTED.
"""

from __future__ import annotations

import enum


class Outcome(enum.Enum):
    """The outcome of a question; compiled code knows them by their values (``_core/path/outcome.pxd``)."""

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
    OTHER_ADDRESS = enum.auto()
    """The user may not register that address (RFC 4740, 8.8)."""
    PENALIZED = enum.auto()
    MALFORMED_QOP = enum.auto()
    MALFORMED_CREDENTIALS = enum.auto()
    REALM_NOT_SERVED = enum.auto()
    MEMBER = enum.auto()
    NOT_MEMBER = enum.auto()
    DELEGATED = enum.auto()
    """The HA1 was told to a SIP server that verifies credentials itself (RFC 4740, 6.3; Cx)."""
    STORE_FAILED = enum.auto()
    FAILED = enum.auto()
    MALFORMED = enum.auto()
    """The message that held the question could not be read."""


# The refusals that are decided once `bind_source` has proven the source.
PROVEN_REFUSALS = frozenset(
    {
        Outcome.WRONG_DIGEST,
        Outcome.UNKNOWN_USER,
        Outcome.COUNT_ZERO,
        Outcome.OTHER_URI,
        Outcome.OTHER_ADDRESS,
        Outcome.PENALIZED,
    }
)
# All that the log of refusals names.
REFUSALS = PROVEN_REFUSALS | frozenset(
    {
        Outcome.ALGORITHM_NOT_OFFERED,
        Outcome.QOP_NOT_OFFERED,
        Outcome.MALFORMED_RESPONSE,
        Outcome.MALFORMED_QOP,
        Outcome.MALFORMED_CREDENTIALS,
        Outcome.REALM_NOT_SERVED,
    }
)
