"""A call from the script of a SIP server: from the server's current message to the return code.

The server hands out the parts of the message as pseudo-variables. Calls about the same message have the same
SipRequest, so that a group check knows which credentials were right.
"""

cimport cython

from base64 import b64decode

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.sip.request cimport new_request

from auth_diameter._core.errors import ConfigError


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
        number = get("$mi")
        if self.request is None or number != self.number:
            self.take(number, get)
        found = self.decide(self.request, realm, proxy)
        if type(found) is Decision and (<Decision>found).return_code == 1 and not (<Decision>found).headers:
            return 1
        return found

    def request_of(self, get):
        """The server's current message as SipRequest; the errors are those of `authorize`."""
        number = get("$mi")
        if self.request is None or number != self.number:
            self.take(number, get)
        return self.request

    cdef int take(self, object number, object get) except -1:
        """Reads a message."""
        cdef str address
        self.request = None
        if number is None:
            self.data = None
            raise ConfigError("there is no message; call it in the route of a request")
        try:
            self.data = (<str?>get("$mb")).encode()
        except UnicodeDecodeError:
            # The server decodes it strictly: a single byte that is no UTF-8 is enough.
            self.data = b64decode(get(self.encoded))
        address = get("$si")
        if address is not None and address.startswith("["):
            address = address[1:-1]         # IPv6
        self.request = new_request(
            self.data, (address, 0) if address is not None else None, self.max_size, self.max_headers)
        self.number = number
        return 0
