"""Row 13: from the bytes of a request to its Decision with the local back end, beside hashlib's part of it.

`AuthDiameter(Config(db=...))` gets requests as bytes, with right credentials, and asks no DISC. Each nonce
was issued by it, and is used eight times with a nonce count that grows; no request comes twice. One by one,
and 64 with one call of `diameter_www_authorize_many`; also in two threads. hashlib has to compute the two
MD5 of a digest whose HA1 is known, and to compare: it parses nothing, and knows no nonces. The sides take
turns.
"""

from __future__ import annotations

import gc
import hmac
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import md5
from pathlib import Path
from typing import Any

import common

import auth_diameter as ad
from auth_diameter.lab.uac import parse_reply
from auth_diameter.store.accounts import Accounts

REALM, URI = "siphub.net", "sip:siphub.net"
USES = 8  # of a nonce
MANY = 64  # requests in one call
PARTS = 2  # of a turn
USERS = 1000
_CNONCE = "0a4f113b"
_TARGETS = {"one": (1.45, True), "_many": (1.0, True), "two threads": (1.8, False)}


class Telephones:
    """Makes requests with right credentials for nonces that `auth` issued."""

    def __init__(self, auth: Any) -> None:
        self._auth = auth
        self._template = (common.HERE / "data" / "digest.sip").read_bytes()
        self._serial = 0
        self.ha1 = [ad.ha1(f"u{user:07d}", REALM, f"p{user:07d}") for user in range(USERS)]

    def _request(self, user: int, authorization: str) -> bytes:
        self._serial += 1
        values = {
            b"{serial}": b"%08d" % self._serial, b"{source}": b"127.0.0.1:5066", b"{user}": b"u%07d" % user,
            b"{authorization}": authorization.encode(),
        }  # fmt: skip
        data = self._template
        for place, value in values.items():
            data = data.replace(place, value)
        return data

    def _decide(self, data: bytes) -> ad.Decision:
        decision: ad.Decision = self._auth.diameter_www_authorize(data, "$fd")
        return decision

    def _nonce(self, user: int) -> str:
        decision = self._decide(self._request(user, ""))
        challenge = parse_reply(decision.reply).challenge()
        if challenge is None:
            raise SystemExit(f"bench: expected a challenge, got {decision}")
        return challenge.nonce

    def requests(self, count: int) -> list[bytes]:
        """So many requests; their users, and the uses of their nonces, are mixed."""
        made = []
        users = -(-count // USES)
        nonces = [self._nonce(user % USERS) for user in range(users)]
        for use in range(1, USES + 1):
            for i, nonce in enumerate(nonces):
                user = i % USERS
                response = ad.digest_response(
                    self.ha1[user], "REGISTER", URI, nonce, qop="auth", nc=f"{use:08x}", cnonce=_CNONCE
                )
                made.append(
                    self._request(
                        user,
                        f'Authorization: Digest username="u{user:07d}", realm="{REALM}", nonce="{nonce}", '
                        f'uri="{URI}", response="{response}", algorithm=MD5, cnonce="{_CNONCE}", qop=auth, '
                        f"nc={use:08x}\r\n",
                    )
                )
        return made[:count]


def values_of(requests: list[bytes], ha1: list[str]) -> list[tuple[str, ...]]:
    """What hashlib's side starts from: HA1, nonce, nc and response of each request."""
    found = []
    for data in requests:
        credentials = ad.SipRequest(data).credentials(REALM)
        assert credentials is not None
        user = int(credentials.username[1:])
        found.append((ha1[user], credentials.nonce, credentials.nc or "", credentials.response))
    return found


def with_hashlib(values: list[tuple[str, ...]]) -> int:
    """Verifies all; how many are right."""
    right = 0
    for ha1, nonce, nc, response in values:
        ha2 = md5(f"REGISTER:{URI}".encode()).hexdigest()
        wanted = md5(f"{ha1}:{nonce}:{nc}:{_CNONCE}:auth:{ha2}".encode()).hexdigest()
        right += hmac.compare_digest(wanted, response)
    return right


def one_by_one(auth: ad.AuthDiameter, requests: list[bytes]) -> int:
    """Decides all, one with each call; how many are let in."""
    decide = auth.diameter_www_authorize
    return sum(decide(data, "$fd").authorized for data in requests)


def many(auth: ad.AuthDiameter, requests: list[bytes]) -> int:
    """Decides all, 64 with each call; how many are let in."""
    let_in = 0
    for first in range(0, len(requests), MANY):
        decisions = auth.diameter_www_authorize_many(requests[first : first + MANY], "$fd")
        let_in += sum(decision.authorized for decision in decisions)
    return let_in


def in_two(pool: ThreadPoolExecutor, auth: ad.AuthDiameter, requests: list[bytes]) -> int:
    """The same in two threads, each with half of them."""
    return sum(pool.map(many, [auth] * 2, [requests[i::2] for i in range(2)]))


def two_cores() -> ThreadPoolExecutor:
    """Two threads, each on a core of its own: the kernel may leave both on one for a whole turn."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("bench: row 13 needs two cores")
    return ThreadPoolExecutor(2, initializer=lambda: os.sched_setaffinity(0, {cores.pop()}))


def timed(side: Callable[[list[Any]], int], work: list[Any]) -> float:
    """Nanoseconds that a side took for its work; all of it must be let in."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        right = side(work)
        took = time.perf_counter() - start
    finally:
        gc.enable()
    if right != len(work):
        raise SystemExit(f"bench: {len(work):,} requests were to be let in, {right:,} were")
    return took * 1e9


def measure(
    auth: ad.AuthDiameter, pool: ThreadPoolExecutor, turns: int, count: int
) -> dict[str, list[float]]:
    """Nanoseconds of a decision in each turn, by side.

    All of a turn is made before it. Then the sides do a part of it each, one after the other, and so on: the
    speed of a core may change within a second.
    """
    phones = Telephones(auth)
    many_of = {
        "one": lambda requests: one_by_one(auth, requests),
        "_many": lambda requests: many(auth, requests),
        "_many, two threads": lambda requests: in_two(pool, auth, requests),
    }
    sides: dict[str, Callable[[list[Any]], int]] = {**many_of, "hashlib": with_hashlib}
    found: dict[str, list[float]] = {name: [] for name in sides}
    one_by_one(auth, phones.requests(count))  # a warm-up
    in_two(pool, auth, phones.requests(count))
    part = count // PARTS
    for _ in range(turns):
        work: dict[str, list[Any]] = {name: phones.requests(count) for name in many_of}
        work["hashlib"] = values_of(phones.requests(count), phones.ha1)
        spent = dict.fromkeys(sides, 0.0)
        for start in range(0, count, part):
            for name, side in sides.items():
                spent[name] += timed(side, work[name][start : start + part])
        for name, nanoseconds in spent.items():
            found[name].append(nanoseconds / count)
    return found


def report(found: dict[str, list[float]]) -> dict[str, float]:
    """Prints the medians, and the rows of the table of targets; the ratios."""

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(found[one], found[other], strict=True))

    common.table(
        ("row 13", "ns a decision"), [(name, f"{statistics.median(ns):.0f}") for name, ns in found.items()]
    )
    ratios = {
        "one": ratio("one", "hashlib"),
        "_many": ratio("_many", "hashlib"),
        "two threads": ratio("_many", "_many, two threads"),
    }
    print()
    common.table(
        ("row 13", "ratio", "target", ""),
        [
            (
                name, f"{value:.2f}", f"{'≤' if at_most else '≥'} {target}",
                common.verdict(value, target, at_most=at_most),
            )
            for name, value in ratios.items()
            for target, at_most in [_TARGETS[name]]
        ],
    )  # fmt: skip
    return ratios


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=9, help="of each side")
    parser.add_argument("--count", type=int, default=512 * 64, help="decisions of a turn")
    options = parser.parse_args()
    if not hasattr(ad.Config, "db"):
        raise SystemExit("bench: row 13 needs Config(db=...), which this version does not have")
    with tempfile.TemporaryDirectory(prefix="auth-diameter-bench-") as folder:
        db = Path(folder) / "users.sqlite"
        with Accounts.open(str(db), writable=True) as accounts:
            for user in range(USERS):
                accounts.add_user(f"u{user:07d}", REALM, f"p{user:07d}")
        with ad.AuthDiameter(ad.Config(db=str(db))) as auth, two_cores() as pool:
            found = measure(auth, pool, options.turns, options.count)
    ratios = report(found)
    result: dict[str, Any] = {"row": "13", "ratios": ratios, "nanoseconds": found}
    common.finish(options, result)


if __name__ == "__main__":
    main()
