"""Clients of HTTP that others wrote answer our challenges; `verify` judges what they answer.

What each of them did, with the versions named, and does in these tests::

                       curl     wget     wget2    neon     urllib   requests httpx    aiohttp
                       7.88.1   1.21.3   1.99.1   0.32.5   3.11.7   2.34.2   0.28.1   3.14.5
    no qop             yes      yes      none     none     yes      yes      yes      yes
    MD5                yes      yes      yes      yes      yes      yes      yes      yes
    MD5-sess           yes      yes      yes      yes      none     yes      yes      yes
    SHA-256            yes      refused  yes      yes      none     yes      yes      yes
    SHA-256-sess       yes      refused  yes      yes      none     none     yes      yes
    SHA-512-256        refused  refused  none     yes      none     none     none     none
    SHA-512-256-sess   refused  refused  none     yes      none     none     none     none
    auth-int           yes      plain    none     none     none     none     none     yes
    auth-int, a body   refused  plain    none     none     none     none     none     yes
    auth or auth-int   yes      plain    none     yes      yes      yes      yes      yes
    userhash           yes      plain    plain    yes      plain    plain    plain    plain
    SHA-256 or MD5     yes      plain    yes      yes      none     plain    yes      yes
    stale              yes      refused  refused  yes      yes      refused  refused  refused
    second request     plain    plain    plain    yes      plain    yes      yes      yes
    nextnonce          plain    plain    plain    yes      plain    plain    plain    plain
    rspauth            plain    plain    plain    yes      plain    plain    plain    plain
    quoted-pairs       yes      refused  refused  none     refused  refused  refused  yes
    UTF-8              yes      yes      yes      none     none     refused  none     yes

yes: it got in, in the way that the row is about. plain: it got in without that. none: it sent no
credentials. refused: those that it sent are wrong, or it gave up where it should have tried again.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from peers.digest_bridge import PASSWORD, Bridge, Offer, serving_http
from peers.http_clients import CLIENTS, Client, Visit

pytestmark = pytest.mark.peers


def as_offered(bridge: Bridge) -> bool:
    """Whether those who got in used the algorithm and the qop that were offered first."""
    offer = bridge.offer
    qop = offer.qop[0] if offer.qop else None
    return all((c.algorithm or "MD5", c.qop) == (offer.algorithms[0], qop) for c in bridge.let_in)


@dataclass(frozen=True)
class Row:
    """One row of the table: what the server asks for, and how to tell that the client knew it."""

    offer: Offer
    body: bytes | None = None
    times: int = 1
    known: Callable[[Bridge], bool] = as_offered


def verdicts(*expected: str) -> Callable[[Bridge], bool]:
    return lambda bridge: [seen.verdict for seen in bridge.seen] == list(expected)


ROWS = {
    "no qop": Row(Offer(qop=())),  # RFC 2069
    **{
        name: Row(Offer(algorithms=(name,)))
        for name in ("MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess")
    },
    "auth-int": Row(Offer(qop=("auth-int",), algorithms=("MD5",))),
    "auth-int, a body": Row(Offer(qop=("auth-int",)), body=b"v=0\r\n"),
    "auth or auth-int": Row(
        Offer(qop=("auth", "auth-int")),
        body=b"v=0\r\n",
        known=lambda bridge: all(c.qop in bridge.offer.qop for c in bridge.let_in),
    ),
    "userhash": Row(Offer(userhash=True), known=lambda bridge: all(c.userhash for c in bridge.let_in)),
    "SHA-256 or MD5": Row(Offer(algorithms=("SHA-256", "MD5"))),
    "stale": Row(Offer(first_nonce_is_old=True), known=verdicts("no credentials", "stale", "let in")),
    "second request": Row(Offer(), times=2, known=verdicts("no credentials", "let in", "let in")),
    "nextnonce": Row(Offer(nextnonce=True), times=2, known=verdicts("no credentials", "let in", "let in")),
    "rspauth": Row(Offer(knows_password=False)),
    "quoted-pairs": Row(Offer(username='al"i\\ce')),
    "UTF-8": Row(Offer(username="J\u00e4s\u00f8n")),
}


def table() -> dict[tuple[str, str], str]:
    """The cells of the table above, by client and row."""
    assert __doc__ is not None
    lines = [line[4:] for line in __doc__.splitlines() if line.startswith("    ")]
    names = lines[0].split()
    rows = {line[:19].strip(): line[19:].split() for line in lines[2:]}
    assert list(rows) == list(ROWS)
    return {(name, row): cells[index] for index, name in enumerate(names) for row, cells in rows.items()}


CELLS = table()
EACH = pytest.mark.parametrize(("name", "row"), CELLS, ids=[f"{name}-{row}" for name, row in CELLS])


@pytest.fixture
def client(unavailable_peer: Callable[[str], None], name: str) -> Client:
    found = CLIENTS[name]
    try:
        found.version()
    except (OSError, importlib.metadata.PackageNotFoundError):
        unavailable_peer(f"{name} is not installed; it is {found.package}")
    return found


def play(client: Client, row: Row, password: str) -> tuple[Bridge, bool]:
    """What the server saw, and whether the client was content."""
    with serving_http(row.offer) as bridge:
        visit = Visit(bridge.url, row.offer.username, password, row.body, row.times)
        return bridge, client.ask(visit)


def outcome(row: str, bridge: Bridge, content: bool) -> str:
    """What a cell says."""
    if bridge.seen[-1].status == 200:
        # Whether the server proved anything is the one thing that only the client can tell.
        known = ROWS[row].known(bridge) if row != "rspauth" else not content
        return "yes" if known else "plain"
    return "none" if {seen.verdict for seen in bridge.seen} == {"no credentials"} else "refused"


@EACH
def test_right_password(client: Client, name: str, row: str) -> None:
    found = outcome(row, *play(client, ROWS[row], PASSWORD))
    # One that learned more since is no failure.
    assert found in (CELLS[name, row], "yes"), f"{name} {client.version()}"


@EACH
def test_wrong_password(client: Client, name: str, row: str) -> None:
    """It gets nobody in. With an old nonce it is the digest that is wrong, which stale=true would deny."""
    bridge, _ = play(client, ROWS[row], "not the password")
    assert not bridge.let_in
    if CELLS[name, row] in ("yes", "plain"):
        assert {seen.verdict for seen in bridge.seen} == {"no credentials", "wrong digest"}


@pytest.mark.parametrize("name", ["aiohttp"])
@pytest.mark.parametrize(("qop", "verdict"), [("auth", "let in"), ("auth-int", "wrong digest")])
def test_a_body_changed_on_the_way(client: Client, qop: str, verdict: str) -> None:
    """RFC 7616, 3.4.3: with auth-int what comes with the right digest is what the client sent."""
    bridge, _ = play(client, Row(Offer(qop=(qop,), on_the_way=b"a=evil\r\n"), body=b"v=0\r\n"), PASSWORD)
    assert bridge.seen[-1].verdict == verdict


@pytest.mark.parametrize("name", ["curl", "neon", "httpx"])
def test_somebody_else(client: Client) -> None:
    with serving_http(Offer()) as bridge:
        client.ask(Visit(bridge.url, "mallory", PASSWORD))
    assert [seen.verdict for seen in bridge.seen] == ["no credentials", "unknown user"]
