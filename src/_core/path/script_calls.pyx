"""A call from the script of a SIP server: from the server's current message to the return code.

::

    authorize(message, realm) ─► $mi, $mb, $si ─► SipRequest ─► WorkerObjects ─┬─► 1: it is let in
         │ realm to be expanded                                                └─► policy.go_on ─► int
         ▼
    policy.prepare                    each exception ─► policy.refuse ─► int

The server hands out the parts of the message as pseudo-variables. Calls about the same message have the same
SipRequest, so that a group check knows which credentials were right. Who is let in meets no Python on the way.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_GET_LENGTH
from libc.string cimport memchr, memcmp

from base64 import b64decode

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.base.text cimport PyUnicode_IS_COMPACT_ASCII, is_same_text
from auth_diameter._core.path.worker_objects cimport WorkerObjects
from auth_diameter._core.sip.request cimport new_request

from auth_diameter._core.errors import ConfigError, ParseError

# Realms that are expanded here: nothing that a script can do changes them. The server expands all others.
cdef frozenset OWN = frozenset({"$fd", "$td", "$(fd)", "$(td)"})
cdef str NULL_VALUE = "<null>"      # what a pseudo-variable without a value becomes in a text

# Names of pseudo-variables, as the arguments of a call
cdef tuple NUMBER = ("$mi",), MESSAGE = ("$mb",), ADDRESS = ("$si",)


@cython.final
cdef class ScriptCalls:
    """The calls of one process. Not for use by several threads at once.

    A message is an object of Python. Its `get` is the server's function of the name of a pseudo-variable, which
    returns its value; None: it has none.

    Args:
        policy: what Python decides. Its methods are

            - prepare(message, realm, is_expanded): the realm as `decide` takes it, str; None: it has no value. It
              raises ConfigError if the realm cannot be used, or if nobody decides so far;
            - go_on(message, found, realm, proxy): the return code, int, for what is not just let in; `found` is
              what `decide` has returned, None if the realm is None;
            - refuse(message, proxy, error): the return code, int, after an exception; it raises none.

        encoded: the pseudo-variable that is the message in base64.

    Attributes:
        request: SipRequest of the last call, or None: its message was malformed.
        data: its bytes; None: there are none, or they could not be read.
    """

    def __cinit__(self, policy, str encoded not None):
        self.policy = policy
        self.encoded = (encoded,)

    def use(self, path, *, size_t max_size, int max_headers):
        """Has `path` decide from now on, also about a message that is here already.

        Args:
            path: WorkerObjects, or another object whose `decide` is a function of a SipRequest, a realm and
                whether by proxy.
            max_size: bytes that a request may have.
            max_headers: header fields that a request may have.
        """
        self.worker = path if type(path) is WorkerObjects else None
        self.decide = path.decide
        self.max_size = max_size
        self.max_headers = max_headers

    def authorize(self, message, realm, bint proxy, bint is_expanded=False):
        """Authenticates the request that is the server's current message.

        Args:
            message: the message.
            realm: text with pseudo-variables; "": see `AuthDiameter.diameter_www_authorize`.
            proxy: whether a proxy authenticates, not a UAS.
            is_expanded: whether the server has expanded the realm; what it has put in may be a stranger's.

        Returns:
            Int, the return code; 1 if the request is let in.
        """
        return self.run(message, None, realm, proxy, is_expanded)

    cdef object run(self, object message, object get, object realm, bint proxy, bint is_expanded):
        """As `authorize`; `get` is that of the message, or None."""
        cdef object found = None
        try:
            if self.decide is None or not self.is_ready(realm, is_expanded):
                realm = self.policy.prepare(message, realm, is_expanded)
            if realm is not None:
                self.take(message.get if get is None else get)
                if self.worker is not None:
                    found = self.worker.judge(self.request, realm, proxy, True)
                    if type(found) is int:
                        return found
                else:
                    found = self.decide(self.request, realm, proxy)
                    if type(found) is Decision and (<Decision>found).return_code == 1 and (
                            not (<Decision>found).headers):
                        return 1
            return self.policy.go_on(message, found, realm, proxy)
        except BaseException as error:      # the server must not see it
            return self.policy.refuse(message, proxy, error)

    cdef bint is_ready(self, object realm, bint is_expanded) except -1:
        """Whether a realm is as `decide` takes it."""
        cdef str text
        if type(realm) is not str:
            return False
        text = realm
        if has_dollar(text):
            if is_expanded:
                return False
            if text is not self.own:
                if text not in OWN:
                    return False
                self.own = text
            return True
        return not is_same_text(text, NULL_VALUE)

    def request_of(self, get):
        """The server's current message as SipRequest.

        Args:
            get: function of the pseudo-variables.

        Raises:
            ConfigError: there is no message.
            ParseError: the message is no SIP request.
        """
        self.take(get)
        return self.request

    cdef int take(self, object get) except -1:
        """Reads the message, unless it is the same as in the last call."""
        cdef str address
        cdef object text
        cdef bytes data = None
        cdef const char *p
        cdef Py_ssize_t n
        try:
            number = get(*NUMBER)
            if number is None:
                raise ConfigError("there is no message; call it in the route of a request")
            try:
                text = get(*MESSAGE)
            except UnicodeDecodeError:
                # The server decodes it strictly: a single byte that is no UTF-8 is enough.
                data = self.decoded(get)
            else:
                if type(text) is not str:
                    raise TypeError(f"$mb: expected str, not {type(text).__name__}")
                if not PyUnicode_IS_COMPACT_ASCII(text):
                    data = (<str>text).encode()
            address = get(*ADDRESS)
        except BaseException:
            self.forget(None)
            raise
        if data is None:
            p = <const char *>PyUnicode_1BYTE_DATA(text)
            n = PyUnicode_GET_LENGTH(text)
        else:
            p = PyBytes_AS_STRING(data)
            n = PyBytes_GET_SIZE(data)
        # The number alone proves nothing: in another process, as in a failure route, a message keeps the number
        # that it has where it was received.
        if self.request is not None and self.holds(p, n) and is_same_text(address, self.address) and (
                number == self.number):
            return 0
        self.forget(data if data is not None else PyBytes_FromStringAndSize(p, n))
        if self.source is None or not is_same_text(address, self.address):
            self.source = source_of(address)
            self.address = address
        self.number = number
        self.request = new_request(self.data, self.source, self.max_size, self.max_headers)
        return 0

    cdef bint holds(self, const char *p, Py_ssize_t n) noexcept:
        """Whether the message of the last call had these bytes."""
        return PyBytes_GET_SIZE(self.data) == n and memcmp(PyBytes_AS_STRING(self.data), p, <size_t>n) == 0

    cdef bytes decoded(self, object get):
        """The bytes of a message that is no UTF-8."""
        encoded = get(*self.encoded)
        if encoded is None:
            raise ParseError("its bytes are no UTF-8, and too many for the server to encode them")
        return b64decode(encoded)

    cdef void forget(self, bytes data) noexcept:
        """Forgets the message of the last call; from now on it is one with these bytes."""
        self.request = None
        self.data = data


cdef class ScriptFunction:
    """An authorize function as a script calls it: with a realm, text with pseudo-variables, by default "".

    Args:
        calls: ScriptCalls.
        message: the server's current message, the same object for all messages; see `ScriptCalls`.
        proxy: whether a proxy authenticates, not a UAS.
    """

    def __cinit__(self, ScriptCalls calls not None, message, bint proxy):
        self.calls = calls
        self.message = message
        self.get = message.get
        self.proxy = proxy

    def __call__(self, realm=""):
        """Authenticates the current request; see `ScriptCalls.authorize`."""
        return self.calls.run(self.message, self.get, realm, self.proxy, False)


@cython.final
cdef class ScriptMethod(ScriptFunction):
    """The same as a method of the object that a configuration calls, as by ``python_exec``.

    It is called with the server's own object for the message, which is not looked at, and with the realm, which
    the server has expanded.
    """

    def __call__(self, msg, realm=""):
        """Authenticates the current request; see `ScriptCalls.authorize`."""
        return self.calls.run(self.message, self.get, realm, self.proxy, True)


cdef bint has_dollar(str text) except -1:
    """Whether a text may have a pseudo-variable."""
    if PyUnicode_IS_COMPACT_ASCII(text):
        return memchr(PyUnicode_1BYTE_DATA(text), c"$", <size_t>PyUnicode_GET_LENGTH(text)) != NULL
    return "$" in text


cdef tuple source_of(str address):
    """The source of a request that came from an address; None: it is not known."""
    if address is None:
        return None
    return (address.strip("[]") if address and address[0] == u"[" else address, 0)      # IPv6
