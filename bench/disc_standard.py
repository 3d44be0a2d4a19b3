"""Row 19: what a question costs DISC in standard Diameter, beside one of the dialect.

One DISC, over 10,000 subscribers, speaks the dialect, RFC 4740 and Cx at once. A peer asks it in each of them
in turns, 64 questions under way on one connection: with right credentials, each of another subscriber and
with a count of its own, or for HA1 (Cx). Every question was made before its turn. The peer is in Python, so
the CPU time of DISC for a question is what counts, and its ratio to that of the dialect.
"""

from __future__ import annotations

import itertools
import socket
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, Final

import common
import disc_load
from kit.machine import unused_tcp_port

import auth_diameter as ad
from auth_diameter._core import (
    Application,
    CxApplication,
    DiscApplication,
    Framer,
    Message,
    Question,
    SipApplication,
    authentication,
    digest_response,
    ha1_lookup,
)
from auth_diameter.diameter.base import Node, result_of
from auth_diameter.diameter.capabilities import cer
from auth_diameter.diameter.cx import CX, VENDOR
from auth_diameter.diameter.sip import SIP

REALM: Final = disc_load.REALM
IN_FLIGHT: Final = 64
NODES: Final = {
    "RFC 4740": Node(host="sip.example.net", realm="example.net", applications=(SIP,)),
    "Cx": Node(host="scscf.example.net", realm="example.net", vendor_applications=((VENDOR, CX),)),
}
APPLICATIONS: Final[dict[str, Application]] = {
    "dialect": DiscApplication(),
    "RFC 4740": SipApplication("sip.example.net", "example.net", 1, server_uri="sip:sip.example.net"),
    "Cx": CxApplication(
        "scscf.example.net", "example.net", 1, "sip:scscf.example.net", destination_realm=REALM
    ),
}

REGISTER: Final = (
    "REGISTER sip:{realm} SIP/2.0\r\nVia: SIP/2.0/TCP sip.example.net;branch=z9hG4bK{serial}\r\n"
    "From: <sip:{user}@{realm}>;tag=1\r\nTo: <sip:{user}@{realm}>\r\nCall-ID: {serial}\r\n"
    "CSeq: 1 REGISTER\r\n{credentials}\r\n"
)


class Peer:
    """A connection that asks."""

    def __init__(self, spoken: str, port: int) -> None:
        self._application = APPLICATIONS[spoken]
        self._sock = socket.create_connection((common.LOOPBACK, port))
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._framer = Framer()
        self._numbers = itertools.count(1)
        if spoken in NODES:
            self._sock.sendall(cer(NODES[spoken], common.LOOPBACK, 0).encode())
            (cea,) = self._receive()
            assert result_of(Message.decode(cea)) == 2001

    def close(self) -> None:
        self._sock.close()

    def encoded(self, question: Question) -> bytes:
        out = bytearray()
        self._application.append(out, question, next(self._numbers))
        return bytes(out)

    def nonce(self) -> str:
        """That of a challenge."""
        request = ad.SipRequest(
            REGISTER.format(realm=REALM, user="u0000000", serial=0, credentials="").encode()
        )
        self._sock.sendall(self.encoded(authentication(request, REALM, None, False)))
        (answer,) = self._receive()
        return ad.Challenge.parse(self._application.decode(answer).challenges[0]).nonce

    def ask(self, questions: list[bytes]) -> None:
        """Asks them all, and takes the answers."""
        begun, answered = IN_FLIGHT, 0
        self._sock.sendall(b"".join(questions[:begun]))
        while answered < len(questions):
            answers = self._receive()
            answered += len(answers)
            self._sock.sendall(b"".join(questions[begun : begun + len(answers)]))
            begun += len(answers)

    def _receive(self) -> list[bytes]:
        found: list[bytes] = []
        while not found:
            data = self._sock.recv(1 << 18)
            assert data, "DISC has closed the connection"
            found = list(self._framer.feed(data))
        return found


def questions(peer: Peer, spoken: str, count: int) -> list[bytes]:
    """So many, each of the next subscriber."""
    if spoken == "Cx":
        names = (f"u{serial % disc_load.HOT:07d}@{REALM}" for serial in range(count))
        return [peer.encoded(ha1_lookup(REALM, name, f"sip:{name}")) for name in names]
    nonce = peer.nonce()
    return [peer.encoded(_login(nonce, serial)) for serial in range(1, count + 1)]


def _login(nonce: str, serial: int) -> Question:
    """A question with right credentials, the nonce used for the time that the serial number says."""
    user, password = (f"{letter}{serial % disc_load.HOT:07d}" for letter in "up")
    uri, nc, cnonce = f"sip:{REALM}", f"{serial:08x}", "0a4f"
    response = digest_response(
        ad.ha1(user, REALM, password), "REGISTER", uri, nonce, qop="auth", nc=nc, cnonce=cnonce
    )
    credentials = (
        f'Authorization: Digest username="{user}", realm="{REALM}", nonce="{nonce}", uri="{uri}", '
        f'response="{response}", algorithm=MD5, qop=auth, nc={nc}, cnonce="{cnonce}"\r\n'
    )
    text = REGISTER.format(realm=REALM, user=user, serial=serial, credentials=credentials)
    request = ad.SipRequest(text.encode())
    return authentication(request, REALM, request.credentials(REALM), False)


def measure(program: common.Program, spoken: str, port: int, count: int) -> dict[str, Any]:
    """One turn, of which DISC must have let in each question, or told HA1."""
    peer = Peer(spoken, port)
    try:
        asked = questions(peer, spoken, count)
        counted, before = program.counters(), program.cpu_seconds()
        start = time.perf_counter()
        peer.ask(asked)
        took, cpu = time.perf_counter() - start, program.cpu_seconds() - before
        counted = program.counters() - counted
    finally:
        peer.close()
    outcome = "delegated" if spoken == "Cx" else "authorized"
    done = counted[f'auth_diameter_disc_answers_total{{outcome="{outcome}"}}']
    common.check_asked(done, count)
    return {"per_s": count / took, "cpu_us": cpu / count * 1e6}


def main() -> None:
    parser = common.arguments(__doc__)
    parser.add_argument("--turns", type=int, default=5, help="of each")
    parser.add_argument("--count", type=int, default=100_000, help="questions of a turn")
    options = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {spoken: [] for spoken in APPLICATIONS}
    port = unused_tcp_port()
    with tempfile.TemporaryDirectory(prefix="auth-diameter-bench-") as folder:
        db = disc_load.database(Path(folder), disc_load.HOT)
        standard = ("--diameter", f"{common.LOOPBACK}:{port}", "--origin-host", "disc.siphub.net")
        peers = ("--origin-realm", REALM, "--tell-ha1", NODES["Cx"].host)
        with disc_load.disc(db, None, *standard, *peers) as program:
            for turn in range(options.turns + 1):
                for spoken, of in runs.items():
                    where = program.port if spoken == "dialect" else port
                    got = measure(program, spoken, where, options.count)
                    if turn:  # the first finds nothing at hand
                        of.append(got)
    rows = []
    for spoken, of in runs.items():
        ratio = statistics.median(
            base["cpu_us"] / own["cpu_us"] for own, base in zip(of, runs["dialect"], strict=True)
        )
        rate, cpu = common.median(of, "per_s"), common.median(of, "cpu_us")
        target = ["≥ 0.8", common.verdict(ratio, 0.8)] if spoken == "RFC 4740" else ["", ""]
        rows.append([spoken, f"{cpu:.2f}", f"{rate:.0f}", f"{ratio:.2f}", *target])
    common.table(("row 19", "CPU µs each", "answers/s", "dialect's CPU ÷ its own", "target", ""), rows)
    common.finish(options, {"row": "19", "runs": runs})


if __name__ == "__main__":
    main()
