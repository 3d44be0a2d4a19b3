"""The URL of shared state: what it names, and that no text about it has its password."""

import pytest

from auth_diameter import ConfigError
from auth_diameter.verifier.state.urls import parse_url


@pytest.mark.parametrize(
    ("text", "name", "host", "port", "path", "database", "tls"),
    [
        ("redis://10.0.0.1", "redis://10.0.0.1:6379/0", "10.0.0.1", 6379, "", 0, False),
        ("redis://state:7000/3", "redis://state:7000/3", "state", 7000, "", 3, False),
        ("valkey://state/1", "valkey://state:6379/1", "state", 6379, "", 1, False),
        ("rediss://state", "rediss://state:6379/0", "state", 6379, "", 0, True),
        ("valkeys://state", "valkeys://state:6379/0", "state", 6379, "", 0, True),
        ("redis://[2001:db8::1]:7000/", "redis://[2001:db8::1]:7000/0", "2001:db8::1", 7000, "", 0, False),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "", 6379, "/run/redis.sock", 0, False),
        ("unix:///run/r.sock?db=2", "unix:///run/r.sock?db=2", "", 6379, "/run/r.sock", 2, False),
    ],
)
def test_what_a_url_names(text, name, host, port, path, database, tls):
    url = parse_url(text)
    assert (url.name, url.host, url.port, url.path, url.database, url.tls) == (
        name, host, port, path, database, tls,
    )  # fmt: skip


def test_user_and_password_are_in_no_text():
    url = parse_url("redis://disc:p%40ss@state/0")
    assert (url.username, url.password) == ("disc", "p@ss")
    assert "p@ss" not in repr(url) + url.name
    assert "disc" not in repr(url) + url.name


@pytest.mark.parametrize(
    "text",
    [
        "", "state", "state:6379", "http://state", "redis://", "redis:///0", "redis://state/x", "redis://state/1/2",
        "redis://state:port", "redis://state:99999", "redis://state?db=1", "redis://state#1", "unix://",
        "unix://host/path", "unix:///p?x=1", "redis://state/-1", "redis://[::1", "rediss://s?ssl_cert_reqs=none",
    ],
)  # fmt: skip
def test_what_is_no_url_of_a_state(text):
    with pytest.raises(ConfigError, match=r"^state: expected "):
        parse_url(text)


def test_the_message_does_not_repeat_a_password():
    with pytest.raises(ConfigError) as error:
        parse_url("http://user:s3cret@state/0")
    assert "s3cret" not in str(error.value)
