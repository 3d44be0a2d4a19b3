"""Does the time of DISC's answer tell whether a user exists? The long version, with the figures.

    python tests/disc_timing.py [--samples 20000]

After dudect (Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?", 2017): questions of two
classes, a known user with a wrong password and an unknown user, are asked in random order; Welch's t says
whether the means of their times differ. The slowest are cropped at several percentiles of both classes
together, for interrupts are longer than any leak, and the largest |t| counts. Beyond 4.5 it is a leak. Each
case is measured against a DISC with a leak made on purpose, too: else a t below 4.5 could mean that the
test is blind. The more samples, the smaller a difference is seen: with 20,000 some 20 ns of 15 µs.
"""

from __future__ import annotations

import argparse
import gc
import math
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import auth_diameter as ad
from auth_diameter._core import AaRequest, RequestStream
from auth_diameter.disc.server import Disc
from auth_diameter.lab.uac import authorization
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import HA1_DIGITS
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Candidates, Found, HashedCandidates, HashedUser, Key, User
from auth_diameter.verifier.config import VerifierConfig

CONFIG = VerifierConfig(algorithms=("SHA-256", "MD5"), userhash=True)
MEASURED = partial(Disc, config=CONFIG)
LEAK = 4.5  # |t| from which on dudect speaks of one
CROPS = (0.5, 0.7, 0.8, 0.9, 0.95)  # percentiles; above the last one is noise alone
REALM = "siphub.net"
NOW = 1_800_000_000.0

#: A user by number, as digests name it; half of the numbers exist. What begins with "#" is sent as its hash.
SHAPES = {"alice": "u{:07d}", "alice@siphub.net": "u{:07d}@" + REALM, "the hash of alice": "#u{:07d}"}


def make_database(path: Path, users: int) -> Path:
    """A database in which the even numbers below twice `users` are subscribers."""
    Accounts.create(path).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.executemany(
            "INSERT INTO subscriber (username, domain, ha1, ha1b) VALUES (?, ?, ?, ?)",
            ((f"u{2 * n:07d}", REALM, f"{n:032x}", f"{n + 1:032x}") for n in range(users)),
        )
    connection.close()
    return path


def questions(disc: Disc, shape: str, numbers: Sequence[int]) -> list[AaRequest]:
    """One with credentials for each user; the password is wrong, as their HA1 are nobody's."""
    stream = RequestStream()
    out = bytearray()
    head = [ad.Avp(283, REALM), ad.Avp(404, b"6"), ad.Avp(1, f"u@{REALM}")]
    disc.answer(stream.feed(ad.Message(265, head, application_id=1).encode()), out, NOW)
    challenge = ad.Challenge.parse(ad.Message.decode(bytes(out)).find(402).data.removesuffix(b"\r\n"))
    asked = []
    for number in numbers:
        name, hashed = shape.format(number).removeprefix("#"), shape.startswith("#")
        value = authorization(challenge, name, "guess", "REGISTER", f"sip:{REALM}", userhash=hashed)
        message = ad.Message(
            265, [*head, ad.Avp(401, value), ad.Avp(403, "REGISTER")], application_id=1
        ).encode()
        asked += stream.feed(message)
    return asked


def first_questions(shape: str, numbers: Sequence[int]) -> list[AaRequest]:
    """One without credentials for each user, whose name tells DISC with what to challenge it."""
    stream = RequestStream()
    asked = []
    for number in numbers:
        avps = [ad.Avp(283, REALM), ad.Avp(404, b"6"), ad.Avp(1, f"{shape.format(number)}@{REALM}")]
        asked += stream.feed(ad.Message(265, avps, application_id=1, end_to_end=1).encode())
    return asked


def largest_t(first: Sequence[int], second: Sequence[int]) -> float:
    """Welch's t of the two samples; of those under the several crops, the one farthest from 0."""
    pooled = sorted((*first, *second))
    found = []
    for crop in CROPS:
        most = pooled[int(len(pooled) * crop)]
        cropped = [[x for x in sample if x <= most] for sample in (first, second)]
        if min(map(len, cropped)) > 1:  # a leak that is large leaves nothing of one of them
            found.append(welch(*cropped))
    return max(found, key=abs)


def welch(first: Sequence[int], second: Sequence[int]) -> float:
    """Welch's t."""
    means, errors = [], 0.0
    for sample in (first, second):
        mean = math.fsum(sample) / len(sample)
        means.append(mean)
        errors += math.fsum((x - mean) ** 2 for x in sample) / (len(sample) - 1) / len(sample)
    return (means[0] - means[1]) / math.sqrt(errors)


def measure(disc: Disc, drawn: Iterator[tuple[int, AaRequest]]) -> tuple[list[int], list[int]]:
    """Nanoseconds of each question of class 0 and of class 1."""
    times: tuple[list[int], list[int]] = ([], [])
    clock, answer = time.perf_counter_ns, disc.answer
    gc.disable()
    try:
        for kind, question in drawn:
            asked, out = [question], bytearray(256)
            began = clock()
            answer(asked, out, NOW)
            times[kind].append(clock() - began)
    finally:
        gc.enable()
    return times


def hot(disc: Disc, shape: str, users: int, samples: int, seed: int) -> float:
    """The t of users who have been asked for before."""
    draw = random.Random(seed)
    # Of fewer users, the place of each one in memory would count.
    few = [2 * n for n in draw.sample(range(users), min(users, 5000))]
    numbers = [n + kind for n in few for kind in (0, 1)]
    draw.shuffle(numbers)  # for the place in memory, too
    asked = questions(disc, shape, numbers)
    for question in asked:
        disc.answer([question], bytearray(), NOW)
    classes = [[q for q, n in zip(asked, numbers, strict=True) if n % 2 == kind] for kind in (0, 1)]

    def drawn() -> Iterator[tuple[int, AaRequest]]:
        for _ in range(2 * samples):
            kind = draw.getrandbits(1)
            yield kind, classes[kind][draw.randrange(len(few))]

    return largest_t(*measure(disc, drawn()))


def cold(disc: Disc, shape: str, users: int, samples: int, seed: int) -> float:
    """The t of users who are asked for the first time; the caches are emptied now and then."""
    draw = random.Random(seed)

    def drawn() -> Iterator[tuple[int, AaRequest]]:
        left = 2 * samples
        while left:
            turn = min(users, left, 2000)
            disc._driver.cache.users.clear("user")
            disc._driver.cache.users.clear("hashed")
            kinds = [draw.getrandbits(1) for _ in range(turn)]
            numbers = [2 * n + kind for n, kind in zip(draw.sample(range(users), turn), kinds, strict=True)]
            yield from zip(kinds, questions(disc, shape, numbers), strict=True)
            left -= turn

    return largest_t(*measure(disc, drawn()))


def challenged(disc: Disc, shape: str, users: int, samples: int, seed: int) -> float:
    """The t of users who are challenged for the first time."""
    draw = random.Random(seed)
    disc.answer(first_questions(shape, [0]), bytearray(), NOW)  # which looks up what most users have

    def drawn() -> Iterator[tuple[int, AaRequest]]:
        left = 2 * samples
        while left:
            turn = min(users, left, 2000)
            disc._driver.cache.users.clear("algorithms")
            kinds = [draw.getrandbits(1) for _ in range(turn)]
            numbers = [2 * n + kind for n, kind in zip(draw.sample(range(users), turn), kinds, strict=True)]
            yield from zip(kinds, first_questions(shape, numbers), strict=True)
            left -= turn

    return largest_t(*measure(disc, drawn()))


# --- leaks made on purpose -----------------------------------------------------------------------------


class OtherDigests(SqliteStore):
    """Has two HA1 of an unknown user where a known one has one, and one for two."""

    async def fetch(self, keys: Collection[Key]) -> Found:
        found = await super().fetch(keys)
        for key, value in found.items():
            if isinstance(key, User):
                found[key] = Candidates(*other_number(value, HA1_DIGITS[key.algorithm]))
            elif isinstance(key, HashedUser):
                found[key] = value._replace(ha1s=other_number(value, HA1_DIGITS[key.algorithm])[1])
        return found


def other_number(found: Candidates | HashedCandidates, digits: int) -> tuple[bool, str]:
    """Whether a user is known, and for one who is not another number of HA1."""
    ha1s = found.ha1s
    return found.known, ha1s if found.known else ha1s[:digits] if len(ha1s) > digits else 2 * ha1s


def other_digests(store: SqliteStore) -> Disc:
    """Compares an unknown user's response with another number of HA1 than a known one's."""
    return Disc(OtherDigests(store.database), CONFIG)


class NoNeighbour(SqliteStore):
    """Looks a hash of nobody up as a name."""

    def unhashed(self, key: HashedUser) -> tuple[str, bool]:
        username, matches = super().unhashed(key)
        return username if matches else key.hashed, matches


def missing_sooner(store: SqliteStore) -> Disc:
    """Asks the database for the user's row alone, and gets none for an unknown user or a hash of nobody."""
    store.database.statements._row = None
    return Disc(NoNeighbour(store.database), CONFIG)


@dataclass(frozen=True)
class Case:
    """What is measured, and how it would look with a leak."""

    name: str
    shape: str
    play: Callable[[Disc, str, int, int, int], float]
    leaking: Callable[[SqliteStore], Disc]


CASES = (
    *(
        Case(f"{where}, {shape}", form, play, leaking)
        for where, play, leaking in (
            ("at hand", hot, other_digests),
            ("asked of SQLite", cold, missing_sooner),
        )
        for shape, form in SHAPES.items()
    ),
    Case("challenged, alice", SHAPES["alice"], challenged, missing_sooner),
)


def t_of(
    path: Path, case: Case, make: Callable[[SqliteStore], Disc], users: int, samples: int, seed: int
) -> float:
    """Of one case against a new DISC."""
    with SqliteStore.open(path) as store:
        return case.play(make(store), case.shape, users, samples, seed)


def main() -> int:
    """All cases; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=20_000, help="of each class in each case")
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    options = parser.parse_args()
    print(f"{options.samples:,} samples of each class, {options.users:,} users, seed {options.seed}")
    even = True
    with tempfile.TemporaryDirectory() as folder:
        path = make_database(Path(folder) / "users.sqlite", options.users)
        for case in CASES:
            found, seen = (
                t_of(path, case, make, options.users, samples, options.seed)
                for make, samples in ((MEASURED, options.samples), (case.leaking, options.samples // 5))
            )
            even = even and abs(found) < LEAK < abs(seen)
            print(f"{case.name}: t = {found:+.2f}; with a leak {seen:+.1f}", flush=True)
    return 0 if even else 1


if __name__ == "__main__":
    sys.exit(main())
