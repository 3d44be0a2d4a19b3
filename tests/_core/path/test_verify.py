"""The compiled rules against the plain ones of kit/judging.py: random questions have the same outcomes."""

from __future__ import annotations

import itertools
import random

import pytest
from kit.judging import HASHES, Asked, Judge, respond
from kit.places import ROOT
from kit.wire import (
    BODY_HASH,
    CALLING_STATION_ID,
    DESTINATION_REALM,
    NOW,
    RESOURCE,
    aa_request,
    credentials_avps,
)

from auth_diameter import Avp
from auth_diameter._core import Batch, Nonces, RequestStream
from auth_diameter._core import Judge as CompiledJudge
from auth_diameter.disc.server import Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome

KEY = b"sixteen secret bytes"
USERS = {
    ("alice", "siphub.net"): "wonderland",
    ("bob", "siphub.net"): "builder",
    ("alice", "example.org"): "looking-glass",
}
CONFIGS = {
    "default": {},
    "all algorithms": {
        "algorithms": tuple(f"{name}{sess}" for name in HASHES for sess in ("", "-sess")),
        "qop": ("auth", "auth-int"),
    },
    "bound to the source": {"bind_source": True, "algorithms": ("SHA-256", "MD5")},
}


def ask(asked: Asked, response: str, number: int) -> bytes:
    """The message with a question."""
    avps = [Avp(DESTINATION_REALM, asked.realm), Avp(RESOURCE, asked.resource)]
    if asked.username is not None:
        fields = [
            f'username="{asked.username}"',
            f'realm="{asked.realm}"',
            f'nonce="{asked.nonce}"',
            f'uri="{asked.uri}"',
            f"algorithm={asked.algorithm}",
            f'response="{response}"',
        ]
        if asked.qop is not None:
            fields += [f"qop={asked.qop}", f"nc={asked.nc:08x}"]
        if asked.qop is not None or asked.algorithm.endswith("-sess"):
            fields.append(f'cnonce="{asked.cnonce}"')
        avps += credentials_avps("Digest " + ", ".join(fields), asked.method)
    if asked.body_hash:
        avps.append(Avp(BODY_HASH, asked.body_hash, flags=0))
    if asked.source:
        avps.append(Avp(CALLING_STATION_ID, asked.source, flags=0))
    return aa_request(*avps, number=number, end_to_end=number)


def draw(random: random.Random, nonces: list[str], make: Nonces, now: float, *, bound: bool) -> Asked:
    """A question, mostly right."""

    def rarely(usual, *others):
        return random.choice(others) if random.random() < 0.07 else usual

    username, realm = random.choice(list(USERS))
    algorithm = random.choice([f"{name}{sess}" for name in HASHES for sess in ("", "-sess")][: rarely(1, 6)])
    asked = Asked(
        rarely(username, None, "nobody", "Alice"),
        rarely(realm, "nowhere.net"),
        rarely(USERS[username, realm], "guess"),
        algorithm=rarely(algorithm, "SHA-256", "MD5-sess", "MD5"),
        qop=rarely("auth", None, "auth-int"),
        nc=rarely(random.randrange(1, 20), 0, 100, 0xFFFFFFFF),
        uri=rarely(f"sip:{realm}", "sip:else.where", "sip:10.0.0.1", f"sip:x@sip.{realm}:5070"),
        resource=rarely(realm, "else.where", "10.0.0.1:5060", "bob@siphub.net"),
        method=rarely("REGISTER", "INVITE"),
        source=random.choice(["192.0.2.1", "192.0.2.2", ""]),
    )
    if random.random() < 0.8:
        asked.body_hash = "0" * (32 if asked.algorithm.startswith("MD5") else 64)
    fresh = make.make(asked.realm, now, asked.algorithm, rarely(asked.source, "") if bound else "")
    nonces.append(rarely(fresh, "0" * 56, "x", fresh[:-1] + "0", fresh.upper()))
    asked.nonce = random.choice(nonces[-6:])
    return asked


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("seed", range(4))
def test_random_questions_have_the_outcomes_of_the_plain_rules(settings, seed):
    config = VerifierConfig(**settings, penalty=False)
    draws = random.Random(seed)
    plain = Judge(USERS, KEY, config.algorithms, config.qop, config.bind_source)
    nonces: list[str] = []
    with Accounts.open(":memory:", writable=True) as accounts:
        for (user, realm), password in USERS.items():
            accounts.add_user(user, realm, password)
        disc = Disc(SqliteStore(accounts.database), config, Nonces(KEY))
        make = Nonces(KEY)
        numbers = itertools.count(1)
        now = NOW
        for _ in range(60):
            now += draws.choice([0, 1, 30, 200])
            batch, expected = b"", []
            for _ in range(draws.randrange(1, 40)):
                asked = draw(draws, nonces, make, now, bound=config.bind_source)
                response = respond(asked) if asked.username is not None else ""
                batch += ask(asked, response, next(numbers))
                expected.append((asked, plain.outcome(asked, response, now)))
            before = disc.counts.copy()
            disc.answer(requests := RequestStream().feed(batch), bytearray(), now)
            assert len(requests) == len(expected)
            found = {outcome.name: count for outcome, count in (disc.counts - before).items()}
            names = [name for _, name in expected]
            assert found == {name: names.count(name) for name in set(names)}
    names = "AUTHORIZED CHALLENGED WRONG_DIGEST UNKNOWN_USER FOREIGN_NONCE REALM_NOT_SERVED OTHER_URI"
    assert {outcome.name for outcome in disc.counts} >= set(names.split())


def test_outcomes_have_the_numbers_that_compiled_code_knows():
    """By their order in outcome.pxd."""
    text = (ROOT / "src/_core/path/outcome.pxd").read_text()
    lines = text.partition("cdef enum:\n")[2].partition("\n\n")[0].splitlines()
    named = [line.partition("#")[0].strip() for line in lines]
    assert named[1:-1] == [outcome.name for outcome in Outcome]
    assert [outcome.value for outcome in Outcome] == list(range(1, len(named) - 1))


def test_a_judge_and_a_batch_are_made_once_and_need_their_parts():
    batch = Batch([], NOW)
    with pytest.raises(TypeError):
        batch.__init__([], NOW)
    with pytest.raises(TypeError):
        batch.judge(CompiledJudge.__new__(CompiledJudge))
    with pytest.raises(TypeError):
        Batch([None], NOW)


def test_a_batch_is_written_only_once_it_is_done():
    """Or an answer would be made of nothing."""
    batch = Batch(RequestStream().feed(aa_request()), NOW)
    for start, stop in ((0, 1), (0, 0), (-1, 0), (0, 2)):
        with pytest.raises(ValueError, match="done"):
            batch.write(start, stop, bytearray())
