"""The keys that users and the sources of their requests are counted under."""

import socket

from libc.stdint cimport uint8_t, uint64_t

from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end, ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span, equal_nocase, lower
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport USERHASH

cdef bytes _MAPPED = bytes(10) + b"\xff\xff"


cpdef object network_of(str address):
    """The network that an address is counted under: an IPv4 address itself, the /64 of an IPv6 address.

    One IPv6 host may use every address of its /64 (RFC 4291, 2.5.1). An IPv4-mapped address, which an IPv6
    socket shows for an IPv4 host (RFC 4291, 2.5.5.2), is that IPv4 address.

    Args:
        address: str, with or without a zone, such as ``fe80::1%eth0``.

    Returns:
        Str of an IPv4 address, the 8 bytes of a /64; anything else unchanged.
    """
    if address is None:
        raise TypeError("address: expected a str")
    if ":" not in address:
        return address
    try:
        packed = socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    except OSError:
        return address
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if packed.startswith(_MAPPED) else packed[:8]


cdef object user_key(const uint64_t *secret, str username, str realm, object network):
    """The key of a user in a network, int: a hash of 64 bits with a secret of two words.

    Nobody can make two users collide, and they do not by accident.
    """
    cdef ad_siphash s
    cdef uint64_t out[2]
    cdef Span name, domain, where, own
    cdef uint8_t folded[8]
    cdef size_t i, j, n
    _name_kept = borrow(username, &name, "username")
    _domain_kept = borrow(realm, &domain, "realm")
    _network_kept = borrow(network, &where, "address")
    # DISC knows an account by its name and by name@realm (RFC 7616, 3.4.2).
    if name.n > domain.n and name.p[name.n - domain.n - 1] == c'@':
        own.p = name.p + name.n - domain.n
        own.n = domain.n
        if domain.n and equal_nocase(own, domain):
            name.n -= domain.n + 1
    ad_siphash_begin(&s, secret)
    ad_siphash_word(&s, <uint64_t>name.n << 32 | domain.n)
    ad_siphash_word(&s, where.n)
    ad_siphash_bytes(&s, name.p, name.n)
    for i in range(0, domain.n, 8):     # realms are compared without regard to case
        n = domain.n - i if domain.n - i < 8 else 8
        for j in range(n):
            folded[j] = lower(domain.p[i + j])
        ad_siphash_bytes(&s, folded, n)
    ad_siphash_bytes(&s, where.p, where.n)
    ad_siphash_end(&s, out)
    return out[0]


cdef str name_in(Credentials credentials):
    """The username of credentials; a hashed one (RFC 7616, 3.4.4) in lower case."""
    cdef str name = credentials.user()
    if credentials.fields.value[USERHASH].p != NULL and credentials.userhash:
        return name.lower()
    return name
