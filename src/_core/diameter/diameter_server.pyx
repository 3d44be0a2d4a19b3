"""A server of standard Diameter: what it says of itself, and the streams of its peers."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of
from auth_diameter._core.diameter.avp cimport avp_put, avp_size
from auth_diameter._core.diameter.codes cimport (
    APPLICATION_CX, APPLICATION_SIP, AVP_MANDATORY, AVP_ORIGIN_HOST, AVP_ORIGIN_REALM,
    COMMAND_CX_MULTIMEDIA_AUTH, COMMAND_MULTIMEDIA_AUTH, FLAG_REQUEST,
)
from auth_diameter._core.diameter.cx_server cimport new_cx_mar
from auth_diameter._core.diameter.header cimport get_u32
from auth_diameter._core.diameter.result_counts cimport results_of
from auth_diameter._core.diameter.sip_server cimport new_mar
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, MessageStream


@cython.final
cdef class DiameterServer:
    """DiameterServer(host, realm, *, own_addresses=True, tells_unknown=False)\n--\n
    What a server of standard Diameter says of itself, and how it answers.

    Args:
        host: its DiameterIdentity, str.
        realm: its realm, str.
        own_addresses: whether a user may register no other SIP-AOR than their own: the username, and the realm as
            its host (RFC 4740, 8.8). With Cx the same holds for Public-Identity.
        tells_unknown: whether an unknown user gets DIAMETER_ERROR_USER_UNKNOWN, which tells who exists. With Cx
            it always does.

    Attributes:
        answers: dict, the number of answers by command and Result-Code, which are int.
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
        self.server.own_addresses = own_addresses

    @property
    def answers(self):
        return results_of(&self.server.counts)

    @cython.embedsignature(False)
    def stream(self, limit=DEFAULT_LIMIT):
        """stream($self, limit=65536)\n--\n
        A stream for the messages of one connection.

        Args:
            limit: bytes a message may have, 20 to 2**24; 64 KiB by default.

        Returns:
            DiameterStream.
        """
        cdef DiameterStream made = DiameterStream.__new__(DiameterStream, limit)
        made.at = self
        return made


@cython.final
cdef class DiameterStream(MessageStream):
    """The messages from one connection of a Diameter peer. Not for use by several threads at once.

    Made by `DiameterServer.stream`.

    Attributes:
        fault: the ParseError that ended the stream, or None.
        takes_any_nonce: bool, whether the peer makes the nonces itself if it puts Digest AVPs into the MAR itself,
            as OpenSIPS does. A replay cannot be recognised then.
        tells_ha1: bool, whether the peer is told HA1, which is as good as a password.
        has_others: bool, whether the last `feed` had other messages than MAR.
    """

    def __init__(self, *args, **kwargs):
        raise TypeError("a DiameterStream comes from DiameterServer.stream")

    def feed(self, data):
        """Takes in the next bytes of the stream.

        Args:
            data: bytes-like, cut anywhere.

        Returns:
            List of the whole messages, in order: each MAR of RFC 4740 as a MarRequest; each of Cx as a
            CxMarRequest, if HA1 may be told; any other message as bytes.
        """
        cdef list found = []
        cdef const uint8_t *p
        cdef size_t n
        cdef uint32_t application, command
        if self.at is None:
            raise TypeError("a DiameterStream comes from DiameterServer.stream")
        self.has_others = False
        self.put(data)
        while True:
            p = self.take(&n)
            if p == NULL:
                return found
            application = get_u32(p + 8)
            command = get_u32(p + 4) & 0xFFFFFF if p[4] & FLAG_REQUEST else 0
            if command == COMMAND_MULTIMEDIA_AUTH and application == APPLICATION_SIP:
                found.append(new_mar(
                    Span(p, n), self.chunk, self.at, &self.at.server, self.takes_any_nonce, self.tells_ha1))
            elif command == COMMAND_CX_MULTIMEDIA_AUTH and application == APPLICATION_CX and self.tells_ha1:
                found.append(new_cx_mar(Span(p, n), self.chunk, self.at, &self.at.server))
            else:
                self.has_others = True
                found.append(PyBytes_FromStringAndSize(<const char *>p, <Py_ssize_t>n))
