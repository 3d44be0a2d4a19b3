"""The outcomes of a question, by the values of `auth_diameter.verifier.outcome.Outcome`."""

from auth_diameter._core.auth.answer cimport (
    PART_ALGORITHM, PART_CREDENTIALS, PART_NONCE_COUNT, PART_NONE, PART_QOP, PART_REALM, PART_RESPONSE,
    PART_SOURCE, PART_URI, VERDICT_CHALLENGE, VERDICT_DENIED, VERDICT_FAILURE, VERDICT_REJECTED, VERDICT_SUCCESS,
    WHY_OTHERWISE, WHY_OTHER_ADDRESS, WHY_UNKNOWN_USER,
)

cdef enum:
    OUTCOME_NONE            # not yet
    CHALLENGED
    AUTHORIZED
    RETRANSMITTED
    STALE
    REPLAYED
    FOREIGN_NONCE
    WRONG_DIGEST
    UNKNOWN_USER
    ALGORITHM_NOT_OFFERED
    QOP_NOT_OFFERED
    MALFORMED_RESPONSE
    COUNT_ZERO
    OTHER_URI
    OTHER_ADDRESS
    PENALIZED
    MALFORMED_QOP
    MALFORMED_CREDENTIALS
    REALM_NOT_SERVED
    MEMBER
    NOT_MEMBER
    DELEGATED
    STORE_FAILED
    FAILED
    MALFORMED
    OUTCOMES                # their number, OUTCOME_NONE included


cdef inline bint is_stale(int outcome) noexcept nogil:
    """Whether the digest was right and only the nonce cannot be used."""
    return outcome == STALE or outcome == REPLAYED or outcome == FOREIGN_NONCE


cdef inline bint is_refusal(int outcome) noexcept nogil:
    """Whether the log of refusals names it."""
    return WRONG_DIGEST <= outcome <= REALM_NOT_SERVED


cdef inline int part_of(int outcome) noexcept nogil:
    """The part of the credentials that an outcome refuses, if it is not the digest: PART_…"""
    if outcome == PENALIZED:
        return PART_SOURCE
    if outcome == MALFORMED_RESPONSE:
        return PART_RESPONSE
    if outcome == OTHER_URI:
        return PART_URI
    if outcome == QOP_NOT_OFFERED or outcome == MALFORMED_QOP:
        return PART_QOP
    if outcome == ALGORITHM_NOT_OFFERED:
        return PART_ALGORITHM
    if outcome == COUNT_ZERO:
        return PART_NONCE_COUNT
    if outcome == REALM_NOT_SERVED:
        return PART_REALM
    return PART_CREDENTIALS if outcome == MALFORMED_CREDENTIALS else PART_NONE


cdef inline int why_of(int outcome) noexcept nogil:
    """The reason that standard Diameter has a code of its own for: WHY_…"""
    if outcome == UNKNOWN_USER:
        return WHY_UNKNOWN_USER
    return WHY_OTHER_ADDRESS if outcome == OTHER_ADDRESS else WHY_OTHERWISE


cdef inline int verdict_of(int outcome) noexcept nogil:
    """The verdict without a challenge: VERDICT_…; what is not named is rejected."""
    if outcome == AUTHORIZED or outcome == RETRANSMITTED or outcome == MEMBER:
        return VERDICT_SUCCESS
    if outcome == NOT_MEMBER:
        return VERDICT_DENIED
    if outcome == DELEGATED:
        return VERDICT_CHALLENGE
    if outcome == STORE_FAILED or outcome == FAILED or outcome == MALFORMED:
        return VERDICT_FAILURE
    return VERDICT_REJECTED
