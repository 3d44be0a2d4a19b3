"""The address in From, To and Contact as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auth_diameter._core.sip.uri import Uri


@dataclass(frozen=True, slots=True, eq=False)
class NameAddr:
    """An address with display name and parameters: From, To, one of Contact (RFC 3261, 20.10, 20.20, 20.39).

    Attributes:
        display_name: str without quotes and quoted-pairs, or None.
        uri: Uri, with the parameters of its own.
        parameters: the parameters of the header field in order, tuple of pairs (name, value); a value is str
            without quotes and quoted-pairs, or None.
    """

    display_name: str | None
    uri: Uri
    parameters: tuple[tuple[str, str | None], ...] = ()

    def parameter(self, name: str) -> str | None:
        """The first parameter of that name.

        Args:
            name: str, in any case.

        Returns:
            Str, "" if it has no value; None if it is missing.
        """
        name = name.lower()
        for key, value in self.parameters:
            if key.lower() == name:
                return value if value is not None else ""
        return None
