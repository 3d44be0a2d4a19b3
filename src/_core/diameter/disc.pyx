"""The DISC dialect of Diameter, that of OpenSER's auth_diameter: questions, answers, and the streams they come in.

A message has a Diameter header (RFC 6733, 3) with command 265 (AA) and application 1. AVPs 400 to 406 have
meanings of their own; NASREQ (RFC 7155) gives these numbers to other AVPs, so that the dialect never shares a
connection with standard Diameter. The order on the wire::

    question, authentication   Resource, Destination-Realm, Service-Type "6", SIP-MSGID, User-Name,
                               and with credentials: Response, Method
    question, group check      Destination-Realm, Service-Type "8", SIP-MSGID, User-Group, User-Name
    answer                     Result-Code, SIP-MSGID, Service-Type, and with 4001: Challenge

Extensions that OpenSER's module does not know, used only if both sides are configured for them: several
Challenge AVPs in one answer (RFC 8760), Digest-Entity-Body-Hash with qop=auth-int, Calling-Station-Id with
the address of the UAC, Session-Id with an identifier that retransmissions of a SIP request share, Digest-
Response-Auth and Digest-Nextnonce for Authentication-Info, and Failed-AVP if credentials were refused for a
reason other than a wrong digest.

Readers accept any order. An answer belongs to the question with the same SIP-MSGID, or, without one, with the
same Hop-by-Hop Identifier. SIP-MSGID comes first because the original DISC puts identifiers of its own into
the header.

A client writes a Question with `write_question`, straight from the SIP request, and reads the Answer with
`read_answer`; `path/in_flight.pyx` brings them together. A server uses `RequestStream` and `append_answer`.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.auth.answer cimport Answer, AnswerFields, borrow_answer, new_answer
from auth_diameter._core.auth.question cimport Question, received
from auth_diameter._core.diameter.codes cimport FLAG_REQUEST, SERVICE_GROUP_CHECK
from auth_diameter._core.digest.credentials cimport (
    Credentials, answers_nothing, check_credentials, new_credentials,
)
from auth_diameter._core.digest.params cimport OK, REALM, DigestFields, parse_error, parse_params
from auth_diameter._core.diameter.disc_answer cimport (
    AnswerView, Known, put_whole_answer, read_answer, whole_answer_size,
)
from auth_diameter._core.diameter.disc_question cimport (
    Asked, QuestionView, authentication_room, group_check_room, put_authentication, put_group_check, read_question,
)
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, MessageStream, check_one_message
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of

from auth_diameter._core.errors import ParseError


# ---------------------------------------------------------------------------------- questions


cdef inline void put_asked(Question q, Asked *out, Span realm):
    """Fills in all of an authentication question but its identifiers."""
    memset(out, 0, sizeof(Asked))
    out.request = &q.request.m
    out.credentials = NULL if q.credentials is None else &q.credentials.fields
    out.realm = realm
    if q.body_hash is not None:
        span_of(q.body_hash, &out.body_hash, "body_hash")
    if q.tells_source and q.request.source is not None:
        span_of(q.request.source[0], &out.source, "source")
        memcpy(out.session, q.request.fingerprint(), sizeof(out.session))


def question_room(Question question not None):
    """The largest size of the AA-Request with this question in bytes, int."""
    return room_of(question)


cdef size_t room_of(Question q) except 0:
    cdef Span realm, user_name, group
    cdef Asked asked
    if q.room:
        return q.room
    _realm_kept = borrow(q.realm_name, &realm, "realm")
    if not q.is_group_check:
        put_asked(q, &asked, realm)
        q.room = authentication_room(&asked)
    else:
        _name_kept = borrow(q.user, &user_name, "user_name")
        _group_kept = borrow(q.group_name, &group, "group")
        q.room = group_check_room(realm, user_name, group)
    return q.room


cdef size_t write_question(Question q, uint8_t *out, uint32_t msgid) except 0:
    """Writes the whole AA-Request to `out`, which has room for it.

    Returns:
        Its size.
    """
    cdef Span realm, user_name, group
    cdef Asked asked
    _realm_kept = borrow(q.realm_name, &realm, "realm")
    if not q.is_group_check:
        put_asked(q, &asked, realm)
        asked.msgid = msgid
        # Nobody can make another request with the same. It is not 0, which OpenSER's module always sends.
        asked.end_to_end = <uint32_t>q.request.fingerprint()[0] or 1
        asked.again = q.flight.attempts > 0
        return put_authentication(out, &asked)
    _name_kept = borrow(q.user, &user_name, "user_name")
    _group_kept = borrow(q.group_name, &group, "group")
    return put_group_check(out, realm, user_name, group, msgid)


def append_question(bytearray out not None, Question question not None, uint32_t msgid):
    """Writes the AA-Request at the end of `out`; `msgid` (32 bits) becomes SIP-MSGID and Hop-by-Hop.

    Its End-to-End Identifier is that of the SIP request, the same for a retransmission, which comes from
    the same address.

    The question remembers its `msgid`, and in `attempts` how often it was written.
    """
    cdef Py_ssize_t size
    cdef uint8_t small[4096]
    cdef uint8_t *text = small
    cdef size_t room, n
    if question.request is None:
        raise TypeError("question: came over a connection, and is not to be asked again")
    room = room_of(question)
    if room > sizeof(small):
        text = <uint8_t *>PyMem_Malloc(room)
        if text == NULL:
            raise MemoryError()
    try:
        n = write_question(question, text, msgid)
        size = PyByteArray_GET_SIZE(out)
        PyByteArray_Resize(out, size + <Py_ssize_t>n)
        memcpy(PyByteArray_AS_STRING(out) + size, text, n)
    finally:
        if text != small:
            PyMem_Free(text)
    question.flight.msgid = msgid
    question.flight.attempts += 1


# ---------------------------------------------------------------------------------- answers


def decode_answer(data):
    """Reads one whole AA-Answer (bytes-like).

    Raises:
        ParseError: it is not framed as one.
    """
    return answer_of(data, NULL)


@cython.final
cdef class AnswerReader:
    """Reads the AA-Answers of one DISC, and of a challenge only what is new since the one before.

    What it says of an answer is the same as what `decode_answer` says.
    """

    cdef Known known

    def decode(self, data):
        """Reads one whole AA-Answer (bytes-like).

        Raises:
            ParseError: it is not framed as one.
        """
        return answer_of(data, &self.known)


cdef Answer answer_of(object data, Known *known):
    """The Answer in one whole message, bytes-like."""
    cdef bytes message = data if type(data) is bytes else bytes(memoryview(data))
    cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(message)
    cdef size_t n = <size_t>PyBytes_GET_SIZE(message)
    cdef AnswerView view
    check_one_message(p, n, DEFAULT_LIMIT)
    read_answer(p, n, known, &view)
    return new_answer(&view.says)


# ---------------------------------------------------------------------------------- DISC's side


@cython.final
@cython.freelist(1024)
@cython.no_gc  # it refers to no object that could refer to it
cdef class AaRequest:
    """An AA-Request as DISC receives it, from our client or from OpenSER's and Kamailio's C module.

    The C module's quirks are undone: NUL bytes at the end of User-Name and Resource are cut off.

    Attributes:
        question: Question, what it asks; made when it is read.
        service_type: int, the ASCII digit, or 0.
        fault: int, the Result-Code that refuses the message as it is (RFC 6733, 7.1), or 0.
        asker: the SIP server that sent it, or None; set by the listener.
        one_challenge: bool, whether that SIP server can use one challenge only; set by the listener.
    """

    def __init__(self):
        raise TypeError("an AaRequest comes from a RequestStream")

    @property
    def question(self):
        if self.asked is None and self.message is not None:
            self.asked = question_of(self)
        return self.asked

    @property
    def service_type(self):
        return self.view.service_type

    @property
    def fault(self):
        return self.view.fault

    def __repr__(self):
        return f"<AaRequest service_type={self.service_type} {self.question!r} fault={self.fault}>"


cdef int read_response(const QuestionView *view, DigestFields *fields, size_t *offset) noexcept nogil:
    """Reads the credentials in an AA-Request.

    Returns:
        NO_CREDENTIALS, GOOD_CREDENTIALS, or what is wrong with them, at `offset` in the Response.
    """
    cdef int status
    if view.response.p == NULL:
        return NO_CREDENTIALS
    status = parse_params(view.response, fields, offset)
    if status == OK:
        # An IMS telephone's first REGISTER, which Kamailio forwards, answers no challenge: it asks for one.
        if fields.value[REALM].p != NULL and answers_nothing(fields):
            return NO_CREDENTIALS
        status = check_credentials(view.response, fields, offset)
    if status == OK and fields.value[REALM].p == NULL:
        return NO_REALM
    return status


cdef Question question_of(AaRequest request):
    """The question in an AA-Request; credentials that cannot be read are an error of the question."""
    cdef Credentials credentials = None
    cdef Question found
    error = None
    if request.status == GOOD_CREDENTIALS:
        credentials = new_credentials(request.message, &request.fields)
    elif request.status == NO_REALM:
        error = ParseError("Response: realm missing", request.offset)
    elif request.status != NO_CREDENTIALS:
        error = parse_error(request.status, request.offset, "Response")
    found = received(
        request.message, &request.view.told, request.view.service_type == SERVICE_GROUP_CHECK, credentials, error)
    found.asker = request.asker
    found.one_challenge = request.one_challenge
    return found


def mark_asker(list requests not None, asker, bint one_challenge):
    """Sets whose requests these are.

    Args:
        requests: list of AaRequest.
        asker: the SIP server that sent them.
        one_challenge: whether it can use one challenge only.
    """
    cdef AaRequest request
    for request in requests:
        request.asker = asker
        request.one_challenge = one_challenge
        if request.asked is not None:
            request.asked.asker = asker
            request.asked.one_challenge = one_challenge


@cython.final
cdef class RequestStream(MessageStream):
    """The questions from one connection of a SIP server. Not for use by several threads at once.

    Args:
        limit: bytes a message may have, 20 to 2**24; 64 KiB by default.

    Attributes:
        fault: the ParseError that ended the stream, or None.
    """

    def feed(self, data):
        """Takes in the next bytes of the stream; answers are passed over.

        Args:
            data: bytes-like, cut anywhere.

        Returns:
            List of AaRequest, in order.
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
                q.message = self.chunk
                read_question(p, n, &q.view)
                q.status = read_response(&q.view, &q.fields, &q.offset)
                found.append(q)


def append_answer(bytearray out not None, AaRequest request not None, Answer answer not None):
    """Appends the AA-Answer to `out`.

    Args:
        out: bytearray.
        request: AaRequest.
        answer: Answer. Its `code` is the Result-Code; if that is 0, the verdict has one. OpenSER's module
            accepts one challenge only, and no Failed-AVP.

    Raises:
        TypeError: for a challenge that is neither bytes nor str; then nothing is appended.
        ValueError: for more challenges than an answer may have.
    """
    cdef Py_ssize_t size = PyByteArray_GET_SIZE(out)
    cdef AnswerFields fields
    if answer.verdict is None:
        raise TypeError("answer: expected one with a verdict")
    borrow_answer(answer, &fields)
    PyByteArray_Resize(out, size + <Py_ssize_t>whole_answer_size(&request.view, &fields))
    put_whole_answer(<uint8_t *>PyByteArray_AS_STRING(out) + size, &request.view, &fields)
