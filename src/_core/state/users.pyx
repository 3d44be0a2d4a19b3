"""What a store has said about subscribers, at hand: HA1, realms served, algorithms to offer.

Keys and values come from Python as the tuples of auth_diameter.store.store, and are kept as bytes. An unknown user
is kept in the same way as a known one, with as many HA1.
"""

import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.scratch cimport ad_scratch, ad_scratch_release
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport PyUnicode_IS_ASCII, borrow, text_of
from auth_diameter._core.digest.algorithms cimport (
    ALGORITHM_UNKNOWN, ad_algorithms, algorithm_name, algorithm_of,
)
from auth_diameter._core.state.values cimport (
    Key, values_accept_from, values_begin_era, values_clear, values_copy, values_count, values_drop, values_free,
    values_init,
    values_put,
)

cdef dict _KINDS = {
    "realm": KIND_REALM, "user": KIND_USER, "hashed": KIND_HASHED, "algorithms": KIND_ALGORITHMS,
    "member": KIND_MEMBER,
}
cdef tuple _NAMES = tuple(_KINDS)
cdef int *_PARTS = [1, 3, 3, 2, 3]      # of the keys of each kind


# ---------------------------------------------------------------------------------- values

# A realm: whether it is served, then its spelling. An offer: two bytes, each with a bit for each algorithm. A
# membership: one byte. HA1: known, matches, how many, the size of the username in 16 bits, HA1, username.

cdef enum:
    CANDIDATES_HEAD = 5


cdef bint read_realm(Span value, Span *spelling) noexcept nogil:
    """The spelling of a realm; False if it is not served."""
    if not 1 <= value.n:
        return False
    spelling.p = value.p + 1
    spelling.n = value.n - 1
    return value.p[0] == 1


cdef bint read_candidates(Span value, Candidates *out) noexcept nogil:
    """The HA1 of a user; False if these bytes are none."""
    cdef size_t name, each
    cdef int i
    if not CANDIDATES_HEAD <= value.n:
        return False
    out.known = value.p[0] == 1
    out.matches = value.p[1] == 1
    out.count = value.p[2]
    name = <size_t>value.p[3] << 8 | value.p[4]
    if not (1 <= out.count <= MAX_HA1S and name <= value.n - CANDIDATES_HEAD):
        return False
    each = (value.n - CANDIDATES_HEAD - name) // <size_t>out.count
    for i in range(out.count):
        out.ha1[i] = Span(value.p + CANDIDATES_HEAD + each * <size_t>i, each)
    out.username = Span(value.p + value.n - name, name)
    return True


cdef void read_offer(Span value, int *own, int *usual) noexcept nogil:
    """The algorithms of a user and those of most users of the realm, a bit for each."""
    own[0] = value.p[0] if value.n == 2 else 0
    usual[0] = value.p[1] if value.n == 2 else 0


cdef int algorithm_bits(tuple names) except -1:
    cdef int bits = 0
    cdef bint sess
    for name in names:
        bits |= 1 << algorithm_of(name, &sess)
    return bits


cdef tuple algorithm_names(int bits):
    return tuple([algorithm_name(i, False) for i in range(ALGORITHM_UNKNOWN) if bits >> i & 1])


cdef bytes candidates_bytes(bint known, bint matches, str ha1s, size_t digits, str username):
    cdef Span text, name
    cdef size_t count
    cdef bytes out
    cdef uint8_t *q
    _kept = borrow(ha1s, &text, "ha1s"), borrow(username, &name, "username")
    count = text.n // digits
    if (not 1 <= count <= MAX_HA1S or count * digits != text.n or not PyUnicode_IS_ASCII(ha1s)
            or name.n > 0xFFFF):
        raise ValueError("candidates: expected one or two HA1 of the algorithm")
    out = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(CANDIDATES_HEAD + text.n + name.n))
    q = <uint8_t *>PyBytes_AS_STRING(out)
    q[0] = known
    q[1] = matches
    q[2] = <uint8_t>count
    q[3] = <uint8_t>(name.n >> 8)
    q[4] = <uint8_t>name.n
    memcpy(q + CANDIDATES_HEAD, text.p, text.n)
    memcpy(q + CANDIDATES_HEAD + text.n, name.p, name.n)
    return out


cdef bytes value_bytes(tuple key, object value):
    """The bytes of a value that the store has for this key."""
    cdef Kind kind = kind_of(key)
    cdef bint sess
    cdef size_t digits
    if kind == KIND_REALM:
        (realm,) = value
        return b"\0" if realm is None else b"\1" + realm.encode("utf-8", "surrogateescape")
    if kind == KIND_ALGORITHMS:
        own, usual = value
        return bytes((algorithm_bits(own), algorithm_bits(usual)))
    if kind == KIND_MEMBER:
        return b"\1" if value else b"\0"
    digits = ad_algorithms[algorithm_of(key[2], &sess)].digits
    if kind == KIND_USER:
        known, ha1s = value
        return candidates_bytes(known, True, ha1s, digits, "")
    known, ha1s, username, matches = value
    return candidates_bytes(known, matches, ha1s, digits, username)


cdef object value_tuple(Kind kind, Span value):
    """The same again, as a plain tuple or a bool."""
    cdef Span spelling
    cdef Candidates found
    cdef int own, usual, i
    if kind == KIND_REALM:
        return (text_of(spelling) if read_realm(value, &spelling) else None,)
    if kind == KIND_ALGORITHMS:
        read_offer(value, &own, &usual)
        return algorithm_names(own), algorithm_names(usual)
    if kind == KIND_MEMBER:
        return read_member(value)
    read_candidates(value, &found)
    ha1s = "".join([text_of(found.ha1[i]) for i in range(found.count)])
    if kind == KIND_USER:
        return found.known, ha1s
    return found.known, ha1s, text_of(found.username), found.matches


# ---------------------------------------------------------------------------------- keys


cdef Kind kind_of(tuple key) except -1:
    """The kind of a key of store.py, which is its last item."""
    cdef Kind kind
    if not key:
        raise ValueError("key: without a kind")
    kind = _KINDS[key[len(key) - 1]]
    if len(key) != _PARTS[kind] + 1:
        raise ValueError("key: too many or too few parts")
    return kind


cdef tuple parts_of(object key):
    """A key of store.py as a tuple: it is one, of a class of its own, and is not copied."""
    return <tuple>key if isinstance(key, tuple) else tuple(key)


cdef list borrow_key(tuple key, Key *out):
    """Fills in the key of a key of store.py; the caller keeps the objects returned, which own its bytes."""
    cdef list kept = []
    cdef int i
    memset(out, 0, sizeof(Key))
    for i in range(_PARTS[kind_of(key)]):
        kept.append(borrow(key[i], &out.part[i], "key"))
    return kept


cdef tuple key_tuple(Kind kind, const Key *key):
    """The parts of a key as text, and the name of its kind."""
    cdef list parts = []
    cdef int i
    for i in range(_PARTS[kind]):
        parts.append(text_of(key.part[i]))
    parts.append(_NAMES[kind])
    return tuple(parts)


@cython.final
cdef class Users:
    """What a store has said, at hand as long as the store has not changed; thread-safe.

    Keys and values are those of `auth_diameter.store.store`; values are returned as plain tuples.

    Args:
        rooms: dict of the bytes for each kind of key: "realm", "user", "hashed" and "algorithms". Of other
            kinds nothing is kept, and without `rooms` nothing at all.
    """

    def __cinit__(self, dict rooms=None):
        cdef uint64_t secret[2]
        secret[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        secret[1] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        for name, room in (rooms or {}).items():
            if not values_init(&self.kept[<Kind>_KINDS[name]], room, secret):
                raise MemoryError()

    def __dealloc__(self):
        cdef Kind kind
        for kind in range(KINDS):
            values_free(&self.kept[kind])

    def get(self, key not None):
        """The value of a key; None if it is not at hand."""
        cdef tuple parts = parts_of(key)
        cdef Kind kind = kind_of(parts)
        cdef Key place
        cdef Span found
        cdef ad_scratch scratch
        memset(&scratch, 0, sizeof(scratch))
        _kept = borrow_key(parts, &place)
        try:
            return value_tuple(kind, found) if self.look_up(kind, &place, &scratch, &found) > 0 else None
        finally:
            ad_scratch_release(&scratch)

    def put(self, key not None, value):
        """Keeps the value of a key, if it is not too large."""
        cdef tuple parts = parts_of(key)
        cdef Key place
        cdef Span text
        cdef bytes data = value_bytes(parts, value)
        _kept = borrow_key(parts, &place), borrow(data, &text, "value")
        values_put(&self.kept[kind_of(parts)], &place, text)

    def drop(self, key not None):
        """Forgets the value of a key."""
        cdef tuple parts = parts_of(key)
        cdef Key place
        _kept = borrow_key(parts, &place)
        values_drop(&self.kept[kind_of(parts)], &place)

    def clear(self, str kind=None):
        """Forgets and wipes all, or all of one kind.

        Args:
            kind: "realm", "user", "hashed" or "algorithms"; None for all.
        """
        cdef Kind each
        for each in range(KINDS):
            if kind is None or _KINDS[kind] == each:
                values_clear(&self.kept[each])

    def begin_era(self):
        """Begins a new era: what was put before is not found any more.

        Returns:
            The number of the new era, int; the first was 0.
        """
        cdef Kind each
        for each in range(KINDS):
            values_begin_era(&self.kept[each])
        return self.kept[0].era

    def accept_from(self, uint64_t era):
        """Lets what was put in that era or later be found, if it is still there.

        Args:
            era: int, up to the current one.
        """
        cdef Kind each
        for each in range(KINDS):
            values_accept_from(&self.kept[each], era)

    def count(self, str kind not None):
        """The number of keys of a kind; one that is in use and old may count twice."""
        return values_count(&self.kept[<Kind>_KINDS[kind]])

    cdef int look_up(self, Kind kind, const Key *key, ad_scratch *scratch, Span *out) noexcept nogil:
        """Copies the value of a key: 1, or 0 if it is not at hand, or -1 without memory."""
        return values_copy(&self.kept[kind], key, scratch, out)
