"""The model of `storm.py`: telephones that register again, SIP servers, DISC, a store and shared state.

It is a discrete-event simulation, because what matters are the timers of single telephones: retransmissions,
Retry-After and back-off make waves, and a fluid has none. A million telephones are not a million objects:
each telephone here stands for `weight` that do the same at the same time. Counts and costs are multiplied by
it, so that it changes the grain of the result alone.

Every part that works is a queue in the order of arrival, and known by its cost for one piece of work:

    telephone ──► SIP server ──► DISC ──► store (what DISC has not at hand) ──► shared state ──► back again
              link: socket buffer,      4 statements at a time,        away when it is late
                    then drops          each with a time limit

The limit on the questions under way is the client's own code (`auth_diameter.diameter.limiter`).
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from auth_diameter.diameter.limiter import Overload

# RFC 3261, 17.1.2.2: a request is sent again after T1, then after twice as long, T2 at most, until 64*T1.
T1: Final = 0.5
T2: Final = 4.0
# RFC 5626, 4.5: seconds before the next attempt, doubled with each failure, and drawn from half to all of it.
BASE_TIME: Final = 30.0
MAX_TIME: Final = 1800.0

LEAST: Final = 128  # questions under way that a client always allows (`Pool`)
TIMEOUT: Final = 2.0  # seconds from question to answer (`Config.timeout`)
STATEMENTS: Final = 4  # of one DISC at a time (`store.connections.MOST`)
KEYS: Final = 256  # users that one statement looks up (`store.server._MOST_KEYS`)
STORE_REST: Final = 0.5  # seconds without statements after one has failed (`store.cache.CHECK_SECONDS`)
STATE_DEADLINE: Final = 0.05  # seconds that DISC waits for shared state, then it decides alone

CHALLENGED, LET_IN, FAILED, REFUSED = 401, 200, 500, 503


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is simulated. Costs are seconds of one core, for one piece of work.

    Attributes:
        telephones: how many register again.
        weight: how many of them one simulated telephone stands for.
        within: seconds within which all begin, if they begin at once.
        outage: seconds of an outage after which each begins when its own timers say so; None: all at once.
        expires: seconds between two registrations of a telephone.
        link: seconds from a telephone to its SIP server.
        patience: seconds after which what is not registered has given up.
        t1: RFC 3261's T1.
        retry_after: seconds in a 503.
        servers: SIP servers.
        request: cost of a request to a SIP server.
        repeat: cost of a retransmission.
        room: datagrams that wait at a SIP server; more are lost.
        max_delay: seconds that a question may wait (`Config.max_delay`); None: no limit.
        all_discs: whether a SIP server asks all DISC, as our client does; else it asks one.
        discs: DISC.
        challenge: cost of a challenge to DISC.
        verify: cost of credentials of a user at hand.
        lookup: what a user costs DISC besides, who is not at hand.
        at_hand: users that one DISC has at hand at most.
        store: cost of a lookup to the database server; 0: there is none beside DISC.
        store_cores: cores of that server.
        store_wait: seconds that a lookup takes if nothing else is done.
        db_timeout: seconds for a statement (`StoreConfig.db_timeout`).
        state: cost of verified credentials to the server of shared state; 0: state is not shared.
        state_verify: what they cost DISC besides.
        state_wait: seconds that shared state takes if nothing else is done.
        seed: of all that is drawn.
    """

    telephones: int = 1_000_000
    weight: int = 100
    within: float = 1.0
    outage: float | None = None
    expires: float = 3600.0
    link: float = 0.01
    patience: float = 3600.0
    t1: float = T1
    retry_after: float = 2.0
    servers: int = 20
    request: float = 0.0
    repeat: float = 0.0
    room: int = 1 << 30
    max_delay: float | None = 0.25
    all_discs: bool = True
    discs: int = 1
    challenge: float = 0.0
    verify: float = 0.0
    lookup: float = 0.0
    at_hand: int = 100_000
    store: float = 0.0
    store_cores: int = 4
    store_wait: float = 0.0
    db_timeout: float = 1.0
    state: float = 0.0
    state_verify: float = 0.0
    state_wait: float = 0.0
    seed: int = 1


@dataclass
class Result:
    """What came of it. Counts are of telephones and of datagrams, not of simulated ones.

    Attributes:
        registered: when each simulated telephone was let in, seconds since the end of the outage, in order.
        weight: how many telephones each stands for.
        counts: datagrams sent, lost, absorbed (a retransmission of what is not answered), replied and
            replied_again, unanswered at the end; replies by status; questions, lookups, and answers that came
            `late`; lookups that `failed`; verdicts that DISC gave `alone`, because shared state was late;
            telephones.
        longest: seconds that anything waited at the longest: at a SIP server, for DISC, for the store.
        busy: seconds of work that each part had got when half were registered, all cores together.
        cores: how many cores each part has.
    """

    registered: list[float]
    weight: int
    counts: Counter[str]
    longest: dict[str, float]
    busy: dict[str, float]
    cores: dict[str, int]

    @property
    def given_up(self) -> int:
        """Telephones that were not registered in time."""
        return self.counts["telephones"] - len(self.registered) * self.weight

    def until(self, share: float) -> float | None:
        """Seconds until this share of all telephones was registered; None: it never was."""
        of = self.counts["telephones"] // self.weight
        needed = max(1, round(share * of))
        return self.registered[needed - 1] if needed <= len(self.registered) else None

    def load(self, part: str) -> float:
        """The share of a part's time that it worked until half were registered; 1: it is the limit."""
        took = self.until(0.5)
        return min(1.0, self.busy[part] / (took * self.cores[part])) if took else 0.0


class _Telephone:
    __slots__ = ("failures", "number", "server", "step")

    def __init__(self, number: int, server: _Server) -> None:
        self.number = number
        self.server = server
        self.step = CHALLENGED  # what the next request is to bring: a challenge, or to be let in
        self.failures = 0


class _Transaction:
    """A request with its retransmissions; `taken` and `reply` are what its SIP server remembers of it."""

    __slots__ = ("begun", "over", "reply", "step", "taken", "telephone")

    def __init__(self, telephone: _Telephone, now: float) -> None:
        self.telephone = telephone
        self.step = telephone.step
        self.begun = now
        self.over = False
        self.taken = False
        self.reply: int | None = None


@dataclass(eq=False)
class _Server:
    """A SIP server: its socket, its thread, and the questions that it has under way."""

    limit: Overload
    under_way: list[int]  # by DISC, in simulated questions
    free_at: float = 0.0
    queued: int = 0
    asked: int = 0
    answered: int = 0
    first: int = 0  # the DISC that it prefers among equals


@dataclass(eq=False)
class _Disc:
    number: int
    free_at: float = 0.0
    users: dict[int, None] = field(default_factory=dict)  # at hand, those looked up last at the end
    statements: int = 0
    waiting: deque[tuple[float, _Question]] = field(default_factory=deque)  # since when, and what
    rests_until: float = 0.0
    took: float = 0.0  # seconds of the last statement


class _Question:
    __slots__ = ("asked", "disc", "over", "server", "transaction")

    def __init__(self, transaction: _Transaction, server: _Server, disc: _Disc, now: float) -> None:
        self.transaction = transaction
        self.server = server
        self.disc = disc
        self.asked = now
        self.over = False


class Storm:
    """One simulation; `run` it once."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.now = 0.0
        self.counts: Counter[str] = Counter()
        self.longest = {"SIP server": 0.0, "DISC": 0.0, "store": 0.0}
        self.busy = {"SIP server": 0.0, "DISC": 0.0, "store": 0.0, "state": 0.0}
        self._random = random.Random(setup.seed)
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._numbers = itertools.count()
        self._registered: list[float] = []
        self._busy_at_half = self.busy
        self._discs = [_Disc(number) for number in range(setup.discs)]
        self._servers = [
            _Server(Overload(setup.max_delay, LEAST), [0] * setup.discs, first=number % setup.discs)
            for number in range(setup.servers)
        ]
        self._store_free = [0.0] * setup.store_cores  # a heap: when each core is free
        self._state_free = 0.0
        self._half = 0  # when so many are registered, half of all are
        self._open = 0  # datagrams between being taken and their reply

    def run(self) -> Result:
        """Simulates until all telephones are registered, or have lost their patience."""
        setup = self.setup
        self.counts["telephones"] = setup.telephones
        self._half = max(1, round(0.5 * (setup.telephones // setup.weight)))
        for number in range(setup.telephones // setup.weight):
            telephone = _Telephone(number, self._random.choice(self._servers))
            self._at(self._beginning(), self._begin, telephone)
        while self._events:
            when, _, happens, arguments = heapq.heappop(self._events)
            if when > setup.patience:
                break
            self.now = when
            happens(*arguments)
        self.counts["unanswered"] = self._open
        cores = {"SIP server": setup.servers, "DISC": setup.discs, "store": setup.store_cores, "state": 1}
        return Result(self._registered, setup.weight, self.counts, self.longest, self._busy_at_half, cores)

    def _at(self, when: float, happens: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), happens, arguments))

    def _count(self, name: str) -> None:
        self.counts[name] += self.setup.weight

    # ------------------------------------------------------------------ telephones

    def _beginning(self) -> float:
        """When a telephone begins; an outage ends at 0."""
        setup = self.setup
        if setup.outage is None:
            return self._random.uniform(0.0, setup.within)
        # Its registration is due at any time; what is due during the outage fails until it is over.
        when = self._random.uniform(0.0, setup.expires) - setup.outage
        failures = 0
        while when < 0.0:
            failures += 1
            when += 64 * setup.t1 + self._back_off(failures)
        return when

    def _back_off(self, failures: int) -> float:
        longest = min(MAX_TIME, BASE_TIME * 2.0**failures)
        return self._random.uniform(longest / 2, longest)

    def _begin(self, telephone: _Telephone) -> None:
        transaction = _Transaction(telephone, self.now)
        self._send(transaction, self.setup.t1)

    def _send(self, transaction: _Transaction, interval: float) -> None:
        """Sends a request, for the first time or again; the next time is after `interval`."""
        if transaction.over:
            return
        ends = transaction.begun + 64 * self.setup.t1
        if self.now >= ends:
            transaction.over = True
            self._fail(transaction.telephone)
            return
        self._count("sent")
        self._open += self.setup.weight
        self._at(self.now + self.setup.link, self._arrive, transaction)
        longest = max(T2, self.setup.t1)
        self._at(min(self.now + interval, ends), self._send, transaction, min(2 * interval, longest))

    def _fail(self, telephone: _Telephone) -> None:
        telephone.failures += 1
        telephone.step = CHALLENGED
        self._at(self.now + self._back_off(telephone.failures), self._begin, telephone)

    def _hear(self, transaction: _Transaction, status: int) -> None:
        if transaction.over:
            return
        transaction.over = True
        telephone = transaction.telephone
        if status == LET_IN:
            self._registered.append(self.now)
            if len(self._registered) == self._half:
                self._busy_at_half = dict(self.busy)
        elif status == CHALLENGED:
            telephone.step = LET_IN
            self._begin(telephone)
        elif status == REFUSED and self.setup.retry_after:
            self._at(self.now + self.setup.retry_after, self._begin, telephone)
        else:
            self._fail(telephone)

    # ------------------------------------------------------------------ SIP servers

    def _arrive(self, transaction: _Transaction) -> None:
        server, setup = transaction.telephone.server, self.setup
        if server.queued >= setup.room:
            self._count("lost")
            self._open -= setup.weight
            return
        server.queued += setup.weight
        took = setup.weight * (setup.repeat if transaction.taken else setup.request)
        self.busy["SIP server"] += took
        self._note_wait("SIP server", server.free_at - self.now)
        server.free_at = max(self.now, server.free_at) + took
        self._at(server.free_at, self._take, transaction)

    def _note_wait(self, part: str, seconds: float) -> None:
        self.longest[part] = max(self.longest[part], seconds)

    def _take(self, transaction: _Transaction) -> None:
        server, weight = transaction.telephone.server, self.setup.weight
        server.queued -= weight
        if transaction.reply is not None:
            self._open -= weight
            self._count("replied_again")
            self._at(self.now + self.setup.link, self._hear, transaction, transaction.reply)
        elif transaction.taken:
            self._open -= weight
            self._count("absorbed")
        else:
            transaction.taken = True
            if server.asked - server.answered >= server.limit.limit:
                self._reply(transaction, REFUSED)
            else:
                self._ask(transaction, server)

    def _ask(self, transaction: _Transaction, server: _Server) -> None:
        if self.setup.all_discs:
            fewest = min(server.under_way)
            # Among equals the next one in turn, as the client's pool does it.
            chosen = server.first
            while server.under_way[chosen] != fewest:
                chosen = (chosen + 1) % len(server.under_way)
            server.first = (chosen + 1) % len(server.under_way)
        else:
            chosen = server.first
        question = _Question(transaction, server, self._discs[chosen], self.now)
        server.under_way[chosen] += 1
        server.asked += self.setup.weight
        self._count("questions")
        self._at(self.now + TIMEOUT, self._time_out, question)
        self._judge(question)

    def _time_out(self, question: _Question) -> None:
        if not question.over:
            self._settle(question)
            self._reply(question.transaction, REFUSED)

    def _settle(self, question: _Question) -> None:
        """Ends a question at its SIP server, with or without an answer."""
        server = question.server
        question.over = True
        server.under_way[question.disc.number] -= 1
        server.answered += self.setup.weight
        if server.asked == server.answered:
            server.limit.calm()

    def _answer(self, question: _Question, status: int) -> None:
        if question.over:
            self._count("late")
            return
        self._note_wait("DISC", self.now - question.asked)
        limit = question.server.limit
        self._settle(question)
        if self.now >= limit.due and question.server.asked != question.server.answered:
            limit.measure(self.now, question.server.answered, self.now - question.asked)
        self._reply(question.transaction, status)

    def _reply(self, transaction: _Transaction, status: int) -> None:
        transaction.reply = status
        self._open -= self.setup.weight
        self._count("replied")
        self._count(str(status))
        self._at(self.now + self.setup.link, self._hear, transaction, status)

    # ------------------------------------------------------------------ DISC, its store and shared state

    def _judge(self, question: _Question) -> None:
        setup, disc = self.setup, question.disc
        number = question.transaction.telephone.number
        missing = False
        if question.transaction.step == CHALLENGED:
            took = setup.challenge
        else:
            missing = number not in disc.users
            took = setup.verify + setup.state_verify + (setup.lookup if missing else 0.0)
        took *= setup.weight
        self.busy["DISC"] += took
        disc.free_at = max(self.now, disc.free_at) + took
        self._at(disc.free_at, self._look_up if missing else self._share, question)

    def _look_up(self, question: _Question) -> None:
        disc = question.disc
        self._count("lookups")
        if not self.setup.store:
            self._keep(question)
            self._share(question)
        elif self.now < disc.rests_until:
            self._count("failed")
            self._answer(question, FAILED)
        elif disc.statements < STATEMENTS:
            self._execute([(self.now, question)])
        else:
            disc.waiting.append((self.now, question))

    def _execute(self, questions: list[tuple[float, _Question]]) -> None:
        """Has the store look up the users of these questions, with one statement."""
        setup, disc = self.setup, questions[0][1].disc
        disc.statements += 1
        took = len(questions) * setup.weight * setup.store
        self.busy["store"] += took
        free = self._store_free[0]
        self._note_wait("store", free - self.now)
        done = max(self.now, free) + took
        heapq.heapreplace(self._store_free, done)
        done += setup.store_wait
        if done - self.now > setup.db_timeout:
            self._at(self.now + setup.db_timeout, self._looked_up, questions, False)
        else:
            disc.took = done - self.now
            self._at(done, self._looked_up, questions, True)

    def _looked_up(self, questions: list[tuple[float, _Question]], found: bool) -> None:
        disc, weight, limit = questions[0][1].disc, self.setup.weight, self.setup.db_timeout
        disc.statements -= 1
        if not found:
            disc.rests_until = self.now + STORE_REST
            questions += disc.waiting
            disc.waiting.clear()
        for since, question in questions:
            if found:
                self._keep(question)
            if found and self.now <= since + limit:
                self._share(question)
            else:
                self._fail_lookup(question)
        # What would be late if it took as long as the last statement is given up.
        while disc.waiting and disc.waiting[0][0] < self.now + disc.took - limit:
            self._fail_lookup(disc.waiting.popleft()[1])
        if disc.waiting:
            several = max(1, KEYS // weight)
            self._execute([disc.waiting.popleft() for _ in range(min(several, len(disc.waiting)))])

    def _fail_lookup(self, question: _Question) -> None:
        self._count("failed")
        self._answer(question, FAILED)

    def _keep(self, question: _Question) -> None:
        users = question.disc.users
        users[question.transaction.telephone.number] = None
        if len(users) * self.setup.weight > self.setup.at_hand:
            del users[next(iter(users))]

    def _share(self, question: _Question) -> None:
        setup = self.setup
        status = question.transaction.step
        if not setup.state or status == CHALLENGED:
            self._answer(question, status)
            return
        took = setup.weight * setup.state
        waited = max(0.0, self._state_free - self.now) + took + setup.state_wait
        if waited > STATE_DEADLINE:  # DISC decides alone, and tells it later
            self._count("alone")
            waited = STATE_DEADLINE
        self.busy["state"] += took
        self._state_free = max(self.now, self._state_free) + took
        self._at(self.now + waited, self._answer, question, status)
