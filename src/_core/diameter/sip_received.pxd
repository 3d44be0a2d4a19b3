"""MAR of RFC 4740, read into a struct that the caller owns; no Python object is touched."""

from libc.stdint cimport uint8_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.fault cimport Fault
from auth_diameter._core.diameter.header cimport Header
from auth_diameter._core.digest.params cimport DigestFields

cdef struct MarView:
    Header header
    Span session_id             # p is NULL where absent, as in all spans below
    Span origin_host
    Span destination_realm
    Span destination_host
    Span user_name
    Span aor
    Span method
    Span server_uri
    Span digest_method
    Span body_hash
    Span acct_session_id        # of OpenSIPS, which wants it back
    size_t proxy_info           # bytes of all Proxy-Info, which go back as they are (RFC 6733, 6.7.2)
    DigestFields *credentials   # of the caller; values are plain: no escapes
    bint has_response           # whether the credentials answer a challenge
    bint is_flat                # whether the Digest AVPs lie in the message itself, as OpenSIPS has them
    Fault fault


cdef bint read_mar(const uint8_t *p, size_t n, DigestFields *credentials, MarView *out) noexcept nogil
