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
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
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
USERS = 1000
_CNONCE = "0a4f113b"
_TARGETS = {"one": (1.45, True), "_many": (1.0, True), "two threads": (1.8, False)}


class Telephones:
    """Makes requests with right credentials for nonces that `auth` issued."""

    def __init__(self, auth: ad.AuthDiameter) -> None:
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

    def _nonce(self, user: int) -> str:
        decision = self._auth.diameter_www_authorize(self._request(user, ""), "$fd")
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


def in_threads(work: Callable[[list[bytes]], int], requests: list[bytes], threads: int) -> int:
    """Shares the requests between so many threads."""
    let_in = []
    crowd = [
        threading.Thread(target=lambda part=requests[i::threads]: let_in.append(work(part)))
        for i in range(threads)
    ]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    return sum(let_in)


def timed(work: Callable[[], int], count: int) -> float:
    """Nanoseconds of one of `count` decisions, all of which must be to let in."""
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        right = work()
        took = time.perf_counter() - start
    finally:
        gc.enable()
    if right != count:
        raise SystemExit(f"bench: {count:,} requests were to be let in, {right:,} were")
    return took / count * 1e9


def measure(auth: ad.AuthDiameter, turns: int, count: int) -> dict[str, list[float]]:
    """Nanoseconds of a decision in each turn, by side."""
    phones = Telephones(auth)
    sides: dict[str, Callable[[list[bytes]], int]] = {"one": lambda requests: one_by_one(auth, requests)}
    if hasattr(auth, "diameter_www_authorize_many"):
        sides["_many"] = lambda requests: many(auth, requests)
        sides["_many, two threads"] = lambda requests: in_threads(lambda part: many(auth, part), requests, 2)
    found: dict[str, list[float]] = {name: [] for name in (*sides, "hashlib")}
    one_by_one(auth, phones.requests(count))  # a warm-up
    for _ in range(turns):
        for name, work in sides.items():
            requests = phones.requests(count)
            found[name].append(timed(lambda work=work, requests=requests: work(requests), count))
        values = values_of(phones.requests(count), phones.ha1)
        found["hashlib"].append(timed(lambda values=values: with_hashlib(values), count))
    return found


def report(found: dict[str, list[float]]) -> dict[str, float]:
    """Prints the medians, and the rows of the table of targets; the ratios."""

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(found[one], found[other], strict=True))

    common.table(
        ("row 13", "ns a decision"), [(name, f"{statistics.median(ns):.0f}") for name, ns in found.items()]
    )
    ratios = {"one": ratio("one", "hashlib")}
    if "_many" in found:
        ratios |= {
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
    if "_many" not in found:
        print("\nskipped: _many, which this version's AuthDiameter does not have")
    return ratios


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=7, help="of each side")
    parser.add_argument("--count", type=int, default=256 * 64, help="decisions of a turn")
    options = parser.parse_args()
    if not hasattr(ad.Config, "db"):
        raise SystemExit("bench: row 13 needs Config(db=...), which this version does not have")
    with tempfile.TemporaryDirectory(prefix="auth-diameter-bench-") as folder:
        db = Path(folder) / "users.sqlite"
        with Accounts.open(str(db), writable=True) as accounts:
            for user in range(USERS):
                accounts.add_user(f"u{user:07d}", REALM, f"p{user:07d}")
        with ad.AuthDiameter(ad.Config(db=str(db))) as auth:
            found = measure(auth, options.turns, options.count)
    ratios = report(found)
    result: dict[str, Any] = {"row": "13", "ratios": ratios, "nanoseconds": found}
    common.finish(options, result)


if __name__ == "__main__":
    main()
