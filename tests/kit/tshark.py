"""tshark, which reads Diameter messages out of a capture, and complains about them."""

from __future__ import annotations

import os
import pwd
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_NAMED = {"diameter.cmd.code", "diameter.applicationId", "diameter.avp.code"}


@dataclass(frozen=True)
class Seen:
    """One Diameter message as tshark sees it."""

    command: int
    request: bool
    hop_by_hop: str
    answer_to: str | None  # number of the frame with the question that tshark matched to this answer
    avps: dict[int, str]  # code → value, in the order on the wire
    complaints: list[str]
    names: list[str]  # as Wireshark calls them: the command, the application, and all AVPs


class Tshark:
    """tshark with a dictionary folder of its own."""

    def __init__(self, program: str, data: Path | None) -> None:
        self.program = program
        self.environment = {**os.environ, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
        if data is not None:
            self.environment["WIRESHARK_DATA_DIR"] = str(data)
        # Dissectors are better not run as root; and as root tshark ignores WIRESHARK_DATA_DIR.
        self.other_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.other_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def run(self, *options: str, capture: bytes = b"") -> str:
        """What it prints about a capture; one that is still being written may lack its end."""
        command = [self.program, "-r", "-", *options]
        done = subprocess.run(
            command,
            input=capture,
            capture_output=True,
            timeout=60,
            check=False,
            env=self.environment,
            cwd="/",
            **self.other_user,
        )
        assert done.returncode in {0, 2}, f"{command}: {done.stderr.decode(errors='replace')}"
        return done.stdout.decode()

    def messages(self, capture: bytes, port: int) -> list[Seen]:
        """Every Diameter message in a capture."""
        decode_as = ("-d", f"tcp.port=={port},diameter")
        document = ET.fromstring(self.run(*decode_as, "-T", "pdml", capture=capture))
        return [_seen(proto) for proto in document.iter("proto") if proto.get("name") == "diameter"]


def _seen(proto: ET.Element) -> Seen:
    shown = {field.get("name"): field.get("show", "") for field in proto.findall("field")}
    request = proto.find("field/field[@name='diameter.flags.request']")
    avps = {}
    for avp in proto.findall("field[@name='diameter.avp']"):
        fields = {field.get("name"): field.get("show", "") for field in avp.findall("field")}
        code = int(fields.pop("diameter.avp.code"))
        values = [show for name, show in fields.items() if not name.startswith("diameter.avp.")]
        avps[code] = values[0] if values else ""
    return Seen(
        command=int(shown["diameter.cmd.code"]),
        request=request is not None and request.get("show") == "1",
        hop_by_hop=shown["diameter.hopbyhopid"],
        answer_to=shown.get("diameter.answer_to"),
        avps=avps,
        complaints=[
            field.get("show", "")
            for field in proto.iter("field")
            if field.get("name") in {"_ws.malformed", "_ws.expert.message"}
        ],
        names=[field.get("showname", "") for field in proto.iter("field") if field.get("name") in _NAMED],
    )
