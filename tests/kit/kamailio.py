"""Kamailio in front of our DISC: started, asked by RPC, reloaded and restarted."""

from __future__ import annotations

import json
import re
import socket
import sysconfig
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from kit.machine import PATIENCE, unused_udp_port
from kit.process import Done, Program, run_command
from kit.uac import Uac

HOST = "127.0.0.1"
_OURS = re.compile(r"\bauth_diameter: .*")  # in a line of Kamailio's log: the C module's has a [


class Kamailio(Program):
    """Kamailio with a script of our adapter, up: it answers OPTIONS, on UDP and TCP of one port.

    The configuration finds what differs from run to run in defines: CTL, the unix socket of RPC; SCRIPT, the
    file of the script; CHILDREN. The script finds in its environment: SITE_PACKAGES, where this package is;
    SETTINGS, the JSON file with the settings for `kemi.configure`.

    Args:
        program: Kamailio.
        kamcmd: the program for RPC.
        configuration: its file.
        folder: for its files.
        script: the file of the script.
        settings: for `kemi.configure`.
        children: worker processes for UDP, and as many for TCP.
        defines: others, by name.

    Attributes:
        address: where it listens.
    """

    def __init__(
        self,
        program: str,
        kamcmd: str,
        configuration: Path,
        folder: Path,
        *,
        script: Path,
        settings: Mapping[str, Any],
        children: int = 2,
        defines: Mapping[str, object] | None = None,
    ) -> None:
        port = unused_udp_port()
        self.address = HOST, port
        self._kamcmd = kamcmd
        self._socket = f"unix:{folder / 'ctl'}"
        self._settings = folder / "settings.json"
        self.write_settings(settings)
        values = {
            "CTL": f'"{self._socket}"',
            "SCRIPT": f'"{script}"',
            "CHILDREN": children,
            **(defines or {}),
        }
        self._command: list[object] = [
            program, "-f", configuration, "-DD", "-E", "-m", "64", "-M", "64",
            "-P", folder / "kamailio.pid", "-w", folder, "-Y", folder,
            "-l", f"udp:{HOST}:{port}", "-l", f"tcp:{HOST}:{port}",
        ]  # fmt: skip
        for name, value in values.items():
            self._command += ["-A", f"{name}={value}"]
        env = {"SITE_PACKAGES": sysconfig.get_path("purelib"), "SETTINGS": str(self._settings)}
        super().__init__(*self._command, env=env)
        self._wait_until_up()

    def _wait_until_up(self) -> None:
        try:
            self.wait_until(self._is_up, "an answer to OPTIONS")
        except BaseException:
            self.__exit__()
            raise

    def _is_up(self) -> bool:
        """Its process for TCP is the last that it starts; a signal before that is lost."""
        with Uac(self.address) as phone:
            request = phone.request("OPTIONS")
            phone.send(request)
            if not (phone.receive_bytes(0.1) or b"").startswith(b"SIP/2.0 200 "):
                return False
        try:
            with socket.create_connection(self.address, PATIENCE) as connection:
                connection.sendall(request.replace(b"/UDP ", b"/TCP "))
                return connection.recv(1 << 16).startswith(b"SIP/2.0 200 ")
        except ConnectionError:
            return False

    # --- what becomes of it ---------------------------------------------------------------------------

    def start(self) -> Self:
        """Starts it again, where it listened before."""
        assert not self.running
        self.process = self._run(self._command)
        self._wait_until_up()
        return self

    def wait(self) -> Done:
        """Waits until it ends; returns how it ended. None of its processes is left."""
        done = super().wait()
        self.end()
        return done

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Writes the file that the script reads, in one step.

        Kamailio 5.6 crashes after some reloads of a script that raises.
        """
        new = self._settings.with_suffix(".new")
        new.write_text(json.dumps(settings))
        new.replace(self._settings)

    def reload(self, settings: Mapping[str, Any] | None = None) -> None:
        """Has the workers load the script again, with other settings if there are.

        Each does so before one of its next calls, as soon as no other worker is in the script: a lock of
        Kamailio's.
        """
        if settings is not None:
            self.write_settings(settings)
        self.rpc("app_python.reload")

    # --- what it says ---------------------------------------------------------------------------------

    def rpc(self, *words: object) -> str:
        """What it answers to a command of RPC."""
        done = run_command(self._kamcmd, "-s", self._socket, *words)
        assert done.status == 0, done
        assert not done.out.startswith("error:"), done
        return done.out

    def workers(self) -> list[int]:
        """The processes that take requests from UDP."""
        return [int(pid) for pid in re.findall(r"(\d+)\s+udp receiver", self.rpc("core.ps"))]

    def binding(self, user: str) -> str:
        """Where a user is registered, as `ul.lookup` tells it; "": nowhere."""
        done = run_command(self._kamcmd, "-s", self._socket, "ul.lookup", "location", user)
        found = re.search(r"Address: (\S+)", done.out)
        return found[1] if found else ""

    def lines(self) -> list[str]:
        """What the adapter has written on its log so far."""
        return _OURS.findall(self.err())

    def wait_for_lines(self, number: int) -> list[str]:
        """Waits until the adapter has written so many lines; returns all it has written a moment later."""
        self.wait_until(lambda: len(self.lines()) >= number, f"line {number} of the adapter")
        time.sleep(0.1)  # for one that should not come
        return self.lines()
