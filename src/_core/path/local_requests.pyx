"""The way of a request through a SIP server that has the users itself: no back end is asked.

::

    ask_about of each ─► Judge, once for all of one read ─► cause_of ─► the reply, where Transactions keep it
                           │ lacks keys
                           ▼
                         policy: finish

Besides what `RequestPath` names, a failure of the store is odd.
"""

cimport cython

from auth_diameter._core.auth.answer cimport AnswerFields, new_answer
from auth_diameter._core.auth.rulings cimport CAUSE_DISC_REFUSED, CAUSE_DISC_UNUSABLE
from auth_diameter._core.net.departures cimport BATCH
from auth_diameter._core.path.batch cimport empty_batch, new_batch
from auth_diameter._core.path.counts cimport Decisions, count
from auth_diameter._core.path.decide cimport cause_of
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Case, Work, inquiry_of_message
from auth_diameter._core.path.outcome cimport is_refusal
from auth_diameter._core.path.requests cimport IN_FLIGHT, ODD, RequestPath, host_of
from auth_diameter._core.path.slot cimport Slot
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.state.transactions cimport Transactions


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
            - conclude(question, answer, outcome): the Decision on a question with this Answer;
            - report(error): takes the exception of one of these.

        judge: Judge, the rules.
        clock: function that returns seconds since 1970.
        outcomes: tuple of what `take_notes` names in place of causes, by the numbers of outcomes.
        realm: str.
        max_size: int.
        max_headers: int.
        amplification: int.
        one_challenge: int.
    """

    def __cinit__(self, int fd, Transactions transactions not None, Decisions decisions not None, adopt, policy,
                  Judge judge not None, clock, tuple outcomes not None, *, str realm not None, size_t max_size,
                  int max_headers, size_t amplification, size_t one_challenge):
        self.policy = policy
        self.rules = judge
        self.clock = clock
        self.notes.names = outcomes
        self.batch = new_batch(BATCH, 0.0)

    cdef int begin_turn(self) except -1:
        self.batch.work.now = self.clock()
        return 0

    cdef int ask(self, Slot *s, double now) noexcept nogil:
        cdef size_t i = self.batch.work.count
        cdef Case *case = self.batch.add()
        if not inquiry_of_message(&s.message, &s.asking, host_of(s), s.fingerprint, &self.batch.work.scratch,
                                  &case.ask):
            self.batch.work.count = i
            return ODD
        self.asked[i] = s
        self.in_slots += 1
        return IN_FLIGHT

    cdef void judge_turn(self, double now) noexcept nogil:
        cdef Work *work = &self.batch.work
        if self.in_slots and self.rules.may_judge(work.now) and self.rules.judge_to_the_end(work):
            self.conclude_done()

    cdef int end_turn(self, double now) except -1:
        cdef size_t i
        try:
            if self.in_slots:
                self.finish_left()
        finally:
            for i in range(self.batch.work.count):
                if self.asked[i] != NULL:       # something raised
                    self.slots.give_back(self.asked[i])
                    self.asked[i] = NULL
            self.in_slots = 0
            empty_batch(self.batch)
        return 0

    # ------------------------------------------------------------------ from the answer to the reply

    cdef void conclude_done(self) noexcept nogil:
        """Replies to the requests whose questions have an answer, unless Python is to do it."""
        cdef size_t i
        for i in range(self.batch.work.count):
            if self.asked[i] != NULL and self.batch.work.cases[i].stage == STAGE_DONE and self.conclude_one(i):
                self.slots.give_back(self.asked[i])
                self.asked[i] = NULL
                self.in_slots -= 1

    cdef bint conclude_one(self, size_t i) noexcept nogil:
        """Replies to a request; False if Python is to do it."""
        cdef Slot *s = self.asked[i]
        cdef const Case *case = &self.batch.work.cases[i]
        cdef const AnswerFields *says = &case.answer
        cdef int cause
        if says.response_auth.p != NULL or says.nextnonce.p != NULL:
            return False
        cause = cause_of(says, &s.asking.credentials if s.asking.has_credentials else NULL, False)
        if cause == CAUSE_DISC_UNUSABLE or cause == CAUSE_DISC_REFUSED or not self.reply(s, cause, says):
            return False
        count(self.decisions, cause)
        if is_refusal(case.outcome):
            self.notes.add(s, case.outcome)
        return True

    # ------------------------------------------------------------------ what Python handles

    cdef int finish_left(self) except -1:
        """Finishes what is left of a read: with keys from the store, or in Python."""
        cdef size_t i
        try:
            self.policy.finish(self.batch, self.batch.work.now)
        except Exception as error:
            self.policy.report(error)
        with nogil:
            self.conclude_done()
            self.end_read()
        for i in range(self.batch.work.count):
            if self.asked[i] != NULL:
                self.slow += 1
                self.conclude_in_python(i)
        return 0

    cdef int conclude_in_python(self, size_t i) except -1:
        """Has Python decide on a request: on its answer, or from the start if it has none."""
        cdef Slot *s = self.asked[i]
        cdef const Case *case = &self.batch.work.cases[i]
        self.asked[i] = NULL
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
