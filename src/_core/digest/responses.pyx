"""Responses of Digest credentials by any algorithm (RFC 7616, 3.4.1 to 3.4.3)."""

import os

from libc.stdint cimport uint8_t

from auth_diameter._core.base.hex cimport ad_lower_hex, ad_put_hex
from auth_diameter._core.base.md5 cimport ad_md5_final, ad_md5_init, ad_md5_stream, ad_md5_update
from auth_diameter._core.base.secret cimport ad_wipe
from auth_diameter._core.base.sha2 cimport (
    ad_sha256, ad_sha256_final, ad_sha256_init, ad_sha256_update, ad_sha512_256, ad_sha512_256_final,
    ad_sha512_256_init, ad_sha512_256_update, ad_sha256_use_instructions,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.algorithms cimport (
    ALGORITHM_UNKNOWN, MD5, SHA_256, AlgorithmIndex, ad_algorithms,
)
from auth_diameter._core.digest.params cimport QOP_AUTH_INT, QOP_NONE, QOP_UNKNOWN

from auth_diameter._core.errors import ConfigError

if "AUTH_DIAMETER_SHA256" in os.environ:        # for tests of the instructions that this machine would not use
    if ad_sha256_use_instructions(os.environ["AUTH_DIAMETER_SHA256"].encode("ascii", "replace")) != 0:
        raise ConfigError("AUTH_DIAMETER_SHA256: this machine or build has none of that name")


cdef struct Hash:
    # A stream of one of the algorithms
    AlgorithmIndex algorithm
    ad_md5_stream md5
    ad_sha256 sha256
    ad_sha512_256 sha512


cdef void begin(Hash *h, AlgorithmIndex algorithm) noexcept nogil:
    h.algorithm = algorithm
    if algorithm == MD5:
        ad_md5_init(&h.md5)
    elif algorithm == SHA_256:
        ad_sha256_init(&h.sha256)
    else:
        ad_sha512_256_init(&h.sha512)


cdef void add(Hash *h, Span text) noexcept nogil:
    if h.algorithm == MD5:
        ad_md5_update(&h.md5, text.p, text.n)
    elif h.algorithm == SHA_256:
        ad_sha256_update(&h.sha256, text.p, text.n)
    else:
        ad_sha512_256_update(&h.sha512, text.p, text.n)


cdef void add_behind_colon(Hash *h, Span text) noexcept nogil:
    add(h, Span(<const uint8_t *>b":", 1))
    add(h, text)


cdef size_t end(Hash *h, uint8_t *out) noexcept nogil:
    """Writes the digest as digits in lower case.

    Returns:
        Their number.
    """
    cdef uint8_t digest[32]
    if h.algorithm == MD5:
        ad_md5_final(&h.md5, digest)
    elif h.algorithm == SHA_256:
        ad_sha256_final(&h.sha256, digest)
    else:
        ad_sha512_256_final(&h.sha512, digest)
    ad_put_hex(out, digest)
    if h.algorithm != MD5:
        ad_put_hex(out + 32, digest + 16)
    return ad_algorithms[h.algorithm].digits


cdef size_t put_hash(uint8_t *out, AlgorithmIndex algorithm, Span text) noexcept nogil:
    """Writes H(text) as digits in lower case.

    Returns:
        Their number.
    """
    cdef Hash h
    begin(&h, algorithm)
    add(&h, text)
    return end(&h, out)


cdef bint is_computable(const Response *r) noexcept nogil:
    """Whether there is a response: no other than this could be right."""
    cdef size_t digits
    if not MD5 <= r.algorithm < ALGORITHM_UNKNOWN or r.qop == QOP_UNKNOWN:
        return False
    digits = ad_algorithms[r.algorithm].digits
    if r.ha1.n != digits or (r.sess and r.cnonce.p == NULL):
        return False
    return r.qop != QOP_AUTH_INT or r.body_hash.n == digits


cdef Span in_lower_case(uint8_t *room, Span digits) noexcept nogil:
    """Digits of a digest in lower case; `room` takes them, MAX_DIGITS bytes."""
    ad_lower_hex(room, digits.p)
    if digits.n > 32:
        ad_lower_hex(room + 32, digits.p + 32)
    return Span(room, digits.n)


cdef size_t put_response(uint8_t *out, const Response *r) noexcept nogil:
    """Writes the response that `is_computable` says there is, up to MAX_DIGITS digits in lower case.

    Returns:
        Their number.
    """
    cdef Hash h
    cdef uint8_t a1[MAX_DIGITS]
    cdef uint8_t room[MAX_DIGITS]
    cdef Span ha1 = in_lower_case(a1, r.ha1)
    cdef Span ha2
    cdef size_t n
    if r.sess:
        begin(&h, r.algorithm)
        add(&h, ha1)
        add_behind_colon(&h, r.nonce)
        add_behind_colon(&h, r.cnonce)
        end(&h, a1)
    begin(&h, r.algorithm)
    add(&h, r.method)
    add_behind_colon(&h, r.uri)
    if r.qop == QOP_AUTH_INT:
        add_behind_colon(&h, in_lower_case(room, r.body_hash))
    ha2 = Span(<const uint8_t *>room, end(&h, room))
    begin(&h, r.algorithm)
    add(&h, ha1)
    add_behind_colon(&h, r.nonce)
    if r.qop != QOP_NONE:
        add_behind_colon(&h, r.nc)
        add_behind_colon(&h, r.cnonce)
        add_behind_colon(&h, r.qop_text)
    add_behind_colon(&h, ha2)
    n = end(&h, out)
    ad_wipe(a1, sizeof(a1))
    ad_wipe(&h, sizeof(h))
    return n
