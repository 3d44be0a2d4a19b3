"""What a back end is asked, as compiled code sees it."""

from libc.stdint cimport uint32_t

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.sip.request cimport SipRequest


cdef struct Told:
    # A question that came over a connection, as spans into its message; n is 0 where absent.
    Span realm
    Span user_name
    Span group
    Span method
    Span resource           # the Request-URI as user@host[:port]
    Span source             # address that the SIP request came from
    Span body_hash          # hexadecimal, of credentials with qop=auth-int: RFC 7616, 3.4.3
    Span session            # the same for a retransmission of the SIP request
    uint32_t serial         # the same for a retransmission; 0: from OpenSER's module, which has none


cdef class Question:
    cdef readonly SipRequest request        # None where the question came over a connection
    cdef readonly Credentials credentials   # None: a challenge is asked for, or they are malformed
    cdef readonly object error              # ParseError of the credentials that came, or None
    cdef readonly bint is_group_check
    cdef readonly bint proxy                # whether it is about Proxy-Authorization
    cdef readonly bint tells_source         # whether a remote back end is told where the request came from
    cdef readonly bytes body_hash           # hexadecimal, of credentials with qop=auth-int; else None
    cdef str realm_name, user, group_name   # once they are known as text
    cdef bytes message                      # that `told` points into, or None
    cdef Told told
    # Who asked over a connection, as the listener has it: an Asker, or None.
    cdef public object asker
    # The pool's, while the question is on its way to a remote back end.
    cdef public object callback
    cdef public object connection
    cdef public double deadline
    cdef public uint32_t msgid
    cdef public int attempts
    cdef public object attempt              # the Attempt that its credentials are, while they are judged, or None


cdef Question received(bytes message, const Told *told, bint is_group_check, Credentials credentials,
                       object error)
