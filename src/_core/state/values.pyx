"""A table of values by keys, bounded in bytes: it forgets what was used least recently.

It has a young half and an old half. A new entry goes into the young half. When the young half is full, it becomes
the old half, and what was in the old half is wiped. An entry that is found in the old half is copied to the young
half. So entries in use stay, even if strangers fill the table with others.

Each entry is of the era in which it was put. A new era makes all entries invalid at once, and those of former eras
can be made valid again.

All memory is asked for at the start, and the system gives a page when it is first written. The hash has a secret,
so that a stranger cannot make many keys collide.
"""

cimport cython
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

import os

from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take
from auth_diameter._core.base.scratch cimport ad_scratch, ad_scratch_release, ad_scratch_take
from auth_diameter._core.base.secret cimport ad_wipe
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow

cdef enum:
    LARGEST = 4096          # bytes of one entry; a name of any 253 characters fits
    EACH = 64               # bytes of data for which the index has a place
    SMALLEST = 1024         # bytes of a half; smaller ones keep nothing


cdef struct Entry:
    uint64_t hash           # never 0; 0: it was dropped
    uint32_t key_size
    uint32_t value_size
    uint64_t era            # in which the value was put
    # The parts of the key follow, each behind its size in 32 bits, then the value.


cdef bint values_init(Values *values, size_t max_bytes, const uint64_t *secret) noexcept nogil:
    """Makes a table of zeros ready; False if there is no memory for it."""
    cdef size_t half = max_bytes // 2
    values.secret[0] = secret[0]
    values.secret[1] = secret[1]
    if half < SMALLEST or half // 8 >= <uint32_t>-1:
        return True
    values.places = 16
    while values.places * 2 * EACH <= half:
        values.places *= 2
    values.room = (half - values.places * sizeof(uint32_t)) & ~<size_t>7
    return make_half(values, &values.young) and make_half(values, &values.old)


cdef bint make_half(const Values *values, Half *half) noexcept nogil:
    half.data = <uint8_t *>PyMem_RawCalloc(values.room, 1)
    half.index = <uint32_t *>PyMem_RawCalloc(values.places, sizeof(uint32_t))
    return half.data != NULL and half.index != NULL


cdef void values_free(Values *values) noexcept nogil:
    """Wipes the table and gives its memory back."""
    free_half(&values.young)
    free_half(&values.old)
    memset(values, 0, sizeof(Values))


cdef void free_half(Half *half) noexcept nogil:
    if half.data != NULL:
        ad_wipe(half.data, half.used)
    PyMem_RawFree(half.data)
    PyMem_RawFree(half.index)


cdef uint64_t hash_of(const uint64_t *secret, const Key *key) noexcept nogil:
    """A hash of the key, never 0."""
    cdef ad_siphash s
    cdef uint64_t out[2]
    cdef int i
    ad_siphash_begin(&s, secret)
    ad_siphash_word(&s, <uint64_t>key.part[0].n << 32 | key.part[1].n)
    for i in range(KEY_PARTS):
        ad_siphash_bytes(&s, key.part[i].p, key.part[i].n)
    ad_siphash_end(&s, out)
    return out[0] or 1


cdef bint copy_span(ad_scratch *scratch, Span text, Span *out) noexcept nogil:
    """Copies bytes; False if there is no memory for them."""
    cdef uint8_t *room = <uint8_t *>ad_scratch_take(scratch, text.n)
    if room == NULL:
        return False
    if text.n:
        memcpy(room, text.p, text.n)
    out.p = room
    out.n = text.n
    return True


cdef bint same_key(const Key *a, const Key *b) noexcept nogil:
    cdef int i
    for i in range(KEY_PARTS):
        if a.part[i].n != b.part[i].n or (a.part[i].n and memcmp(a.part[i].p, b.part[i].p, a.part[i].n) != 0):
            return False
    return True


cdef inline size_t key_size(const Key *key) noexcept nogil:
    return key.part[0].n + key.part[1].n + key.part[2].n + KEY_PARTS * sizeof(uint32_t)


cdef inline size_t entry_size(size_t key, size_t value) noexcept nogil:
    return (sizeof(Entry) + key + value + 7) & ~<size_t>7


cdef inline uint8_t *bytes_of(Entry *entry) noexcept nogil:
    return <uint8_t *>entry + sizeof(Entry)


cdef inline Span value_of(Entry *entry) noexcept nogil:
    return Span(bytes_of(entry) + entry.key_size, entry.value_size)


cdef bint has_key(Entry *entry, const Key *key) noexcept nogil:
    cdef const uint8_t *p = bytes_of(entry)
    cdef uint32_t n
    cdef int i
    for i in range(KEY_PARTS):
        memcpy(&n, p, sizeof(n))
        if n != key.part[i].n or (n and memcmp(p + sizeof(n), key.part[i].p, n) != 0):
            return False
        p += sizeof(n) + n
    return True


cdef Entry *find(const Values *values, const Half *half, uint64_t hash, const Key *key) noexcept nogil:
    """The entry of a key in a half, or NULL."""
    cdef uint32_t mask = values.places - 1, at = <uint32_t>hash & mask
    cdef Entry *entry
    if not values.places:
        return NULL
    while half.index[at]:
        entry = <Entry *>(half.data + <size_t>(half.index[at] - 1) * 8)
        if entry.hash == hash and has_key(entry, key):
            return entry
        at = (at + 1) & mask
    return NULL


cdef void drop(Entry *entry) noexcept nogil:
    """Wipes an entry; its place in the index stays."""
    entry.hash = 0
    ad_wipe(bytes_of(entry), entry.key_size + <size_t>entry.value_size)


cdef void empty(const Values *values, Half *half) noexcept nogil:
    if half.used:
        ad_wipe(half.data, half.used)
        memset(half.index, 0, values.places * sizeof(uint32_t))
    half.used = 0
    half.count = 0


cdef bint append(Values *values, uint64_t hash, const Key *key, Span value, uint64_t era) noexcept nogil:
    """Adds an entry to the young half, which has none of that key; False if it is too large to be kept."""
    cdef Half *half = &values.young
    cdef size_t n = key_size(key), size = entry_size(n, value.n)
    cdef uint32_t mask = values.places - 1, at = <uint32_t>hash & mask, part
    cdef Entry *entry
    cdef uint8_t *p
    cdef int i
    if not (size <= LARGEST and size <= values.room):
        return False
    if not (size <= values.room - half.used and half.count < values.places // 4 * 3):
        values.young, values.old = values.old, values.young
        empty(values, half)
    entry = <Entry *>(half.data + half.used)
    entry.hash = hash
    entry.key_size = <uint32_t>n
    entry.value_size = <uint32_t>value.n
    entry.era = era
    p = bytes_of(entry)
    for i in range(KEY_PARTS):
        part = <uint32_t>key.part[i].n
        memcpy(p, &part, sizeof(part))
        if part:
            memcpy(p + sizeof(part), key.part[i].p, part)
        p += sizeof(part) + part
    if value.n:
        memcpy(p, value.p, value.n)
    while half.index[at]:
        at = (at + 1) & mask
    half.index[at] = <uint32_t>(half.used // 8) + 1
    half.used += size
    half.count += 1
    return True


cdef int values_copy(Values *values, const Key *key, ad_scratch *scratch, Span *out) noexcept nogil:
    """Copies the value of a key, as another thread may change or drop it.

    Returns:
        1: found. 0: it is not kept. -1: no memory.
    """
    cdef uint64_t hash = hash_of(values.secret, key), era
    cdef Entry *entry
    cdef int status = 0
    ad_lock_take(&values.lock)
    entry = find(values, &values.young, hash, key)
    if entry == NULL:
        entry = find(values, &values.old, hash, key)
        if entry != NULL and entry.era >= values.valid_from:
            era = entry.era
            status = 1 if copy_span(scratch, value_of(entry), out) else -1
            if status == 1:
                append(values, hash, key, out[0], era)      # which may wipe the old half
    elif entry.era >= values.valid_from:
        status = 1 if copy_span(scratch, value_of(entry), out) else -1
    ad_lock_give(&values.lock)
    return status


cdef bint values_put(Values *values, const Key *key, Span value) noexcept nogil:
    """Sets the value of a key; False if the entry is too large to be kept. Then there is none of this key."""
    cdef uint64_t hash = hash_of(values.secret, key)
    cdef Entry *entry
    cdef bint done
    ad_lock_take(&values.lock)
    entry = find(values, &values.young, hash, key)
    if entry != NULL and entry.value_size == value.n:
        memcpy(bytes_of(entry) + entry.key_size, value.p, value.n)
        entry.era = values.era
        done = True
    else:
        drop_all(values, hash, key)
        done = append(values, hash, key, value, values.era)
    ad_lock_give(&values.lock)
    return done


cdef void drop_all(Values *values, uint64_t hash, const Key *key) noexcept nogil:
    cdef Entry *entry = find(values, &values.young, hash, key)
    if entry != NULL:
        drop(entry)
    entry = find(values, &values.old, hash, key)
    if entry != NULL:
        drop(entry)


cdef void values_drop(Values *values, const Key *key) noexcept nogil:
    """Removes a key, if it is there."""
    ad_lock_take(&values.lock)
    drop_all(values, hash_of(values.secret, key), key)
    ad_lock_give(&values.lock)


cdef void values_clear(Values *values) noexcept nogil:
    """Removes and wipes all entries."""
    ad_lock_take(&values.lock)
    empty(values, &values.young)
    empty(values, &values.old)
    ad_lock_give(&values.lock)


cdef void values_begin_era(Values *values) noexcept nogil:
    """Begins a new era. What was put before is not found any more, but stays until its memory is needed."""
    ad_lock_take(&values.lock)
    values.era += 1
    values.valid_from = values.era
    ad_lock_give(&values.lock)


cdef void values_accept_from(Values *values, uint64_t era) noexcept nogil:
    """Lets what was put in that era or later be found, if it is still there."""
    ad_lock_take(&values.lock)
    values.valid_from = era
    ad_lock_give(&values.lock)


cdef uint64_t values_count(Values *values) noexcept nogil:
    """The number of entries; one in both halves, or one that was removed, may count."""
    cdef uint64_t count
    ad_lock_take(&values.lock)
    count = <uint64_t>values.young.count + values.old.count
    ad_lock_give(&values.lock)
    return count


@cython.final
cdef class BoundedValues:
    """A table of values by keys of at most `max_bytes`, for Python; thread-safe.

    Args:
        max_bytes: the bound for keys, values and the index.
    """

    cdef Values values

    def __cinit__(self, size_t max_bytes):
        cdef uint64_t secret[2]
        secret[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        secret[1] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        if not values_init(&self.values, max_bytes, secret):
            raise MemoryError()

    def __dealloc__(self):
        values_free(&self.values)

    def __len__(self):
        """The number of entries; one in both halves, or one that was removed, may count."""
        return <Py_ssize_t>values_count(&self.values)

    def get(self, tuple key not None):
        """The value of a key, bytes; None if it is not kept.

        Args:
            key: up to three str or bytes.
        """
        cdef Key place
        cdef Span found
        cdef ad_scratch scratch
        _kept = key_of(key, &place)
        memset(&scratch, 0, sizeof(scratch))
        try:
            return found.p[:found.n] if values_copy(&self.values, &place, &scratch, &found) > 0 else None
        finally:
            ad_scratch_release(&scratch)

    def put(self, tuple key not None, bytes value not None):
        """Sets the value of a key. An entry larger than 4 KiB is not kept.

        Args:
            key: up to three str or bytes.
            value: bytes.
        """
        cdef Key place
        cdef Span text
        _kept = key_of(key, &place), borrow(value, &text, "value")
        values_put(&self.values, &place, text)

    def pop(self, tuple key not None):
        """Removes a key, if it is there.

        Args:
            key: up to three str or bytes.
        """
        cdef Key place
        _kept = key_of(key, &place)
        values_drop(&self.values, &place)

    def clear(self):
        """Removes all entries."""
        values_clear(&self.values)


cdef list key_of(tuple parts, Key *out):
    """Fills in a key; the caller keeps the objects returned, which own its bytes."""
    cdef list kept = []
    cdef Py_ssize_t i
    if not len(parts) <= KEY_PARTS:
        raise ValueError("key: too many parts")
    memset(out, 0, sizeof(Key))
    for i in range(len(parts)):
        kept.append(borrow(parts[i], &out.part[i], "key"))
    return kept
