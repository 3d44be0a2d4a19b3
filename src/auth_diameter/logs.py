"""Log lines that a stranger can cause at will, kept to a bearable number."""

from __future__ import annotations

import logging

_EVERY = 1.0  # seconds for which one line of a kind stands


class Sparing:
    """Writes one warning of each kind a second; the next one says how many it stands for.

    Nothing is lost by that: what is logged here is counted, too.

    :param log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._kinds: dict[object, tuple[float, int]] = {}  # when the next may come, how many were left out

    def warning(self, kind: object, now: float, message: str, *arguments: object) -> None:
        """Logs, or counts what it did not log.

        :param kind: what shares a line; of a small set that strangers do not choose. :param now: seconds
            of a clock that never goes back.
        """
        due, left_out = self._kinds.get(kind, (now, 0))
        if now < due:
            self._kinds[kind] = (due, left_out + 1)
            return
        self._kinds[kind] = (now + _EVERY, 0)
        more = f" (and {left_out} more before)" if left_out else ""
        self._log.warning(message + "%s", *arguments, more)
