"""The Contact fields of a SIP request: addresses, or the bindings of a REGISTER (RFC 3261, 10.3 and 20.10)."""

from libc.stdint cimport int64_t

from auth_diameter._core.base.chars cimport AD_DIGIT, ad_is, is_word
from auth_diameter._core.base.span cimport Reader, Span, reader_of
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.sip.fields cimport CONTACT, Address, take_address, take_param
from auth_diameter._core.sip.parse cimport Line, SipMessage
from auth_diameter._core.sip.values cimport new_address

from auth_diameter._core.errors import ParseError

cdef enum:
    MOST_CONTACTS = 256     # no registrar binds as many; each takes a microsecond
    # Seconds, where the request says nothing, or nothing that can be read: RFC 3261, 20.10
    DEFAULT_EXPIRES = 3600

cdef int64_t MOST_EXPIRES = 4294967295      # seconds: RFC 3261, 20.19


cdef list contact_addresses(const SipMessage *m, bytes data, object request):
    """All addresses in order, list of NameAddr."""
    return read_contacts(m, data, request, -1)


cdef list contact_bindings(const SipMessage *m, object request):
    """The addresses to register, list of pairs (URI, seconds); an address that is to be removed has 0 seconds."""
    cdef int64_t usual = DEFAULT_EXPIRES
    cdef const Line *line
    cdef list found
    cdef int i
    for i in range(m.line_count):
        line = &m.lines[i]
        if is_word(line.name, "expires", 7):
            usual = delta_seconds(line.value)
            break
    found = read_contacts(m, None, request, usual)
    if not found and usual and is_star_contact(m):
        raise ParseError("Contact: * without Expires: 0", header="Contact", request=request)
    return found


cdef bint is_star_contact(const SipMessage *m):
    """Whether the only Contact field is "*"."""
    cdef list lines = contact_lines(m)
    return len(lines) == 1 and m.start[<size_t>lines[0][0]:<size_t>lines[0][1]] == b"*"


cdef list read_contacts(const SipMessage *m, bytes data, object request, int64_t expires):
    """The addresses as NameAddr; as pairs (URI, seconds) if `expires`, their default, is not negative."""
    cdef list found = [], lines = contact_lines(m)
    cdef Address address
    cdef Reader r
    cdef Py_ssize_t at
    for start, end in lines:
        r.p = m.start + <size_t>start
        r.end = m.start + <size_t>end
        if end - start == 1 and r.p[0] == c'*' and len(lines) == 1:
            break
        while True:
            at = r.p - m.start
            if len(found) == MOST_CONTACTS:
                raise ParseError(f"Contact: more addresses than the limit of {MOST_CONTACTS}", at,
                                 header="Contact", request=request)
            if not take_address(&r, CONTACT, &address):
                at = r.p - m.start
                raise ParseError("Contact: not a name-addr or addr-spec of RFC 3261, 25.1", at,
                                 header="Contact", request=request)
            found.append(new_address(data, &address) if expires < 0 else new_binding(&address, expires))
            if r.p == r.end:
                break
            r.p += 1
    return found


cdef list contact_lines(const SipMessage *m):
    """Begin and end of the values of all Contact fields."""
    cdef const Line *line
    cdef list found = []
    cdef int i
    for i in range(m.line_count):
        line = &m.lines[i]
        if is_word(line.name, "contact", 7) or is_word(line.name, "m", 1):
            found.append((line.value.p - m.start, line.value.p + line.value.n - m.start))
    return found


cdef tuple new_binding(const Address *address, int64_t expires):
    """The URI as written, and its expiry in seconds; `expires` is the default."""
    cdef Span name, value
    cdef bint escaped
    cdef Reader r = reader_of(address.params)
    while r.p < r.end and take_param(&r, &name, &value, &escaped):
        if is_word(name, "expires", 7):
            expires = delta_seconds(value)
            break
    return text_of(address.uri.text), expires


cdef int64_t delta_seconds(Span text) noexcept nogil:
    """delta-seconds (RFC 3261, 20.19 and 25.1): an hour if it is not a number (20.10), at most 2**32 - 1."""
    cdef int64_t seconds = 0
    cdef size_t i
    for i in range(text.n):
        if not ad_is(text.p[i], AD_DIGIT):
            return DEFAULT_EXPIRES
        seconds = seconds * 10 + text.p[i] - c'0'
        if seconds > MOST_EXPIRES:
            seconds = MOST_EXPIRES
    return seconds if text.n else DEFAULT_EXPIRES
