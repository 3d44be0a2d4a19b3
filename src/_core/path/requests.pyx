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
from auth_diameter._core.net.addresses cimport flow_of, port_of, put_host, scope_of, source_of
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.datagrams cimport DatagramPath
from auth_diameter._core.path.decide cimport ASK, ask_about
from auth_diameter._core.path.notes cimport Notes
from auth_diameter._core.path.realm cimport new_realm, set_realm
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.sip.contacts cimport MOST_CONTACTS, bindings_room, put_bindings, read_bindings
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, SipMessage, clear_request, parse_request,
)
from auth_diameter._core.sip.reply cimport (
    can_reply, put_reply_end, put_reply_header, put_reply_start, reply_room,
)
from auth_diameter._core.sip.request cimport SipRequest, new_request
from auth_diameter._core.state.transactions cimport MOST_KEPT, Entry, Transactions

from auth_diameter._core.errors import ParseError


cdef class RequestPath(DatagramPath):
    """The way of the requests of one UDP socket through the default route; its back end is a subclass's.

    Args:
        fd: as for `DatagramPath`, and so are those without a line here.
        transactions: Transactions.
        decisions: Decisions, in which the decisions are counted.
        adopt: function of a Question that a request became. It must not raise.
        realm: the realm, str: "" for the domain of the user, "$fd", "$td" or "$rd" for that of From, To or the
            Request-URI, or text without pseudo-variables. With any other, all requests are odd.
        max_size: int.
        max_headers: int.
        amplification: int.
        one_challenge: bytes that a refusal with a single challenge may always have.

    Attributes:
        in_slots: int, the requests that a back end is asked about.
    """

    def __cinit__(self, int fd, Transactions transactions not None, Decisions decisions not None, adopt, *args,
                  str realm not None, size_t one_challenge, **settings):
        self.decisions = decisions
        self.adopt = adopt
        self.one_challenge = one_challenge
        self.realm = new_realm(realm, None)
        self.notes = Notes()

    def close(self):
        """Ends the way, which must be open no more.

        Raises:
            ValueError: a back end is still asked about requests; see `take_back`.
        """
        if self.in_slots:
            raise ValueError(f"close: the back end is asked about {self.in_slots} requests")
        DatagramPath.close(self)

    # ------------------------------------------------------------------ from the datagram to the question

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
        self.send_again(entry, &s.source)
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
        self.send(place, at, size, &s.source, port)
        return True

    # ------------------------------------------------------------------ what Python handles

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
        cdef SipRequest request = new_request(data, source_of(&s.source), self.max_size, self.max_headers)
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
