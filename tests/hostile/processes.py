"""A real DISC and a real SIP server in processes of their own, a telephone, and a SIP server's connection."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

from hostile import corpora
from hostile.play import ACCOUNT, DOMAIN, PASSWORD
from kit.canaries import secrets_in
from kit.machine import PATIENCE, wait_until
from kit.process import Server
from kit.sip import build_request
from kit.wire import SIP_MSGID

from auth_diameter import Message, ParseError, SipRequest
from auth_diameter._core import append_question, authentication
from auth_diameter.lab.uac import Reply, authorization, make_request, parse_reply
from auth_diameter.store.accounts import Store

PORT = 5060  # where replies go without rport, so a telephone has it


def fill(path: Path) -> Path:
    """A database with alice in every realm that the sets name."""
    with Store.create(path) as store:
        for domain in sorted(corpora.domains() | {DOMAIN}):
            store.add_user("alice", domain, PASSWORD)
    return path


class Watched:
    """A command that runs until it is stopped, and what it writes to stderr meanwhile."""

    def __init__(self, *args: object) -> None:
        self.server = Server(*args)
        self.address = (self.server.host, self.server.port)
        self.where = f"{self.server.host}:{self.server.port}"
        self._log = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stderr = self.server.process.stderr
        while data := os.read(stderr.fileno(), 1 << 16):
            self._log += data

    def metrics(self) -> str:
        """What it counts, as Prometheus gets it; it must have been started with --metrics."""
        (url,) = wait_until(lambda: re.findall(r"metrics at (http://\S+)", self._log.decode()))
        with urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def resident_bytes(self) -> int:
        pages = Path(f"/proc/{self.server.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self, tracebacks: bool = False) -> str:
        """Ends it, in order; its log, in which there is no control character and no secret.

        :param tracebacks: whether some are to be expected; else there is none in the log.
        """
        process = self.server.process
        assert process.poll() is None, f"it ended by itself: {self._log.decode()}"
        process.send_signal(signal.SIGTERM)
        status = process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        process.stdout.close()
        process.stderr.close()
        log = self._log.decode()
        assert (status, "Traceback" in log) == (0, tracebacks), log
        assert secrets_in(log) == [], log
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", log), log
        return log

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.process.kill()
        self.server.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self.server.process.stdout.close()
        self.server.process.stderr.close()


class Phone:
    """A telephone with an address of loopback of its own, so that it is a source of its own."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.host = ".".join(["127", *(str(random.randint(1, 250)) for _ in range(3))])
        self.sock.bind((self.host, PORT))

    def send(self, data: bytes, to: tuple[str, int]) -> None:
        self.sock.sendto(data, to)

    def receive(self, timeout: float = PATIENCE) -> bytes | None:
        """The next datagram; None where none came in time."""
        self.sock.settimeout(timeout)
        try:
            return self.sock.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            return None

    def ask(self, to: tuple[str, int], headers: tuple[tuple[str, str], ...] = ()) -> Reply:
        local = (self.host, PORT)
        self.send(make_request("REGISTER", f"sip:{DOMAIN}", ACCOUNT, local=local, headers=headers), to)
        reply = self.receive()
        assert reply is not None, "a good request was not answered in time"
        return parse_reply(reply)

    def log_in(self, to: tuple[str, int]) -> None:
        """Both phases of digest."""
        challenge = self.ask(to).challenge()
        assert challenge is not None
        value = authorization(challenge, "alice", PASSWORD, "REGISTER", f"sip:{DOMAIN}")
        reply = self.ask(to, (("Authorization", value),))
        assert reply.status == 200

    def expects_replies_to(self, data: bytes) -> bool:
        """Whether a reply to this request comes here: by its top Via it may go to another port."""
        source = (self.host, PORT)
        try:
            request: SipRequest | None = SipRequest(data, source)
        except ParseError as error:
            request = error.request
        return request is not None and request.reply_address == source

    def close(self) -> None:
        self.sock.close()


class SipServer:
    """A connection to DISC, as a SIP server has one; it speaks no more than it is told."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.sock = socket.create_connection(address, timeout=PATIENCE)
        self.data = b""
        self.asked = 0

    def send(self, data: bytes) -> None:
        with suppress(ConnectionError):  # DISC may have hung up already, and rightly so
            self.sock.sendall(data)

    def ask(self) -> int:
        """A good question; the Result-Code that comes back in time."""
        self.asked += 1
        request = SipRequest(build_request("REGISTER", to=f"<sip:{ACCOUNT}>"))
        out = bytearray()
        append_question(out, authentication(request, DOMAIN, None, False), self.asked)
        self.sock.sendall(out)
        while True:
            for message in self.messages():
                if message.find(SIP_MSGID).data == self.asked.to_bytes(4, "big"):
                    return result_code(message)
            got = self.sock.recv(1 << 16)
            assert got, "DISC hung up"
            self.data += got

    def messages(self) -> list[Message]:
        """The whole messages that came."""
        found = []
        while len(self.data) >= 4 and len(self.data) >= (size := int.from_bytes(self.data[1:4], "big")):
            found.append(Message.decode(self.data[:size]))
            self.data = self.data[size:]
        return found

    def look(self) -> tuple[list[int], bool]:
        """The Result-Codes that are there already, and whether DISC has hung up."""
        self.sock.setblocking(False)
        closed = False
        try:
            while got := self.sock.recv(1 << 16):
                self.data += got
            closed = True
        except BlockingIOError:
            pass
        except ConnectionError:
            closed = True
        self.sock.settimeout(PATIENCE)
        return [result_code(message) for message in self.messages()], closed

    def close(self) -> None:
        self.sock.close()


def result_code(message: Message) -> int:
    return int.from_bytes(message.find(268).data, "big")
