"""What SIP servers and DISC speak in a row, and how each program is told.

The same faults are played with DISC's dialect and with standard Diameter: "sip" is RFC 4740; with "cx" DISC
delegates HA1, and the client verifies with it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from faults.load import KEY, LOOPBACK
from kit.machine import unused_tcp_port
from kit.process import OURS, UNBUFFERED, Server

from auth_diameter import Config
from auth_diameter.standard import APPLICATIONS

#: Who may ask: a peer accepts one connection of each identity (RFC 6733, 2.1).
CLIENTS = ("threads", "asyncio", "serve")

_REALM = "faults.test"
_WATCHDOG = 6.0  # seconds: the least that RFC 3539 allows
# Seconds. A user at hand is not asked about, and each is back after two seconds: by then none is at hand.
_AT_HAND = 0.05

assert APPLICATIONS == ("disc", "sip", "cx")


def identity(who: str) -> str:
    """The DiameterIdentity of a program."""
    return f"{who}.{_REALM}"


def unavailable(application: str) -> int:
    """The SIP status when nobody answers: with "cx" no DISC is down, but the database that HA1 comes from."""
    return 500 if application == "cx" else 503


def config_for(*ports: int, application: str = "disc", who: str = "threads", **settings: Any) -> Config:
    """Settings of a client for the DISC at these ports of loopback.

    Args:
        who: the client, one of `CLIENTS`.
        settings: others, by their names for the dialect.
    """
    if application != "disc":
        settings |= _standard(who)
    if application == "cx":
        settings |= {"nonce_key": KEY, "delegation_lifetime": _AT_HAND}
        settings.pop("max_delay", None)  # there is none
        if "timeout" in settings:
            settings["db_timeout"] = settings.pop("timeout")
    return Config(application=application, peers=[(LOOPBACK, port) for port in ports], **settings)


def _standard(who: str) -> dict[str, Any]:
    return {"origin_host": identity(who), "watchdog": _WATCHDOG}


def options_of_serve(application: str, key: Path, *ports: int) -> list[object]:
    """Options of `serve` for the DISC at these ports.

    Args:
        key: the file with the nonce key of all DISC.
    """
    where = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    if application == "disc":
        return ["--disc", where]
    standard = [
        word for name, value in _standard("serve").items() for word in (f"--{name.replace('_', '-')}", value)
    ]
    if application == "sip":
        return ["--application", "sip", "--disc", where, *standard]
    return ["--db", f"cx://{where}", "--nonce-key", key, "--delegation-lifetime", _AT_HAND, *standard]


class StandardDisc(Server):
    """A DISC that is asked with standard Diameter: `port` is that one.

    Args:
        number: of those in the same world, which need different identities.
        arguments: those of a DISC that is asked with the dialect.
    """

    def __init__(self, number: int, application: str, *arguments: object, env: dict[str, str] | None) -> None:
        self._asked_at = unused_tcp_port()  # after another start, too
        standard: list[object] = ["--diameter", f"{LOOPBACK}:{self._asked_at}", "--watchdog", _WATCHDOG]
        standard += ["--origin-host", identity(f"disc{number}"), "--origin-realm", _REALM]
        if application == "cx":
            standard += [word for who in CLIENTS for word in ("--tell-ha1", identity(who))]
        super().__init__(*arguments, *standard, env={**UNBUFFERED, **(env or {})}, program=OURS)

    def _wait_for_readiness(self) -> None:
        super()._wait_for_readiness()
        self._listens_at, self.port = self.port, self._asked_at

    @property
    def where(self) -> str:
        """Where it listens for the dialect."""
        return f"{self.host}:{self._listens_at}"
