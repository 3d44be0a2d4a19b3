import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Never, Protocol, final

from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.auth.question import Question
from auth_diameter._core.path.counts import Decisions
from auth_diameter._core.path.in_flight import Concluder, InFlight
from auth_diameter._core.sip.request import SipRequest
from auth_diameter._core.state.nonce_watch import NonceIssuers
from auth_diameter._core.state.penalties import Penalties

_Request = SipRequest | bytes | bytearray | memoryview

class _Policy(Protocol):
    def read(self, request: _Request) -> SipRequest | Decision: ...
    def compile(self, realm: str) -> Callable[[SipRequest], str | None]: ...
    def refuse(self, request: SipRequest, realm: str, proxy: bool, now: float) -> Decision: ...
    def refuse_penalized(self, question: Question) -> Decision: ...
    def place(self, question: Question) -> None: ...
    def written(self) -> None: ...
    def report(self, error: Exception) -> None: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...

@final
class ObjectPath(Concluder):
    def __new__(
        cls,
        policy: _Policy,
        in_flight: InFlight,
        decisions: Decisions,
        penalties: Penalties | None,
        watch: NonceIssuers | None,
        *,
        most_bytes: int,
        timeout: float,
        max_question: int,
        tells_source: bool,
    ) -> ObjectPath: ...
    is_sending: bool
    def ask(
        self, request: _Request, realm: str, proxy: bool, callback: Callable[[Decision], object], now: float
    ) -> None: ...
    def ask_many(
        self,
        requests: Iterable[_Request],
        realm: str,
        proxy: bool,
        future: asyncio.Future[list[Decision]],
        now: float,
    ) -> None: ...
    def deliver(self) -> None: ...
    def end(self, question: Question, decision: Decision) -> None: ...

@final
class Several: ...

@final
class PlaceAmongSeveral: ...

@final
class Pending:
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    def __await__(self) -> Generator[Any, None, Any]: ...
    def send(self, value: None) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...

def pending(
    path: ObjectPath, asked: _Request | Iterable[_Request], realm: str, proxy: bool, many: bool
) -> Coroutine[Any, Any, Any]: ...
