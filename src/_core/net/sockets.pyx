"""System calls on sockets that the caller owns, several at a time.

`DatagramBatch` receives and sends many datagrams in one call: at a hundred thousand requests a second, one
call each would cost most of the time. `exchange` sends a question and receives the answer with the GIL
released once: where many threads ask, each acquisition is another wait.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t
from libc.string cimport memset

from auth_diameter._core.net.addresses cimport (
    MSG_DONTWAIT, MSG_NOSIGNAL, Address, iovec, mmsghdr, put_address, recv, recvmmsg, send, sendmmsg, source_of,
)

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1

cdef enum:
    BATCH = 64              # datagrams in one call; with more, the cost of the call itself no longer matters
    ROOM = 65536            # bytes for each, the maximum of UDP; pages take memory once written


@cython.final
cdef class DatagramBatch:
    """Receives and sends on one non-blocking UDP socket. Not for use by several threads at once.

    Args:
        fd: the socket's file descriptor; the caller keeps it open.
    """

    cdef int fd
    cdef uint8_t *buffers
    cdef mmsghdr messages[BATCH]
    cdef iovec parts[BATCH]
    cdef Address addresses[BATCH]

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
            self.messages[i].msg_hdr.msg_namelen = sizeof(Address)
        count = recvmmsg(self.fd, self.messages, BATCH, MSG_DONTWAIT, NULL)
        if count < 0:
            if errno == EAGAIN or errno == EINTR:
                return []
            raise OSError(errno, "receiving datagrams")
        found = []
        for i in range(count):
            found.append((
                PyBytes_FromStringAndSize(<const char *>self.parts[i].iov_base, self.messages[i].msg_len),
                source_of(&self.addresses[i])))
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


cdef ssize_t send_and_receive(
        int fd, const void *p, size_t *left, char *buffer, size_t room, int *error) noexcept nogil:
    cdef size_t size = left[0]
    cdef ssize_t n = 0
    if size:
        n = send(fd, p, size, MSG_NOSIGNAL)
        error[0] = errno
        if n >= 0:
            left[0] = size - <size_t>n
            if left[0]:
                # A signal, or the time is over: a second send would restart the time.
                n = -1
                error[0] = EINTR
    if n >= 0:
        n = recv(fd, buffer, room, 0)
        error[0] = errno
    return n


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
    cdef ssize_t n
    cdef int error = 0
    with nogil:
        n = send_and_receive(fd, p, &left, buffer, sizeof(buffer), &error)
    del out[:PyBytes_GET_SIZE(data) - <Py_ssize_t>left]
    if n >= 0:
        return PyBytes_FromStringAndSize(buffer, n)
    if error != EINTR:
        raise OSError(error, "exchanging with DISC")
    PyErr_CheckSignals()
    return None
