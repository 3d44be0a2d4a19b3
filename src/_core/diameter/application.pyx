"""What is spoken to a back end: the DISC dialect (disc.pyx), RFC 4740 (sip.pyx) or Cx (cx.pyx).

::

    Question or request ─► Asked ─► Application.put ─► the bytes of a connection
    the bytes of a connection ─► Application.read ─► AnswerView ─► match: is it of that flight? ─► the decision

`path/in_flight.pyx` has one for each client. All of these functions but those for Question objects touch no Python
object.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.auth.answer cimport Answer, new_answer
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow, span_of, text_of
from auth_diameter._core.digest.algorithms cimport algorithm_name
from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, check_one_message


cdef class Application:
    """The messages that are exchanged with a back end. Each method is overridden.

    Attributes:
        is_standard: bool, whether it is standard Diameter (RFC 6733): with a base protocol, and answers that come
            on the connection of their request.
    """

    def take_end_to_end(self):
        """The next End-to-End Identifier (RFC 6733, 3), int; for a request that is no question."""
        return self.claim_end_to_end()

    cdef uint32_t claim_end_to_end(self) noexcept nogil:
        cdef uint32_t taken = self.next_end_to_end or 1
        self.next_end_to_end = taken + 1
        return taken

    def append(self, bytearray out not None, Question question not None, uint32_t msgid):
        """Writes the message with a question at the end of `out`.

        The question remembers its `msgid`, and in `attempts` how often it was written.

        Args:
            out: bytearray.
            question: Question about a SipRequest.
            msgid: 32 bits, the Hop-by-Hop Identifier, and SIP-MSGID in the DISC dialect.

        Raises:
            TypeError: the question came over a connection, or cannot be asked in this application.
        """
        cdef Py_ssize_t size
        cdef uint8_t small[4096]
        cdef uint8_t *text = small
        cdef size_t room, n
        if question.message is not None or (question.request is None and not question.is_ha1_lookup):
            raise TypeError("question: came over a connection, and is not to be asked again")
        room = self.room_of(question)
        if room > sizeof(small):
            text = <uint8_t *>PyMem_Malloc(room)
            if text == NULL:
                raise MemoryError()
        try:
            n = self.write(question, text, msgid)
            size = PyByteArray_GET_SIZE(out)
            PyByteArray_Resize(out, size + <Py_ssize_t>n)
            memcpy(PyByteArray_AS_STRING(out) + size, text, n)
        finally:
            if text != small:
                PyMem_Free(text)
        question.flight.msgid = msgid
        question.flight.attempts += 1

    def decode(self, data):
        """Reads one whole answer, whichever question it is to.

        Args:
            data: bytes-like.

        Returns:
            Answer.

        Raises:
            ParseError: it is not framed as one message.
        """
        cdef bytes message = data if type(data) is bytes else bytes(memoryview(data))
        cdef const uint8_t *p = <const uint8_t *>PyBytes_AS_STRING(message)
        cdef size_t n = <size_t>PyBytes_GET_SIZE(message)
        cdef AnswerView view
        check_one_message(p, n, DEFAULT_LIMIT)
        self.read(p, n, &view)
        return answer_of(&view)

    cdef size_t room(self, const Asked *asked) noexcept nogil:
        return 0

    cdef size_t put(self, uint8_t *out, Asked *asked) noexcept nogil:
        return 0

    cdef bint read(self, const uint8_t *p, size_t n, AnswerView *out) noexcept nogil:
        return False

    cdef void match(self, const Flight *flight, AnswerView *view) noexcept nogil:
        pass

    cdef size_t room_of(self, Question q) except 0:
        cdef Span realm
        cdef Asked asked
        if q.is_group_check:
            raise TypeError("question: a group check, which is in the DISC dialect alone")
        if q.request is None:
            raise TypeError("question: about no SIP request")
        if q.sized_for != <const void *>self:
            _kept = borrow(q.realm_name, &realm, "realm")
            ask_with(q, &asked, realm)
            q.room = self.room(&asked)
            q.sized_for = <const void *>self
        return q.room

    cdef size_t write(self, Question q, uint8_t *out, uint32_t msgid) except 0:
        cdef Span realm
        cdef Asked asked
        cdef size_t n
        _kept = borrow(q.realm_name, &realm, "realm")
        ask_with(q, &asked, realm)
        asked.msgid = msgid
        continue_flight(&q.flight, &asked)
        n = self.put(out, &asked)
        keep_identifiers(&asked, &q.flight)
        return n


cdef Answer answer_of(const AnswerView *view):
    """The Answer object for an answer, which is copied."""
    cdef Answer answer = new_answer(&view.says)
    if view.delegation.ha1.p != NULL and answer.fault is None:
        answer.delegated = delegation_of(&view.delegation)
    return answer


cdef tuple delegation_of(const Delegation *given):
    """What `Answer.delegated` holds."""
    cdef list pairs = [(algorithm_name(given.algorithm, False), text_of(given.ha1))]
    if given.alternate_ha1.p != NULL:
        pairs.append((algorithm_name(given.alternate_algorithm, False), text_of(given.alternate_ha1)))
    return (
        tuple(pairs),
        text_of(given.realm),
        None if given.nonce.p == NULL else text_of(given.nonce),
        None if given.user_name.p == NULL else text_of(given.user_name),
        None if given.lifetime == NO_LIFETIME else given.lifetime,
    )


cdef int ask_with(Question q, Asked *out, Span realm) except -1:
    """Fills in all of a question about credentials but its identifiers; `realm` is borrowed from it."""
    memset(out, 0, sizeof(Asked))
    out.request = &q.request.m
    out.credentials = NULL if q.credentials is None else &q.credentials.fields
    out.realm = realm
    memcpy(out.fingerprint, q.request.fingerprint(), sizeof(out.fingerprint))
    if q.body_hash is not None:
        span_of(q.body_hash, &out.body_hash, "body_hash")
    if q.tells_source and q.request.source is not None:
        span_of(q.request.source[0], &out.source, "source")
    return 0
