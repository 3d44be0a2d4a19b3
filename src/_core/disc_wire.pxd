"""The DISC dialect's messages as spans and plain structs, and the writing of them.

Nothing here touches a Python object: readers fill a struct that the caller owns from pointer and
length, writers trust that the caller made room.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from auth_diameter._core.digest cimport DigestFields
from auth_diameter._core.message cimport Header
from auth_diameter._core.sip_wire cimport METHOD_REGISTER, SipMessage
from auth_diameter._core.span cimport Span
from auth_diameter._core.uri cimport SipUri


cdef enum:
    MAX_CHALLENGE = 4096    # of DISC, in bytes; it becomes a header of a reply that should fit a datagram


cdef struct AnswerView:
    int64_t msgid           # SIP-MSGID, or Hop-by-Hop where there is none; -1: it cannot be told
    uint32_t result_code    # 0: there was none
    uint8_t service_type    # the ASCII digit; 0: there was none
    Span challenge          # p is NULL, or one line of the Digest scheme
    const char *fault       # NULL, or why the answer must not be used


cdef struct QuestionView:
    Header header
    Span msgid, user_name, realm, resource, response, method, group    # p is NULL where absent
    uint8_t service_type    # the ASCII digit; 0: there was none
    uint32_t fault          # the Result-Code that refuses the message; 0: none does


cdef inline const SipUri *identity(const SipMessage *m) noexcept nogil:
    """Whose request it is: To of a REGISTER, else From (RFC 3261, 10.2 and 22.1)."""
    return &m.to if m.method == METHOD_REGISTER else &m.from_


cdef size_t authentication_room(const SipMessage *m, const DigestFields *credentials, Span realm) noexcept nogil
cdef size_t put_authentication(uint8_t *out, const SipMessage *m, const DigestFields *credentials, Span realm,
                               uint32_t msgid) noexcept nogil
cdef size_t group_check_room(Span realm, Span user_name, Span group) noexcept nogil
cdef size_t put_group_check(uint8_t *out, Span realm, Span user_name, Span group, uint32_t msgid) noexcept nogil
cdef void read_answer(const uint8_t *p, size_t n, AnswerView *out) noexcept nogil

cdef void read_question(const uint8_t *p, size_t n, QuestionView *out) noexcept nogil
cdef size_t answer_size(const QuestionView *question, bint challenged, Span challenge) noexcept nogil
cdef size_t put_answer(uint8_t *out, const QuestionView *question, uint32_t result_code, bint challenged,
                       Span challenge) noexcept nogil
