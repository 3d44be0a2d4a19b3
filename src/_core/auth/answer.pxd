"""The answer of a back end, for compiled code."""

from libc.stdint cimport uint32_t

from auth_diameter._core.base.span cimport Span

cdef enum:
    # The members of Verdict, of Service and of Part (verdict.py), by their values; 0 is none of them.
    VERDICT_SUCCESS = 1, VERDICT_CHALLENGE, VERDICT_DENIED, VERDICT_REJECTED, VERDICT_FAILURE

cdef enum:
    SERVICE_UNKNOWN = 0, SERVICE_OF_AUTHENTICATION, SERVICE_OF_GROUP_CHECK, SERVICE_OTHER

cdef enum:
    PART_NONE = 0, PART_SOURCE, PART_REALM, PART_RESPONSE, PART_URI, PART_QOP, PART_ALGORITHM, PART_NONCE_COUNT
    PART_CREDENTIALS

cdef enum:
    MAX_CHALLENGES = 8      # in one answer: one for each algorithm, RFC 8760, 2.4


cdef enum:
    # Why an answer must not be used, where that has a Cause of its own
    UNUSABLE_OTHERWISE = 0, UNUSABLE_SESSION, UNUSABLE_SCHEME, UNUSABLE_HA1, UNUSABLE_ITEMS


cdef enum:
    # Why credentials are refused, where RFC 4740 has a Result-Code for it
    WHY_OTHERWISE = 0, WHY_UNKNOWN_USER, WHY_OTHER_ADDRESS


cdef struct AnswerFields:
    # What an answer says, as spans into bytes that the caller keeps; n is 0 for an absent one
    int verdict             # VERDICT_…
    int service             # SERVICE_… that it answers; SERVICE_UNKNOWN: not given
    int refused             # PART_… of the credentials that was refused; PART_NONE: their digest, or nothing
    int why                 # WHY_…, which the dialect never tells
    uint32_t code           # the protocol's own, such as a Result-Code; 0: none
    Span challenge[MAX_CHALLENGES]  # each one line of the Digest scheme, the preferred one first
    int challenges
    Span response_auth      # rspauth of Authentication-Info: RFC 7616, 3.5
    Span nextnonce          # the same; needs no escapes in a quoted string
    Span user_name          # the name behind a hashed username (RFC 7616, 3.4.4), without control characters
    Span ha1                # of a SIP server that verifies credentials itself: hexadecimal digits
    Span realm              # of that
    const char *fault       # NULL, or why the answer must not be used
    int unusable            # then UNUSABLE_…


cdef class Answer:
    cdef int verdict_code, service_code, refused_code   # the values of the three, as in AnswerFields
    cdef int unusable                       # the same
    cdef readonly object verdict            # Verdict
    cdef readonly object service            # Service that it answers; None: not given
    cdef readonly uint32_t code             # the protocol's own, such as a Result-Code; 0: none
    cdef readonly tuple challenges          # of bytes, each a challenge of the Digest scheme
    cdef readonly bytes response_auth       # rspauth of Authentication-Info, or None
    cdef readonly bytes nextnonce           # nextnonce of Authentication-Info, or None
    cdef readonly bytes user_name           # the name behind a hashed username, or None
    cdef readonly object refused            # Part of the credentials that was refused, or None
    cdef readonly str fault                 # the reason not to use the answer, or None
    cdef readonly bytes message             # the whole answer if it names other servers to be asked, or None
    cdef readonly tuple delegated           # HA1 that the server delegates, see `delegation_of`; or None


cdef Answer new_answer(const AnswerFields *fields)
cdef int borrow_answer(Answer answer, AnswerFields *out) except -1
