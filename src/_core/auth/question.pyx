"""The question to a back end about one request: a value, independent of the protocol."""

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
    """A question about one SIP request, made by `authentication` or `group_check`, or read from a message.

    It belongs to one thread. Others use only what the owner of the connections has them use, under its lock.

    Attributes:
        request: SipRequest; None for a question received over a connection.
        credentials: Credentials to verify; None: a challenge is asked for.
        error: ParseError of credentials received over a connection that cannot be read, or None.
        is_group_check: bool, whether the question is about a group membership.
        is_ha1_lookup: bool, whether it is about a user alone, whose HA1 is wanted.
        proxy: bool, whether the credentials are those of Proxy-Authorization.
        is_stale: bool, whether it is asked since the nonce of credentials is used up, which were right; set by the
            client.
        body_hash: bytes, hexadecimal, for qop=auth-int (RFC 7616, 3.4.3), or None.
        tells_source: bool, whether a remote back end is told `source`.
        asker: the SIP server that sent it over a connection, or None; set by the listener.
        one_challenge: bool, whether that SIP server can use one challenge only; set by the listener.
        callback: the client's, called with the result.
        connection: the last one that it was written to, or None; set by the pool.
        attempt: Attempt of its credentials while they are verified, or None.
    """

    def __init__(self):
        raise TypeError("a Question comes from authentication(…), group_check(…) or a RequestStream")

    @property
    def deadline(self):
        """When it ends without an answer; seconds, monotonic, float."""
        return self.flight.deadline

    @deadline.setter
    def deadline(self, double deadline):
        self.flight.deadline = deadline

    @property
    def msgid(self):
        """SIP-MSGID of the last attempt to ask it, int."""
        return self.flight.msgid

    @property
    def attempts(self):
        """How often it was written to a connection, int."""
        return self.flight.attempts

    @property
    def was_refused(self):
        """Whether the last attempt was answered, by an error, bool: the next one has no T flag (RFC 6733, 3)."""
        return self.flight.was_refused

    @was_refused.setter
    def was_refused(self, bint was_refused):
        self.flight.was_refused = was_refused

    @property
    def service(self):
        """The service asked for, Service."""
        return GROUP_CHECK if self.is_group_check else AUTHENTICATION

    @property
    def realm(self):
        """The realm to authenticate in, str."""
        if self.realm_name is None:
            self.realm_name = text_of(self.told.realm)
        return self.realm_name

    @property
    def user_name(self):
        """The user, str: ``user@host`` of To for a REGISTER, otherwise of From.

        In a group check: the user whose membership is asked.
        """
        if self.user is None:
            if self.request is not None:
                self.user = address(identity(&self.request.m))
            else:
                self.user = text_of(self.told.user_name)
        return self.user

    @property
    def group(self):
        """The name of the group, str; None if this is no group check."""
        if self.group_name is None and self.is_group_check:
            self.group_name = text_of(self.told.group)
        return self.group_name

    @property
    def method(self):
        """The SIP method, str."""
        return text_of(self.told.method) if self.request is None else text_of(self.request.m.method_name)

    @property
    def resource(self):
        """The Request-URI as ``user@host[:port]``, str; "" if it is not known."""
        if self.request is None:
            return text_of(self.told.resource)
        return address_and_port(&self.request.m.request_uri)

    @property
    def source(self):
        """The source address of the request, str; "" if it is not known."""
        if self.request is None:
            return text_of(self.told.source)
        return "" if self.request.source is None else self.request.source[0]

    @property
    def request_id(self):
        """Bytes that only a retransmission of the SIP request shares; b"" if they are not known."""
        cdef bytes found
        cdef uint8_t *p
        cdef size_t n = self.told.session.n
        if self.request is not None:
            return PyBytes_FromStringAndSize(<const char *>self.request.fingerprint(), 16)
        if not self.told.serial:
            return b""
        # The serial alone has 32 bits: a replay of a digest in many requests would match it one day.
        found = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(sizeof(self.told.serial) + n))
        p = <uint8_t *>PyBytes_AS_STRING(found)
        memcpy(p, &self.told.serial, sizeof(self.told.serial))
        if n:
            memcpy(p + sizeof(self.told.serial), self.told.session.p, n)
        return found

    @property
    def is_extended(self):
        """Whether the client supports more than OpenSER's module, bool.

        That module accepts one challenge, sends no hash of the body, and ignores Authentication-Info.
        """
        return self.request is not None or self.told.serial != 0

    def __repr__(self):
        about = f"of {self.request!r}" if self.request is not None else f"about {self.user_name!r}"
        return f"<Question {self.service.name} {about}>"


def authentication(SipRequest request not None, str realm not None, Credentials credentials, bint proxy,
                   bint tells_source=False):
    """Makes the question whether credentials are correct, or without credentials, which challenge to send.

    Args:
        request: SipRequest.
        realm: str.
        credentials: Credentials, or None.
        proxy: whether the credentials are those of Proxy-Authorization.
        tells_source: whether a remote back end is told the source address of the request.

    Returns:
        Question.
    """
    return new_question(request, realm, credentials, proxy, tells_source)


cdef Question new_question(SipRequest request, str realm, Credentials credentials, bint proxy, bint tells_source):
    """As `authentication`."""
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
    """Makes the question whether a user is in a group.

    Args:
        request: SipRequest.
        realm: str.
        user_name: ``user`` or ``user@domain``.
        group: the name of the group, str.

    Returns:
        Question.
    """
    cdef Question q = Question.__new__(Question)
    q.request = request
    q.realm_name = realm
    q.user = user_name
    q.group_name = group
    q.is_group_check = True
    return q


def ha1_lookup(str realm not None, str user_name not None, str public_identity not None):
    """Makes the question for the HA1 of a user.

    Args:
        realm: str.
        user_name: the username of the digest, as it is spelled.
        public_identity: the user's address, a SIP URI.

    Returns:
        Question.
    """
    cdef Question q = Question.__new__(Question)
    q.realm_name = realm
    q.user = user_name
    q.group_name = public_identity
    q.is_ha1_lookup = True
    return q


cdef Question received(bytes message, const Told *told, bint is_group_check, Credentials credentials,
                       object error):
    """Makes a question received over a connection; `told` points into `message`."""
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
    """The URI as ``user@host``."""
    cdef bytes room = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>uri.text.n)
    cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(room)
    return text_of(between(p, p + put_address(p, uri)))


cdef str address_and_port(const SipUri *uri):
    """The URI as ``user@host[:port]``."""
    cdef bytes room = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>uri.text.n)
    cdef uint8_t *p = <uint8_t *>PyBytes_AS_STRING(room)
    return text_of(between(p, p + put_address_and_port(p, uri)))
