"""Values of a SIP request's header fields as Python objects."""

from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from auth_diameter._core.base.chars cimport unquote
from auth_diameter._core.base.span cimport Reader, Span, reader_of
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.sip.fields cimport Address, take_param
from auth_diameter._core.sip.uri cimport new_uri

from auth_diameter._core.sip.name_addr import NameAddr


cdef object new_address(bytes data, const Address *address):
    """A NameAddr from what `take_address` found in `data`."""
    cdef Span name, value
    cdef bint escaped
    cdef Reader r = reader_of(address.params)
    cdef list parameters = []
    display_name = None
    if address.name.p != NULL:
        display_name = unquoted_text(address.name, address.escaped) if address.quoted else unfolded(address.name)
    while r.p < r.end and take_param(&r, &name, &value, &escaped):
        parameters.append((text_of(name), unquoted_text(value, escaped) if value.p != NULL else None))
    return NameAddr(display_name, new_uri(data, &address.uri), tuple(parameters))


cdef str unquoted_text(Span quoted, bint escaped):
    """The content of a quoted string without quoted-pairs and folds."""
    cdef bytes room
    cdef Span plain
    if not escaped:
        return text_of(quoted)
    room = bytes(quoted.n)
    plain.p = <const uint8_t *>PyBytes_AS_STRING(room)
    plain.n = unquote(quoted, <uint8_t *>PyBytes_AS_STRING(room))
    return text_of(plain)


cdef str unfolded(Span value):
    """The value of a header field with each fold as one space (RFC 3261, 7.3.1)."""
    cdef str text = text_of(value)
    if "\n" not in text:
        return text
    parts = [part.strip(" \t") for part in text.split("\r\n")]
    return " ".join(part for part in parts if part)
