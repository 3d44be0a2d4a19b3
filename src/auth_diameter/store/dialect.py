"""What differs between database servers: how they are connected to, and how their tables are read.

A connection is whatever the driver has. All methods that wait raise what `Dialect.errors` names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from auth_diameter.store.columns import Columns
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.lookups import AskedUser
from auth_diameter.store.store import Member
from auth_diameter.store.url import DatabaseName


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a database, as they were read.

    Attributes:
        columns: the columns of the table of subscribers.
        has_groups: whether there is a table of groups.
        tells_changes: whether the database tells each change at once; `db upgrade` offers that.
        statements: the statements of the dialect, by its own names.
        more: what the dialect needs besides.
        tells_all: whether nothing changes that is not told. If not, `Dialect.state` counts as well.
    """

    columns: Columns
    has_groups: bool
    tells_changes: bool
    statements: Mapping[str, str]
    more: dict[str, Any] = field(default_factory=dict, compare=False)
    tells_all: bool = True


class UnusableError(Exception):
    """The database cannot be used: a table or a column is missing. The message says it in one line."""


class Dialect(Protocol):
    """One kind of database server.

    Attributes:
        errors: the exceptions of connections and statements.
    """

    @property
    def errors(self) -> tuple[type[BaseException], ...]:
        """The exceptions of connections and statements."""

    async def connect(self, name: DatabaseName, timeout: float) -> Any:
        """Connects for reading alone.

        Raises:
            ConfigError: the URL is malformed.
        """

    def is_open(self, connection: Any) -> bool:
        """Whether a connection is not known to be lost."""

    def discard(self, connection: Any) -> None:
        """Closes a connection at once, whatever it does."""

    def is_lost(self, error: BaseException) -> bool:
        """Whether an error means that the connection was lost, so that another one may do better."""

    def describe(self, error: BaseException) -> str:
        """What an error means for the operator, in one line, without any value of a row."""

    async def tables(self, connection: Any, config: StoreConfig) -> Tables:
        """Reads which columns the tables have.

        Raises:
            UnusableError: a table or a column is missing.
        """

    async def look_up(
        self, connection: Any, tables: Tables, users: Sequence[AskedUser], members: Sequence[Member]
    ) -> tuple[list[tuple[Any, ...]], list[Membership]]:
        """Reads the rows of users and the memberships of members, in one statement.

        Returns:
            The rows of users, as `Row` has them, and the memberships.
        """

    async def domains(self, connection: Any, tables: Tables) -> list[str]:
        """Reads all domains."""

    async def sample(self, connection: Any, tables: Tables) -> list[tuple[Any, ...]]:
        """Reads the domain of some users, and for each algorithm whether they have an HA1."""

    async def usernames(self, connection: Any, tables: Tables, spellings: Sequence[str]) -> list[str]:
        """Reads all usernames of a realm, in all its spellings."""

    async def state(self, connection: Any, tables: Tables) -> object | None:
        """What is the same as long as nobody has changed the tables; None: it cannot be told."""

    async def listen(self, connection: Any, changed: Callable[[], None]) -> bool:
        """Has `changed()` called when the tables change, and when the connection is lost.

        Returns:
            Whether it will be called. A server may refuse to tell; `state` says it a little later.
        """


class Membership(NamedTuple):
    """A row of the table of groups that was found for a key.

    Attributes:
        number: the index of the key.
        username: as in the row.
        domain: as in the row.
        group: as in the row.
    """

    number: int
    username: str
    domain: str
    group: str
