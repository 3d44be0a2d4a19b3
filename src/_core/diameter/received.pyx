"""What a server receives: a question of the DISC dialect (disc.pyx), of RFC 4740 (sip_server.pyx) or of Cx
(cx_server.pyx).

`path/batch.pyx` judges all of them alike, and has each write its own answer.
"""

cimport cython
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question, received
from auth_diameter._core.diameter.codes cimport SERVICE_GROUP_CHECK
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport parse_error

from auth_diameter._core.errors import ParseError


cdef extern from "base/spare.h":
    enum:
        AD_SPARE_SIZE
    void *ad_spare_take() noexcept
    void ad_spare_give(void *piece) noexcept


# The other classes add nothing to the struct, and so are made from this list, too.
@cython.freelist(1024)
@cython.no_gc
cdef class Received:
    """A question as a server receives it. Each application has a class of its own.

    Attributes:
        question: Question, what it asks; made when it is read.
        fault: int, the Result-Code that refuses the message as it is (RFC 6733, 7.1), or 0.
        asker: the SIP server that sent it, or None; set by the listener.
        one_challenge: bool, whether that SIP server can use one challenge only; set by the listener.
    """

    def __dealloc__(self):
        ad_spare_give(self.more)

    def __init__(self):
        raise TypeError(f"a {type(self).__name__} comes from a RequestStream or a DiameterServer")

    @property
    def question(self):
        if self.asked is None and self.message is not None:
            self.asked = question_of(self)
        return self.asked

    @property
    def fault(self):
        return self.view.fault

    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil:
        return 0

    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil:
        return out


if <size_t>MORE_ROOM > <size_t>AD_SPARE_SIZE:
    raise ValueError("MORE_ROOM: above AD_SPARE_SIZE")


cdef void *take_more() except NULL:
    cdef void *found = ad_spare_take()
    if found == NULL:
        raise MemoryError()
    return found


cdef Question question_of(Received request):
    """The question in a request; credentials that cannot be read are an error of the question."""
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
        requests: list of Received.
        asker: the SIP server that sent them.
        one_challenge: whether it can use one challenge only.
    """
    cdef Received request
    for request in requests:
        request.asker = asker
        request.one_challenge = one_challenge
        if request.asked is not None:
            request.asked.asker = asker
            request.asked.one_challenge = one_challenge
