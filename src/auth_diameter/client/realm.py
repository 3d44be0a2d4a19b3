"""The realm of an authentication: its default.

A caller gives the realm as text that may contain pseudo-variables, see `pseudovars`. Text that is empty, or
becomes empty for a request, stands for the domain of the user, see `domain_of_user` in path/decide.pyx.
"""

from __future__ import annotations

from typing import Final

DEFAULT_REALM: Final = "$fd"  # the domain of From, which is the realm on most SIP servers
