"""Redirects (RFC 6733, 6.1.7 and 6.12 to 6.14), without I/O: an answer 3006 names the servers to ask instead.

An answer that cannot be used (`Answer.fault`) is no redirect, whatever its Result-Code. The question of a
redirect is asked again at the first server named that can be asked. Meanwhile it waits for the connection
to that server alone. A question is redirected once: a server that redirects it again ends it.

Redirect-Host-Usage says for which questions the answer is kept, Redirect-Max-Cache-Time for how long::

    Redirect-Host-Usage                                          the next questions, until then, go to
    ─────────────────────────────────────────────────────────────────────────────────────────────────
    ALL_APPLICATION, ALL_HOST                                    the server, not to the peer that redirects
    ALL_REALM, REALM_AND_APPLICATION                             the same, if all questions are of one realm
    DONT_CACHE, ALL_SESSION, ALL_USER, or none                   the peer that redirects, not to the server

A server may know nothing of users for whom it was not named, as an HSS behind an SLF (TS 29.228): it would
call them unknown. Questions are of one realm with `StandardConfig.destination_realm`, and on a route of its
own (see `realms`). A session has one question here, so there is nothing to keep for it. If the server named
cannot be asked any more, the peer is asked again at once.

A server that is no peer becomes one, and leaves once nothing was redirected to it for a minute. There are 8
such servers at most. With TLS only ``aaas`` URIs are followed, and without it only ``aaa`` URIs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from auth_diameter._core import Answer, Message, ParseError, Question, avp_code, result_code
from auth_diameter.diameter.base import value_of
from auth_diameter.diameter.peer import Peer

REDIRECT_INDICATION: Final = result_code("DIAMETER_REDIRECT_INDICATION")

MOST_SERVERS: Final = 8  # that are peers since an answer named them
KEPT: Final = 60.0  # seconds that such a server stays a peer without another redirect

_HOST = avp_code("Redirect-Host")
_OF_A_REALM: Final = frozenset({2, 3})  # ALL_REALM, REALM_AND_APPLICATION
_OF_ALL: Final = frozenset({4, 5})  # ALL_APPLICATION, ALL_HOST
_MOST_SECONDS: Final = 86_400.0

#: DiameterURI (RFC 6733, 4.3.1); DiameterIdentity is a name, and an address in brackets is seen as well.
_URI = re.compile(
    r"(?P<scheme>aaas?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?P<parameters>(?:;[^;]+)*)",
    re.IGNORECASE | re.ASCII,  # without ASCII, "ſ" would be an "s"
)
_PORTS: Final = {"aaa": 3868, "aaas": 5868}  # 5868 is the port for TLS (RFC 6733, 2.1; erratum of 4.3.1)


class Server(NamedTuple):
    """A server that an answer names.

    Attributes:
        host: its DiameterIdentity, in lower case, or an address.
        port: its TCP port.
        is_secure: whether it is to be asked over TLS.
    """

    host: str
    port: int
    is_secure: bool


class Redirect(NamedTuple):
    """What an answer 3006 says.

    Attributes:
        servers: those that can be asked over TCP, in its order.
        seconds: for how long the peer that sent it is not to be asked; 0: it may be.
    """

    servers: Sequence[Server]
    seconds: float


def server_of(uri: object) -> Server | None:
    """The server of a DiameterURI; None: it is none, or one that cannot be asked over TCP in Diameter."""
    found = _URI.fullmatch(uri) if isinstance(uri, str) else None
    if found is None:
        return None
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    parameters = dict(part.lower().partition("=")[::2] for part in found["parameters"].split(";")[1:])
    # RFC 6733 changed the default of "transport" from SCTP to TCP.
    if parameters.get("transport", "tcp") != "tcp" or parameters.get("protocol", "diameter") != "diameter":
        return None
    if not 0 < port < 65536:
        return None
    return Server(found["host"].strip("[]").lower(), port, scheme == "aaas")


def is_redirect(answer: Answer) -> bool:
    """Whether an answer says that other servers are to be asked."""
    return answer.code == REDIRECT_INDICATION and answer.fault is None


def read_redirect(answer: Answer, *, of_one_realm: bool) -> Redirect:
    """What an answer 3006 says of other servers; it may name none, as one does that cannot be read.

    Args:
        answer: the answer.
        of_one_realm: whether all questions are of the same realm.
    """
    try:
        message = Message.decode(answer.message or b"")
    except ParseError:
        return Redirect((), 0.0)
    servers = (server_of(avp.value) for avp in message.find_all(_HOST))
    seconds = value_of(message, "Redirect-Max-Cache-Time")
    kept = _OF_A_REALM | _OF_ALL if of_one_realm else _OF_ALL
    is_kept = value_of(message, "Redirect-Host-Usage") in kept and isinstance(seconds, int)
    return Redirect(
        tuple(server for server in servers if server is not None),
        min(float(seconds), _MOST_SECONDS) if is_kept else 0.0,
    )


class RedirectedQuestions:
    """The questions that wait for the connection to a server that an answer named.

    Args:
        most: limit on their number.
    """

    __slots__ = ("_by_peer", "_most")

    def __init__(self, most: int) -> None:
        self._by_peer: dict[Peer, list[Question]] = {}
        self._most = most

    def __len__(self) -> int:
        return sum(map(len, self._by_peer.values()))

    def add(self, peer: Peer, question: Question) -> bool:
        """Adds a question that waits for `peer`; returns whether there was room for it."""
        if len(self) >= self._most:
            return False
        self._by_peer.setdefault(peer, []).append(question)
        return True

    def take(self, peer: Peer) -> list[Question]:
        """Removes the questions that wait for `peer`, and returns them."""
        return self._by_peer.pop(peer, [])

    def take_all(self) -> list[Question]:
        """Removes all questions, and returns them."""
        return self._take(lambda _: True)

    def take_expired(self, now: float) -> list[Question]:
        """Removes the questions whose deadline has passed, and returns them."""
        return self._take(lambda question: question.deadline <= now)

    def deadline(self) -> float | None:
        """The earliest deadline; None: no question waits."""
        deadlines = (question.deadline for questions in self._by_peer.values() for question in questions)
        return min(deadlines, default=None)

    def _take(self, is_meant: Callable[[Question], bool]) -> list[Question]:
        taken: list[Question] = []
        for peer, questions in list(self._by_peer.items()):
            taken += filter(is_meant, questions)
            left = [question for question in questions if not is_meant(question)]
            if left:
                self._by_peer[peer] = left
            else:
                del self._by_peer[peer]
        return taken
