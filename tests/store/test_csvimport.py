"""The CSV import: what a file may hold, and that a bad one changes nothing."""

import contextlib
import csv
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc

import pytest
from kit.lookups import accounts_of, algorithms, ha1, ha1_candidates, served_realms
from kit.process import OURS
from kit.tables import HA1, HA1B

import auth_diameter as ad
from auth_diameter._core import RequestStream
from auth_diameter._core.errors import ConfigError
from auth_diameter.disc.server import Disc
from auth_diameter.lab.uac import authorization
from auth_diameter.store import importing, schema
from auth_diameter.store.accounts import Accounts
from auth_diameter.store.csvform import MAX_LINE
from auth_diameter.store.csvimport import import_csv
from auth_diameter.store.hashes import Hashes, compute_ha1
from auth_diameter.store.importing import MAX_PROBLEMS, BadRowsError, Imported, Options
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig


def run(store, content, **options):
    data = content if isinstance(content, bytes) else content.encode()
    return import_csv(store, io.BytesIO(data), name="users.csv", options=Options(**options))


def problems(store, content, **options):
    with pytest.raises(BadRowsError) as error:
        run(store, content, **options)
    assert "\n" not in str(error.value)
    return error.value.problems


# --- what is taken --------------------------------------------------------------------------------


def test_passwords_are_hashed(store):
    result = run(store, "username,domain,password\nalice,siphub.net,secret\n")
    assert result == Imported(added=1, replaced=0, unchanged=0, memberships=0)
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1B, HA1)


def test_hashes_of_sha_2_are_taken_and_may_be_missing(store):
    sha_256, sha_512 = (compute_ha1("alice", "siphub.net", "secret", a) for a in ("SHA-256", "SHA-512-256"))
    run(
        store,
        "username,domain,ha1,ha1_sha256,ha1_sha512t256\n"
        f"alice,siphub.net,{HA1},{sha_256.upper()},{sha_512}\n"
        f"bob,siphub.net,{HA1},,\n",
    )
    assert ha1(store, "alice", "siphub.net", "SHA-256") == sha_256
    assert ha1(store, "alice", "siphub.net", "SHA-512-256") == sha_512
    assert algorithms(store, "bob", "siphub.net") == ("MD5",)
    found = problems(store, f"username,domain,ha1,ha1_sha256\ncarol,siphub.net,{HA1},{HA1}\n")
    assert found == ("users.csv, line 2: column ha1_sha256: must be 64 hex digits",)


def test_hashes_are_taken_in_either_case_with_or_without_ha1b(store):
    run(store, f"username,domain,ha1,ha1b\nalice,siphub.net,{HA1.upper()},{HA1B}\n")
    run(store, f"username,domain,ha1\nalice,a.net,{HA1}\n")
    run(store, f"username,domain,ha1,ha1b\nalice,b.net,{HA1},\n")
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1B, HA1)
    assert ha1_candidates(store, "alice@a.net", "a.net") == (HA1,)
    assert ha1_candidates(store, "alice@b.net", "b.net") == (HA1,)


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfusername,domain,password\nalice,siphub.net,secret\n",
        b"username,domain,password\r\nalice,siphub.net,secret\r\n",
        b"username,domain,password\nalice,siphub.net,secret",
        b"username,domain,password\n\nalice,siphub.net,secret\n\n",
        b" Password ,DOMAIN,UserName\nsecret,SIPHub.net,alice\n",
        b'"username","domain","password"\n"alice","siphub.net","secret"\n',
    ],
    ids=["byte order mark", "CRLF", "no last newline", "empty lines", "order and case", "quotes"],
)
def test_forms_of_the_same_file(store, content):
    run(store, content)
    assert ha1(store, "alice", "siphub.net") == HA1


def test_a_password_may_hold_what_csv_can_quote(store):
    run(store, 'username,domain,password\nalice,siphub.net,"a,""b"": ö "\n')
    assert ha1(store, "alice", "siphub.net") == compute_ha1("alice", "siphub.net", 'a,"b": ö ')


def test_groups_are_separated_by_semicolons(store):
    result = run(
        store,
        "username,domain,groups,password\n"
        "alice,siphub.net, staff;voicemail; ;staff,secret\n"
        "bob,siphub.net,,secret\n",
    )
    assert result == Imported(added=2, replaced=0, unchanged=0, memberships=2)
    assert store.groups("alice", "siphub.net") == ("staff", "voicemail")
    assert store.groups("bob", "siphub.net") == ()


def test_a_header_alone_imports_nothing(store):
    assert run(store, "username,domain,password\n") == Imported(0, 0, 0, 0)


def test_existing_users_are_replaced_when_asked_for_and_keep_their_groups(store):
    store.add_user("alice", "siphub.net", "former")
    store.add_group("alice", "siphub.net", "staff")
    content = "username,domain,password,groups\nalice,SIPHub.net,secret,vip\nbob,b.net,x,\n"
    assert run(store, content, replace=True) == Imported(added=1, replaced=1, unchanged=0, memberships=1)
    assert ha1(store, "alice", "siphub.net") == HA1
    assert store.groups("alice", "siphub.net") == ("staff", "vip")


def test_users_join_a_realm_in_the_spelling_it_has(store):
    with store.session.changing():
        store.put("bob", "SIPHub.NET", Hashes(HA1), exists=False)
    run(store, "username,domain,password\nalice,siphub.net,secret\n")
    assert served_realms(store) == {"SIPHub.NET"}
    assert ha1(store, "alice", "siphub.net") == compute_ha1("alice", "SIPHub.NET", "secret")


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("", "line 1: column username: missing, for the file is empty"),
        ("username,password", "column domain: is missing in the header"),
        ("domain,password", "column username: is missing in the header"),
        ("username,domain", "column password: is missing in the header, and so is ha1"),
        ("username,domain,password,password", "column password: is there twice"),
        ("alice,siphub.net,topsecret", "line 1: does not name the columns: put a header line in front of it"),
        ("alice|siphub.net|topsecret", "line 1: holds neither comma nor semicolon nor tab"),
    ],
)
def test_headers_that_do_not_fit(store, header, why):
    (problem,) = problems(store, header)
    assert why in problem
    assert "topsecret" not in problem


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a:b,siphub.net,topsecret", "column username: holds ':'"),
        (",siphub.net,topsecret", "column username: is empty"),
        ("alice,,topsecret", "column domain: is empty"),
        ("alice, siphub.net,topsecret", "column domain: begins or ends with a space"),
        ("alice,siphub.net,", "column password: is empty"),
        ('alice,siphub.net,"top\nsecret"', "column password: holds the character U+000A"),
        ("alice,siphub.net", "has 2 columns, the header has 3"),
        ("alice,siphub.net,topsecret,", "has 4 columns, the header has 3"),
        ('alice,siphub.net,"topsecret"x', "is not CSV"),
        ('alice,siphub.net,"topsecret', "is not CSV"),
        ("alice,siphub.net,topsecret\r\0", "is not CSV"),
    ],
)
def test_a_bad_row_is_named_by_line_and_column_without_its_values(store, row, why):
    (problem,) = problems(store, f"username,domain,password\nbob,b.net,x\n{row}")
    assert problem.startswith("users.csv, line 3: ")
    assert why in problem
    assert "topsecret" not in problem
    assert store.count_users() == 0


@pytest.mark.parametrize("value", ["", "g" * 32, HA1[1:], HA1 + " "])
def test_a_hash_must_be_32_hex_digits(store, value):
    (problem,) = problems(store, f"username,domain,ha1\nalice,siphub.net,{value}\n")
    assert problem == "users.csv, line 2: column ha1: must be 32 hex digits"


def test_a_group_is_checked(store):
    (problem,) = problems(store, "username,domain,password,groups\na,a.net,x,g\0h\n")
    assert problem.startswith("users.csv, line 2: ")


def test_bytes_that_are_not_utf_8_are_named_by_line(store):
    content = b"username,domain,password\nbob,b.net,x\nal\xefce,siphub.net,topsecret\n"
    (problem,) = problems(store, content)
    assert problem == "users.csv, line 3: is not UTF-8 from byte 2 of the line; save it as 'CSV UTF-8'"


def test_a_file_that_is_no_csv_at_all_takes_no_memory(store):
    (problem,) = problems(store, b"username,domain,password\n" + b"x" * (MAX_LINE + 1))
    assert problem == f"users.csv, line 2: is longer than {MAX_LINE} bytes"


def test_a_user_twice_in_the_file_names_both_lines(store):
    content = "username,domain,password\na,a.net,x\nb,a.net,x\na,A.net,y\n"
    (problem,) = problems(store, content, batch=1)
    assert problem == "users.csv, line 4: column username: user a@a.net is in line 2 already"
    assert store.count_users() == 0


def test_an_existing_user_is_refused(store):
    store.add_user("alice", "siphub.net", "secret")
    (problem,) = problems(store, "username,domain,password\nalice,SIPHub.net,other\n")
    assert problem == (
        "users.csv, line 2: column username: user alice@siphub.net exists already with another password"
    )
    assert ha1(store, "alice", "siphub.net") == HA1


def test_a_user_who_is_there_just_as_in_the_file_is_no_conflict(store):
    content = "username,domain,password,groups\nalice,siphub.net,secret,vip\nbob,siphub.net,x,\n"
    assert run(store, content) == Imported(added=2, replaced=0, unchanged=0, memberships=1)
    store.delete_group("alice", "siphub.net", "vip")
    assert run(store, content) == Imported(added=0, replaced=0, unchanged=2, memberships=1)
    assert store.groups("alice", "siphub.net") == ("vip",)


def test_a_plain_password_in_the_row_is_a_conflict(store):
    """Else it would stay there after an import that stores hashes alone."""
    run(store, "username,domain,password\nalice,siphub.net,secret\n")
    with store.session.changing() as connection:
        connection.exec_driver_sql("UPDATE subscriber SET password = 'secret'")
    (problem,) = problems(store, "username,domain,password\nalice,siphub.net,secret\n")
    assert "exists already" in problem


def test_many_bad_rows_are_named_up_to_a_bound(store):
    content = "username,domain,password\n" + "a:b,a.net,x\n" * 1000
    found = problems(store, content)
    assert len(found) == MAX_PROBLEMS
    assert found[1].startswith("users.csv, line 3: ")


def test_good_batches_before_a_bad_row_are_not_written(store):
    content = "username,domain,password\n" + "".join(f"u{n},a.net,x\n" for n in range(50))
    problems(store, content + "a:b,a.net,x\n", batch=10)
    assert store.count_users() == 0
    assert run(store, content, batch=10).added == 50  # and the store is still good


def test_a_store_open_for_reading_takes_no_import(store, path):
    with Accounts.open(path) as reader, pytest.raises(ConfigError, match="for reading only"):
        run(reader, "username,domain,password\n")


# --- size, progress, interruption -----------------------------------------------------------------


class Rows(io.RawIOBase):
    """A file of so many rows that is nowhere whole."""

    def __init__(self, count):
        self._lines = (f"user{number},siphub.net,x\n".encode() for number in range(count))
        self._header = [b"username,domain,password\n"]

    def readline(self, size=-1):
        return self._header.pop() if self._header else next(self._lines, b"")


def test_progress_is_reported_after_each_batch(store):
    seen = []
    import_csv(store, Rows(250), name="-", options=Options(batch=100, progress=lambda *now: seen.append(now)))
    assert seen == [
        ("check", 100, None),
        ("check", 200, None),
        ("check", 250, None),
        ("write", 100, 250),
        ("write", 200, 250),
        ("write", 250, 250),
    ]


def test_memory_does_not_grow_with_the_file(store):
    tracemalloc.start()
    try:
        import_csv(store, Rows(20_000), name="-")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4_000_000
    assert store.count_users() == 20_000


def test_readers_go_on_during_an_import(store, path):
    store.add_user("alice", "siphub.net", "secret")
    with SqliteStore.open(path) as reader:
        counts = []

        def look(stage, done, total):
            assert ha1(reader, "alice", "siphub.net") == HA1
            counts.append((stage, accounts_of(reader).count_users() - 1))

        import_csv(store, Rows(300), name="-", options=Options(batch=100, progress=look))
    assert counts == [("check", 0)] * 4 + [("write", 100), ("write", 200), ("write", 300)]


def test_a_lock_in_the_second_pass_says_how_far_it_came(path, monkeypatch):
    monkeypatch.setattr(schema, "WRITER_WAIT", 0.05)
    with Accounts.create(path) as store, Accounts.open(path, writable=True) as other:

        def lock(stage, done, total):
            if stage == "write" and done == 100:
                other.database.connection.execute("BEGIN IMMEDIATE")

        with pytest.raises(ConfigError, match=r"locked .*\(100 of 300 users are imported\)"):
            import_csv(store, Rows(300), name="-", options=Options(batch=100, progress=lock))
        other.database.connection.execute("ROLLBACK")
        assert store.count_users() == 100
        result = import_csv(store, Rows(300), name="-")
        assert result == Imported(added=200, replaced=0, unchanged=100, memberships=0)


def test_a_user_who_appears_between_the_passes_stops_the_import(store, path):
    with Accounts.open(path, writable=True) as other:

        def add(stage, done, total):
            if stage == "check" and done == 3 and other.count_users() == 0:
                other.add_user("user1", "siphub.net", "theirs")

        with pytest.raises(ConfigError, match=r"refuses a row.*\(0 of 3 users are imported\)"):
            import_csv(store, Rows(3), name="-", options=Options(progress=add))
    assert store.count_users() == 1


_KILLED = """
import os, signal, sys
from auth_diameter.store.csvimport import import_csv
from auth_diameter.store.importing import Options
from auth_diameter.store.accounts import Accounts

def kill(stage, done, total):
    if stage == "write" and done == 200:
        os.kill(os.getpid(), signal.SIGKILL)

store = Accounts.open(sys.argv[1], writable=True)
options = Options(batch=100, progress=kill)
import_csv(store, open(sys.argv[2], "rb"), name="-", options=options)
"""


def test_a_kill_in_the_second_pass_leaves_whole_batches(store, path, tmp_path):
    source = tmp_path / "users.csv"
    source.write_text("username,domain,password\n" + "".join(f"u{n},a.net,x\n" for n in range(500)))
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, path, source],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert store.count_users() == 200
    with source.open("rb") as file:
        result = import_csv(store, file, name="users.csv")
    assert result == Imported(added=300, replaced=0, unchanged=200, memberships=0)


def test_an_import_killed_anywhere_is_completed_by_the_same_command(tmp_path):
    """Ten kills at moments spread over the import; `faults/campaign.py` has a hundred, while DISC reads."""
    count = 2000
    source, path = tmp_path / "users.csv", tmp_path / "users.sqlite"
    source.write_text(
        "username,domain,password,groups\n" + "".join(f"u{n},a.net,x,staff\n" for n in range(count))
    )
    command = [*OURS, "user", "import", source, "--db", path]
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    took = time.monotonic() - began
    for number in range(10):
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript("DELETE FROM subscriber WHERE id > 10; DELETE FROM grp")
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(took * (0.3 + 0.07 * number))
        process.kill()
        process.wait()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert whole_users(connection)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert " 0 changed" in done.stdout
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert whole_users(connection) == count


def whole_users(connection):
    """How many users there are; each has both hashes and, but for those that were left, its group."""
    users = connection.execute(
        "SELECT s.id, length(ha1), length(ha1b), grp FROM subscriber s LEFT JOIN grp USING (username, domain)"
    ).fetchall()
    assert {(ha1, ha1b) for _, ha1, ha1b, _ in users} == {(32, 32)}
    assert {group for number, _, _, group in users if number > 10} <= {"staff"}
    return len(users)


# --- realms in their spelling ---------------------------------------------------------------------
#
# HA1 is made over one spelling of the realm. A challenge has the spelling that the table has, so an HA1 for
# another one would never let anybody in.

PBX = "3CXPhoneSystem"


def hashes_of(username, realm, password="secret"):
    """What an operator has who exports from another system: all that our columns take."""
    return ",".join(Hashes.of(username, realm, password))


HASHES = "username,domain,ha1,ha1b,ha1_sha256,ha1_sha512t256\n"


def login(path, username, realm, password="secret", algorithm="MD5", asked=None):
    """The Result-Code of a telephone's answer to DISC's challenge, and the realm in that challenge."""
    algorithms = ("MD5", "SHA-256", "SHA-512-256")
    avps = [ad.Avp(283, (asked or realm).lower()), ad.Avp(404, b"6"), ad.Avp(1, f"{username}@{realm}")]

    def ask(disc, *more):
        out = bytearray()
        message = ad.Message(265, [*avps, *more], application_id=1, end_to_end=1)
        disc.answer(RequestStream().feed(message.encode()), out, 1_800_000_000.0)
        return ad.Message.decode(bytes(out))

    with SqliteStore.open(path) as reader:
        disc = Disc(reader, VerifierConfig(algorithms=algorithms))
        challenges = [ad.Challenge.parse(avp.data.removesuffix(b"\r\n")) for avp in ask(disc).find_all(402)]
        (challenge,) = (one for one in challenges if one.algorithm == algorithm)
        value = authorization(challenge, username, password, "REGISTER", f"sip:{realm}")
        answer = ask(disc, ad.Avp(401, value), ad.Avp(403, "REGISTER"))
    return answer.find(268).value, challenge.realm


@pytest.mark.parametrize(
    ("algorithm", "username"),
    [("MD5", "1000"), ("MD5", f"1000@{PBX}"), ("SHA-256", "1000"), ("SHA-512-256", "1000")],
)
def test_an_ha1_for_a_realm_with_capitals_lets_its_user_in(store, path, algorithm, username):
    run(store, f"{HASHES}1000,{PBX},{hashes_of('1000', PBX)}\n")
    assert login(path, username, PBX, algorithm=algorithm) == (2001, PBX)
    assert login(path, username, PBX, "guess", algorithm=algorithm) == (5003, PBX)


def test_the_spelling_of_the_realm_is_kept_for_each_user_of_it(store, path):
    rows = "".join(f"{n},{PBX},{hashes_of(str(n), PBX)}\n" for n in range(1000, 1003))
    assert run(store, HASHES + rows).added == 3
    assert run(store, HASHES + rows).unchanged == 3
    assert served_realms(store) == {PBX}
    assert login(path, "1002", PBX) == (2001, PBX)
    # Passwords come later under the spelling that is there.
    run(store, "username,domain,password\n2000,3cxphonesystem,secret\n")
    store.add_user("2001", "3CXPHONESYSTEM", "secret")
    assert login(path, "2000", PBX) == login(path, "2001", PBX) == (2001, PBX)


def test_a_password_beside_its_hash_keeps_the_spelling_for_those_who_have_the_hash_alone(store, path):
    own, other = Hashes.of("1000", PBX, "secret"), Hashes.of("1001", PBX, "secret")
    run(
        store,
        "id,username,domain,password,ha1,ha1b\n"
        f"1,1000,{PBX},secret,{own.ha1},{own.ha1b}\n2,1001,{PBX},,{other.ha1},{other.ha1b}\n",
    )
    assert login(path, "1000", PBX) == login(path, "1001", PBX) == (2001, PBX)


def test_an_ha1_for_another_spelling_than_the_tables_is_refused(store, path):
    store.add_user("bob", PBX, "secret")  # the table has it in lower case
    found = problems(store, f"{HASHES}1000,{PBX},{hashes_of('1000', PBX)}\n")
    assert found == (
        "users.csv, line 2: column domain: the database has this realm as '3cxphonesystem', and an HA1 is "
        "good only for the spelling that it was made with; import passwords, or delete that realm's users "
        "first",
    )
    assert store.count_users() == 1
    run(store, f"{HASHES}1000,3cxphonesystem,{hashes_of('1000', '3cxphonesystem')}\n")
    assert login(path, "1000", "3cxphonesystem") == (2001, "3cxphonesystem")


def test_replacing_is_no_way_around_it(store):
    store.add_user("1000", PBX, "secret")
    content = f"{HASHES}1000,{PBX},{hashes_of('1000', PBX)}\n"
    assert "the database has this realm as" in problems(store, content, replace=True)[0]
    store.delete_user("1000", PBX)
    assert run(store, content).added == 1


def test_two_spellings_of_a_realm_in_one_file(store, path):
    """With HA1 one of them cannot be right; with passwords it does not matter."""
    rows = f"a,A.net,{hashes_of('a', 'A.net')}\nb,b.net,{hashes_of('b', 'b.net')}\nc,a.net,"
    found = problems(store, HASHES + rows + hashes_of("c", "a.net") + "\n", batch=1)
    assert found == (
        "users.csv, line 4: column domain: line 2 has this realm as 'A.net', and an HA1 is good only for the "
        "spelling that it was made with",
    )
    assert store.count_users() == 0
    run(store, "username,domain,password\na,A.net,secret\nc,a.net,secret\n")
    assert login(path, "a", "a.net") == login(path, "c", "a.net") == (2001, "a.net")


def test_spellings_are_remembered_however_many_realms_a_file_has(store, monkeypatch):
    monkeypatch.setattr(importing, "_MAX_DOMAINS", 3)
    rows = "".join(f"u,Realm{n}.net,{HA1}\n" for n in range(10))
    found = problems(store, f"username,domain,ha1\n{rows}v,realm0.net,{HA1}\n")
    assert [problem.partition(" has this")[0] for problem in found] == [
        "users.csv, line 12: column domain: line 2"
    ]


def test_a_password_in_a_row_of_another_spelling_is_hashed_for_what_is_challenged(store, path):
    """Tables of other programs may have a realm in two spellings; a challenge has one of them."""
    with store.session.changing():
        store.put("alice", "SIPHub.NET", Hashes(HA1), exists=False)
        store.put("bob", "siphub.net", Hashes(HA1), exists=False)
    store.add_user("alice", "siphub.net", "secret", replace=True)
    assert login(path, "alice", "siphub.net") == (2001, "siphub.net")
    run(store, "username,domain,password\nalice,SIPHub.NET,other\n", replace=True)
    assert login(path, "alice", "siphub.net", "other") == (2001, "siphub.net")
    run(store, f"username,domain,ha1\nalice,siphub.net,{HA1}\n", replace=True)
    assert login(path, "alice", "siphub.net") == (2001, "siphub.net")
    assert {str(user) for user in store.users()} == {"alice@SIPHub.NET", "bob@siphub.net"}


# --- files as other programs write them -----------------------------------------------------------


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_separator_is_found_out(store, separator, end, quoting):
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
    passwords = ["secret", "a b", "a'b", "a:b", "a|b"]
    if separator != "\t" or quoting == csv.QUOTE_ALL:
        passwords += ['a"b', '"ab"', "a,b", "a;b", "a,b;c", '";"', "a\\b", "\\N", "NULL"]
    writer.writerow(["username", "domain", "password"])
    writer.writerows([f"u{n}", "siphub.net", password] for n, password in enumerate(passwords))
    assert run(store, "\ufeff" + text.getvalue()).added == len(passwords)
    for number, password in enumerate(passwords):
        assert ha1(store, f"u{number}", "siphub.net") == compute_ha1(f"u{number}", "siphub.net", password)


@pytest.mark.parametrize(
    ("separator", "groups"),
    [
        (",", "staff;vip"),
        (",", '"staff; vip"'),
        ("\t", "staff;vip"),
        (";", '"staff;vip"'),
        (";", "staff,vip"),
        (";", '"staff, vip"'),
    ],
)
def test_groups_beside_each_separator(store, separator, groups):
    """Semicolons are between them, in quotation marks where those separate columns; commas do there, too."""
    header = separator.join(("username", "domain", "groups", "password"))
    run(store, f"{header}\n{separator.join(('alice', 'siphub.net', groups, 'secret'))}\n")
    assert store.groups("alice", "siphub.net") == ("staff", "vip")


def test_excel_names_the_separator_in_a_line_before_the_header(store):
    run(store, "\ufeffsep=;\r\nusername;domain;password\r\nalice;siphub.net;secret\r\n")
    assert ha1(store, "alice", "siphub.net") == HA1
    (problem,) = problems(store, "sep=;\nusername;domain;password\nbob;b.net;x\na:b;b.net;topsecret\n")
    assert problem.startswith("users.csv, line 4: column username: holds ':'")
    assert problems(store, "sep=|\nusername|domain|password\n") == (
        "users.csv, line 1: names another separator than comma, semicolon or tab",
    )
    assert "line 2" in problems(store, "sep=;\nalice;siphub.net;topsecret\n")[0]
    assert "the file is empty" in problems(store, "sep=;\n")[0]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("username\tdomain\tpassword\n".encode("utf-16"), "is UTF-16, as Excel's 'Unicode Text' is"),
        ("username\tdomain\tpassword\n".encode("utf-16-le"), "is UTF-16 or no text at all"),
        (b"PK\x03\x04\x14\0\x06\0\x08\0!", "is a workbook or an archive, not CSV"),
        (b"SQLite format 3\0\x10\0", "is a database, not CSV: name it with --db"),
        (b"username,domain,password\ralice,siphub.net,topsecret\r", "ends with CR alone"),
        (b"+------+\n| username | domain |\n", "holds neither comma nor semicolon nor tab"),
        (b" id | username | domain | password\n----+---\n", "holds neither comma nor semicolon nor tab"),
        (b"1|alice|siphub.net|topsecret||\n", "holds neither comma nor semicolon nor tab"),
    ],
    ids=["UTF-16", "UTF-16 unmarked", "xlsx", "SQLite", "CR", "mysql --table", "psql", "sqlite3"],
)
def test_a_file_of_another_form_is_told_what_to_do(store, content, why):
    (problem,) = problems(store, content)
    assert problem.startswith("users.csv, line 1: ")
    assert why in problem
    assert "topsecret" not in problem


# Of alice, whose row holds the password and its hashes, and of bob, who has hashes alone.
BOB, BOB_B = compute_ha1("bob", "siphub.net", "x"), compute_ha1("bob@siphub.net", "siphub.net", "x")
KAMAILIO_ROWS = [
    ["1", "alice", "siphub.net", "secret", HA1, HA1B],
    ["2", "bob", "siphub.net", "", BOB, BOB_B],
]
KAMAILIO_4_ROWS = [
    ["1", "alice", "siphub.net", "secret", "alice@example.org", HA1, HA1B, ""],
    ["2", "bob", "siphub.net", "", "", BOB, BOB_B, "+1"],
]
OURS_ROWS = [
    ["1", "alice", "siphub.net", "", *Hashes.of("alice", "siphub.net", "secret")],
    ["2", "bob", "siphub.net", "", BOB, BOB_B, "", ""],
]
DUMPS = {
    "Kamailio": (["id", "username", "domain", "password", "ha1", "ha1b"], KAMAILIO_ROWS),
    "Kamailio 4": (
        ["id", "username", "domain", "password", "email_address", "ha1", "ha1b", "rpid"],
        KAMAILIO_4_ROWS,
    ),
    "ours": (
        ["id", "username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256"],
        OURS_ROWS,
    ),
    "ours, MD5 first": (
        ["id", "username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256"],
        OURS_ROWS[::-1],
    ),
}


@pytest.mark.parametrize("header", [True, False], ids=["header", "no header"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("dump", DUMPS)
def test_a_dump_of_kamailios_table_is_taken_as_it_is(store, path, dump, separator, header):
    """As `sqlite3 -csv`, `psql --csv` and `mysql --batch` write it, with a header or without."""
    titles, rows = DUMPS[dump]
    lines = [separator.join(row) for row in ([titles, *rows] if header else rows)]
    done = run(store, "\n".join(lines) + "\n")
    assert (done.added, done.memberships) == (2, 0)
    used = ("username", "domain", "password", "ha1", "ha1b", "ha1_sha256", "ha1_sha512t256")
    assert done.not_used == (tuple(title for title in titles if title not in used) if header else ())
    assert login(path, "alice", "siphub.net") == login(path, "bob", "siphub.net", "x") == (2001, "siphub.net")
    assert algorithms(store, "alice", "siphub.net") == ("MD5", "SHA-256", "SHA-512-256")
    assert algorithms(store, "bob", "siphub.net") == ("MD5",)
    assert not any(user.plain_password for user in store.users())


def test_sqlite3s_own_dump_of_a_table_is_taken(store, kamailio, tmp_path):
    if not shutil.which("sqlite3"):
        pytest.skip("needs the program sqlite3")
    kamailio(("alice", "siphub.net", 'se"c,ret', "", ""), ("bob", "siphub.net", "", BOB, BOB_B))
    query = "SELECT * FROM subscriber ORDER BY id DESC"
    for options in (["-csv"], ["-csv", "-header"]):
        dump = subprocess.run(["sqlite3", *options, kamailio.path, query], check=True, capture_output=True)
        run(store, dump.stdout)
    assert ha1(store, "alice", "siphub.net") == compute_ha1("alice", "siphub.net", 'se"c,ret')
    assert ha1(store, "bob", "siphub.net") == BOB


@pytest.mark.parametrize(
    "row",
    [
        "alice,siphub.net,topsecret",
        "1,alice,siphub.net,topsecret",
        f"alice,siphub.net,{HA1}",
        f"1,alice,siphub.net,topsecret,{HA1}",  # ha1 or ha1b?
        "1,alice,siphub.net,topsecret,,",
        f"alice,1,siphub.net,topsecret,{HA1},{HA1B}",
        f"1,alice,siphub.net,topsecret,{HA1},x",
        f"1,alice,siphub.net,topsecret,,{HA1},{HA1B},,",
    ],
)
def test_without_a_header_what_could_be_several_things_is_refused(store, row):
    (problem,) = problems(store, f"{row}\n")
    assert problem == (
        "users.csv, line 1: does not name the columns: put a header line in front of it, as "
        "username,domain,password or, of Kamailio's table, id,username,domain,password,ha1,ha1b"
    )


def test_other_columns_are_not_used_and_said(store):
    done = run(store, "note,username,Phone,domain,password,\nx,alice,1,siphub.net,secret,\n")
    assert done.not_used == ("note", "Phone", "")
    assert ha1(store, "alice", "siphub.net") == HA1


@pytest.mark.parametrize("column", ["ha1", "ha1b", "ha1_sha256", "ha1_sha512t256"])
def test_a_hash_that_is_not_of_the_password_beside_it_is_refused(store, column):
    """Which of the two is meant, nobody knows."""
    wrong = Hashes.of("alice", "siphub.net", "other")._asdict()[column]
    ha1 = (
        f",ha1\nalice,siphub.net,secret,{wrong},{HA1}\n"
        if column != "ha1"
        else f"\nalice,siphub.net,secret,{wrong}\n"
    )
    (problem,) = problems(store, f"username,domain,password,{column}{ha1}")
    assert problem == (
        f"users.csv, line 2: column {column}: is not of the password beside it; "
        "leave one of the two columns out"
    )


def test_a_row_with_neither_password_nor_ha1_lets_nobody_in(store):
    (problem,) = problems(store, f"username,domain,password,ha1\na,a.net,,{HA1}\nb,a.net,,\n")
    assert problem == "users.csv, line 3: column password: is empty, and so is ha1"


@pytest.mark.parametrize("password", ['"topsecret"', "top\\\\secret", '"topsecret', "top\\tsecret"])
def test_what_programs_write_differently_between_tabs_is_refused(store, password):
    (problem,) = problems(
        store, f"username\tdomain\tpassword\nalice\tsiphub.net\t{password}\nbob\tb.net\tx\n"
    )
    assert problem.startswith("users.csv, line 2: column password: begins with a quotation mark or holds a")
    assert "topsecret" not in problem


@pytest.mark.parametrize("null", ["NULL", "\\N"])
def test_null_between_tabs_is_nothing(store, null):
    run(store, f"username\tdomain\tha1\tha1b\nalice\tsiphub.net\t{HA1}\t{null}\n")
    assert ha1_candidates(store, "alice@siphub.net", "siphub.net") == (HA1,)
    (problem,) = problems(store, f"username\tdomain\tpassword\nbob\tsiphub.net\t{null}\n")
    assert "column password: is empty" in problem
