"""Conversion between Python text and spans of bytes: UTF-8 in, UTF-8 with surrogate escapes out."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_1BYTE_DATA, PyUnicode_DecodeUTF8, PyUnicode_GET_LENGTH
from libc.stdint cimport uint8_t
from libc.string cimport memcmp

from auth_diameter._core.base.span cimport Span

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_ASCII(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)


cdef inline int span_of(object value, Span *out, str what) except -1:
    """Borrows the bytes of a str (UTF-8) or bytes object while that is alive."""
    cdef Py_ssize_t n
    if isinstance(value, str):
        out.p = <const uint8_t *>PyUnicode_AsUTF8AndSize(value, &n)
        out.n = <size_t>n
    elif isinstance(value, bytes):
        out.p = <const uint8_t *>PyBytes_AS_STRING(value)
        out.n = <size_t>PyBytes_GET_SIZE(value)
    else:
        raise TypeError(f"{what}: expected str or bytes, not {type(value).__name__}")
    return 0


cdef inline Span span_of_bytes(bytes data) noexcept:
    """Borrows the bytes of an object while that is alive."""
    return Span(<const uint8_t *>PyBytes_AS_STRING(data), <size_t>PyBytes_GET_SIZE(data))


cdef inline object borrow(object value, Span *out, str what):
    """Borrows the bytes of a str or bytes object; a str may hold surrogate escapes.

    Returns:
        The object that owns the bytes; the caller keeps it.
    """
    if isinstance(value, str) and not PyUnicode_IS_ASCII(value):
        value = value.encode("utf-8", "surrogateescape")
    span_of(value, out, what)
    return value


cdef inline bytes as_bytes(object value, str what):
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{what}: expected str or a bytes-like object, not {type(value).__name__}")


cdef inline str text_of(Span s):
    # Bytes that are not UTF-8 survive a round trip.
    return PyUnicode_DecodeUTF8(<const char *>s.p, <Py_ssize_t>s.n, "surrogateescape")


cdef inline bint is_same_text(str one, str other) except -1:
    """Whether two texts are equal, None being equal to itself alone; for short texts that are mostly ASCII."""
    if one is other:
        return True
    if one is None or other is None:
        return False
    if PyUnicode_IS_COMPACT_ASCII(one) and PyUnicode_IS_COMPACT_ASCII(other):
        return PyUnicode_GET_LENGTH(one) == PyUnicode_GET_LENGTH(other) and memcmp(
            PyUnicode_1BYTE_DATA(one), PyUnicode_1BYTE_DATA(other), <size_t>PyUnicode_GET_LENGTH(one)) == 0
    return one == other
