"""What is done on blocking sockets, for compiled code."""


# Sends `left` bytes and receives once; from then on `left` is what was not sent. Returns the bytes received, 0 if
# the peer has closed the connection, or -1 with the errno: EAGAIN if a time-out of the socket has passed, EINTR
# after a signal or if only a part was sent in time.
cdef ssize_t send_and_receive(
    int fd, const void *p, size_t *left, char *buffer, size_t room, int *error) noexcept nogil
