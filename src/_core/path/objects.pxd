"""The way of a SipRequest through a client, for compiled code."""

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.in_flight cimport Concluder
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.path.waiter cimport Waiter
from auth_diameter._core.sip.request cimport SipRequest


cdef class ObjectPath(Concluder):
    cdef object policy              # what Python decides, see objects.pyx
    cdef Decisions decisions
    cdef size_t max_size            # bytes of a request
    cdef int max_headers            # header fields of a request
    cdef object loop                # of asyncio, that ran last
    cdef dict realms                # the Realm of each text
    cdef str last_realm             # the realm of the last question
    cdef bytes last_bytes           # the same; as text it may hold what UTF-8 cannot

    cdef object begin(self, SipRequest request, object realm, bint proxy, object callback, double now)
    cdef Realm realm_named(self, object text)
    cdef object expand_realm(self, Realm realm, SipRequest request, Asking *asking)
    cdef str realm_text(self, Span realm)
    cdef Decision authorized(self, str username, str realm)
    cdef int add_up(self, Decision decision) except -1
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


cdef inline bytes bytes_of(object request):
    """The bytes of a request that is no SipRequest."""
    return request if type(request) is bytes else bytes(memoryview(request))
