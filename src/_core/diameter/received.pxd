"""What a server receives, for compiled code: a question of any application, to be judged and answered."""

cimport cython
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.disc_question cimport QuestionView
from auth_diameter._core.digest.params cimport DigestFields

cdef enum:
    # What a question holds; or the status of credentials that cannot be read, which is OTHER_SCHEME or negative
    NO_CREDENTIALS = 2
    GOOD_CREDENTIALS = 1
    NO_REALM = -100

cdef enum:
    MAX_REALMS = 3          # that a challenge may be for


cdef enum:
    # Whether an answer holds HA1, for a SIP server that verifies credentials itself
    HA1_KEPT            # it does not
    HA1_ALONE           # Cx: that of MD5
    HA1_WITH_CHALLENGE  # RFC 4740, 6.3: that of the algorithm in the challenge


cdef struct Terms:
    # What standard Diameter adds to a question
    Span destination        # realm that the message is for, which must be served; n is 0: it is our own
    Span realm[MAX_REALMS]  # without credentials: the challenge is for the first of these that is served
    int realms
    bint own_address        # whether the user must be the one of this address (RFC 4740, 8.8)
    Span address_user
    Span address_host
    bint challenges_foreign     # whether a nonce that is not ours gets a challenge before the digest is looked at
    int ha1                 # HA1_…
    Span user               # whose HA1 it is
    bint takes_any_nonce        # whether the nonce is the SIP server's own, and none of ours


cdef inline void add_realm(Terms *terms, Span realm) noexcept nogil:
    """Adds a realm that a challenge may be for; there are at most MAX_REALMS."""
    terms.realm[terms.realms] = realm
    terms.realms += 1


# Memory for `Received.more`, of so many bytes, which goes back with the object
cdef enum:
    MORE_ROOM = 768
cdef void *take_more() except NULL


# Said here too, or the classes in other modules would be part of garbage collection, and share no free list.
@cython.freelist(1024)
@cython.no_gc  # it refers to no object that could refer to it
cdef class Received:
    cdef bytes message              # every span points in here
    cdef QuestionView view
    cdef DigestFields fields        # of the credentials, if their status is GOOD_CREDENTIALS
    cdef int status                 # of them: NO_CREDENTIALS, GOOD_CREDENTIALS, or what is wrong
    cdef size_t offset              # of what is wrong
    cdef const Terms *terms         # of standard Diameter; NULL: there are none
    cdef Question asked             # once somebody wants the object
    cdef public object asker        # the SIP server that sent it, or None; set by the listener
    cdef public bint one_challenge  # whether that SIP server can use one challenge only; set by the listener
    cdef object owner               # of standard Diameter: the DiameterServer, which what follows refers to
    cdef void *more                 # the same: what the message says besides, see `take_more`; NULL: nothing

    # The largest size that `put_answer` writes
    cdef size_t answer_room(self, const AnswerFields *says) noexcept nogil
    # Writes the answer; returns its end
    cdef uint8_t *put_answer(self, uint8_t *out, const AnswerFields *says) noexcept nogil
