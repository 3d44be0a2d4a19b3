"""The way of a request through a SIP server with the default route: from datagram to reply, in two calls.

::

    datagrams of one read                                                      answers of one read
            │  recvmmsg, straight into slots                                           │
            ▼                                                                          ▼
    parse_request ─► fingerprint ─► Transactions ─► ask_about ─► Penalties      cause_of ─► Penalties
                                        │known          │           │refused           │
                                        │               ▼           │                  │
                                        │    put_authentication     │                  ▼
                                        │      into the Wire        │     the reply, written where
                                        ▼                           ▼     Transactions keep it
                                    Departures ◄────────────────────┴──────────────────┘
                                        │  sendmmsg
                                        ▼
                                     replies

`RequestPath.receive` is the left half; `InFlight.received` calls the right one, `conclude`. Neither needs the GIL.

What is out of the ordinary is odd, and goes to Python: a request as SipRequest, by `take_odd`; a request that
DISC is asked about as Question, by `adopt`. Odd are malformed requests and credentials, qop=auth-int,
Authentication-Info, hashed usernames that DISC names, attempts that are held, a reply that is too large, whatever
finds no connection that takes it at once, and failures of DISC. Python uses the same functions on the same
structs.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Flight, Question
from auth_diameter._core.auth.rulings cimport (
    CAUSE_AUTHORIZED, CAUSE_BYPASSED, CAUSE_CHALLENGED, CAUSE_DISC_REFUSED, CAUSE_DISC_UNUSABLE, CAUSE_PENALIZED,
    CAUSE_RECHALLENGED, challenge_header, phrase_of, status_of,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport span_of_bytes, text_of
from auth_diameter._core.diameter.disc_answer cimport AnswerView
from auth_diameter._core.diameter.disc_question cimport Asked, authentication_room, put_authentication
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, QOP_AUTH_INT, plain_value
from auth_diameter._core.net.addresses cimport (
    Address, flow_of, is_ipv4, port_of, put_host, scope_of, set_port, source_of,
)
from auth_diameter._core.net.departures cimport Departures
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport ASK, ask_about, cause_of, domain_of_user, is_guess
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.path.notes cimport Notes
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.slots cimport Slots
from auth_diameter._core.sip.contacts cimport MOST_CONTACTS, bindings_room, put_bindings, read_bindings
from auth_diameter._core.sip.fingerprint cimport fingerprint_of
from auth_diameter._core.sip.parse cimport (
    METHOD_ACK, METHOD_CANCEL, METHOD_REGISTER, SipMessage, parse_request,
)
from auth_diameter._core.sip.reply cimport (
    can_reply, put_reply_end, put_reply_header, put_reply_start, reply_room,
)
from auth_diameter._core.sip.request cimport SipRequest
from auth_diameter._core.state.keys cimport Network, account_of, network_of_ipv4, network_of_ipv6
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport ADMITTED, MUST_WAIT, REFUSED, Penalties
from auth_diameter._core.state.transactions cimport MOST_KEPT, Entry, Transactions

from auth_diameter._core.auth.question import authentication
from auth_diameter._core.errors import ParseError

cdef enum:
    # What became of a datagram
    DONE, IN_FLIGHT, ODD

cdef enum:
    # Where the realm comes from
    REALM_FROM, REALM_TO, REALM_REQUEST, REALM_OF_USER, REALM_TEXT, REALM_UNKNOWN

cdef enum:
    MOST_SLOTS = 4096           # in flight, 5 KiB each
    MOST_BYTES = 16 << 20       # of the requests that are asked about, those of Python included

cdef dict _REALMS = {
    "$fd": REALM_FROM, "$td": REALM_TO, "$rd": REALM_REQUEST, "$od": REALM_REQUEST, "": REALM_OF_USER,
}


@cython.final
cdef class RequestPath(SlotOwner):
    """The way of the requests of one UDP socket through the default route.

    Not for use by several threads at once.

    Args:
        fd: file descriptor of the non-blocking UDP socket; the caller keeps it open. -1: there is none; then the
            caller hands datagrams in with `take`, and takes the replies from `departures`.
        in_flight: InFlight, the questions of the client.
        transactions: Transactions.
        decisions: Decisions, in which the decisions are counted.
        watch: NonceIssuers, or None with a single DISC.
        penalties: Penalties, or None: guesses are not counted.
        adopt: function of a Question that a request became, with its deadline. It sets the callback, and must not
            raise.
        realm: the realm, str: "" for the domain of the user, "$fd", "$td" or "$rd" for that of From, To or the
            Request-URI, or text without pseudo-variables. With any other, all requests are odd.
        timeout: seconds that a question may take.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.
        max_question: bytes that a question may have.
        tells_source: whether DISC is told where a request came from.
        amplification: bytes that a refusal may have, in times those of its request.
        one_challenge: bytes that a refusal with a single challenge may always have.

    Attributes:
        departures: Departures, the replies that wait to be sent.
        is_open: bool, whether new requests are judged here; if not, all are odd.
        received: int, the datagrams that came.
        retransmissions: int, the requests that came again.
        slow: int, the requests and answers that Python handled.
        in_slots: int, the requests that DISC is asked about.
    """

    def __cinit__(self, int fd, InFlight in_flight not None, Transactions transactions not None,
                  Decisions decisions not None, Penalties penalties, NonceIssuers watch, adopt, *,
                  str realm not None, double timeout, size_t max_size, int max_headers, size_t max_question,
                  bint tells_source, size_t amplification, size_t one_challenge):
        self.fd = fd
        self.in_flight = in_flight
        self.transactions = transactions
        self.decisions = decisions
        self.penalties = penalties
        self.watch = watch
        self.adopt = adopt
        self.departures = Departures(fd)
        self.timeout = timeout
        self.max_size = max_size
        self.max_headers = max_headers
        self.max_question = max_question
        self.tells_source = tells_source
        self.amplification = amplification
        self.one_challenge = one_challenge
        self.realm_from = _REALMS.get(realm, REALM_UNKNOWN if "$" in realm else REALM_TEXT)
        self.realm_text = realm.encode("utf-8", "surrogateescape")
        self.realm_span = span_of_bytes(self.realm_text)
        self.is_open = True
        self.notes = Notes()
        self.slots = Slots()
        self.slots.fill(self)
        in_flight.owners.append(self)

    def close(self):
        """Ends the way, which must be open no more.

        Raises:
            ValueError: DISC is still asked about requests; see `take_back`.
        """
        if self.in_slots:
            raise ValueError(f"close: DISC is asked about {self.in_slots} requests")
        if self in self.in_flight.owners:
            self.in_flight.owners.remove(self)

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
        with nogil:
            n = self.slots.receive(self.fd)
            error = errno
            for i in range(n):
                self.take_datagram(i, now)
            self.end_read()
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
        self.slots.put(data, source)
        self.take_datagram(0, now)
        self.end_read()

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

    cdef void release(self, Flight *flight) noexcept nogil:
        self.slots.give_back(<Slot *>flight)

    cdef int begin(self, Slot *s, double now) noexcept nogil:
        """Parses a datagram, and answers a retransmission.

        Returns:
            DONE, IN_FLIGHT or ODD.
        """
        cdef SipMessage *m = &s.message
        cdef const Entry *entry
        s.fingerprint[0] = s.fingerprint[1] = 0
        # All but the lines, of which the parser writes those that there are.
        memset(m, 0, <size_t>(<uint8_t *>m.inline_lines - <uint8_t *>m))
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
        self.set_realm(s)
        if ask_about(&s.message, &s.asking) != ASK:
            return ODD
        if s.asking.has_credentials and s.asking.credentials.qop == QOP_AUTH_INT:
            return ODD
        return self.ask(s, now)

    cdef void set_realm(self, Slot *s) noexcept nogil:
        """Sets the realm; an empty one is a missing one here, and odd."""
        cdef const SipMessage *m = &s.message
        if self.realm_from == REALM_FROM:
            s.asking.realm = m.from_.host
        elif self.realm_from == REALM_TO:
            s.asking.realm = m.to.host
        elif self.realm_from == REALM_REQUEST:
            s.asking.realm = m.request_uri.host
        elif self.realm_from == REALM_OF_USER:
            s.asking.realm = domain_of_user(m, s.asking.proxy)
        elif self.realm_from == REALM_TEXT:
            s.asking.realm = self.realm_span
        else:
            s.asking.realm = Span(NULL, 0)

    cdef int ask(self, Slot *s, double now) noexcept nogil:
        """Writes the question about a request to the Wire with the fewest questions.

        Returns:
            IN_FLIGHT; DONE if the request is refused because of guesses; or ODD.
        """
        cdef PyObject *found
        cdef Asked asked
        cdef uint32_t msgid
        cdef uint8_t *out
        cdef size_t room
        cdef int admitted
        memset(&asked, 0, sizeof(asked))
        asked.request = &s.message
        asked.credentials = &s.asking.credentials if s.asking.has_credentials else NULL
        asked.realm = s.asking.realm
        if self.tells_source:
            asked.source = host_of(s)
            memcpy(asked.session, s.fingerprint, sizeof(asked.session))
        asked.end_to_end = <uint32_t>s.fingerprint[0] or 1
        room = authentication_room(&asked)
        if self.in_flight.in_slots >= MOST_SLOTS or self.in_flight.size > MOST_BYTES:
            return ODD
        found = self.in_flight.best()
        if found == NULL or room > self.max_question or not takes_one(<Wire>found):
            return ODD
        out = (<Wire>found).reserve(room)
        if out == NULL or not self.in_flight.claim_msgid(&msgid):
            return ODD
        admitted = self.admit(s, now)
        if admitted != IN_FLIGHT:
            return admitted
        asked.msgid = msgid
        written(<Wire>found, put_authentication(out, &asked))
        s.flight.deadline = now + self.timeout
        s.flight.attempts = 0
        self.in_flight.enter(&s.flight, <Wire>found, msgid, now)
        self.in_slots += 1
        self.in_flight.size += <Py_ssize_t>s.size
        return IN_FLIGHT

    cdef int admit(self, Slot *s, double now) noexcept nogil:
        """Counts the attempt to verify the credentials.

        Returns:
            IN_FLIGHT if DISC may be asked; DONE if the request was refused because of guesses; or ODD.
        """
        cdef uint8_t room[MAX_PARAMETER]
        cdef Network network
        cdef int state
        s.trial.state = 0
        if self.penalties is None or not s.asking.has_credentials:
            return IN_FLIGHT
        if is_ipv4(&s.source):
            network = network_of_ipv4(<const uint8_t *>&s.source.four.sin_addr)
        else:
            network = network_of_ipv6(s.source.six.sin6_addr.s6_addr)
        state = self.penalties.begin_trial(account_of(&s.asking.credentials, room), s.asking.realm, network, now,
                                           &s.trial)
        if state == MUST_WAIT:
            return ODD
        if state != REFUSED:
            return IN_FLIGHT
        if not self.reply(s, CAUSE_PENALIZED, NULL):
            return ODD
        count(self.decisions, CAUSE_PENALIZED)
        self.notes.add(s, CAUSE_PENALIZED)
        return DONE

    # ------------------------------------------------------------------ from the answer to the reply

    cdef bint conclude(self, Flight *flight, const AnswerView *view, double now) noexcept nogil:
        cdef Slot *s = <Slot *>flight
        cdef const AnswerFields *says = &view.says
        cdef int cause
        if says.response_auth.p != NULL or says.nextnonce.p != NULL or says.user_name.p != NULL:
            return False
        cause = cause_of(says, &s.asking.credentials if s.asking.has_credentials else NULL, False)
        if cause == CAUSE_DISC_UNUSABLE or cause == CAUSE_DISC_REFUSED or not self.reply(s, cause, says):
            return False
        self.ended(s)
        self.end_trial(s, cause, says.refused, now)
        if self.watch is not None:
            self.note_nonces(s, cause, says, now)
        count(self.decisions, cause)
        if cause != CAUSE_AUTHORIZED and cause != CAUSE_CHALLENGED:
            self.notes.add(s, cause)
        return True

    cdef void ended(self, const Slot *s) noexcept nogil:
        """Counts one request less that DISC is asked about."""
        self.in_slots -= 1
        self.in_flight.size -= <Py_ssize_t>s.size

    cdef void end_trial(self, Slot *s, int cause, int refused, double now) noexcept nogil:
        if self.penalties is None or s.trial.state != ADMITTED:
            return
        if cause == CAUSE_AUTHORIZED:
            self.penalties.right_trial(&s.trial, now)
        elif is_guess(cause, refused):
            self.penalties.wrong_trial(&s.trial, now)
        else:
            self.penalties.neither_trial(&s.trial, now)

    cdef void note_nonces(self, const Slot *s, int cause, const AnswerFields *says, double now) noexcept nogil:
        """Notes which DISC issued and which accepted a nonce."""
        cdef uint8_t room[MAX_PARAMETER]
        cdef Span used = Span(NULL, 0)
        if s.asking.has_credentials:
            used = plain_value(&s.asking.credentials, NONCE, room)
        if cause == CAUSE_AUTHORIZED:
            self.watch.saw_authorized(used, (<Wire>s.flight.wire).peer_number, now)
        elif cause == CAUSE_CHALLENGED or cause == CAUSE_RECHALLENGED:
            self.watch.saw_challenges(used, (<Wire>s.flight.wire).peer_number, says.challenge,
                                      <size_t>says.challenges, now)

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

    def take_back(self):
        """Removes the requests that DISC is asked about, since the server is closed.

        Returns:
            List of Question, in the order of deadlines; each went to `adopt`.
        """
        cdef Flight *flight = self.in_flight.first
        cdef Flight *after
        cdef list found = []
        while flight != NULL:
            after = flight.after
            if flight.in_slot and flight.owner == <PyObject *>self:
                self.in_flight.expect_late(flight.msgid)
                found.append(self.in_flight.take_question(flight))
            flight = after
        return found

    cdef SipRequest request_of(self, Slot *s):
        cdef bytes data = PyBytes_FromStringAndSize(<const char *>s.data, <Py_ssize_t>s.size)
        cdef SipRequest request = SipRequest(
            data, source_of(&s.source), max_size=self.max_size, max_headers=self.max_headers)
        request.keep_fingerprint(s.fingerprint)
        return request

    cdef Question question_of(self, Flight *flight):
        cdef Slot *s = <Slot *>flight
        cdef SipRequest request
        cdef Question question = None
        self.slow += 1
        self.ended(s)
        try:
            request = self.request_of(s)
            realm = text_of(s.asking.realm)
            credentials = request.credentials(realm, s.asking.proxy) if s.asking.has_credentials else None
            question = authentication(request, realm, credentials, s.asking.proxy, self.tells_source)
            question.flight.deadline = flight.deadline
            question.flight.attempts = flight.attempts
            question.flight.msgid = flight.msgid
            if self.penalties is not None and s.trial.state == ADMITTED:
                question.attempt = self.penalties.attempt_of(&s.trial)
            self.adopt(question)
            return question
        except BaseException:
            # The request gets no reply. An attempt without an end would hold up its user's next ones for ever.
            if question is not None and question.attempt is not None:
                self.penalties.neither(question.attempt, flight.deadline)
            elif self.penalties is not None:
                self.penalties.neither_trial(&s.trial, flight.deadline)
            raise
        finally:
            self.release(flight)

    # ------------------------------------------------------------------ refusals for the log

    @property
    def has_notes(self):
        """Whether `take_notes` has something to return, bool."""
        return self.notes.count > 0

    def take_notes(self):
        """Removes the refusals noted for the log; the same as `Notes.take`."""
        return self.notes.take()


cdef inline Span host_of(const Slot *s) noexcept nogil:
    return Span(<const uint8_t *>s.host, s.host_size)


cdef inline bint takes_one(Wire wire) noexcept nogil:
    """Whether one more question on a connection changes nothing else."""
    return wire.is_calm and wire.out_size <= wire.room


cdef inline void written(Wire wire, size_t n) noexcept nogil:
    wire.out_size += n
