"""freeDiameterd: its configuration, and what it says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from kit.certificates import Certified
from kit.network import listening
from kit.process import Program

IDENTITY, REALM = "relay.r.test", "r.test"
PORT, TLS_PORT = 3868, 5868

# It binds all addresses, and wants a certificate even if nobody speaks TLS.
_CONFIGURATION = """
Identity = "{identity}";
Realm = "{realm}";
Port = {port};
SecPort = {tls_port};
No_SCTP;
No_IPv6;
TcTimer = 6;
TwTimer = 6;
TLS_Cred = "{certificate}", "{key}";
TLS_CA = "{authority}";
LoadExtension = "acl_wl.fdx" : "{allowed}";
LoadExtension = "dbg_msg_dumps.fdx" : "0x8888";
LoadExtension = "dict_nasreq.fdx";
LoadExtension = "dict_sip.fdx";
"""
_PEER = 'ConnectPeer = "{}" {{ ConnectTo = "{}"; Port = {}; No_TLS; }};\n'


class Next(NamedTuple):
    """A server that it connects to as a relay."""

    identity: str
    host: str
    port: int


class FreeDiameter(Program):
    """freeDiameterd, up.

    Args:
        program: its path.
        folder: for its files.
        certificate: its own.
        allowed: names of the peers that may connect, such as ``*.c.test``.
        servers: those it connects to.
    """

    def __init__(
        self,
        program: str,
        folder: Path,
        certificate: Certified,
        allowed: str = "*.c.test",
        servers: Sequence[Next] = (),
    ) -> None:
        allowed_file, file = folder / "allowed", folder / "freeDiameter.conf"
        allowed_file.write_text(f"ALLOW_IPSEC {allowed}\n")  # without the flag it wants TLS on either port
        file.write_text(
            _CONFIGURATION.format(
                identity=IDENTITY,
                realm=REALM,
                port=PORT,
                tls_port=TLS_PORT,
                certificate=certificate.certificate,
                key=certificate.key,
                authority=certificate.authority,
                allowed=allowed_file,
            )
            + "".join(_PEER.format(*server) for server in servers)
        )
        super().__init__(program, "-c", file)
        try:
            # It says that it is initialized some time before it listens.
            self.wait_until(lambda: {PORT, TLS_PORT} <= listening(), "both ports")
            for server in servers:
                self.wait_until_open(server.identity)
        except BaseException:
            self.__exit__()
            raise

    def wait_until_open(self, identity: str) -> None:
        """Waits until it has exchanged capabilities with a peer."""
        self.wait_for_line(rf"-> 'STATE_OPEN'\s+'{re.escape(identity)}'")

    def states(self, identity: str) -> list[str]:
        """The states that a peer has come to, in order."""
        return re.findall(rf"-> '?(STATE_\w+).*'{re.escape(identity)}'", self.output())

    def saw(self, way: str, message: str, identity: str = "") -> int:
        """How often a message was received ("RCV from") or sent ("SND to"), of one peer or of any."""
        return len(re.findall(rf"{way} '{identity or '.*'}':\n.*'{message}'", self.output()))

    def errors(self) -> list[str]:
        """What it calls an error."""
        return re.findall(r"^\S+ +(?:ERROR +(?:TLS )?ERROR|FATAL).*", self.output(), re.MULTILINE)
