"""The way of a SipRequest through a client, for compiled code."""

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.in_flight cimport Concluder
from auth_diameter._core.path.waiter cimport Waiter
from auth_diameter._core.sip.request cimport SipRequest


cdef class ObjectPath(Concluder):
    cdef object policy              # what Python decides, see objects.pyx
    cdef Decisions decisions
    cdef object loop                # of asyncio, that ran last
    cdef dict realms                # for each realm a REALM_…, or the function that expands it
    cdef str last_realm             # the realm of the last question
    cdef bytes last_bytes           # the same; as text it may hold what UTF-8 cannot

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now)
    cdef object realm_of(self, SipRequest request, object realm, Asking *asking)
    cdef str realm_text(self, Span realm)
    cdef Decision authorized(self, SipRequest request, Credentials credentials, str realm, bint proxy)
    cdef object loop_now(self)
    cdef int call(self, object callback, Decision decision, bint at_once) except -1
    cdef int settle(self, object future, object result, bint at_once) except -1


cdef class Several:
    # Decisions that are waited for together
    cdef list decisions             # None where there is none so far
    cdef Py_ssize_t left
    cdef object future              # Waiter, or future of asyncio; the list is its result


cdef class PlaceAmongSeveral:
    cdef Several several
    cdef Py_ssize_t index


cdef class Pending:
    cdef ObjectPath path
    cdef object asked               # SipRequest or bytes, or with `many` an iterable of them
    cdef object realm
    cdef Waiter waiter              # once it has begun
    cdef bint proxy, many
    cdef bint is_over               # whether an exception came first

    cdef Waiter begin(self)
