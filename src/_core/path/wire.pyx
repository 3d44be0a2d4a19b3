"""One connection to a peer, without its socket; and the ids of the questions on all connections of the process."""

import os
import secrets

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.math cimport NAN, isnan
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

from auth_diameter._core.diameter.stream cimport DEFAULT_LIMIT, MessageStream

cdef extern from *:
    """
    #include <stdatomic.h>
    #include <stdint.h>
    /* The next SIP-MSGID of the process: each thread and each client takes its own. */
    static _Atomic uint32_t ad_msgid;
    static inline uint32_t ad_next_msgid(void)
    {
        return atomic_fetch_add_explicit(&ad_msgid, 1, memory_order_relaxed);
    }
    static inline void ad_restart_msgids(uint32_t first) { atomic_store(&ad_msgid, first); }
    """
    uint32_t ad_next_msgid() noexcept nogil
    void ad_restart_msgids(uint32_t first) noexcept nogil

cdef enum:
    LEAST_OUT = 8192            # bytes, of a dozen questions
    MOST_UNSENT = 1 << 20       # bytes of questions that wait to be sent on a connection
    MOST_OTHERS = 1000          # messages of one read that are no answers to questions


def restart_msgids(first=None):
    """Sets the next SIP-MSGID of the process.

    Args:
        first: int, for tests; None: a random one.
    """
    ad_restart_msgids(<uint32_t>(secrets.randbits(32) if first is None else first))


restart_msgids()
os.register_at_fork(after_in_child=restart_msgids)      # the child counts on its own


def next_hop_by_hop():
    """The next Hop-by-Hop Identifier of the process, int: those of all connections are different."""
    return ad_next_msgid()


cdef uint32_t next_msgid() noexcept nogil:
    """The next SIP-MSGID of the process; each thread and each client takes its own."""
    return ad_next_msgid()


cdef class Wire(MessageStream):
    """Wire(limit=65536)\n--\n
    One connection to a peer without its socket: the bytes to be sent, and the answers that come.

    Not for use by several threads at once.

    Args:
        limit: bytes an answer may have, 20 to 2**24; 64 KiB by default.

    Attributes:
        room: int, the bytes to be sent from which on no question is added. With one more question, they are 1
            MiB at most.
        under_way: int, the number of questions on it that wait for an answer.
        peer_number: int, the number of its peer among those of the client; set by its owner.
        fd: int, the file descriptor of its blocking socket, for compiled code that asks by itself; set by its
            owner. -1: there is none.
        is_calm: bool, whether a question and its answer change nothing in the state machine of the connection;
            set by its owner.
        fault: the ParseError that ended the stream of answers, or None.
    """

    def __cinit__(self, limit=DEFAULT_LIMIT):
        self.room = MOST_UNSENT - self.limit if self.limit < MOST_UNSENT else 1
        self.asked = self.heard = NAN
        self.fd = -1

    def __dealloc__(self):
        free(self.out)

    @property
    def asked_at(self):
        """When the first question since the last byte was sent, seconds, monotonic; None: no question was."""
        return None if isnan(self.asked) else self.asked

    @property
    def heard_at(self):
        """When the last byte came, seconds, monotonic; None: no byte ever did."""
        return None if isnan(self.heard) else self.heard

    @property
    def unsent(self):
        """The number of bytes to be sent, int."""
        return self.out_size

    def append(self, bytes data not None):
        """Appends bytes to those to be sent."""
        cdef size_t n = <size_t>PyBytes_GET_SIZE(data)
        cdef uint8_t *out = self.reserve(n)
        if out == NULL:
            raise MemoryError()
        memcpy(out, PyBytes_AS_STRING(data), n)
        self.out_size += n

    def take_unsent(self):
        """Removes the bytes to be sent.

        Returns:
            Bytes.
        """
        cdef bytes out = PyBytes_FromStringAndSize(<const char *>self.out, <Py_ssize_t>self.out_size)
        self.out_size = 0
        return out

    cdef void drop_sent(self, size_t size) noexcept nogil:
        """Removes bytes that were sent."""
        self.out_size -= size
        if self.out_size:
            memmove(self.out, self.out + size, self.out_size)

    cdef int add_other(self, bytes message) except -1:
        """Puts a message aside that is no answer to a question; of more than a peer has reason to send, none."""
        if self.others is None:
            self.others = []
        if len(self.others) < MOST_OTHERS:
            self.others.append(message)
        return 0

    def take_others(self):
        """Removes the messages that are no answers to questions: requests, and those of the base protocol.

        Returns:
            List of bytes, each a whole message.
        """
        cdef list others = self.others
        self.others = None
        return others or []

    @property
    def has_others(self):
        """Whether `take_others` returns any, bool."""
        return self.others is not None

    cdef uint8_t *reserve(self, size_t size) noexcept nogil:
        """Makes room for `size` bytes behind those to be sent.

        Returns:
            Where they go; NULL without memory.
        """
        cdef size_t room
        cdef void *more
        if not size <= self.out_room - self.out_size:
            room = 2 * self.out_room if 2 * self.out_room > LEAST_OUT else LEAST_OUT
            if not size <= room - self.out_size:
                room = self.out_size + size
            more = realloc(self.out, room)
            if more == NULL:
                return NULL
            self.out = <uint8_t *>more
            self.out_room = room
        return self.out + self.out_size
