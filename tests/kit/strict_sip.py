"""The server of RFC 4740 in tests/peers/strict_sip.erl: how it is compiled, started, and what it says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from kit.process import Program

MODULE = Path(__file__).parent.parent / "peers" / "strict_sip.erl"
DICTIONARIES = ("rfc4590_digest", "rfc4740_sip")  # the second needs the first
BASE = "common/diameter_gen_base_rfc6733"

_MAR = re.compile(
    r"^MAR end_to_end=(\d+) hop_by_hop=(\d+) T=(\w+) errors=(.*) names=(.*) routed=(.*)$", re.MULTILINE
)
_OTHERS = re.compile(r"^[SUL][AI]R errors=\[\] .*$", re.MULTILINE)
_COUNTERS = re.compile(r"^COUNTERS (\d+) (\w+) (\w+) (\d+)(.*)$", re.MULTILINE)


class Tools(NamedTuple):
    """The programs of Erlang/OTP."""

    erl: str
    erlc: str
    diameterc: str


class Mar(NamedTuple):
    """A MAR as the server read it.

    Attributes:
        retransmitted: the T flag.
        errors: what its strict codec objects to; "[]": nothing.
        names: of its AVPs.
        routed: its Route-Records.
    """

    end_to_end: int
    hop_by_hop: int
    retransmitted: bool
    errors: str
    names: str
    routed: str


def dictionary_folder(erl: str) -> Path | None:
    """Where erlang-examples keeps its dictionaries of Diameter; None: it is not installed."""
    print_it = 'io:format("~s", [code:lib_dir(diameter)]), halt().'
    done = subprocess.run([erl, "-noshell", "-eval", print_it], capture_output=True, text=True, check=False)
    folder = Path(done.stdout) / "examples" / "dict"
    return folder if (folder / "rfc4740_sip.dia").exists() else None


def compile_into(folder: Path, tools: Tools, dictionaries: Path) -> None:
    """Compiles the two dictionaries and the module.

    Raises:
        AssertionError: a compiler refuses.
    """

    def run(*command: object) -> None:
        done = subprocess.run(
            [str(word) for word in command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    for name in DICTIONARIES:
        shutil.copy(dictionaries / f"{name}.dia", folder)
        inherits = ("--inherits", BASE) if name == DICTIONARIES[-1] else ()
        run(tools.diameterc, *inherits, "-i", ".", f"{name}.dia")
        run(tools.erlc, f"{name}.erl")
    run(tools.erlc, MODULE)


class StrictSip(Program):
    """The server, up.

    Args:
        erl: the program.
        folder: that of `compile_into`.
        identity: its DiameterIdentity; its realm is what follows the first label.
        words: see the module.
        address: where it listens.
        port: where it listens; 0: one that the kernel chooses.

    Attributes:
        port: where it listens.
        where: the same, as (host, port).
    """

    def __init__(
        self, erl: str, folder: Path, identity: str, *words: str, address: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(
            *(erl, "-noshell", "-noinput", "-pa", folder, "-run", "strict_sip", "main"),
            *(identity, address, port, *words),
        )
        self.identity = identity
        try:
            self.port = int(self.wait_for_line(r"LISTENING (\d+)\n")[1])
        except BaseException:
            self.__exit__()
            raise
        self.where = (address, self.port)

    def asked(self) -> list[Mar]:
        """The MAR that have come."""
        return [
            Mar(int(end), int(hop), again == "true", errors, names, routed)
            for end, hop, again, errors, names, routed in _MAR.findall(self.out())
        ]

    def wait_for_asked(self, number: int) -> list[Mar]:
        """The same, once there are so many."""
        self.wait_until(lambda: len(self.asked()) >= number, f"{number} MAR")
        return self.asked()

    def counted(self, command: int, kind: str, way: str) -> int:
        """How many messages it has counted, of all connections.

        Args:
            command: the command code.
            kind: "request" or "answer".
            way: "recv" or "send".
        """
        found = [
            int(number)
            for code, what, direction, number, more in _COUNTERS.findall(self.out())
            if (int(code), what, direction, more) == (command, kind, way, "")
        ]
        return max(found, default=0)

    def wait_until_counted(self, command: int, kind: str, way: str, number: int = 1) -> None:
        """Waits until it has counted so many."""
        self.wait_until(lambda: self.counted(command, kind, way) >= number, f"{command} {kind} {way}")

    def complaints(self) -> list[str]:
        """What it says of errors: of its codec, of its processes, of answers that it could not encode."""
        bad = [str(mar) for mar in self.asked() if mar.errors != "[]"]
        rest = _without_requests(self.output())
        return bad + re.findall(r".*(?:ERROR REPORT|CRASH|error|abnormal).*", rest)

    def settings(self, **others: Any) -> dict[str, Any]:
        """The settings of a client of it."""
        host, port = self.where
        return {
            "application": "sip",
            "origin_host": "sip.c.test",
            "diameter_client_host": host,
            "diameter_client_port": port,
            "watchdog": 6.0,
            "timeout": 10.0,
            **others,
        }


def _without_requests(text: str) -> str:
    """Without the lines on MAR, and on other requests that are right."""
    return _OTHERS.sub("", _MAR.sub("", text))
