"""Every hostile input as a datagram to `auth-diameter serve`, which asks `auth-diameter disc`."""

from __future__ import annotations

import re

import pytest
from hostile import corpora
from hostile.outcomes import expected_status, expected_status_of_header
from hostile.processes import Phone, fill, stop
from kit.machine import PATIENCE
from kit.process import Server
from kit.sip import parse_reply

MOST = 65_507  # bytes of a datagram over IPv4

REQUESTS = corpora.sip_requests() | corpora.torture_requests()
HEADERS = corpora.digest_headers()
OTHERS = corpora.diameter_malformed() | corpora.diameter_real() | corpora.disc_captured()


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Where `serve` listens."""
    database = fill(tmp_path_factory.mktemp("udp") / "users.sqlite")
    with (
        Server("-v", "disc", "--db", database) as disc,
        # One source sends all of them: each is to be judged by itself.
        Server("-v", "serve", "--no-penalty", "--disc", disc.where) as serve,
    ):
        yield serve.address
        stop(serve)
        stop(disc)


@pytest.fixture(scope="module")
def phones(host):
    """A stranger, and alice."""
    with Phone(host) as stranger, Phone(host) as alice:
        yield stranger, alice


def check(phones, data, status):
    """The stranger's datagram gets that reply, or none, and alice is let in after it."""
    stranger, alice = phones
    stranger.send(data)
    assert alice.log_in()[1].status == 200
    here = status is not None and stranger.expects_replies_to(data)
    reply = stranger.receive_bytes(PATIENCE if here else 0.0)
    if not here:
        assert reply is None
        return
    assert reply is not None
    # Folds and a quoted NUL of the request's own come back, as RFC 3261, 8.2.6.2 wants it.
    assert parse_reply(re.sub(rb"\r\n[ \t]|\\\0", b" ", reply))[0] == status
    assert stranger.receive_bytes(0.0) is None, "two replies"


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_and_a_good_one_after_it(phones, name):
    check(phones, REQUESTS[name], expected_status(name, REQUESTS[name]))


@pytest.mark.parametrize("name", HEADERS)
def test_a_digest_header(phones, name):
    data = corpora.register("Authorization: %s").replace(b"%s", HEADERS[name].value)
    if len(data) > MOST:
        pytest.skip("longer than a datagram can be")
    check(phones, data, expected_status_of_header(name, HEADERS[name]))


@pytest.mark.parametrize("name", OTHERS)
def test_no_sip_at_all(phones, name):
    check(phones, OTHERS[name], None)
