"""The whole way of a request without a socket: bytes → question → DISC → answer → Decision."""

from __future__ import annotations

from collections.abc import Callable

from kit.answer_stream import AnswerStream
from kit.uac import Account
from kit.wire import NOW, ask_bytes

from auth_diameter import Config, Decision, ParseError, SipRequest
from auth_diameter._core import Question, append_question
from auth_diameter.client.authorizer import Authorizer, malformed
from auth_diameter.disc.server import Disc
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.verifier.config import VerifierConfig
from auth_diameter.verifier.nonces import Nonces

SOURCE = ("127.0.0.1", 5060)
MSGID = 0x01020304

Answering = Callable[[bytes], bytes]  # a DISC: the bytes of a question → the bytes of its answer


def real_disc(
    store: SqliteStore,
    nonces: Nonces | None = None,
    config: VerifierConfig | None = None,
    kind: type[Disc] = Disc,
) -> Answering:
    """The DISC of this package, asked without a socket."""
    disc = kind(store, config, nonces)

    def answer(question: bytes) -> bytes:
        return b"".join(ask_bytes(disc, question, now=NOW))

    return answer


class Play:
    """A SIP server and the DISC that it asks."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        # Thousands of refused credentials come from one source here: each is to be judged by itself.
        self.authorizer = Authorizer(Config(penalty=False))

    def decide(self, data: bytes, realm: str = "$fd", *, proxy: bool | None = None) -> Decision:
        """What becomes of a datagram.

        Args:
            proxy: None: as `serve` does it by default.
        """
        try:
            request = SipRequest(data, SOURCE)
        except ParseError as error:
            return malformed(error)
        if proxy if proxy is not None else not request.is_register:
            return self.conclude(self.authorizer.proxy_authorize(request, realm, 0.0))
        return self.conclude(self.authorizer.www_authorize(request, realm, 0.0))

    def conclude(self, outcome: Question | Decision) -> Decision:
        if isinstance(outcome, Decision):
            return outcome
        out = bytearray()
        append_question(out, outcome, MSGID)
        ((question, answer),) = AnswerStream().feed(self.answering(bytes(out)), {MSGID: outcome})
        assert question is outcome
        return self.authorizer.conclude(question, answer, 0.0)

    def log_in(self) -> Decision:
        """Both phases of a good REGISTER; what becomes of the second."""
        alice = Account()
        first = self.decide(alice.request())
        assert first.status == 401
        return self.decide(alice.request("REGISTER", alice.answer(first.reply)))
