"""Answers of the DISC dialect as spans and plain structs, and the functions that read and write them.

Nothing here touches a Python object. The reader fills a struct that the caller owns; for a writer the caller
makes room.
"""

from libc.stdint cimport uint8_t, uint32_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.diameter.application cimport AnswerView
from auth_diameter._core.diameter.disc_question cimport QuestionView
from auth_diameter._core.digest.challenge cimport KnownChallenge
from auth_diameter._core.base.span cimport Span


cdef enum:
    KNOWN_CHALLENGES = 2    # that a reader remembers: our DISC sends one, or one for SHA-256 and one for MD5


cdef struct Known:
    # What a reader remembers of the answers of one client; all zeros at first
    KnownChallenge challenge[KNOWN_CHALLENGES]      # by their place in an answer


cdef bint read_answer(const uint8_t *p, size_t n, Known *known, AnswerView *out) noexcept nogil
cdef uint32_t failed_avp_of(int part) noexcept nogil
cdef size_t answer_size(const QuestionView *question) noexcept nogil
cdef size_t put_answer(uint8_t *out, const QuestionView *question, uint32_t result_code,
                       size_t more) noexcept nogil
cdef size_t failed_avp_size() noexcept nogil
cdef uint8_t *put_failed_avp(uint8_t *q, uint32_t code) noexcept nogil
cdef size_t challenge_size(Span challenge) noexcept nogil
cdef uint8_t *put_challenge(uint8_t *q, Span challenge) noexcept nogil
cdef size_t whole_answer_size(const QuestionView *question, const AnswerFields *says) noexcept nogil
cdef uint8_t *put_whole_answer(uint8_t *out, const QuestionView *question, const AnswerFields *says) noexcept nogil
