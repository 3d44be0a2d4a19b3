"""Digest responses: computing and verifying them (RFC 7616, 3.4.1 to 3.4.3).

MD5 is our own (md5_response.pyx), SHA-2 is that of hashlib.
"""

import hashlib
from functools import partial

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.string cimport memset

from auth_diameter._core.base.hex cimport ad_lower_hex, ad_put_hex
from auth_diameter._core.base.md5 cimport ad_md5
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport as_bytes, borrow, span_of
from auth_diameter._core.digest.algorithms cimport (
    ALGORITHM_UNKNOWN, MD5, MD5_DIGITS, SHA_2_DIGITS, AlgorithmIndex, ad_algorithms, algorithm_of,
)
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.md5_response cimport (
    Inputs, fill_inputs, make_session_ha1, put_ha1, response_md5, same_response,
)
from auth_diameter._core.digest.params cimport CNONCE, MAX_PARAMETER, QOP_AUTH_INT, QOP_UNKNOWN, RESPONSE

from auth_diameter._core.digest.algorithms import ALGORITHMS as _ALGORITHMS
from auth_diameter._core.errors import ConfigError


cdef object hash_of(str name):
    """hashlib's function of that name, which is faster than hashlib.new, if it has one."""
    return getattr(hashlib, name, None) or partial(hashlib.new, name)


cdef tuple _HASHES = tuple([hash_of(one.hash) for one in _ALGORITHMS.values() if not one.sess])


cdef str response_sha(AlgorithmIndex algorithm, bint sess, str ha1, bytes method, bytes uri, bytes nonce,
                      bytes nc, bytes cnonce, bytes qop, bytes body_hash):
    """The same as `response_md5` with hashlib; missing values are None, and so is `body_hash` without auth-int."""
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


cdef inline bint put_body_hash(Inputs *v, bytes hashed) noexcept:
    """Copies H(entity-body) in lower case; False if it has the length of another algorithm's."""
    if hashed is None or PyBytes_GET_SIZE(hashed) != MD5_DIGITS:
        return False
    ad_lower_hex(v.body, <const uint8_t *>PyBytes_AS_STRING(hashed))
    v.body_hashed = True
    return True


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

    The caller checks that the nonce is its own, unused, and was issued for exactly this algorithm. A -sess
    response to a nonce that was issued without -sess exposes a session key (3.4.2).

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
    if <size_t>len(ha1_) != ad_algorithms[kind].digits:
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
