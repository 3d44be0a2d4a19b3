"""What several test modules need: SIP requests, answers of DISC, and a DISC that does what it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from kit.machine import PATIENCE

from auth_diameter import Avp, Message

# The AVPs of the dialect.
USER_NAME, RESULT_CODE, DESTINATION_REALM = 1, 268, 283
RESOURCE, RESPONSE, CHALLENGE, METHOD = 400, 401, 402, 403
SERVICE_TYPE, USER_GROUP, SIP_MSGID = 404, 405, 406

CHALLENGE_VALUE = b'Digest realm="siphub.net", nonce="5f3c9a1d", qop="auth"'


def build_request(
    method: str = "INVITE",
    request_uri: str = "sip:bob@siphub.net",
    from_: str | None = "<sip:alice@siphub.net>;tag=a1",
    to: str | None = "<sip:bob@siphub.net>",
    extra: tuple[str, ...] = (),
    body: str = "",
) -> bytes:
    """A whole SIP request; `extra` are header lines."""
    lines = [f"{method} {request_uri} SIP/2.0", "Via: SIP/2.0/UDP 127.0.0.1:5066;branch=z9hG4bK-1"]
    if from_ is not None:
        lines.append(f"From: {from_}")
    if to is not None:
        lines.append(f"To: {to}")
    lines += ["Call-ID: c1@127.0.0.1", f"CSeq: 7 {method}", *extra, f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", body]).encode()


def build_credentials(username: str = "alice", realm: str = "siphub.net", **more: str) -> str:
    """The value of an Authorization header; the digest is for a DISC that does not look at it."""
    values = {"nonce": "5f3c9a1d", "uri": "sip:siphub.net", "response": "0" * 32} | more
    pairs = "".join(f', {name}="{value}"' for name, value in values.items())
    return f'Digest username="{username}", realm="{realm}"{pairs}'


FIRST = build_request()  # it has no credentials yet
RIGHT = build_request(extra=("Authorization: " + build_credentials(),))


def build_answer(
    question: Message | int,
    result_code: int | None = 2001,
    *,
    challenge: bytes | None = None,
    service_type: bytes | None = b"6",
    hop_by_hop: int | None = None,
    more: tuple[Avp, ...] = (),
) -> bytes:
    """An AA-Answer to `question`, or with that SIP-MSGID, by the general codec."""
    if isinstance(question, Message):
        msgid = question.find(SIP_MSGID).data
        hop_by_hop = question.hop_by_hop if hop_by_hop is None else hop_by_hop
        if question.find(SERVICE_TYPE) is not None and service_type == b"6":
            service_type = bytes(question.find(SERVICE_TYPE).data)
    else:
        msgid = question.to_bytes(4, "big")
    avps = []
    if result_code is not None:
        avps.append(Avp(RESULT_CODE, result_code.to_bytes(4, "big")))
    avps.append(Avp(SIP_MSGID, bytes(msgid), flags=0))
    if service_type is not None:
        avps.append(Avp(SERVICE_TYPE, service_type))
    if challenge is not None:
        avps.append(Avp(CHALLENGE, challenge))
    message = Message(
        265, [*avps, *more], application_id=1, flags=0, hop_by_hop=hop_by_hop or 0, end_to_end=0
    )
    return message.encode()


def judge(question: Message) -> bytes:
    """The answer of an easygoing DISC: any credentials are right, anyone is a member."""
    if question.find(RESPONSE) is None and question.find(USER_GROUP) is None:
        return build_answer(question, 4001, challenge=CHALLENGE_VALUE + b"\r\n")
    return build_answer(question, 2001)


class FakeConnection:
    """One SIP server's connection, as DISC sees it."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.sock = sock
        self.index = index
        self.data = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def close(self) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)


def answer_all(connection: FakeConnection, questions: list[Message]) -> None:
    connection.send(b"".join(judge(question) for question in questions))


Script = Callable[[FakeConnection, list[Message]], Any]


def say_nothing(connection: FakeConnection, questions: list[Message]) -> None:
    """A script that leaves every question open."""


def hang_up(connection: FakeConnection, questions: list[Message]) -> None:
    """A script that closes the connection at the first question."""
    connection.close()


class FakeDisc:
    """A DISC on loopback that runs `script` on the questions that each read brought.

    :ivar questions: all that came. :ivar reads: how many questions each read brought, for all
        connections. :ivar connections: all that were accepted.
    """

    def __init__(self, script: Script = answer_all) -> None:
        self.script = script
        self.questions: list[Message] = []
        self.reads: list[int] = []
        self.connections: list[FakeConnection] = []
        self.changed = threading.Condition()
        self.port = 0
        self._threads: list[threading.Thread] = []  # first that which accepts
        self._listener: socket.socket | None = None
        self._dead = False

    @property
    def settings(self) -> dict[str, Any]:
        return {"diameter_client_host": "127.0.0.1", "diameter_client_port": self.port}

    def start(self) -> FakeDisc:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listener.getsockname()[1]
        self._dead = False
        self._run(self._accept, self._listener)
        return self

    def _run(self, target: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                connection = FakeConnection(sock, len(self.connections))
                self.connections.append(connection)
                self.changed.notify_all()
            self._run(self._serve, connection)

    def _serve(self, connection: FakeConnection) -> None:
        with connection.sock as sock:
            try:
                while data := sock.recv(1 << 20):
                    connection.data += data
                    questions = []
                    while len(connection.data) >= 4:
                        size = int.from_bytes(connection.data[1:4], "big")
                        if size < 20:
                            return  # garbage, or what is left of a question
                        if len(connection.data) < size:
                            break
                        questions.append(Message.decode(connection.data[:size]))
                        connection.data = connection.data[size:]
                    with self.changed:
                        if self._dead:
                            return
                        self.questions += questions
                        self.reads.append(len(questions))
                        self.changed.notify_all()
                    if questions:
                        self.script(connection, questions)
            except OSError:
                pass  # the client, or the script, closed it

    def wait_for(self, what: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Until `what` about the attributes is true."""
        with self.changed:
            assert self.changed.wait_for(what, timeout), "the fake DISC waited in vain"

    def stop(self) -> None:
        """Closes the port and all connections, as when a process dies; `start` opens the same port again."""
        with self.changed:
            self._dead = True  # it says nothing more, whichever connection is closed first
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
            self._join(self._threads.pop(0))  # what it is just taking is closed as well
        for connection in self.connections:
            with contextlib.suppress(OSError):  # it was closed before
                connection.close()
        for thread in self._threads:
            self._join(thread)
        self._threads.clear()

    @staticmethod
    def _join(thread: threading.Thread) -> None:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a thread of the fake DISC hangs"


def parse_reply(reply: bytes) -> tuple[int, str, list[tuple[str, str]]]:
    """Status, reason and header fields of a SIP reply without a body, read without mercy."""
    head, empty, body = reply.partition(b"\r\n\r\n")
    assert empty, "no empty line"
    assert body == b"", "a reply of ours has no body"
    first, *lines = head.decode("utf-8", "surrogateescape").split("\r\n")
    version, status, reason = first.split(" ", 2)
    assert version == "SIP/2.0"
    headers = []
    for line in lines:
        name, colon, value = line.partition(": ")
        assert colon, f"{line!r} is no header field"
        assert name.strip() == name != "", f"{line!r} is no header field"
        assert not set(value) & set("\r\n\0"), f"a control character in {line!r}"
        headers.append((name, value))
    return int(status), reason, headers
