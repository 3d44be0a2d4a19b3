"""MAR of RFC 4740 as spans and plain structs, and the functions that read and write it.

Nothing here touches a Python object. The reader fills a struct that the caller owns; for the writer the caller makes
room.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.application cimport Asked
from auth_diameter._core.diameter.header cimport Header
from auth_diameter._core.digest.params cimport DigestFields

cdef struct Route:
    # What all requests of a client say of it and of where they go
    Span origin_host
    Span origin_realm
    Span destination_realm      # n is 0: the realm that is asked about
    Span destination_host       # n is 0: whoever serves the realm
    Span server_uri             # n is 0: the client is no registrar (RFC 4740, 8.7)
    uint64_t session_key[2]     # of the hash that makes Session-Ids


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
    DigestFields credentials    # values are plain: no escapes
    bint has_response           # whether the credentials answer a challenge
    bint is_flat                # whether the Digest AVPs lie in the message itself, as OpenSIPS has them
    uint32_t fault              # the Result-Code that refuses the message, or 0
    Span failed                 # the AVP at fault, whole; p is NULL: `missing` is the code of one that is missing
    uint32_t missing


cdef size_t mar_room(const Asked *asked, const Route *route) noexcept nogil
cdef size_t put_mar(uint8_t *out, const Asked *asked, const Route *route) noexcept nogil
cdef void session_of(const Asked *asked, const Route *route, uint32_t *session) noexcept nogil
cdef size_t put_session(uint8_t *q, Span origin_host, const uint32_t *session) noexcept nogil
cdef bint read_session(Span text, Span origin_host, uint32_t *session) noexcept nogil
cdef bint read_mar(const uint8_t *p, size_t n, MarView *out) noexcept nogil
