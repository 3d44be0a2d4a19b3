"""The rules by which questions are judged, for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.lanes cimport Check
from auth_diameter._core.path.inquiry cimport Case, Work
from auth_diameter._core.path.settings cimport Offered, Rules
from auth_diameter._core.state.delegations cimport Delegations
from auth_diameter._core.state.nonce_counts cimport NonceUses
from auth_diameter._core.state.nonces cimport Binding, Nonces
from auth_diameter._core.state.penalties cimport Penalties
from auth_diameter._core.state.sharing cimport Sharing
from auth_diameter._core.state.users cimport Kind, Users
from auth_diameter._core.state.values cimport Key, Values

cdef class Judge:
    cdef readonly Users users
    cdef readonly Nonces nonces
    cdef readonly NonceUses uses
    cdef Penalties penalties        # None: guesses are not counted
    cdef public Sharing sharing     # None: there is no shared state
    # None: nonces are made here, and the store has HA1. Otherwise servers delegate both
    cdef public Delegations delegations
    cdef Rules rules
    cdef double look_at_store       # when the store is to be looked at again; see may_judge
    cdef Values wrong_in_a_row      # by username, realm and source: 32 bits
    cdef Values following           # the next nonce by nonce and count, for retransmissions

    # Any thread may call these without the GIL at any time, each on a Work of its own.

    # Judges all cases as far as they do not lack keys. False: no memory; then those at STAGE_CHECK are unanswered.
    # Those at STAGE_HELD wait for verdicts of other threads or processes, which take no longer than a digest.
    cdef bint judge_work(self, Work *work) noexcept nogil
    # Whether that may be called without a look at the store before; the driver's caller sets it by `check_at`
    cdef bint may_judge(self, double now) noexcept nogil
    # The same, and none is left at STAGE_HELD. If no verdict comes for a tenth of a second, because a process was
    # killed before it, the attempts that others wait for are given up.
    cdef bint judge_to_the_end(self, Work *work) noexcept nogil
    # Ends a case with an answer that has no other values than its outcome gives it
    cdef void end(self, Case *case, int outcome) noexcept nogil
    # Ends the attempt of a case without a verdict
    cdef void forget_attempt(self, const Work *work, Case *case) noexcept nogil
    # Answers a case whose digest was verified, by the outcome that was decided
    cdef void settle(self, Work *work, Case *case) noexcept nogil
    # What a retransmission of the question is known by here
    cdef uint64_t mark_of(self, const Case *case) noexcept nogil
    # Whether credentials that are wrong count as a guess
    cdef bint is_counted(self, const Case *case) noexcept nogil
    # The account at which they do
    cdef Span account_of(self, Work *work, const Case *case) noexcept nogil
    # The key of this kind that a case lacks
    cdef Key key_of(self, const Case *case, Kind kind) noexcept nogil

    cdef bint verify(self, Work *work) noexcept nogil
    cdef bint verify_in_turn(self, Work *work) noexcept nogil
    cdef bint begin_held(self, Work *work) noexcept nogil
    cdef void look_at(self, Work *work, Case *case) noexcept nogil
    cdef void begin_attempt(self, Work *work, Case *case) noexcept nogil
    cdef void begin_at_last(self, Work *work, Case *case) noexcept nogil
    cdef void end_attempt(self, const Work *work, Case *case) noexcept nogil
    cdef size_t put_checks(self, Case *case, Check *checks) noexcept nogil
    cdef void conclude(self, Work *work, Case *case, const Check *checks) noexcept nogil
    cdef void challenge_at_last(self, Work *work, Case *case) noexcept nogil
    cdef int value(self, Work *work, Case *case, Kind kind, Span *out) noexcept nogil
    cdef void delegate(self, Work *work, Case *case) noexcept nogil
    cdef void tell_ha1(self, Case *case) noexcept nogil
    cdef void check_group(self, Work *work, Case *case) noexcept nogil
    cdef int find_realm(self, Work *work, Case *case) noexcept nogil
    cdef void collect(self, Work *work, Case *case) noexcept nogil
    cdef void collect_delegated(self, Work *work, Case *case) noexcept nogil
    cdef bint refuses_foreign(self, const Case *case) noexcept nogil
    cdef bint is_foreign(self, const Work *work, const Case *case) noexcept nogil
    cdef bint is_shared(self, const Case *case) noexcept nogil
    cdef int weigh(self, Work *work, Case *case) noexcept nogil
    cdef int use(self, const Work *work, Case *case) noexcept nogil
    cdef void let_in(self, Work *work, Case *case) noexcept nogil
    cdef void refuse(self, Work *work, Case *case, int outcome) noexcept nogil
    cdef void challenge(self, Work *work, Case *case, Span name, Span realm, int outcome) noexcept nogil
    cdef Key wrong_key(self, const Case *case) noexcept nogil
