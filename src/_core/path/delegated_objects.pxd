"""The way of a SipRequest through a client of threads whose servers delegate HA1, for compiled code."""

from auth_diameter._core.path.delegated cimport DelegatedJudge
from auth_diameter._core.path.objects cimport ObjectPath
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.penalties cimport Penalties


cdef class DelegatedObjects(ObjectPath):
    cdef DelegatedJudge delegated
    cdef Penalties penalties        # None: guesses are not counted
    cdef object clock               # function that returns seconds
    cdef bint tells_source          # whether servers are told where a request came from

    cdef object decide_message(self, SipMessage *m, SipRequest request, bytes data, Realm realm, bint proxy)
