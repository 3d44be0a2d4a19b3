"""What the credentials of a case say, without quotes."""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from auth_diameter._core.base.chars cimport hex_value, is_word
from auth_diameter._core.base.scratch cimport ad_scratch_take
from auth_diameter._core.base.span cimport Span, equal_nocase
from auth_diameter._core.digest.params cimport (
    CNONCE, NC, NONCE, QOP, QOP_NONE, REALM, URI, USERHASH, USERNAME, USERNAME_STAR, DigestFields, Field,
    plain_value, put_ext_value,
)
from auth_diameter._core.digest.responses cimport Response
from auth_diameter._core.path.inquiry cimport Case, Work

cdef Span NOTHING = Span(<const uint8_t *>b"", 0)


cdef Span text_of_field(Work *work, const DigestFields *fields, Field field) noexcept nogil:
    """A parameter without quotes and quoted-pairs; p is NULL if it is missing, or if there is no memory."""
    cdef Span found = fields.value[field]
    cdef uint8_t *room
    if not fields.escaped & (1u << field):
        return found
    room = <uint8_t *>ad_scratch_take(&work.scratch, found.n)
    return plain_value(fields, field, room) if room != NULL else Span(NULL, 0)


cdef Span name_of_fields(Work *work, const DigestFields *fields) noexcept nogil:
    """The username; of ``username*`` the decoded value (RFC 8187)."""
    cdef Span found
    cdef uint8_t *room
    if fields.value[USERNAME_STAR].p == NULL:
        return text_of_field(work, fields, USERNAME)
    found = text_of_field(work, fields, USERNAME_STAR)
    room = <uint8_t *>ad_scratch_take(&work.scratch, found.n)
    if room == NULL or found.p == NULL:
        return Span(NULL, 0)
    return Span(room, <size_t>(put_ext_value(room, found) - room))


cdef uint32_t count_of(const DigestFields *fields) noexcept nogil:
    """The nonce count; 1 without qop, when a nonce serves once (RFC 7616, 3.4)."""
    cdef Span nc = fields.value[NC]
    cdef uint32_t count = 0
    cdef size_t i
    if fields.qop == QOP_NONE:
        return 1
    for i in range(nc.n):
        count = count << 4 | <uint32_t>hex_value(nc.p[i])
    return count


cdef bint read_case(Work *work, Case *case, bint userhash) noexcept nogil:
    """Reads the credentials of a case; False if there is no memory."""
    cdef const DigestFields *fields = case.ask.credentials
    cdef Span hashed = text_of_field(work, fields, USERHASH) if userhash else NOTHING
    case.username = name_of_fields(work, fields)
    case.realm = text_of_field(work, fields, REALM)
    case.nonce = text_of_field(work, fields, NONCE)
    case.uri = text_of_field(work, fields, URI)
    case.cnonce = text_of_field(work, fields, CNONCE)
    case.count = count_of(fields)
    case.userhash = userhash and hashed.p != NULL and is_word(hashed, "true", 4)
    return (case.username.p != NULL and case.realm.p != NULL and case.nonce.p != NULL and case.uri.p != NULL
            and (case.cnonce.p != NULL or fields.value[CNONCE].p == NULL))


cdef bint is_own_address(const Case *case) noexcept nogil:
    """Whether the address of `terms` is that of the user: the same user part, and the realm as its host.

    A username may have a domain of its own, which must be that host, too.
    """
    cdef Span name = true_name(case)
    cdef Span user = before_at(name), domain = behind_at(name)
    cdef Span own = case.ask.terms.address_user, host = case.ask.terms.address_host
    return (user.n and user.n == own.n and memcmp(user.p, own.p, user.n) == 0
            and host.n and equal_nocase(host, case.realm) and (not domain.n or equal_nocase(host, domain)))


cdef Response response_of(const Case *case, Span ha1) noexcept nogil:
    """What the response of the credentials is a hash of, with that HA1."""
    cdef const DigestFields *fields = case.ask.credentials
    cdef Response r
    r.algorithm = fields.algorithm
    r.sess = fields.sess
    r.qop = fields.qop
    r.ha1 = ha1
    r.method = case.ask.told.method
    r.uri = case.uri
    r.nonce = case.nonce
    r.nc = fields.value[NC]
    r.cnonce = case.cnonce
    r.qop_text = fields.value[QOP]
    r.body_hash = case.ask.told.body_hash
    return r
