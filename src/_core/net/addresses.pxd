"""Addresses and messages of the socket interface, for compiled code."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <netinet/udp.h>
    #include <sys/socket.h>
    #ifndef UDP_SEGMENT
    #define UDP_SEGMENT 103     /* Linux 4.18 */
    #endif
    """
    enum:
        AF_INET, AF_INET6, MSG_DONTWAIT, MSG_NOSIGNAL, SOL_UDP, UDP_SEGMENT
    ctypedef uint32_t socklen_t
    struct sockaddr_storage:
        uint16_t ss_family
    struct in_addr:
        uint32_t s_addr
    struct in6_addr:
        uint8_t s6_addr[16]
    struct sockaddr_in:
        uint16_t sin_family
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        uint32_t sin6_scope_id
        in6_addr sin6_addr
    struct iovec:
        void *iov_base
        size_t iov_len
    struct msghdr:
        void *msg_name
        socklen_t msg_namelen
        iovec *msg_iov
        size_t msg_iovlen
        void *msg_control
        size_t msg_controllen
        int msg_flags
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    struct cmsghdr:
        size_t cmsg_len
        int cmsg_level
        int cmsg_type
    int getsockopt(int fd, int level, int name, void *value, socklen_t *size) nogil
    ssize_t send(int fd, const void *data, size_t n, int flags) nogil
    ssize_t recv(int fd, void *data, size_t n, int flags) nogil
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout) nogil
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags) nogil
    const char *inet_ntop(int family, const void *address, char *text, socklen_t room) nogil
    int inet_pton(int family, const char *text, void *address) nogil
    uint16_t htons(uint16_t value) nogil
    uint16_t ntohs(uint16_t value) nogil
    size_t CMSG_LEN(size_t n) nogil
    size_t CMSG_SPACE(size_t n) nogil
    uint8_t *CMSG_DATA(cmsghdr *header) nogil

cdef enum:
    HOST_ROOM = 46          # bytes of an address as text, the end of an IPv6 address included


cdef union Address:
    # An IP address and a port
    sockaddr_in four
    sockaddr_in6 six


cdef size_t put_host(char *text, const Address *address) noexcept nogil
cdef tuple source_of(const Address *address)
cdef socklen_t put_address(tuple source, Address *out) except 0


cdef inline bint is_ipv4(const Address *address) noexcept nogil:
    return address.four.sin_family == AF_INET


cdef inline socklen_t size_of(const Address *address) noexcept nogil:
    return sizeof(sockaddr_in) if is_ipv4(address) else sizeof(sockaddr_in6)


cdef inline int port_of(const Address *address) noexcept nogil:
    return ntohs(address.four.sin_port)     # both have it in the same place


cdef inline void set_port(Address *address, int port) noexcept nogil:
    address.four.sin_port = htons(<uint16_t>port)


cdef inline uint32_t flow_of(const Address *address) noexcept nogil:
    return 0 if is_ipv4(address) else address.six.sin6_flowinfo


cdef inline uint32_t scope_of(const Address *address) noexcept nogil:
    return 0 if is_ipv4(address) else address.six.sin6_scope_id
