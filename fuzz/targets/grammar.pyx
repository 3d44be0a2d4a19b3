"""The grammars that stand alone: URIs, header fields, and the Digest scheme."""

from libc.stdint cimport uint64_t, uint8_t, uintptr_t
from libc.stdlib cimport free, malloc

from auth_diameter._core.base.chars cimport AD_HEX, AD_TOKEN, ad_find_control, unquote
from auth_diameter._core.base.hex cimport ad_lower_hex, ad_same_hex
from auth_diameter._core.base.span cimport Reader, Span, between
from auth_diameter._core.base.vectors cimport SCAN_BYTES
from auth_diameter._core.digest.challenge cimport is_challenge
from auth_diameter._core.digest.credentials cimport check_credentials, is_for_realm, is_of_other_realm
from auth_diameter._core.digest.params cimport (
    DigestFields, FIELD_COUNT, MAX_PARAMETER, NC, NONCE, OK, OTHER_SCHEME, QOP, QOP_NONE, REALM, RESPONSE, URI,
    USERNAME, USERNAME_STAR, parse_params, parse_params_by, plain_value, put_ext_value, same_fields,
)
from auth_diameter._core.sip.fields cimport (
    Address, CONTACT_ELEMENT, PARTY, TopVia, take_address, take_param, take_via,
)
from auth_diameter._core.sip.uri cimport (
    SCHEME_SIP, SCHEME_SIPS, SipUri, URI_BARE, URI_OF_REQUEST, UriForm, put_address, put_address_and_port,
    take_uri,
)
from auth_diameter._core.state.keys cimport Network, account_of, network_of_text, source_key, user_key

from targets.promises cimport all_of, hold, inside, reader_of, span_of


cdef uint64_t SECRET[2]     # any
SECRET[:] = [1, 2]


cdef int parse_credentials(Span text, DigestFields *out, size_t *offset) noexcept nogil:
    """Parses credentials in the two steps of the core."""
    cdef int status = parse_params(text, out, offset)
    return status if status != OK else check_credentials(text, out, offset)


# ---------------------------------------------------------------------------------- uri


cdef bint same_span(Span a, Span b) noexcept nogil:
    return a.p == b.p and a.n == b.n


cdef void check_uri(const SipUri *uri, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """What is true of every URI that was taken from the bytes between `p` and `end`."""
    cdef uint8_t *out
    cdef size_t n, m
    hold(uri.text.p == p and inside(uri.text, p, end) and uri.text.n > 0, "the URI lies inside the input")
    end = p + uri.text.n
    hold(inside(uri.user, p, end) and inside(uri.host, p, end) and inside(uri.port_text, p, end)
         and inside(uri.params, p, end) and inside(uri.headers, p, end), "the parts lie inside the URI")
    hold(ad_find_control(p, end) == end, "no control character in a URI")
    hold(uri.host.n > 0 if uri.scheme == SCHEME_SIP or uri.scheme == SCHEME_SIPS else uri.host.n == 0,
         "sip and sips have a host, and others none")
    hold((uri.port != 0) == (uri.port_text.n != 0), "a port has digits")
    # Exactly the room that is promised to be enough.
    out = <uint8_t *>malloc(uri.text.n)
    n = put_address_and_port(out, uri)
    hold(0 < n <= uri.text.n, "an address is no longer than its URI")
    hold(ad_find_control(out, out + n) == out + n, "no control character in an address")
    m = put_address(out, uri)
    hold(0 < m <= n, "the address without its port is no longer")
    free(out)


cdef int uri(const uint8_t *data, size_t size) noexcept nogil:
    """One URI in each of the places it may stand: a Request-URI, in angle brackets, bare."""
    cdef Reader r
    cdef SipUri found, again
    cdef UriForm form
    for form in range(URI_OF_REQUEST, URI_BARE + 1):
        r = reader_of(data, size)
        if not take_uri(&r, form, &found):
            hold(data <= r.p <= data + size, "where it fails lies inside the input")
            continue
        hold(r.p == data + found.text.n, "the reader stands behind the URI")
        check_uri(&found, data, data + size)
        # What follows a URI has no part in it.
        r = reader_of(data, found.text.n)
        hold(take_uri(&r, form, &again) and r.p == r.end, "a URI alone is accepted, too")
        hold(again.scheme == found.scheme and again.port == found.port and same_span(again.user, found.user)
             and same_span(again.host, found.host) and same_span(again.port_text, found.port_text)
             and same_span(again.params, found.params) and same_span(again.headers, found.headers),
             "a URI alone has the same parts")
    return 0


# ---------------------------------------------------------------------------------- fields


cdef bint no_byte(Span s, uint8_t byte) noexcept nogil:
    cdef size_t i
    for i in range(s.n):
        if s.p[i] == byte:
            return False
    return True


cdef void check_address(const Address *address, const uint8_t *p, const uint8_t *end) noexcept nogil:
    """What is true of an address that was read from the bytes between `p` and `end`."""
    cdef Reader r
    cdef Span name, value
    cdef bint escaped
    hold(inside(address.name, p, end) and inside(address.params, p, end) and inside(address.tag, p, end),
         "the parts lie inside the value")
    hold(p <= address.uri.text.p, "the URI begins inside the value")
    check_uri(&address.uri, address.uri.text.p, end)
    if address.name.p != NULL:
        hold(address.name.p + address.name.n < address.uri.text.p, "the name stands before the URI")
        hold(address.quoted or no_byte(address.name, c'"'), "no quote in a name without quotes")
    r.p = address.params.p
    r.end = r.p + address.params.n
    while r.p < r.end:
        hold(take_param(&r, &name, &value, &escaped), "a parameter that was accepted is accepted again")
        hold(inside(name, p, end) and inside(value, p, end) and all_of(name, AD_TOKEN), "and lies inside")


cdef int fields(const uint8_t *data, size_t size) noexcept nogil:
    """The value of From or To, and those of Contact and Via with all their elements."""
    cdef Reader r = reader_of(data, size)
    cdef const uint8_t *end = data + size
    cdef const uint8_t *start
    cdef Address found
    cdef TopVia via
    if take_address(&r, PARTY, &found):
        hold(r.p == end, "a name-addr is read whole")
        check_address(&found, data, end)
        hold(found.tag.p == NULL or (found.tag.n and all_of(found.tag, AD_TOKEN)), "a tag is a token")
    else:
        hold(data <= r.p <= end, "where it fails lies inside the input")
    r = reader_of(data, size)
    while True:
        start = r.p
        if not take_address(&r, CONTACT_ELEMENT, &found):
            hold(start <= r.p <= end, "where it fails lies inside the input")
            break
        check_address(&found, start, r.p)
        if r.p == end:
            break
        hold(r.p[0] == c',', "a comma stands between addresses")
        r.p += 1
    r = reader_of(data, size)
    while True:
        start = r.p
        if not take_via(&r, &via):
            hold(start <= r.p <= end, "where it fails lies inside the input")
            break
        hold(inside(via.protocol_and_host, start, r.p) and inside(via.params, start, r.p)
             and inside(via.host, start, r.p) and inside(via.branch, start, r.p),
             "the parts lie inside the via-parm")
        hold(via.params.p == via.protocol_and_host.p + via.protocol_and_host.n, "parameters follow the address")
        hold(via.host.n > 0, "a via-parm has a host")
        if r.p == end:
            break
        hold(r.p[0] == c',', "a comma stands between via-parms")
        r.p += 1
    return 0


# ---------------------------------------------------------------------------------- digest


cdef bint has(const DigestFields *f, int field) noexcept nogil:
    return f.value[field].p != NULL


cdef void check_account(const DigestFields *f) noexcept nogil:
    """The account that credentials are counted for is the same in any case of its realm."""
    cdef uint8_t room[MAX_PARAMETER]
    cdef uint8_t upper[MAX_PARAMETER]
    cdef Span account = account_of(f, room), realm = f.value[REALM]
    cdef Network network = network_of_text(SECRET, f.value[URI])
    cdef uint64_t key = user_key(SECRET, account, realm, network)
    cdef size_t i
    hold(account.n <= MAX_PARAMETER, "an account is no longer than a parameter")
    hold(key != 0 and source_key(SECRET, network) != 0, "a key is not 0")
    for i in range(realm.n):
        upper[i] = realm.p[i] - 32 if c'a' <= realm.p[i] <= c'z' else realm.p[i]
    realm.p = upper
    hold(user_key(SECRET, account, realm, network) == key, "the case of a realm does not matter")


cdef int digest(const uint8_t *data, size_t size) noexcept nogil:
    """Credentials as a request carries them, and a challenge as DISC sends one."""
    cdef const uint8_t *end = data + size
    cdef DigestFields f, again
    cdef Span text = between(data, end), value
    cdef size_t offset = size + 1, at = 0, other_at = 0, n
    cdef uint8_t room[MAX_PARAMETER]
    cdef uint8_t plain[MAX_PARAMETER]
    cdef uint8_t hexes[32]
    cdef int status, field
    hold(parse_params(text, &f, &at) == parse_params_by(text, &again, &other_at, SCAN_BYTES) and at == other_at
         and same_fields(&f, &again), "parameters split by vectors are those split byte by byte")
    status = parse_credentials(text, &f, &offset)
    hold(offset <= size, "the offset lies inside the input")
    hold(inside(f.raw, data, end), "the whole lies inside the input")
    for field in range(FIELD_COUNT):
        value = f.value[field]
        hold(inside(value, data, end), "a value lies inside the input")
        hold(value.n <= MAX_PARAMETER, "a value has no more than MAX_PARAMETER bytes")
        if f.escaped & (1u << field):
            hold(value.p != NULL, "what is escaped is there")
            n = unquote(value, room)
            hold(n <= value.n, "unquoting makes nothing longer")
    if status == OK:
        hold(has(&f, USERNAME) != has(&f, USERNAME_STAR), "one username")
        hold(has(&f, NONCE) and has(&f, URI) and has(&f, RESPONSE), "what RFC 7616 requires is there")
        hold(all_of(f.value[RESPONSE], AD_HEX) and (f.value[RESPONSE].n == 32 or f.value[RESPONSE].n == 64),
             "a response is hexadecimal")
        hold(not has(&f, NC) or (f.value[NC].n == 8 and all_of(f.value[NC], AD_HEX)), "nc is 8LHEX")
        hold(f.qop == QOP_NONE or has(&f, NC), "qop comes with nc")
        hold((f.qop == QOP_NONE) != has(&f, QOP), "an empty qop is none")
        if has(&f, REALM):
            value = f.value[REALM]
            if f.escaped & (1u << REALM):
                value.n = unquote(value, room)
                value.p = room
            hold(is_for_realm(&f, value), "credentials are for the realm that they name")
            hold(not is_of_other_realm(f.raw, value), "and for no other")
            value.n += 1    # one byte of anything else behind it, which is not read
            hold(not is_for_realm(&f, value), "and for no longer one")
        # Without what stood around them they are the same; a copy in a block of their exact size.
        hold(parse_credentials(f.raw, &again, &offset) == OK and again.qop == f.qop
             and again.algorithm == f.algorithm and again.sess == f.sess and again.escaped == f.escaped,
             "credentials without LWS around them are the same")
        if has(&f, USERNAME_STAR):
            value = plain_value(&f, USERNAME_STAR, room)
            n = <size_t>(put_ext_value(plain, value) - plain)
            hold(n + 7 <= value.n, "a name is shorter than its encoding")
        check_account(&f)
        # What `verify` does with what was read, at the level of bytes.
        value = f.value[RESPONSE]
        if value.n == 32:
            ad_lower_hex(hexes, value.p)
            hold(ad_same_hex(value.p, hexes, 32), "a response in lower case is the same response")
    # What is malformed, too, is for nobody twice.
    hold(not is_of_other_realm(text, span_of("a")) or is_of_other_realm(text, span_of("A")),
         "a realm is compared in any case")
    if is_challenge(text, NULL):
        hold(ad_find_control(data, end) == end, "a challenge has no control character")
        hold(status != OTHER_SCHEME, "a challenge is of the Digest scheme")
    return 0


TARGETS = {
    "uri": <uintptr_t>&uri,
    "fields": <uintptr_t>&fields,
    "digest": <uintptr_t>&digest,
}
