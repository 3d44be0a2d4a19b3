"""auth-diameter decode: Diameter messages, readable."""

from pathlib import Path

import pytest
from kit.process import assert_one_line
from kit.sip import ACCOUNT

import auth_diameter as ad

MESSAGE = ad.Message(265, [ad.Avp(1, ACCOUNT), ad.Avp(268, 2001)], application_id=1).encode()
# More hexadecimal digits than a file's name may have.
LONG = ad.Message(265, [ad.Avp(1, "a" * 3000)], application_id=1).encode()


@pytest.mark.parametrize("spelling", ["{}", "0x{}"])
def test_decode_hexadecimal(cli, spelling):
    done = cli("decode", spelling.format(MESSAGE.hex()))
    assert (done.status, done.err) == (0, "")
    assert ACCOUNT in done.out
    assert "2001" in done.out
    assert cli("decode", spelling.format(MESSAGE.hex(" ").upper())) == done


def test_decode_a_long_message(cli):
    done = cli("decode", LONG.hex())
    assert (done.status, done.err) == (0, "")
    assert "a" * 3000 in done.out


@pytest.mark.parametrize(
    "content", [MESSAGE * 3, (MESSAGE * 3).hex().encode(), MESSAGE.hex("\n").encode() * 3]
)
def test_decode_a_file_of_bytes_or_of_hexadecimal(cli, tmp_path, content):
    path = tmp_path / "capture"
    path.write_bytes(content)
    done = cli("decode", path)
    assert done.status == 0
    assert done.out.count(ACCOUNT) == 3
    assert cli("decode", "-", stdin=content) == done


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("zz", "zz: neither a file nor hexadecimal"),
        ("012", "neither a file nor hexadecimal"),
        ("z" * 5000, f"{'z' * 40}…: neither"),
        ("no\0name", "neither a file nor hexadecimal"),
        ("", "no bytes to decode"),
        ("/", "neither a file nor hexadecimal"),
        ("02" + MESSAGE.hex()[2:], "message 1: Diameter version is 2"),
        (MESSAGE.hex()[:-8], "message 1 is cut off"),
        ("01000014", "message 1 is cut off: 4 bytes"),
    ],
)
def test_decode_what_is_no_message(cli, source, what):
    if "\0" in source:
        source = source.replace("\0", "\x01")  # no argument of a program holds a NUL
    assert_one_line(cli("decode", source), what)


def test_decode_shows_what_comes_before_an_error(cli):
    done = cli("decode", MESSAGE.hex() + "ff" * 40)
    assert done.status == 2
    assert ACCOUNT in done.out
    assert done.err.startswith("auth-diameter: message 2: ")


def test_decode_names_the_byte_of_a_malformed_avp(cli):
    assert_one_line(cli("decode", MESSAGE.hex().replace("00000001400000", "000000014000ff", 1)), "at byte")


def test_decode_of_a_file_that_must_not_be_read(cli, tmp_path, monkeypatch):
    path = tmp_path / "secret"
    path.write_bytes(MESSAGE)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert_one_line(cli("decode", path), path, "Permission denied")
