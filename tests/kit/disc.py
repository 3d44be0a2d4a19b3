"""A DISC on loopback that does what it is told."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any

from kit.machine import PATIENCE
from kit.wire import RESPONSE, USER_GROUP, build_answer

from auth_diameter import Message

CHALLENGE_VALUE = b'Digest realm="siphub.net", nonce="5f3c9a1d", qop="auth"'


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

    Args:
        decode: what makes a question of its bytes: ours, or another codec.

    Attributes:
        questions: all that came.
        reads: how many questions each read brought, for all connections.
        connections: all that were accepted.
    """

    def __init__(self, script: Script = answer_all, decode: Callable[[bytes], Any] = Message.decode) -> None:
        self.script = script
        self.decode = decode
        self.questions: list[Any] = []
        self.reads: list[int] = []
        self.connections: list[FakeConnection] = []
        self.changed = threading.Condition()
        self.port = 0
        self._threads: list[threading.Thread] = []  # first that which accepts
        self._listener: socket.socket | None = None
        self._dead = False

    def __enter__(self) -> FakeDisc:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    @property
    def where(self) -> str:
        """The same, as an option has it."""
        return f"127.0.0.1:{self.port}"

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
        # An OSError: the client, or the script, closed it.
        with connection.sock, contextlib.suppress(OSError):
            self.read(connection)

    def read(self, connection: FakeConnection) -> None:
        """Takes the questions of a connection until its end. A DISC that reads otherwise overrides this."""
        while data := connection.sock.recv(1 << 20):
            connection.data += data
            questions = []
            while len(connection.data) >= 4:
                size = int.from_bytes(connection.data[1:4], "big")
                if size < 20:
                    return  # garbage, or what is left of a question
                if len(connection.data) < size:
                    break
                questions.append(self.decode(connection.data[:size]))
                connection.data = connection.data[size:]
            with self.changed:
                if self._dead:
                    return
                self.questions += questions
                self.reads.append(len(questions))
                self.changed.notify_all()
            if questions:
                self.script(connection, questions)

    def wait_for(self, what: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Waits until `what()`, which looks at the attributes, is true."""
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
