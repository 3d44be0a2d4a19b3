"""Many digest responses verified at once, by MD5 in SIMD lanes (RFC 7616, 3.4.1)."""

import os

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t

from auth_diameter._core.base.hex cimport ad_put_hex
from auth_diameter._core.base.md5 cimport ad_md5_job, ad_md5_lanes, ad_md5_many, ad_md5_use_lanes
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of
from auth_diameter._core.digest.algorithms cimport MD5
from auth_diameter._core.digest.compute cimport verify_one
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.md5_response cimport (
    Inputs, a2_size, fill_inputs, prefix_size, put_a2, put_prefix, same_response,
)
from auth_diameter._core.digest.params cimport QOP_AUTH_INT, QOP_UNKNOWN, RESPONSE

from auth_diameter._core.errors import ConfigError

cdef enum:
    # Inputs up to these sizes are hashed in lanes, longer ones alone.
    BATCH = 128
    A2_ROOM = 192
    RESPONSE_ROOM = 448


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
