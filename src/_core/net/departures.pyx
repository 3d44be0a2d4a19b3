"""Datagrams to be sent together: many in one call, and runs of equal ones as one (UDP_SEGMENT).

::

    reply 1  420 bytes ──► proxy    ┐
    reply 2  420 bytes ──► proxy    ├─ one message of 1,260 bytes, in parts of 420   ┐
    reply 3  420 bytes ──► proxy    ┘                                                ├─ one sendmmsg
    reply 4  396 bytes ──► phone    ── one message                                   ┘

With UDP_SEGMENT a run goes through the kernel's network stack once, and is cut into datagrams at its end. The
usual case is a proxy in front, which all replies go to. Where the kernel, the device or the path refuses it, each
datagram of that run is sent by itself, and none is lost. A kernel before Linux 4.18 would not refuse it, but send
the run as one datagram, so it is asked first.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, EINVAL, EIO, EMSGSIZE, ENOBUFS, errno
from libc.stdint cimport uint8_t, uint16_t
from libc.string cimport memcmp, memset

from auth_diameter._core.net.addresses cimport (
    CMSG_DATA, CMSG_LEN, CMSG_SPACE, MSG_DONTWAIT, SOL_UDP, UDP_SEGMENT, Address, cmsghdr, getsockopt, mmsghdr,
    sendmmsg, size_of, socklen_t, source_of,
)

cdef enum:
    MOST_PARTS = 64         # of a message: UDP_MAX_SEGMENTS of Linux
    MOST_BYTES = 64_000     # of a message, less than an IP packet may have


@cython.final
cdef class Departures:
    """Departures(fd, segments=True)\n--\n
    Datagrams that wait to be sent on one non-blocking UDP socket. Not for use by several threads at once.

    Args:
        fd: the socket's file descriptor; the caller keeps it open.
        segments: whether UDP_SEGMENT is tried.

    Attributes:
        segments: bool, whether runs of equal datagrams are given to the kernel as one; False where the kernel does
            not know that, and after a device refused it.
        sent: int, the number of datagrams sent so far.
        lost: int, the number of datagrams that the kernel refused, as UDP allows.
    """

    def __cinit__(self, int fd, bint segments=True):
        cdef int value
        cdef socklen_t size = sizeof(value)
        self.fd = fd
        self.segments = segments and getsockopt(fd, SOL_UDP, UDP_SEGMENT, &value, &size) == 0
        self.most_segment = MOST_BYTES

    cdef void add(self, uint8_t *data, size_t n, const Address *to) noexcept nogil:
        """Appends a datagram, whose bytes stay in place until `flush`."""
        if self.count == QUEUE:
            self.flush()
        self.parts[self.count].iov_base = data
        self.parts[self.count].iov_len = n
        self.to[self.count] = to[0]
        self.count += 1

    def take(self):
        """Removes the datagrams that wait.

        Returns:
            List of (bytes, address), in order.
        """
        cdef list found = []
        cdef int i
        for i in range(self.count):
            found.append(((<uint8_t *>self.parts[i].iov_base)[:self.parts[i].iov_len], source_of(&self.to[i])))
        self.count = 0
        return found

    cdef void flush(self) noexcept nogil:
        """Sends all datagrams, in order."""
        cdef int start = 0, end, n, done, i, error
        while start < self.count:
            n = self.fill(start, &end)
            done = sendmmsg(self.fd, self.messages, n, MSG_DONTWAIT)
            error = errno
            for i in range(done):
                self.sent += self.messages[i].msg_hdr.msg_iovlen
            if done == n:
                start = end
                continue
            # An error concerns the first message that was not sent. After some were sent, the next call shows it.
            if done < 0:
                done = 0
            start = self.first[done]
            if done == 0 and error != EINTR:
                n = <int>self.messages[0].msg_hdr.msg_iovlen
                self.refused(start, n, error)
                start += n
        self.count = 0

    cdef int fill(self, int start, int *end) noexcept nogil:
        """Makes messages of the datagrams from `start` up to `end`, BATCH at most.

        Returns:
            The number of messages.
        """
        cdef int n = 0, run
        cdef mmsghdr *message
        cdef cmsghdr *header
        while start < self.count and n < BATCH:
            run = self.run_from(start) if self.segments else 1
            message = &self.messages[n]
            memset(message, 0, sizeof(mmsghdr))
            message.msg_hdr.msg_name = &self.to[start]
            message.msg_hdr.msg_namelen = size_of(&self.to[start])
            message.msg_hdr.msg_iov = &self.parts[start]
            message.msg_hdr.msg_iovlen = <size_t>run
            if run > 1:
                header = <cmsghdr *>self.control[n]
                header.cmsg_level = SOL_UDP
                header.cmsg_type = UDP_SEGMENT
                header.cmsg_len = CMSG_LEN(sizeof(uint16_t))
                (<uint16_t *>CMSG_DATA(header))[0] = <uint16_t>self.parts[start].iov_len
                message.msg_hdr.msg_control = header
                message.msg_hdr.msg_controllen = CMSG_SPACE(sizeof(uint16_t))
            self.first[n] = start
            start += run
            n += 1
        end[0] = start
        return n

    cdef int run_from(self, int start) noexcept nogil:
        """The number of datagrams from `start` on that have one size and one address."""
        cdef size_t size = self.parts[start].iov_len, total = size
        cdef int at = start + 1
        if size > self.most_segment:
            return 1
        while at < self.count and at - start < MOST_PARTS and size <= MOST_BYTES - total and (
                self.parts[at].iov_len == size and self.is_same_address(start, at)):
            total += size
            at += 1
        return at - start

    cdef bint is_same_address(self, int a, int b) noexcept nogil:
        return memcmp(&self.to[a], &self.to[b], size_of(&self.to[a])) == 0

    cdef void refused(self, int start, int n, int error) noexcept nogil:
        """Handles a message of `n` datagrams that the kernel did not take."""
        cdef uint64_t before = self.sent
        cdef int i
        if n == 1 or error == EAGAIN or error == ENOBUFS:
            self.lost += <uint64_t>n
            return
        for i in range(start, start + n):
            memset(&self.messages[0], 0, sizeof(mmsghdr))
            self.messages[0].msg_hdr.msg_name = &self.to[i]
            self.messages[0].msg_hdr.msg_namelen = size_of(&self.to[i])
            self.messages[0].msg_hdr.msg_iov = &self.parts[i]
            self.messages[0].msg_hdr.msg_iovlen = 1
            if sendmmsg(self.fd, self.messages, 1, MSG_DONTWAIT) == 1:
                self.sent += 1
            else:
                self.lost += 1
        if self.sent == before:
            return      # the address is at fault, or a packet filter; whoever forges an address changes nothing
        if error == EIO:
            self.segments = False       # the device cannot compute the checksums
        elif error == EINVAL or error == EMSGSIZE:
            # The parts do not fit the path. Smaller ones may.
            self.most_segment = self.parts[start].iov_len - 1
