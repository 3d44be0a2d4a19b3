"""RFC 4740, the Diameter SIP Application, as a server speaks it: MAR (sip_received.pyx) and MAA (sip_reply.pyx).

What a question about the same SIP request is in the DISC dialect, a MAR says in other words::

    realm           Digest-Realm; without credentials see `set_realms`
    method          Digest-Method, else SIP-Method (9.14)
    Request-URI     SIP-AOR; of a REGISTER only its host (8.7), as the digest-uri of a REGISTER has no user
    source          nothing: guesses count at accounts, if the operator wants that
    retransmission  the same End-to-End Identifier, Origin-Host and Session-Id (RFC 6733, 3), whichever relay it
                    comes through; a message sent again after a failover has the T flag besides
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Told
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Reader, Span, between, equal_nocase, reader_of
from auth_diameter._core.base.text cimport span_of
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.diameter.avp cimport avp_put, avp_size
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_SIP, AVP_MANDATORY, AVP_ORIGIN_HOST, AVP_ORIGIN_REALM, COMMAND_MULTIMEDIA_AUTH, FLAG_REQUEST,
    RESULT_UNABLE_TO_DELIVER,
)
from auth_diameter._core.diameter.header cimport get_u32
from auth_diameter._core.diameter.received cimport GOOD_CREDENTIALS, NO_CREDENTIALS, Received, Terms
from auth_diameter._core.diameter.sip_received cimport MarView, read_mar
from auth_diameter._core.diameter.sip_reply cimport Server, maa_result, maa_room, put_maa
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, MessageStream
from auth_diameter._core.digest.params cimport REALM
from auth_diameter._core.sip.uri cimport URI_IN_BRACKETS, SipUri, take_uri

# No secret: who can forge an Origin-Host needs no second request with the same hash. All servers use the same key,
# so that the one that is asked after a failover knows the request again.
cdef uint64_t SESSION_KEY[2]        # zeros


@cython.final
cdef class DiameterServer:
    """DiameterServer(host, realm, *, own_addresses=True, tells_unknown=False)\n--\n
    What a server of standard Diameter says of itself, and how it answers.

    Args:
        host: its DiameterIdentity, str.
        realm: its realm, str.
        own_addresses: whether a user may register no other SIP-AOR than their own: the username, and the realm as
            its host (RFC 4740, 8.8).
        tells_unknown: whether an unknown user gets DIAMETER_ERROR_USER_UNKNOWN, which tells who exists.

    Attributes:
        answers: dict of int, the number of MAA by Result-Code.
    """

    def __cinit__(self, str host not None, str realm not None, *, bint own_addresses=True,
                  bint tells_unknown=False):
        cdef bytes origin
        cdef uint8_t *q
        host_text, realm_text = host.encode(), realm.encode()
        span_of(host_text, &self.server.host, "host")
        span_of(realm_text, &self.server.realm, "realm")
        origin = PyBytes_FromStringAndSize(
            NULL, <Py_ssize_t>(avp_size(self.server.host.n) + avp_size(self.server.realm.n)))
        q = <uint8_t *>PyBytes_AS_STRING(origin)
        q = avp_put(q, AVP_ORIGIN_HOST, AVP_MANDATORY, self.server.host.p, self.server.host.n)
        avp_put(q, AVP_ORIGIN_REALM, AVP_MANDATORY, self.server.realm.p, self.server.realm.n)
        span_of(origin, &self.server.origin, "origin")
        self.kept = (host_text, realm_text, origin)
        self.server.tells_unknown = tells_unknown
        self.own_addresses = own_addresses

    @property
    def answers(self):
        cdef int i
        cdef dict found = {}
        for i in range(COUNTED_RESULTS):
            if self.counts[i].result:
                found[self.counts[i].result] = self.counts[i].count
        return found

    def stream(self, limit=None):
        """A stream for the messages of one connection.

        Args:
            limit: bytes a message may have, 20 to 2**24; 64 KiB by default.

        Returns:
            DiameterStream.
        """
        cdef DiameterStream made = DiameterStream.__new__(
            DiameterStream, DEFAULT_LIMIT if limit is None else limit)
        made.at = self
        return made


@cython.final
@cython.no_gc  # it refers to no object that could refer to it
cdef class MarRequest(Received):
    """A MAR as a server receives it; made by `DiameterStream.feed`."""

    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil:
        return maa_room(&self.mar, &self.at.server, says) if self.at is not None else 0

    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil:
        cdef Span message = Span(self.mar.credentials.raw.p, self.mar.header.length)
        if self.at is None:
            return out
        count_result(self.at.counts, maa_result(&self.mar, &self.at.server, says))
        return put_maa(out, &self.mar, message, &self.at.server, says)

    def __repr__(self):
        return f"<MarRequest {self.question!r} fault={self.fault}>"


@cython.final
cdef class DiameterStream(MessageStream):
    """The messages from one connection of a Diameter peer. Not for use by several threads at once.

    Made by `DiameterServer.stream`.

    Attributes:
        fault: the ParseError that ended the stream, or None.
        takes_any_nonce: bool, whether the peer makes the nonces itself if it puts Digest AVPs into the MAR itself,
            as OpenSIPS does. A replay cannot be recognised then.
    """

    def __init__(self, *args, **kwargs):
        raise TypeError("a DiameterStream comes from DiameterServer.stream")

    def feed(self, data):
        """Takes in the next bytes of the stream.

        Args:
            data: bytes-like, cut anywhere.

        Returns:
            List of the whole messages, in order: each MAR of RFC 4740 as a MarRequest, any other one as bytes.
        """
        cdef list found = []
        cdef const uint8_t *p
        cdef size_t n
        if self.at is None:
            raise TypeError("a DiameterStream comes from DiameterServer.stream")
        self.put(data)
        while True:
            p = self.take(&n)
            if p == NULL:
                return found
            if (p[4] & FLAG_REQUEST and get_u32(p + 4) & 0xFFFFFF == COMMAND_MULTIMEDIA_AUTH
                    and get_u32(p + 8) == APPLICATION_SIP):
                found.append(new_mar_request(self, p, n))
            else:
                found.append(PyBytes_FromStringAndSize(<const char *>p, <Py_ssize_t>n))


cdef inline void count_result(ResultCount *counts, uint32_t result) noexcept nogil:
    cdef int i
    for i in range(COUNTED_RESULTS):
        if counts[i].result == 0:
            counts[i].result = result
        if counts[i].result == result:
            counts[i].count += 1
            return


cdef MarRequest new_mar_request(DiameterStream stream, const uint8_t *p, size_t n):
    cdef MarRequest q = MarRequest.__new__(MarRequest)
    q.message = stream.chunk
    q.at = stream.at
    read_mar(p, n, &q.mar)
    q.terms = &q.own_terms
    fill_in(q, stream.takes_any_nonce)
    return q


cdef void fill_in(MarRequest q, bint takes_any_nonce) noexcept nogil:
    """Says in the words of a question what a MAR asks."""
    cdef MarView *mar = &q.mar
    cdef Told *told = &q.view.told
    cdef Terms *terms = &q.own_terms
    cdef const Server *server = &q.at.server
    cdef SipUri uri
    cdef bint is_register = mar.method.n == 8 and equal_nocase(mar.method, Span(<const uint8_t *>b"REGISTER", 8))
    if not mar.fault and mar.destination_host.n and not equal_nocase(mar.destination_host, server.host):
        mar.fault = RESULT_UNABLE_TO_DELIVER
    q.view.header = mar.header
    q.view.fault = mar.fault
    q.status = GOOD_CREDENTIALS if mar.has_response else NO_CREDENTIALS
    q.fields = mar.credentials
    if mar.fault:
        return
    read_address(mar.aor, &uri)
    if not equal_nocase(mar.destination_realm, server.realm):
        terms.destination = mar.destination_realm
    set_realms(mar, uri.host, is_register, terms)
    told.realm = terms.realm[0]
    told.user_name = mar.user_name if mar.user_name.n else address_of(&uri, False)
    told.method = mar.digest_method if mar.digest_method.n else mar.method
    told.resource = uri.host if is_register else address_of(&uri, True)
    told.body_hash = mar.body_hash
    told.serial = mar.header.end_to_end or 1
    hash_session(mar, q.session)
    told.session = Span(<const uint8_t *>q.session, sizeof(q.session))
    terms.takes_any_nonce = mar.is_flat and takes_any_nonce
    terms.challenges_foreign = True
    # OpenSIPS puts something else than the address into SIP-AOR.
    terms.own_address = q.at.own_addresses and is_register and not mar.is_flat
    terms.address_user = uri.user
    terms.address_host = uri.host


cdef inline void read_address(Span text, SipUri *out) noexcept nogil:
    """Reads SIP-AOR; user and host are of no bytes if it is no SIP URI."""
    cdef Reader r = reader_of(text)
    if not (take_uri(&r, URI_IN_BRACKETS, out) and r.p == r.end):
        ad_zero(out, sizeof(SipUri))


cdef inline Span address_of(const SipUri *uri, bint with_port) noexcept nogil:
    """``user@host[:port]`` as it stands in a URI; the host alone if a password is between them."""
    cdef const uint8_t *start = uri.host.p
    cdef const uint8_t *end = uri.host.p + uri.host.n
    if uri.user.n and uri.user.p + uri.user.n + 1 == uri.host.p:
        start = uri.user.p
    if with_port and uri.port_text.n:
        end = uri.port_text.p + uri.port_text.n
    return between(start, end)


cdef inline void set_realms(const MarView *mar, Span host, bint is_register, Terms *terms) noexcept nogil:
    """Sets the realms that a challenge may be for, the preferred one first.

    Credentials that answer nothing name the realm that the SIP server wants. Without any, the address to register
    is of the user's own realm, while Destination-Realm may be that of the Diameter servers alone. The address that
    any other request is for is often in another realm than the caller.
    """
    cdef Span realm = mar.credentials.value[REALM]
    if realm.n:
        add_realm(realm, terms)
    if is_register and host.n:
        add_realm(host, terms)
    add_realm(mar.destination_realm, terms)
    if not is_register and host.n:
        add_realm(host, terms)


cdef inline void add_realm(Span realm, Terms *terms) noexcept nogil:
    terms.realm[terms.realms] = realm
    terms.realms += 1


cdef inline void hash_session(const MarView *mar, uint64_t *out) noexcept nogil:
    cdef ad_siphash s
    ad_siphash_begin(&s, SESSION_KEY)
    ad_siphash_word(&s, mar.session_id.n)
    ad_siphash_bytes(&s, mar.session_id.p, mar.session_id.n)
    ad_siphash_bytes(&s, mar.origin_host.p, mar.origin_host.n)
    ad_siphash_end(&s, out)
