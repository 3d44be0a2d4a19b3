"""What a store has said about subscribers, for compiled code. A value is bytes; these read them."""

from auth_diameter._core.base.scratch cimport ad_scratch
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.state.values cimport Key, Values

ctypedef int Kind

cdef enum:
    # The kind of a key, and what its parts are; store.py says what each is for.
    KIND_REALM          # realm
    KIND_USER           # username, realm, algorithm
    KIND_HASHED         # hashed username, realm, algorithm
    KIND_ALGORITHMS     # username, realm
    KIND_MEMBER         # username, domain, group; never kept
    KINDS

cdef enum:
    MAX_HA1S = 2        # of one user


cdef struct Candidates:
    # The HA1 with which a digest may have been computed
    bint known          # whether the user exists; if not, no digest is right
    int count           # of HA1
    Span ha1[MAX_HA1S]  # lower-case hexadecimal digits
    bint matches        # whether a hashed username is that of `username`
    Span username       # of a hashed one: that with this hash, or a neighbour's


cdef bint read_realm(Span value, Span *spelling) noexcept nogil
cdef bint read_candidates(Span value, Candidates *out) noexcept nogil
cdef void read_offer(Span value, int *own, int *usual) noexcept nogil
cdef inline bint read_member(Span value) noexcept nogil:
    """Whether the user is a member of the group."""
    return value.n == 1 and value.p[0] == 1


cdef Kind kind_of(tuple key) except -1
cdef tuple parts_of(object key)
cdef list borrow_key(tuple key, Key *out)
cdef bytes value_bytes(tuple key, object value)
cdef tuple key_tuple(Kind kind, const Key *key)


cdef class Users:
    # Any thread may look up without the GIL at any time.
    cdef Values kept[KINDS]

    cdef int look_up(self, Kind kind, const Key *key, ad_scratch *scratch, Span *out) noexcept nogil
