"""What a store has said for one batch of questions: a hash table that lives as long as the batch."""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from auth_diameter._core.base.scratch cimport ad_scratch, ad_scratch_take
from auth_diameter._core.state.values cimport KEY_PARTS, Key, copy_span, hash_of, same_key


cdef Finding *find_finding(const Findings *found, Kind kind, const Key *key) noexcept nogil:
    """What was found for a key, or NULL."""
    cdef Finding *one
    cdef uint64_t hash
    if found.buckets == NULL:
        return NULL
    hash = hash_of(found.secret, key)
    one = found.buckets[hash % BUCKETS]
    while one != NULL:
        if one.hash == hash and one.kind == kind and same_key(&one.key, key):
            return one
        one = one.next
    return NULL


cdef Finding *add_finding(Findings *found, ad_scratch *scratch, Kind kind, const Key *key) noexcept nogil:
    """A new finding for a key, without a value; NULL if there is no memory."""
    cdef Finding *one
    cdef uint64_t hash = hash_of(found.secret, key)
    cdef int i
    if found.buckets == NULL:
        found.buckets = <Finding **>ad_scratch_take(scratch, BUCKETS * sizeof(void *))
        if found.buckets == NULL:
            return NULL
        memset(found.buckets, 0, BUCKETS * sizeof(void *))
    one = <Finding *>ad_scratch_take(scratch, sizeof(Finding))
    if one == NULL:
        return NULL
    memset(one, 0, sizeof(Finding))
    for i in range(KEY_PARTS):
        if not copy_span(scratch, key.part[i], &one.key.part[i]):
            return NULL
    one.kind = kind
    one.hash = hash
    one.next = found.buckets[hash % BUCKETS]
    found.buckets[hash % BUCKETS] = one
    return one
