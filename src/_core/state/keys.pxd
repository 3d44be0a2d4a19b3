"""The keys of users and sources, for compiled code."""

from libc.stdint cimport uint64_t

from auth_diameter._core.digest.credentials cimport Credentials


cpdef object network_of(str address)
cdef object user_key(const uint64_t *secret, str username, str realm, object network)
cdef str name_in(Credentials credentials)
