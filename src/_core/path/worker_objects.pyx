"""The way of a SipRequest through a client of worker processes: one question at a time, on a blocking socket.

::

    decide ─► ask_about ─► Penalties ─► Question ─┬─► socket ─► answer ─┬─► Decision: it is let in
                │ nothing to ask                  │                     └─► policy ─► Decision
                ▼                                 ▼ not calm
              None: the client goes on           the Question: the client asks it

For a script (see script_calls.pyx) the return code is enough, and no Decision is made of what lets a request in.

Here is what happens while all is calm: an idle connection is open, no peer is in doubt, and nothing is due. The
policy, an object of Python, takes all other answers, and what a question leads to that has none.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.ref cimport PyObject
from libc.errno cimport EAGAIN
from libc.math cimport INFINITY
from libc.stdint cimport uint8_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Question, new_question
from auth_diameter._core.auth.rulings cimport CAUSE_AUTHORIZED
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport is_same_text
from auth_diameter._core.digest.credentials cimport Credentials, new_credentials
from auth_diameter._core.digest.params cimport MAX_PARAMETER
from auth_diameter._core.net.sockets cimport send_and_receive
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport ASK, Asking, ask_about, is_bypassed
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.realm cimport Realm
from auth_diameter._core.path.remote_objects cimport lets_in, note_login
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.sip.request cimport SipRequest, host_of_source
from auth_diameter._core.state.breakers cimport MOST_PEERS, Breakers
from auth_diameter._core.state.nonce_watch cimport NonceIssuers
from auth_diameter._core.state.keys cimport Network, account_of
from auth_diameter._core.state.penalties cimport ADMITTED, ENDED, MUST_WAIT, REFUSED, Penalties
from auth_diameter._core.state.tallies cimport Trial

cdef extern from *:
    """
    #include <time.h>

    /* Seconds of the clock that time.monotonic() reads; no object, no call of Python. */
    static double ad_monotonic(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    }

    /* Whether no other thread of Python is there to take the GIL, so that this one may keep it while it waits.
     * Without a GIL the garbage collector stops all threads, and must not wait for one that receives. */
    static int ad_is_only_thread(void)
    {
    #ifdef Py_GIL_DISABLED
        return 0;
    #else
        return PyThreadState_Next(PyInterpreterState_ThreadHead(PyInterpreterState_Get())) == NULL;
    #endif
    }
    """
    double ad_monotonic() noexcept nogil
    bint ad_is_only_thread() noexcept

cdef enum:
    READ = 4096         # bytes of an answer; a longer one comes in several reads
    CLOSED = -1         # for `go_on`: the peer has closed the connection


@cython.final
cdef class WorkerObjects(ObjectPath):
    """The way of SipRequests through one client of worker processes. Not for use by several threads at once.

    Args:
        policy: what Python decides. Its methods are `compile`, as for `ObjectPath`, and

            - refuse_penalized(question): the Decision on credentials that are refused because of guesses;
            - conclude(question, answer): the Decision on an answer that does not just let in;
            - judge_connection(wire): is told that more than an answer came on a connection, or no Diameter;
            - go_on(question, error): the Decision on a question in flight that has no answer so far; `error` is
              the errno of its socket, 0 if there is none, or -1 if the peer has closed the connection.

        in_flight: InFlight of the client; this becomes its `concluder`.
        decisions: Decisions, in which the decisions are counted.
        breakers: Breakers, which the workers have in common.
        places: those of the peers, in the order of their numbers.
        penalties: Penalties, or None: guesses are not counted.
        watch: NonceIssuers, or None with a single DISC.
        clock: function that returns seconds, monotonic; None: `time.monotonic`.
        timeout: seconds that a question may take. If the time-out of its socket is shorter, Python goes on then.
        max_question: bytes that a question may have.
        tells_source: whether DISC is told where a request came from.
        max_size: bytes that a request may have.
        max_headers: header fields that a request may have.

    Attributes:
        calm_until: float, when Python has something to do before the next question; at first at once.
        seen: int, the version of the breakers that Python has seen.
    """

    def __cinit__(self, policy, InFlight in_flight not None, Decisions decisions not None,
                  Breakers breakers not None, places, Penalties penalties, NonceIssuers watch, clock, *,
                  double timeout, size_t max_question, bint tells_source, **settings):
        self.in_flight = in_flight
        self.decisions = decisions
        self.breakers = breakers
        for place in places[:MOST_PEERS]:
            self.places[self.place_count] = place
            self.place_count += 1
        self.penalties = penalties
        self.watch = watch
        self.clock = clock
        self.timeout = timeout
        self.max_question = max_question
        self.tells_source = tells_source
        self.calm_until = -INFINITY
        self.seen = -1
        self.answered = []
        in_flight.concluder = self

    def decide(self, request, realm, bint proxy):
        """The Decision on a request, counted; the Question that is to be asked; None: nothing was decided.

        Args:
            request: SipRequest or bytes.
            realm: str, which may contain pseudo-variables.
            proxy: whether a proxy authenticates, not a UAS.

        Raises:
            ConfigError: `realm` has an unknown pseudo-variable.
        """
        return self.judge(request, realm, proxy, False) if type(request) is SipRequest else None

    cdef object judge(self, SipRequest request, object realm, bint proxy, bint in_script):
        """As `decide`; in a script a request that is let in has the return code, int, and no Decision."""
        cdef Asking asking
        cdef Question question
        cdef Credentials credentials = None
        cdef Trial trial
        cdef uint8_t room[MAX_PARAMETER]
        cdef Span account
        cdef Network network
        cdef double now
        trial.state = ENDED
        asking.proxy = proxy
        asking.has_credentials = False
        _kept = self.expand_realm(self.realm_known(realm), request, &asking)
        if is_bypassed(&request.m) or ask_about(&request.m, &asking) != ASK:
            return None
        if asking.has_credentials:
            credentials = new_credentials(request.data, &asking.credentials)
        question = new_question(request, self.realm_text(asking.realm), credentials, proxy, self.tells_source)
        if self.in_flight.application.room_of(question) > self.max_question:
            return None
        now = self.now()
        if credentials is not None and self.penalties is not None and request.source is not None:
            account = account_of(&credentials.fields, room)
            network = self.penalties.network_of(host_of_source(request))
            if self.penalties.begin_trial(account, asking.realm, network, now, &trial) == MUST_WAIT:
                with nogil:
                    self.penalties.begin_among_all(account, asking.realm, network, now, &trial)
            if trial.state == REFUSED:
                decision = self.policy.refuse_penalized(question)
                self.add_up(decision)
                return decision
        self.in_script = in_script
        wire = self.calm_wire(now)
        return self.for_python(question, &trial) if wire is None else self.converse(question, wire, &trial, now)

    cdef Realm realm_known(self, object text):
        """As `realm_named`; mostly the same as for the last request."""
        if type(text) is not str:
            return self.realm_named(text)
        if self.known is None or not is_same_text(text, self.known_text):
            self.known = self.realm_named(text)
            self.known_text = text
        return self.known

    cdef double now(self) except? -1:
        return ad_monotonic() if self.clock is None else self.clock()

    def ask_at_once(self, Question question not None):
        """The Decision on a question, counted; or the Question itself, if Python is to ask it.

        Args:
            question: Question that is not in flight.
        """
        cdef Trial trial
        trial.state = ENDED
        now = self.now()
        self.in_script = False
        wire = self.calm_wire(now)
        return question if wire is None else self.converse(question, wire, &trial, now)

    cdef Question for_python(self, Question question, Trial *trial):
        """The question with its attempt as an object, if it has one: from here on Python ends it."""
        if trial.state != ENDED:
            question.attempt = self.penalties.attempt_of(trial)
        return question

    cdef Wire calm_wire(self, double now):
        """An idle connection, on which a question and its answer change nothing; None: Python is to ask."""
        cdef PyObject *found
        cdef Wire wire
        if now >= self.calm_until or <long long>self.breakers.board.version != self.seen:
            return None
        found = self.in_flight.best()
        if found == NULL:
            return None
        wire = <Wire>found
        return wire if wire.is_calm and not wire.under_way and not wire.out_size and wire.fd >= 0 else None

    cdef object converse(self, Question question, Wire wire, Trial *trial, double now):
        """Sends a question and receives its answer: the Decision, or the Question, if Python is to ask it."""
        cdef char buffer[READ]
        cdef int place = self.place_of(wire)
        cdef int error = 0
        cdef size_t left
        cdef ssize_t n
        cdef object found
        question.flight.deadline = now + self.timeout
        self.in_flight.put(wire, question, now)
        left = wire.out_size
        if ad_is_only_thread():
            n = send_and_receive(wire.fd, wire.out, &left, buffer, sizeof(buffer), &error)
        else:
            with nogil:
                n = send_and_receive(wire.fd, wire.out, &left, buffer, sizeof(buffer), &error)
        wire.drop_sent(wire.out_size - left)
        if n <= 0:
            return self.policy.go_on(self.for_python(question, trial), error if n < 0 else CLOSED)
        now = self.now()
        if now > question.flight.deadline:      # this process did not run for a while: the answer is stale
            return self.policy.go_on(self.for_python(question, trial), EAGAIN)
        self.reading = trial
        self.found = None       # should an exception have left one: it is not about this question
        if self.answered:
            self.answered.clear()
        try:
            self.in_flight.receive(wire, PyBytes_FromStringAndSize(buffer, n), now, True, self.answered)
        finally:
            self.reading = NULL
        if place >= 0:
            self.breakers.note_heard(place, now)
        if wire.fault is not None or wire.unread():
            self.policy.judge_connection(wire)
        found, self.found = self.found, None
        if found is not None:
            return found
        self.for_python(question, trial)
        if self.answered:
            question, answer = self.answered.pop()
            return self.policy.conclude(question, answer)
        return self.policy.go_on(question, 0)

    cdef int place_of(self, Wire wire) noexcept:
        return self.places[wire.peer_number] if wire.peer_number < self.place_count else -1

    cdef bint conclude(self, Question question, const AnswerFields *says, double now) except -1:
        if self.reading == NULL or not lets_in(question, says):
            return False
        if self.reading.state == ADMITTED:
            self.penalties.right_trial(self.reading, now)
        self.reading.state = ENDED
        note_login(self.penalties, self.watch, question, now)
        question.request.mark_authorized(question.credentials, question.proxy)
        count(self.decisions, CAUSE_AUTHORIZED)
        if self.in_script:
            self.found = 1
        else:
            self.found = self.authorized(question.credentials.user(), question.realm_name)
        return True
