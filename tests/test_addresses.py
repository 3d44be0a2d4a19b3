"""Addresses as text."""

from __future__ import annotations

import pytest

from auth_diameter import ConfigError
from auth_diameter.addresses import parse_address, parse_peers, show


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:3000", ("127.0.0.1", 3000)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:3000", ("::1", 3000)),
    ],
)
def test_an_address_to_listen_on(text, address):
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":3000", "localhost", "::1", "[]:1", "a:-1", "a:1_0", "a: 1"])
def test_an_address_without_host_or_port(text):
    with pytest.raises(ConfigError, match=r"^listen"):
        parse_address(text, name="listen")


def test_spaces_around_peers_do_not_matter():
    assert parse_peers(" a , b:2 ", 1) == (("a", 1), ("b", 2))


@pytest.mark.parametrize(("host", "shown"), [("localhost", "localhost:1"), ("::1", "[::1]:1")])
def test_an_address_is_shown_as_it_is_read(host, shown):
    assert show(host, 1) == shown
    assert parse_address(shown) == (host, 1)
