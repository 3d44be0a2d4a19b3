"""The datagrams of a SIP server on one UDP socket: how requests come in, and how replies go out.

::

    recvmmsg ─► Slots ─► take_datagram, for each ─► judge_turn ─► end_turn
                                                                             the reply, where
                             sendmmsg ◄─ Departures ◄────────────────────── Transactions keep it

What becomes of a datagram is a subclass's: a `RequestPath` has the default route, `ScriptRequests` a route script.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from auth_diameter._core.net.addresses cimport Address, port_of, put_address, set_port
from auth_diameter._core.net.departures cimport Departures
from auth_diameter._core.path.slots cimport Slots
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.transactions cimport MOST_KEPT, Entry, Transactions


cdef class DatagramPath(SlotOwner):
    """The datagrams of one UDP socket. Not for use by several threads at once.

    Args:
        fd: file descriptor of the non-blocking UDP socket; the caller keeps it open. -1: there is none; then the
            caller hands datagrams in with `take`, and takes the replies from `departures`.
        transactions: Transactions.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
        amplification: bytes that the reply to a request that is not let through may have, in times those of the
            request.

    Attributes:
        departures: Departures, the replies that wait to be sent.
        is_open: bool, whether new requests are handled here; if not, all are odd.
        received: int, the datagrams that came.
        retransmissions: int, the requests that came again.
        slow: int, the requests and answers that Python handled.
    """

    def __cinit__(self, int fd, Transactions transactions not None, *args, size_t max_size, int max_headers,
                  size_t amplification, **settings):
        self.fd = fd
        self.transactions = transactions
        self.departures = Departures(fd)
        self.max_size = max_size
        self.max_headers = max_headers
        self.amplification = amplification
        self.is_open = True
        self.slots = Slots()
        self.slots.fill(self)

    def close(self):
        """Ends the way, which must be open no more: nothing is sent any more."""
        self.is_closed = True

    # ------------------------------------------------------------------ requests

    def receive(self, double now):
        """Receives up to 64 datagrams that have arrived, and takes each as far as it goes.

        Args:
            now: seconds, monotonic.

        Returns:
            Int, the number of datagrams; with fewer than 64, no other has arrived.

        Raises:
            OSError: the socket cannot be read.
        """
        cdef int i, n, error
        self.begin_turn()
        with nogil:
            n = self.slots.receive(self.fd)
            error = errno
            for i in range(n):
                self.take_datagram(i, now)
            self.judge_turn(now)
            self.end_read()
        self.end_turn(now)
        if n >= 0:
            return n
        if error == EAGAIN or error == EINTR:
            return 0
        raise OSError(error, "receiving datagrams")

    def take(self, bytes data not None, tuple source not None, double now):
        """Takes one datagram, as `receive` takes those of its socket.

        Args:
            data: bytes, up to 65,535.
            source: the address it came from, (host, port, …).
            now: seconds, monotonic.

        Raises:
            ValueError: `data` is too long, or `source` has no IP address.
        """
        self.begin_turn()
        self.slots.put(data, source)
        self.take_datagram(0, now)
        self.judge_turn(now)
        self.end_read()
        self.end_turn(now)

    cdef int begin_turn(self) except -1:
        """Gets ready for the datagrams of one read."""
        return 0

    cdef void take_datagram(self, int i, double now) noexcept nogil:
        """Takes the datagram of that number in the last read as far as it goes."""

    cdef void judge_turn(self, double now) noexcept nogil:
        """Judges what was asked about the datagrams of one read, if that is done together."""

    cdef int end_turn(self, double now) except -1:
        """Does what is left of one read."""
        return 0

    # ------------------------------------------------------------------ replies

    @property
    def replied(self):
        """The number of replies that were sent from here, int."""
        return self.departures.sent

    def answer(self, SipRequest request not None, bytes reply not None, size_t most=0):
        """Ends a request with its reply; `flush` sends it.

        A request that was not let through gets at most `amplification` times its own bytes, or `most` if that is
        more.

        Args:
            request: SipRequest that came from an IP address.
            reply: bytes; b"" for none.
            most: bytes that the reply may always have.

        Returns:
            Whether the reply is small enough; if not, the request is not ended.

        Raises:
            TypeError: the request has no source.
            ValueError: its source is no IP address.
        """
        cdef Address source
        if request.source is None:
            raise TypeError("request: expected one with its source")
        put_address(request.source, &source)
        return self.answer_to(request, reply, most, &source)

    cdef bint answer_to(self, SipRequest request, bytes reply, size_t most, Address *source) except -1:
        """As `answer`, with the address that the request came from."""
        cdef size_t n = <size_t>PyBytes_GET_SIZE(reply)
        cdef int port = port_of(source)
        cdef const uint64_t *fingerprint = request.fingerprint()
        cdef uint64_t at
        cdef uint8_t *place
        if n > self.amplification * request.m.size and n > most and request.authorized is None:
            return False
        # Nor does the kernel take so many bytes: such a reply is lost, as on the network.
        if n == 0 or n > MOST_KEPT or self.is_closed:
            return True
        if not request.m.via.has_rport and request.m.via.protocol_and_host.p != NULL:
            port = request.m.via.port or 5060       # RFC 3261, 18.2.2
        place = self.reserve(n, &at)
        memcpy(place, PyBytes_AS_STRING(reply), n)
        self.transactions.keep(fingerprint, place, n, port)
        self.send(place, at, n, source, port)
        return True

    def flush(self):
        """Sends the replies that wait. One that the kernel refuses is lost: the client retransmits."""
        self.end_read()

    cdef void send_again(self, const Entry *entry, const Address *source) noexcept nogil:
        """Answers a retransmission (RFC 3261, 17.2.2): the same reply; nothing as long as there is none."""
        self.retransmissions += 1
        if entry.reply_size:
            self.send(self.transactions.reply_of(entry), entry.reply_at, entry.reply_size, source,
                      <int>entry.reply_port)

    cdef uint8_t *reserve(self, size_t room, uint64_t *at) noexcept nogil:
        """Makes room for a reply; first sends those that wait, if it could overwrite one of them.

        Args:
            room: bytes, MOST_KEPT at most.
            at: set to a position in the ring, that of the reply or an earlier one.

        Returns:
            The place.
        """
        at[0] = self.transactions.head
        # What does not fit at the end of the ring goes to its start.
        if self.departures.count and at[0] + 2 * (room + 8) - self.unsent_from > self.transactions.room:
            self.end_read()
        return self.transactions.reserve(room)

    cdef void send(self, const uint8_t *reply, uint64_t at, size_t size, const Address *source,
                   int port) noexcept nogil:
        """Has a reply sent that stays in place.

        Args:
            at: position of the reply in the ring of the Transactions, or an earlier one.
            source: the address that the request came from.
            port: the port that the reply goes to.
        """
        cdef Address to = source[0]
        set_port(&to, port)
        if self.departures.count == 0 or at < self.unsent_from:
            self.unsent_from = at
        self.departures.add(<uint8_t *>reply, size, &to)

    cdef void end_read(self) noexcept nogil:
        if self.fd >= 0 and not self.is_closed:
            self.departures.flush()
