"""The requests that a route script decides, for compiled code."""

from auth_diameter._core.net.addresses cimport Address
from auth_diameter._core.path.datagrams cimport DatagramPath
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.sip.request cimport SipRequest


cdef class ScriptCall


cdef class ScriptRequests(DatagramPath):
    cdef object policy              # what Python decides, see script_requests.pyx
    cdef object loop                # of asyncio
    cdef object auth                # the client that the script asks
    cdef public object route        # the function of the script
    cdef public Py_ssize_t room     # calls that may still begin before `room` is set anew
    cdef Py_ssize_t most_calls      # at a time
    cdef size_t most_bytes          # of their requests
    cdef set running                # ScriptCalls; asyncio itself holds no task
    cdef list odd                   # SipRequests and ParseErrors
    cdef size_t size                # bytes of the requests without a reply
    cdef readonly Py_ssize_t under_way      # requests without a reply
    # The source of the last datagram: mostly it is that of the next one, too
    cdef Address last_address
    cdef tuple last_source

    cdef int take_request(self, Slot *s, double now) except -1
    cdef tuple source_of(self, const Address *address)
    cdef bint has_room(self, size_t size)
    cdef int begin(self, SipRequest request, const Address *source) except -1
    cdef object new_task(self, ScriptCall call)


cdef class ScriptCall:
    cdef ScriptRequests path
    cdef readonly SipRequest request
    cdef readonly object task       # of asyncio, which drives this; None once the script has ended
    cdef object route               # the function of the script, until the call has begun
    cdef object coroutine           # what it returned
    cdef Address source             # where the request came from
    cdef bint has_reply, has_ended

    cdef object go_on(self, object value, object error)
    cdef int begin(self) except -1
    cdef int end(self, object result) except -1
    cdef int fail(self, object error) except -1
    cdef int leave(self) except -1
    cdef int answer(self, bytes reply, size_t most) except -1
