"""Digest responses: computing and verifying them (RFC 7616, 3.4.1 to 3.4.3).

MD5 is our own, with SIMD lanes for many at once; SHA-2 is that of hashlib.
"""

import hashlib
import os
from functools import partial

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.chars cimport ad_copy
from auth_diameter._core.digest.algorithms cimport (
    ALGORITHM_UNKNOWN, MD5, SHA_2_DIGITS, AlgorithmIndex, ad_algorithms, algorithm_of,
)
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport (
    CNONCE, MAX_PARAMETER, NC, NONCE, QOP, QOP_AUTH_INT, QOP_NONE, QOP_UNKNOWN, RESPONSE, URI, plain_value,
)
from auth_diameter._core.base.hex cimport ad_lower_hex, ad_put_hex, ad_same_hex
from auth_diameter._core.base.md5 cimport (
    ad_md5, ad_md5_compress, ad_md5_compress2, ad_md5_final, ad_md5_init, ad_md5_initial_state,
    ad_md5_job, ad_md5_lanes, ad_md5_many, ad_md5_stream, ad_md5_update, ad_md5_use_lanes,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport as_bytes, borrow, span_of

from auth_diameter._core.digest.algorithms import ALGORITHMS as _ALGORITHMS
from auth_diameter._core.errors import ConfigError

cdef enum:
    # verify_many hashes inputs up to these sizes in lanes, longer ones alone.
    BATCH = 128
    A2_ROOM = 192
    RESPONSE_ROOM = 448

cdef struct Inputs:
    # The input of a response, unquoted: RFC 7616, 3.4.1
    uint8_t ha1[32]
    Span method, uri, nonce, nc, cnonce, qop
    bint with_qop
    bint body_hashed
    uint8_t body[32]    # hexadecimal, with qop=auth-int: RFC 7616, 3.4.3


cdef inline uint8_t *put(uint8_t *q, Span s) noexcept nogil:
    ad_copy(q, s.p, s.n)
    return q + s.n


cdef inline uint8_t *put_colon(uint8_t *q, Span s) noexcept nogil:
    q = put(q, s)
    q[0] = c':'
    return q + 1


cdef inline size_t a2_size(const Inputs *v) noexcept nogil:
    return v.method.n + 1 + v.uri.n + (33 if v.body_hashed else 0)


cdef inline size_t prefix_size(const Inputs *v) noexcept nogil:
    """The size of the response's input before HA2."""
    return 33 + v.nonce.n + 1 + (v.nc.n + v.cnonce.n + v.qop.n + 3 if v.with_qop else 0)


cdef inline uint8_t *put_a2(uint8_t *q, const Inputs *v) noexcept nogil:
    q = put_colon(q, v.method)
    q = put(q, v.uri)
    if v.body_hashed:
        q[0] = c':'
        memcpy(q + 1, v.body, 32)
        q += 33
    return q


cdef inline uint8_t *put_prefix(uint8_t *q, const Inputs *v) noexcept nogil:
    memcpy(q, v.ha1, 32)
    q[32] = c':'
    q = put_colon(q + 33, v.nonce)
    if v.with_qop:
        q = put_colon(q, v.nc)
        q = put_colon(q, v.cnonce)
        q = put_colon(q, v.qop)
    return q


cdef inline size_t pad(uint8_t *block, size_t n) noexcept nogil:
    """Appends MD5's padding to n bytes (RFC 1321, 3.1 and 3.2).

    Returns:
        The number of blocks.
    """
    cdef size_t blocks = (n + 8) // 64 + 1
    cdef size_t bits = n * 8
    cdef uint8_t *length = block + blocks * 64 - 8
    cdef int i
    block[n] = 0x80
    memset(block + n + 1, 0, blocks * 64 - n - 9)
    for i in range(8):
        length[i] = <uint8_t>(<unsigned long long>bits >> (8 * i))
    return blocks


cdef void response_md5(const Inputs *v, uint8_t *hex_out) noexcept nogil:
    """KD(HA1, …) of RFC 7616, 3.4.1 for MD5, as 32 hexadecimal digits."""
    cdef uint8_t a2[64]
    cdef uint8_t text[1024]
    cdef uint32_t state_a2[4]
    cdef uint32_t state[4]
    cdef size_t prefix = prefix_size(v), blocks, done = 0
    if a2_size(v) > 55 or not 64 <= prefix <= 900:
        response_md5_of_any_size(v, hex_out)
        return
    # HA2 and the first block of the response are independent and hashed side by side.
    pad(a2, <size_t>(put_a2(a2, v) - a2))
    put_prefix(text, v)
    memcpy(state, ad_md5_initial_state, 16)
    memcpy(state_a2, ad_md5_initial_state, 16)
    ad_md5_compress2(state_a2, a2, state, text)
    ad_put_hex(text + prefix, <const uint8_t *>state_a2)
    blocks = pad(text, prefix + 32)
    for done in range(1, blocks):
        ad_md5_compress(state, text + 64 * done)
    ad_put_hex(hex_out, <const uint8_t *>state)


cdef void response_md5_of_any_size(const Inputs *v, uint8_t *hex_out) noexcept nogil:
    """The same as `response_md5`, for values that do not fit its buffers."""
    cdef ad_md5_stream stream
    cdef uint8_t digest[16]
    cdef uint8_t hex_ha2[32]
    ad_md5_init(&stream)
    ad_md5_update(&stream, v.method.p, v.method.n)
    ad_md5_update(&stream, b":", 1)
    ad_md5_update(&stream, v.uri.p, v.uri.n)
    if v.body_hashed:
        ad_md5_update(&stream, b":", 1)
        ad_md5_update(&stream, v.body, 32)
    ad_md5_final(&stream, digest)
    ad_put_hex(hex_ha2, digest)
    ad_md5_init(&stream)
    ad_md5_update(&stream, v.ha1, 32)
    ad_md5_update(&stream, b":", 1)
    ad_md5_update(&stream, v.nonce.p, v.nonce.n)
    if v.with_qop:
        ad_md5_update(&stream, b":", 1)
        ad_md5_update(&stream, v.nc.p, v.nc.n)
        ad_md5_update(&stream, b":", 1)
        ad_md5_update(&stream, v.cnonce.p, v.cnonce.n)
        ad_md5_update(&stream, b":", 1)
        ad_md5_update(&stream, v.qop.p, v.qop.n)
    ad_md5_update(&stream, b":", 1)
    ad_md5_update(&stream, hex_ha2, 32)
    ad_md5_final(&stream, digest)
    ad_put_hex(hex_out, digest)


cdef void make_session_ha1(Inputs *v) noexcept nogil:
    """A1 of the -sess algorithms: H(user:realm:password) ":" nonce ":" cnonce (RFC 7616, 3.4.2)."""
    cdef ad_md5_stream stream
    cdef uint8_t digest[16]
    ad_md5_init(&stream)
    ad_md5_update(&stream, v.ha1, 32)
    ad_md5_update(&stream, b":", 1)
    ad_md5_update(&stream, v.nonce.p, v.nonce.n)
    ad_md5_update(&stream, b":", 1)
    ad_md5_update(&stream, v.cnonce.p, v.cnonce.n)
    ad_md5_final(&stream, digest)
    ad_put_hex(v.ha1, digest)


cdef inline bint put_ha1(Inputs *v, Span ha1) noexcept nogil:
    """Copies HA1 in lower case; False if it is not 32 bytes long, as for another algorithm."""
    if ha1.n != 32:
        return False
    ad_lower_hex(v.ha1, ha1.p)
    return True


cdef inline bint put_body_hash(Inputs *v, bytes hashed) noexcept:
    """Copies H(entity-body) in lower case; False if it is not 32 bytes long, as for another algorithm."""
    if hashed is None or PyBytes_GET_SIZE(hashed) != 32:
        return False
    ad_lower_hex(v.body, <const uint8_t *>PyBytes_AS_STRING(hashed))
    v.body_hashed = True
    return True


cdef inline bint same_response(Span given, const uint8_t *expected, size_t n) noexcept nogil:
    """Compares in constant time; `given` is hexadecimal, in either case."""
    return given.n == n and ad_same_hex(given.p, expected, n)


cdef object hash_of(str name):
    """hashlib's function of that name, which is faster than hashlib.new, if it has one."""
    return getattr(hashlib, name, None) or partial(hashlib.new, name)


cdef tuple _HASHES = tuple([hash_of(one.hash) for one in _ALGORITHMS.values() if not one.sess])


cdef str response_sha(AlgorithmIndex algorithm, bint sess, str ha1, bytes method, bytes uri, bytes nonce,
                      bytes nc, bytes cnonce, bytes qop, bytes body_hash):
    """The same as `response_md5` with hashlib; missing values are None, and `body_hash` without auth-int."""
    new = _HASHES[algorithm]
    cdef bytes a1 = ha1.lower().encode()
    if sess:
        a1 = new(b"%b:%b:%b" % (a1, nonce, cnonce or b"")).hexdigest().encode()
    cdef bytes a2 = b"%b:%b" % (method, uri)
    if body_hash is not None:
        a2 = b"%b:%b" % (a2, body_hash.lower())
    ha2 = new(a2).hexdigest().encode()
    if qop is None:
        return new(b"%b:%b:%b" % (a1, nonce, ha2)).hexdigest()
    return new(b"%b:%b:%b:%b:%b:%b" % (a1, nonce, nc, cnonce, qop, ha2)).hexdigest()


cdef inline bint fill_inputs(Credentials c, Span method, Span ha1, Inputs *v, uint8_t *room) noexcept nogil:
    """Fills all inputs but the body; `room` takes unquoted values. False if no response can match."""
    cdef bint escaped = c.fields.escaped != 0
    if not put_ha1(v, ha1):
        return False
    v.method = method
    v.body_hashed = False
    v.with_qop = c.fields.qop != QOP_NONE
    if not escaped:
        v.uri = c.fields.value[URI]
        v.nonce = c.fields.value[NONCE]
        v.cnonce = c.fields.value[CNONCE]
        v.nc = c.fields.value[NC]
        v.qop = c.fields.value[QOP]
    else:
        v.uri = plain_value(&c.fields, URI, room)
        v.nonce = plain_value(&c.fields, NONCE, room + MAX_PARAMETER)
        v.cnonce = plain_value(&c.fields, CNONCE, room + 2 * MAX_PARAMETER)
        v.nc = plain_value(&c.fields, NC, room + 3 * MAX_PARAMETER)
        v.qop = plain_value(&c.fields, QOP, room + 3 * MAX_PARAMETER + 64)
    return True


cdef bytes hex_hash(AlgorithmIndex algorithm, bytes data):
    """H(data) in lower-case hexadecimal."""
    cdef uint8_t digest[16]
    cdef uint8_t text[32]
    if algorithm != MD5:
        return _HASHES[algorithm](data).hexdigest().encode()
    ad_md5(PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data), digest)
    ad_put_hex(text, digest)
    return text[:32]


def body_hash(Credentials credentials not None, body):
    """H(entity-body) by the credentials' algorithm in hexadecimal, for qop=auth-int (RFC 7616, 3.4.3).

    Args:
        credentials: Credentials.
        body: bytes-like.

    Returns:
        Bytes, or None if the algorithm is unknown.
    """
    if credentials.fields.algorithm == ALGORITHM_UNKNOWN:
        return None
    return hex_hash(credentials.fields.algorithm, as_bytes(body, "body"))


cdef bint verify_one(Credentials c, object method, object ha1, object body, object hashed) except -1:
    cdef Inputs v
    cdef Span method_span, ha1_span
    cdef uint8_t room[5 * MAX_PARAMETER]
    cdef uint8_t expected[32]
    cdef bytes of_body = None
    _method_kept = borrow(method, &method_span, "method")
    span_of(ha1, &ha1_span, "ha1")
    if c.fields.algorithm == ALGORITHM_UNKNOWN or c.fields.qop == QOP_UNKNOWN:
        return False
    if c.fields.qop == QOP_AUTH_INT:
        of_body = as_bytes(hashed, "body_hash") if hashed is not None else body_hash(c, body)
    if c.fields.algorithm != MD5:
        return verify_sha(c, method, ha1, of_body)
    if c.fields.sess and c.fields.value[CNONCE].p == NULL:
        return False
    if not fill_inputs(c, method_span, ha1_span, &v, room):
        return False
    if c.fields.sess:
        make_session_ha1(&v)
    if c.fields.qop == QOP_AUTH_INT and not put_body_hash(&v, of_body):
        return False
    response_md5(&v, expected)
    return same_response(c.fields.value[RESPONSE], expected, 32)


cdef bint verify_sha(Credentials c, object method, object ha1, bytes hashed) except -1:
    cdef bytes response = as_bytes(c.text(RESPONSE), "response")
    cdef bytes expected
    cdef str ha1_text = ha1 if isinstance(ha1, str) else ha1.decode("ascii", "replace")
    if len(ha1_text) != SHA_2_DIGITS or (hashed is not None and len(hashed) != SHA_2_DIGITS):
        return False
    if c.fields.sess and c.fields.value[CNONCE].p == NULL:
        return False
    expected = response_sha(
        c.fields.algorithm, c.fields.sess, ha1_text, as_bytes(method, "method"), _bytes(c.uri), _bytes(c.nonce),
        _bytes(c.nc), _bytes(c.cnonce), _bytes(c.qop), hashed,
    ).encode()
    return same_response(
        Span(<const uint8_t *>PyBytes_AS_STRING(response), <size_t>PyBytes_GET_SIZE(response)),
        <const uint8_t *>PyBytes_AS_STRING(expected), <size_t>PyBytes_GET_SIZE(expected))


cdef bytes _bytes(object value):
    return None if value is None else as_bytes(value, "value")


def verify(Credentials credentials not None, method, ha1, body=b"", *, body_hash=None):
    """Whether the response of credentials is correct (RFC 7616, 3.4.1), compared in constant time.

    The caller checks that the nonce is its own, unused, and was issued for exactly this algorithm. To accept
    -sess with the nonce of a challenge without it gives away a session key with each response (3.4.2).

    Args:
        credentials: Credentials.
        method: the request's method, str or bytes.
        ha1: H(username:realm:password) by the credentials' algorithm in hexadecimal, str or bytes; one of
            another length never matches.
        body: the request's body, bytes-like, used with qop=auth-int only (3.4.3).
        body_hash: H(body) by the credentials' algorithm in hexadecimal, str or bytes, instead of `body`.

    Returns:
        Bool; False for an unknown algorithm or qop.
    """
    return verify_one(credentials, method, ha1, body, body_hash)


cdef struct Slot:
    Py_ssize_t index
    size_t prefix
    Span response


cdef struct Batch:
    Slot slot[BATCH]
    ad_md5_job job[BATCH]
    uint8_t digest[BATCH][16]
    uint8_t a2[BATCH][A2_ROOM]
    uint8_t text[BATCH][RESPONSE_ROOM]


cdef void run_batch(Batch *b, int count, uint8_t *results) noexcept nogil:
    """Computes both hashes of each slot in lanes, first HA2, then the response."""
    cdef int i
    cdef uint8_t expected[32]
    for i in range(count):
        b.job[i].digest = b.digest[i]
    ad_md5_many(b.job, count)
    for i in range(count):
        ad_put_hex(b.text[i] + b.slot[i].prefix, b.digest[i])
        b.job[i].data = b.text[i]
        b.job[i].size = b.slot[i].prefix + 32
    ad_md5_many(b.job, count)
    for i in range(count):
        ad_put_hex(expected, b.digest[i])
        results[b.slot[i].index] = same_response(b.slot[i].response, expected, 32)


def md5_lanes():
    """The SIMD lanes of `verify_many`: "avx512", "avx2", "sse2", "neon" or "scalar".

    They are the widest of the machine, or those that AUTH_DIAMETER_MD5_LANES named at import.

    Returns:
        Str.
    """
    return ad_md5_lanes().decode("ascii")


cdef void use_lanes(str name) except *:
    if ad_md5_use_lanes(name.encode("ascii", "replace")) != 0:
        raise ConfigError(f"AUTH_DIAMETER_MD5_LANES: this machine or build has no {name!r}")


if "AUTH_DIAMETER_MD5_LANES" in os.environ:
    use_lanes(os.environ["AUTH_DIAMETER_MD5_LANES"])


def verify_many(items):
    """`verify` for many credentials at once, in SIMD lanes and without the GIL.

    Algorithms may be mixed; MD5 with qop=auth or without qop goes into the lanes.

    Args:
        items: iterable of tuples (credentials, method, ha1[, body[, body_hash]]), see `verify`.

    Returns:
        Bytearray, one byte for each item in order: 1 correct, 0 wrong.
    """
    cdef tuple all_items = tuple(items)     # keeps every item alive and in place
    cdef Py_ssize_t n = len(all_items), i
    cdef bytearray results = bytearray(n)
    cdef uint8_t *out = <uint8_t *>PyByteArray_AS_STRING(results)
    cdef Batch *b = <Batch *>PyMem_Malloc(sizeof(Batch))
    cdef Credentials c
    cdef Inputs v
    cdef Span method, ha1
    cdef int count = 0
    cdef tuple item
    if b == NULL:
        raise MemoryError()
    try:
        for i in range(n):
            item = all_items[i]
            if not 3 <= len(item) <= 5:
                raise TypeError("items: expected tuples (credentials, method, ha1[, body[, body_hash]])")
            c = item[0]
            if c is None:
                raise TypeError("items: expected Credentials, not None")
            if (c.fields.algorithm != MD5 or c.fields.sess or c.fields.escaped
                    or c.fields.qop == QOP_AUTH_INT or c.fields.qop == QOP_UNKNOWN):
                out[i] = verify_one(c, item[1], item[2], item[3] if len(item) > 3 else b"",
                                    item[4] if len(item) > 4 else None)
                continue
            _method_kept = borrow(item[1], &method, "method")
            span_of(item[2], &ha1, "ha1")
            if not fill_inputs(c, method, ha1, &v, NULL):
                continue
            if a2_size(&v) > A2_ROOM or prefix_size(&v) + 32 > RESPONSE_ROOM:
                out[i] = verify_one(c, item[1], item[2], b"", None)
                continue
            b.job[count].data = b.a2[count]
            b.job[count].size = <size_t>(put_a2(b.a2[count], &v) - b.a2[count])
            b.slot[count].prefix = <size_t>(put_prefix(b.text[count], &v) - b.text[count])
            b.slot[count].index = i
            b.slot[count].response = c.fields.value[RESPONSE]
            count += 1
            if count == BATCH:
                with nogil:
                    run_batch(b, count, out)
                count = 0
        with nogil:
            run_batch(b, count, out)
    finally:
        PyMem_Free(b)
    return results


def ha1(str username not None, str realm not None, str password not None, str algorithm="MD5"):
    """HA1, H(username:realm:password) in lower-case hexadecimal (RFC 7616, 3.4.2), as a store keeps it.

    A -sess algorithm has the same HA1: nonce and cnonce enter with each response.

    Args:
        username: str.
        realm: str.
        password: str.
        algorithm: "MD5", "SHA-256" or "SHA-512-256", each with or without "-sess".

    Returns:
        Str.

    Raises:
        ConfigError: the algorithm is unknown.
    """
    cdef bint sess
    cdef AlgorithmIndex kind = algorithm_of(algorithm, &sess)
    return hex_hash(kind, f"{username}:{realm}:{password}".encode("utf-8", "surrogateescape")).decode("ascii")


def user_hash(str username not None, str realm not None, str algorithm="MD5"):
    """H(username:realm) in lower-case hexadecimal: the username with userhash=true (RFC 7616, 3.4.4).

    Args:
        username: str.
        realm: str.
        algorithm: as for `ha1`.

    Returns:
        Str.

    Raises:
        ConfigError: the algorithm is unknown.
    """
    cdef bint sess
    cdef AlgorithmIndex kind = algorithm_of(algorithm, &sess)
    return hex_hash(kind, f"{username}:{realm}".encode("utf-8", "surrogateescape")).decode("ascii")


def digest_response(str ha1 not None, str method not None, str uri not None, str nonce not None, *,
                    str algorithm="MD5", qop=None, nc=None, cnonce=None, body=b""):
    """The response of correct credentials in lower-case hexadecimal (RFC 7616, 3.4.1).

    Args:
        ha1: H(username:realm:password), str, see `ha1`; also for a -sess algorithm.
        method: the request's method, str.
        uri: the digest-uri, str.
        nonce: str.
        algorithm: as for `ha1`.
        qop: None (RFC 2069), "auth" or "auth-int".
        nc: the nonce count, 8 hexadecimal digits, str; required with qop.
        cnonce: the client nonce, str; required with qop and with a -sess algorithm.
        body: bytes-like, hashed with qop="auth-int".

    Returns:
        Str.

    Raises:
        ConfigError: the algorithm is unknown, HA1 has the wrong length, or nc or cnonce is missing.
    """
    cdef Inputs v
    cdef uint8_t text[32]
    cdef bytes method_ = as_bytes(method, "method"), uri_ = as_bytes(uri, "uri")
    cdef bytes nonce_ = as_bytes(nonce, "nonce"), ha1_ = as_bytes(ha1, "ha1"), body_ = None
    cdef bytes nc_ = _bytes(nc), cnonce_ = _bytes(cnonce), qop_ = _bytes(qop)
    cdef Span span
    cdef bint sess
    cdef AlgorithmIndex kind = algorithm_of(algorithm, &sess)
    if len(ha1_) != ad_algorithms[kind].digits:
        raise ConfigError(f"ha1: expected {ad_algorithms[kind].digits} hexadecimal digits for {algorithm}")
    if qop_ is not None and (nc_ is None or cnonce_ is None):
        raise ConfigError("qop: wants nc and cnonce too")
    if sess and cnonce_ is None:
        raise ConfigError(f"algorithm {algorithm}: wants a cnonce")
    if qop is not None and str(qop).lower() == "auth-int":
        body_ = hex_hash(kind, as_bytes(body, "body"))
    if kind != MD5:
        return response_sha(kind, sess, ha1, method_, uri_, nonce_, nc_, cnonce_, qop_, body_)
    memset(&v, 0, sizeof(v))
    span_of(ha1_, &span, "ha1")
    put_ha1(&v, span)
    span_of(method_, &v.method, "method")
    span_of(uri_, &v.uri, "uri")
    span_of(nonce_, &v.nonce, "nonce")
    if cnonce_ is not None:
        span_of(cnonce_, &v.cnonce, "cnonce")
    if qop_ is not None:
        v.with_qop = True
        span_of(nc_, &v.nc, "nc")
        span_of(qop_, &v.qop, "qop")
    if sess:
        make_session_ha1(&v)
    if body_ is not None:
        put_body_hash(&v, body_)
    response_md5(&v, text)
    return text[:32].decode("ascii")
