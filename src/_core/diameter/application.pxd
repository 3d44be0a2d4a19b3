"""What is spoken to a back end, for compiled code: how its questions are written, and its answers read."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from auth_diameter._core.auth.answer cimport Answer, AnswerFields
from auth_diameter._core.auth.question cimport Flight, Question
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.algorithms cimport AlgorithmIndex
from auth_diameter._core.digest.params cimport DigestFields
from auth_diameter._core.sip.parse cimport SipMessage

cdef enum:
    MAX_CHALLENGE = 4096    # bytes of all challenges; they become headers of a reply that should fit a datagram
    NO_LIFETIME = 0xFFFFFFFF


cdef struct Asked:
    # A question about credentials, or for a challenge, to be written
    const SipMessage *request
    const DigestFields *credentials     # NULL: for a challenge
    Span realm
    Span body_hash          # hexadecimal, n is 0 without qop=auth-int: RFC 7616, 3.4.3
    Span source             # address that the request came from; n is 0 if the back end is not told
    uint64_t fingerprint[2]     # of the request: the same for a retransmission
    uint32_t msgid          # SIP-MSGID, and Hop-by-Hop
    uint32_t end_to_end     # of all attempts; 0: it is chosen when the first is written
    uint32_t session[2]     # the numbers of the Session-Id; chosen in the same way
    bint again              # the question was sent before, and no answer came


cdef struct Delegation:
    # HA1 that a server delegates, with its challenge (RFC 4740, 6.3) or alone (TS 29.228, 6.3); p is NULL: none
    Span ha1
    AlgorithmIndex algorithm
    Span alternate_ha1      # of a second algorithm; p is NULL where absent
    AlgorithmIndex alternate_algorithm
    Span realm
    Span nonce              # p is NULL: the client makes its own
    Span user_name          # whose it is, by User-Name; p is NULL where absent
    uint32_t lifetime       # seconds: Authorization-Lifetime; NO_LIFETIME: none is given


cdef struct AnswerView:
    int64_t msgid           # SIP-MSGID, or Hop-by-Hop without one; -1 if neither can be known
    AnswerFields says       # its `code` is the Result-Code
    Span session_id         # p is NULL where absent
    Span origin_host
    Delegation delegation
    # Last, as it is not cleared
    uint8_t text[MAX_CHALLENGE]     # of challenges that are made of AVPs


cdef class Application:
    # What the messages have to say for the connection they pass on
    # Whether it is standard Diameter, with a base protocol; answers come on the connection of their request
    cdef readonly bint is_standard
    cdef uint32_t next_end_to_end   # of standard Diameter (RFC 6733, 3)

    # An End-to-End Identifier, and never 0
    cdef uint32_t claim_end_to_end(self) noexcept nogil
    # The largest size that `put` writes
    cdef size_t room(self, const Asked *asked) noexcept nogil
    # Writes the message with a question, chooses its identifiers if it is the first attempt; returns its size
    cdef size_t put(self, uint8_t *out, Asked *asked) noexcept nogil
    # Reads one whole message, as framed; whether the answer may be used. If not, `out.says.fault` is the reason
    cdef bint read(self, const uint8_t *p, size_t n, AnswerView *out) noexcept nogil
    # Notes as the fault of an answer that it is none to the question of a flight
    cdef void match(self, const Flight *flight, AnswerView *view) noexcept nogil
    # The same as `room` and `put` for Question objects, of group checks as well
    cdef size_t room_of(self, Question q) except 0
    cdef size_t write(self, Question q, uint8_t *out, uint32_t msgid) except 0


cdef int ask_with(Question q, Asked *out, Span realm) except -1
cdef Answer answer_of(const AnswerView *view)


cdef inline void continue_flight(const Flight *flight, Asked *asked) noexcept nogil:
    """Fills in what the attempts to ask a question have in common."""
    asked.end_to_end = flight.end_to_end
    asked.session[0] = flight.session[0]
    asked.session[1] = flight.session[1]
    # RFC 6733, 3: no T flag behind an answer that is an error
    asked.again = flight.attempts > 0 and not flight.was_refused


cdef inline void keep_identifiers(const Asked *asked, Flight *flight) noexcept nogil:
    """Keeps them for the next attempt, and for the answer."""
    flight.end_to_end = asked.end_to_end
    flight.session[0] = asked.session[0]
    flight.session[1] = asked.session[1]
