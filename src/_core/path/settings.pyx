"""The settings of the rules, from a VerifierConfig, and the algorithms to offer."""

from libc.stdint cimport uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes
from auth_diameter._core.digest.algorithms cimport ALGORITHM_UNKNOWN, algorithm_of
from auth_diameter._core.digest.params cimport QOP_AUTH, QOP_AUTH_INT
from auth_diameter._core.path.digest_uri cimport policy_of
from auth_diameter._core.state.users cimport read_offer

from auth_diameter._core.digest.algorithms import ALGORITHMS as _ALGORITHMS

cdef list _KEPT = [name.encode("ascii") for name in _ALGORITHMS]    # FULL_NAMES point into these
cdef Span FULL_NAMES[2][ALGORITHM_UNKNOWN]


cdef Span name_of_algorithm(int algorithm, bint sess) noexcept nogil:
    return FULL_NAMES[sess][algorithm]


cdef int set_names() except -1:
    cdef bint sess
    cdef int algorithm
    for name in _KEPT:
        algorithm = algorithm_of(name.decode("ascii"), &sess)
        FULL_NAMES[sess][algorithm] = span_of_bytes(name)
    return 0


set_names()


cdef int set_rules(Rules *rules, config) except -1:
    """Fills in the settings from a VerifierConfig."""
    cdef bytes qop = ",".join(config.qop).encode("ascii")
    cdef Offered *one
    if not (len(config.algorithms) <= MAX_OFFERED and len(qop) <= QOP_ROOM):
        raise ValueError("algorithms, qop: each once")
    memset(rules, 0, sizeof(Rules))
    for name in config.algorithms:
        one = &rules.offered[rules.offers]
        one.base = algorithm_of(name, &one.sess)
        one.name = name_of_algorithm(one.base, one.sess)
        rules.accepts[one.sess][one.base] = True
        rules.offers += 1
    # For SIP servers that can use only one challenge: MD5 is what most telephones support.
    single = next(one for one in ("MD5", "MD5-sess", *config.algorithms) if one in config.algorithms)
    rules.single = config.algorithms.index(single)
    rules.always_single = config.algorithms == ("MD5",)
    rules.qops = ("auth" in config.qop) << QOP_AUTH | ("auth-int" in config.qop) << QOP_AUTH_INT
    memcpy(rules.qop, <const char *>qop, <size_t>len(qop))
    rules.qop_size = <size_t>len(qop)
    rules.uri_policy = policy_of(config.uri_policy)
    rules.nonce_uses = min(config.nonce_uses, 0xFFFFFFFF)
    rules.max_challenges = min(config.max_challenges, 0xFFFFFFFE)
    rules.limit_accounts = config.limit_accounts
    rules.bind_source = config.bind_source
    rules.userhash = config.userhash
    rules.authentication_info = config.authentication_info
    rules.rechallenge = config.rechallenge
    return 0


cdef uint32_t offers_of(const Rules *rules, Span offer) noexcept nogil:
    """The places of the algorithms to offer, a bit for each.

    An unknown user, or one who can use none of the configured algorithms, is offered those that most users of the
    realm can use (RFC 8760, 2.3).
    """
    cdef int having[2]      # of the user, and of most users of the realm
    cdef uint32_t chosen
    cdef int i, j
    read_offer(offer, &having[0], &having[1])
    for i in range(2):
        chosen = 0
        for j in range(rules.offers):
            chosen |= <uint32_t>(having[i] >> rules.offered[j].base & 1) << j
        if chosen:
            return chosen
    return (1u << rules.offers) - 1
