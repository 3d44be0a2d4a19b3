"""Clients of HTTP that others wrote, each behind the same call: they ask `times` times, with a password.

A client says nothing of what it sent: the server saw it. What it returns is whether it was content with
the replies, which it is not where it found that the server does not know the password.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib.metadata
import os
import platform
import re
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 5  # for one request


@dataclass(frozen=True)
class Visit:
    """What a client is to do."""

    url: str
    username: str
    password: str
    body: bytes | None = None
    """None: GET; else POST with it."""
    times: int = 1

    @property
    def method(self) -> str:
        return "GET" if self.body is None else "POST"


def _run(*command: str) -> int:
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            command, env=environment, cwd=home, stdin=subprocess.DEVNULL, capture_output=True,
            timeout=2 * SECONDS, check=False,
        )  # fmt: skip
    return done.returncode


def curl(visit: Visit) -> bool:
    data = [] if visit.body is None else ["--data-binary", visit.body.decode()]
    each = ["-o", "/dev/null", visit.url]
    return not _run(
        "curl", "-q", "--silent", "--fail", "--globoff", "--max-time", str(SECONDS),
        "--digest", "--user", f"{visit.username}:{visit.password}", *data, *each * visit.times,
    )  # fmt: skip


def wget(visit: Visit, program: str = "wget", *options: str) -> bool:
    data = [] if visit.body is None else [f"--post-data={visit.body.decode()}"]
    return not _run(
        program, "--no-config", *options, "--tries=1", f"--timeout={SECONDS}", "-O", "/dev/null",
        f"--http-user={visit.username}", f"--http-password={visit.password}",
        *data, *[visit.url] * visit.times,
    )  # fmt: skip


def wget2(visit: Visit) -> bool:
    return wget(visit, "wget2", "--no-hsts", "--no-robots", "--max-threads=1")


def neon(visit: Visit) -> bool:
    """A C library (cadaver, davfs2 and Subversion used it), called as its header neon/ne_auth.h says."""
    library = ctypes.CDLL("libneon.so.27")
    name_buffer = ctypes.POINTER(ctypes.c_char * 256)  # NE_ABUFSIZ
    ask_user = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, name_buffer, name_buffer
    )
    library.ne_session_create.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
    library.ne_session_create.restype = ctypes.c_void_p
    library.ne_set_server_auth.argtypes = [ctypes.c_void_p, ask_user, ctypes.c_void_p]
    library.ne_get.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
    library.ne_session_destroy.argtypes = [ctypes.c_void_p]

    @ask_user
    def answer(_data: int, _realm: bytes, attempt: int, username: Any, password: Any) -> int:
        username.contents.value = visit.username.encode()
        password.contents.value = visit.password.encode()
        return attempt  # anything but 0 gives up

    where = urllib.parse.urlsplit(visit.url)
    session = library.ne_session_create(b"http", where.hostname.encode(), where.port)
    library.ne_set_server_auth(session, answer, None)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        target = f"{where.path}?{where.query}".encode()
        results = [library.ne_get(session, target, sink) for _ in range(visit.times)]
        return not any(results)  # NE_OK is 0
    finally:
        os.close(sink)
        library.ne_session_destroy(session)


def urllib_request(visit: Visit) -> bool:
    users = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    users.add_password(None, visit.url, visit.username, visit.password)
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPDigestAuthHandler(users)
    )
    for _ in range(visit.times):
        try:
            opener.open(visit.url, visit.body, timeout=SECONDS).close()
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except (urllib.error.URLError, ValueError):  # what it does not know, it raises
            return False
    return True


def requests(visit: Visit) -> bool:
    import requests as library

    with library.Session() as session:
        session.trust_env = False
        session.auth = library.auth.HTTPDigestAuth(visit.username, visit.password)
        replies = [
            session.request(visit.method, visit.url, data=visit.body, timeout=SECONDS)
            for _ in range(visit.times)
        ]
    return all(reply.ok for reply in replies)


def httpx(visit: Visit) -> bool:
    import httpx as library

    auth = library.DigestAuth(visit.username, visit.password)
    with library.Client(auth=auth, trust_env=False, timeout=SECONDS) as client:
        try:
            replies = [
                client.request(visit.method, visit.url, content=visit.body) for _ in range(visit.times)
            ]
        except (KeyError, NotImplementedError, UnicodeError):  # what it does not know, it raises
            return False
    return all(reply.is_success for reply in replies)


def aiohttp(visit: Visit) -> bool:
    import aiohttp as library

    async def ask() -> bool:
        auth = library.DigestAuthMiddleware(visit.username, visit.password)
        limit = library.ClientTimeout(total=SECONDS)
        async with library.ClientSession(middlewares=(auth,), timeout=limit) as session:
            good = True
            for _ in range(visit.times):
                async with session.request(visit.method, visit.url, data=visit.body) as reply:
                    good &= reply.ok
            return good

    with warnings.catch_warnings():
        # When it raises, it leaves the connection to the collector of garbage, which warns.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return asyncio.run(ask())
        except library.ClientError:  # what it does not know, it raises
            return False
        finally:
            gc.collect()


def _version_of(program: str) -> Callable[[], str]:
    def version() -> str:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        return re.search(r"\d+(\.\d+)+", said)[0]

    return version


def _neon_version() -> str:
    library = ctypes.CDLL("libneon.so.27")
    library.ne_version_string.restype = ctypes.c_char_p
    return re.search(rb"\d+(\.\d+)+", library.ne_version_string())[0].decode()


@dataclass(frozen=True)
class Client:
    """One that others wrote, and where it comes from."""

    ask: Callable[[Visit], bool]
    package: str
    version: Callable[[], str]
    """Raises OSError or PackageNotFoundError where it is not installed."""


def _library(ask: Callable[[Visit], bool], name: str) -> Client:
    return Client(ask, f"the package {name} of PyPI", lambda: importlib.metadata.version(name))


def _program(ask: Callable[[Visit], bool], name: str) -> Client:
    return Client(ask, f"the Debian package {name}", _version_of(name))


CLIENTS = {
    "curl": _program(curl, "curl"),
    "wget": _program(wget, "wget"),
    "wget2": _program(wget2, "wget2"),
    "neon": Client(neon, "the Debian package libneon27", _neon_version),
    "urllib": Client(urllib_request, "Python", platform.python_version),
    "requests": _library(requests, "requests"),
    "httpx": _library(httpx, "httpx"),
    "aiohttp": _library(aiohttp, "aiohttp"),
}
