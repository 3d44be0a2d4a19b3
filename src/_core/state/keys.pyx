"""The keys that users and the sources of their requests are counted under."""

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memchr, memcpy

from auth_diameter._core.base.siphash cimport (
    ad_siphash, ad_siphash_begin, ad_siphash_bytes, ad_siphash_end_64, ad_siphash_filled,
    ad_siphash_word,
)
from auth_diameter._core.base.span cimport Span, equal_nocase, lower
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.digest.params cimport (
    MAX_PARAMETER, USERHASH, USERNAME, USERNAME_STAR, DigestFields, is_true, plain_value, put_ext_value,
)

cdef extern from *:
    """
    #include <arpa/inet.h>
    #include <sys/socket.h>
    """
    enum:
        AF_INET, AF_INET6
    int inet_pton(int family, const char *text, void *out) nogil

cdef enum:
    LONGEST_ADDRESS = 45        # bytes of an IPv6 address as text (RFC 4291, 2.2), with an IPv4 address in it

cdef const uint8_t *MAPPED = <const uint8_t *>"\0\0\0\0\0\0\0\0\0\0\xff\xff"    # RFC 4291, 2.5.5.2


# ---------------------------------------------------------------------------------- networks


cpdef object network_of(str address):
    """The network that an address is counted under: an IPv4 address itself, the /64 of an IPv6 address.

    One IPv6 host may use every address of its /64 (RFC 4291, 2.5.1). An IPv4-mapped address, which an IPv6
    socket shows for an IPv4 host (RFC 4291, 2.5.5.2), is that IPv4 address.

    Args:
        address: str, with or without a zone, such as ``fe80::1%eth0``.

    Returns:
        Str of an IPv4 address, the 8 bytes of a /64; anything else unchanged.
    """
    cdef Span text
    cdef Network network
    cdef uint8_t *p = <uint8_t *>&network.value
    if address is None:
        raise TypeError("address: expected a str")
    _kept = borrow(address, &text, "address")
    if not find_ip_network(text, &network):
        return address
    return p[:8] if network.kind == IPV6 else f"{p[0]}.{p[1]}.{p[2]}.{p[3]}"


cdef Network network_of_ipv4(const uint8_t *address) noexcept nogil:
    """The network of the 4 bytes of an address."""
    cdef Network network
    network.value = 0
    network.kind = IPV4
    memcpy(&network.value, address, 4)
    return network


cdef Network network_of_ipv6(const uint8_t *address) noexcept nogil:
    """The network of the 16 bytes of an address, which may be an IPv4-mapped one."""
    cdef Network network
    if is_mapped(address):
        return network_of_ipv4(address + 12)
    network.kind = IPV6
    memcpy(&network.value, address, 8)
    return network


cdef Network network_of_text(const uint64_t *secret, Span address) noexcept nogil:
    """The network of an address as text; of other text a hash with a secret of two words."""
    cdef Network network
    cdef ad_siphash s
    if not address.n:
        network.value = 0
        network.kind = UNKNOWN
    elif not find_ip_network(address, &network):
        ad_siphash_begin(&s, secret)
        ad_siphash_word(&s, address.n)
        ad_siphash_bytes(&s, address.p, address.n)
        network.value = ad_siphash_end_64(&s)
        network.kind = OTHER
    return network


cdef bint find_ip_network(Span address, Network *out) noexcept nogil:
    """The network of text that is an IP address."""
    cdef char text[LONGEST_ADDRESS + 1]
    cdef uint8_t packed[16]
    cdef const uint8_t *zone
    if address.n and memchr(address.p, c':', address.n) != NULL:
        zone = <const uint8_t *>memchr(address.p, c'%', address.n)
        if zone != NULL:
            address.n = <size_t>(zone - address.p)
    if not address.n <= LONGEST_ADDRESS or memchr(address.p, 0, address.n) != NULL:
        return False
    memcpy(text, address.p, address.n)
    text[address.n] = 0
    if inet_pton(AF_INET, text, packed) == 1:
        out[0] = network_of_ipv4(packed)
    elif inet_pton(AF_INET6, text, packed) == 1:
        out[0] = network_of_ipv6(packed)
    else:
        return False
    return True


cdef bint is_mapped(const uint8_t *address) noexcept nogil:
    """Whether an IPv6 address stands for an IPv4 host."""
    cdef int i
    for i in range(12):
        if address[i] != MAPPED[i]:
            return False
    return True


cdef uint64_t source_key(const uint64_t *secret, Network network) noexcept nogil:
    """The key of a network: a hash with a secret of two words, never 0."""
    cdef ad_siphash s
    ad_siphash_begin(&s, secret)
    ad_siphash_word(&s, network.kind)
    ad_siphash_word(&s, network.value)
    return ad_siphash_end_64(&s) or 1


# ---------------------------------------------------------------------------------- users


cdef uint64_t user_key(const uint64_t *secret, Span name, Span realm, Network network) noexcept nogil:
    """The key of a user in a network: a hash with a secret of two words, never 0.

    Nobody can make two users collide, and they do not by accident.
    """
    cdef ad_siphash s
    cdef uint64_t word
    # DISC knows an account by its name and by name@realm (RFC 7616, 3.4.2).
    if name.n > realm.n > 0 and name.p[name.n - realm.n - 1] == c'@' and (
            equal_nocase(Span(name.p + name.n - realm.n, realm.n), realm)):
        name.n -= realm.n + 1
    ad_siphash_begin(&s, secret)
    ad_siphash_word(&s, <uint64_t>name.n << 32 ^ <uint64_t>realm.n << 2 ^ network.kind)
    ad_siphash_word(&s, network.value)
    ad_siphash_bytes(&s, name.p, name.n)
    # Realms are compared without regard to case.
    while realm.n >= sizeof(word):
        memcpy(&word, realm.p, sizeof(word))
        ad_siphash_word(&s, lower_word(word))
        realm.p += sizeof(word)
        realm.n -= sizeof(word)
    if realm.n:
        ad_siphash_word(&s, lower_word(ad_siphash_filled(realm.p, realm.n)))
    return ad_siphash_end_64(&s) or 1


cdef inline uint64_t lower_word(uint64_t word) noexcept nogil:
    """Eight bytes with ASCII letters in lower case."""
    cdef uint64_t ones = <uint64_t>0x0101010101010101, low = word & 0x7F * ones
    # The highest bit of a byte says in the sums that it is at least "A", and that it is beyond "Z".
    cdef uint64_t letters = (low + (0x80 - c'A') * ones ^ low + (0x7F - c'Z') * ones) & ~word & 0x80 * ones
    return word | letters >> 2


cdef Span account_of(const DigestFields *fields, uint8_t *room) noexcept nogil:
    """The account that credentials are counted for: the username; a hashed one (RFC 7616, 3.4.4) in lower case.

    Args:
        fields: checked credentials.
        room: MAX_PARAMETER bytes that the result may lie in.
    """
    cdef uint8_t plain[MAX_PARAMETER]
    cdef Span account
    cdef size_t i
    if fields.value[USERNAME_STAR].p == NULL:
        account = plain_value(fields, USERNAME, room)
    else:
        account.p = room
        account.n = <size_t>(put_ext_value(room, plain_value(fields, USERNAME_STAR, plain)) - room)
    if not is_true(fields, USERHASH):
        return account
    for i in range(account.n):
        room[i] = lower(account.p[i])
    account.p = room
    return account
