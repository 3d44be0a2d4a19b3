"""The result of an authorization or a group check, for compiled code."""


cdef class Decision:
    cdef readonly int return_code       # of the OpenSER function
    cdef readonly object cause          # Cause
    cdef readonly object status         # SIP status of the reply, or None
    cdef readonly object reply          # the complete reply, bytes, or None
    cdef readonly object username       # from the credentials that decided, or None
    cdef readonly object realm          # used for authentication, or None
    cdef readonly object headers        # pairs (name, value) for a reply of the caller's own
