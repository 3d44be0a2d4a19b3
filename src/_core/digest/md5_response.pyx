"""The response of Digest credentials by MD5 (RFC 7616, 3.4.1 to 3.4.3)."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.hex cimport ad_put_hex
from auth_diameter._core.base.md5 cimport (
    ad_md5_compress, ad_md5_compress2, ad_md5_final, ad_md5_init, ad_md5_initial_state, ad_md5_stream,
    ad_md5_update,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport CNONCE, MAX_PARAMETER, NC, NONCE, QOP, QOP_NONE, URI, plain_value


cdef bint fill_inputs(Credentials c, Span method, Span ha1, Inputs *v, uint8_t *room) noexcept nogil:
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
