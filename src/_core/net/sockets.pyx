"""System calls on sockets that the caller owns, several at a time.

`DatagramBatch` receives and sends many datagrams in one call: at a hundred thousand requests a second, one
call each would cost most of the time. `exchange` sends a question and receives the answer with the GIL
released once: where many threads ask, each acquisition is another wait.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <arpa/inet.h>
    #include <netinet/in.h>
    #include <sys/socket.h>
    """
    enum:
        AF_INET, AF_INET6, MSG_DONTWAIT, MSG_NOSIGNAL
    ctypedef uint32_t socklen_t
    struct sockaddr_storage:
        uint16_t ss_family
    struct in_addr:
        pass
    struct in6_addr:
        pass
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
    struct mmsghdr:
        msghdr msg_hdr
        unsigned int msg_len
    ssize_t send(int fd, const void *data, size_t n, int flags) nogil
    ssize_t recv(int fd, void *data, size_t n, int flags) nogil
    int recvmmsg(int fd, mmsghdr *messages, unsigned int count, int flags, void *timeout) nogil
    int sendmmsg(int fd, mmsghdr *messages, unsigned int count, int flags) nogil
    const char *inet_ntop(int family, const void *address, char *text, socklen_t room) nogil
    int inet_pton(int family, const char *text, void *address) nogil
    uint16_t htons(uint16_t value) nogil
    uint16_t ntohs(uint16_t value) nogil

cdef enum:
    BATCH = 64              # datagrams in one call; with more, the cost of the call itself no longer matters
    ROOM = 65536            # bytes for each, the maximum of UDP; pages take memory once written


@cython.final
cdef class DatagramBatch:
    """Receives and sends on one non-blocking UDP socket.

    Args:
        fd: the socket's file descriptor; the caller keeps it open.
    """

    cdef int fd
    cdef uint8_t *buffers
    cdef mmsghdr messages[BATCH]
    cdef iovec parts[BATCH]
    cdef sockaddr_storage addresses[BATCH]

    def __cinit__(self, int fd):
        cdef int i
        self.fd = fd
        self.buffers = <uint8_t *>PyMem_Malloc(BATCH * ROOM)
        if self.buffers == NULL:
            raise MemoryError()
        memset(self.messages, 0, sizeof(self.messages))
        for i in range(BATCH):
            self.messages[i].msg_hdr.msg_iov = &self.parts[i]
            self.messages[i].msg_hdr.msg_iovlen = 1
            self.messages[i].msg_hdr.msg_name = &self.addresses[i]

    def __dealloc__(self):
        PyMem_Free(self.buffers)

    def receive(self):
        """Receives up to 64 datagrams that have arrived.

        Returns:
            List of (bytes, address), maybe empty. An address is (host, port), or for IPv6 (host, port, flow,
            scope), as in the socket module.

        Raises:
            OSError: the socket cannot be read.
        """
        cdef int i, count
        cdef list found
        for i in range(BATCH):
            self.parts[i].iov_base = self.buffers + i * ROOM
            self.parts[i].iov_len = ROOM
            self.messages[i].msg_hdr.msg_namelen = sizeof(sockaddr_storage)
        count = recvmmsg(self.fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
        if count < 0:
            if errno == EAGAIN or errno == EINTR:
                return []
            raise OSError(errno, "receiving datagrams")
        found = []
        for i in range(count):
            found.append((
                PyBytes_FromStringAndSize(<const char *>self.parts[i].iov_base, self.messages[i].msg_len),
                address_of(&self.addresses[i])))
        return found

    def send(self, list replies not None):
        """Sends datagrams in order; those that the kernel refuses are lost, as UDP allows.

        Args:
            replies: list of (bytes, address).

        Returns:
            Int, how many were sent.

        Raises:
            ValueError: an address is not an IP address of the socket's family.
        """
        cdef tuple all_replies = tuple(replies)     # keeps every reply alive and in place
        cdef Py_ssize_t total = len(all_replies), at = 0, sent_all = 0
        cdef int i, count, sent
        cdef bytes data
        cdef tuple reply
        while at < total:
            count = <int>min(total - at, BATCH)
            for i in range(count):
                reply = all_replies[at + i]
                if reply is None or len(reply) != 2 or reply[0] is None:
                    raise TypeError("replies: expected pairs (bytes, address)")
                data = reply[0]
                self.parts[i].iov_base = <void *>PyBytes_AS_STRING(data)
                self.parts[i].iov_len = <size_t>PyBytes_GET_SIZE(data)
                self.messages[i].msg_hdr.msg_namelen = put_address(reply[1], &self.addresses[i])
            sent = sendmmsg(self.fd, self.messages, count, MSG_DONTWAIT)
            # An error concerns the first datagram that was not sent: that one is lost, and the rest is tried.
            at += sent if sent > 0 else 1
            sent_all += sent if sent > 0 else 0
        return sent_all


def exchange(int fd, bytearray out not None):
    """Sends all of `out` on a blocking socket and receives once, with the GIL released once.

    Args:
        fd: the socket's file descriptor.
        out: bytearray; bytes that were sent are removed.

    Returns:
        Bytes, up to 64 KiB; b"" if the peer has closed the connection; None after a signal, whose handlers
        have run, or if only part of `out` was sent in time: the caller goes on with the time left.

    Raises:
        BlockingIOError: SO_SNDTIMEO or SO_RCVTIMEO has passed.
        OSError: any other error.
    """
    cdef char buffer[65536]
    cdef bytes data = bytes(out)    # no thread changes it while the GIL is released
    cdef const char *p = PyBytes_AS_STRING(data)
    cdef size_t left = <size_t>PyBytes_GET_SIZE(data)
    cdef ssize_t n = 0
    cdef int error = 0
    with nogil:
        if left:
            n = send(fd, p, left, MSG_NOSIGNAL)
            error = errno
            if n >= 0:
                left -= <size_t>n
                if left:
                    # A signal, or the time is over: a second send would restart the time.
                    n = -1
                    error = EINTR
        if n >= 0:
            n = recv(fd, buffer, sizeof(buffer), 0)
            error = errno
    del out[:PyBytes_GET_SIZE(data) - <Py_ssize_t>left]
    if n >= 0:
        return PyBytes_FromStringAndSize(buffer, n)
    if error != EINTR:
        raise OSError(error, "exchanging with DISC")
    PyErr_CheckSignals()
    return None


cdef tuple address_of(const sockaddr_storage *address):
    cdef char text[46]
    cdef char *end
    cdef const sockaddr_in *four = <const sockaddr_in *>address
    cdef const sockaddr_in6 *six = <const sockaddr_in6 *>address
    if address.ss_family == AF_INET:
        end = put_ipv4(text, <const uint8_t *>&four.sin_addr)
        return (text[:end - text].decode("ascii"), ntohs(four.sin_port))
    inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof(text))
    return (text.decode("ascii"), ntohs(six.sin6_port), six.sin6_flowinfo, six.sin6_scope_id)


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


cdef socklen_t put_address(tuple address, sockaddr_storage *out) except 0:
    cdef sockaddr_in *four = <sockaddr_in *>out
    cdef sockaddr_in6 *six = <sockaddr_in6 *>out
    cdef Span host
    cdef int port
    if address is None or len(address) < 2:
        raise ValueError(f"address {address!r}: expected (host, port)")
    # Only integers: the __index__ of another object could call `send` meanwhile.
    if not all([isinstance(number, int) for number in address[1:]]):
        raise TypeError(f"address {address!r}: expected numbers after the host")
    port = address[1]
    if not 0 <= port <= 65535:
        raise ValueError(f"address {address!r}: expected a port up to 65535")
    span_of(address[0], &host, "address")
    memset(out, 0, sizeof(sockaddr_storage))
    if inet_pton(AF_INET, <const char *>host.p, &four.sin_addr) == 1:
        four.sin_family = AF_INET
        four.sin_port = htons(<uint16_t>port)
        return sizeof(sockaddr_in)
    if inet_pton(AF_INET6, <const char *>host.p, &six.sin6_addr) == 1:
        six.sin6_family = AF_INET6
        six.sin6_port = htons(<uint16_t>port)
        if len(address) > 3:
            six.sin6_flowinfo = address[2]
            six.sin6_scope_id = address[3]
        return sizeof(sockaddr_in6)
    raise ValueError(f"address {address!r}: no IP address")
