"""Digest credentials, as Authorization and Proxy-Authorization carry them (RFC 7616, 3.4; RFC 3261, 22; RFC 8760).

Beyond the grammar of their parameters (params.pyx)::

    response    = 32LHEX / 64LHEX                       as long as the algorithm makes it, where that is known;
                                                        upper case is taken too, some telephones send it
    nc          = 8LHEX
    qop         = "auth" / "auth-int" / token           one, chosen by the client; wants cnonce and nc
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from auth_diameter._core.base.chars cimport (
    AD_TOKEN, ad_find_quote, ad_is_hex, hex_value, is_all, is_lws, is_word, skip_byte, skip_lws, take_class,
    unquote,
)
from auth_diameter._core.base.span cimport Reader, Span, between, equal_nocase, reader_of
from auth_diameter._core.base.text cimport span_of_bytes, text_of
from auth_diameter._core.digest.algorithms cimport (
    ALGORITHM_UNKNOWN, MD5_DIGITS, SHA_2_DIGITS, ad_algorithms, algorithm_name,
)
from auth_diameter._core.digest.params cimport (
    ALGORITHM, BAD_EXT_VALUE, BAD_NC, BAD_QOP, BAD_RESPONSE, BOTH_USERNAMES, CNONCE, MAX_PARAMETER,
    MISSING, NC, NONCE, OK, OPAQUE, QOP, QOP_AUTH, QOP_AUTH_INT, QOP_NONE, QOP_UNKNOWN, REALM, RESPONSE, URI,
    USERHASH, USERNAME, USERNAME_STAR, DigestFields, Field, is_ext_value,
    parameter_pairs, parse_error, parse_value, plain_value, put_ext_value, text_value,
)

cdef dict _QOP_NAMES = {QOP_NONE: None, QOP_AUTH: "auth", QOP_AUTH_INT: "auth-int", QOP_UNKNOWN: ""}
QOPS = (_QOP_NAMES[QOP_AUTH], _QOP_NAMES[QOP_AUTH_INT])


cdef int check_credentials(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Checks parameters that `parse_params` accepted against RFC 7616, 3.4.

    A missing realm is not an error here: such credentials match no realm and are passed over.

    Returns:
        OK, or a negative status, with `offset` into `text`.
    """
    cdef Span response, nc, qop
    if out.value[QOP].n == 0:
        # An empty qop is no qop: old clients send qop="" if the challenge offers none.
        out.value[QOP].p = NULL
    response = out.value[RESPONSE]
    nc = out.value[NC]
    qop = out.value[QOP]
    if out.value[USERNAME].p != NULL and out.value[USERNAME_STAR].p != NULL:
        return BOTH_USERNAMES
    if out.value[USERNAME_STAR].p != NULL and not is_ext_value(out.value[USERNAME_STAR]):
        return BAD_EXT_VALUE
    if (out.value[USERNAME].p == NULL and out.value[USERNAME_STAR].p == NULL) or (
            out.value[NONCE].p == NULL or out.value[URI].p == NULL or response.p == NULL):
        return MISSING
    if not is_response(response) or (
            out.algorithm != ALGORITHM_UNKNOWN and response.n != ad_algorithms[out.algorithm].digits):
        offset[0] = <size_t>(response.p - text.p)
        return BAD_RESPONSE
    if nc.p != NULL and (nc.n != 8 or not ad_is_hex(nc.p, nc.n)):
        offset[0] = <size_t>(nc.p - text.p)
        return BAD_NC
    out.qop = QOP_NONE
    if qop.p != NULL:
        offset[0] = <size_t>(qop.p - text.p)
        # One token and not a list, which only a challenge may hold
        if nc.p == NULL or out.value[CNONCE].p == NULL or not is_all(qop, AD_TOKEN):
            return BAD_QOP
        if is_word(qop, "auth", 4):
            out.qop = QOP_AUTH
        elif is_word(qop, "auth-int", 8):
            out.qop = QOP_AUTH_INT
        else:
            out.qop = QOP_UNKNOWN
    return OK


cdef bint is_response(Span s) noexcept nogil:
    """Whether it has the form of a response: 32 (MD5) or 64 (SHA-2) hexadecimal digits."""
    return (s.n == MD5_DIGITS or s.n == SHA_2_DIGITS) and ad_is_hex(s.p, s.n)


cdef bint answers_nothing(const DigestFields *fields) noexcept nogil:
    """Whether nonce or response is empty or missing: the credentials answer no challenge.

    The first REGISTER of an IMS telephone names its user like this before there is a challenge (3GPP TS
    24.229, 5.1.1.2). A later one, with auts, asks for another challenge (RFC 3310, 3.4).
    """
    return fields.value[NONCE].n == 0 or fields.value[RESPONSE].n == 0


cdef bint is_for_realm(const DigestFields *fields, Span realm) noexcept nogil:
    """Whether the credentials are for `realm`, compared without regard to case, as SIP domains are."""
    cdef uint8_t room[MAX_PARAMETER]
    return fields.value[REALM].p != NULL and equal_nocase(plain_value(fields, REALM, room), realm)


cdef bint is_of_other_realm(Span text, Span realm) noexcept nogil:
    """Whether credentials that `parse_params` refused name a realm, and none they name is `realm`.

    They are meant for another server, which may well accept them (RFC 3261, 22.3). The elements between
    commas outside quotes are searched for realms; the rest does not matter.
    """
    cdef Reader r = reader_of(text)
    cdef Span name, value
    cdef bint found = False
    while r.p < r.end:
        skip_lws(&r)
        if take_class(&r, AD_TOKEN, &name):
            if is_word(name, "Digest", 6) and r.p < r.end and is_lws(r.p[0]):
                continue    # the scheme; also in the middle, if a proxy has joined two header fields
            if is_word(name, "realm", 5) and skip_byte(&r, c'=') and take_any_value(&r, &value):
                found = True
                if equal_plain(value, realm):
                    return False
        skip_element(&r)
    return found


cdef bint take_any_value(Reader *r, Span *out) noexcept nogil:
    """A token, or a quoted string with any characters in it."""
    if r.p == r.end or r.p[0] != c'"':
        return take_class(r, AD_TOKEN, out)
    out.p = r.p + 1
    if not skip_quoted(r):
        return False
    out.n = <size_t>(r.p - 1 - out.p)
    return True


cdef bint skip_quoted(Reader *r) noexcept nogil:
    """Passes over a quoted string; over all that is left, and False, if it has no end."""
    r.p += 1
    while r.p < r.end:
        r.p = ad_find_quote(r.p, r.end)
        if r.p == r.end:
            return False
        if r.p[0] == c'"':
            r.p += 1
            return True
        r.p += 2 if r.p[0] == c'\\' and 2 <= r.end - r.p else 1
    return False


cdef void skip_element(Reader *r) noexcept nogil:
    """Passes over the bytes up to the next comma outside quotes, and over that comma."""
    while r.p < r.end and r.p[0] != c',':
        if r.p[0] == c'"':
            skip_quoted(r)
        else:
            r.p += 1
    if r.p < r.end:
        r.p += 1


cdef bint equal_plain(Span quoted, Span plain) noexcept nogil:
    """Whether the content of a quoted string means `plain`, without regard to case."""
    cdef uint8_t room[MAX_PARAMETER]
    cdef Span value
    if not quoted.n <= MAX_PARAMETER:
        return False    # no realm of ours is that long
    value.n = unquote(quoted, room)
    value.p = room
    return equal_nocase(value, plain)


# ---------------------------------------------------------------------------------- object


@cython.final
@cython.freelist(256)
@cython.no_gc  # it holds no object that could hold it
cdef class Credentials:
    """Credentials()\n--\n
    Digest credentials of a request (RFC 7616, 3.4; RFC 3261, 20.7 and 20.27).

    Made by ``Credentials.parse`` or ``SipRequest.credentials``; immutable. Values are without quotes and
    quoted-pairs.
    """

    def __init__(self):
        raise TypeError("Credentials come from Credentials.parse(value) or SipRequest.credentials(realm)")

    @staticmethod
    def parse(value):
        """Parses the value of an Authorization or Proxy-Authorization header.

        Args:
            value: str or bytes-like, from the scheme on: ``Digest username="alice", …``.

        Returns:
            Credentials.

        Raises:
            ParseError: the scheme is not Digest, the grammar is broken, a parameter is given twice, or one
                that RFC 7616, 3.4 requires is missing. The message holds no value.
        """
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef bytes data = parse_value(value, "credentials", &fields, &offset)
        cdef int status = check_credentials(span_of_bytes(data), &fields, &offset)
        if status == OK and fields.value[REALM].p == NULL:
            status = MISSING
        if status != OK:
            raise parse_error(status, offset, "credentials")
        return new_credentials(data, &fields)

    cdef str text(self, Field field):
        return text_value(&self.fields, field)

    cdef str user(self):
        return user_text(&self.fields)

    @property
    def username(self):
        """The username, str; of ``username*`` the decoded value (RFC 8187)."""
        return self.user()

    @property
    def realm(self):
        """The realm, str."""
        return self.text(REALM)

    @property
    def nonce(self):
        """The nonce, str."""
        return self.text(NONCE)

    @property
    def uri(self):
        """The digest-uri, str."""
        return self.text(URI)

    @property
    def response(self):
        """The response in hexadecimal, str."""
        return self.text(RESPONSE)

    @property
    def algorithm(self):
        """The algorithm as given, str, or None."""
        return self.text(ALGORITHM)

    @property
    def cnonce(self):
        """The client nonce, str, or None."""
        return self.text(CNONCE)

    @property
    def nc(self):
        """The nonce count as given, 8 hexadecimal digits, str, or None."""
        return self.text(NC)

    @property
    def qop(self):
        """The quality of protection as given, str, or None."""
        return self.text(QOP)

    @property
    def opaque(self):
        """The opaque value, str, or None."""
        return self.text(OPAQUE)

    @property
    def canonical_algorithm(self):
        """The algorithm in the spelling of RFC 7616, 6.1, str; "MD5" if none is given, None if it is unknown."""
        return algorithm_name(self.fields.algorithm, self.fields.sess)

    @property
    def protection(self):
        """The qop in lower case: None, "auth" or "auth-int"; "" if it is unknown."""
        return _QOP_NAMES[self.fields.qop]

    @property
    def nonce_count(self):
        """The nonce count as a number, int; 1 without qop, when a nonce serves once (RFC 7616, 3.4)."""
        cdef Span nc = self.fields.value[NC]
        cdef uint32_t count = 0
        cdef size_t i
        if self.fields.qop == QOP_NONE:
            return 1
        for i in range(nc.n):
            count = count << 4 | <uint32_t>hex_value(nc.p[i])
        return count

    @property
    def userhash(self):
        """Whether `username` is the hash of name and realm, bool (RFC 7616, 3.4.4)."""
        return (self.text(USERHASH) or "").lower() == "true"

    @property
    def value(self):
        """The whole header value with its scheme, unchanged, bytes."""
        return self.fields.raw.p[:self.fields.raw.n]

    @property
    def parameters(self):
        """All parameters in order, tuple of pairs (name in lower case, value) of str; unknown ones included."""
        return parameter_pairs(&self.fields)

    def __repr__(self):
        return (f"<Credentials username={self.username!r} realm={self.realm!r} "
                f"algorithm={self.algorithm or 'MD5'} qop={self.qop}>")


cdef str user_text(const DigestFields *fields):
    cdef uint8_t room[MAX_PARAMETER]
    cdef uint8_t plain[MAX_PARAMETER]
    if fields.value[USERNAME_STAR].p == NULL:
        return text_value(fields, USERNAME) or ""    # of an object that nobody filled, too
    return text_of(between(plain, put_ext_value(plain, plain_value(fields, USERNAME_STAR, room))))


cdef Credentials new_credentials(object owner, const DigestFields *fields):
    cdef Credentials self = Credentials.__new__(Credentials)
    self.owner = owner
    memcpy(&self.fields, fields, sizeof(DigestFields))
    return self
