"""The lines that say who was refused, from where, and why."""

import io
import logging
import re

import pytest

from auth_diameter.logs import Formatter
from auth_diameter.refusals import Refusals, account_of

ALICE = "alice@siphub.net"
HERE = "192.0.2.1"
LINE = re.compile(
    r"INFO refused user=('[^' ]*'|-) source=(\S+)(?: server=(\S+))? cause=([A-Z_]+) proven=(yes|no)"
    r"(?: more=(\d+))?"
)


@pytest.fixture
def text():
    """What stands in the log, as the programs write it."""
    return io.StringIO()


@pytest.fixture
def log(text):
    handler = logging.StreamHandler(text)
    handler.setFormatter(Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("auth_diameter.test.refusals")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)


@pytest.fixture
def refusals(log):
    return Refusals(log)


def test_a_line_says_who_from_where_and_why(refusals, text):
    refusals.note(ALICE, HERE, "FORBIDDEN", 0.0, proven=False)
    refusals.note(ALICE, "2001:db8::1", "WRONG_DIGEST", 0.0, "10.0.0.5", proven=True)
    assert text.getvalue().splitlines() == [
        f"INFO refused user='{ALICE}' source={HERE} cause=FORBIDDEN proven=no",
        f"INFO refused user='{ALICE}' source=2001:db8::1 server=10.0.0.5 cause=WRONG_DIGEST proven=yes",
    ]


def test_the_sip_server_is_never_the_source(refusals, text):
    """Kamailio's C module tells no source: nobody is there to be banned, least of all Kamailio."""
    refusals.note(ALICE, "", "WRONG_DIGEST", 0.0, "10.0.0.5", proven=True)
    assert " source=- server=10.0.0.5 cause=WRONG_DIGEST proven=no\n" in text.getvalue()


def test_credentials_without_a_name(refusals, text):
    refusals.note("", HERE, "MALFORMED_CREDENTIALS", 0.0, proven=False)
    assert text.getvalue() == f"INFO refused user=- source={HERE} cause=MALFORMED_CREDENTIALS proven=no\n"


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),  # as an IPv6 socket sees IPv4
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "'fe80::1%eth0'"),
        ("fe80::1%x proven=yes", r"'fe80::1%x\x20proven=yes'"),
        ("tel:+1 555", r"'tel:+1\x20555'"),
        ("'", r"'\x27'"),
    ],
)
def test_only_an_address_can_be_proven(refusals, text, source, written):
    """Calling-Station-Id is text of the SIP server's choice."""
    refusals.note(ALICE, source, "WRONG_DIGEST", 0.0, proven=True)
    proven = "no" if written.startswith("'") else "yes"
    assert f" source={written} cause=WRONG_DIGEST proven={proven}\n" in text.getvalue()


@pytest.mark.parametrize(
    ("user", "written"),
    [
        ("ünal@siphub.net", "ünal@siphub.net"),
        (f"a' source={HERE} proven=yes", rf"a\x27\x20source={HERE}\x20proven=yes"),
        ("a\r\nb\t\x1b[2J", r"a\x0d\x0ab\x09\x1b[2J"),
        ('"\\', r"\x22\x5c"),
        ("a\u2028b\ud800\U000e0001", r"a\u2028b\ud800\U000e0001"),
        ("x" * 100, "x" * 64),
        (
            "0123456789abcdef" * 2 + "@siphub.net",
            "0123456789abcdef…@siphub.net",
        ),  # no secret, but looks like one
        ("0123456789abcdef" * 4 + "@siphub.net", "0123456789abcdef…"),
    ],
)
def test_a_name_is_one_word_whatever_it_holds(refusals, text, user, written):
    refusals.note(user, HERE, "FORBIDDEN", 0.0, proven=False)
    assert text.getvalue() == f"INFO refused user='{written}' source={HERE} cause=FORBIDDEN proven=no\n"


@pytest.mark.parametrize(
    ("username", "realm", "account"),
    [
        ("alice", "siphub.net", ALICE),
        ("alice@elsewhere.example", "siphub.net", "alice@elsewhere.example"),
        ("alice", None, "alice"),
        ("", "siphub.net", ""),
        (None, "siphub.net", ""),
    ],
)
def test_an_account_is_the_name_with_a_domain(username, realm, account):
    assert account_of(username, realm) == account


def test_the_fields_are_on_the_record_for_other_formats(caplog):
    with caplog.at_level(logging.INFO):
        Refusals(logging.getLogger("auth_diameter.test")).note("a b", HERE, "FORBIDDEN", 0.0, proven=True)
    assert caplog.records[0].refusal == {
        "user": r"a\x20b",
        "source": HERE,
        "cause": "FORBIDDEN",
        "proven": True,
        "more": 0,
    }


def test_what_a_script_logs_is_no_refusal(log, text):
    """A route script may log a header; fail2ban would ban whom a stranger names in it."""
    log.info("%s", f"refused user='x' source={HERE} cause=FORBIDDEN proven=yes")
    assert text.getvalue().startswith("INFO text: refused user=")


# --- floods --------------------------------------------------------------------------------------------


def counted(text):
    """How many refusals the lines stand for."""
    lines = text.getvalue().splitlines()
    assert all(LINE.fullmatch(line) or re.fullmatch(r"INFO refused others more=\d+", line) for line in lines)
    return len(LINE.findall(text.getvalue())) + sum(map(int, re.findall(r"more=(\d+)", text.getvalue())))


def test_a_user_and_source_have_one_line_a_second_which_counts_the_others(refusals, text):
    for tick in range(30):
        refusals.note(ALICE, HERE, "FORBIDDEN", tick / 10, proven=False)
    assert [line[6] for line in (LINE.fullmatch(line) for line in text.getvalue().splitlines())] == [
        None,
        "9",
        "9",
    ]
    refusals.note("bob@siphub.net", HERE, "FORBIDDEN", 2.95, proven=False)
    refusals.note(ALICE, "192.0.2.2", "FORBIDDEN", 2.95, proven=False)
    assert text.getvalue().count("\n") == 5


def test_a_quiet_pair_starts_afresh_and_a_clock_may_go_back(refusals, text):
    for now in (100.0, 160.0, 30.0):
        refusals.note(ALICE, HERE, "FORBIDDEN", now, proven=False)
    assert text.getvalue().count("\n") == 3


def test_a_source_that_tries_many_names_has_five_lines_a_second(refusals, text):
    for number in range(300):
        refusals.note(f"{number}@siphub.net", HERE, "FORBIDDEN", number / 100, proven=False)
    refusals.note(ALICE, "192.0.2.2", "FORBIDDEN", 3.0, proven=False)
    assert len(re.findall(f"source={HERE}", text.getvalue())) == 3 * 5
    assert counted(text) == 301


def test_many_sources_have_ten_lines_a_second_and_none_is_lost(refusals, text):
    for number in range(3000):
        refusals.note(ALICE, f"10.0.{number >> 8}.{number & 255}", "FORBIDDEN", number / 1000, proven=False)
    refusals.note(ALICE, HERE, "FORBIDDEN", 3.0, proven=False)
    assert text.getvalue().count("\n") == 3 * 10 + 3 + 1
    assert counted(text) == 3001


def test_forged_sources_do_not_crowd_out_proven_ones(refusals, text):
    for number in range(1000):
        refusals.note(ALICE, f"10.0.{number >> 8}.{number & 255}", "WRONG_DIGEST", 0.5, proven=False)
    refusals.note(ALICE, HERE, "WRONG_DIGEST", 0.5, proven=True)
    assert text.getvalue().endswith(f"source={HERE} cause=WRONG_DIGEST proven=yes\n")


def test_proven_ones_have_ten_lines_a_second_of_their_own(refusals, text):
    for proven in (False, True):
        for number in range(30):
            refusals.note(ALICE, f"10.0.0.{number}", "WRONG_DIGEST", 0.5, proven=proven)
    assert text.getvalue().count("proven=no") == 10
    assert text.getvalue().count("proven=yes") == 10


def test_where_the_source_is_not_told_each_sip_server_has_its_lines(refusals, text):
    """A flood by way of one does not hide who is refused by way of another."""
    for server in ("10.0.0.5", "10.0.0.6"):
        for number in range(30):
            refusals.note(f"{number}@siphub.net", "", "WRONG_DIGEST", 0.5, server, proven=False)
    for server in ("10.0.0.5", "10.0.0.6"):
        assert text.getvalue().count(f"source=- server={server} ") == 5


@pytest.mark.parametrize("names", [[ALICE], [f"{number}@siphub.net" for number in range(20)]])
def test_a_guesser_cannot_hide_his_guesses_behind_lines_that_have_nobody_banned(refusals, text, names):
    """Malformed credentials, which are refused before the nonce is looked at: as first, in every second."""
    for second in range(5):
        for name in names:
            refusals.note(name, HERE, "MALFORMED_RESPONSE", second, proven=False)
        refusals.note(ALICE, HERE, "WRONG_DIGEST", second + 0.5, proven=True)
    assert text.getvalue().count("cause=WRONG_DIGEST proven=yes") == 5


def test_memory_is_bounded_and_what_is_forgotten_is_counted(refusals, text):
    """Each pair has a line and a second refusal; then so many others that none is remembered."""
    refused = 0
    for second in range(300):
        for number in range(10):
            source = f"10.{second >> 8}.{second & 255}.{number}"
            for _ in range(2):
                refusals.note("u" * 1000, source, "FORBIDDEN", second, proven=False)
                refused += 1
    assert len(refusals._pairs) == 1024
    refusals.note(ALICE, HERE, "FORBIDDEN", 300.0, proven=False)
    assert counted(text) == refused + 1 - 1024  # of those that are remembered, and of one that made room
    assert max(map(len, text.getvalue().splitlines())) < 200


def test_what_came_several_times_since_it_was_last_noted_counts_as_often(refusals, text):
    """As `serve` notes it: its compiled way tells a refusal once, and how often it came."""
    refusals.note(ALICE, HERE, "FORBIDDEN", 0.0, proven=False, times=5)  # one line, and four to come
    refusals.note(ALICE, HERE, "FORBIDDEN", 0.5, proven=False, times=3)
    refusals.note(ALICE, HERE, "FORBIDDEN", 2.0, proven=False)
    assert [line.partition(" more=")[2] for line in text.getvalue().splitlines()] == ["", "7"]


def test_those_that_are_not_told_apart_count_as_others(refusals, text):
    for number in range(5):  # a source has five lines a second
        refusals.note(f"user{number}", HERE, "FORBIDDEN", 0.0, proven=False)
    refusals.note("another", HERE, "FORBIDDEN", 0.0, proven=False, times=4)
    refusals.leave_out(6)
    refusals.note(ALICE, "192.0.2.2", "FORBIDDEN", 2.0, proven=False)
    assert "INFO refused others more=10" in text.getvalue().splitlines()
