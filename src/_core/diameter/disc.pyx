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

A client writes a Question with `DiscApplication`, straight from the SIP request, and reads the Answer with it;
`path/in_flight.pyx` brings them together. A server uses `RequestStream` and `append_answer`.
"""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.answer cimport Answer, AnswerFields, borrow_answer
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.diameter.application cimport AnswerView, Application, Asked
from auth_diameter._core.diameter.codes cimport FLAG_REQUEST
from auth_diameter._core.digest.credentials cimport answers_nothing, check_credentials
from auth_diameter._core.digest.params cimport OK, REALM, DigestFields, parse_params
from auth_diameter._core.diameter.disc_answer cimport put_whole_answer, read_answer, whole_answer_size
from auth_diameter._core.diameter.disc_question cimport (
    QuestionView, authentication_room, group_check_room, put_authentication, put_group_check, read_question,
)
from auth_diameter._core.diameter.received cimport NO_CREDENTIALS, NO_REALM, Received
from auth_diameter._core.diameter.stream cimport MessageStream
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow


# ---------------------------------------------------------------------------------- questions


@cython.final
cdef class DiscApplication(Application):
    """The DISC dialect as a client speaks it; it remembers challenges, of which the next answer repeats most."""

    cdef size_t room(self, const Asked *asked) noexcept nogil:
        return authentication_room(asked)

    cdef size_t put(self, uint8_t *out, Asked *asked) noexcept nogil:
        # Nobody can make another request with the same. It is not 0, which OpenSER's module always sends.
        asked.end_to_end = <uint32_t>asked.fingerprint[0] or 1
        return put_authentication(out, asked)

    cdef bint read(self, const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
        return read_answer(p, n, &self.known, out)

    cdef size_t room_of(self, Question q) except 0:
        cdef Span realm, user_name, group
        if q.sized_for == <const void *>self:
            return q.room
        if not q.is_group_check:
            return Application.room_of(self, q)
        _realm_kept = borrow(q.realm_name, &realm, "realm")
        _name_kept = borrow(q.user, &user_name, "user_name")
        _group_kept = borrow(q.group_name, &group, "group")
        q.room = group_check_room(realm, user_name, group)
        q.sized_for = <const void *>self
        return q.room

    cdef size_t write(self, Question q, uint8_t *out, uint32_t msgid) except 0:
        cdef Span realm, user_name, group
        if not q.is_group_check:
            return Application.write(self, q, out, msgid)
        _realm_kept = borrow(q.realm_name, &realm, "realm")
        _name_kept = borrow(q.user, &user_name, "user_name")
        _group_kept = borrow(q.group_name, &group, "group")
        return put_group_check(out, realm, user_name, group, msgid)


cdef DiscApplication DIALECT = DiscApplication()


def question_room(Question question not None, Application application=None):
    """The largest size of the message with this question in bytes, int.

    Args:
        question: Question.
        application: Application; None: the DISC dialect.
    """
    if application is None:
        application = DIALECT
    return application.room_of(question)


def append_question(bytearray out not None, Question question not None, uint32_t msgid):
    """Writes the AA-Request at the end of `out`; see `Application.append`.

    Its End-to-End Identifier is that of the SIP request, the same for a retransmission, which comes from
    the same address.
    """
    DIALECT.append(out, question, msgid)


def decode_answer(data):
    """Reads one whole AA-Answer (bytes-like); see `Application.decode`."""
    return DiscApplication().decode(data)


# ---------------------------------------------------------------------------------- DISC's side


@cython.final
@cython.no_gc
cdef class AaRequest(Received):
    """An AA-Request as DISC receives it, from our client or from OpenSER's and Kamailio's C module.

    The C module's quirks are undone: NUL bytes at the end of User-Name and Resource are cut off.

    Attributes:
        service_type: int, the ASCII digit, or 0.
    """

    @property
    def service_type(self):
        return self.view.service_type

    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil:
        return whole_answer_size(&self.view, says)

    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil:
        return put_whole_answer(out, &self.view, says)

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
