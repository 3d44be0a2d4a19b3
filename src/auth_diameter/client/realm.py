"""The realm of an authentication: its default, and what an empty one means.

A caller gives the realm as text that may contain pseudo-variables, see `pseudovars`. Text that is empty, or
becomes empty for a request, stands for the domain of the user, see `domain_of_user`.
"""

from __future__ import annotations

from typing import Final

from auth_diameter._core import SipRequest

DEFAULT_REALM: Final = "$fd"  # the domain of From, which is the realm on most SIP servers


def domain_of_user(request: SipRequest, *, proxy: bool) -> str | None:
    """The realm that an empty one stands for.

    Args:
        request: the request.
        proxy: whether a proxy authenticates. A proxy takes the host of From. A UAS takes the host of To for a
            REGISTER, whose To is the user to be registered (RFC 3261, 10.2), otherwise the host of From.

    Returns:
        The domain; None: the request lacks it.
    """
    return request.from_host if proxy else request.identity_host
