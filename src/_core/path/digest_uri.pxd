"""Comparison of the digest-uri with the Request-URI, for compiled code."""

from auth_diameter._core.base.span cimport Span

ctypedef int UriPolicy

cdef enum:
    URI_OFF             # any digest-uri is accepted
    URI_OF_HOST
    URI_STRICT


cdef bint uri_fits(UriPolicy policy, Span digest_uri, Span resource, Span realm) noexcept nogil
cdef UriPolicy policy_of(str name) except -1
