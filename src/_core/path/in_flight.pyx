"""The questions in flight: written to a connection, and without an answer so far.

::

                                  by msgid ──► the question of an answer
    question ──► Wire.out ──►  Flight
                                  in the order of deadlines ──► the next one to expire

The dialect matches answers by SIP-MSGID. The original DISC may send an answer on a connection that was opened
after its question was sent. So the ids are unique in the process, and start at a random number. In standard
Diameter they are Hop-by-Hop Identifiers: an answer counts on the connection of its question alone. Requests of the
peer, messages of the base protocol and answers to other commands are put aside, see `Wire.take_others`.

A `Flight` is part of a Question, or of a slot, in which the path keeps a request (see turn.pyx). The answer to a
slot goes to its owner without the GIL. Whatever is out of the ordinary for a slot makes a Question of it, and so
does all that happens to a connection: from then on it is treated as any other.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.math cimport NAN, isnan
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc

from auth_diameter._core.auth.answer cimport Answer, AnswerFields
from auth_diameter._core.auth.question cimport Flight, Question
from auth_diameter._core.diameter.codes cimport (
    COMMAND_CX_MULTIMEDIA_AUTH, COMMAND_MULTIMEDIA_AUTH, FLAG_REQUEST, RESULT_REDIRECT_INDICATION,
)
from auth_diameter._core.diameter.application cimport AnswerView, Application, answer_of
from auth_diameter._core.diameter.disc cimport DiscApplication
from auth_diameter._core.diameter.header cimport get_u32
from auth_diameter._core.diameter.result_counts cimport count_result, results_of
from auth_diameter._core.diameter.stream cimport frame
from auth_diameter._core.path.wire cimport Wire, next_msgid

cdef enum:
    FLAGS_AT = 4                # bytes before flags and command, and before the Application-ID (RFC 6733, 3)
    APPLICATION_AT = 8
    LEAST_FLIGHTS = 256         # places by msgid at the start
    KEPT_LATE = 10_000          # ids of ended questions that are remembered, to recognize late answers


cdef inline bint is_multimedia_auth(const uint8_t *p) noexcept nogil:
    """Whether a whole message is a MAR or a MAA."""
    cdef uint32_t command = get_u32(p + FLAGS_AT) & 0xFFFFFF
    return command == COMMAND_MULTIMEDIA_AUTH or command == COMMAND_CX_MULTIMEDIA_AUTH


cdef inline void take_off(Wire wire) noexcept nogil:
    """Counts one question less on a connection."""
    wire.under_way -= 1


cdef class SlotOwner:
    """Whoever keeps requests in slots. Each method is overridden."""

    cdef bint conclude(self, Flight *flight, const AnswerView *view, double now) noexcept nogil:
        """Takes the answer to the request in a slot.

        Returns:
            Whether that was all: then `release` follows. If not, `question_of` makes a Question of the slot.
        """
        return False

    cdef void release(self, Flight *flight) noexcept nogil:
        """Frees a slot that is no longer in flight."""

    cdef Question question_of(self, Flight *flight):
        """Makes a Question, with deadline and attempts, of a slot that is no longer in flight, and frees that."""
        raise NotImplementedError

    cdef void end_read(self) noexcept nogil:
        """Is told that all answers of one read were handed over."""


cdef class Concluder:
    """Whoever decides on answers to Questions without an Answer object."""

    cdef bint conclude(self, Question question, const AnswerFields *says, double now) except -1:
        """Takes the answer to a Question that is no longer in flight.

        Returns:
            Whether that was all; if not, the Question and its Answer are handed out.
        """
        return False


@cython.final
cdef class InFlight:
    """InFlight(most=1000, takes_turns=False, application=None)\n--\n
    The questions in flight on all connections of one client. Not for use by several threads at once.

    Args:
        most: questions in flight on one connection.
        takes_turns: whether connections with equally few questions take turns, so that each DISC has its share.
        application: Application that is spoken; None: the DISC dialect.

    Attributes:
        count: int, the number of questions in flight.
        size: int, the bytes of the requests that are asked about; kept by those who ask.
        limit: int, the number of questions in flight from which on the next one is refused; set by the owner.
        answered: int, the questions answered so far.
        late: int, the answers that came after their question had ended.
        unknown: int, the messages that answer no question, or one that was answered before.
        concluder: Concluder that decides on answers to Questions, or None; set by the owner.
        answered_deadline: float, the deadline of the question that was answered last.
        results: dict, the number of answers to questions in flight by (command, Result-Code), which are int.
    """

    def __cinit__(self, int most=1000, bint takes_turns=False, Application application=None):
        self.application = DiscApplication() if application is None else application
        self.most = most
        self.takes_turns = takes_turns
        self.limit = 1 << 29
        self.mask = LEAST_FLIGHTS - 1
        self.by_msgid = <Flight **>calloc(LEAST_FLIGHTS, sizeof(Flight *))
        if self.by_msgid == NULL:
            raise MemoryError()
        self.wires = []
        self.owners = []
        self.expected_late = {}

    def __dealloc__(self):
        cdef Flight *flight = self.first
        cdef Flight *after
        while flight != NULL:
            after = flight.after
            flight.wire = NULL
            if not flight.in_slot:
                Py_DECREF(<object>flight.owner)
            flight = after
        free(self.by_msgid)
        free(self.ready)

    def __len__(self):
        return self.count

    @property
    def results(self):
        return results_of(&self.results)

    # ------------------------------------------------------------------ connections that take questions

    @property
    def ready_wires(self):
        """The connections that take questions, list of Wire."""
        return self.wires[:]

    def set_ready(self, Wire wire not None, bint ready):
        """Notes whether a connection takes questions."""
        if ready and wire not in self.wires:
            self.wires.insert(0, wire)
        elif not ready and wire in self.wires:
            self.wires.remove(wire)
        else:
            return
        self.copy_ready()

    cdef int copy_ready(self) except -1:
        cdef PyObject **more
        cdef int i, count = <int>len(self.wires)
        if self.ready_room < count:
            more = <PyObject **>realloc(self.ready, count * sizeof(PyObject *))
            if more == NULL:
                raise MemoryError()
            self.ready = more
            self.ready_room = count
        for i in range(count):
            self.ready[i] = <PyObject *>self.wires[i]
        self.ready_count = count
        return 0

    cdef PyObject *best(self) noexcept nogil:
        """The Wire with the fewest questions, of those that have room for one more; NULL: there is none."""
        cdef int i, found = -1, least = self.most
        cdef PyObject *wire
        if self.count >= self.limit:
            return NULL
        for i in range(self.ready_count):
            if (<Wire>self.ready[i]).under_way < least:
                found = i
                least = (<Wire>self.ready[i]).under_way
                if least == 0:
                    break
        if found < 0:
            return NULL
        wire = self.ready[found]
        if self.takes_turns:
            for i in range(found, self.ready_count - 1):
                self.ready[i] = self.ready[i + 1]
            self.ready[self.ready_count - 1] = wire
        return wire

    # ------------------------------------------------------------------ asking

    def submit(self, Question question not None, double now):
        """Writes a question to the connection with the fewest questions.

        Args:
            question: Question with its deadline.
            now: seconds, monotonic.

        Returns:
            The Wire; None: none has room, or there are as many questions as `limit`.
        """
        cdef PyObject *found = self.best()
        if found == NULL:
            return None
        wire = <object>found
        self.put(wire, question, now)
        return wire

    def write(self, Wire wire not None, Question question not None, double now):
        """Writes a question to a connection, under a new id.

        Args:
            wire: Wire.
            question: Question with its deadline, not in flight.
            now: seconds, monotonic.
        """
        self.put(wire, question, now)

    cdef int put(self, Wire wire, Question question, double now) except -1:
        """As `write`."""
        cdef uint32_t msgid
        cdef uint8_t *out
        if question.message is not None or (question.request is None and not question.is_ha1_lookup):
            raise TypeError("question: came over a connection, and is not to be asked again")
        if question.flight.wire != NULL:
            raise ValueError("question: is in flight already")
        out = wire.reserve(self.application.room_of(question))
        if out == NULL or not self.claim_msgid(&msgid):
            raise MemoryError()
        wire.out_size += self.application.write(question, out, msgid)
        question.connection = wire
        question.flight.owner = <PyObject *>question
        Py_INCREF(question)
        self.enter(&question.flight, wire, msgid, now)
        return 0

    cdef bint claim_msgid(self, uint32_t *msgid) noexcept nogil:
        """Finds an id with a free place.

        Returns:
            Whether there is memory for it.
        """
        if not 2 * <size_t>self.count <= self.mask and not self.grow():
            return False
        while True:     # at least half of the places are free
            msgid[0] = next_msgid()
            if self.by_msgid[msgid[0] & self.mask] == NULL:
                return True

    cdef bint grow(self) noexcept nogil:
        cdef size_t mask = 2 * self.mask + 1
        cdef Flight **more = <Flight **>calloc(mask + 1, sizeof(Flight *))
        cdef Flight *flight = self.first
        if more == NULL:
            return False
        while flight != NULL:
            # Two with the same place would have had the same place before.
            more[flight.msgid & mask] = flight
            flight = flight.after
        free(self.by_msgid)
        self.by_msgid = more
        self.mask = mask
        return True

    cdef void enter(self, Flight *flight, Wire wire, uint32_t msgid, double now) noexcept nogil:
        """Adds a flight that was written to `wire`; its deadline is set."""
        flight.msgid = msgid
        flight.attempts += 1
        flight.wire = <PyObject *>wire
        self.by_msgid[msgid & self.mask] = flight
        self.put_in_order(flight)
        self.count += 1
        self.in_slots += flight.in_slot
        wire.under_way += 1
        if isnan(wire.asked) or wire.under_way == 1:
            wire.asked = now

    cdef void put_in_order(self, Flight *flight) noexcept nogil:
        """Puts a flight into the order of deadlines.

        A question that was asked before, or held, is older than most. Several such come in order, so that each
        finds its place behind the one before it.
        """
        cdef Flight *before = self.last
        cdef Flight *after
        if before != NULL and before.deadline > flight.deadline:
            before = self.late_comer
            if before != NULL and before.deadline > flight.deadline:
                before = NULL
            while True:
                after = self.first if before == NULL else before.after
                if after == NULL or after.deadline > flight.deadline:
                    break
                before = after
            self.late_comer = flight
        flight.before = before
        flight.after = self.first if before == NULL else before.after
        if flight.before != NULL:
            flight.before.after = flight
        else:
            self.first = flight
        if flight.after != NULL:
            flight.after.before = flight
        else:
            self.last = flight

    cdef void leave(self, Flight *flight) noexcept nogil:
        """Removes a flight; the reference to a Question is the caller's from here on."""
        if flight.before != NULL:
            flight.before.after = flight.after
        else:
            self.first = flight.after
        if flight.after != NULL:
            flight.after.before = flight.before
        else:
            self.last = flight.before
        if self.late_comer == flight:
            self.late_comer = flight.before
        self.by_msgid[flight.msgid & self.mask] = NULL
        self.count -= 1
        self.in_slots -= flight.in_slot
        take_off(<Wire>flight.wire)
        flight.wire = NULL
        flight.before = flight.after = NULL

    # ------------------------------------------------------------------ answers

    def received(self, Wire wire not None, data, double now):
        """Takes the bytes that came on a connection, which need not be that of the questions they answer.

        Args:
            wire: Wire.
            data: bytes-like, cut anywhere.
            now: seconds, monotonic.

        Returns:
            List of (Question, Answer), in the order of the answers; those for slots are with their owners.
        """
        cdef list found = []
        try:
            self.receive(wire, data, now, False, found)
        finally:
            for owner in self.owners:
                (<SlotOwner>owner).end_read()
        return found

    def received_on(self, Wire wire not None, data, double now):
        """Takes the bytes that came on a connection that one thread has for itself.

        Args:
            wire: Wire.
            data: bytes-like, cut anywhere.
            now: seconds, monotonic.

        Returns:
            List of (Question, Answer), in the order of the answers, for questions that were written to the same
            connection. Any other message answers no question.
        """
        cdef list found = []
        self.receive(wire, data, now, True, found)
        return found

    cdef int receive(self, Wire wire, object data, double now, bint alone, list found) except -1:
        """Finds the question of each answer; those to Questions are appended to `found`."""
        cdef const uint8_t *p
        cdef bytes kept
        cdef size_t n, at, start
        cdef Py_ssize_t size
        cdef uint64_t before = self.answers_seen()
        cdef const PyObject *only = <PyObject *>wire if alone or self.application.is_standard else NULL
        wire.put(data)
        while wire.fault is None:
            kept = wire.chunk       # while `p` is in use
            start = wire.at
            p = <const uint8_t *>PyBytes_AS_STRING(kept) + start
            n = <size_t>PyBytes_GET_SIZE(kept) - start
            at = 0
            while True:
                if self.in_slots:
                    with nogil:
                        size = self.hand_over(p, n, wire.limit, &at, only, now)
                else:
                    size = frame(p + at, n - at, wire.limit)
                if size <= 0:
                    break
                at += <size_t>size
                wire.at = start + at    # it is taken out, even if it raises
                self.take_one(p + at - size, <size_t>size, now, wire, only, found)
            wire.at = start + at
            # One message in pieces, or a fault.
            p = wire.take(&n)
            if p == NULL:
                break
            kept = wire.chunk
            self.take_one(p, n, now, wire, only, found)
        if self.answers_seen() != before or (wire.fault is None and self.says_something(wire)):
            wire.asked = NAN
            wire.heard = now
        return 0

    cdef uint64_t answers_seen(self) noexcept nogil:
        """The number of answers to questions that came, also of those to nobody."""
        return self.answered + self.late + self.unknown

    cdef bint says_something(self, Wire wire) except -1:
        """Whether bytes with no answer among them count: in standard Diameter the base protocol does not.

        A server whose application hangs goes on with its watchdog. But the first word of a peer counts, and a part
        of an answer does.
        """
        return not self.application.is_standard or isnan(wire.heard) or self.holds_part(wire)

    def holds_part(self, Wire wire not None):
        """Whether a Wire holds part of an answer, bool: in standard Diameter not of the base protocol."""
        if wire.fault is not None or wire.unread() == 0:
            return False
        if not self.application.is_standard:
            return True
        if wire.later is not None:
            wire.join(<const uint8_t *>PyBytes_AS_STRING(wire.chunk) + wire.at,
                      <size_t>PyBytes_GET_SIZE(wire.chunk) - wire.at)
        if wire.unread() < APPLICATION_AT + 4:
            return False        # that comes to light
        return self.is_answer(<const uint8_t *>PyBytes_AS_STRING(wire.chunk) + wire.at)

    cdef Py_ssize_t hand_over(self, const uint8_t *p, size_t n, size_t limit, size_t *at, const PyObject *only,
                              double now) noexcept nogil:
        """Hands the answers from byte `at` on over to the owners of slots, up to the first that is another's.

        Those alone count that answer a question on the Wire `only`; NULL: on any.

        Returns:
            The size of that one, at `at`; or as `frame`, where no whole message is left.
        """
        cdef Py_ssize_t size
        cdef AnswerView view
        cdef Flight *flight
        while True:
            size = frame(p + at[0], n - at[0], limit)
            if size <= 0 or not self.is_answer(p + at[0]):
                return size
            self.application.read(p + at[0], <size_t>size, &view)
            flight = self.find(view.msgid)
            if flight == NULL or not flight.in_slot or (only != NULL and flight.wire != only):
                return size
            self.application.match(flight, &view)
            if not (<SlotOwner>flight.owner).conclude(flight, &view, now):
                return size
            self.note_answered(flight, p + at[0], &view)
            self.leave(flight)
            (<SlotOwner>flight.owner).release(flight)
            at[0] += <size_t>size

    cdef bint is_answer(self, const uint8_t *p) noexcept nogil:
        """Whether a whole message is an answer, and none of the base protocol."""
        return not p[FLAGS_AT] & FLAG_REQUEST and (
            not self.application.is_standard or get_u32(p + APPLICATION_AT) != 0)

    cdef Flight *find(self, long long msgid) noexcept nogil:
        """The flight with that id; NULL if there is none."""
        cdef Flight *flight
        if msgid < 0:
            return NULL
        flight = self.by_msgid[<uint32_t>msgid & self.mask]
        return flight if flight != NULL and flight.msgid == <uint32_t>msgid else NULL

    cdef int take_one(self, const uint8_t *p, size_t n, double now, Wire wire, const PyObject *only,
                      list found) except -1:
        """Takes one message, with the GIL."""
        cdef AnswerView view
        cdef Flight *flight = NULL
        cdef Question question
        cdef Answer answer
        view.msgid = -1
        if self.is_answer(p):
            self.application.read(p, n, &view)
            flight = self.find(view.msgid)
        elif self.application.is_standard:
            wire.add_other(p[:n])
            return 0
        if flight != NULL and only != NULL and flight.wire != only:
            flight = NULL
        if flight == NULL and self.application.is_standard and not is_multimedia_auth(p):
            wire.add_other(p[:n])
            return 0
        if flight == NULL:
            if self.expected_late.pop(view.msgid, False) is None:
                self.late += 1
            else:
                self.unknown += 1
            return 0
        self.application.match(flight, &view)
        self.note_answered(flight, p, &view)
        question = self.take_question(flight)
        if self.concluder is None or not self.concluder.conclude(question, &view.says, now):
            answer = answer_of(&view)
            if self.application.is_standard and answer.code == RESULT_REDIRECT_INDICATION:
                answer.message = p[:n]
            found.append((question, answer))
        return 0

    cdef void note_answered(self, const Flight *flight, const uint8_t *p, const AnswerView *view) noexcept nogil:
        """Counts the answer `view`, which begins at `p`."""
        self.answered += 1
        if view.says.code:
            count_result(&self.results, get_u32(p + FLAGS_AT) & 0xFFFFFF, view.says.code)
        self.answered_deadline = flight.deadline

    cdef Question take_question(self, Flight *flight):
        """Removes a flight; the Question that it is, or that becomes of its slot."""
        cdef Question question
        cdef bint in_slot = flight.in_slot
        cdef object wire = <object>flight.wire
        self.leave(flight)
        if in_slot:
            question = (<SlotOwner>flight.owner).question_of(flight)
            question.connection = wire
            return question
        question = <Question>flight.owner
        Py_DECREF(question)
        return question

    # ------------------------------------------------------------------ ends without an answer

    def forget(self, Question question not None):
        """Removes a question.

        Returns:
            Whether it was in flight.
        """
        if question.flight.wire == NULL:
            return False
        self.take_question(&question.flight)
        return True

    def give_up(self, Question question not None):
        """Removes a question that ends without an answer; an answer that still comes is counted as late.

        Returns:
            Whether it was in flight.
        """
        if not self.forget(question):
            return False
        self.expect_late(question.flight.msgid)
        return True

    cdef int expect_late(self, uint32_t msgid) except -1:
        self.expected_late[msgid] = None
        if len(self.expected_late) > KEPT_LATE:
            del self.expected_late[next(iter(self.expected_late))]
        return 0

    @property
    def deadline(self):
        """The earliest deadline of all questions, seconds, monotonic; None: there is none."""
        return None if self.first == NULL else self.first.deadline

    def take_expired(self, double now):
        """Gives up the question with the earliest deadline, if that has passed.

        Returns:
            Question; None: no deadline has passed.
        """
        if self.first == NULL or self.first.deadline > now:
            return None
        self.expect_late(self.first.msgid)
        return self.take_question(self.first)

    def take_back(self, Wire wire not None):
        """Gives up the questions of a connection that is closed; see `failover` for what becomes of them.

        Returns:
            List of Question, in the order of deadlines.
        """
        cdef Flight *flight = self.first
        cdef Flight *after
        cdef Question question
        cdef list found = []
        while flight != NULL and wire.under_way:
            after = flight.after
            if flight.wire == <PyObject *>wire:
                self.expect_late(flight.msgid)
                question = self.take_question(flight)
                question.connection = None
                found.append(question)
            flight = after
        return found

    def take_all(self):
        """Removes all questions, since the client is closed; their connections still count them as theirs.

        Returns:
            List of Question, in the order of deadlines.
        """
        cdef list found = []
        cdef Wire wire
        while self.first != NULL:
            wire = <Wire>self.first.wire
            found.append(self.take_question(self.first))
            wire.under_way += 1
        return found

    def questions(self):
        """The questions in flight that are no slots, in the order of deadlines, list of Question."""
        cdef Flight *flight = self.first
        cdef list found = []
        while flight != NULL:
            if not flight.in_slot:
                found.append(<object>flight.owner)
            flight = flight.after
        return found
