"""A call from the script of a SIP server: from the server's current message to the return code.

The server hands out the parts of the message as pseudo-variables. Calls about the same message have the same
SipRequest, so that a group check knows which credentials were right.
"""

cimport cython

from base64 import b64decode

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.sip.request cimport new_request

from auth_diameter._core.errors import ConfigError, ParseError


@cython.final
cdef class ScriptCalls:
    """The calls of one process. Not for use by several threads at once.

    `get` is the server's function of the name of a pseudo-variable, which returns its value; None: it has none.

    Args:
        decide: function of a SipRequest, a realm and whether by proxy, such as `WorkerObjects.decide`.
        encoded: the pseudo-variable that is the message in base64.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.

    Attributes:
        request: SipRequest of the last call, or None: its message was malformed.
        data: its bytes, or None before the first call.
    """

    def __cinit__(self, decide, str encoded not None, *, size_t max_size, int max_headers):
        self.decide = decide
        self.encoded = encoded
        self.max_size = max_size
        self.max_headers = max_headers

    def authorize(self, get, realm, bint proxy):
        """Authenticates the request that is the server's current message.

        Args:
            get: function of the pseudo-variables.
            realm: str, as for `decide`.
            proxy: whether a proxy authenticates, not a UAS.

        Returns:
            Int, the return code, if the request is let in and nothing is to be sent; otherwise what `decide`
            returns.

        Raises:
            ConfigError: there is no message, or `realm` cannot be used.
            ParseError: the message is no SIP request.
        """
        self.take(get)
        found = self.decide(self.request, realm, proxy)
        if type(found) is Decision and (<Decision>found).return_code == 1 and not (<Decision>found).headers:
            return 1
        return found

    def request_of(self, get):
        """The server's current message as SipRequest; the errors are those of `authorize`."""
        self.take(get)
        return self.request

    def adopt(self, ScriptCalls other not None):
        """Takes over the message of the last call: settings may change between two calls about one message."""
        self.request = other.request
        self.data = other.data
        self.number = other.number
        self.address = other.address

    cdef int take(self, object get) except -1:
        """Reads the message, unless it is the same as in the last call."""
        cdef str address
        cdef bytes data
        number = get("$mi")
        if number is None:
            self.forget(None)
            raise ConfigError("there is no message; call it in the route of a request")
        data = self.read(get)
        address = get("$si")
        # The number alone proves nothing: in another process, as in a failure route, a message keeps the number
        # that it has where it was received.
        if self.request is not None and number == self.number and data == self.data and address == self.address:
            return 0
        self.forget(data)
        source = address
        if source is not None and source and source[0] == u"[":      # IPv6
            source = source.strip("[]")
        self.request = new_request(
            data, (source, 0) if source is not None else None, self.max_size, self.max_headers)
        self.number = number
        self.address = address
        return 0

    cdef bytes read(self, object get):
        """The bytes of the message."""
        try:
            return (<str?>get("$mb")).encode()
        except UnicodeDecodeError:
            pass        # the server decodes it strictly: a single byte that is no UTF-8 is enough
        encoded = get(self.encoded)
        if encoded is None:
            self.forget(b"")
            raise ParseError("its bytes are no UTF-8, and too many for the server to encode them")
        return b64decode(encoded)

    cdef void forget(self, bytes data) noexcept:
        """Forgets the message of the last call; from now on there are these bytes."""
        self.request = None
        self.data = data
