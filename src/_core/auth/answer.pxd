"""What a back end answers, as compiled code sees it."""

from libc.stdint cimport uint32_t


cdef class Answer:
    cdef readonly object verdict            # Verdict
    cdef readonly object service            # Service that it answers for; None: it does not say
    cdef readonly uint32_t code             # the protocol's own, such as a Result-Code; 0: there was none
    cdef readonly tuple challenges          # of bytes, each one line of the Digest scheme
    cdef readonly bytes response_auth       # rspauth of Authentication-Info, or None
    cdef readonly bytes nextnonce           # the same
    cdef readonly bytes user_name           # whose hashed username it was, or None
    cdef readonly object refused            # Part of the credentials that was refused, or None
    cdef readonly str fault                 # why the answer must not be used, or None
