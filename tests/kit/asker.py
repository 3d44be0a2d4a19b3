"""A DISC of this process, and a telephone that asks it by way of a SIP server: question by question.

Questions are built with the general Diameter codec, so that nothing of the client stands in between.
"""

import itertools
from typing import Any

from kit import wire
from kit.sip import PASSWORD
from kit.wire import (
    BODY_HASH,
    CALLING_STATION_ID,
    NOW,
    RESOURCE,
    SESSION_ID,
    USER_NAME,
    aa_request,
    challenges_of,
    credentials_avps,
    result_code,
)

from auth_diameter import Avp, Challenge, Message
from auth_diameter.disc.server import Disc
from auth_diameter.lab.uac import authorization
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces
from auth_diameter.verifier.state.state import SharedState

REALM = "siphub.net"
KEY = b"sixteen secret bytes"
_ONE_AFTER_THE_OTHER = itertools.count(1)


class Asker:
    """A SIP server that asks a DISC of this process.

    Attributes:
        end_to_end: what the SIP server says of a request; None: another for each; 0: OpenSER's module.
        session: the same for Session-Id; "": none is told.
        source: the address of the UAC as it is told; "": it is not.
    """

    def __init__(
        self,
        store: SqliteStore,
        nonces: Nonces | None = None,
        state: SharedState | None = None,
        **settings: Any,
    ) -> None:
        self.disc = Disc(store, VerifierConfig(**settings), nonces or Nonces(KEY), state)
        self.now = NOW
        self.end_to_end: int | None = None
        self.session = ""
        self.source = ""
        self.one_challenge = False
        self.counts = self.disc.counts

    def question(
        self,
        credentials: str | None = None,
        *,
        method: str = "REGISTER",
        user: str = "alice",
        body: bytes | None = None,
        resource: str = REALM,
    ) -> bytes:
        """The bytes of a question."""
        avps = [Avp(RESOURCE, resource), Avp(USER_NAME, f"{user}@{REALM}")]
        if credentials is not None:
            avps += credentials_avps(credentials, method)
        if body is not None:
            avps.append(Avp(BODY_HASH, body, flags=0))
        if self.source:
            avps.append(Avp(CALLING_STATION_ID, self.source, flags=0))
        if self.session:
            avps.append(Avp(SESSION_ID, self.session))
        end_to_end = next(_ONE_AFTER_THE_OTHER) if self.end_to_end is None else self.end_to_end
        return aa_request(*avps, end_to_end=end_to_end)

    def answer(self, *questions: bytes) -> list[Message]:
        """The answers to questions that come at once, in the order in which they are given."""
        return wire.ask(self.disc, *questions, now=self.now, one_challenge=self.one_challenge)

    def ask(self, credentials: str | None = None, **more: Any) -> Message:
        """The answer to one question."""
        (answer,) = self.answer(self.question(credentials, **more))
        return answer

    def challenges(self, credentials: str | None = None, **more: Any) -> dict[str, Challenge]:
        """Those of an answer 4001, by algorithm and in their order."""
        answer = self.ask(credentials, **more)
        assert result_code(answer) == 4001
        return challenges_of(answer)

    def respond(
        self,
        algorithm: str = "MD5",
        *,
        user: str = "alice",
        password: str = PASSWORD,
        method: str = "REGISTER",
        **changes: Any,
    ) -> str:
        """Credentials that answer a new challenge."""
        challenge = self.challenges(user=user)[algorithm]
        return authorization(challenge, user, password, method, f"sip:{REALM}", **changes)
