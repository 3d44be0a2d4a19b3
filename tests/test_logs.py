"""Log lines that a stranger can cause at will."""

import io
import json
import logging
import os

import pytest

from auth_diameter import ConfigError
from auth_diameter.logs import REFUSAL, Formatter, JsonFormatter, LogFile, Sparing, one_word, visible


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


def test_what_is_no_trouble_is_spared_alike(sparing, caplog):
    caplog.set_level(logging.INFO)
    for tick in range(11):
        sparing.info("open", tick / 10, "open %s", tick)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("INFO", "open 0"),
        ("INFO", "open 10 (and 9 more before)"),
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


def test_nor_does_one_that_another_handler_has_written_before(log):
    """A record keeps its traceback as the first formatter has made it, of a route script's own log say."""
    logger, text = log
    plain = logging.StreamHandler(io.StringIO())
    logger.handlers.insert(0, plain)
    try:
        raise ValueError("x\nERROR all is lost\x07")
    except ValueError:
        logger.exception("it failed")
    finally:
        logger.removeHandler(plain)
    assert "\nERROR all is lost\x07" in plain.stream.getvalue()
    _, *others = text.getvalue().splitlines()
    assert all(line.startswith("  ") for line in others)
    assert "  ERROR all is lost\\x07" in others


def test_a_strangers_text_is_one_word():
    assert one_word("a b'c\"d\\e\tf\u2028\ud800ü") == r"a\x20b\x27c\x22d\x5ce\x09f\u2028\ud800ü"


# --- JSON ----------------------------------------------------------------------------------------------


@pytest.fixture
def as_json(log):
    logger, text = log
    for handler in logger.handlers:
        handler.setFormatter(JsonFormatter())
    return logger, text


def test_a_record_is_one_object_a_line(as_json):
    logger, text = as_json
    logger.warning("DISC %s", "is down")
    logger.error("ünal")
    first, second = map(json.loads, text.getvalue().splitlines())
    assert {key: first[key] for key in ("level", "logger", "message")} == {
        "level": "WARNING",
        "logger": "auth_diameter.test.formatter",
        "message": "DISC is down",
    }
    assert second["message"] == "ünal"


def test_no_text_in_an_object_acts_on_a_terminal_or_ends_its_line(as_json):
    """Not even once a reader has taken the escapes of JSON away."""
    logger, text = as_json
    try:
        raise ValueError("x\n\x1b[31m")
    except ValueError:
        logger.exception('a\r\n"b\x7f\x9b', extra={REFUSAL: {"user": one_word("\x1b")}})
    [line] = text.getvalue().splitlines()
    assert line.isascii()
    found = json.loads(line)
    assert found["message"] == r'a\x0d\x0a"b\x7f\x9b'
    assert found["user"] == r"\x1b"
    assert "\x1b" not in found["exception"]
    assert found["exception"].endswith("  \\x1b[31m")


def test_an_object_that_only_looks_like_a_refusal_is_marked(as_json):
    logger, text = as_json
    logger.warning("refused user='x' source=192.0.2.1 cause=WRONG_DIGEST proven=yes")
    assert json.loads(text.getvalue())["message"].startswith("text: refused user=")


# --- a file --------------------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    handler = LogFile(str(tmp_path / "log"))
    handler.setFormatter(Formatter("%(message)s"))
    logger = logging.getLogger("auth_diameter.test.file")
    logger.addHandler(handler)
    logger.propagate = False
    yield handler, logger, tmp_path / "log"
    logger.removeHandler(handler)
    handler.close()


def test_lines_are_appended_and_others_cannot_read_them(file):
    _, logger, path = file
    logger.warning("one")
    with path.open("a") as other:  # a second process
        other.write("two\n")
    logger.warning("ünal %s", "\ud800")
    assert path.read_bytes() == b"one\ntwo\n\xc3\xbcnal \\ud800\n"
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_was_moved_is_opened_anew_when_all_is_ready(file):
    handler, logger, path = file
    moved = path.rename(path.with_name("log.1"))
    change = handler.reopen()
    logger.warning("old")
    change()
    logger.warning("new")
    assert (moved.read_text(), path.read_text()) == ("old\n", "new\n")


def test_a_file_that_is_opened_anew_often_takes_no_descriptors(file):
    handler, _, _ = file
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        handler.reopen()()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_cannot_be_opened_anew_is_kept(file):
    handler, logger, path = file
    moved = path.rename(path.with_name("log.1"))
    path.mkdir()
    with pytest.raises(ConfigError, match=f"--log-file {path}: Is a directory"):
        handler.reopen()
    logger.warning("still")
    assert moved.read_text() == "still\n"


def test_what_the_file_does_not_take_comes_on_stderr(file, capsys):
    """A disk that is full: /dev/full is one."""
    handler = LogFile("/dev/full")
    handler.setFormatter(Formatter("%(message)s"))
    handler.handle(logging.makeLogRecord({"msg": "lost?", "levelno": logging.WARNING}))
    handler.close()
    assert capsys.readouterr().err == "/dev/full: No space left on device\nlost?\n"


def test_a_record_that_cannot_be_formatted_fails_nobody(file, capsys):
    """A mistake of a route script, which logging's own handlers tell on stderr, too."""
    handler, _, path = file
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    handler.handle(logging.makeLogRecord({"msg": "next"}))
    assert path.read_text() == "next\n"
    assert "Logging error" in capsys.readouterr().err


def test_a_lost_stderr_does_not_end_the_program(monkeypatch):
    """The disk is full, and whoever read stderr has gone: there is nowhere left to say it."""

    class Lost:
        def write(self, text):
            raise BrokenPipeError

    handler = LogFile("/dev/full")
    monkeypatch.setattr("sys.stderr", Lost())
    handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "hello", (), None))
    handler.close()
