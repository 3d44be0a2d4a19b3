"""The ways of requests through a SIP server: what happens to it, one thing after the other."""

import traceback

from libc.stdint cimport uint8_t, uintptr_t
from libc.string cimport memcmp, memcpy

from auth_diameter._core.auth.question cimport Flight
from auth_diameter._core.base.scratch cimport ad_scratch_release
from auth_diameter._core.net.addresses cimport Address as Source, put_address as put_source
from auth_diameter._core.path.counts cimport Decisions
from auth_diameter._core.path.in_flight cimport InFlight
from auth_diameter._core.path.inquiry cimport STAGE_DONE, Work
from auth_diameter._core.path.local_requests cimport LocalRequests
from auth_diameter._core.path.remote_requests cimport RemoteRequests
from auth_diameter._core.path.slot cimport INLINE, Slot
from auth_diameter._core.path.wire cimport Wire
from auth_diameter._core.state.penalties cimport Penalties
from auth_diameter._core.state.transactions cimport Transactions

from targets.dialect cimport the_judge
from targets.promises cimport hold
from targets.requests cimport check_lines

from auth_diameter._core.path.wire import restart_msgids


# ---------------------------------------------------------------------------------- request_path

cdef enum:
    # What happens next; the byte before it says to whom, see `Site.play`
    DATAGRAM, AGAIN, FROM_DISC, TIME, BREAK, ODD, CLOSE, EVENTS


cdef class Site:
    """A SIP server with two connections to DISC, its socket's datagrams, and what DISC sends."""
    cdef InFlight in_flight
    cdef Transactions transactions
    cdef Decisions decisions
    cdef RemoteRequests path
    cdef list wires
    cdef list adopted       # the Questions that requests became
    cdef list sizes         # of the datagrams; the address of each has its number
    cdef tuple last         # the last datagram and its source
    cdef double now
    cdef Py_ssize_t ended   # Questions that came back

    def __cinit__(self):
        restart_msgids(0)
        self.in_flight = InFlight(3)
        self.transactions = Transactions(1 << 20)
        self.decisions = Decisions()
        self.adopted = []
        self.sizes = []
        self.path = RemoteRequests(
            -1, self.transactions, self.decisions, self.adopted.append, self.in_flight,
            Penalties(1.0, 100, 100), None, realm="$fd", timeout=4.0, max_size=65535, max_headers=64,
            max_question=4096, tells_source=True, amplification=2, one_challenge=512)
        self.wires = [self.connect(), self.connect()]

    cdef Wire connect(self):
        cdef Wire wire = Wire(4096)
        wire.is_calm = True
        self.in_flight.set_ready(wire, True)
        return wire

    cdef int play(self, int event, int whom, bytes data) except -1:
        cdef Wire wire = self.wires[whom & 1]
        cdef list found = []
        if event == DATAGRAM:
            self.last = (data, (f"10.{len(self.sizes) >> 8}.{len(self.sizes) & 0xFF}.1", 5060 + whom))
            self.sizes.append(len(data))
            self.path.take(data, self.last[1], self.now)
        elif event == AGAIN and self.last is not None:
            self.path.take(*self.last, self.now)
        elif event == FROM_DISC:
            found = [question for question, _ in self.in_flight.received(wire, data, self.now)]
        elif event == TIME:
            self.now += whom / 16
            while (question := self.in_flight.take_expired(self.now)) is not None:
                found.append(question)
        elif event == ODD:
            self.path.take_odd()
            self.path.take_notes()
        elif event == CLOSE:
            self.path.is_open = False
            found = self.path.take_back()
        if event == BREAK or wire.fault is not None:
            self.in_flight.set_ready(wire, False)
            found += self.in_flight.take_back(wire)
            self.wires[whom & 1] = self.connect()
        self.ended += len(found)
        hold(self.ended == len(self.adopted), "a question ends once")
        self.check_replies()
        self.check_flights()
        return 0

    cdef int check_replies(self) except -1:
        cdef const uint8_t *p
        cdef Py_ssize_t most
        for reply, source in self.path.departures.take():
            p = reply
            hold(reply.startswith(b"SIP/2.0 ") and b"\r\n\r\n" in reply, "a reply is one")
            check_lines(p, p + len(reply))
            octets = source[0].split(".")
            most = self.sizes[int(octets[1]) * 256 + int(octets[2])]
            hold(reply.startswith(b"SIP/2.0 200 ") or len(reply) <= max(2 * most, 512), "a reply has its limit")

    cdef int check_flights(self) except -1:
        cdef Flight *flight = self.in_flight.first
        cdef Flight *before = NULL
        cdef Py_ssize_t count = 0, under_way = 0
        while flight != NULL:
            hold(flight.before == before and (before == NULL or before.deadline <= flight.deadline),
                 "deadlines are in order")
            hold(flight.in_slot and self.in_flight.find(flight.msgid) == flight, "a request is found by its id")
            count += 1
            before = flight
            flight = flight.after
        hold(self.in_flight.last == before, "the last one is the last")
        for wire in self.wires:
            under_way += (<Wire>wire).under_way
        hold(count == self.in_flight.count == self.in_flight.in_slots == self.path.in_slots == under_way,
             "the counts are those of the list")


cdef int request_path(const uint8_t *data, size_t size) noexcept nogil:
    """The way of requests through the default route, in records: event, to whom, size of the bytes, and these."""
    cdef const uint8_t *p = data
    cdef const uint8_t *end = data + size
    cdef size_t n
    if size == 0 or p[0] >= EVENTS:
        return 0
    with gil:
        try:
            site = Site()
            while 4 <= end - p and p[0] < EVENTS:
                n = <size_t>p[2] << 8 | p[3]
                if not n <= <size_t>(end - p - 4):
                    n = <size_t>(end - p - 4)
                (<Site>site).play(p[0], p[1], p[4:4 + n])
                p += 4 + n
            (<Site>site).play(CLOSE, 0, b"")
            hold((<Site>site).in_flight.count == 0, "nothing is left")
        except BaseException:
            traceback.print_exc()
            hold(False, "no exception")
    return 0


# ---------------------------------------------------------------------------------- local_path

cdef double NOW = 1_800_000_000.0
the_judge().check_at = NOW + 0.1     # the store need not be looked at
cdef LocalRequests _local = LocalRequests(
    -1, Transactions(1 << 20), Decisions(), None, None, the_judge(), None, tuple(range(64)), waits=False,
    realm="$fd", max_size=65535, max_headers=64, amplification=2, one_challenge=512)
cdef Source _sources[2]
put_source(("192.0.2.1", 5060), &_sources[0])
put_source(("2001:db8::1", 5060, 0, 0), &_sources[1])


cdef void check_local_replies(size_t size) noexcept nogil:
    """A reply is one, and within its limit: nobody knows a password."""
    cdef const uint8_t *p
    cdef size_t n
    hold(_local.departures.count <= 1, "a request has one reply")
    if _local.departures.count:
        p = <const uint8_t *>_local.departures.parts[0].iov_base
        n = _local.departures.parts[0].iov_len
        hold(n > 12 and memcmp(p, b"SIP/2.0 ", 8) == 0, "a reply is one")
        check_lines(p, p + n)
        hold(n <= max(2 * size, <size_t>512) or memcmp(p + 8, b"200", 3) == 0, "a reply has its limit")
    _local.departures.count = 0


cdef int local_path(const uint8_t *data, size_t size) noexcept nogil:
    """The way of a datagram through a SIP server that verifies itself: where it comes from, and its bytes."""
    cdef Slot *s = _local.slots.batch[0]
    cdef Work *work = _local.asked.work
    cdef size_t n = size - 1, i
    if not 1 <= size <= INLINE:
        return 0
    s.source = _sources[data[0] & 1]
    memcpy(s.inline_data, data + 1, n)
    _local.slots.messages[0].msg_len = <unsigned int>n
    work.now = NOW
    _local.take_datagram(0, 0.0)
    _local.judge_turn(0.0)
    check_local_replies(n)
    hold(work.count <= 1, "one question for one request")
    for i in range(work.count):
        if _local.asked.slots[i] != NULL:
            hold(work.cases[i].lacks or work.cases[i].stage == STAGE_DONE,
                 "what is left lacks a key, or has an answer")
            _local.slots.give_back(_local.take_slot(_local.asked, i))
    hold(_local.asked.left == 0 and _local.in_slots == 0, "each slot is given back")
    s = _local.slots.next_odd()
    if s != NULL:
        _local.slots.give_back(s)
    hold(_local.slots.next_odd() == NULL, "one request is odd once")
    _local.notes.count = 0
    work.count = 0
    work.found.buckets = NULL
    ad_scratch_release(&work.scratch)
    return 0


TARGETS = {
    "request_path": <uintptr_t>&request_path,
    "local_path": <uintptr_t>&local_path,
}
