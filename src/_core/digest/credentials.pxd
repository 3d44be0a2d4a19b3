"""Digest credentials for compiled code."""

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.digest.params cimport DigestFields, Field


cdef int check_credentials(Span text, DigestFields *out, size_t *offset) noexcept nogil
cdef bint is_response(Span s) noexcept nogil
cdef bint answers_nothing(const DigestFields *fields) noexcept nogil
cdef bint is_for_realm(const DigestFields *fields, Span realm) noexcept nogil
cdef bint is_of_other_realm(Span text, Span realm) noexcept nogil


cdef class Credentials:
    cdef object owner           # keeps the bytes of `fields` alive
    cdef DigestFields fields

    cdef str text(self, Field field)
    cdef str user(self)

# The username of credentials that are accepted, decoded where it is username*
cdef str user_text(const DigestFields *fields)
cdef Credentials new_credentials(object owner, const DigestFields *fields)
