"""Cx, the interface between S-CSCF and HSS (3GPP TS 29.228 and 29.229), as a server speaks it.

The HA1 is that of User-Name as it is spelled: with its domain, if it has one. The realm is that domain, or that of
the public identity, or Destination-Realm, whichever is served first.
"""

cimport cython
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.base.span cimport Span, equal_nocase
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.base.zero cimport ad_zero
from auth_diameter._core.diameter.aor cimport read_address
from auth_diameter._core.diameter.codes cimport RESULT_UNABLE_TO_DELIVER
from auth_diameter._core.diameter.cx_received cimport CxView, read_cx_mar
from auth_diameter._core.diameter.cx_reply cimport cx_maa_room, cx_result, put_cx_maa
from auth_diameter._core.diameter.fault cimport refuse_like
from auth_diameter._core.diameter.received cimport (
    HA1_ALONE, MORE_ROOM, NO_CREDENTIALS, Received, Terms, add_realm, take_more,
)
from auth_diameter._core.diameter.result_counts cimport count_result
from auth_diameter._core.diameter.server cimport Server
from auth_diameter._core.sip.uri cimport SipUri


if sizeof(CxMar) > MORE_ROOM:
    raise ValueError("MORE_ROOM: too little for a MAR")


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
        cdef const CxView *mar = self.view_of()
        return text_of(mar.origin_host), text_of(mar.origin_realm)

    @property
    def identities(self):
        cdef const CxView *mar = self.view_of()
        return text_of(mar.user_name), text_of(mar.public_identity)

    @property
    def server_name(self):
        cdef const CxView *mar = self.view_of()
        return text_of(mar.server_name) if mar.server_name.n else None

    cdef const CxView *view_of(self) except NULL:
        if self.more == NULL:
            raise TypeError("a CxMarRequest comes from a DiameterServer")
        return &(<CxMar *>self.more).view

    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil:
        cdef CxMar *mar = <CxMar *>self.more
        return cx_maa_room(&mar.view, mar.server, says) if mar != NULL else 0

    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil:
        cdef CxMar *mar = <CxMar *>self.more
        if mar == NULL:
            return out
        count_result(&mar.server.counts, mar.view.header.command, cx_result(&mar.view, says))
        return put_cx_maa(out, &mar.view, Span(mar.start, mar.view.header.length), mar.server, says)

    def __repr__(self):
        return f"<CxMarRequest {self.question!r} fault={self.fault}>"


cdef CxMarRequest new_cx_mar(Span message, bytes chunk, object owner, Server *server):
    """Reads a MAR."""
    cdef CxMarRequest q = CxMarRequest.__new__(CxMarRequest)
    cdef CxMar *mar
    q.message = chunk
    q.owner = owner
    mar = <CxMar *>take_more()
    q.more = mar
    mar.server = server
    mar.start = message.p
    ad_zero(&mar.terms, sizeof(Terms))
    read_cx_mar(message.p, message.n, &mar.view)
    q.terms = &mar.terms
    q.status = NO_CREDENTIALS
    fill_in(q)
    return q


cdef void fill_in(CxMarRequest q) noexcept nogil:
    """Says in the words of a question what a MAR asks."""
    cdef CxMar *whole = <CxMar *>q.more
    cdef CxView *mar = &whole.view
    cdef Terms *terms = &whole.terms
    cdef const Server *server = whole.server
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
