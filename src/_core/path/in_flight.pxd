"""The questions in flight, for compiled code."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from auth_diameter._core.auth.answer cimport AnswerFields
from auth_diameter._core.auth.question cimport Flight, Question
from auth_diameter._core.diameter.application cimport AnswerView, Application
from auth_diameter._core.diameter.result_counts cimport ResultCounts
from auth_diameter._core.path.wire cimport Wire


cdef class SlotOwner:
    # Whoever keeps requests in slots; its methods are those of an abstract class
    cdef bint conclude(self, Flight *flight, const AnswerView *view, double now) noexcept nogil
    cdef void release(self, Flight *flight) noexcept nogil
    cdef Question question_of(self, Flight *flight)
    cdef void end_read(self) noexcept nogil


cdef class Concluder:
    # Whoever decides on answers to Questions without an Answer object
    cdef bint conclude(self, Question question, const AnswerFields *says, double now) except -1


cdef class InFlight:
    cdef public Concluder concluder     # or None
    cdef Flight **by_msgid          # a flight is at its msgid modulo the size, a power of two
    cdef size_t mask                # that size - 1
    cdef Flight *first              # the order of deadlines, from the earliest
    cdef Flight *last
    cdef Flight *late_comer         # the last one that was put in between
    cdef readonly Py_ssize_t count  # of flights
    cdef public Py_ssize_t size     # bytes of the requests that are asked about, in flight or waiting
    cdef Py_ssize_t in_slots        # flights that are part of slots
    cdef list wires                 # those that take questions; the next of equals is in front
    cdef PyObject **ready           # the same
    cdef int ready_count, ready_room
    cdef bint takes_turns           # whether equals take turns
    cdef public int limit           # questions in flight from which on the next one is refused
    cdef readonly int most          # questions in flight on one wire
    cdef readonly uint64_t answered
    cdef readonly uint64_t late     # answers whose question had ended
    cdef readonly uint64_t unknown  # messages that answer no question
    cdef ResultCounts results       # of answers to questions in flight
    cdef readonly double answered_deadline      # deadline of the question that was answered last
    cdef dict expected_late         # msgids of questions that ended without an answer, the newest last
    cdef list owners                # SlotOwners
    cdef readonly Application application   # what is spoken on the connections

    cdef int copy_ready(self) except -1
    cdef PyObject *best(self) noexcept nogil
    cdef int put(self, Wire wire, Question question, double now) except -1
    cdef bint claim_msgid(self, uint32_t *msgid) noexcept nogil
    cdef bint grow(self) noexcept nogil
    cdef void enter(self, Flight *flight, Wire wire, uint32_t msgid, double now) noexcept nogil
    cdef void put_in_order(self, Flight *flight) noexcept nogil
    cdef void leave(self, Flight *flight) noexcept nogil
    cdef int receive(self, Wire wire, object data, double now, bint alone, list found) except -1
    cdef Py_ssize_t hand_over(self, const uint8_t *p, size_t n, size_t limit, size_t *at, const PyObject *only,
                              double now) noexcept nogil
    cdef bint is_answer(self, const uint8_t *p) noexcept nogil
    cdef Flight *find(self, long long msgid) noexcept nogil
    cdef int take_one(self, const uint8_t *p, size_t n, double now, Wire wire, const PyObject *only,
                      list found) except -1
    cdef void note_answered(self, const Flight *flight, const uint8_t *p, const AnswerView *view) noexcept nogil
    cdef Question take_question(self, Flight *flight)
    cdef uint64_t answers_seen(self) noexcept nogil
    cdef bint says_something(self, Wire wire) except -1
    cdef int expect_late(self, uint32_t msgid) except -1
