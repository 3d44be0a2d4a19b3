"""What a SIP server and DISC say to each other: OpenSER's auth_diameter dialect of Diameter.

A message is a Diameter header (RFC 6733, 3) with command 265 (AA) and application 1, and AVPs 400 to
406 with meanings of their own, which today's NASREQ (RFC 7155) gives to others: the dialect never
shares a connection with standard Diameter. Order on the wire::

    question, authentication   Resource, Destination-Realm, Service-Type "6", SIP-MSGID, User-Name,
                               and with credentials: Response, Method
    question, group check      Destination-Realm, Service-Type "8", SIP-MSGID, User-Group, User-Name
    answer                     Result-Code, SIP-MSGID, Service-Type, and with 4001: Challenge

A reader takes any order. An answer belongs to the question whose SIP-MSGID it repeats; one without
goes by its Hop-by-Hop Identifier. The original DISC puts identifiers of its own into the header, so
that the SIP-MSGID comes first.

Client: `authentication` and `group_check` make a Question, `append_question` writes it straight from
the SIP request, `AnswerStream` finds the Answer to each. Server: `RequestStream`, `append_answer`.
"""

cimport cython
from cpython.bytearray cimport (
    PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE, PyByteArray_Resize,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.avp cimport AvpView, avp_next, avp_put, avp_put_u32, avp_size
from auth_diameter._core.chars cimport ad_find_control, is_lws
from auth_diameter._core.codes cimport (
    APPLICATION_NASREQ, AVP_CHALLENGE, AVP_DESTINATION_REALM, AVP_MANDATORY, AVP_METHOD, AVP_RESOURCE,
    AVP_RESPONSE, AVP_RESULT_CODE, AVP_SERVICE_TYPE, AVP_SIP_MSGID, AVP_USER_GROUP, AVP_USER_NAME, COMMAND_AA,
    FLAG_ERROR, FLAG_PROXIABLE, FLAG_REQUEST, RESULT_AVP_OCCURS_TOO_MANY_TIMES, RESULT_COMMAND_UNSUPPORTED,
    RESULT_INVALID_AVP_LENGTH, RESULT_INVALID_AVP_VALUE, RESULT_INVALID_HDR_BITS, RESULT_MISSING_AVP,
    SERVICE_AUTHENTICATION, SERVICE_GROUP_CHECK,
)
from auth_diameter._core.digest cimport (
    MAX_PARAMETER, OK, REALM, USERNAME, Credentials, DigestFields, challenge_ok, new_credentials,
    parse_credentials, parse_error,
)
from auth_diameter._core.message cimport (
    DEFAULT_LIMIT, DIAMETER_VERSION, FRAME_LARGE, FRAME_SHORT, FRAME_UNALIGNED, FRAME_VERSION, HEADER_SIZE,
    Header, frame, get_u32, header_get, header_put,
)
from auth_diameter._core.sip cimport METHOD_REGISTER, SipRequest
from auth_diameter._core.span cimport Reader, Span, put_u32
from auth_diameter._core.text cimport borrow, span_of, text_of
from auth_diameter._core.uri cimport SipUri, put_address

from auth_diameter._core.errors import ParseError

cdef enum:
    MAX_CHALLENGE = 4096    # of DISC, in bytes; it becomes a header of a reply that should fit a datagram

cdef dict _FRAME_REASONS = {
    FRAME_VERSION: "Diameter version is not 1",
    FRAME_SHORT: "Diameter message length below 20",
    FRAME_UNALIGNED: "Diameter message length is no multiple of 4",
    FRAME_LARGE: "Diameter message above 65536 bytes",
}


# ---------------------------------------------------------------------------------- questions


@cython.final
@cython.freelist(1024)
cdef class Question:
    """What DISC is asked about one request; made by `authentication` or `group_check`.

    :ivar request: the SipRequest. :ivar credentials: Credentials or None.
    :ivar realm: str, the Destination-Realm.
    :ivar proxy: whether it is about Proxy-Authorization. :ivar group: str, of a group check, or None.
    :ivar callback, connection, deadline, msgid, attempts: the pool's, while the question is under way.
    """

    def __init__(self):
        raise TypeError("a Question comes from authentication(…) or group_check(…)")

    @property
    def is_group_check(self):
        return self.service == SERVICE_GROUP_CHECK

    cdef size_t room(self):
        """Bytes the message has at most."""
        cdef size_t n = 20 + 12 * 8 + 4 * len(self.realm)
        if self.service == SERVICE_GROUP_CHECK:
            return n + 4 * (len(self.user_name) + len(self.group))
        n += self.request.request_uri_.text.n + self.identity().text.n
        if self.credentials is not None:
            # Response is all of them, and User-Name at most username and realm, which are parts of them.
            n += 2 * self.credentials.fields.raw.n + self.request.method_span.n
        return n

    cdef SipUri *identity(self) noexcept:
        """Whose request it is: To of a REGISTER, else From (RFC 3261, 10.2 and 22.1)."""
        return &self.request.to_ if self.request.method_id == METHOD_REGISTER else &self.request.from_

    cdef size_t write(self, uint8_t *out, uint32_t msgid) except 0:
        """The whole AA-Request to `out`, which has `room` for it; its size."""
        cdef Header header
        cdef uint8_t *q = out + HEADER_SIZE
        cdef uint8_t id_bytes[4]
        cdef Span realm, text
        cdef uint8_t service = self.service
        cdef bint whole = service == SERVICE_AUTHENTICATION
        _realm_kept = borrow(self.realm, &realm, "realm")
        put_u32(id_bytes, msgid)
        if whole:
            q = put_address_avp(q, AVP_RESOURCE, &self.request.request_uri_, True)
        q = avp_put(q, AVP_DESTINATION_REALM, AVP_MANDATORY, realm.p, realm.n)
        q = avp_put(q, AVP_SERVICE_TYPE, AVP_MANDATORY, &service, 1)
        q = avp_put(q, AVP_SIP_MSGID, 0, id_bytes, 4)
        if not whole:
            _kept = borrow(self.group, &text, "group")
            q = avp_put(q, AVP_USER_GROUP, AVP_MANDATORY, text.p, text.n)
            _kept = borrow(self.user_name, &text, "user_name")
            q = avp_put(q, AVP_USER_NAME, AVP_MANDATORY, text.p, text.n)
        elif self.credentials is None:
            q = put_address_avp(q, AVP_USER_NAME, self.identity(), False)
        else:
            q = put_username_avp(q, self.credentials)
            q = put_response_avp(q, self.credentials.fields.raw)
            q = avp_put(q, AVP_METHOD, AVP_MANDATORY, self.request.method_span.p, self.request.method_span.n)
        header.version = DIAMETER_VERSION
        header.length = <uint32_t>(q - out)
        header.flags = FLAG_REQUEST
        header.command = COMMAND_AA
        header.application_id = APPLICATION_NASREQ
        header.hop_by_hop = msgid
        header.end_to_end = msgid
        header_put(out, &header)
        return <size_t>(q - out)

    def __repr__(self):
        return f"<Question {chr(self.service)} of {self.request!r}>"


cdef uint8_t *put_address_avp(uint8_t *q, uint32_t code, const SipUri *uri, bint with_port) noexcept nogil:
    """A URI as user@host[:port]; written behind where the header goes, then that in front of it."""
    cdef size_t n = put_address(q + 8, uri, with_port)
    return avp_put_in_place(q, code, n)


cdef uint8_t *avp_put_in_place(uint8_t *q, uint32_t code, size_t n) noexcept nogil:
    """Header and padding around n bytes of data that stand at q + 8 already."""
    put_u32(q, code)
    put_u32(q + 4, (<uint32_t>AVP_MANDATORY << 24) | <uint32_t>(8 + n))
    memset(q + 8 + n, 0, avp_size(n) - 8 - n)
    return q + avp_size(n)


cdef uint8_t *put_username_avp(uint8_t *q, Credentials credentials) except NULL:
    """User-Name with credentials: the username where it holds an "@", else username@realm."""
    cdef uint8_t *start = q + 8
    cdef uint8_t *at = start
    cdef uint8_t room[MAX_PARAMETER]
    cdef Span name
    cdef str decoded
    cdef size_t i
    cdef bint qualified = False
    if credentials.fields.value[USERNAME].p != NULL:
        name = credentials.plain(USERNAME, room)
    else:
        decoded = credentials.username      # username*, which stands there percent-encoded
        encoded = decoded.encode("utf-8", "surrogateescape")
        span_of(encoded, &name, "username")
    memcpy(at, name.p, name.n)
    at += name.n
    for i in range(name.n):
        qualified = qualified or name.p[i] == 64
    if not qualified:
        at[0] = 64
        name = credentials.plain(REALM, room)
        if name.n:
            memcpy(at + 1, name.p, name.n)
        at += 1 + name.n
    return avp_put_in_place(q, AVP_USER_NAME, <size_t>(at - start))


cdef uint8_t *put_response_avp(uint8_t *q, Span raw) noexcept nogil:
    """The whole credentials, each fold of the header as one space (RFC 3261, 7.3.1)."""
    cdef const uint8_t *p = raw.p
    cdef const uint8_t *end = raw.p + raw.n
    cdef uint8_t *at = q + 8
    cdef const uint8_t *hit
    while p < end:
        hit = ad_find_control(p, end)
        memcpy(at, p, <size_t>(hit - p))
        at += hit - p
        p = hit
        if p < end and p[0] == 13:
            while p < end and is_lws(p[0]):
                p += 1
            at[0] = 32
            at += 1
        elif p < end:
            at[0] = p[0]
            at += 1
            p += 1
    return avp_put_in_place(q, AVP_RESPONSE, <size_t>(at - q - 8))


def authentication(SipRequest request not None, str realm not None, Credentials credentials, bint proxy):
    """The question whether the request is its user's: with credentials, or for a challenge.

    None where the message would be longer than a DISC takes, 64 KiB.
    """
    cdef Question q = Question.__new__(Question)
    q.request = request
    q.realm = realm
    q.credentials = credentials
    q.proxy = proxy
    q.service = SERVICE_AUTHENTICATION
    return q if q.room() <= DEFAULT_LIMIT else None


def group_check(SipRequest request not None, str realm not None, str user_name not None, str group not None):
    """The question whether a user is in a group. :param user_name: "user" or "user@domain".

    None where the message would be longer than a DISC takes, 64 KiB.
    """
    cdef Question q = Question.__new__(Question)
    q.request = request
    q.realm = realm
    q.user_name = user_name
    q.group = group
    q.service = SERVICE_GROUP_CHECK
    return q if q.room() <= DEFAULT_LIMIT else None


def append_question(bytearray out not None, Question question not None, uint32_t msgid):
    """Writes the AA-Request at the end of `out`; `msgid` (32 bits) becomes all three of its ids.

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
    :ivar challenge: bytes, fit to be a header's value, or None.
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
        cdef Py_ssize_t size = frame(p, n, DEFAULT_LIMIT)
        cdef int64_t msgid
        if size < 0:
            raise ParseError(_FRAME_REASONS[size], 0)
        if size == 0 or <size_t>size != n:
            raise ParseError("not exactly one Diameter message", n)
        return read_answer(p, n, &msgid)

    def __repr__(self):
        return (f"<Answer result_code={self.result_code} service_type={self.service_type} "
                f"challenge={'yes' if self.challenge is not None else 'no'} fault={self.fault!r}>")


cdef Answer read_answer(const uint8_t *p, size_t n, int64_t *msgid):
    """One whole message. What makes it unusable is its fault.

    `msgid` falls back to Hop-by-Hop where there is none, and is -1 where it cannot be told.
    """
    cdef Answer a = Answer.__new__(Answer)
    cdef Header header
    cdef Reader r
    cdef AvpView avp
    cdef int status
    cdef int ids = 0
    cdef bint coded = False
    cdef Span text
    header_get(p, &header)
    msgid[0] = header.hop_by_hop
    r.p = p + HEADER_SIZE
    r.end = p + n
    if header.command != COMMAND_AA:
        a.fault = "not an AA-Answer"
    while True:
        status = avp_next(&r, &avp)
        if status <= 0:
            break
        if avp.vendor_id:
            continue
        if avp.code == AVP_SIP_MSGID:
            ids += 1
            if avp.data.n != 4 or ids > 1:
                a.fault = "SIP-MSGID of a wrong size, or twice"
                msgid[0] = -1
            else:
                msgid[0] = get_u32(avp.data.p)
        elif avp.code == AVP_RESULT_CODE:
            if avp.data.n != 4 or coded:
                a.fault = "Result-Code of a wrong size, or twice"
            else:
                a.result_code = get_u32(avp.data.p)
            coded = True
        elif avp.code == AVP_SERVICE_TYPE:
            if avp.data.n != 1 or a.service_type:
                a.fault = "Service-Type of a wrong size, or twice"
            else:
                a.service_type = avp.data.p[0]
        elif avp.code == AVP_CHALLENGE:
            text = avp.data
            # The original DISC and ours end it with CRLF, because the C module does not.
            while text.n and is_lws(text.p[text.n - 1]):
                text.n -= 1
            if a.challenge is not None:
                a.fault = "Challenge given twice"
            elif text.n > MAX_CHALLENGE or not challenge_ok(text):
                a.fault = "Challenge is not one line of the Digest scheme"
            else:
                a.challenge = text.p[:text.n]
    if status < 0:
        a.fault = "malformed AVP"
    elif not coded and a.fault is None:
        a.fault = "no Result-Code"
    return a


cdef class _Stream:
    """Bytes of one TCP connection, cut into messages.

    :ivar fault: the ParseError that ended the framing, or None. The connection is then of no use:
        where its next message begins cannot be known.
    """

    cdef bytearray rest     # the beginning of a message, to be continued; None where there is none
    cdef size_t need        # how many bytes that message has; 0 where its length has not come yet
    cdef readonly object fault

    def __cinit__(self):
        self.need = 0

    @property
    def pending(self):
        """How many bytes of a message that has not come whole are kept, int."""
        return PyByteArray_GET_SIZE(self.rest) if self.rest is not None else 0

    cdef bytes join(self, object data):
        """What is kept and `data`; None where that is not a whole message yet, and `data` is kept, too.

        Each byte is copied twice at most, however small the pieces are that it comes in.
        """
        cdef bytes chunk = data if type(data) is bytes else bytes(memoryview(data))
        cdef bytes joined
        cdef size_t kept, n
        if self.rest is None:
            return chunk
        kept = <size_t>PyByteArray_GET_SIZE(self.rest)
        n = <size_t>PyBytes_GET_SIZE(chunk)
        if kept + n < self.need:
            self.rest += chunk
            return None
        joined = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>(kept + n))
        memcpy(PyBytes_AS_STRING(joined), PyByteArray_AS_STRING(self.rest), kept)
        memcpy(PyBytes_AS_STRING(joined) + kept, PyBytes_AS_STRING(chunk), n)
        self.rest = None
        return joined

    cdef void keep(self, bytes data, size_t at, Py_ssize_t status):
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(data) + at
        cdef size_t n = <size_t>PyBytes_GET_SIZE(data) - at
        self.rest = None
        if status < 0:
            self.fault = ParseError(_FRAME_REASONS[status], at)
        elif n:
            self.rest = PyByteArray_FromStringAndSize(<const char *>p, <Py_ssize_t>n)
            self.need = get_u32(p) & 0xFFFFFF if n >= 4 else 0


@cython.final
cdef class AnswerStream(_Stream):
    """Answers from one connection, each with the question it belongs to.

    :ivar dropped: int, how many messages belonged to no question (late, doubled, or not ours).
    :ivar strays: list of int, the msgids of these messages, -1 where it has none; its owner empties it.
    :ivar fault: the ParseError that ended the framing, or None.
    """

    cdef public Py_ssize_t dropped
    cdef readonly list strays

    def __cinit__(self):
        self.strays = []

    def feed(self, data, dict pending not None):
        """Takes in what was received: any bytes of the stream, in order.

        :param pending: dict of int (msgid) to Question; those answered are taken out of it.
        :returns: list of (Question, Answer), in the order of the answers.
        """
        cdef list found = []
        cdef bytes all_data
        cdef const uint8_t *p
        cdef size_t n, at = 0
        cdef Py_ssize_t size
        cdef int64_t msgid
        cdef Answer answer
        if self.fault is not None:
            return found
        all_data = self.join(data)
        if all_data is None:
            return found
        p = <const uint8_t *>PyBytes_AS_STRING(all_data)
        n = <size_t>PyBytes_GET_SIZE(all_data)
        while True:
            size = frame(p + at, n - at, DEFAULT_LIMIT)
            if size <= 0:
                break
            if p[at + 4] & FLAG_REQUEST:
                self.dropped += 1
                self.strays.append(-1)
            else:
                answer = read_answer(p + at, <size_t>size, &msgid)
                question = pending.pop(msgid, None)
                if question is None:
                    self.dropped += 1
                    self.strays.append(msgid)
                else:
                    found.append((question, answer))
            at += <size_t>size
        self.keep(all_data, at, size)
        return found


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
    """

    def __init__(self):
        raise TypeError("an AaRequest comes from a RequestStream")

    cdef void read(self, const uint8_t *p, size_t n) noexcept nogil:
        cdef Reader r
        cdef AvpView avp
        cdef int status
        cdef Span service
        cdef Span *place
        service.p = NULL
        service.n = 0
        header_get(p, &self.header)
        if self.header.flags & FLAG_ERROR:
            self.fault = RESULT_INVALID_HDR_BITS
        elif self.header.command != COMMAND_AA:
            self.fault = RESULT_COMMAND_UNSUPPORTED
        r.p = p + HEADER_SIZE
        r.end = p + n
        while True:
            status = avp_next(&r, &avp)
            if status <= 0:
                break
            if avp.vendor_id:
                continue
            if avp.code == AVP_USER_NAME:
                place = &self.user_name_
            elif avp.code == AVP_DESTINATION_REALM:
                place = &self.realm_
            elif avp.code == AVP_RESOURCE:
                place = &self.resource_
            elif avp.code == AVP_RESPONSE:
                place = &self.response_
            elif avp.code == AVP_METHOD:
                place = &self.method_
            elif avp.code == AVP_SERVICE_TYPE:
                place = &service
            elif avp.code == AVP_USER_GROUP:
                place = &self.group_
            elif avp.code == AVP_SIP_MSGID:
                place = &self.msgid
            else:
                continue
            if place.p != NULL:
                self.refuse(RESULT_AVP_OCCURS_TOO_MANY_TIMES)
            place[0] = avp.data
        if service.n == 1:
            self.service_type = service.p[0]    # first, so that the refusal repeats it, too
        if status < 0:
            self.refuse(RESULT_INVALID_AVP_LENGTH)
            return
        cut_nuls(&self.user_name_)
        cut_nuls(&self.resource_)
        if service.p == NULL or self.user_name_.p == NULL or self.realm_.p == NULL:
            self.refuse(RESULT_MISSING_AVP)
        elif service.n != 1:
            self.refuse(RESULT_INVALID_AVP_LENGTH)
        elif holds_nul(self.user_name_) or self.user_name_.n == 0:
            self.refuse(RESULT_INVALID_AVP_VALUE)
        elif self.service_type == SERVICE_AUTHENTICATION:
            if self.response_.p != NULL and self.method_.n == 0:
                self.refuse(RESULT_MISSING_AVP)
        elif self.service_type == SERVICE_GROUP_CHECK:
            if self.group_.n == 0:
                self.refuse(RESULT_MISSING_AVP)
        else:
            self.refuse(RESULT_INVALID_AVP_VALUE)

    cdef void refuse(self, uint32_t result_code) noexcept nogil:
        """Keeps the first reason."""
        if self.fault == 0:
            self.fault = result_code

    @property
    def is_group_check(self):
        return self.service_type == SERVICE_GROUP_CHECK

    @property
    def user_name(self):
        return self.user_name_.p[:self.user_name_.n]

    @property
    def destination_realm(self):
        return self.realm_.p[:self.realm_.n]

    @property
    def resource(self):
        return self.resource_.p[:self.resource_.n]

    @property
    def method(self):
        return self.method_.p[:self.method_.n]

    @property
    def group(self):
        return self.group_.p[:self.group_.n]

    @property
    def has_credentials(self):
        return self.response_.p != NULL

    def credentials(self):
        """The Credentials of the Response AVP; None where there is none.

        :raises ParseError: they are of another scheme or break the grammar.
        """
        cdef DigestFields fields
        cdef size_t offset = 0
        cdef int status
        if self.response_.p == NULL:
            return None
        status = parse_credentials(self.response_, &fields, &offset)
        if status != OK:
            raise parse_error(status, offset, "Response")
        if fields.value[REALM].p == NULL:
            raise ParseError("Response: realm missing", offset)
        return new_credentials(self.data, &fields)

    def __repr__(self):
        return (f"<AaRequest service_type={self.service_type} user_name={text_of(self.user_name_)!r} "
                f"credentials={'yes' if self.response_.p != NULL else 'no'} fault={self.fault}>")


cdef inline void cut_nuls(Span *s) noexcept nogil:
    while s.n and s.p[s.n - 1] == 0:
        s.n -= 1


cdef inline bint holds_nul(Span s) noexcept nogil:
    cdef size_t i
    for i in range(s.n):
        if s.p[i] == 0:
            return True
    return False


@cython.final
cdef class RequestStream(_Stream):
    """Questions from one connection of a SIP server.

    :ivar fault: the ParseError that ended the framing, or None.
    """

    def feed(self, data):
        """Takes in what was received: any bytes of the stream, in order.

        :returns: list of AaRequest, in order. Answers, which have no business here, are passed over.
        """
        cdef list found = []
        cdef bytes all_data
        cdef const uint8_t *p
        cdef size_t n, at = 0
        cdef Py_ssize_t size
        cdef AaRequest q
        if self.fault is not None:
            return found
        all_data = self.join(data)
        if all_data is None:
            return found
        p = <const uint8_t *>PyBytes_AS_STRING(all_data)
        n = <size_t>PyBytes_GET_SIZE(all_data)
        while True:
            size = frame(p + at, n - at, DEFAULT_LIMIT)
            if size <= 0:
                break
            if p[at + 4] & FLAG_REQUEST:
                q = AaRequest.__new__(AaRequest)
                q.data = all_data
                q.read(p + at, <size_t>size)
                found.append(q)
            at += <size_t>size
        self.keep(all_data, at, size)
        return found


def append_answer(bytearray out not None, AaRequest question not None, uint32_t result_code,
                  bytes challenge=None):
    """Writes the AA-Answer at the end of `out`.

    :param challenge: the value of a WWW-Authenticate header, without CRLF, or None. It goes out with
        one, because the C module copies it as it is and puts the next header right behind it.
    """
    cdef uint8_t *q
    cdef uint8_t *start
    cdef Header header
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(out)
    cdef size_t n = HEADER_SIZE + 12
    cdef Span text
    if question.msgid.n:
        n += avp_size(question.msgid.n)
    if question.service_type:
        n += avp_size(1)
    if challenge is not None:
        challenge = challenge + b"\r\n"
        span_of(challenge, &text, "challenge")
        n += avp_size(text.n)
    PyByteArray_Resize(out, size + <Py_ssize_t>n)
    start = <uint8_t *>PyByteArray_AS_STRING(out) + size
    header = question.header
    header.flags = question.header.flags & FLAG_PROXIABLE
    if result_code // 1000 == 3:
        header.flags |= FLAG_ERROR      # RFC 6733, 7.1.3: protocol errors, and they only
    header.version = DIAMETER_VERSION
    header.length = <uint32_t>n
    q = header_put(start, &header)
    q = avp_put_u32(q, AVP_RESULT_CODE, AVP_MANDATORY, result_code)
    if question.msgid.n:
        q = avp_put(q, AVP_SIP_MSGID, 0, question.msgid.p, question.msgid.n)
    if question.service_type:
        q = avp_put(q, AVP_SERVICE_TYPE, AVP_MANDATORY, &question.service_type, 1)
    if challenge is not None:
        q = avp_put(q, AVP_CHALLENGE, AVP_MANDATORY, text.p, text.n)
