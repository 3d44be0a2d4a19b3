"""The question to a back end, for compiled code."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.sip.request cimport SipRequest


cdef struct Told:
    # A question received over a connection, as spans into its message; n is 0 for an absent one.
    Span realm
    Span user_name
    Span group
    Span method
    Span resource           # the Request-URI as user@host[:port]
    Span source             # source address of the SIP request
    Span body_hash          # hexadecimal, of credentials with qop=auth-int: RFC 7616, 3.4.3
    Span session            # the same for a retransmission of the SIP request
    uint32_t serial         # the same for a retransmission; 0: OpenSER's module, which sends none


cdef struct Flight:
    # A question in flight: written to a connection, and without an answer so far; see path/in_flight.pyx
    double deadline         # seconds, monotonic
    uint32_t msgid          # SIP-MSGID and Hop-by-Hop of the last attempt
    int attempts            # how often it was written
    uint32_t end_to_end     # End-to-End Identifier of all attempts; 0: it is not chosen yet
    uint32_t session[2]     # the numbers of its Session-Id, with standard Diameter
    bint was_refused        # whether the last attempt was answered, by an error: the next one has no T flag
    PyObject *wire          # the Wire it was written to, which lives as long; NULL: it is not in flight
    PyObject *owner         # what the flight is part of: its Question, or the SlotOwner of its slot
    bint in_slot            # whether it is part of a slot, not of a Question
    Flight *before          # neighbours in the order of deadlines
    Flight *after


cdef class Question:
    cdef readonly SipRequest request        # None for a received question
    cdef readonly Credentials credentials   # None: none were sent, or they are malformed
    cdef readonly object error              # ParseError of the credentials received, or None
    cdef readonly bint is_group_check
    cdef readonly bint is_ha1_lookup        # whether it is about a user alone, whose HA1 is wanted
    cdef readonly bint proxy                # whether it is about Proxy-Authorization
    cdef readonly bint tells_source         # whether a remote back end is told the source
    cdef public bint is_stale               # whether it is asked since the nonce of credentials is used up
    cdef readonly bytes body_hash           # hexadecimal, for qop=auth-int; else None
    cdef str realm_name, user               # None until they are read as text
    cdef str group_name                     # the same; the public identity of a lookup of HA1
    cdef bytes message                      # `told` points into it; or None
    cdef Told told
    # The listener's, for a question received over a connection.
    cdef public object asker                # the SIP server that sent it, an Asker, or None
    cdef public bint one_challenge          # whether the SIP server can use one challenge only
    # The pool's, while the question is in flight to a remote back end.
    cdef public object callback
    cdef public object connection           # the last one it was written to, or None
    cdef size_t room                        # the largest size of its message in the Application `sized_for`
    cdef const void *sized_for              # whose message was sized last; NULL: none
    cdef Flight flight
    cdef public object attempt              # the Attempt of its credentials while they are verified, or None


cdef Question new_question(SipRequest request, str realm, Credentials credentials, bint proxy, bint tells_source)
cdef Question received(bytes message, const Told *told, bint is_group_check, Credentials credentials,
                       object error)
