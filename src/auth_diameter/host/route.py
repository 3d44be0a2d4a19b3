"""A route script: a Python file that decides what happens to each request.

::

    async def request_route(request, auth):
        decision = await auth.diameter_proxy_authorize(request, "$fd")
        if not decision:
            return decision                                # its reply is sent
        return request.reply(200, "OK")                    # bytes are sent; None sends nothing
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Awaitable, Callable
from importlib.abc import Loader, SourceLoader
from types import ModuleType
from typing import cast

from auth_diameter._core import ConfigError, SipRequest
from auth_diameter.client.aio import AsyncAuthDiameter
from auth_diameter.decision import Decision

Result = bytes | Decision | None
Route = Callable[[SipRequest, AsyncAuthDiameter], Awaitable[Result]]


def load_route(path: str) -> Route:
    """Loads the ``request_route`` of a Python file.

    Args:
        path: the file.

    Raises:
        ConfigError: the file is missing, has an error, or has no such coroutine function. The message is one
            line with file, line and reason.
    """
    # Registered in sys.modules, where dataclasses and pickle look for it.
    name = "auth_diameter_route"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"route {path}: not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        route = _run_script(module, spec.loader, path)
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before  # the earlier script stays in use
        raise
    return route


def _run_script(module: ModuleType, loader: Loader, path: str) -> Route:
    try:
        if isinstance(loader, SourceLoader):
            # Not from the bytecode cache, which takes two versions of the same second and size for one.
            exec(loader.source_to_code(loader.get_data(path), path), module.__dict__)  # noqa: S102 - it is what was asked for
        else:
            loader.exec_module(module)
    except SyntaxError as error:
        line = f", line {error.lineno}" if error.lineno else ""
        raise ConfigError(f"route {path}{line}: {error.msg}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any failure of a script becomes one line
        if isinstance(error, OSError) and error.filename == path:
            raise ConfigError(f"route {path}: {error.strerror}") from None
        raise ConfigError(f"route {path}, {_where(error, path)}{error}") from None
    route = getattr(module, "request_route", None)
    if not inspect.iscoroutinefunction(route):
        raise ConfigError(f"route {path}: expected async def request_route(request, auth)")
    try:
        inspect.signature(route).bind(None, None)
    except TypeError:
        line = f", line {route.__code__.co_firstlineno}"
        raise ConfigError(f"route {path}{line}: request_route must take (request, auth)") from None
    return cast(Route, route)


def _where(error: BaseException, file: str | None) -> str:
    """``line 3: KeyError: ``: the last line of `file` in the traceback, and the type of the error."""
    line = 0
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return f"line {line}: {type(error).__name__}: "
