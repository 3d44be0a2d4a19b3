"""How many guesses at passwords are judged, and whom the limits hold up: the figures of SECURITY.md.

    python tests/guessing.py

Some two minutes. The first figures go by a clock of their own: an hour in which a guesser tries at every
moment, by way of four SIP servers that ask one DISC. The others are of real processes, to which all requests
are sent at once. The suite plays both with smaller numbers.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from kit.machine import wait_until
from kit.process import Server
from kit.uac import Uac, exchange
from kit.wire import ask_bytes

import auth_diameter as ad
from auth_diameter._core import Question, append_question, decode_answer
from auth_diameter.client.authorizer import Authorizer
from auth_diameter.decision import Cause
from auth_diameter.disc.server import Disc
from auth_diameter.lab.uac import authorization, make_request
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome

REALM = "siphub.net"
URI = f"sip:{REALM}"
PASSWORD = "correct horse"
EPOCH = 1_800_000_000.0
HOUR = 3600.0
_serial = itertools.count(1)


def users(path: Path, *names: str) -> Path:
    """A database with these users, whose password is `PASSWORD`."""
    with Accounts.create(path) as store:
        for name in names:
            store.add_user(name, REALM, PASSWORD)
    return path


# ------------------------------------------------------------------ with a clock of its own


class Service:
    """SIP servers that ask one DISC, without sockets: `now` is what we say."""

    def __init__(self, store: SqliteStore, servers: int = 4, **settings: object) -> None:
        config = ad.Config(tell_source=True)
        self.servers = itertools.cycle([Authorizer(config) for _ in range(servers)])
        self.disc = Disc(store, VerifierConfig(**settings))  # type: ignore[arg-type]
        self.counts = self.disc.counts
        self.now = 0.0
        self._credentials: dict[tuple[str, str], str] = {}

    @property
    def judged(self) -> int:
        """Wrong digests that DISC has judged."""
        return self.counts[Outcome.WRONG_DIGEST] + self.counts[Outcome.UNKNOWN_USER]

    def attempt(self, user: str, source: str, password: str = "guess") -> Cause:
        """What becomes of a request with these credentials; the next SIP server has it."""
        server = next(self.servers)
        data = make_request(
            "REGISTER", URI, f"{user}@{REALM}", headers=[("Authorization", self._value(user, password))]
        )
        outcome = server.www_authorize(ad.SipRequest(data, (source, 5060)), REALM, self.now)
        if isinstance(outcome, Question):
            out = bytearray()
            append_question(out, outcome, 1)
            (answer,) = ask_bytes(self.disc, bytes(out), now=EPOCH + self.now)
            outcome = server.conclude(outcome, decode_answer(answer), self.now)
        return outcome.cause

    def _value(self, user: str, password: str) -> str:
        """A wrong digest is judged on any nonce, so that one of them is good for all guesses."""
        if password != PASSWORD:
            found = self._credentials.get((user, password))
            if found is not None:
                return found
        nonce = self.disc._driver.verifier.nonces.make(REALM, EPOCH + self.now)
        challenge = ad.Challenge.parse(f'Digest realm="{REALM}", nonce="{nonce}", qop="auth"')
        value = authorization(challenge, user, password, "REGISTER", URI)
        self._credentials[user, password] = value
        return value


def guess_for(service: Service, seconds: float, who: Iterable[tuple[str, str]], step: float = 0.5) -> int:
    """How many guesses at (user, source) are judged, where each is tried in every step."""
    pairs = list(who)
    before = service.judged
    until = service.now + seconds
    while service.now < until:
        for user, source in pairs:
            service.attempt(user, source)
        service.now += step
    return service.judged - before


def office(service: Service, old: int, new: int, retry: float = 30.0) -> tuple[int, float]:
    """Telephones behind one address: `old` ones with an old password, `new` ones that were never in.

    All begin within a second, and each tries again after `retry` seconds.

    Returns:
        How many refusals the new ones had in all, and seconds until the last of them was in.
    """
    telephones = [(f"old{n}", "old password") for n in range(old)] + [
        (f"new{n}", PASSWORD) for n in range(new)
    ]
    # In turn as they come, not first the ones and then the others.
    due = {name: (n * 0.618034) % 1.0 for n, (name, _) in enumerate(telephones)}
    left, refused, last = {name for name, password in telephones if password == PASSWORD}, 0, 0.0
    passwords = dict(telephones)
    while left:
        name = min(due, key=lambda name: due[name])
        service.now = due[name]
        cause = service.attempt(name, "192.0.2.1", passwords[name])
        if cause is Cause.AUTHORIZED:
            left.discard(name)
            last = service.now
            due[name] += HOUR
        else:
            refused += name in left
            due[name] += retry
    return refused, last


# ------------------------------------------------------------------ with real processes


@contextlib.contextmanager
def telephones(server: Server, count: int = 1) -> Iterator[list[Uac]]:
    """So many UACs at one address, each with a port of its own, on one SIP server."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Uac(server.address)) for _ in range(count)]


def send_all(uacs: list[Uac], requests: list[bytes]) -> Counter[int]:
    """Sends all at once, in turn from each port; the statuses of their replies, each request's once."""
    return Counter(reply.status for reply in exchange(zip(itertools.cycle(uacs), requests)))


def challenge_for(uac: Uac, user: str) -> ad.Challenge:
    """One that the service gives to `user`; it is asked again where DISC is not up yet."""

    def try_once() -> ad.Challenge | None:
        (reply,) = uac.exchange(request(user))
        return reply.challenge()

    return wait_until(try_once)


def request(user: str, *headers: tuple[str, str], method: str = "REGISTER") -> bytes:
    """A request of `user` that no other is equal to."""
    number = next(_serial)
    return make_request(
        method,
        URI,
        f"{user}@{REALM}",
        call_id=f"g{number}",
        cseq=number,
        headers=[("User-Agent", "x" * 200), *headers],
    )


def requests(
    challenge: ad.Challenge, user: str, password: str, count: int, method: str = "REGISTER", first: int = 1
) -> list[bytes]:
    """So many that answer `challenge`, each with a count of its own."""
    name = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
    return [
        request(user, (name, authorization(challenge, user, password, method, URI, nc=nc)), method=method)
        for nc in range(first, first + count)
    ]


@contextlib.contextmanager
def running(
    db: Path, *options: str, workers: int = 1, serve: tuple[str, ...] = ()
) -> Iterator[tuple[Server, Server]]:
    """A `serve` of so many workers, and its `disc` with these options."""
    with (
        Server("disc", "--db", db, *options) as disc,
        Server("serve", "--disc", disc.where, "--workers", workers, *serve) as server,
    ):
        yield server, disc


def answered(disc: Server) -> Counter[str]:
    """What DISC says at its end that it has answered."""
    found = re.search(r"stopped; answered: (.*)", disc.stop().err)
    assert found
    return Counter({name: int(count) for name, count in re.findall(r"([A-Z_]+) (\d+)", found[1])})


def wrong_of(counts: Counter[str]) -> int:
    """Wrong digests that were judged."""
    return counts["WRONG_DIGEST"] + counts["UNKNOWN_USER"]


def allowed(seconds: float) -> int:
    """Guesses at one account that may be judged in so long: five, and one after each penalty."""
    guesses, penalty, left = 5, 1.0, seconds
    while left >= penalty:
        left -= penalty
        guesses += 1
        penalty = min(2 * penalty, 60.0)
    return guesses


def burst(db: Path, count: int, workers: int = 1) -> tuple[int, float]:
    """How many of so many guesses at one account at once are judged, and seconds that they took."""
    with running(db, workers=workers) as (server, disc), telephones(server, 8 * workers) as uacs:
        challenge = challenge_for(uacs[0], "alice")
        guesses = requests(challenge, "alice", "guess", count)
        began = time.monotonic()
        statuses = send_all(uacs, guesses)
        took = time.monotonic() - began
        assert statuses == {403: count}, statuses
        return wrong_of(answered(disc)), took


def spray(db: Path, count: int) -> tuple[int, bool]:
    """How many guesses at so many names at once are judged, where DISC challenges again.

    And whether a right one after them is let in.
    """
    with running(db, "--rechallenge") as (server, disc), telephones(server, 8) as uacs:
        challenge = challenge_for(uacs[0], "alice")
        guesses = [requests(challenge, f"user{n}", "guess", 1)[0] for n in range(count)]
        statuses = send_all(uacs, guesses)
        right = send_all(uacs, requests(challenge, "alice", PASSWORD, 1))
        assert sum(statuses.values()) == count
        return wrong_of(answered(disc)), right[200] > 0


def trunk(db: Path, count: int) -> Counter[int]:
    """What becomes of so many right INVITEs at once, the first requests ever of their source."""
    with running(db) as (server, _), telephones(server) as uacs:
        return send_all(uacs, requests(challenge_for(uacs[0], "alice"), "alice", PASSWORD, count, "INVITE"))


# ------------------------------------------------------------------ the tables


def main() -> None:
    """Prints both tables."""
    with tempfile.TemporaryDirectory() as folder:
        names = [f"new{n}" for n in range(60)]
        db = users(Path(folder) / "users.sqlite", "alice", *names)
        with SqliteStore.open(db) as store:
            rows = [
                ("one account, one source", guess_for(Service(store), HOUR, [("alice", "192.0.2.1")])),
                (
                    "4,000 accounts, one source",
                    guess_for(Service(store), HOUR, [(f"user{n}", "192.0.2.1") for n in range(4000)], 20.0),
                ),
                (
                    "50 accounts, one source",
                    guess_for(Service(store), HOUR, [(f"user{n}", "192.0.2.1") for n in range(50)], 1.0),
                ),
                (
                    "one account, 100 sources",
                    guess_for(Service(store), HOUR, [("alice", f"192.0.2.{n}") for n in range(100)], 1.0),
                ),
            ]
            print("guesses judged in an hour, by way of four SIP servers that ask one DISC")
            for what, figure in rows:
                print(f"  {what:<44} {figure:>7,}")
            print("telephones behind one address, each tries again after 30 s: refusals, last one in")
            for old, new in ((60, 20), (100, 20), (200, 20)):
                refused, last = office(Service(store), old, new)
                print(f"  {f'{old} with old passwords, {new} right ones':<44} {refused:>7,} {last:>7.0f} s")
        print("guesses judged of those that are sent at once, by real processes")
        for workers in (1, 8):
            print(f"  {f'3,000 at one account, {workers} workers':<44} {burst(db, 3000, workers)[0]:>7,}")
        judged, right = spray(db, 4000)
        print(f"  {'4,000 names, --rechallenge':<44} {judged:>7,} the right one after them: {right}")
        print(f"right INVITEs of a trunk at once: {dict(trunk(db, 400))}")


if __name__ == "__main__":
    sys.exit(main())
