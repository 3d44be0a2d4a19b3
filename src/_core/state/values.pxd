"""A table of values by keys, bounded in bytes, for compiled code."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.lock cimport ad_lock
from auth_diameter._core.base.scratch cimport ad_scratch
from auth_diameter._core.base.span cimport Span

cdef enum:
    KEY_PARTS = 3


cdef struct Key:
    Span part[KEY_PARTS]    # n is 0 for one that a kind of key has not


cdef struct Half:
    uint8_t *data           # entries, one behind the other
    size_t used             # bytes of them
    uint32_t *index         # by hash: the place of an entry + 1, in steps of 8 bytes; 0: none
    uint32_t count          # of entries, those that were dropped included


cdef struct Values:
    ad_lock lock
    uint64_t secret[2]
    Half young
    Half old
    size_t room             # bytes of data in each half
    uint32_t places         # of the index of each half, a power of two; 0: nothing is kept
    uint64_t era            # of new entries
    uint64_t valid_from     # the first era whose entries are found


cdef bint values_init(Values *values, size_t max_bytes, const uint64_t *secret) noexcept nogil
cdef void values_free(Values *values) noexcept nogil
cdef int values_copy(Values *values, const Key *key, ad_scratch *scratch, Span *out) noexcept nogil
cdef bint values_put(Values *values, const Key *key, Span value) noexcept nogil
cdef void values_drop(Values *values, const Key *key) noexcept nogil
cdef void values_clear(Values *values) noexcept nogil
cdef void values_begin_era(Values *values) noexcept nogil
cdef void values_accept_from(Values *values, uint64_t era) noexcept nogil
cdef uint64_t values_count(Values *values) noexcept nogil
cdef uint64_t hash_of(const uint64_t *secret, const Key *key) noexcept nogil
cdef bint copy_span(ad_scratch *scratch, Span text, Span *out) noexcept nogil
cdef bint same_key(const Key *a, const Key *b) noexcept nogil
