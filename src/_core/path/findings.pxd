"""What a store has said for one batch of questions, in addition to what is at hand."""

from libc.stdint cimport uint64_t

from auth_diameter._core.base.scratch cimport ad_scratch
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.users cimport Kind
from auth_diameter._core.state.values cimport Key

cdef enum:
    BUCKETS = 256


cdef struct Finding:
    Finding *next       # of the same bucket
    uint64_t hash
    Key key
    Span value
    Kind kind
    int failure         # 0, or the outcome of questions that need this key: STORE_FAILED, FAILED
    int error           # of FAILED: the number of the error, from 1 on


cdef struct Findings:
    uint64_t secret[2]
    Finding **buckets   # BUCKETS lists; NULL: nothing was found yet


cdef Finding *find_finding(const Findings *found, Kind kind, const Key *key) noexcept nogil
cdef Finding *add_finding(Findings *found, ad_scratch *scratch, Kind kind, const Key *key) noexcept nogil
