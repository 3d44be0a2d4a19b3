"""The log of refusals: one line at INFO for each, with user, source and cause, for people and fail2ban.

::

    refused user='alice@siphub.net' source=192.0.2.1 cause=FORBIDDEN proven=no
    refused user='alice@siphub.net' source=- server=10.0.0.5 cause=WRONG_DIGEST proven=no more=41
    refused others more=1203

========  ====================================================================================
user      the account that the credentials name, escaped, its first 64 characters; of a userhash
          the first 16; ``-`` for none
source    address of the UAC; ``-`` where it is not known
server    in DISC's log: address of the SIP server that asked, which must not be banned
cause     a name of `Cause`, or in DISC's log of `Outcome`
proven    yes: the nonce in the credentials was issued to that source alone, so the source is
          real. no: the source of a datagram can be forged, so it should not be banned
more      number of refusals of this user and source since their last line
========  ====================================================================================

Lines are limited, so that a flood costs little: a user and source have one line a second, a source has
five, and all together ten. Lines with a proven source are counted apart from the others, so that these
cannot crowd out lines for which somebody can be banned. ``refused others`` gives the number of refusals that
these limits left out for other users and sources.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from ipaddress import IPv6Address, ip_address

from auth_diameter.logs import REFUSAL, one_word

_EVERY = 1.0  # seconds between two lines of a user and source, and for which the limits below hold
_MOST_LINES = 10  # with a proven source, and as many without
_MOST_OF_SOURCE = 5  # of them, so that one source leaves room for others
_MOST_PAIRS = 1024  # of user and source that are remembered
_LONGEST = 64  # characters of a stranger's text in a line
_HASH = re.compile("^([0-9A-Fa-f]{16})[0-9A-Fa-f]{16,}")  # a userhash (RFC 7616, 3.4.4), or a secret

_Key = tuple[str, str, bool]  # user, source, proven


class Refusals:
    """Writes the lines, within the limits.

    Args:
        log: where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._pairs: dict[_Key, tuple[float, int]] = {}  # time of the last line, refusals since
        self._second = 0.0  # when the current second began
        self._lines: Counter[bool] = Counter()  # lines in the current second, by `proven`
        self._of_source: Counter[tuple[str, bool]] = Counter()
        self._others = 0  # refusals to be counted as ``refused others``

    def note(
        self,
        account: str,
        source: str,
        cause: str,
        now: float,
        server: str = "",
        *,
        proven: bool,
        times: int = 1,
    ) -> None:
        """Logs a refusal, or counts it for a later line.

        Args:
            account: ``user@realm``, as the request has it; "": it names none.
            source: address of the UAC without its port; "": not known.
            cause: name of the cause, in capitals.
            now: seconds; the clock may go back.
            server: address of the SIP server that asked; "": this process is that server.
            proven: whether the nonce was issued to that source alone.
            times: how often it came, since it was last noted.
        """
        key = (account[:_LONGEST], source[:_LONGEST] or server, proven)
        last, left_out = self._pairs.get(key, (now - _EVERY, 0))
        if 0 <= now - last < _EVERY:
            self._pairs[key] = (last, left_out + times)
            return
        if not 0 <= now - self._second < _EVERY:
            self._begin_second(now)
        if self._lines[proven] >= _MOST_LINES or self._of_source[key[1:]] >= _MOST_OF_SOURCE:
            if key in self._pairs:
                self._pairs[key] = (last, left_out + times)
            else:
                self._others += times
            return
        self._lines[proven] += 1
        self._of_source[key[1:]] += 1
        self._remember(key, now, times - 1)
        self._write(key[0], source, server, cause, left_out, proven=proven)

    def leave_out(self, times: int) -> None:
        """Counts refusals of which nothing else is known for ``refused others``."""
        self._others += times

    def _begin_second(self, now: float) -> None:
        self._second = now
        self._lines.clear()
        self._of_source.clear()
        if self._others:
            fields: dict[str, object] = {"more": self._others}
            self._log.info("refused others more=%d", self._others, extra={REFUSAL: fields})
            self._others = 0

    def _remember(self, key: _Key, now: float, left_out_since: int) -> None:
        self._pairs.pop(key, None)  # the oldest are in front
        if len(self._pairs) >= _MOST_PAIRS:
            _, left_out = self._pairs.pop(next(iter(self._pairs)))
            self._others += left_out
        self._pairs[key] = (now, left_out_since)

    def _write(self, account: str, source: str, server: str, cause: str, more: int, *, proven: bool) -> None:
        address = _address(source)
        proven = proven and address is not None
        user = one_word(_HASH.sub(r"\1…", account))
        other = one_word(source[:_LONGEST])
        fields: dict[str, object] = {"user": user or None, "source": address or other or None}
        if server:
            fields["server"] = server
        fields |= {"cause": cause, "proven": proven, "more": more}
        self._log.info(
            "refused user=%s source=%s%s cause=%s proven=%s%s",
            f"'{user}'" if user else "-",
            address or (f"'{other}'" if other else "-"),
            f" server={server}" if server else "",
            cause,
            "yes" if proven else "no",
            f" more={more}" if more else "",
            extra={REFUSAL: fields},
        )


def account_of(username: str | None, realm: str | None) -> str:
    """``user@realm`` of credentials; the username alone if it has a domain itself."""
    username = username or ""
    return username if "@" in username or not username or not realm else f"{username}@{realm}"


def _address(text: str) -> str | None:
    """The address as a firewall knows it: IPv4 also if an IPv6 socket received the datagram.

    Returns:
        None: `text` is no address.
    """
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None  # the scope can be any text, and a firewall cannot ban it
        address = address.ipv4_mapped or address
    return str(address)
