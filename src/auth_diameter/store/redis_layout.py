"""The keys of subscribers in Redis or Valkey, and what is in them: layout 1.

==================  ======  ===========================================================================
key                 type    value
==================  ======  ===========================================================================
ad:u:DOMAIN:USER    string  one user: HA1, and more fields behind tabs, see below
ad:g:USER           string  the groups of all users of this name, of every domain
ad:realms           set     the realms that are served, each in the spelling that its HA1 were made with
ad:layout           string  ``1``; a server without this key has layout 1, too
ad:lock             string  is there while one of our commands writes
ad:changed          --      the channel that our commands publish to when they have written
==================  ======  ===========================================================================

DOMAIN is the realm with ASCII letters in lower case. No username has a colon (RFC 7616, 3.4.2), so USER is
what follows the last one, and a domain may be an IPv6 address. All text is UTF-8.

The value of a user is up to six fields with tabs between them; empty ones at the end may be left out. So HA1
alone is a whole value::

    ha1 TAB ha1b TAB ha1_sha256 TAB ha1_sha512t256 TAB password TAB groups

The first five are as in the columns of that name of Kamailio's and OpenSIPS' tables. A password is there only
if HA1 is calculated from it (``--calculate-ha1``). ``groups`` are names separated by ``;``.

``ad:g:USER`` is for SIP servers that ask with a username alone (``use_domain`` off). It has a line for each
domain, and in it the domain, in lower case, and the groups::

    siphub.net TAB voicemail;staff

Where a user is in no group, there is no line, and without a line no key.

A user is one value, and is read with one command for all users of a turn. A change of one user writes one
value, or two and the set of realms in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Self

from auth_diameter.store.hashes import Hashes
from auth_diameter.store.lookups import SECRETS
from auth_diameter.store.names import fold_realm

#: The version of the layout.
LAYOUT: Final = b"1"
LAYOUT_KEY: Final = "ad:layout"
REALMS: Final = "ad:realms"
LOCK: Final = "ad:lock"
CHANNEL: Final = "ad:changed"
#: What all our keys begin with.
PREFIX: Final = "ad:"
USER_PREFIX: Final = "ad:u:"

#: How many of the fields of a user are secrets; groups follow them.
_SECRETS: Final = len(SECRETS)
_EMPTY: Final = [b""] * (_SECRETS + 1)


def user_key(username: str, domain: str) -> str:
    """The key of a user. A username with a colon is nobody's, see `is_possible`."""
    return f"{USER_PREFIX}{fold_realm(domain)}:{username}"


def groups_key(username: str) -> str:
    """The key of the groups of all users of a name."""
    return f"ad:g:{username}"


def is_possible(username: str) -> bool:
    """Whether a user can have this name; with a colon in it, another user would have the same key."""
    return ":" not in username


def name_of(key: bytes) -> tuple[str, str]:
    """The username and the domain in the key of a user."""
    domain, _, username = key[len(USER_PREFIX) :].decode("utf-8", "surrogateescape").rpartition(":")
    return username, domain


def fields(value: bytes) -> list[bytes]:
    """`SECRETS` and the groups in the value of a user, as many as there are in any value."""
    found = value.split(b"\t", _SECRETS)
    return found if len(found) > _SECRETS else found + _EMPTY[len(found) :]


class Record(NamedTuple):
    """The value of a user, taken apart.

    Attributes:
        hashes: as in `Hashes`.
        password: the password, if HA1 is calculated from it; else "".
        groups: names of groups, sorted.
    """

    hashes: Hashes
    password: str = ""
    groups: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Record(groups={self.groups})"

    @classmethod
    def parsed(cls, value: bytes) -> Self:
        """Takes a value apart."""
        *hashes, password, groups = (field.decode("utf-8", "surrogateescape") for field in fields(value))
        return cls(Hashes(*hashes), password, split_groups(groups))

    def text(self) -> str:
        """The value."""
        return "\t".join((*self.hashes, self.password, ";".join(self.groups))).rstrip("\t")


def split_groups(text: str) -> tuple[str, ...]:
    """The names in a list of groups, sorted."""
    return tuple(sorted(filter(None, text.split(";"))))


def groups_by_domain(value: bytes) -> dict[str, tuple[str, ...]]:
    """The groups of all users of a name, by the folded domain."""
    found = {}
    for line in value.decode("utf-8", "surrogateescape").split("\n"):
        domain, _, groups = line.partition("\t")
        if names := split_groups(groups):
            found[domain] = names
    return found


def groups_text(by_domain: Iterable[tuple[str, tuple[str, ...]]]) -> str:
    """The value for the groups of all users of a name; "" if there are none."""
    return "\n".join(f"{domain}\t{';'.join(groups)}" for domain, groups in sorted(by_domain) if groups)
