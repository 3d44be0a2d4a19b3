"""What an answer holds besides its verdict, for compiled code."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.inquiry cimport Case, Work
from auth_diameter._core.path.settings cimport Offered, Rules
from auth_diameter._core.state.nonces cimport Binding, Nonces
from auth_diameter._core.state.values cimport Values

# What a nonce for a case is bound to
cdef Binding binding_of(const Rules *rules, const Case *case, Span realm, Span algorithm) noexcept nogil
# Adds a challenge to the answer of a case; False: there is no memory
cdef bint add_challenge(const Rules *rules, Nonces nonces, Work *work, Case *case,
                        const Offered *one) noexcept nogil
# Adds rspauth to a success, and the next nonce if this one is soon at its end; `following` has those told before
cdef void put_authentication_info(const Rules *rules, Nonces nonces, Values *following, Work *work,
                                  Case *case) noexcept nogil
