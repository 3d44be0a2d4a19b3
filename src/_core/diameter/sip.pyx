"""RFC 4740, the Diameter SIP Application, as a client speaks it: see sip_request.pyx and sip_answer.pyx."""

import os

cimport cython
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from auth_diameter._core.auth.question cimport Flight
from auth_diameter._core.base.text cimport span_of
from auth_diameter._core.diameter.answer_fault cimport match_session
from auth_diameter._core.diameter.application cimport AnswerView, Application, Asked
from auth_diameter._core.diameter.sip_answer cimport read_maa
from auth_diameter._core.diameter.sip_request cimport Route, mar_room, put_mar, session_of


@cython.final
cdef class SipApplication(Application):
    """SipApplication(origin_host, origin_realm, first, *, \
destination_realm="", destination_host="", server_uri="")\n--\n
    RFC 4740 as a client speaks it.

    Args:
        origin_host: DiameterIdentity of the client, str.
        origin_realm: its realm, str.
        first: the first End-to-End Identifier, int; see `auth_diameter.diameter.base.Identifiers`.
        destination_realm: realm of the servers, str; "": the realm that is asked about.
        destination_host: DiameterIdentity of the server, str; "": whoever serves the realm.
        server_uri: SIP URI of a registrar, str; "": the client is none (RFC 4740, 8.7).
    """

    cdef Route route
    cdef tuple kept             # the texts of `route`

    def __cinit__(self, str origin_host not None, str origin_realm not None, uint32_t first, *,
                  str destination_realm not None="", str destination_host not None="", str server_uri not None=""):
        cdef bytes drawn = os.urandom(sizeof(self.route.session_key))
        self.is_standard = True
        texts = origin_host, origin_realm, destination_realm, destination_host, server_uri
        self.kept = tuple([text.encode() for text in texts])
        span_of(self.kept[0], &self.route.origin_host, "origin_host")
        span_of(self.kept[1], &self.route.origin_realm, "origin_realm")
        span_of(self.kept[2], &self.route.destination_realm, "destination_realm")
        span_of(self.kept[3], &self.route.destination_host, "destination_host")
        span_of(self.kept[4], &self.route.server_uri, "server_uri")
        memcpy(self.route.session_key, <const char *>drawn, sizeof(self.route.session_key))
        self.next_end_to_end = first

    cdef size_t room(self, const Asked *asked) noexcept nogil:
        return mar_room(asked, &self.route)

    cdef size_t put(self, uint8_t *out, Asked *asked) noexcept nogil:
        if not asked.end_to_end:
            asked.end_to_end = self.claim_end_to_end()
        session_of(asked, &self.route, asked.session)
        return put_mar(out, asked, &self.route)

    cdef bint read(self, const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
        return read_maa(p, n, out)

    cdef void match(self, const Flight *flight, AnswerView *view) noexcept nogil:
        match_session(flight, &self.route, view)
