import asyncio
from collections.abc import Callable, Coroutine, Generator, Iterable
from typing import Any, Never, Protocol, final

from typing_extensions import disjoint_base

from auth_diameter._core.auth.decision import Decision
from auth_diameter._core.errors import ParseError
from auth_diameter._core.path.in_flight import Concluder
from auth_diameter._core.sip.request import SipRequest

_Request = SipRequest | bytes | bytearray | memoryview

class _Policy(Protocol):
    def malformed(self, error: ParseError) -> Decision: ...
    def compile(self, realm: str) -> Callable[[SipRequest], str | None]: ...
    def report(self, error: Exception) -> None: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...

@disjoint_base
class ObjectPath(Concluder):
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
    def hand_out(
        self, callback: Callable[[Decision], object] | asyncio.Future[Decision], decision: Decision
    ) -> None: ...

@final
class Several: ...

@final
class PlaceAmongSeveral: ...

@final
class Pending:
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...
    def __await__(self) -> Generator[Any, None, Any]: ...
    def __bool__(self) -> Never: ...
    def send(self, value: None) -> Any: ...
    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any: ...
    def close(self) -> None: ...

def pending(
    path: ObjectPath, asked: _Request | Iterable[_Request], realm: str, proxy: bool, many: bool
) -> Coroutine[Any, Any, Any]: ...
