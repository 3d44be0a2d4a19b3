"""The Contact fields of a SIP request: addresses, or the bindings of a REGISTER (RFC 3261, 10.3 and 20.10)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.base.chars cimport AD_DIGIT, ad_is, is_word
from auth_diameter._core.base.span cimport Reader, Span, reader_of
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.sip.fields cimport (
    CONTACT, CONTACT_ELEMENT, EXPIRES, Address, Header, take_address, take_param,
)
from auth_diameter._core.sip.parse cimport SipMessage
from auth_diameter._core.sip.reply cimport put_number
from auth_diameter._core.sip.values cimport new_address

from auth_diameter._core.errors import ParseError

cdef enum:
    # Seconds, where the request says nothing, or nothing that can be read: RFC 3261, 20.10
    DEFAULT_EXPIRES = 3600
    MOST_DIGITS = 10        # of a uint32_t

cdef uint32_t MOST_EXPIRES = 0xFFFFFFFF     # seconds: RFC 3261, 20.19

cdef dict _REASONS = {
    BAD_CONTACT: "not a name-addr or addr-spec of RFC 3261, 25.1",
    TOO_MANY_CONTACTS: f"more addresses than the limit of {MOST_CONTACTS}",
    STAR_WITHOUT_EXPIRES: "* without Expires: 0",
}


# ---------------------------------------------------------------------------------- addresses


cdef struct Walk:
    # A walk over all addresses of all Contact fields
    const SipMessage *m
    Reader r            # what is left of the field; p is NULL before the first one and between two
    int line            # the next line to look at
    int count           # of addresses so far


cdef inline int first_of(const SipMessage *m, Header header) noexcept nogil:
    """The index of the first line of that header field; -1 if there is none, as in a request that nobody read."""
    return m.first[header] if m.first[header] < m.line_count else -1


cdef bint is_star_contact(const SipMessage *m) noexcept nogil:
    """Whether the only Contact field is "*"."""
    cdef int first = first_of(m, CONTACT)
    return (first >= 0 and m.behind[CONTACT] == first + 1 and m.lines[first].value.n == 1
            and m.lines[first].value.p[0] == c'*')


cdef inline Walk walk_contacts(const SipMessage *m) noexcept nogil:
    """Before the first address; a "*" that stands alone is none."""
    cdef Walk walk
    walk.m = m
    walk.r.p = NULL
    walk.r.end = NULL
    walk.line = m.behind[CONTACT] if first_of(m, CONTACT) < 0 or is_star_contact(m) else m.first[CONTACT]
    walk.count = 0
    return walk


cdef int next_address(Walk *walk, Address *out, size_t *offset) noexcept nogil:
    """The next address.

    Returns:
        1; 0 behind the last one; or a negative status, with `offset` into the request.
    """
    cdef const SipMessage *m = walk.m
    while walk.r.p == NULL:
        if walk.line == m.behind[CONTACT]:
            return 0
        if m.lines[walk.line].id == CONTACT:
            walk.r = reader_of(m.lines[walk.line].value)
        walk.line += 1
    offset[0] = <size_t>(walk.r.p - m.start)
    if walk.count == MOST_CONTACTS:
        return TOO_MANY_CONTACTS
    if not take_address(&walk.r, CONTACT_ELEMENT, out):
        offset[0] = <size_t>(walk.r.p - m.start)
        return BAD_CONTACT
    walk.count += 1
    walk.r.p = walk.r.p + 1 if walk.r.p < walk.r.end else NULL      # behind the comma
    return 1


# ---------------------------------------------------------------------------------- bindings


cdef int read_bindings(const SipMessage *m, Binding *out, int room, size_t *offset) noexcept nogil:
    """The addresses that a REGISTER binds or removes, in order.

    An address has the expiry of its ``expires`` parameter, else of the Expires field, else an hour. One that
    is given twice stands at its first place with its last expiry. "*" alone with Expires: 0 removes all, so
    that there are none.

    Args:
        m: a request that was accepted.
        out: where they are written.
        room: how many have room there; MOST_CONTACTS is always enough.
        offset: where an error is, an index into the request.

    Returns:
        How many there are, or a negative status.
    """
    cdef uint32_t usual = usual_expires(m)
    cdef Walk walk = walk_contacts(m)
    cdef Address address
    cdef Binding found
    cdef int n = 0, i, status
    if usual and walk.line == m.behind[CONTACT] and is_star_contact(m):
        offset[0] = 0
        return STAR_WITHOUT_EXPIRES
    while True:
        status = next_address(&walk, &address, offset)
        if status <= 0:
            return status if status < 0 else n
        found.uri = address.uri.text
        found.seconds = expires_of(&address, usual)
        i = 0
        while i < n and not is_same_uri(out[i].uri, found.uri):
            i += 1
        if i == room:
            return NO_ROOM
        out[i] = found
        if i == n:
            n += 1


cdef inline bint is_same_uri(Span a, Span b) noexcept nogil:
    """Whether two URIs are the same, byte for byte."""
    return a.n == b.n and memcmp(a.p, b.p, a.n) == 0


cdef uint32_t usual_expires(const SipMessage *m) noexcept nogil:
    """The expiry of an address without one of its own, in seconds."""
    cdef int first = first_of(m, EXPIRES)
    return DEFAULT_EXPIRES if first < 0 else delta_seconds(m.lines[first].value)


cdef inline uint32_t expires_of(const Address *address, uint32_t usual) noexcept nogil:
    """The expiry of an address in seconds; `usual` if it says none."""
    cdef Span name, value
    cdef bint escaped
    cdef Reader r = reader_of(address.params)
    while r.p < r.end and take_param(&r, &name, &value, &escaped):
        if is_word(name, "expires", 7):
            return delta_seconds(value)
    return usual


cdef uint32_t delta_seconds(Span text) noexcept nogil:
    """delta-seconds (RFC 3261, 20.19 and 25.1): an hour if it is not a number (20.10), at most 2**32 - 1."""
    cdef uint64_t seconds = 0
    cdef size_t i
    for i in range(text.n):
        if not ad_is(text.p[i], AD_DIGIT):
            return DEFAULT_EXPIRES
        seconds = seconds * 10 + text.p[i] - c'0'
        if seconds > MOST_EXPIRES:
            seconds = MOST_EXPIRES
    return <uint32_t>seconds if text.n else DEFAULT_EXPIRES


# ---------------------------------------------------------------------------------- written


cdef size_t bindings_room(const Binding *bindings, int n) noexcept nogil:
    """The room that `put_bindings` needs at most."""
    cdef size_t total = 0
    cdef int i
    for i in range(n):
        total += 10 + bindings[i].uri.n + 10 + MOST_DIGITS + 2
    return total


cdef uint8_t *put_bindings(uint8_t *q, const Binding *bindings, int n) noexcept nogil:
    """Writes the Contact fields of the 200 to a REGISTER (RFC 3261, 10.3, step 8), without what is removed.

    Returns:
        The end.
    """
    cdef int i
    for i in range(n):
        if bindings[i].seconds:
            memcpy(q, b"Contact: <", 10)
            memcpy(q + 10, bindings[i].uri.p, bindings[i].uri.n)
            q += 10 + bindings[i].uri.n
            memcpy(q, b">;expires=", 10)
            q = put_number(q + 10, bindings[i].seconds)
            memcpy(q, b"\r\n", 2)
            q += 2
    return q


# ---------------------------------------------------------------------------------- objects


cdef object contact_error(int status, size_t offset, object request):
    """The ParseError for a status that `next_address` or `read_bindings` returned."""
    return ParseError(f"Contact: {_REASONS[status]}", offset, header="Contact", request=request)


cdef list contact_addresses(const SipMessage *m, bytes data, object request):
    """All addresses in order, list of NameAddr."""
    cdef Walk walk = walk_contacts(m)
    cdef Address address
    cdef size_t offset = 0
    cdef list found = []
    cdef int status
    while True:
        status = next_address(&walk, &address, &offset)
        if status <= 0:
            break
        found.append(new_address(data, &address))
    if status < 0:
        raise contact_error(status, offset, request)
    return found


cdef list contact_headers(const SipMessage *m, object request):
    """The Contact fields of the 200 to a REGISTER, list of pairs (name, value) of str."""
    cdef Binding bindings[MOST_CONTACTS]
    cdef size_t offset = 0
    cdef list found = []
    cdef int n = read_bindings(m, bindings, MOST_CONTACTS, &offset), i
    if n < 0:
        raise contact_error(n, offset, request)
    for i in range(n):
        if bindings[i].seconds:
            found.append(("Contact", f"<{text_of(bindings[i].uri)}>;expires={bindings[i].seconds}"))
    return found
