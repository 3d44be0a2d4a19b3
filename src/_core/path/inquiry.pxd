"""A question as it is judged, wherever it comes from: a message of DISC, or a SIP request."""

from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question, Told
from auth_diameter._core.base.scratch cimport ad_scratch
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.diameter.received cimport Received, Terms
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.findings cimport Findings
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.state.tallies cimport Trial
from auth_diameter._core.state.users cimport Candidates


cdef struct Inquiry:
    # All that a question says, as spans into bytes that the caller keeps
    const DigestFields *credentials     # NULL: none, or they are malformed
    Told told               # with session and serial, which only a retransmission of its request shares
    int malformed           # MALFORMED_… of credentials that cannot be read; 0: they can, or there are none
    uint32_t fault          # the Result-Code for a message that cannot be read; 0: it can
    bint is_group_check
    bint extended           # whether the client supports more than OpenSER's module
    bint one_challenge      # whether it can use one challenge only
    const Terms *terms      # of standard Diameter; NULL: there are none


ctypedef int Stage

cdef enum:
    STAGE_NEW           # to be judged from the start
    STAGE_CHECK         # everything is known, and the digest is to be verified
    STAGE_HELD          # the same, behind the verdicts on other attempts
    STAGE_SHARE         # decided here, and to be counted by the state that other back ends share
    STAGE_CHALLENGE     # to be challenged, and the algorithms to offer are not known
    STAGE_DONE          # there is an answer


cdef struct Case:
    # A question, and what is known about it
    Inquiry ask
    Stage stage
    int outcome
    uint32_t lacks          # a bit for each Kind of key that is missing
    int error               # of FAILED: the number of the error, from 1 on; 0: there is none
    bint is_here            # whether the realm that the message is for is known to be served
    int algorithm           # of the HA1 that is told
    int tried               # of the realms of `terms`: those that are known not to be served
    # The credentials, unquoted
    Span username
    Span realm
    Span nonce
    Span uri
    Span cnonce             # p is NULL where absent
    uint32_t count          # the nonce count; 1 without qop
    bint userhash           # whether `username` is the hash of a name, and such are accepted
    double made             # of a nonce that came with HA1: when it came, and when it ends
    double until
    # What the store says
    Span served             # the realm as challenges spell it; n is 0 until it is known
    Candidates found
    # The digest
    size_t first_check      # of the checks of the batch, as many as there are HA1
    Span ha1                # with which the digest is right
    bint wrong
    bint again              # whether it is a retransmission
    Trial trial             # the attempt, if guesses are counted
    # The challenge, if the algorithms to offer are missing
    Span challenged_name
    Span challenged_realm
    # Last, as it is only set at the end
    AnswerFields answer     # once it is done; its spans lie in the scratch


cdef struct Work:
    # Questions that are judged together
    Case *cases
    size_t count
    double now              # seconds since 1970
    ad_scratch scratch      # for all that is made for them; wiped at the end
    Findings found          # by the store, for these questions


cdef inline void begin_case(Case *case) noexcept nogil:
    """Makes a case new; `ask` is filled in afterwards."""
    memset(case, 0, sizeof(Case) - sizeof(AnswerFields))


cdef void inquiry_of_request(Received request, Inquiry *out) noexcept
cdef int inquiry_of_question(Question question, ad_scratch *scratch, Inquiry *out) except -1
cdef bint inquiry_of_message(const SipMessage *m, const Asking *asking, Span source, const uint64_t *fingerprint,
                             ad_scratch *scratch, Inquiry *out) noexcept nogil
