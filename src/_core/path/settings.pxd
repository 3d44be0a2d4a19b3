"""The settings of the rules, for compiled code."""

from libc.stdint cimport uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.digest_uri cimport UriPolicy

cdef enum:
    MAX_OFFERED = 6         # each algorithm with and without -sess
    QOP_ROOM = 16


cdef struct Offered:
    # An algorithm that may be offered
    int base                # its place in the table of algorithms
    bint sess
    Span name


cdef struct Rules:
    # The settings; VerifierConfig says what each is for
    Offered offered[MAX_OFFERED]    # in the order of preference
    int offers
    int single              # the place of the one for SIP servers that can use one challenge only
    bint always_single
    bint accepts[2][4]      # by sess and algorithm
    uint32_t qops           # a bit for each Qop
    char qop[QOP_ROOM]      # as it is offered to SIP servers with our client
    size_t qop_size
    UriPolicy uri_policy
    uint32_t nonce_uses
    uint32_t max_challenges
    bint penalty            # whether guesses are counted; set by the Judge
    bint limit_accounts
    bint bind_source
    bint userhash
    bint authentication_info
    bint rechallenge


cdef Span name_of_algorithm(int algorithm, bint sess) noexcept nogil
cdef int set_rules(Rules *rules, config) except -1
cdef uint32_t offers_of(const Rules *rules, Span offer) noexcept nogil
