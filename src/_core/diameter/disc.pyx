"""The DISC dialect for Python: questions and answers, and the streams they come in.

The format is in disc_wire.pyx. A client makes a Question with `authentication` or `group_check` and writes it
with `append_question`; `AnswerStream` finds the Answer to it. A server uses `RequestStream` and
`append_answer`.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.diameter.avp cimport avp_put, avp_size
from auth_diameter._core.diameter.codes cimport (
    AVP_DIGEST_NEXTNONCE, AVP_DIGEST_RESPONSE_AUTH, AVP_MANDATORY, AVP_USER_NAME, FLAG_REQUEST,
    RESULT_SUCCESS, SERVICE_AUTHENTICATION,
    SERVICE_GROUP_CHECK,
)
from auth_diameter._core.digest.credentials cimport (
    Credentials, answers_nothing, check_credentials, new_credentials,
)
from auth_diameter._core.digest.params cimport OK, QOP_AUTH_INT, REALM, parse_error, parse_params
from auth_diameter._core.diameter.disc_wire cimport (
    AnswerView, Asked, answer_size, authentication_room, challenge_size, group_check_room, put_answer,
    failed_avp_size, put_authentication, put_challenge, put_failed_avp, put_group_check, read_answer,
    read_question,
)
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, MessageStream, check_one_message
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport as_bytes, borrow, span_of, text_of

from auth_diameter._core.errors import ParseError
from auth_diameter._core.digest.compute import body_hash


# ---------------------------------------------------------------------------------- questions


@cython.final
@cython.freelist(1024)
cdef class Question:
    """What DISC is asked about one request; made by `authentication` or `group_check`.

    :ivar request: the SipRequest. :ivar credentials: Credentials or None.
    :ivar realm: str, the Destination-Realm. :ivar is_group_check: bool.
    :ivar proxy: whether it is about Proxy-Authorization. :ivar group: str, of a group check, or None.
    :ivar callback, connection, deadline, msgid, attempts: the pool's, while the question is under way.
    :ivar attempt: Attempt that its credentials are while they are judged, or None.
    """

    def __init__(self):
        raise TypeError("a Question comes from authentication(…) or group_check(…)")

    cdef void put_asked(self, Asked *out, Span realm):
        """All but the ids."""
        memset(out, 0, sizeof(Asked))
        out.request = &self.request.m
        out.credentials = NULL if self.credentials is None else &self.credentials.fields
        out.realm = realm
        if self.body_hash is not None:
            span_of(self.body_hash, &out.body_hash, "body_hash")
        if self.tells_source and self.request.source is not None:
            span_of(self.request.source[0], &out.source, "source")
            memcpy(out.session, self.request.fingerprint(), sizeof(out.session))

    cdef size_t room(self) except 0:
        """Bytes the message has at most."""
        cdef Span realm, user_name, group
        cdef Asked asked
        _realm_kept = borrow(self.realm, &realm, "realm")
        if not self.is_group_check:
            self.put_asked(&asked, realm)
            return authentication_room(&asked)
        _name_kept = borrow(self.user_name, &user_name, "user_name")
        _group_kept = borrow(self.group, &group, "group")
        return group_check_room(realm, user_name, group)

    cdef size_t write(self, uint8_t *out, uint32_t msgid) except 0:
        """The whole AA-Request to `out`, which has `room` for it; its size."""
        cdef Span realm, user_name, group
        cdef Asked asked
        _realm_kept = borrow(self.realm, &realm, "realm")
        if not self.is_group_check:
            self.put_asked(&asked, realm)
            asked.msgid = msgid
            # No other request can be made to have it; and not 0, which OpenSER's module always sends.
            asked.end_to_end = <uint32_t>self.request.fingerprint()[0] or 1
            asked.again = self.attempts > 0
            return put_authentication(out, &asked)
        _name_kept = borrow(self.user_name, &user_name, "user_name")
        _group_kept = borrow(self.group, &group, "group")
        return put_group_check(out, realm, user_name, group, msgid)

    def let_in(self, Answer answer not None):
        """The user's name, str, where DISC found the credentials right, which then are marked on the request.

        Else None. 2001 for a question without credentials lets nobody in, for nothing was there to be
        right; nor does it where it names another service, for then it answers another question.
        """
        cdef str name = None
        if (self.credentials is None or self.is_group_check or answer.result_code != RESULT_SUCCESS
                or answer.fault is not None or answer.service_type not in (0, SERVICE_AUTHENTICATION)):
            return None
        if answer.user_name is not None and self.credentials.userhash:
            name = answer.user_name.decode("utf-8", "surrogateescape")
        self.request.mark_authorized(self.credentials, self.proxy, name)
        return name if name is not None else self.credentials.user()

    def __repr__(self):
        return f"<Question {8 if self.is_group_check else 6} of {self.request!r}>"


def authentication(SipRequest request not None, str realm not None, Credentials credentials, bint proxy,
                   size_t limit=DEFAULT_LIMIT, bint tells_source=False):
    """The question whether the request is its user's: with credentials, or for a challenge.

    None where the message might be longer than `limit` bytes, 64 KiB where not said.

    :param tells_source: whether DISC is told the address that the request came from.
    """
    cdef Question q = Question.__new__(Question)
    q.tells_source = tells_source
    if credentials is not None and credentials.fields.qop == QOP_AUTH_INT:
        q.body_hash = body_hash(credentials, request.body)
    q.request = request
    q.realm = realm
    q.credentials = credentials
    q.proxy = proxy
    return q if q.room() <= limit else None


def group_check(SipRequest request not None, str realm not None, str user_name not None, str group not None,
                size_t limit=DEFAULT_LIMIT):
    """The question whether a user is in a group. :param user_name: "user" or "user@domain".

    None where the message might be longer than `limit` bytes, 64 KiB where not said.
    """
    cdef Question q = Question.__new__(Question)
    q.request = request
    q.realm = realm
    q.user_name = user_name
    q.group = group
    q.is_group_check = True
    return q if q.room() <= limit else None


def append_question(bytearray out not None, Question question not None, uint32_t msgid):
    """Writes the AA-Request at the end of `out`; `msgid` (32 bits) becomes SIP-MSGID and Hop-by-Hop.

    Its End-to-End Identifier is that of the SIP request, the same for a retransmission, which comes from
    the same address.

    The question remembers its `msgid`, and in `attempts` how often it was written.
    """
    cdef Py_ssize_t size
    cdef uint8_t small[4096]
    cdef uint8_t *text = small
    cdef size_t room = question.room(), n
    if room > sizeof(small):
        text = <uint8_t *>PyMem_Malloc(room)
        if text == NULL:
            raise MemoryError()
    try:
        n = question.write(text, msgid)
        size = PyByteArray_GET_SIZE(out)
        PyByteArray_Resize(out, size + <Py_ssize_t>n)
        memcpy(PyByteArray_AS_STRING(out) + size, text, n)
    finally:
        if text != small:
            PyMem_Free(text)
    question.msgid = msgid
    question.attempts += 1


# ---------------------------------------------------------------------------------- answers


@cython.final
@cython.freelist(1024)
@cython.no_gc  # it holds no object that could hold it
cdef class Answer:
    """What DISC said.

    :ivar result_code: int, 0 where there was none. :ivar service_type: int, the ASCII digit, or 0.
    :ivar challenges: tuple of bytes, each fit to be a header's value, in the order of preference.
    :ivar response_auth, nextnonce: bytes, of Authentication-Info (RFC 7616, 3.5), or None.
    :ivar user_name: bytes, whose hashed username it was (RFC 7616, 3.4.4), or None.
    :ivar failed_avp: int, code of the AVP that Failed-AVP holds (RFC 6733, 7.5): what credentials were refused
        for, other than a wrong digest; 0 where there is none.
    :ivar fault: str, why the answer must not be used, or None.
    """

    def __init__(self):
        raise TypeError("an Answer comes from Answer.decode(data) or an AnswerStream")

    @staticmethod
    def decode(data):
        """Reads one whole AA-Answer (bytes-like). :raises ParseError: it is not framed as one."""
        cdef bytes message = data if type(data) is bytes else bytes(memoryview(data))
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(message)
        cdef size_t n = <size_t>PyBytes_GET_SIZE(message)
        cdef int64_t msgid
        check_one_message(p, n, DEFAULT_LIMIT)
        return answer_of(p, n, &msgid)

    def __repr__(self):
        return (f"<Answer result_code={self.result_code} service_type={self.service_type} "
                f"challenges={len(self.challenges or ())} fault={self.fault!r}>")


cdef Answer answer_of(const uint8_t *p, size_t n, int64_t *msgid):
    """One whole message; `msgid` is -1 where the question it belongs to cannot be told."""
    cdef Answer a = Answer.__new__(Answer)
    cdef AnswerView view
    cdef int i
    read_answer(p, n, &view)
    msgid[0] = view.msgid
    a.result_code = view.result_code
    a.service_type = view.service_type
    a.challenges = ()
    for i in range(view.challenges):
        a.challenges += (plain(view.challenge[i]),)
    if view.response_auth.p != NULL:
        a.response_auth = plain(view.response_auth)
    if view.nextnonce.p != NULL:
        a.nextnonce = plain(view.nextnonce)
    if view.user_name.p != NULL:
        a.user_name = plain(view.user_name)
    a.failed_avp = view.failed_avp
    if view.fault != NULL:
        a.fault = view.fault.decode("ascii")
    return a


@cython.final
cdef class AnswerStream(MessageStream):
    """The answers from one connection, each with its question.

    :param limit: bytes a message may have, 20 to 2**24; 64 KiB by default.
    :ivar dropped: int, the number of messages without a question (late, repeated, or foreign).
    :ivar strays: list of int, the msgids of these messages, -1 for one without; the owner empties it.
    :ivar fault: the ParseError that ended the stream, or None.
    """

    cdef public Py_ssize_t dropped
    cdef readonly list strays

    def __cinit__(self, limit=DEFAULT_LIMIT):
        self.strays = []

    def feed(self, data, dict pending not None):
        """Takes in the next bytes of the stream.

        :param data: bytes-like, cut anywhere.
        :param pending: dict of int (msgid) to Question; answered questions are removed.
        :returns: list of (Question, Answer), in the order of the answers.
        """
        cdef list found = []
        cdef bytes _kept
        cdef const uint8_t *p
        cdef size_t n
        cdef int64_t msgid
        cdef Answer answer
        self.put(data)
        while True:
            p = self.take(&n)
            if p == NULL:
                return found
            _kept = self.chunk      # while `p` is in use
            msgid = -1
            if not p[4] & FLAG_REQUEST:
                answer = answer_of(p, n, &msgid)
                question = pending.pop(msgid, None)
                if question is not None:
                    found.append((question, answer))
                    continue
            self.dropped += 1
            self.strays.append(msgid)


# ---------------------------------------------------------------------------------- DISC's side


@cython.final
@cython.freelist(1024)
@cython.no_gc  # it holds no object that could hold it
cdef class AaRequest:
    """A question as DISC receives it, from our client or from OpenSER's and Kamailio's C module.

    The C module's quirks are undone: NUL bytes at the end of User-Name and Resource are cut off.

    :ivar service_type: int, the ASCII digit, or 0. :ivar fault: int, the Result-Code that refuses
        the message as it is (RFC 6733, 7.1), or 0.
    :ivar user_name, destination_realm, resource, method, group: bytes, empty where absent.
    :ivar body_hash: bytes, hexadecimal, of credentials with qop=auth-int; empty where absent.
    :ivar source: bytes, the address that the SIP request came from; empty where absent.
    :ivar end_to_end: int, 0 from OpenSER's module; else the same for the retransmission of a request.
    :ivar session: bytes, the same for the retransmission of a request, and longer; empty where absent.
    """

    def __init__(self):
        raise TypeError("an AaRequest comes from a RequestStream")

    @property
    def service_type(self):
        return self.view.service_type

    @property
    def fault(self):
        return self.view.fault

    @property
    def is_group_check(self):
        return self.view.service_type == SERVICE_GROUP_CHECK

    @property
    def user_name(self):
        return plain(self.view.user_name)

    @property
    def destination_realm(self):
        return plain(self.view.realm)

    @property
    def resource(self):
        return plain(self.view.resource)

    @property
    def method(self):
        return plain(self.view.method)

    @property
    def group(self):
        return plain(self.view.group)

    @property
    def body_hash(self):
        return plain(self.view.body_hash)

    @property
    def source(self):
        return plain(self.view.source)

    @property
    def session(self):
        return plain(self.view.session)

    @property
    def end_to_end(self):
        return self.view.header.end_to_end

    @property
    def has_credentials(self):
        """Whether there is a Response AVP, and one that answers a challenge.

        What Kamailio forwards of an IMS telephone's first REGISTER does not, see `answers_nothing`, and wants one.
        """
        return self.look()

    cdef bint look(self) noexcept:
        if not self.looked and self.view.response.p != NULL:
            self.status = parse_params(self.view.response, &self.fields, &self.offset)
            if self.status == OK:
                if self.fields.value[REALM].p != NULL and answers_nothing(&self.fields):
                    self.view.response.p = NULL
                else:
                    self.status = check_credentials(self.view.response, &self.fields, &self.offset)
        self.looked = True
        return self.view.response.p != NULL

    def credentials(self):
        """The Credentials of the Response AVP; None where `has_credentials` says that there are none.

        :raises ParseError: they are of another scheme or break the grammar.
        """
        if not self.look():
            return None
        if self.status != OK:
            raise parse_error(self.status, self.offset, "Response")
        if self.fields.value[REALM].p == NULL:
            raise ParseError("Response: realm missing", self.offset)
        return new_credentials(self.data, &self.fields)

    def __repr__(self):
        return (f"<AaRequest service_type={self.service_type} user_name={text_of(self.view.user_name)!r} "
                f"credentials={'yes' if self.has_credentials else 'no'} fault={self.fault}>")


cdef inline bytes plain(Span s):
    return s.p[:s.n]


@cython.final
cdef class RequestStream(MessageStream):
    """The questions from one connection of a SIP server.

    :param limit: bytes a message may have, 20 to 2**24; 64 KiB by default.
    :ivar fault: the ParseError that ended the stream, or None.
    """

    def feed(self, data):
        """Takes in the next bytes of the stream; answers are passed over.

        :param data: bytes-like, cut anywhere.
        :returns: list of AaRequest, in order.
        """
        cdef list found = []
        cdef const uint8_t *p
        cdef size_t n
        cdef AaRequest q
        self.put(data)
        while True:
            p = self.take(&n)
            if p == NULL:
                return found
            if p[4] & FLAG_REQUEST:
                q = AaRequest.__new__(AaRequest)
                q.data = self.chunk
                read_question(p, n, &q.view)
                found.append(q)


def append_answer(bytearray out not None, AaRequest question not None, uint32_t result_code,
                  challenges=(), response_auth=None, nextnonce=None, user_name=None, uint32_t failed_avp=0):
    """Appends the AA-Answer to `out`.

    :param out: bytearray.
    :param question: AaRequest.
    :param result_code: int.
    :param challenges: values of WWW-Authenticate fields, bytes without CRLF, in the order of preference.
        OpenSER's module accepts one only.
    :param response_auth: rspauth of Authentication-Info (RFC 7616, 3.5), str, or None.
    :param nextnonce: nextnonce of Authentication-Info, str, or None.
    :param user_name: the user of a hashed username (RFC 7616, 3.4.4), str, or None.
    :param failed_avp: code of the AVP in Failed-AVP (RFC 6733, 7.5), or 0.
    """
    cdef Py_ssize_t size
    cdef size_t more = 0
    cdef uint8_t *q
    cdef Span text
    challenges = tuple(challenges)      # nobody changes it between measuring and writing
    for challenge in challenges:
        span_of(challenge, &text, "challenge")
        more += challenge_size(text)
    if response_auth is not None:
        response_auth = as_bytes(response_auth, "response_auth")
        more += avp_size(len(response_auth))
    if nextnonce is not None:
        nextnonce = as_bytes(nextnonce, "nextnonce")
        more += avp_size(len(nextnonce))
    if user_name is not None:
        user_name = as_bytes(user_name, "user_name")
        more += avp_size(len(user_name))
    if failed_avp:
        more += failed_avp_size()
    size = PyByteArray_GET_SIZE(out)
    PyByteArray_Resize(out, size + <Py_ssize_t>(answer_size(&question.view) + more))
    q = <uint8_t *>PyByteArray_AS_STRING(out) + size
    q += put_answer(q, &question.view, result_code, more)
    for challenge in challenges:
        span_of(challenge, &text, "challenge")
        q = put_challenge(q, text)
    if response_auth is not None:
        span_of(response_auth, &text, "response_auth")
        q = avp_put(q, AVP_DIGEST_RESPONSE_AUTH, 0, text.p, text.n)
    if nextnonce is not None:
        span_of(nextnonce, &text, "nextnonce")
        q = avp_put(q, AVP_DIGEST_NEXTNONCE, 0, text.p, text.n)
    if user_name is not None:
        span_of(user_name, &text, "user_name")
        q = avp_put(q, AVP_USER_NAME, AVP_MANDATORY, text.p, text.n)
    if failed_avp:
        put_failed_avp(q, failed_avp)
