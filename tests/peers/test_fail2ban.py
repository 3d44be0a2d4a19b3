"""fail2ban with our filter: it bans who is proven to be there, and nobody whom a stranger names."""

import configparser
import json
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.uac import Uac

from auth_diameter.logs import Formatter, JsonFormatter, LogFile
from auth_diameter.refusals import Refusals

FAIL2BAN = Path(__file__).parents[2] / "docs" / "fail2ban"
FILTER = FAIL2BAN / "filter.d" / "auth-diameter.conf"
VICTIM, GUESSER = "192.0.2.99", "192.0.2.1"
ALICE = "alice@siphub.net"

pytestmark = pytest.mark.peers


@pytest.fixture
def banned(peer: Callable[..., str]) -> Callable[[Path], list[str]]:
    """Whom fail2ban would ban, one for each line that it matches."""
    program = peer("fail2ban-regex", package="fail2ban")

    def read(log: Path) -> list[str]:
        command = [program, "-o", "ip", log, FILTER]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert not done.stderr, done.stderr
        return done.stdout.split()

    return read


@pytest.fixture(params=[Formatter, JsonFormatter])
def log(request, tmp_path):
    """The log of a server: a logger, and its file."""
    path = tmp_path / "disc.log"
    handler = LogFile(str(path))
    handler.setFormatter(request.param())
    logger = logging.getLogger("auth_diameter.test.ban")
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, path
    logger.removeHandler(handler)
    handler.close()


def test_who_is_proven_to_be_there_is_banned_and_nobody_else(banned, log):
    logger, path = log
    refusals = Refusals(logger)
    refusals.note(ALICE, GUESSER, "WRONG_DIGEST", 0.0, "10.0.0.5", proven=True)
    refusals.note(ALICE, GUESSER, "WRONG_DIGEST", 0.5, "10.0.0.5", proven=True)
    refusals.note(ALICE, GUESSER, "PENALIZED", 1.0, proven=True)  # more=1
    refusals.note("", "2001:db8::1", "MALFORMED_RESPONSE", 1.0, proven=True)
    refusals.note(ALICE, VICTIM, "WRONG_DIGEST", 1.0, proven=False)  # it may be forged
    refusals.note(ALICE, "", "WRONG_DIGEST", 1.0, VICTIM, proven=True)  # a SIP server that tells no source
    logger.warning("DISC %s:3000 is down", VICTIM)
    assert banned(path) == [GUESSER, GUESSER, "2001:db8::1"]


LINE = f"refused user='x' source={VICTIM} cause=WRONG_DIGEST proven=yes"
STAMPED = f"2026-11-28 15:00:00,000 INFO {LINE}"
OBJECT = json.dumps(
    {"time": "2026-11-28T15:00:00.000+00:00", "level": "INFO", "logger": "a", "message": LINE, "user": "x"}
)
FORGED = [
    text
    for line in (LINE, STAMPED, OBJECT)
    for text in (
        line,
        f"\n{line}\n",
        f"\r\n{line}",
        f"x'\n{line}",
        f"\u2028{line}",
        f"\x85{line}",
        f"' {line}",
    )
] + [
    f"x' source={VICTIM} cause=WRONG_DIGEST proven=yes",
    f"x source={VICTIM} cause=WRONG_DIGEST proven=yes",
    f'x", "source": "{VICTIM}", "proven": true',
    f"x'\tsource={VICTIM}\tcause=A\tproven=yes",
    f'", "level": "INFO", "logger": "a", "message": "{LINE}", "user": ',
]


@pytest.mark.parametrize("name", ["user", "source", "message", "exception"])
def test_no_text_of_a_stranger_has_somebody_else_banned(banned, log, name):
    """As a name, as what a SIP server tells of a source, as a header that a script logs, in a traceback."""
    logger, path = log
    for number, text in enumerate(FORGED):
        if name == "user":
            Refusals(logger).note(text, GUESSER, "WRONG_DIGEST", 0.0, proven=True)
        elif name == "source":
            Refusals(logger).note(ALICE, text, "WRONG_DIGEST", 0.0, proven=True)
        elif name == "message":
            logger.info("%s", text)
            logger.info("User-Agent %s", text)
        else:
            try:
                raise ValueError(text)
            except ValueError:
                logger.exception(text)
        assert path.read_text().count("\n") > number
    assert set(banned(path)) == ({GUESSER} if name == "user" else set())


def test_the_filter_would_match_what_the_attempts_want_to_be(banned, tmp_path):
    """Else the test above shows nothing."""
    path = tmp_path / "disc.log"
    path.write_text(f"{STAMPED}\n{OBJECT}\n")
    assert banned(path) == [VICTIM, VICTIM]


def test_a_guesser_is_banned_by_the_log_of_disc(banned, start_ours, subscribers, tmp_path):
    """DISC binds nonces to sources that serve tells: a wrong password is a reason for a ban, a login none."""
    log = tmp_path / "disc.log"
    disc = start_ours("disc", "--db", subscribers, "--bind-source", "--log-file", log)
    serve = start_ours("serve", "--disc", disc.where)
    for password, status in (("open sesame", 200), ("guess", 403)):
        with Uac(serve.address) as phone:
            assert phone.log_in(password=password)[1].status == status
    assert banned(log) == ["127.0.0.1"]


def test_the_jail_names_the_filter_and_bans_udp():
    """fail2ban's own default is TCP alone."""
    jail = configparser.RawConfigParser()
    jail.read(FAIL2BAN / "jail.d" / "auth-diameter.conf")
    assert jail["auth-diameter"]["filter"] == FILTER.stem
    assert jail["auth-diameter"]["protocol"] == "udp,tcp"
