"""Verification of credentials for compiled code."""

from auth_diameter._core.digest.credentials cimport Credentials


cdef bint verify_one(Credentials c, object method, object ha1, object body, object hashed) except -1
