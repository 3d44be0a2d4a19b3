"""A call from the script of a SIP server, for compiled code."""

from auth_diameter._core.path.worker_objects cimport WorkerObjects
from auth_diameter._core.sip.request cimport SipRequest


cdef class ScriptCalls:
    cdef object policy              # what Python decides, see script_calls.pyx
    cdef tuple encoded              # the pseudo-variable that is the message in base64, as arguments
    cdef WorkerObjects worker       # that decides; None: `decide` does, or nobody so far
    cdef object decide              # function of a request, a realm and whether by proxy; None: there is none
    cdef size_t max_size            # bytes of a request
    cdef int max_headers            # header fields of a request
    cdef str own                    # the last realm with pseudo-variables that are expanded here
    cdef object number              # of the message that `request` is, as the server counts them
    cdef str address                # that it came from, or None
    cdef tuple source               # the same as a source
    cdef readonly SipRequest request
    cdef readonly bytes data        # of the request

    cdef object run(self, object message, object get, object realm, bint proxy, bint is_expanded)
    cdef bint is_ready(self, object realm, bint is_expanded) except -1
    cdef int take(self, object get) except -1
    cdef bint holds(self, const char *p, Py_ssize_t n) noexcept
    cdef bytes decoded(self, object get)
    cdef void forget(self, bytes data) noexcept


cdef class ScriptFunction:
    cdef ScriptCalls calls
    cdef object message             # the server's current message, for the policy
    cdef object get                 # its function of the pseudo-variables
    cdef bint proxy


cdef class ScriptMethod(ScriptFunction):
    pass
