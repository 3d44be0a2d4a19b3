"""The way of a request through a SIP server that has the users itself: no back end is asked.

::

    ask_about of each ─► Judge, once for all of one read ─► cause_of ─► the reply, where Transactions keep it
                           │ lacks keys
                           ▼
                         policy: finish, or place

Besides what `RequestPath` names, a failure of the store is odd.
"""

from functools import partial

cimport cython

from auth_diameter._core.auth.answer cimport AnswerFields, new_answer
from auth_diameter._core.auth.rulings cimport is_error_of_back_end
from auth_diameter._core.net.departures cimport BATCH
from auth_diameter._core.path.batch cimport empty_batch, new_batch, take_room
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport cause_of
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, Work, inquiry_of_message
from auth_diameter._core.path.outcome cimport is_refusal
from auth_diameter._core.path.requests cimport IN_FLIGHT, ODD, RequestPath, host_of
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.state.transactions cimport Transactions

cdef enum:
    MOST_SLOTS = 4096           # requests that wait for the store, 5 KiB each


@cython.final
cdef class LocalRequests(RequestPath):
    """The way of the requests of one UDP socket, which are judged here.

    Args:
        fd: as for `RequestPath`, and so are those without a line here.
        transactions: Transactions.
        decisions: Decisions.
        adopt: function of a Question that a request became. It returns the function that takes the Decision.
        policy: what Python decides. Its methods are

            - finish(batch, now): judges the questions of a batch that `Judge.may_judge` left, or that lack keys;
            - place(batch, done): the same for a store that waits: calls `done()` once the batch is done;
            - conclude(question, answer, outcome): the Decision on a question with this Answer;
            - report(error): takes the exception of one of these.

        judge: Judge, the rules.
        clock: function that returns seconds since 1970.
        outcomes: tuple of what `take_notes` names in place of causes, by the numbers of outcomes.
        waits: whether the store waits.
        realm: str.
        max_size: int.
        max_headers: int.
        amplification: int.
        one_challenge: int.
    """

    def __cinit__(self, int fd, Transactions transactions not None, Decisions decisions not None, adopt, policy,
                  Judge judge not None, clock, tuple outcomes not None, *, bint waits, str realm not None,
                  size_t max_size, int max_headers, size_t amplification, size_t one_challenge):
        self.policy = policy
        self.rules = judge
        self.clock = clock
        self.notes.names = outcomes
        self.waits = waits
        self.waiting = set()
        self.use(new_turn(None))
        self.turn.batch.work.scratch.is_small = waits       # those that wait may be many

    cdef int begin_turn(self) except -1:
        self.turn.batch.work.now = self.clock()
        return 0

    cdef int ask(self, Slot *s, double now) noexcept nogil:
        cdef Asked *asked = self.asked
        cdef size_t i = asked.work.count
        cdef Case *case
        if self.in_slots >= MOST_SLOTS:
            return ODD
        case = self.turn.batch.add()
        if not inquiry_of_message(&s.message, &s.asking, host_of(s), s.fingerprint, &asked.work.scratch,
                                  &case.ask):
            asked.work.count = i
            return ODD
        asked.slots[i] = s
        asked.left += 1
        self.in_slots += 1
        return IN_FLIGHT

    cdef void judge_turn(self, double now) noexcept nogil:
        cdef Work *work = self.asked.work
        if self.asked.left and self.rules.may_judge(work.now) and self.rules.judge_to_the_end(work):
            self.conclude_done(self.asked)

    cdef int end_turn(self, double now) except -1:
        cdef Turn turn = self.turn
        if turn.asked.left and self.waits:
            try:
                self.use(new_turn(turn))    # this one goes on
            except MemoryError:
                self.give_up(&turn.asked)
                empty_batch(turn.batch)
                raise
            self.waiting.add(turn)
            self.policy.place(turn.batch, partial(self.conclude_turn, turn))
            return 0
        try:
            if turn.asked.left:
                self.finish_left(turn)
        finally:
            self.give_up(&turn.asked)
            empty_batch(turn.batch)
        return 0

    # ------------------------------------------------------------------ from the answer to the reply

    cdef void conclude_done(self, Asked *asked) noexcept nogil:
        """Replies to the requests whose questions have an answer, unless Python is to do it."""
        cdef const Case *case
        cdef size_t i
        for i in range(asked.work.count):
            case = &asked.work.cases[i]
            if asked.slots[i] != NULL and case.stage == STAGE_DONE and self.conclude_one(asked.slots[i], case):
                self.slots.give_back(self.take_slot(asked, i))

    cdef Slot *take_slot(self, Asked *asked, size_t i) noexcept nogil:
        """Takes the slot of a question that is concluded."""
        cdef Slot *s = asked.slots[i]
        asked.slots[i] = NULL
        asked.left -= 1
        self.in_slots -= 1
        return s

    cdef bint conclude_one(self, Slot *s, const Case *case) noexcept nogil:
        """Replies to a request; False if Python is to do it."""
        cdef const AnswerFields *says = &case.answer
        cdef int cause
        if says.response_auth.p != NULL or says.nextnonce.p != NULL:
            return False
        cause = cause_of(says, &s.asking.credentials if s.asking.has_credentials else NULL, False)
        if is_error_of_back_end(cause) or not self.reply(s, cause, says):
            return False
        count(self.decisions, cause)
        if is_refusal(case.outcome):
            self.notes.add(s, case.outcome)
        return True

    # ------------------------------------------------------------------ what Python handles

    cdef int finish_left(self, Turn turn) except -1:
        """Finishes what is left of a read: with keys from the store, or in Python."""
        try:
            self.policy.finish(turn.batch, turn.batch.work.now)
        except Exception as error:
            self.policy.report(error)
        self.conclude_left(turn)
        return 0

    def conclude_turn(self, Turn turn not None):
        """Replies to the requests of a turn whose batch is done; it was placed before."""
        if turn in self.waiting:        # otherwise they were taken back
            self.waiting.discard(turn)
            try:
                self.conclude_left(turn)
            finally:
                self.give_up(&turn.asked)

    cdef int conclude_left(self, Turn turn) except -1:
        cdef Asked *asked = &turn.asked
        cdef size_t i
        with nogil:
            self.conclude_done(asked)
            self.end_read()
        for i in range(asked.work.count):
            if asked.slots[i] != NULL:
                self.slow += 1
                self.conclude_in_python(self.take_slot(asked, i), &asked.work.cases[i])
        return 0

    cdef int conclude_in_python(self, Slot *s, const Case *case) except -1:
        """Has Python decide on a request: on its answer, or from the start if it has none."""
        if case.stage != STAGE_DONE:
            self.slots.add_odd(s)
            return 0
        try:
            question = self.question_about(s, False)
            decision = self.policy.conclude(question, new_answer(&case.answer), case.outcome)
            self.decisions.add(decision.cause)
            self.adopt(question)(decision)
        except Exception as error:
            self.policy.report(error)       # the request gets no reply, as if it was lost
        finally:
            self.slots.give_back(s)
        return 0

    cdef void give_up(self, Asked *asked) noexcept:
        """Gives back the slots that are left when something has raised."""
        cdef size_t i
        for i in range(asked.work.count):
            if asked.slots[i] != NULL:
                self.slots.give_back(self.take_slot(asked, i))

    def take_back(self):
        cdef Turn turn
        cdef size_t i
        cdef list found = []
        cdef list turns = list(self.waiting)
        self.waiting.clear()
        for turn in turns:
            try:
                for i in range(turn.asked.work.count):
                    if turn.asked.slots[i] != NULL:
                        question = self.question_about(turn.asked.slots[i], False)
                        self.adopt(question)
                        found.append(question)
            finally:
                self.give_up(&turn.asked)
        return found

    cdef int use(self, Turn turn) except -1:
        """Has the questions of the next read go into this turn."""
        self.turn = turn
        self.asked = &turn.asked
        return 0


@cython.final
cdef class Turn:
    """The questions of one read."""


cdef Turn new_turn(Turn before):
    """A turn without questions.

    Args:
        before: the turn before, which keeps no more memory than its questions need; or None.
    """
    cdef Turn turn = Turn.__new__(Turn)
    turn.batch = new_batch(BATCH, 0.0) if before is None else take_room(before.batch)
    turn.asked.work = &turn.batch.work
    return turn
