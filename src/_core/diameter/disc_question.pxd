"""Questions of the DISC dialect as spans and plain structs, and the functions that read and write them.

Nothing here touches a Python object. The reader fills a struct that the caller owns; for a writer the caller
makes room.
"""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.question cimport Told
from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.diameter.application cimport Asked
from auth_diameter._core.diameter.header cimport Header
from auth_diameter._core.base.span cimport Span


cdef struct QuestionView:
    Header header
    Told told
    Span msgid, response    # p is NULL where absent
    uint8_t service_type    # the ASCII digit; 0: there was none
    uint32_t fault          # the Result-Code that refuses the message, or 0


cdef size_t authentication_room(const Asked *asked) noexcept nogil
cdef size_t put_authentication(uint8_t *out, const Asked *asked) noexcept nogil
cdef size_t group_check_room(Span realm, Span user_name, Span group) noexcept nogil
cdef size_t put_group_check(uint8_t *out, Span realm, Span user_name, Span group, uint32_t msgid) noexcept nogil
cdef bint read_question(const uint8_t *p, size_t n, QuestionView *out) noexcept nogil
