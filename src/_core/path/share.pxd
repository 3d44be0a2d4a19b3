"""What a batch tells shared state, and what becomes of its questions then, for compiled code."""

from libc.stdint cimport uint32_t, uint64_t

from auth_diameter._core.path.inquiry cimport Case, Work
from auth_diameter._core.path.verify cimport Judge


cdef struct Share:
    # A question and its record
    Case *case
    uint64_t user           # hashes; 0: it is not counted
    uint64_t source
    uint32_t slot           # of the nonce
    int kind                # SHARE_…


cdef struct Shares:
    # The records of a batch, in their order; in the scratch of its Work
    Share *at
    size_t count


cdef bytes records_of(Judge judge, Work *work, Shares *out)
cdef bint is_reply_to(const Shares *shares, bytes reply) noexcept
cdef void end_shares(Judge judge, Work *work, const Shares *shares, bytes reply) noexcept
