"""Cx, the interface between S-CSCF and HSS (3GPP TS 29.228 and 29.229), as a server speaks it.

The HA1 is that of User-Name as it is spelled: with its domain, if it has one. The realm is that domain, or that of
the public identity, or Destination-Realm, whichever is served first.
"""

cimport cython
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.base.span cimport Span, equal_nocase
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.diameter.aor cimport read_address
from auth_diameter._core.diameter.codes cimport RESULT_UNABLE_TO_DELIVER
from auth_diameter._core.diameter.cx_received cimport CxView, read_cx_mar
from auth_diameter._core.diameter.cx_reply cimport cx_maa_room, cx_result, put_cx_maa
from auth_diameter._core.diameter.fault cimport refuse_like
from auth_diameter._core.diameter.received cimport HA1_ALONE, NO_CREDENTIALS, Received, Terms, add_realm
from auth_diameter._core.diameter.result_counts cimport count_result
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.sip.uri cimport SipUri


@cython.final
@cython.no_gc  # it refers to no object that could refer to it
cdef class CxMarRequest(Received):
    """A MAR of Cx as a server receives it; made by `DiameterStream.feed`.

    Attributes:
        sender: tuple of str, Origin-Host and Origin-Realm.
        identities: tuple of str, User-Name and Public-Identity.
        server_name: str, the SIP URI of the S-CSCF, or None if the MAR does not say it.
    """

    @property
    def sender(self):
        return text_of(self.mar.origin_host), text_of(self.mar.origin_realm)

    @property
    def identities(self):
        return text_of(self.mar.user_name), text_of(self.mar.public_identity)

    @property
    def server_name(self):
        return text_of(self.mar.server_name) if self.mar.server_name.n else None

    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil:
        return cx_maa_room(&self.mar, self.server, says) if self.server != NULL else 0

    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil:
        cdef Span message = Span(self.start, self.mar.header.length)
        if self.server == NULL:
            return out
        count_result(&self.server.counts, self.mar.header.command, cx_result(&self.mar, says))
        return put_cx_maa(out, &self.mar, message, self.server, says)

    def __repr__(self):
        return f"<CxMarRequest {self.question!r} fault={self.fault}>"


cdef CxMarRequest new_cx_mar(Span message, bytes chunk, object owner, Server *server):
    """Reads a MAR."""
    cdef CxMarRequest q = CxMarRequest.__new__(CxMarRequest)
    q.message = chunk
    q.owner = owner
    q.server = server
    q.start = message.p
    read_cx_mar(message.p, message.n, &q.mar)
    q.terms = &q.own_terms
    q.status = NO_CREDENTIALS
    fill_in(q)
    return q


cdef void fill_in(CxMarRequest q) noexcept nogil:
    """Says in the words of a question what a MAR asks."""
    cdef CxView *mar = &q.mar
    cdef Terms *terms = &q.own_terms
    cdef const Server *server = q.server
    cdef SipUri uri
    cdef Span domain
    if mar.destination_host.n and not equal_nocase(mar.destination_host, server.host):
        refuse_like(&mar.fault, RESULT_UNABLE_TO_DELIVER, 0, 0)
    q.view.header = mar.header
    q.view.fault = mar.fault.result
    if mar.fault.result:
        return
    read_address(mar.public_identity, &uri)
    if not equal_nocase(mar.destination_realm, server.realm):
        terms.destination = mar.destination_realm
    domain = domain_of(mar.user_name)
    if domain.n:
        add_realm(terms, domain)
    if uri.host.n:
        add_realm(terms, uri.host)
    add_realm(terms, mar.destination_realm)
    terms.ha1 = HA1_ALONE
    terms.user = mar.user_name
    terms.own_address = server.own_addresses
    terms.address_user = uri.user
    terms.address_host = uri.host
    q.view.told.realm = terms.realm[0]
    q.view.told.user_name = mar.user_name
    q.view.told.serial = mar.header.end_to_end or 1


cdef inline Span domain_of(Span name) noexcept nogil:
    """What is behind the first "@"; n is 0 if there is none."""
    cdef size_t i
    for i in range(name.n):
        if name.p[i] == c'@':
            return Span(name.p + i + 1, name.n - i - 1)
    return Span(NULL, 0)
