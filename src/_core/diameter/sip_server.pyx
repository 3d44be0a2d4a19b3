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
from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Told
from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span, equal_nocase
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.diameter.aor cimport address_of, read_address
from auth_diameter._core.diameter.codes cimport RESULT_UNABLE_TO_DELIVER
from auth_diameter._core.diameter.fault cimport refuse_like
from auth_diameter._core.diameter.received cimport (
    GOOD_CREDENTIALS, HA1_WITH_CHALLENGE, MORE_ROOM, NO_CREDENTIALS, Received, Terms, add_realm, take_more,
)
from auth_diameter._core.diameter.result_counts cimport count_result
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.diameter.sip_received cimport MarView, read_mar
from auth_diameter._core.diameter.sip_reply cimport maa_result, maa_room, put_maa
from auth_diameter._core.digest.params cimport REALM
from auth_diameter._core.sip.uri cimport SipUri

# No secret: who can forge an Origin-Host needs no second request with the same hash. All servers use the same key,
# so that the one that is asked after a failover knows the request again.
cdef uint64_t SESSION_KEY[2]        # zeros

if sizeof(Mar) > MORE_ROOM:
    raise ValueError("MORE_ROOM: too little for a MAR")


@cython.final
@cython.no_gc  # it refers to no object that could refer to it
cdef class MarRequest(Received):
    """A MAR as a server receives it; made by `DiameterStream.feed`."""

    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil:
        cdef Mar *mar = <Mar *>self.more
        return maa_room(&mar.view, mar.server, says) if mar != NULL else 0

    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil:
        cdef Mar *mar = <Mar *>self.more
        if mar == NULL:
            return out
        count_result(&mar.server.counts, mar.view.header.command, maa_result(&mar.view, mar.server, says))
        return put_maa(
            out, &mar.view, Span(mar.view.credentials.raw.p, mar.view.header.length), mar.server, says)

    def __repr__(self):
        return f"<MarRequest {self.question!r} fault={self.fault}>"


cdef MarRequest new_mar(Span message, bytes chunk, object owner, Server *server, bint takes_any_nonce,
                        bint tells_ha1):
    """Reads a MAR."""
    cdef MarRequest q = MarRequest.__new__(MarRequest)
    cdef Mar *mar
    q.message = chunk
    q.owner = owner
    mar = <Mar *>take_more()
    q.more = mar
    mar.server = server
    ad_zero(&mar.terms, sizeof(Terms))
    read_mar(message.p, message.n, &q.fields, &mar.view)
    q.terms = &mar.terms
    fill_in(q, takes_any_nonce, tells_ha1)
    return q


cdef void fill_in(MarRequest q, bint takes_any_nonce, bint tells_ha1) noexcept nogil:
    """Says in the words of a question what a MAR asks."""
    cdef Mar *whole = <Mar *>q.more
    cdef MarView *mar = &whole.view
    cdef Told *told = &q.view.told
    cdef Terms *terms = &whole.terms
    cdef const Server *server = whole.server
    cdef SipUri uri
    cdef bint is_register = mar.method.n == 8 and equal_nocase(mar.method, Span(<const uint8_t *>b"REGISTER", 8))
    if mar.destination_host.n and not equal_nocase(mar.destination_host, server.host):
        refuse_like(&mar.fault, RESULT_UNABLE_TO_DELIVER, 0, 0)
    q.view.header = mar.header
    q.view.fault = mar.fault.result
    q.status = GOOD_CREDENTIALS if mar.has_response else NO_CREDENTIALS
    if mar.fault.result:
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
    hash_session(mar, whole.session)
    told.session = Span(<const uint8_t *>whole.session, sizeof(whole.session))
    terms.takes_any_nonce = mar.is_flat and takes_any_nonce
    terms.challenges_foreign = True
    if tells_ha1 and not mar.has_response and not mar.is_flat:
        # RFC 4740, 6.3: without a username the user is that of the address.
        terms.ha1 = HA1_WITH_CHALLENGE
        terms.user = mar.user_name if mar.user_name.n else uri.user
    # OpenSIPS puts something else than the address into SIP-AOR.
    terms.own_address = server.own_addresses and is_register and not mar.is_flat
    terms.address_user = uri.user
    terms.address_host = uri.host


cdef inline void set_realms(const MarView *mar, Span host, bint is_register, Terms *terms) noexcept nogil:
    """Sets the realms that a challenge may be for, the preferred one first.

    Credentials that answer nothing name the realm that the SIP server wants. Without any, the address to register
    is of the user's own realm, while Destination-Realm may be that of the Diameter servers alone. The address that
    any other request is for is often in another realm than the caller.
    """
    cdef Span realm = mar.credentials.value[REALM]
    if realm.n:
        add_realm(terms, realm)
    if is_register and host.n:
        add_realm(terms, host)
    add_realm(terms, mar.destination_realm)
    if not is_register and host.n:
        add_realm(terms, host)


cdef inline void hash_session(const MarView *mar, uint64_t *out) noexcept nogil:
    cdef ad_siphash s
    ad_siphash_begin(&s, SESSION_KEY)
    ad_siphash_word(&s, mar.session_id.n)
    ad_siphash_bytes(&s, mar.session_id.p, mar.session_id.n)
    ad_siphash_bytes(&s, mar.origin_host.p, mar.origin_host.n)
    ad_siphash_end(&s, out)
