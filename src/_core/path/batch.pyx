"""Questions that are judged together: requests that DISC received and answers, or Questions.

::

    batch = Batch(requests, now)
    batch.judge(judge)
    while not batch.is_done:
        for key in batch.lacking(judge):
            batch.put(key, value)       # from the store; or batch.fail(key, error, …)
        records = batch.to_share(judge)             # with shared state; when no key is lacking
        batch.shared(judge, records, reply)         # None: it does not answer
        batch.judge(judge)
    batch.write(start, stop, out)       # of requests; or batch.answers(), of Questions
"""

import os

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE, PyByteArray_Resize
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy, memset

from auth_diameter._core.base.scratch cimport ad_scratch_empty, ad_scratch_release
from auth_diameter._core.base.span cimport Span
from auth_diameter._core.base.text cimport borrow
from auth_diameter._core.auth.answer cimport new_answer
from auth_diameter._core.auth.question cimport Question
from auth_diameter._core.diameter.disc cimport AaRequest
from auth_diameter._core.diameter.received cimport Received
from auth_diameter._core.path.findings cimport Finding, add_finding, find_finding
from auth_diameter._core.path.inquiry cimport (
    STAGE_CHECK, STAGE_DONE, STAGE_HELD, Case, begin_case, inquiry_of_question, inquiry_of_request,
)
from auth_diameter._core.path.outcome cimport FAILED, MALFORMED, OUTCOMES, STORE_FAILED, is_refusal
from auth_diameter._core.path.share cimport end_shares, is_reply_to, records_of
from auth_diameter._core.path.verify cimport Judge
from auth_diameter._core.state.users cimport KINDS, Kind, borrow_key, key_tuple, kind_of, parts_of, value_bytes
from auth_diameter._core.state.values cimport Key, copy_span


cdef inline bint is_received(object request) noexcept:
    # Most are of the dialect, whose class is compared at once; the bases of a class are searched.
    return type(request) is AaRequest or isinstance(request, Received)


@cython.final
cdef class Batch:
    """Questions that are judged together; for one thread at a time.

    Args:
        requests: list of Received, or of Question about a SipRequest; it must not change.
        now: seconds since 1970.

    Attributes:
        requests: list.
        is_done: bool, whether each question has an answer.
    """

    def __init__(self, list requests not None, double now):
        cdef Case *case
        if self.work.cases != NULL:
            raise TypeError("a Batch is made once")
        self.requests = requests
        begin_work(self, <size_t>len(requests), now)
        for request in requests:
            case = self.add()
            if is_received(request):
                inquiry_of_request(<Received>request, &case.ask)
            elif type(request) is Question:
                inquiry_of_question(<Question>request, &self.work.scratch, &case.ask)
            else:
                raise TypeError(f"requests: expected Received or Question, not {type(request).__name__}")

    cdef Case *add(self) noexcept nogil:
        cdef Case *case = &self.work.cases[self.work.count]
        begin_case(case)
        self.work.count += 1
        return case

    def __dealloc__(self):
        ad_scratch_release(&self.work.scratch)
        PyMem_RawFree(self.work.cases)

    def judge(self, Judge judge not None):
        """Answers the questions whose values are known.

        Digests are verified together. A question that lacks keys is judged again from the start the next time.

        Args:
            judge: Judge, the same each time.

        Returns:
            Bool: `is_done`.
        """
        cdef size_t i
        cdef bint done
        cdef Case *case
        if judge.users is None or self.work.cases == NULL:
            raise TypeError("judge: made without its parts")
        for i in range(self.work.count):
            case = &self.work.cases[i]
            if case.ask.fault and case.stage != STAGE_DONE:
                judge.end(case, MALFORMED)
                case.answer.code = case.ask.fault
        with nogil:
            done = judge.judge_to_the_end(&self.work)
        if not done:
            self.fail_cases(judge, MemoryError(), False)
        self.is_done = True
        for i in range(self.work.count):
            if self.work.cases[i].stage != STAGE_DONE:
                self.is_done = False
        return self.is_done

    def give_up(self, Judge judge not None, error):
        """Ends the questions that have no answer as failed, because of an error of ours.

        Args:
            judge: Judge, the same as for `judge`.
            error: the exception.
        """
        self.told = None
        self.fail_cases(judge, error, True)
        self.is_done = True

    cdef int fail_cases(self, Judge judge, object error, bint every) except -1:
        """Ends the questions whose digests could not be verified, or every one that has no answer."""
        cdef Case *case
        cdef size_t i
        for i in range(self.work.count):
            case = &self.work.cases[i]
            if case.stage == STAGE_CHECK or case.stage == STAGE_HELD or (every and case.stage != STAGE_DONE):
                judge.forget_attempt(&self.work, case)
                judge.end(case, FAILED)
                case.error = self.add_error(error)
        return 0

    cdef int add_error(self, object error) except -1:
        """The number of an error, from 1 on."""
        if self.errors is None:
            self.errors = []
        self.errors.append(error)
        return <int>len(self.errors)

    def lacking(self, Judge judge not None):
        """The keys that are missing, list of tuples: the parts as text, and the name of the kind."""
        cdef dict found = {}        # in the order in which they are needed
        cdef Case *case
        cdef Kind kind
        cdef Key key
        cdef size_t i
        for i in range(self.work.count):
            case = &self.work.cases[i]
            if case.stage != STAGE_DONE and case.lacks:
                for kind in range(KINDS):
                    if case.lacks >> kind & 1:
                        key = judge.key_of(case, kind)
                        found[key_tuple(kind, &key)] = None
        return list(found)

    def put(self, key not None, value):
        """Sets the value of a key, as the store has it."""
        cdef Span text
        cdef tuple parts = parts_of(key)
        cdef bytes data = value_bytes(parts, value)
        cdef Finding *found = self.finding_of(parts)
        borrow(data, &text, "value")
        if not copy_span(&self.work.scratch, text, &found.value):
            raise MemoryError()

    def fail(self, key not None, error, bint of_store):
        """Notes that a key could not be fetched: questions that need it fail.

        Args:
            key: the key.
            error: the exception.
            of_store: whether the store could not be read; else the error is one of `errors`.
        """
        cdef Finding *found = self.finding_of(parts_of(key))
        found.failure = STORE_FAILED if of_store else FAILED
        found.error = 0 if of_store else self.add_error(error)

    cdef Finding *finding_of(self, tuple key) except NULL:
        cdef Kind kind = kind_of(key)
        cdef Key place
        cdef Finding *found
        _kept = borrow_key(key, &place)
        if self.work.found.buckets == NULL:
            self.work.found.secret[0] = <uint64_t>int.from_bytes(os.urandom(8), "little")
            self.work.found.secret[1] = <uint64_t>int.from_bytes(os.urandom(8), "little")
        found = find_finding(&self.work.found, kind, &place)
        if found == NULL:
            found = add_finding(&self.work.found, &self.work.scratch, kind, &place)
        if found == NULL:
            raise MemoryError()
        return found

    def to_share(self, Judge judge not None):
        """The records of all questions that are decided here, and are to be counted by shared state.

        Returns:
            Bytes (_core/state/sharing.pyx); empty if there are none, or if keys are missing for others. `shared`
            is to follow before anything else.
        """
        self.told = records_of(judge, &self.work, &self.shares)
        return self.told

    def shared(self, Judge judge not None, bytes records not None, bytes reply):
        """Answers the questions that `to_share` told of.

        A reply that does not fit the records lets nobody in: these questions fail. One that comes when they were
        given up, or the batch is used for others, is nobody's.

        Args:
            judge: Judge, the same each time.
            records: the object that `to_share` returned.
            reply: what shared state says about them; None: it does not answer, and what was decided here holds.
        """
        cdef size_t i
        cdef Case *case
        if records is not self.told:
            return
        self.told = None
        if reply is None or is_reply_to(&self.shares, reply):
            end_shares(judge, &self.work, &self.shares, reply)
        else:
            error = self.add_error(
                ValueError(f"shared state: an unusable reply to {self.shares.count} records"))
            for i in range(self.shares.count):
                case = self.shares.at[i].case
                judge.end(case, FAILED)
                case.error = error

    def report(self, bint every=False):
        """What became of the questions, for counts and logs. The batch keeps the errors no longer.

        The traceback of an error holds the batch. As long as both hold each other, what was made for the questions
        is not wiped.

        Args:
            every: whether `named` has all questions, and not refusals alone; without `requests` it has none.

        Returns:
            Tuple of lists: `tally`, (outcome by its number, count); `named`, (request, outcome by its number);
            `mistakes`, the errors because of which questions failed, one for each of these questions.
        """
        cdef list tally = [], named = [], mistakes = []
        cdef size_t counts[OUTCOMES]
        cdef Case *case
        cdef size_t i
        memset(counts, 0, sizeof(counts))
        for i in range(self.work.count):
            case = &self.work.cases[i]
            counts[case.outcome] += 1
            if self.requests is not None and (every or is_refusal(case.outcome)):
                named.append((self.requests[i], case.outcome))
            if case.error:
                mistakes.append(self.errors[case.error - 1])
                case.error = 0
        self.errors = None
        for i in range(<size_t>OUTCOMES):
            if counts[i]:
                tally.append((i, counts[i]))
        return tally, named, mistakes

    def answers(self):
        """The answers to all questions, list of Answer.

        Raises:
            ValueError: the batch is not done.
        """
        if not self.is_done:
            raise ValueError("a batch has answers once it is done")
        return [new_answer(&self.work.cases[i].answer) for i in range(self.work.count)]

    def write(self, Py_ssize_t start, Py_ssize_t stop, bytearray out not None):
        """Appends the answers to some of the requests, in order.

        Args:
            start: index of the first request, which are Received.
            stop: index behind the last.
            out: bytearray.
        """
        cdef size_t size = 0
        cdef Py_ssize_t before = PyByteArray_GET_SIZE(out), i
        cdef uint8_t *q
        if not (self.is_done and 0 <= start <= stop <= <Py_ssize_t>self.work.count):
            raise ValueError("a batch has answers once it is done, one for each request")
        for i in range(start, stop):
            if not is_received(self.requests[i]):
                raise TypeError("write: a Question has no message to be answered")
            size += (<Received>self.requests[i]).answer_room(&self.work.cases[i].answer)
        PyByteArray_Resize(out, before + <Py_ssize_t>size)
        q = <uint8_t *>PyByteArray_AS_STRING(out) + before
        for i in range(start, stop):
            q = (<Received>self.requests[i]).put_answer(q, &self.work.cases[i].answer)
        PyByteArray_Resize(out, q - <uint8_t *>PyByteArray_AS_STRING(out))

    def __len__(self):
        return <Py_ssize_t>self.work.count

    def __repr__(self):
        return f"<Batch of {self.work.count} is_done={self.is_done}>"


cdef Batch new_batch(size_t room, double now):
    """A batch of the caller's own cases."""
    cdef Batch batch = Batch.__new__(Batch)
    begin_work(batch, room, now)
    return batch


cdef Batch take_room(Batch batch):
    """A batch without cases, with the room of one that gets none any more: that keeps no more than it needs."""
    cdef Batch other = Batch.__new__(Batch)
    cdef size_t needed = batch.work.count or 1
    cdef Case *few = <Case *>PyMem_RawMalloc(needed * sizeof(Case))
    if few == NULL:
        raise MemoryError()
    memcpy(few, batch.work.cases, batch.work.count * sizeof(Case))
    other.work.scratch.is_small = batch.work.scratch.is_small
    other.work.cases, other.room = batch.work.cases, batch.room
    batch.work.cases, batch.room = few, needed
    return other


cdef int begin_work(Batch batch, size_t room, double now) except -1:
    batch.work.cases = <Case *>PyMem_RawMalloc((room or 1) * sizeof(Case))
    if batch.work.cases == NULL:
        raise MemoryError()
    batch.work.now = now
    batch.room = room
    return 0


cdef void empty_batch(Batch batch) noexcept:
    ad_scratch_empty(&batch.work.scratch)
    batch.work.found.buckets = NULL
    batch.work.count = 0
    batch.told = None
    batch.is_done = False
    batch.errors = None
