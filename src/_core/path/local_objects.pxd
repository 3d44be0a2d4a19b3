"""The way of a SipRequest through a client that has the users itself, for compiled code."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from auth_diameter._core.auth.decision cimport Decision
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.path.decide cimport Asking
from auth_diameter._core.path.batch cimport Batch
from auth_diameter._core.path.inquiry cimport Case
from auth_diameter._core.path.objects cimport ObjectPath
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest


cdef struct Asked:
    # A request that is decided on
    PyObject *request       # SipRequest, which the caller keeps
    SipMessage *message     # its own
    Span unread             # its bytes, until they are parsed
    bint is_malformed       # whether they cannot be
    uint64_t fingerprint[2]
    Span source             # the host that it came from
    Asking asking
    Case *case              # NULL: the policy decides


cdef class LocalObjects(ObjectPath):
    cdef Judge judge
    cdef object clock               # function that returns seconds since 1970
    cdef size_t max_size            # bytes of a request
    cdef int max_headers            # header fields of a request

    cdef int decide_some(self, list requests, Py_ssize_t start, size_t n, object realm, bint proxy,
                         list decisions) except -1
    cdef Decision decide_one(self, object request, object realm, bint proxy)
    cdef SipRequest take(self, object request, Asked *one)
    cdef void read(self, Asked *asked, size_t n) noexcept nogil
    cdef bint judge_some(self, Asked *asked, size_t n, Batch batch) noexcept nogil
    cdef Decision decision_of(self, const Asked *one, object realm, bint proxy)
