"""auth-diameter bench: each comparison is one of equal and right work, and the command shows every row."""

import contextlib
import importlib.util
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from functools import partial
from timeit import Timer

import pytest
from kit.machine import PATIENCE, unused_udp_port
from kit.places import ROOT
from kit.process import OURS, run_ours
from kit.uac import Uac
from kit.uas import EasySipServer

import auth_diameter as ad
from auth_diameter import bench
from auth_diameter.bench import loopback, pairs, programs, report
from auth_diameter.store.accounts import Accounts

BENCH = ROOT / "bench"
PEERS = {"sipmessage": "sipmessage", "python-diameter": "diameter", "hashlib": "hashlib"}
PAIRS = pairs.pairs()
ROWS = ["1", "2", "3", "4", "5", "5b"]


def run(*options):
    return run_ours("bench", *options, patience=3 * PATIENCE)


# --- the comparisons ---------------------------------------------------------------------------------------


def test_all_rows_are_there():
    assert [pair.row for pair in PAIRS if pair.target] == ROWS


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.what)
def test_both_sides_do_the_same_again_and_again(pair):
    if importlib.util.find_spec(PEERS[pair.peer_name]) is None:
        assert pair.peer is None
        pytest.skip(f"{pair.peer_name} is not installed")
    ours, peer = pair.ours(), pair.peer()
    assert pair.ours() == ours or pair.row in ("1", "1a")  # those have no equality of their own
    if pair.row == "1":
        assert dict(ours.parameters) == dict(peer)
    elif pair.row == "1a":
        assert ours.method == peer.method == "REGISTER"
    else:
        assert ours == peer


def test_the_answers_are_right():
    results = {pair.row: pair.ours() for pair in PAIRS if pair.row}
    assert results["1"].username == "alice"
    assert results["2"] is True
    assert results["3"] == bytes(i % 8 != 7 for i in range(1024))
    assert ad.Message.decode(bytes(results["4"])).command == 265
    assert results["5"][0] == 4001
    assert results["5b"][0] == 2001


@pytest.fixture
def no_peers(monkeypatch):
    monkeypatch.setitem(sys.modules, "sipmessage", None)
    monkeypatch.setitem(sys.modules, "diameter.message", None)


def test_without_peers_only_hashlib_is_left(no_peers):
    for pair in pairs.pairs():
        assert (pair.peer is not None) == (pair.peer_name == "hashlib")
        assert pair.ours() is not None


def test_unequal_work_is_not_timed(monkeypatch):
    monkeypatch.setattr(pairs, "_hashlib_verify", lambda *_: False)
    with pytest.raises(ad.Error, match="have not done the same"):
        pairs.digest()


def test_measure_finds_the_ratio_of_the_times(monkeypatch):
    now = [0.0]

    def work(seconds):
        now[0] += seconds

    monkeypatch.setattr(pairs, "Timer", partial(Timer, timer=lambda: now[0]))
    pair = pairs.Pair("x", "work", "more work", lambda: work(0.001), lambda: work(0.003))
    found = pairs.measure(pair, 3, 0.004)
    assert (found["ours_us"], found["peer_us"], found["ratio"]) == pytest.approx((1000, 3000, 3))
    assert found["middle_half"] == pytest.approx([3, 3])


def test_measure_without_a_peer():
    found = pairs.measure(pairs.Pair("x", "work", "none", lambda: None, None), 3, 0.001)
    assert found["ours_us"] > 0
    assert (found["peer_us"], found["ratio"], found["middle_half"]) == (None, None, None)


# --- loopback ----------------------------------------------------------------------------------------------


def test_loopback_counts_every_request():
    with loopback.running() as service:
        for window in (1, 64):
            got = service.measure(window, 0.2)
            assert got.replies == len(got.latencies) > window
            assert got.took >= 0.2
            assert 0 < got.latency(0) <= got.latency(0.5) <= got.latency(0.99) <= got.latency(1) < PATIENCE
            assert got.limit() in ("serve", "disc", "the load", "waiting") or got.limit().endswith(" cores")


def test_every_request_is_a_new_one_to_both_sides():
    """`serve` has none in its memory of retransmissions, and DISC lets each in for the first time."""
    with loopback.running() as service:
        before = service._disc.counters(), service._host.counters()
        replies = service.measure(64, 0.3).replies + service.measure(1, 0.1).replies
        disc, host = service._disc.counters() - before[0], service._host.counters() - before[1]
    assert disc['auth_diameter_disc_answers_total{outcome="authorized"}'] == replies
    assert disc['auth_diameter_disc_answers_total{outcome="retransmitted"}'] == 0
    assert host["auth_diameter_sip_retransmissions_total"] == 0
    assert host['auth_diameter_disc_questions_total{outcome="answered"}'] == replies + 2 * loopback._USERS


def test_requests_have_nothing_of_their_own_in_common():
    """Also not from one load to the next, for which the telephones get new nonces."""
    phones = loopback.Telephones(9)
    phones._users = [loopback._User(loopback._REGISTER.encode(), "nonce", "0" * 32)] * loopback._USERS
    made = [phones._make() for _ in range(1000)]
    for user in phones._users:
        user.count = 0
    made += [phones._make() for _ in range(1000)]
    phones.close()
    for pattern in (b"branch=(.*);", b"tag=(.*)\r", b"Call-ID: (.*)\r"):
        assert len({re.search(pattern, data)[1] for _, data in made}) == 2000
    counts = [re.search(b"nc=([0-9a-f]{8}),", data)[1] for _, data in made]
    assert len(set(counts[:1000])) == 1000


def test_a_load_that_repeats_itself_is_found_out(monkeypatch):
    """Each reply is right, and yet most are from memory: what this benchmark once measured."""
    make, made = loopback.Telephones._make, []

    def repeat(phones):
        made.append(make(phones) if len(made) < 32 else made[-32])
        return made[-1]

    monkeypatch.setattr(loopback.Telephones, "_make", repeat)
    with (
        loopback.running() as service,
        pytest.raises(ad.Error, match=r"serve took [1-9].* memory of retransmissions; DISC let in 32 new"),
    ):
        service.measure(4, 1.0)


def test_a_reply_that_comes_twice_is_not_counted_twice(monkeypatch):
    phones = loopback.Telephones(9)
    phones._users = [loopback._User(loopback._REGISTER.encode(), "nonce", "0" * 32)] * loopback._USERS
    reply = b"SIP/2.0 200 OK\r\nCall-ID: 00000001\r\n\r\n"
    monkeypatch.setattr(phones, "_receive", lambda: [reply, reply])
    try:
        with pytest.raises(ad.Error, match="no request in flight"):
            phones.load(2, 0.0)
    finally:
        phones.close()


@pytest.mark.parametrize(
    ("host", "disc", "said"),
    [
        ({"sip_retransmissions_total": 3}, {"authorized": 10}, "serve took 3 from its memory"),
        ({}, {"authorized": 9}, "DISC let in 9 new"),
        ({}, {"authorized": 11}, "DISC let in 11 new"),
        ({}, {"authorized": 10, "replayed": 1, "retransmitted": 2}, "others: replayed 1, retransmitted 2"),
    ],
)
def test_counts_that_do_not_match_are_an_error(host, disc, said):
    host = Counter({f"auth_diameter_{name}": count for name, count in host.items()})
    name = 'auth_diameter_disc_answers_total{outcome="%s"}'
    disc = Counter({name % outcome: count for outcome, count in disc.items()})
    loopback.check_asked(10, Counter(), Counter({name % "authorized": 10}))
    with pytest.raises(ad.Error, match=said):
        loopback.check_asked(10, host, disc)


def test_a_program_without_metrics_has_no_counters():
    command = "import time; print('listening on 127.0.0.1:9'); time.sleep(60)"
    with (
        programs.Program([sys.executable, "-c", command]) as program,
        pytest.raises(ad.Error, match="has no metrics"),
    ):
        program.counters()


def test_the_load_accepts_200_alone(monkeypatch):
    monkeypatch.setattr(loopback, "_secret", lambda _: "0" * 32)
    with pytest.raises(ad.Error, match="expected 200, got 4"), loopback.running() as service:
        service.measure(4, 0.1)


def test_the_load_gives_up_on_a_host_that_is_silent(monkeypatch):
    monkeypatch.setattr(loopback, "_PATIENCE", 0.05)
    phones = loopback.Telephones(9)  # discard
    try:
        with pytest.raises(ad.Error, match="has not answered"):
            phones.prepare()
    finally:
        phones.close()


@pytest.mark.parametrize(
    ("times", "limit"),
    [
        ((0.95, 0.5, 0.4), "serve"),
        ((0.5, 0.95, 0.4), "disc"),
        ((0.5, 0.5, 0.95), "the load"),
        ((0.7, 0.7, 0.6), "2 cores"),
        ((0.2, 0.2, 0.2), "waiting"),
    ],
)
def test_what_set_the_limit_is_named(monkeypatch, times, limit):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert loopback.Measured(1, 1, 1.0, *times, [0.001]).limit() == limit


def test_a_program_that_does_not_start_says_why():
    with pytest.raises(ad.Error, match="did not start: auth-diameter: /nowhere/x"):
        programs.Program([*programs.OURS, "disc", "--listen", "127.0.0.1:0", "--db", "/nowhere/x"])


@pytest.mark.parametrize("has_schedstat", [True, False])
def test_a_program_has_time_and_memory(monkeypatch, has_schedstat):
    """From a kernel without statistics of its scheduler as well."""
    monkeypatch.setattr(programs, "_HAS_SCHEDSTAT", has_schedstat)
    command = "import time; print('listening on 127.0.0.1:9')\nwhile True: pass"
    with programs.Program([sys.executable, "-c", command]) as program:
        assert program.port == 9
        assert program.pids() == [program.process.pid]
        deadline = time.monotonic() + PATIENCE
        while program.cpu_seconds() < 0.05:
            assert time.monotonic() < deadline
        assert program.resident_bytes() > 1 << 20
    assert program.process.poll() is not None


# --- the scripts in bench/ and their tools -----------------------------------------------------------------


@pytest.fixture(scope="module")
def common():
    """bench/common.py."""
    spec = importlib.util.spec_from_file_location("bench_common", BENCH / "common.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tools(common):
    if not (os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")):
        pytest.skip("no C compiler")
    with common.tools("sipload", "discstub", "discload", "digestload", "canned") as folder:
        yield folder


@pytest.mark.parametrize(("window", "sources"), [(1, 1), (64, 1), (64, 4), (64, 64)])
def test_sipload_sends_no_request_twice(common, tools, window, sources):
    """Also not from one run to the next, which may get the same port: `serve` would know it again."""
    server = EasySipServer()
    source = f"127.0.0.1:{unused_udp_port()}"
    resent = 0
    for _ in range(2):
        result = common.run_json(
            *(tools / "sipload", "-b", source, "-n", 2000, "-w", window, "-k", sources),
            *("127.0.0.1", server.port, common.REQUEST),
        )
        assert result["statuses"] == {"200": 2000}
        resent += result["resent"]
    server.stop()
    assert len(set(server.seen)) == 4000
    assert len(server.seen) <= 4000 + resent


def test_sipload_sends_again_what_had_its_reply(common, tools):
    """As a telephone does that has lost the reply: `serve` answers from memory, and DISC is asked once."""
    with common.Stub(tools) as stub, common.serve(stub.port, *programs.COUNTING) as host:
        assert common.sipload(tools, host.port, stub, 50, 4, again=2, resend=PATIENCE)["replies"] == 150
        assert host.counters()["auth_diameter_sip_retransmissions_total"] == 100


def request_of(source, *fields):
    """An OPTIONS with the fields that every request must have, and some more."""
    host, port = source
    head = (
        "OPTIONS sip:siphub.net SIP/2.0", f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bK-1",
        "From: <sip:alice@siphub.net>;tag=1", "Call-ID: 1", "CSeq: 1 OPTIONS",
    )  # fmt: skip
    return "\r\n".join((*head, *fields, "\r\n")).encode()


@pytest.mark.parametrize(
    ("to", "tag"),
    [
        ("To: <sip:bob@siphub.net>", ";tag=canned"),
        ("t: <sip:bob@siphub.net>", ";tag=canned"),
        ("To: <sip:bob@siphub.net>;tag=bob", ""),
        ("TO :\r\n <sip:bob@siphub.net>;tag=bob", ""),
    ],
)
def test_the_canned_reply_has_what_every_reply_must_have(tools, to, tag):
    """The fields of RFC 3261, 8.2.6.2, as the request has them, and a tag in To; also those of two Vias."""
    with programs.Program([tools / "canned"]) as server, Uac(("127.0.0.1", server.port)) as phone:
        via = "v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK-0"
        phone.send(request_of(phone.local, via, "Max-Forwards: 70", to))
        status, *lines = phone.receive_bytes().decode().split("\r\n")
    assert status == "SIP/2.0 200 OK"
    head = request_of(phone.local).decode().split("\r\n")[1:5]
    assert "\r\n".join(lines) == "\r\n".join([*head, via, to + tag, "Content-Length: 0", "", ""])


def test_the_canned_server_is_silent_where_it_cannot_answer(tools):
    with programs.Program([tools / "canned"]) as server, Uac(("127.0.0.1", server.port)) as phone:
        whole = request_of(phone.local, "To: <sip:bob@siphub.net>")
        for data in (b"", b"\r\n\r\n", whole.partition(b"CSeq")[0], b"OPTIONS", whole[:-6]):
            phone.send(data)
        phone.send(request_of(phone.local, "To: " + 60_000 * "x"))
        assert phone.ask(whole).status == 200


@pytest.mark.parametrize(("options", "sources"), [((), 1), (("-g",), 1), (("-g",), 4)])
def test_the_canned_server_answers_all(common, tools, options, sources):
    """Also with replies that leave together; sipload checks that each comes to the socket of its request."""
    with programs.Program([tools / "canned", *options]) as server:
        assert common.sipload(tools, server.port, None, 2000, 64, sources=sources)["replies"] == 2000


def test_digestload_uses_each_nonce_eight_times(common, tools):
    """DISC, which remembers nonce counts, lets in each request for the first time."""
    users = 16
    with loopback.running() as service:
        words = service._disc.process.args
        with Accounts.open(words[words.index("--db") + 1], writable=True) as accounts:
            for user in range(users):
                accounts.add_user(f"u{user:07d}", "siphub.net", f"p{user:07d}")
        before = service._disc.counters()
        got = common.run_json(
            *(tools / "digestload", "-b", "127.0.0.1:0", "-n", 900, "-w", 8, "-u", users, "-t", PATIENCE),
            *("127.0.0.1", service._host.port, BENCH / "data" / "digest.sip"),
        )
        counted = service._disc.counters() - before
    name = 'auth_diameter_disc_answers_total{outcome="%s"}'
    assert got["statuses"] == {"200": got["let_in"], "401": got["challenged"]}
    assert counted[name % "authorized"] == got["let_in"] >= 8 * (got["challenged"] - 2 * users)
    assert counted[name % "challenged"] == got["challenged"]
    assert got["replies"] == 900


def test_digestload_fails_where_a_password_is_wrong(common, tools):
    with loopback.running() as service, pytest.raises(SystemExit, match='"let_in": 0'):
        common.run_json(
            *(tools / "digestload", "-b", "127.0.0.1:0", "-n", 20, "-w", 2, "-u", 4),
            *("127.0.0.1", service._host.port, BENCH / "data" / "digest.sip"),
        )


def test_the_stub_says_how_often_it_was_asked(common, tools):
    with common.Stub(tools) as stub, common.serve(stub.port) as host:
        assert stub.asked() == 0
        assert common.sipload(tools, host.port, stub, 300, 8)["replies"] == 300
        assert 300 <= stub.asked() <= stub.asked() < 600


def test_a_script_ends_where_replies_came_from_a_memory(common, tools, monkeypatch):
    """Each reply is right, and nothing is asked of DISC."""
    monkeypatch.setattr(common, "run_json", lambda *_: {"statuses": {"200": 5}, "resent": 0})
    with (
        common.Stub(tools) as stub,
        pytest.raises(SystemExit, match="5 were done, and 0 sent again, but DISC was asked 0"),
    ):
        common.sipload(tools, 9, stub, 5, 1)


@pytest.mark.parametrize(
    ("asked", "done", "resent", "good"),
    [(10, 10, 0, True), (11, 10, 1, True), (10, 10, 1, True), (9, 10, 0, False), (9, 10, 5, False),
     (11, 10, 0, False), (12, 10, 1, False)],
)  # fmt: skip
def test_what_was_done_must_have_been_asked(common, asked, done, resent, good):
    with contextlib.nullcontext() if good else pytest.raises(SystemExit, match="DISC was asked"):
        common.check_asked(asked, done, resent)


# --- the table ---------------------------------------------------------------------------------------------


def test_table_aligns(capsys):
    report.table(("a", "number"), [("x", 5), ("long", "12.5"), ("y", "–")])
    assert capsys.readouterr().out == (
        "a      number\n─────────────\nx           5\nlong     12.5\ny           –\n"
    )


def test_verdict():
    assert report.verdict(3.0, 2.5) == report.verdict(0.1, 0.2, at_most=True) == "met"
    assert report.verdict(2.0, 2.5) == report.verdict(0.3, 0.2, at_most=True) == "not met"


# --- the command -------------------------------------------------------------------------------------------


def test_the_command_prints_every_row():
    done = run("--seconds", "0.5")
    assert (done.status, done.err) == (0, "")
    header, line, *rows = done.out.splitlines()
    assert header.split() == list(bench.HEADER)
    assert set(line) == {"─"}
    assert [row.split()[0] for row in rows[: len(ROWS)]] == ROWS
    for row in rows[: len(ROWS)]:
        assert " µs" in row
        assert "×" in row
    rest = "\n".join(rows[len(ROWS) :])
    for what in ("requests a second", "CPU a request: serve", "CPU a request: disc", "what set the limit",
                 "99 of 100 are below", "1 request in flight: latency, median"):  # fmt: skip
        assert what in rest
    columns = {len(row.rpartition("  ")[0]) for row in rows}
    assert len(columns) == 1, "the last column is not aligned"


def test_the_table_says_how_to_get_what_is_not_there(no_peers, monkeypatch):
    steps = []
    rows = {row[0]: row for row in bench.run(0.3, lambda what, done: steps.append((what, done)))}
    for row in ("1", "4", "5", "5b"):
        assert rows[row][3:5] == ("pip install 'auth-diameter[bench]'", "–")
    for row in ("2", "3"):
        assert rows[row][3].endswith(" hashlib")
        assert rows[row][4].endswith(" ×")
    shares = [done for _, done in steps]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)


def test_unusable_seconds():
    done = run("--seconds", "0")
    assert done.status == 2
    assert "--seconds" in done.err
    assert done.err.count("\n") == 1


def test_progress_on_a_terminal_alone():
    """On stderr, so that the table can go to a file."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.Popen(
            [*OURS, "bench", "--seconds", "0.3"],
            stdout=subprocess.PIPE,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        seen = b""
        try:
            while data := os.read(ours, 4096):
                seen += data
        except OSError:  # the other end is closed
            pass
        table, _ = done.communicate(timeout=3 * PATIENCE)
    finally:
        os.close(ours)
    assert done.returncode == 0
    assert b"64 requests in flight" in seen
    assert table.startswith(b"row ")
    assert b"\x1b" not in table
