"""The slots of one UDP socket: where datagrams are received, and what is free again."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from auth_diameter._core.net.addresses cimport MSG_DONTWAIT, Address, put_address, recvmmsg
from auth_diameter._core.path.slot cimport INLINE, Slot
from auth_diameter._core.sip.parse cimport release_request

cdef enum:
    OVERFLOW = 65536 - INLINE   # bytes of the largest datagram that do not fit its slot


@cython.final
cdef class Slots:
    """The slots of one UDP socket. A slot that was in use stays allocated for the next datagram."""

    def __dealloc__(self):
        cdef int i
        for i in range(BATCH):
            if self.batch[i] != NULL:
                self.batch[i].next = NULL
                self.free_all(self.batch[i])
        self.free_all(self.unused)
        self.free_all(self.odd_first)
        free(self.overflow)

    cdef int fill(self, object owner) except -1:
        """Makes the slots for the first read.

        Args:
            owner: SlotOwner, which owns this object.
        """
        cdef int i
        self.owner = <PyObject *>owner
        self.overflow = <uint8_t *>malloc(BATCH * OVERFLOW)
        if self.overflow == NULL:
            raise MemoryError()
        for i in range(BATCH):
            self.batch[i] = self.new_slot()
            if self.batch[i] == NULL:
                raise MemoryError()
            self.prepare(i)
        return 0

    cdef int receive(self, int fd) noexcept nogil:
        """Receives up to BATCH datagrams that have arrived; `arrived` has each.

        Returns:
            Their number; negative with errno set, if the socket cannot be read.
        """
        return recvmmsg(fd, self.messages, BATCH, MSG_DONTWAIT, NULL)

    def put(self, bytes data not None, tuple source not None):
        """Puts a datagram where `receive` puts the first one.

        Args:
            data: bytes, up to 65,535.
            source: the address it came from, (host, port, …).

        Raises:
            ValueError: `data` is too long, or `source` has no IP address.
        """
        cdef Slot *s = self.batch[0]
        cdef size_t n = <size_t>PyBytes_GET_SIZE(data)
        cdef const char *p = PyBytes_AS_STRING(data)
        if not n <= INLINE + OVERFLOW:
            raise ValueError(f"data: {n} bytes are more than a datagram has")
        put_address(source, &s.source)
        memcpy(s.inline_data, p, n if n < INLINE else INLINE)
        if n > INLINE:
            memcpy(self.overflow, p + INLINE, n - INLINE)
        self.messages[0].msg_len = <unsigned int>n

    cdef Slot *arrived(self, int i) noexcept nogil:
        """Takes the slot with a datagram out of the batch, and puts an empty one there.

        Args:
            i: the number of the datagram in the last read.

        Returns:
            The slot; NULL if there is no memory: the datagram is lost, as on the network.
        """
        cdef Slot *s = self.batch[i]
        cdef Slot *fresh = self.new_slot()
        s.size = self.messages[i].msg_len
        if fresh != NULL and s.size > INLINE:
            s.data = <uint8_t *>malloc(s.size)
            if s.data != NULL:
                memcpy(s.data, s.inline_data, INLINE)
                memcpy(s.data + INLINE, self.overflow + i * OVERFLOW, s.size - INLINE)
            else:
                s.data = s.inline_data
                self.give_back(fresh)
                fresh = NULL
        if fresh != NULL:
            self.batch[i] = fresh
        self.prepare(i)
        return s if fresh != NULL else NULL

    cdef void give_back(self, Slot *s) noexcept nogil:
        """Frees a slot for the next datagram."""
        self.empty(s)
        s.next = self.unused
        self.unused = s

    cdef void add_odd(self, Slot *s) noexcept nogil:
        """Appends a slot to those that Python is to handle."""
        s.next = NULL
        if self.odd_last != NULL:
            self.odd_last.next = s
        else:
            self.odd_first = s
        self.odd_last = s

    cdef Slot *next_odd(self) noexcept nogil:
        """Removes the first slot that Python is to handle; NULL: there is none."""
        cdef Slot *s = self.odd_first
        if s != NULL:
            self.odd_first = s.next
            if self.odd_first == NULL:
                self.odd_last = NULL
        return s

    cdef void free_all(self, Slot *s) noexcept nogil:
        """Frees the memory of a chain of slots."""
        cdef Slot *following
        while s != NULL:
            following = s.next
            self.empty(s)
            free(s)
            s = following

    cdef Slot *new_slot(self) noexcept nogil:
        """An empty slot; NULL without memory."""
        cdef Slot *s = self.unused
        if s != NULL:
            self.unused = s.next
            return s
        s = <Slot *>malloc(sizeof(Slot))
        if s != NULL:
            memset(s, 0, sizeof(Slot))
            s.data = s.inline_data
            s.message.lines = s.message.inline_lines
            s.flight.in_slot = True
            s.flight.owner = self.owner
        return s

    cdef void empty(self, Slot *s) noexcept nogil:
        """Frees what a slot has on the heap."""
        release_request(&s.message)
        if s.data != s.inline_data:
            free(s.data)
            s.data = s.inline_data

    cdef void prepare(self, int i) noexcept nogil:
        """Has the next datagram at that place of the batch go into its slot."""
        cdef Slot *s = self.batch[i]
        self.parts[2 * i].iov_base = s.inline_data
        self.parts[2 * i].iov_len = INLINE
        self.parts[2 * i + 1].iov_base = self.overflow + i * OVERFLOW
        self.parts[2 * i + 1].iov_len = OVERFLOW
        memset(&self.messages[i], 0, sizeof(self.messages[i]))
        self.messages[i].msg_hdr.msg_iov = &self.parts[2 * i]
        self.messages[i].msg_hdr.msg_iovlen = 2
        self.messages[i].msg_hdr.msg_name = &s.source
        self.messages[i].msg_hdr.msg_namelen = sizeof(Address)
