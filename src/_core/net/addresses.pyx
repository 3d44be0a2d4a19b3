"""IP addresses with a port: as the kernel has them, as text for SIP and DISC, and as Python has them."""

from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memset, strlen

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of


cdef size_t put_host(char *text, const Address *address) noexcept nogil:
    """Writes the address as text, without the port, to HOST_ROOM bytes.

    Returns:
        Its size.
    """
    if is_ipv4(address):
        return <size_t>(put_ipv4(text, <const uint8_t *>&address.four.sin_addr) - text)
    inet_ntop(AF_INET6, &address.six.sin6_addr, text, HOST_ROOM)
    return strlen(text)


cdef tuple source_of(const Address *address):
    """(host, port), or for IPv6 (host, port, flow, scope), as in the socket module."""
    cdef char text[HOST_ROOM]
    cdef str host = text[:put_host(text, address)].decode("ascii")
    if is_ipv4(address):
        return (host, port_of(address))
    return (host, port_of(address), address.six.sin6_flowinfo, address.six.sin6_scope_id)


cdef char *put_ipv4(char *q, const uint8_t *octets) noexcept nogil:
    """Writes an IPv4 address with dots; inet_ntop takes ten times as long.

    Returns:
        The end.
    """
    cdef int i
    for i in range(4):
        if i:
            q[0] = c'.'
            q += 1
        if octets[i] >= 100:
            q[0] = c'0' + octets[i] // 100
            q += 1
        if octets[i] >= 10:
            q[0] = c'0' + octets[i] // 10 % 10
            q += 1
        q[0] = c'0' + octets[i] % 10
        q += 1
    return q


cdef socklen_t put_address(tuple source, Address *out) except 0:
    """Reads (host, port, …) with an IP address.

    Returns:
        The size of the address.

    Raises:
        TypeError, ValueError: it is none.
    """
    cdef Span host
    cdef int port
    if source is None or len(source) < 2:
        raise ValueError(f"address {source!r}: expected (host, port)")
    # Only integers: the __index__ of another object could call `send` meanwhile.
    if not all([isinstance(number, int) for number in source[1:]]):
        raise TypeError(f"address {source!r}: expected numbers after the host")
    port = source[1]
    if not 0 <= port <= 65535:
        raise ValueError(f"address {source!r}: expected a port up to 65535")
    span_of(source[0], &host, "address")
    memset(out, 0, sizeof(Address))
    if inet_pton(AF_INET, <const char *>host.p, &out.four.sin_addr) == 1:
        out.four.sin_family = AF_INET
        out.four.sin_port = htons(<uint16_t>port)
        return sizeof(sockaddr_in)
    if inet_pton(AF_INET6, <const char *>host.p, &out.six.sin6_addr) == 1:
        out.six.sin6_family = AF_INET6
        out.six.sin6_port = htons(<uint16_t>port)
        if len(source) > 3:
            out.six.sin6_flowinfo = source[2]
            out.six.sin6_scope_id = source[3]
        return sizeof(sockaddr_in6)
    raise ValueError(f"address {source!r}: no IP address")
