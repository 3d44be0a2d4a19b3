"""HA1 that servers delegate with their nonces, for compiled code."""

from auth_diameter._core.base.scratch cimport ad_scratch
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.algorithms cimport AlgorithmIndex
from auth_diameter._core.state.values cimport Values


cdef struct Delegated:
    # What came with a nonce, as spans into a scratch
    double made             # when; seconds of the clock of `put`
    double until            # when it ends
    AlgorithmIndex algorithm
    Span realm
    Span ha1
    Span username
    Span other_name         # another form of the username; n is 0: there is none
    Span address            # that a REGISTER was about; n is 0: it was about another request


cdef class Delegations:
    # Any thread may call the functions without the GIL at any time
    cdef Values kept

    # What came with a nonce, copied: 1; 0 for a nonce that is not known, or -1 without memory
    cdef int find(self, Span nonce, ad_scratch *scratch, Delegated *out) noexcept nogil
    # Whether a nonce is known
    cdef bint knows(self, Span nonce) noexcept nogil
