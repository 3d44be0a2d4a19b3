"""Many digest responses verified at once, by MD5 in SIMD lanes (RFC 7616, 3.4.1)."""

import os

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uint8_t
from libc.string cimport memset

from auth_diameter._core.base.hex cimport ad_lower_hex, ad_put_hex
from auth_diameter._core.base.md5 cimport ad_md5_job, ad_md5_lanes, ad_md5_many, ad_md5_use_lanes
from auth_diameter._core.base.scratch cimport (
    ad_scratch, ad_scratch_release, ad_scratch_take, ad_scratch_take_plain,
)
from auth_diameter._core.base.secret cimport ad_wipe
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of
from auth_diameter._core.digest.algorithms cimport MD5, MD5_DIGITS
from auth_diameter._core.digest.compute cimport verify_one
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.md5_response cimport (
    Inputs, a2_size, fill_inputs, make_session_ha1, prefix_size, put_a2, put_ha1, put_prefix, same_response,
)
from auth_diameter._core.digest.params cimport QOP_AUTH_INT, QOP_NONE, QOP_UNKNOWN, RESPONSE
from auth_diameter._core.digest.responses cimport MAX_DIGITS, Response, is_computable, put_response

from auth_diameter._core.errors import ConfigError

cdef enum:
    # Inputs up to these sizes are hashed in lanes, longer ones alone.
    BATCH = 128
    A2_ROOM = 192
    RESPONSE_ROOM = 448


cdef struct Lane:
    uint8_t a2[A2_ROOM]
    uint8_t text[RESPONSE_ROOM]     # the input of the response, up to HA2 at first
    uint8_t digest[16]
    size_t a2_size
    size_t prefix                   # bytes before HA2
    Span given
    bint *right                     # where the result goes


cdef bint put_lane(Lane *lane, const Inputs *v, Span given, bint *right) noexcept nogil:
    """Fills in a lane; False if the inputs are too long for one."""
    if a2_size(v) > A2_ROOM or prefix_size(v) + 32 > RESPONSE_ROOM:
        return False
    lane.a2_size = <size_t>(put_a2(lane.a2, v) - lane.a2)
    lane.prefix = <size_t>(put_prefix(lane.text, v) - lane.text)
    lane.given = given
    lane.right = right
    return True


cdef void run_lanes(Lane *lanes, ad_md5_job *jobs, size_t count) noexcept nogil:
    """Computes both hashes of each lane, first HA2, then the response."""
    cdef size_t i
    cdef uint8_t expected[32]
    for i in range(count):
        jobs[i].data = lanes[i].a2
        jobs[i].size = lanes[i].a2_size
        jobs[i].digest = lanes[i].digest
    ad_md5_many(jobs, count)
    for i in range(count):
        ad_put_hex(lanes[i].text + lanes[i].prefix, lanes[i].digest)
        jobs[i].data = lanes[i].text
        jobs[i].size = lanes[i].prefix + 32
    ad_md5_many(jobs, count)
    for i in range(count):
        ad_put_hex(expected, lanes[i].digest)
        lanes[i].right[0] = same_response(lanes[i].given, expected, 32)
        ad_wipe(lanes[i].text, MD5_DIGITS)      # HA1, with which each begins


cdef bint verify_responses(Check *checks, size_t count, ad_scratch *scratch) noexcept nogil:
    """Compares each response with the one that is given, in constant time; sets `right` of each.

    Returns:
        False if there is no memory; then none is right.
    """
    cdef size_t most = count if count < BATCH else BATCH, used = 0, i
    cdef Lane *lanes = <Lane *>ad_scratch_take_plain(scratch, most * sizeof(Lane))
    cdef ad_md5_job *jobs = <ad_md5_job *>ad_scratch_take(scratch, most * sizeof(ad_md5_job))
    cdef Inputs v
    for i in range(count):
        checks[i].right = False
    if lanes == NULL or jobs == NULL:
        return False
    for i in range(count):
        if not is_computable(&checks[i].of):
            continue
        if checks[i].of.algorithm != MD5:
            verify_alone(&checks[i])
            continue
        inputs_of(&checks[i].of, &v)
        if not put_lane(&lanes[used], &v, checks[i].given, &checks[i].right):
            verify_alone(&checks[i])
            continue
        used += 1
        if used == BATCH:
            run_lanes(lanes, jobs, used)
            used = 0
    run_lanes(lanes, jobs, used)
    ad_wipe(&v, sizeof(v))
    return True


cdef void verify_alone(Check *check) noexcept nogil:
    cdef uint8_t expected[MAX_DIGITS]
    check.right = same_response(check.given, expected, put_response(expected, &check.of))


cdef void inputs_of(const Response *r, Inputs *v) noexcept nogil:
    """Fills in the inputs of a response by MD5; a -sess one has the hash of its session for HA1."""
    put_ha1(v, r.ha1)
    v.method = r.method
    v.uri = r.uri
    v.nonce = r.nonce
    v.nc = r.nc
    v.cnonce = r.cnonce
    v.qop = r.qop_text
    v.with_qop = r.qop != QOP_NONE
    v.body_hashed = r.qop == QOP_AUTH_INT
    if v.body_hashed:
        ad_lower_hex(v.body, r.body_hash.p)
    if r.sess:
        make_session_ha1(v)


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
    cdef Credentials c
    cdef ad_scratch scratch
    cdef Lane *lanes
    cdef ad_md5_job *jobs
    cdef bint *right
    cdef Inputs v
    cdef Span method, ha1
    cdef size_t used = 0
    cdef tuple item
    memset(&scratch, 0, sizeof(scratch))
    try:
        lanes = <Lane *>ad_scratch_take_plain(&scratch, BATCH * sizeof(Lane))
        jobs = <ad_md5_job *>ad_scratch_take(&scratch, BATCH * sizeof(ad_md5_job))
        right = <bint *>ad_scratch_take(&scratch, <size_t>n * sizeof(bint))
        if lanes == NULL or jobs == NULL or right == NULL:
            raise MemoryError()
        for i in range(n):
            right[i] = False
            item = all_items[i]
            if not 3 <= len(item) <= 5:
                raise TypeError("items: expected tuples (credentials, method, ha1[, body[, body_hash]])")
            c = item[0]
            if c is None:
                raise TypeError("items: expected Credentials, not None")
            if (c.fields.algorithm != MD5 or c.fields.sess or c.fields.escaped
                    or c.fields.qop == QOP_AUTH_INT or c.fields.qop == QOP_UNKNOWN):
                right[i] = verify_one(c, item[1], item[2], item[3] if len(item) > 3 else b"",
                                      item[4] if len(item) > 4 else None)
                continue
            _method_kept = borrow(item[1], &method, "method")
            span_of(item[2], &ha1, "ha1")
            if not fill_inputs(c, method, ha1, &v, NULL):
                continue
            if not put_lane(&lanes[used], &v, c.fields.value[RESPONSE], &right[i]):
                right[i] = verify_one(c, item[1], item[2], b"", None)
                continue
            used += 1
            if used == BATCH:
                with nogil:
                    run_lanes(lanes, jobs, used)
                used = 0
        with nogil:
            run_lanes(lanes, jobs, used)
        for i in range(n):
            out[i] = right[i]
    finally:
        ad_scratch_release(&scratch)
    return results
