"""What stands in From, To and Contact, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auth_diameter._core.sip.uri import Uri


@dataclass(frozen=True, slots=True, eq=False)
class NameAddr:
    """An address with its name and parameters: From, To, or one of Contact (RFC 3261, 20.10, 20.20, 20.39).

    :ivar display_name: str, without quotes and quoted-pairs, "" where it is empty, None where there is none.
    :ivar uri: `Uri`, with its own parameters.
    :ivar parameters: those of the header field behind it: pairs (name as written, value or None), in order;
        a value is without quotes and quoted-pairs.
    """

    display_name: str | None
    uri: Uri
    parameters: tuple[tuple[str, str | None], ...] = ()

    def parameter(self, name: str) -> str | None:
        """The first parameter of that name, in any case; "" without a value, None where it is missing."""
        name = name.lower()
        for key, value in self.parameters:
            if key.lower() == name:
                return value if value is not None else ""
        return None
