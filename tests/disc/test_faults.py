"""DISC's answers while its database fails, and to names that try to be SQL."""

import contextlib
import os
import shutil
import sqlite3
import time

import pytest
from kit import wire
from kit.machine import PATIENCE, SLACK
from kit.wire import (
    DESTINATION_REALM,
    NOW,
    SIP_MSGID,
    USER_NAME,
    aa_request,
    credentials_avps,
    group_avps,
    result_code,
)

import auth_diameter as ad
from auth_diameter._core import RequestStream
from auth_diameter.disc.server import Disc
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.hashes import Hashes
from auth_diameter.store.schema import READER_WAIT
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.store import Algorithms, Member, StoreError
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.outcome import Outcome

REALM = "siphub.net"
UNABLE = 5012
BATCH = 100


def challenge_question(number, realm=REALM):
    return message(number, ad.Avp(DESTINATION_REALM, realm))


def group_question(number, user_name, group="staff"):
    return message(number, *group_avps(user_name, group))


def credentials_question(number, username, realm=REALM):
    value = (
        b'Digest username="' + quoted(username) + b'", realm="' + quoted(realm) + b'", nonce="0",'
        b' uri="sip:a", response="' + b"0" * 32 + b'"'
    )
    return message(number, ad.Avp(USER_NAME, "a"), *credentials_avps(value))


def quoted(text):
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def message(number, *avps):
    return aa_request(*avps, number=number, without=(SIP_MSGID,))


def of_our_client(question):
    """With an End-to-End Identifier, so that there may be challenges of several algorithms."""
    return question[:16] + b"\1\2\3\4" + question[20:]


def ask(disc, questions, now):
    """The Result-Code of each answer, by number of the question."""
    answers = wire.ask(disc, *questions, now=now)
    found = {answer.hop_by_hop: result_code(answer) for answer in answers}
    assert len(found) == len(answers), "a question was answered twice"
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A database of some pages."""
    path = tmp_path_factory.mktemp("made") / "users.sqlite"
    with Accounts.create(path) as store, store.session.changing():
        for number in range(2000):
            store.put(f"u{number}", REALM, Hashes(f"{number:032x}"), exists=False)
            store.put_group(f"u{number}", REALM, "staff")
    return path


@pytest.fixture(params=["WAL", "DELETE"])
def path(request, made, tmp_path):
    """A copy of it in either journal mode; others' tables often have the second."""
    path = tmp_path / "users.sqlite"
    shutil.copy(made, path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {request.param}")
    return path


@contextlib.contextmanager
def locked(path):
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")  # in WAL mode, readers go on
        yield
        connection.execute("ROLLBACK")


@contextlib.contextmanager
def changed(path, change):
    """What somebody else does to the bytes of the file, until they are as before."""
    data = path.read_bytes()
    change(path)
    yield
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def damaged(path):
    def overwrite(path):
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))

    return changed(path, overwrite)


def cut(path):
    return changed(path, lambda path: os.truncate(path, path.stat().st_size // 8192 * 4096))


def emptied(path):
    return changed(path, lambda path: os.truncate(path, 0))


@contextlib.contextmanager
def gone(path):
    """The file that is open goes on to be read."""
    path.rename(path.with_suffix(".gone"))
    yield
    path.with_suffix(".gone").rename(path)


@contextlib.contextmanager
def replaced_by_nonsense(path):
    whole = path.with_suffix(".whole")
    shutil.copy(path, whole)
    path.with_suffix(".new").write_bytes(b"no database\n" * 1000)
    path.with_suffix(".new").replace(path)
    yield
    whole.replace(path)


FAULTS = [locked, damaged, cut, emptied, gone, replaced_by_nonsense]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_database_that_fails_is_an_answer_in_time_and_recovers_alone(path, fault):
    """Right or 5012, and a batch waits for a lock once and not for each question."""
    now = NOW

    def batch(first):
        numbers = range(first, first + BATCH)
        questions = [challenge_question(n) if n % 3 else group_question(n, f"u{n}@{REALM}") for n in numbers]
        began = time.monotonic()
        codes = ask(disc, questions, now)
        return codes, {n: 4001 if n % 3 else 2001 for n in numbers}, time.monotonic() - began

    with SqliteStore.open(path) as store:
        disc = Disc(store)
        found, right, _ = batch(0)
        assert found == right
        with fault(path):
            for turn in range(1, 4):
                now += 1.0
                found, right, took = batch(turn * BATCH)
                assert found.keys() == right.keys()
                assert all(code in (right[number], UNABLE) for number, code in found.items())
                assert took < SLACK
        # A file in the place of another is looked at again after a second.
        deadline = time.monotonic() + PATIENCE
        while True:
            now += 1.0
            found, right, _ = batch(5 * BATCH)
            if found == right or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        assert found == right


@pytest.mark.parametrize("path", ["DELETE"], indirect=True)
def test_a_locked_database_is_waited_for_once_in_half_a_second(path):
    with SqliteStore.open(path) as store:
        disc = Disc(store)
        ask(disc, [challenge_question(0)], NOW)
        with locked(path):
            began = time.monotonic()
            codes = {}
            for number in range(100):  # each in a read of its own
                codes |= ask(disc, [challenge_question(number)], NOW + 1.0 + number / 400)
            took = time.monotonic() - began
    assert set(codes.values()) == {UNABLE}
    assert disc.counts[Outcome.STORE_FAILED] == 100
    assert took < READER_WAIT + SLACK < 100 * READER_WAIT


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_read(path):
    path.parent.chmod(0o500)
    try:
        with SqliteStore.open(path) as store:
            assert ask(Disc(store), [challenge_question(1)], NOW) == {1: 4001}
    finally:
        path.parent.chmod(0o700)


class Failing:
    """A store that fails for one kind of key."""

    def __init__(self, store, kind, error):
        self.name = store.name
        self.waits = False
        self.version = store.version
        self._store = store
        self._kind = kind
        self._error = error

    def watch(self, changed):
        pass

    async def fetch(self, keys):
        if any(isinstance(key, self._kind) for key in keys):
            raise self._error
        return await self._store.fetch(keys)


def test_a_store_that_fails_between_two_lookups_of_a_question(path):
    # What the user could be offered instead is asked for when the digest has been judged.
    config = VerifierConfig(algorithms=("SHA-256", "MD5"), rechallenge=True)
    with SqliteStore.open(path) as store:
        disc = Disc(Failing(store, Algorithms, StoreError("locked")), config)
        questions = [credentials_question(1, "u1"), group_question(2, f"u1@{REALM}"), challenge_question(3)]
        assert ask(disc, map(of_our_client, questions), NOW) == {1: UNABLE, 2: 2001, 3: UNABLE}
        assert ask(disc, [of_our_client(questions[0])], NOW) == {1: UNABLE}
    assert disc.counts[Outcome.STORE_FAILED] == 3


def test_an_error_of_ours_costs_the_question_that_it_is_about(path, caplog):
    with SqliteStore.open(path) as store:
        disc = Disc(Failing(store, Member, RuntimeError("a mistake")))
        questions = [credentials_question(1, "u1"), group_question(2, f"u1@{REALM}"), challenge_question(3)]
        for _ in range(3):
            assert ask(disc, questions, NOW) == {1: 5003, 2: UNABLE, 3: 4001}
        assert ask(disc, questions[:1], NOW) == {1: 5003}
    assert disc.counts[Outcome.FAILED] == 3
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "RuntimeError: a mistake" in caplog.text


def test_what_was_written_before_an_error_of_ours_is_not_sent_twice(path):
    """Each question is asked again alone; a second answer would be taken for that to another question."""
    with SqliteStore.open(path) as store:
        disc = Disc(Failing(store, Member, RuntimeError("a mistake")))
        questions = [challenge_question(1), challenge_question(2), group_question(3, f"u1@{REALM}")]
        out = bytearray(b"of another read")
        disc.answer(RequestStream().feed(b"".join(questions)), out, NOW)
    assert out.startswith(b"of another read"), "what is not of these questions stays"
    del out[: len(b"of another read")]
    answers = [ad.Message.decode(answer) for answer in ad.Framer().feed(out)]
    assert sorted((answer.hop_by_hop, answer.find(268).value) for answer in answers) == [
        (1, 4001),
        (2, 4001),
        (3, UNABLE),
    ]


# --- names that try to be SQL --------------------------------------------------------------------------

HOSTILE = [
    "' OR '1'='1",
    "u1' --",
    "u1'; DROP TABLE subscriber; --",
    'u1" OR ""="',
    "u1') UNION SELECT 1, ha1, ha1b, password FROM subscriber --",
    "?1",
    ":1 @a $b",
    "%",
    "u_",
    "u*",
    "[u]1",
    "u1\0",
    "\0u1",
    "u1;",
    "`u1`",
    "\\",
    "x" * 25_000,
    "𝒖1",
    "\u202eu1",
    b"\xff\xfe",
    b"u1\xed\xa0\x80",  # half a surrogate pair
    b"\xc0\xa7 OR 1=1",  # an overlong apostrophe
]


@pytest.mark.parametrize("name", HOSTILE, ids=lambda name: ascii(name)[:20])
def test_a_hostile_name_is_a_name(path, name):
    """As username, realm, user of a group check, domain, and group: an answer, nobody, and no change."""
    data = name if isinstance(name, bytes) else name.encode()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        before = "\n".join(connection.iterdump())
    with Accounts.open(path, writable=True) as accounts:
        disc = Disc(SqliteStore(accounts.database))
        codes = ask(
            disc,
            [
                credentials_question(1, data),
                credentials_question(2, data + b"@" + REALM.encode()),
                credentials_question(3, "u1", data),
                credentials_question(4, b"u1@" + data, data),
                challenge_question(5, data),
                group_question(6, data + b"@" + REALM.encode()),
                group_question(7, b"u1@" + data),
                group_question(8, f"u1@{REALM}", data),
                group_question(9, f"u1@{REALM}"),
            ],
            NOW,
        )
    assert codes[9] == 2001
    del codes[9]
    assert len(codes) == 8
    assert 2001 not in codes.values()
    assert UNABLE not in codes.values()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert "\n".join(connection.iterdump()) == before
