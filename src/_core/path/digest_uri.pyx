"""Comparison of the digest-uri with the Request-URI (RFC 7616, 3.4.6).

A proxy on the path may rewrite the Request-URI, and telephones use the domain with which they register as the
digest-uri; RFC 3261, 22.4, rule 8 requires only that the digest-uri is in the hash. So the default policy
compares only the host, with that of the Request-URI and with the realm. If a proxy has replaced a host by an
IP address, there is nothing to compare.
"""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp

from auth_diameter._core.base.chars cimport AD_DIGIT, ad_is
from auth_diameter._core.base.span cimport Reader, Span, between, equal_nocase, reader_of
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.digest.params cimport MAX_PARAMETER
from auth_diameter._core.sip.uri cimport URI_IN_BRACKETS, SipUri, put_address, take_uri

cdef enum:
    PORT_ROOM = 8

cdef dict _POLICIES = {"off": URI_OFF, "host": URI_OF_HOST, "strict": URI_STRICT}


cdef UriPolicy policy_of(str name) except -1:
    """The policy of a name: "off", "host" or "strict"."""
    return _POLICIES[name]


cdef bint uri_fits(UriPolicy policy, Span digest_uri, Span resource, Span realm) noexcept nogil:
    """Whether a digest over `digest_uri` is accepted for a request to `resource`; `fits` says when."""
    cdef Reader r = reader_of(digest_uri)
    cdef SipUri uri
    cdef Span asked
    if policy == URI_OFF:
        return True
    # The credentials that the parser accepts have no longer one.
    if not (digest_uri.n <= MAX_PARAMETER and take_uri(&r, URI_IN_BRACKETS, &uri) and r.p == r.end):
        return False
    if policy == URI_STRICT or uri.host.n == 0:
        return resource.n == 0 or is_same_address(&uri, resource)
    asked = host_of(resource)
    return (equal_nocase(uri.host, asked) or is_of_domain(uri.host, realm) or is_address(uri.host)
            or is_address(asked))


cdef bint is_same_address(const SipUri *uri, Span resource) noexcept nogil:
    """Compares user, host and port; a user is case-sensitive, host and port are not (RFC 3261, 19.1.4)."""
    cdef uint8_t room[MAX_PARAMETER + PORT_ROOM]
    cdef Span own, own_host, host = host_and_port(resource)
    own.p = room
    own.n = put_address(room, uri)
    if uri.port:
        own.n += put_port(room + own.n, uri.port)
    own_host = host_and_port(own)
    return (equal_nocase(own_host, host) and own.n - own_host.n == resource.n - host.n
            and memcmp(own.p, resource.p, own.n - own_host.n) == 0)


cdef size_t put_port(uint8_t *out, uint16_t port) noexcept nogil:
    cdef uint8_t digits[5]
    cdef size_t n = 0, i
    while port:
        digits[n] = <uint8_t>(c'0' + port % 10)
        port //= 10
        n += 1
    out[0] = c':'
    for i in range(n):
        out[1 + i] = digits[n - 1 - i]
    return 1 + n


cdef Span host_and_port(Span address) noexcept nogil:
    """What is behind the last "@"."""
    cdef const uint8_t *end = address.p + address.n
    cdef const uint8_t *p = end
    while p > address.p and (p - 1)[0] != c'@':
        p -= 1
    return between(p, end)


cdef Span host_of(Span resource) noexcept nogil:
    """The host of ``user@host[:port]``; an IPv6 address with its brackets."""
    cdef Span found = host_and_port(resource)
    cdef size_t i
    cdef bint is_ipv6 = found.n and found.p[0] == c'['
    for i in range(found.n):
        if is_ipv6 and found.p[i] == c']':
            return Span(found.p, i + 1)
        if not is_ipv6 and found.p[i] == c':':
            return Span(found.p, i)
    return found


cdef bint is_of_domain(Span host, Span domain) noexcept nogil:
    """Whether a host is that domain or below it."""
    cdef Span end
    if host.n == domain.n:
        return equal_nocase(host, domain)
    if host.n < domain.n + 1:
        return False
    end = Span(host.p + host.n - domain.n, domain.n)
    return (end.p - 1)[0] == c'.' and equal_nocase(end, domain)


cdef bint is_address(Span host) noexcept nogil:
    """Whether a host is an IP address: one in brackets, or digits and dots."""
    cdef bint digits = False
    cdef size_t i
    if host.n and host.p[0] == c'[':
        return True
    for i in range(host.n):
        if ad_is(host.p[i], AD_DIGIT):
            digits = True
        elif host.p[i] != c'.':
            return False
    return digits


def fits(str policy not None, str digest_uri not None, str resource not None, str realm not None):
    """Whether a digest over a digest-uri is accepted for a request to a resource.

    With "host" the host of the digest-uri must be that of the Request-URI, or the realm, or below the realm. Any
    host is accepted if either URI has an IP address: a client may have been configured without a name, and a proxy
    may have looked one up.

    With "strict" the user, host and port must be those of the Request-URI. The same holds with "host" for a URI
    without a host.

    Args:
        policy: "host", "strict" or "off", which accepts any URI.
        digest_uri: the ``uri`` of the credentials, str.
        resource: the Request-URI as ``user@host[:port]``, str; "" if it is unknown. Then "host" compares with the
            realm only, and "strict" accepts any URI.
        realm: the realm of the credentials, str.

    Returns:
        Bool.
    """
    cdef Span uri, asked, domain
    _kept = borrow(digest_uri, &uri, "uri"), borrow(resource, &asked, "resource"), borrow(realm, &domain, "realm")
    return uri_fits(policy_of(policy), uri, asked, domain)
