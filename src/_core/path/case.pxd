"""What a case says, for compiled code."""

from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport VERDICT_SUCCESS
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.received cimport HA1_KEPT
from auth_diameter._core.digest.algorithms cimport ad_algorithms
from auth_diameter._core.digest.responses cimport Response
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, Work


cdef bint is_own_address(const Case *case) noexcept nogil
cdef bint read_case(Work *work, Case *case, bint userhash) noexcept nogil
cdef Response response_of(const Case *case, Span ha1) noexcept nogil


cdef inline Span before_at(Span name) noexcept nogil:
    """What is before the first "@", or all."""
    cdef size_t i
    for i in range(name.n):
        if name.p[i] == c'@':
            return Span(name.p, i)
    return name


cdef inline Span behind_at(Span name) noexcept nogil:
    """What is behind the first "@"; nothing if there is none."""
    cdef Span user = before_at(name)
    return Span(name.p + user.n + 1, name.n - user.n - 1) if user.n < name.n else Span(name.p, 0)


cdef inline bint is_login(const Case *case) noexcept nogil:
    """Whether the credentials were right, and no retransmission of others."""
    return case.stage == STAGE_DONE and case.answer.verdict == VERDICT_SUCCESS and not case.again


cdef inline bint takes_any_nonce(const Case *case) noexcept nogil:
    """Whether the nonce is the SIP server's own, of which nothing is known here."""
    return case.ask.terms != NULL and case.ask.terms.takes_any_nonce


cdef inline bint tells_ha1(const Case *case) noexcept nogil:
    """Whether the answer is to hold HA1."""
    return case.ask.terms != NULL and case.ask.terms.ha1 != HA1_KEPT


cdef inline Span base_name(int algorithm) noexcept nogil:
    return Span(<const uint8_t *>ad_algorithms[algorithm].name, ad_algorithms[algorithm].name_size)


cdef inline Span true_name(const Case *case) noexcept nogil:
    """The username; of a hashed one the name with this hash, or nothing; the same time for both."""
    if not case.userhash:
        return case.username
    return Span(case.found.username.p, case.found.username.n * <size_t>case.found.matches)
