"""A SIP server that lets everybody in."""

from __future__ import annotations

import re
import socket
import threading
from typing import Self

from kit.machine import PATIENCE


class EasySipServer:
    """Answers each request with 200, so many times.

    Attributes:
        seen: what it was sent.
    """

    def __init__(self, times: int = 1) -> None:
        self.seen: list[bytes] = []
        self._times = times
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self.port = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._answer, daemon=True)
        self._thread.start()

    def _answer(self) -> None:
        while True:
            data, source = self._sock.recvfrom(1 << 16)
            if not data:
                return
            self.seen.append(data)
            kept = b"".join(re.search(rb"%b: .*\r\n" % name, data)[0] for name in (b"Via", b"Call-ID"))
            for _ in range(self._times):
                self._sock.sendto(b"SIP/2.0 200 OK\r\n" + kept + b"\r\n", source)

    def stop(self) -> None:
        """Ends it."""
        self._sock.sendto(b"", self._sock.getsockname())
        self._thread.join(PATIENCE)
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
