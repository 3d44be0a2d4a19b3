"""Stateless nonces, made and recognised with a key (RFC 7616, 3.3 and 5.4).

::

    nonce = time (8 hex digits) salt (16) mac (32)
    mac   = HMAC-SHA-256(key, time salt algorithm NUL source NUL realm), its first 16 bytes

Any server with the key recognises a nonce until it expires, for its realm and algorithm, and for the
address of the UAC if the nonce is bound to one. A sequence of keys allows a change of key without effect on
users: the first key makes nonces, and all keys recognise them.

The algorithm includes -sess. A1 of a -sess algorithm is the hash of HA1, the nonce and a cnonce that the
client chooses (3.4.2). A response without -sess is a hash of HA1, the nonce and further text (3.4.1), which
could be taken for a cnonce. If one nonce were accepted for both, an overheard response could serve as A1 of
any request until the nonce expires.

`NonceUses` remembers the nonces that came with right credentials.
"""

import enum
import os

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.chars cimport hex_value
from auth_diameter._core.base.hex cimport ad_put_hex
from auth_diameter._core.base.lock cimport ad_lock_give, ad_lock_take
from auth_diameter._core.base.secret cimport ad_same_bytes, ad_wipe
from auth_diameter._core.base.sha2 cimport (
    ad_hmac_begin, ad_hmac_end, ad_hmac_key, ad_hmac_prepare, ad_sha256, ad_sha256_update,
    ad_sha256_use_instructions,
)
from auth_diameter._core.base.shared cimport ad_shared_map, ad_shared_next, ad_shared_unmap
from auth_diameter._core.base.span cimport Span, lower
from auth_diameter._core.base.text cimport borrow, text_of

from auth_diameter._core.errors import ConfigError

cdef enum:
    STAMP = 24              # hex digits before the mac: time and salt
    DEFAULT_LIFETIME = 300  # seconds, as in the original DISC

CLOCK_DRIFT = 10.0          # seconds by which the clocks of servers that share a key may differ
cdef double DRIFT = CLOCK_DRIFT


class NonceState(enum.Enum):
    """The state of a nonce that a client has sent."""

    FRESH = NONCE_FRESH
    EXPIRED = NONCE_EXPIRED
    FOREIGN = NONCE_FOREIGN     # of no known key, or for another realm, algorithm or source


if "AUTH_DIAMETER_SHA256" in os.environ:        # for tests of the instructions that this machine would not use
    if ad_sha256_use_instructions(os.environ["AUTH_DIAMETER_SHA256"].encode("ascii", "replace")) != 0:
        raise ConfigError("AUTH_DIAMETER_SHA256: this machine or build has none of that name")

cdef dict _STATES = {state.value: state for state in NonceState}


cdef double nonce_made_at(Span nonce) noexcept nogil:
    """The time when one of our nonces was made, in seconds since 1970; 0 of text that is too short for one."""
    cdef uint32_t seconds = 0
    cdef int i
    if not 8 <= nonce.n:
        return 0
    for i in range(8):
        seconds = seconds << 4 | <uint32_t>hex_value(nonce.p[i]) & 15
    return seconds


cdef void put_digits(uint8_t *out, uint64_t number, int digits) noexcept nogil:
    """Writes a number in hexadecimal, with zeros in front."""
    cdef int i
    for i in range(digits):
        out[i] = <uint8_t>b"0123456789abcdef"[number >> 4 * (digits - 1 - i) & 15]


cdef bint put_lower(ad_sha256 *stream, Span realm) noexcept nogil:
    """Hashes a realm in lower case, by the rules of Unicode; False if there is no memory for it."""
    cdef uint8_t part[64]
    cdef size_t i, n = 0
    for i in range(realm.n):
        if realm.p[i] > 127:
            return put_lower_unicode(stream, realm)
    for i in range(realm.n):
        part[n] = lower(realm.p[i])
        n += 1
        if n == sizeof(part):
            ad_sha256_update(stream, part, n)
            n = 0
    ad_sha256_update(stream, part, n)
    return True


cdef bint put_lower_unicode(ad_sha256 *stream, Span realm) noexcept with gil:
    cdef bytes text
    try:
        text = text_of(realm).lower().encode("utf-8", "surrogateescape")
    except MemoryError:
        return False
    ad_sha256_update(stream, PyBytes_AS_STRING(text), <size_t>PyBytes_GET_SIZE(text))
    return True


cdef bint put_mac(uint8_t *out, const ad_hmac_key *key, Span stamp, const Binding *bound) noexcept nogil:
    """Writes the 32 digits of the mac."""
    cdef ad_sha256 stream
    cdef uint8_t mac[32]
    ad_hmac_begin(&stream, key)
    ad_sha256_update(&stream, stamp.p, stamp.n)
    # Neither the algorithm nor the source can contain a NUL, so different bindings give different texts.
    ad_sha256_update(&stream, bound.algorithm.p, bound.algorithm.n)
    ad_sha256_update(&stream, b"", 1)
    ad_sha256_update(&stream, bound.source.p, bound.source.n)
    ad_sha256_update(&stream, b"", 1)
    if not put_lower(&stream, bound.realm):
        return False
    ad_hmac_end(&stream, key, mac)
    ad_put_hex(out, mac)
    return True


@cython.final
cdef class Nonces:
    """Makes and recognises nonces; thread-safe. Processes that are forked later make different ones.

    Args:
        keys: one secret key of at least 16 bytes, or a sequence of several. The first makes nonces; all are
            recognised. None for a random key, so that after a restart all former nonces are foreign.
        lifetime: seconds for which a nonce may be used; `CLOCK_DRIFT` is added.

    Attributes:
        lifetime: float, seconds for which a nonce may be used, without `CLOCK_DRIFT`.
        remembered: float, seconds for which the uses of a nonce must be remembered.
    """

    def __cinit__(self, keys=None, double lifetime=DEFAULT_LIFETIME):
        self.use(keys if keys is not None else os.urandom(32))
        self.salt = <uint64_t *>ad_shared_map(sizeof(uint64_t))
        if self.salt == NULL:
            raise MemoryError()
        # The mac makes a nonce unpredictable; the salt only has to be unique.
        self.salt[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        self.lifetime = lifetime
        self.remembered = lifetime + DRIFT

    def __dealloc__(self):
        drop_keys(self.keys, self.count)
        ad_shared_unmap(self.salt, sizeof(uint64_t))

    def use(self, keys):
        """Replaces the keys, in this process. Nonces of keys that are not among the new ones become foreign.

        Args:
            keys: as for the constructor, but not None.
        """
        cdef tuple all_keys = (keys,) if isinstance(keys, bytes) else tuple(keys)
        cdef size_t n = <size_t>len(all_keys), i
        cdef bytes key
        cdef ad_hmac_key *prepared
        if not n:
            raise ValueError("keys: expected one at least")
        prepared = <ad_hmac_key *>PyMem_RawMalloc(n * sizeof(ad_hmac_key))
        if prepared == NULL:
            raise MemoryError()
        try:
            for i in range(n):
                key = all_keys[i]
                ad_hmac_prepare(&prepared[i], PyBytes_AS_STRING(key), <size_t>PyBytes_GET_SIZE(key))
        except BaseException:
            drop_keys(prepared, n)
            raise
        ad_lock_take(&self.lock)
        self.keys, prepared = prepared, self.keys
        self.count, n = n, self.count
        ad_lock_give(&self.lock)
        drop_keys(prepared, n)

    def make(self, str realm not None, double now, str algorithm not None="MD5", str source not None=""):
        """Makes a new nonce.

        Args:
            realm: the realm of the challenge, str.
            now: seconds since 1970.
            algorithm: the algorithm of the challenge, str.
            source: the address of the only UAC that may use the nonce, str; "" for any UAC.

        Returns:
            Str, 56 hexadecimal digits.
        """
        cdef uint8_t room[NONCE_SIZE]
        cdef Binding bound
        _kept = bind(&bound, realm, algorithm, source)
        self.put_nonce(room, &bound, now)
        return room[:NONCE_SIZE].decode("ascii")

    def check(self, str nonce not None, str realm not None, double now, str algorithm not None="MD5",
              str source not None=""):
        """The state of a nonce, NonceState; the parameters are those of `make`.

        A nonce whose time is more than `CLOCK_DRIFT` in the future is foreign.
        """
        cdef Binding bound
        cdef Span text
        _kept = bind(&bound, realm, algorithm, source)
        _nonce_kept = nonce.encode("utf-8", "surrogatepass")
        borrow(_nonce_kept, &text, "nonce")
        return _STATES[self.check_nonce(text, &bound, now)]

    def made_at(self, str nonce not None):
        """The time when one of our nonces was made, in seconds since 1970, float."""
        return float(int(nonce[:8], 16))

    cdef void put_nonce(self, uint8_t *out, const Binding *bound, double now) noexcept nogil:
        """Writes a new nonce, NONCE_SIZE bytes."""
        cdef ad_hmac_key key
        self.copy_key(0, &key)
        put_digits(out, <uint32_t><int64_t>now, 8)
        put_digits(out + 8, ad_shared_next(self.salt), 16)
        if not put_mac(out + STAMP, &key, Span(out, STAMP), bound):
            put_digits(out + STAMP, 0, NONCE_SIZE - STAMP)      # nobody will accept it
        ad_wipe(&key, sizeof(key))

    cdef int check_nonce(self, Span nonce, const Binding *bound, double now) noexcept nogil:
        """NONCE_FRESH, NONCE_EXPIRED or NONCE_FOREIGN."""
        cdef ad_hmac_key key
        cdef uint8_t mac[NONCE_SIZE - STAMP]
        cdef bint ours = False
        cdef size_t i = 0
        cdef double age
        if nonce.n != NONCE_SIZE:
            return NONCE_FOREIGN
        while self.copy_key(i, &key):
            if put_mac(mac, &key, Span(nonce.p, STAMP), bound):
                ours |= ad_same_bytes(nonce.p + STAMP, mac, sizeof(mac))
            i += 1
        ad_wipe(&key, sizeof(key))
        if not ours:
            return NONCE_FOREIGN
        age = now - nonce_made_at(nonce)
        if age < -DRIFT:
            return NONCE_FOREIGN
        return NONCE_FRESH if age <= self.remembered else NONCE_EXPIRED

    cdef bint copy_key(self, size_t index, ad_hmac_key *out) noexcept nogil:
        """Copies a key, which `use` may replace at any time; False if there are not as many."""
        cdef bint found
        ad_lock_take(&self.lock)
        found = index < self.count
        if found:
            out[0] = self.keys[index]
        ad_lock_give(&self.lock)
        return found

    def __repr__(self):
        return f"<Nonces lifetime={self.lifetime}>"


cdef void drop_keys(ad_hmac_key *keys, size_t count) noexcept:
    if keys != NULL:
        ad_wipe(keys, count * sizeof(ad_hmac_key))
        PyMem_RawFree(keys)


cdef tuple bind(Binding *out, str realm, str algorithm, str source):
    """Fills in a binding; the caller keeps the objects returned, which own its bytes."""
    return (
        borrow(realm, &out.realm, "realm"),
        borrow(algorithm, &out.algorithm, "algorithm"),
        borrow(source, &out.source, "source"),
    )
