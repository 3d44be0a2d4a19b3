"""The way of a request through a SIP server with the default route: from datagram to reply.

::

    datagrams of one read ─► parse_request ─► fingerprint ─► Transactions ─► ask_about ─► ask, the back end
      recvmmsg, straight into slots                              │known         │           │
                                                                 │              │refused    ▼
                                                                 │              ▼        conclude
                                                                 │         the reply, where │
                                                                 ▼       Transactions keep it
                                                             Departures ◄───────┴───────────┘
                                                                 │  sendmmsg
                                                                 ▼
                                                              replies

A `RemoteRequests` asks DISC, a `LocalRequests` judges here. Neither needs the GIL.

What is out of the ordinary is odd, and goes to Python: a request as SipRequest, by `take_odd`; a request that
is asked about as Question. Odd are malformed requests and credentials, qop=auth-int, Authentication-Info, a reply
that is too large, and failures of the back end. Python uses the same functions on the same structs.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question, new_question
from auth_diameter._core.auth.rulings cimport (
    CAUSE_AUTHORIZED, CAUSE_BYPASSED, CAUSE_CHALLENGED, CAUSE_RECHALLENGED, challenge_header, phrase_of, status_of,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport text_of
from auth_diameter._core.digest.credentials cimport Credentials
from auth_diameter._core.digest.params cimport QOP_AUTH_INT
from auth_diameter._core.net.addresses cimport Address, flow_of, port_of, put_host, scope_of, set_port, source_of
from auth_diameter._core.net.departures cimport Departures
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport ASK, ask_about
from auth_diameter._core.path.notes cimport Notes
from auth_diameter._core.path.realm cimport new_realm, set_realm
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.slots cimport Slots
from auth_diameter._core.sip.contacts cimport MOST_CONTACTS, bindings_room, put_bindings, read_bindings
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, SipMessage, clear_request, parse_request,
)
from auth_diameter._core.sip.reply cimport (
    can_reply, put_reply_end, put_reply_header, put_reply_start, reply_room,
)
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.transactions cimport MOST_KEPT, Entry, Transactions

from auth_diameter._core.errors import ParseError

cdef class RequestPath(SlotOwner):
    """The way of the requests of one UDP socket through the default route; its back end is a subclass's.

    Not for use by several threads at once.

    Args:
        fd: file descriptor of the non-blocking UDP socket; the caller keeps it open. -1: there is none; then the
            caller hands datagrams in with `take`, and takes the replies from `departures`.
        transactions: Transactions.
        decisions: Decisions, in which the decisions are counted.
        adopt: function of a Question that a request became. It must not raise.
        realm: the realm, str: "" for the domain of the user, "$fd", "$td" or "$rd" for that of From, To or the
            Request-URI, or text without pseudo-variables. With any other, all requests are odd.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
        amplification: bytes that a refusal may have, in times those of its request.
        one_challenge: bytes that a refusal with a single challenge may always have.

    Attributes:
        departures: Departures, the replies that wait to be sent.
        is_open: bool, whether new requests are judged here; if not, all are odd.
        received: int, the datagrams that came.
        retransmissions: int, the requests that came again.
        slow: int, the requests and answers that Python handled.
        in_slots: int, the requests that a back end is asked about.
    """

    def __cinit__(self, int fd, Transactions transactions not None, Decisions decisions not None, adopt, *args,
                  str realm not None, size_t max_size, int max_headers, size_t amplification,
                  size_t one_challenge, **settings):
        self.fd = fd
        self.transactions = transactions
        self.decisions = decisions
        self.adopt = adopt
        self.departures = Departures(fd)
        self.max_size = max_size
        self.max_headers = max_headers
        self.amplification = amplification
        self.one_challenge = one_challenge
        self.realm = new_realm(realm, None)
        self.is_open = True
        self.notes = Notes()
        self.slots = Slots()
        self.slots.fill(self)

    def close(self):
        """Ends the way, which must be open no more.

        Raises:
            ValueError: a back end is still asked about requests; see `take_back`.
        """
        if self.in_slots:
            raise ValueError(f"close: the back end is asked about {self.in_slots} requests")

    # ------------------------------------------------------------------ from the datagram to the question

    def receive(self, double now):
        """Receives up to 64 datagrams that have arrived, and takes each as far as it goes.

        Afterwards the questions are in their Wires, and the caller drains `take_odd` and `take_notes`.

        Args:
            now: seconds, monotonic.

        Returns:
            Int, the number of datagrams.

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

    cdef void judge_turn(self, double now) noexcept nogil:
        """Judges what was asked about the datagrams of one read, if that is done together."""

    cdef int end_turn(self, double now) except -1:
        """Does what is left of one read."""
        return 0

    cdef int ask(self, Slot *s, double now) noexcept nogil:
        """Asks the back end about a request.

        Returns:
            IN_FLIGHT; DONE if the request has its reply; or ODD.
        """
        return ODD

    cdef void take_datagram(self, int i, double now) noexcept nogil:
        """Takes the datagram of that number in the last read as far as it goes."""
        cdef Slot *s = self.slots.arrived(i)
        cdef int result
        self.received += 1
        if s == NULL:
            return
        result = self.begin(s, now)
        if result == DONE:
            self.slots.give_back(s)
        elif result == ODD:
            self.slow += 1
            self.slots.add_odd(s)

    cdef int begin(self, Slot *s, double now) noexcept nogil:
        """Parses a datagram, and answers a retransmission.

        Returns:
            DONE, IN_FLIGHT or ODD.
        """
        cdef SipMessage *m = &s.message
        cdef const Entry *entry
        s.fingerprint[0] = s.fingerprint[1] = 0
        clear_request(m)
        if not parse_request(m, s.data, s.size, self.max_size, self.max_headers):
            return ODD
        if m.method == METHOD_ACK:
            # It has no transaction of its own: each ACK belongs to one copy of a retransmitted reply.
            count(self.decisions, CAUSE_BYPASSED)
            return DONE
        s.host_size = put_host(s.host, &s.source)
        fingerprint_of(s.data, s.size, host_of(s), <uint32_t>port_of(&s.source), flow_of(&s.source),
                       scope_of(&s.source), s.fingerprint)
        entry = self.transactions.known(s.fingerprint, now)
        if entry == NULL:
            return self.judge(s, now)
        # RFC 3261, 17.2.2: the same reply again; nothing as long as there is none.
        self.retransmissions += 1
        if entry.reply_size:
            self.send(s, self.transactions.reply_of(entry), entry.reply_at, entry.reply_size,
                      <int>entry.reply_port)
        return DONE

    cdef int judge(self, Slot *s, double now) noexcept nogil:
        """Judges a new request as far as that goes without DISC.

        Returns:
            DONE, IN_FLIGHT or ODD.
        """
        if not self.is_open:
            return ODD
        if s.message.method == METHOD_CANCEL:
            if not self.reply(s, CAUSE_BYPASSED, NULL):
                return ODD
            count(self.decisions, CAUSE_BYPASSED)
            return DONE
        s.asking.proxy = s.message.method != METHOD_REGISTER
        set_realm(self.realm, &s.message, &s.asking)
        if ask_about(&s.message, &s.asking) != ASK:
            return ODD
        if s.asking.has_credentials and s.asking.credentials.qop == QOP_AUTH_INT:
            return ODD
        return self.ask(s, now)

    # ------------------------------------------------------------------ the reply

    cdef bint reply(self, Slot *s, int cause, const AnswerFields *says) noexcept nogil:
        """Writes the reply where the Transactions keep it, and has it sent.

        A request without right credentials gets fewer challenges, if the reply would be too large otherwise.

        Args:
            cause: CAUSE_…; CAUSE_AUTHORIZED and CAUSE_BYPASSED are answered with 200.
            says: the answer, NULL: there is none; CAUSE_CHALLENGED and CAUSE_RECHALLENGED send its challenges.

        Returns:
            False if Python is to make the reply: it is too large, or a Contact is malformed.
        """
        cdef const SipMessage *m = &s.message
        cdef bint lets_in = cause == CAUSE_AUTHORIZED or cause == CAUSE_BYPASSED
        cdef int status = 200 if lets_in else status_of(cause, s.asking.proxy)
        cdef Span phrase = phrase_of(status), header = challenge_header(s.asking.proxy)
        cdef int challenges = says.challenges if cause == CAUSE_CHALLENGED or cause == CAUSE_RECHALLENGED else 0
        cdef int contacts = 0, port = port_of(&s.source), i
        cdef size_t offset, size, room = reply_room(m, phrase, host_of(s)), most = self.amplification * s.size
        cdef uint64_t at
        cdef uint8_t *place
        cdef uint8_t *q
        if not can_reply(m):
            return True
        if lets_in and m.method == METHOD_REGISTER:
            contacts = read_bindings(m, self.bindings, MOST_CONTACTS, &offset)
            if contacts < 0:
                return False
            room += bindings_room(self.bindings, contacts)
        for i in range(challenges):
            room += header.n + says.challenge[i].n + 4
        if not room <= MOST_KEPT:
            return False
        place = self.reserve(room, &at)
        while True:
            q = put_reply_start(place, m, status, phrase, host_of(s), port, s.fingerprint[1])
            for i in range(challenges):
                q = put_reply_header(q, header, says.challenge[i])
            q = put_reply_end(put_bindings(q, self.bindings, contacts), Span(NULL, 0))
            size = <size_t>(q - place)
            if cause == CAUSE_AUTHORIZED or size <= most or (challenges == 1 and size <= self.one_challenge):
                break
            if challenges <= 1:
                return False
            challenges -= 1
        if not m.via.has_rport and m.via.protocol_and_host.p != NULL:
            port = m.via.port or 5060       # RFC 3261, 18.2.2
        self.transactions.keep(s.fingerprint, place, size, port)
        self.send(s, place, at, size, port)
        return True

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

    cdef void send(self, const Slot *s, const uint8_t *reply, uint64_t at, size_t size, int port) noexcept nogil:
        """Has a reply sent that stays in place, at that position in the ring of the Transactions or behind it."""
        cdef Address to = s.source
        set_port(&to, port)
        if self.departures.count == 0 or at < self.unsent_from:
            self.unsent_from = at
        self.departures.add(<uint8_t *>reply, size, &to)

    cdef void end_read(self) noexcept nogil:
        if self.fd >= 0:
            self.departures.flush()

    # ------------------------------------------------------------------ what Python handles

    @property
    def replied(self):
        """The number of replies that were sent from here, int."""
        return self.departures.sent

    @property
    def has_odd(self):
        """Whether `take_odd` has something to return, bool."""
        return self.slots.odd_first != NULL

    def take_odd(self):
        """Removes the requests that are odd.

        Returns:
            List of SipRequest, which the Transactions know, or ParseError, in order.
        """
        cdef list found = []
        cdef Slot *s = self.slots.next_odd()
        while s != NULL:
            try:
                found.append(self.request_of(s))
            except ParseError as error:
                found.append(error)
            finally:
                self.slots.give_back(s)
            s = self.slots.next_odd()
        return found

    cdef SipRequest request_of(self, Slot *s):
        cdef bytes data = PyBytes_FromStringAndSize(<const char *>s.data, <Py_ssize_t>s.size)
        cdef SipRequest request = SipRequest(
            data, source_of(&s.source), max_size=self.max_size, max_headers=self.max_headers)
        request.keep_fingerprint(s.fingerprint)
        return request

    cdef Question question_about(self, Slot *s, bint tells_source):
        """The question about a request, as an object."""
        cdef SipRequest request = self.request_of(s)
        cdef Credentials credentials = None
        if s.asking.has_credentials:
            credentials = request.credentials(text_of(s.asking.realm), s.asking.proxy)
        return new_question(request, text_of(s.asking.realm), credentials, s.asking.proxy, tells_source)

    # ------------------------------------------------------------------ refusals for the log

    @property
    def has_notes(self):
        """Whether `take_notes` has something to return, bool."""
        return self.notes.count > 0

    def take_notes(self):
        """Removes the refusals noted for the log; the same as `Notes.take`."""
        return self.notes.take()

    def take_back(self):
        """Removes the requests that a back end is asked about, since the server is closed.

        Returns:
            List of Question, in the order of deadlines; each went to `adopt`.
        """
        return []
