"""What a back end is asked about one request: a value, whichever back end it is and however it is asked."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.string cimport memcpy

from auth_diameter._core.base.span cimport between
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport QOP_AUTH_INT
from auth_diameter._core.sip.parse cimport identity
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.sip.uri cimport SipUri, put_address, put_address_and_port

from auth_diameter._core.auth.verdict import Service
from auth_diameter._core.digest.compute import body_hash as hash_body

cdef object AUTHENTICATION = Service.AUTHENTICATION
cdef object GROUP_CHECK = Service.GROUP_CHECK


@cython.final
@cython.freelist(1024)
cdef class Question:
    """A question about one SIP request; made by `authentication` or `group_check`, or read from a message.

    Attributes:
        request: SipRequest; None where the question came over a connection.
        credentials: Credentials that are to be judged; None: a challenge is asked for.
        error: ParseError, why credentials that came over a connection cannot be judged, or None.
        is_group_check: bool, whether it asks for a membership.
        proxy: bool, whether it is about Proxy-Authorization.
        body_hash: bytes, hexadecimal, of credentials with qop=auth-int (RFC 7616, 3.4.3), or None.
        tells_source: bool, whether a remote back end is told `source`.
        asker: who asked over a connection: whatever the listener sets.
        callback: the pool's, while the question is under way.
        connection: the pool's, while the question is under way.
        deadline: the pool's, while the question is under way.
        msgid: the pool's, while the question is under way.
        attempts: the pool's, while the question is under way.
        attempt: Attempt that its credentials are while they are judged, or None.
    """

    def __init__(self):
        raise TypeError("a Question comes from authentication(…), group_check(…) or a RequestStream")

    @property
    def service(self):
        """What is asked for, Service."""
        return GROUP_CHECK if self.is_group_check else AUTHENTICATION

    @property
    def realm(self):
        """The realm to authenticate in, str."""
        if self.realm_name is None:
            self.realm_name = text_of(self.told.realm)
        return self.realm_name

    @property
    def user_name(self):
        """Whose request it is, str: ``user@host`` of To for a REGISTER, else of From.

        Of a group check: who is asked about.
        """
        if self.user is None:
            if self.request is not None:
                self.user = address(identity(&self.request.m))
            else:
                self.user = text_of(self.told.user_name)
        return self.user

    @property
    def group(self):
        """The group's name, str; None where it is no group check."""
        if self.group_name is None and self.is_group_check:
            self.group_name = text_of(self.told.group)
        return self.group_name

    @property
    def method(self):
        """The SIP method, str."""
        return text_of(self.told.method) if self.request is None else text_of(self.request.m.method_name)

    @property
    def resource(self):
        """The Request-URI as ``user@host[:port]``, str; "" where it is not known."""
        if self.request is None:
            return text_of(self.told.resource)
        return address_and_port(&self.request.m.request_uri)

    @property
    def source(self):
        """The address that the request came from, str; "" where it is not known."""
        if self.request is None:
            return text_of(self.told.source)
        return "" if self.request.source is None else self.request.source[0]

    @property
    def request_id(self):
        """Bytes that are the same for a retransmission of the SIP request, and for no other; b"": not known."""
        cdef bytes found
        cdef uint8_t *p
        cdef size_t n = self.told.session.n
        if self.request is not None:
            return PyBytes_FromStringAndSize(<const char *>self.request.fingerprint(), 16)
        if not self.told.serial:
            return b""
        # Who replays a digest in many requests of his own would meet the 32 bits of the serial one day.
        found = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(sizeof(self.told.serial) + n))
        p = <uint8_t *>PyBytes_AS_STRING(found)
        memcpy(p, &self.told.serial, sizeof(self.told.serial))
        memcpy(p + sizeof(self.told.serial), self.told.session.p, n)
        return found

    @property
    def is_extended(self):
        """Whether who asks takes more than OpenSER's module does, bool.

        That module takes one challenge, sends no hash of a body, and has no use for the server's own proof.
        """
        return self.request is not None or self.told.serial != 0

    def __repr__(self):
        about = f"of {self.request!r}" if self.request is not None else f"about {self.user_name!r}"
        return f"<Question {self.service.name} {about}>"


def authentication(SipRequest request not None, str realm not None, Credentials credentials, bint proxy,
                   bint tells_source=False):
    """The question whether the request is its user's: with credentials, or for a challenge.

    Args:
        proxy: whether the credentials are those of Proxy-Authorization.
        tells_source: whether a remote back end is told the address that the request came from.
    """
    cdef Question q = Question.__new__(Question)
    q.tells_source = tells_source
    if credentials is not None and credentials.fields.qop == QOP_AUTH_INT:
        q.body_hash = hash_body(credentials, request.body)
    q.request = request
    q.realm_name = realm
    q.credentials = credentials
    q.proxy = proxy
    return q


def group_check(SipRequest request not None, str realm not None, str user_name not None, str group not None):
    """The question whether a user is in a group.

    Args:
        user_name: ``user`` or ``user@domain``.
    """
    cdef Question q = Question.__new__(Question)
    q.request = request
    q.realm_name = realm
    q.user = user_name
    q.group_name = group
    q.is_group_check = True
    return q


cdef Question received(bytes message, const Told *told, bint is_group_check, Credentials credentials,
                       object error):
    """A question that came over a connection; `told` points into `message`."""
    cdef Question q = Question.__new__(Question)
    q.message = message
    q.told = told[0]
    q.is_group_check = is_group_check
    q.credentials = credentials
    q.error = error
    if told.body_hash.n:
        q.body_hash = told.body_hash.p[:told.body_hash.n]
    return q


cdef str address(const SipUri *uri):
    """A URI as ``user@host``."""
    cdef bytes room = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>uri.text.n)
    cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(room)
    return text_of(between(p, p + put_address(p, uri)))


cdef str address_and_port(const SipUri *uri):
    """A URI as ``user@host[:port]``."""
    cdef bytes room = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>uri.text.n)
    cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(room)
    return text_of(between(p, p + put_address_and_port(p, uri)))
