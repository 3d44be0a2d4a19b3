"""Log lines that a stranger can cause at will."""

import io
import logging

import pytest

from auth_diameter.logs import Formatter, Sparing, visible


@pytest.fixture
def sparing():
    return Sparing(logging.getLogger("auth_diameter.test"))


def test_one_line_a_second_of_each_kind_and_the_next_counts_the_others(sparing, caplog):
    for tick in range(25):
        sparing.warning("refused", tick / 10, "refused %s", tick)
    assert [record.getMessage() for record in caplog.records] == [
        "refused 0",
        "refused 10 (and 9 more before)",
        "refused 20 (and 9 more before)",
    ]


def test_a_kind_does_not_silence_another(sparing, caplog):
    sparing.warning("refused", 0.0, "refused")
    sparing.warning("slow", 0.1, "slow")
    sparing.warning("refused", 0.2, "refused")
    assert [record.getMessage() for record in caplog.records] == ["refused", "slow"]


def test_a_quiet_kind_starts_afresh(sparing, caplog):
    for now in (0.0, 60.0):
        sparing.warning("slow", now, "slow")
    assert [record.getMessage() for record in caplog.records] == ["slow", "slow"]


def test_an_error_has_its_traceback_and_those_of_one_class_share_a_line(sparing, caplog):
    """A route script that a stranger's requests make fail."""
    for tick in range(12):
        for kind in (KeyError, ValueError):
            try:
                raise kind(f"{tick}")
            except kind as error:
                sparing.exception(error, tick / 10, "it failed")
    assert [record.getMessage() for record in caplog.records] == [
        "it failed",
        "it failed",
        "it failed (and 9 more before)",
        "it failed (and 9 more before)",
    ]
    assert {record.levelname for record in caplog.records} == {"ERROR"}
    assert caplog.text.count("Traceback") == 4


@pytest.fixture
def log():
    """A log as the programs write it, and what stands in it."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    handler.setFormatter(Formatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("auth_diameter.test.formatter")
    logger.addHandler(handler)
    logger.propagate = False
    yield logger, text
    logger.removeHandler(handler)


def test_what_acts_on_a_terminal_is_escaped():
    assert visible("a\tb\x1b[2J\r\n\x00\x7f\x9b31m") == "a\tb\\x1b[2J\\x0d\\x0a\\x00\\x7f\\x9b31m"


def test_a_message_is_one_line(log):
    logger, text = log
    logger.warning("user %s", "alice\r\nERROR all is lost\x1b[31m")
    assert text.getvalue() == "WARNING user alice\\x0d\\x0aERROR all is lost\\x1b[31m\n"


def test_no_line_of_a_traceback_looks_like_one_of_the_log(log):
    logger, text = log
    try:
        raise ValueError("x\nERROR all is lost\x07")
    except ValueError:
        logger.exception("it failed", stack_info=True)
    first, *others = text.getvalue().splitlines()
    assert first == "ERROR it failed"
    assert all(line.startswith("  ") for line in others)
    assert "  ERROR all is lost\\x07" in others
