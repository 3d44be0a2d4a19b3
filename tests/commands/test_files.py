"""Files that hold secrets, and who else can open them."""

import logging
import os

import pytest

from auth_diameter.commands.files import warn_if_others_can_read

log = logging.getLogger("auth_diameter.test")


def warnings(caplog, path):
    caplog.clear()
    warn_if_others_can_read(str(path), log)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("mode", "can"),
    [
        (0o644, "read"),
        (0o640, "read"),
        (0o604, "read"),
        (0o666, "read"),
        (0o620, "change"),
        (0o602, "change"),
    ],
)
def test_a_file_that_others_can_open_is_one_warning_with_the_command_that_mends_it(
    tmp_path, caplog, mode, can
):
    path = tmp_path / "nonce.key"
    path.write_bytes(b"x" * 16)
    path.chmod(mode)
    (said,) = warnings(caplog, path)
    assert said == f"{path}: users other than its owner can {can} it (mode {mode:o}): chmod 600 {path}"
    assert os.system(said.rpartition(": ")[2]) == 0
    assert warnings(caplog, path) == []


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700, 0o711])
def test_a_file_of_its_owner_alone_is_no_warning(tmp_path, caplog, mode):
    path = tmp_path / "users.sqlite"
    path.touch()
    path.chmod(mode)
    assert warnings(caplog, path) == []


def test_the_command_can_be_pasted_whatever_the_name(tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("with space; echo", "-r", "it's"):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).chmod(0o644)
        (said,) = warnings(caplog, name)
        assert os.system(said.rpartition("): ")[2]) == 0
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_what_sqlite_keeps_beside_a_database_is_mended_too(tmp_path, caplog):
    """A write-ahead log that was made before the mode was mended stays as it was."""
    path, beside = tmp_path / "users.sqlite", tmp_path / "users.sqlite-wal"
    for file in (path, beside):
        file.touch()
        file.chmod(0o644)
    assert warnings(caplog, path)[0].endswith(f"chmod 600 {path} {beside}")
    path.chmod(0o600)
    assert warnings(caplog, path) == [
        f"{beside}: users other than its owner can read it (mode 644): chmod 600 {beside}"
    ]


def test_what_is_no_file_is_passed_over(tmp_path, caplog):
    """Whoever opens it says what is wrong with it."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o666)
    for path in (":memory:", "", "a\0b", tmp_path, tmp_path / "missing", tmp_path / "pipe", "/dev/null"):
        assert warnings(caplog, path) == []
