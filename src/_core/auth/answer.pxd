"""The answer of a back end, for compiled code."""

from libc.stdint cimport uint32_t


cdef class Answer:
    cdef readonly object verdict            # Verdict
    cdef readonly object service            # Service that it answers; None: not given
    cdef readonly uint32_t code             # the protocol's own, such as a Result-Code; 0: none
    cdef readonly tuple challenges          # of bytes, each a challenge of the Digest scheme
    cdef readonly bytes response_auth       # rspauth of Authentication-Info, or None
    cdef readonly bytes nextnonce           # nextnonce of Authentication-Info, or None
    cdef readonly bytes user_name           # the name behind a hashed username, or None
    cdef readonly object refused            # Part of the credentials that was refused, or None
    cdef readonly str fault                 # the reason not to use the answer, or None
