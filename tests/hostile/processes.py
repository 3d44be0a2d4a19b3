"""Real servers that end in order and without a secret, and a telephone that is a source of its own."""

from __future__ import annotations

import random
import re
from pathlib import Path

from hostile import corpora
from kit.process import Server
from kit.sip import DOMAIN, PASSWORD
from kit.uac import Uac

from auth_diameter import ParseError, SipRequest
from auth_diameter.store.accounts import Accounts

PORT = 5060  # where replies go without rport, so a telephone has it


def fill(path: Path) -> Path:
    """A database with alice in every realm that the sets name."""
    with Accounts.create(path) as store:
        for domain in sorted(corpora.domains() | {DOMAIN}):
            store.add_user("alice", domain, PASSWORD)
    return path


def stop(server: Server, *, tracebacks: bool = False) -> str:
    """Ends it, in order; its log, in which there is no control character and no secret.

    Args:
        tracebacks: whether some are to be expected; else there is none in the log.
    """
    assert server.running, f"it ended by itself: {server.err()}"
    status, _, log = server.stop()
    assert (status, "Traceback" in log) == (0, tracebacks), log
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", log), log
    return log


class Phone(Uac):
    """A telephone with an address of loopback of its own, so that it is a source of its own."""

    def __init__(self, to: tuple[str, int] | None = None) -> None:
        super().__init__(
            to, host=".".join(["127", *(str(random.randint(1, 250)) for _ in range(3))]), port=PORT
        )

    def expects_replies_to(self, data: bytes) -> bool:
        """Whether a reply to this request comes here: by its top Via it may go to another port."""
        try:
            request: SipRequest | None = SipRequest(data, self.local)
        except ParseError as error:
            request = error.request
        return request is not None and request.reply_address == self.local
