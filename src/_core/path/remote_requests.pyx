"""The way of a request through a SIP server that asks DISC: the questions, and what becomes of their answers.

::

    ask_about ─► Penalties ─► Application.put         answers of one read ─► cause_of ─► Penalties
                    │           into the Wire                                    │
                    │refused                                                     ▼
                    ▼                                                the reply, written where
                Departures ◄────────────────────────────────────     Transactions keep it

`InFlight.received` calls `conclude`. Besides what `RequestPath` names, odd are attempts that are held, whatever
finds no connection that takes it at once, and failures of DISC.
"""

cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Flight, Question
from auth_diameter._core.auth.rulings cimport (
    CAUSE_AUTHORIZED, CAUSE_CHALLENGED, CAUSE_PENALIZED, CAUSE_RECHALLENGED, is_error_of_back_end,
)
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.diameter.application cimport AnswerView, Asked, keep_identifiers
from auth_diameter._core.digest.params cimport MAX_PARAMETER, NONCE, plain_value
from auth_diameter._core.net.addresses cimport is_ipv4
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport cause_of, is_guess
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.requests cimport DONE, IN_FLIGHT, ODD, RequestPath, host_of
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.state.delegations cimport Delegations
from auth_diameter._core.state.keys cimport Network, account_of, network_of_ipv4, network_of_ipv6
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.penalties cimport ADMITTED, MUST_WAIT, REFUSED, Penalties
from auth_diameter._core.state.transactions cimport Transactions

cdef enum:
    MOST_SLOTS = 4096           # in flight, 5 KiB each
    MOST_BYTES = 16 << 20       # of the requests that are asked about, those of Python included


@cython.final
cdef class RemoteRequests(RequestPath):
    """The way of the requests of one UDP socket, about which DISC is asked.

    Args:
        fd: as for `RequestPath`, and so are those without a line here.
        transactions: Transactions.
        decisions: Decisions.
        adopt: function of a Question that a request became, with its deadline. It sets the callback, and must not
            raise.
        in_flight: InFlight, the questions of the client.
        penalties: Penalties, or None: guesses are not counted.
        watch: NonceIssuers, or None with a single DISC.
        delegations: Delegations, whose nonces are left to Python, or None.
        realm: str.
        timeout: seconds that a question may take.
        max_size: int.
        max_headers: int.
        max_question: bytes that a question may have.
        tells_source: whether DISC is told where a request came from.
        amplification: int.
        one_challenge: int.
    """

    def __cinit__(self, int fd, Transactions transactions not None, Decisions decisions not None, adopt,
                  InFlight in_flight not None, Penalties penalties, NonceIssuers watch,
                  Delegations delegations=None, *, str realm not None,
                  double timeout, size_t max_size, int max_headers, size_t max_question, bint tells_source,
                  size_t amplification, size_t one_challenge):
        self.in_flight = in_flight
        self.penalties = penalties
        self.watch = watch
        self.delegations = delegations
        self.timeout = timeout
        self.max_question = max_question
        self.tells_source = tells_source
        in_flight.owners.append(self)

    def close(self):
        RequestPath.close(self)
        if self in self.in_flight.owners:
            self.in_flight.owners.remove(self)

    # ------------------------------------------------------------------ from the request to the question

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
        cdef uint8_t unescaped[MAX_PARAMETER]
        memset(&asked, 0, sizeof(asked))
        asked.request = &s.message
        asked.credentials = &s.asking.credentials if s.asking.has_credentials else NULL
        asked.realm = s.asking.realm
        if self.delegations is not None and asked.credentials != NULL and self.delegations.knows(
                plain_value(asked.credentials, NONCE, unescaped)):
            return ODD
        if self.tells_source:
            asked.source = host_of(s)
        memcpy(asked.fingerprint, s.fingerprint, sizeof(asked.fingerprint))
        room = self.in_flight.application.room(&asked)
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
        written(<Wire>found, self.in_flight.application.put(out, &asked))
        keep_identifiers(&asked, &s.flight)
        s.flight.deadline = now + self.timeout
        s.flight.attempts = 0
        s.flight.was_refused = False
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

    cdef void release(self, Flight *flight) noexcept nogil:
        self.slots.give_back(<Slot *>flight)

    cdef bint conclude(self, Flight *flight, const AnswerView *view, double now) noexcept nogil:
        cdef Slot *s = <Slot *>flight
        cdef const AnswerFields *says = &view.says
        cdef int cause
        if says.response_auth.p != NULL or says.nextnonce.p != NULL or view.delegation.ha1.p != NULL:
            return False
        cause = cause_of(says, &s.asking.credentials if s.asking.has_credentials else NULL, False)
        if is_error_of_back_end(cause) or not self.reply(s, cause, says):
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

    # ------------------------------------------------------------------ what Python handles

    def take_back(self):
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

    cdef Question question_of(self, Flight *flight):
        cdef Slot *s = <Slot *>flight
        cdef Question question = None
        self.slow += 1
        self.ended(s)
        try:
            question = self.question_about(s, self.tells_source)
            question.flight.deadline = flight.deadline
            question.flight.attempts = flight.attempts
            question.flight.msgid = flight.msgid
            question.flight.end_to_end = flight.end_to_end
            question.flight.session[0] = flight.session[0]
            question.flight.session[1] = flight.session[1]
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


cdef inline bint takes_one(Wire wire) noexcept nogil:
    """Whether one more question on a connection changes nothing else."""
    return wire.is_calm and wire.out_size <= wire.room


cdef inline void written(Wire wire, size_t n) noexcept nogil:
    wire.out_size += n
