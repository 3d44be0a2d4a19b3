"""A server that asks for digests, of HTTP or of SIP: one digest, and more clients of HTTP know all of it.

It challenges with `format_challenge` and judges with `Credentials.parse` and `verify`. What it adds is
one user, and what RFC 7616 asks of a server besides: nonces that get old, counts that are used once,
Authentication-Info. It listens on 127.0.0.1 and keeps what it saw.
"""

from __future__ import annotations

import http.server
import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import auth_diameter as ad
from auth_diameter._core import user_hash

REALM = "siphub.net"
USER = "alice"
PASSWORD = "open:sesame"
REPLY_BODY = b"welcome\n"

Headers = list[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the server asks for."""

    algorithms: tuple[str, ...] = ("MD5",)
    """A challenge for each, in a header of its own, in this order (RFC 7616, 3.7)."""
    qop: tuple[str, ...] = ("auth",)
    userhash: bool = False
    username: str = USER
    first_nonce_is_old: bool = False
    """Whether the right digest with the first nonce gets a new challenge with stale=true (3.3)."""
    nextnonce: bool = False
    """Whether each reply tells the nonce that comes next, and the one used counts no more (3.5)."""
    knows_password: bool = True
    """Whether rspauth proves that the server knows the password too (3.5)."""
    on_the_way: bytes = b""
    """What somebody between client and server adds to the body (3.4.3)."""


@dataclass(frozen=True)
class Seen:
    """One request, and what became of it."""

    status: int
    verdict: str
    credentials: ad.Credentials | None = None


@dataclass
class Bridge:
    """The server's state; `seen` has the requests in their order."""

    offer: Offer
    address: tuple[str, int] = ("127.0.0.1", 0)
    seen: list[Seen] = field(default_factory=list)
    _nonces: dict[str, str] = field(default_factory=dict)  # each with its algorithm
    _old: set[str] = field(default_factory=set)
    _used: set[tuple[str, str | None]] = field(default_factory=set)  # with their counts

    @property
    def url(self) -> str:
        """Where a client of HTTP goes."""
        return f"http://{self.address[0]}:{self.address[1]}/dir/index.html?a=b"

    @property
    def let_in(self) -> list[ad.Credentials]:
        """The credentials that were right."""
        return [seen.credentials for seen in self.seen if seen.status == 200 and seen.credentials is not None]

    def judge(
        self, method: str, uri: str | None, header: bytes | str | None, body: bytes
    ) -> tuple[int, Headers]:
        """The status of the reply to a request, and its headers.

        Args:
            uri: what the digest-uri has to be (RFC 7616, 3.4.6); None of SIP, where a proxy may have changed
                the request's (RFC 3261, 22.4).
        """
        seen = self._judged(method, uri, header, body + self.offer.on_the_way)
        self.seen.append(seen)
        if seen.status == 401:
            return 401, self._challenges(stale=seen.verdict == "stale")
        if seen.status == 200 and seen.credentials is not None:
            return 200, [("Authentication-Info", self._info(seen.credentials))]
        return seen.status, []

    def _judged(self, method: str, uri: str | None, header: bytes | str | None, body: bytes) -> Seen:
        if header is None:
            return Seen(401, "no credentials")
        try:
            credentials = ad.Credentials.parse(header)
        except ad.ParseError:
            return Seen(400, "malformed")
        return Seen(*self._verdict(credentials, method, uri, body), credentials)

    def _verdict(self, c: ad.Credentials, method: str, uri: str | None, body: bytes) -> tuple[int, str]:
        """Status and what it means; nothing but a wrong digest is told from a nonce (RFC 7616, 3.3)."""
        algorithm = c.algorithm or "MD5"
        if algorithm not in self.offer.algorithms:
            return 403, "algorithm not offered"
        if c.qop is not None and c.qop not in self.offer.qop:
            return 403, "qop not offered"
        name = user_hash(self.offer.username, REALM, algorithm) if c.userhash else self.offer.username
        if (c.username, c.realm) != (name, REALM):
            return 403, "unknown user"
        if uri is not None and c.uri != uri:
            return 400, "other uri"
        if not ad.verify(c, method, self._ha1(algorithm), body):
            return 403, "wrong digest"
        if self._nonces.get(c.nonce) != algorithm:
            return 401, "foreign nonce"
        if c.nonce in self._old:
            return 401, "stale"
        if (c.nonce, c.nc) in self._used:
            return 401, "replayed"
        self._used.add((c.nonce, c.nc))
        if self.offer.nextnonce:
            self._old.add(c.nonce)
        return 200, "let in"

    def _nonce(self, algorithm: str) -> str:
        nonce = secrets.token_urlsafe(18)
        if self.offer.first_nonce_is_old and not self._nonces:
            self._old.add(nonce)
        self._nonces[nonce] = algorithm
        return nonce

    def _ha1(self, algorithm: str) -> str:
        return ad.ha1(self.offer.username, REALM, PASSWORD, algorithm)

    def _challenges(self, *, stale: bool) -> Headers:
        return [
            (
                "WWW-Authenticate",
                ad.format_challenge(
                    REALM, self._nonce(algorithm), algorithm=algorithm, qop=self.offer.qop,
                    opaque="b3BhcXVl", stale=stale, userhash=self.offer.userhash,
                ),
            )
            for algorithm in self.offer.algorithms
        ]  # fmt: skip

    def _info(self, c: ad.Credentials) -> str:
        """RFC 7616, 3.5: rspauth is the response to a request without a method, over the reply's body."""
        algorithm = c.algorithm or "MD5"
        info = []
        if self.offer.nextnonce:
            info.append(f'nextnonce="{self._nonce(algorithm)}"')
        if c.qop is not None:
            ha1 = self._ha1(algorithm) if self.offer.knows_password else "0" * len(c.response)
            rspauth = ad.digest_response(
                ha1, "", c.uri, c.nonce, algorithm=algorithm, qop=c.qop, nc=c.nc, cnonce=c.cnonce,
                body=REPLY_BODY,
            )  # fmt: skip
            info.append(f'qop={c.qop}, rspauth="{rspauth}", cnonce="{c.cnonce}", nc={c.nc}')
        return ", ".join(info)


class _Handler(http.server.BaseHTTPRequestHandler):
    """HTTP around `Bridge.judge`."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        header = self.headers.get("Authorization")
        if header is not None:
            header = header.encode("latin-1")  # this server makes a character of each byte
        with self.server.lock:
            status, headers = self.server.bridge.judge(self.command, self.path, header, body)
        self.send_response(status)
        for name, value in [*headers, ("Content-Length", str(len(REPLY_BODY)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(REPLY_BODY)

    do_GET = do_POST = _answer  # noqa: N815 -- names that the class above looks for

    def log_message(self, *_: object) -> None:
        """Nothing: `seen` is what a test looks at."""


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True  # a connection that a client keeps open ends with the test

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(bridge.address, _Handler)
        self.bridge = bridge
        self.lock = threading.Lock()

    def handle_error(self, *_: object) -> None:
        """Nothing: a client may go in the middle of a connection."""


@contextmanager
def serving_http(offer: Offer) -> Iterator[Bridge]:
    """The server, for clients of HTTP, listening at `url`."""
    bridge = Bridge(offer)
    with _Server(bridge) as server:
        bridge.address = ("127.0.0.1", server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.005,))
        thread.start()
        try:
            yield bridge
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def serving_sip(offer: Offer) -> Iterator[Bridge]:
    """The server, for telephones, listening at `address` by UDP."""
    bridge = Bridge(offer)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(bridge.address)
        sock.settimeout(0.02)
        bridge.address = sock.getsockname()
        over = threading.Event()
        thread = threading.Thread(target=_answer_sip, args=(bridge, sock, over))
        thread.start()
        try:
            yield bridge
        finally:
            over.set()
            thread.join()


def _answer_sip(bridge: Bridge, sock: socket.socket, over: threading.Event) -> None:
    while not over.is_set():
        try:
            data, source = sock.recvfrom(65535)
        except TimeoutError:
            continue
        request = ad.SipRequest(data, source)
        status, headers = bridge.judge(request.method, None, request.header("Authorization"), request.body)
        reason = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden"}[status]
        sock.sendto(request.reply(status, reason, headers), source)
