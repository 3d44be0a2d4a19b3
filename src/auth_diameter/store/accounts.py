"""The subscribers and groups of a database with tables, as the operator's commands list and change them.

The verifier only looks subscribers up; see :mod:`auth_diameter.store.sqlite`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Self

import sqlalchemy as sa

from auth_diameter._core import ConfigError
from auth_diameter.store import bulk
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.engines import Session, SqliteSession, open_session
from auth_diameter.store.hashes import HA1_COLUMNS, HA1_LENGTHS, HEX_DIGITS, Hashes
from auth_diameter.store.names import fold_realm, is_text
from auth_diameter.store.sqlite_file import Database
from auth_diameter.store.store import StoreError
from auth_diameter.store.subscribers import Account, Member, Name, Row, Spellings, Subscribers, User, account
from auth_diameter.store.tables import Tables, column_or_nothing, exact, is_exactly
from auth_diameter.store.url import DatabaseName, database_name

_DEFAULTS: Final = StoreConfig()
#: MariaDB's number for a column without a default.
_NO_DEFAULT: Final = 1364


class Accounts(Subscribers):
    """The subscribers and groups of a database with tables, as :class:`Subscribers`.

    A database of a server is used inside :func:`auth_diameter.store.engines.run` alone.

    Args:
        session: the open database; `Accounts` closes it.
        config: the names of its tables and columns, and which secret counts.

    Attributes:
        tables: its tables.
    """

    session: Session

    def __init__(self, session: Session, config: StoreConfig = _DEFAULTS) -> None:
        """Reads which columns the tables have.

        Raises:
            ConfigError: a table or a column is missing.
        """
        self.session = session
        self.config = config
        with session.reading(ConfigError) as connection:
            self.tables = Tables(connection, config)
        if self.tables.lacking is not None:
            raise ConfigError(f"{session.name}: {self.tables.lacking}")
        if session.writable and self.tables.counting is None:  # there is only a password
            raise ConfigError(f"{session.name}: table {config.table!r} has no column 'ha1' to write to")

    @classmethod
    def open(
        cls,
        name: DatabaseName | str | os.PathLike[str],
        config: StoreConfig = _DEFAULTS,
        *,
        writable: bool = False,
    ) -> Self:
        """Opens a database for reading or writing. For writing, a missing file of SQLite is created.

        Args:
            name: the database; or the path of a file, or ``":memory:"``.
            config: the names of its tables and columns, and which secret counts.
            writable: whether to open it for writing.

        Raises:
            ConfigError: the database cannot be used. The message is one line with the database, the cause and
                a remedy.
        """
        return cls._of(_named(name), config, writable=writable)

    @classmethod
    def create(cls, path: str | os.PathLike[str], config: StoreConfig = _DEFAULTS) -> Self:
        """Creates a new database of SQLite and opens it for writing.

        Args:
            path: the path of the new file, or ``sqlite:///PATH``, or ``":memory:"`` for a database that ends
                with its connection.
            config: the names of its tables and columns.

        Raises:
            ConfigError: the file exists, or cannot be created.
        """
        name = _named(path)
        if name.kind != "sqlite":
            raise ConfigError(f"{name}: expected a file of SQLite")
        return cls._of(name, config, writable=True, new=True)

    @classmethod
    def _of(cls, name: DatabaseName, config: StoreConfig, *, writable: bool, new: bool = False) -> Self:
        session = open_session(name, config, writable=writable, new=new)
        try:
            return cls(session, config)
        except BaseException:
            session.close()
            raise

    @property
    def database(self) -> Database:
        """A database of SQLite, for lookups over the same connection; one in memory has no other."""
        assert isinstance(self.session, SqliteSession)
        return self.session.database

    @property
    def has_domains(self) -> bool:
        """As `Subscribers.has_domains`."""
        return self.tables.domain is not None

    # -- lists --

    def users(self, domain: str | None = None) -> Iterator[Account]:
        """Lists all subscribers, or those of one domain, ordered by domain and then by username.

        Rows are read from the database one by one, so a million subscribers need no memory. Exhaust or close
        the iterator before you change the store.

        Args:
            domain: the only domain to list, without regard to the case of ASCII letters; None for all
                domains.

        Raises:
            StoreError: the database could not be read.
        """
        tables = self.tables
        ha1, plain = (
            column_or_nothing(
                None if (its := tables.columns.secrets[name]) is None else tables.subscriber.c[its]
            )
            for name in ("ha1", "password")
        )
        has_password = sa.func.coalesce(plain, "") != ""
        stored_domain = column_or_nothing(tables.stored_domain)
        statement = sa.select(tables.username, stored_domain, ha1, has_password).order_by(
            *_in_order(tables.stored_domain, tables.username)
        )
        if domain is not None:
            if tables.stored_domain is None:
                return
            spellings = self.spellings().get(fold_realm(domain), ())
            statement = statement.where(
                sa.or_(sa.false(), *(is_exactly(tables.stored_domain, each) for each in spellings))
            )
        for username, its_domain, stored, has_plain in self.session.stream(statement):
            yield Account(
                username=username,
                domain=its_domain,
                ha1=stored.lower() if HEX_DIGITS[HA1_LENGTHS["ha1"]].fullmatch(stored) else "",
                plain_password=bool(has_plain),
            )

    def count_users(self) -> int:
        """The number of subscribers.

        Raises:
            StoreError: the database could not be read.
        """
        statement = sa.select(sa.func.count()).select_from(self.tables.subscriber)
        with self.session.reading() as connection:
            return int(connection.scalar(statement) or 0)

    def groups(self, username: str, domain: str) -> tuple[str, ...]:
        """The names of the user's groups, sorted.

        Args:
            username: the user's name.
            domain: the user's domain; "" for any domain.

        Raises:
            StoreError: the database could not be read.
        """
        grp = self.tables.grp
        if grp is None or not is_text(username + domain):
            return ()
        statement = sa.select(column_or_nothing(grp.c.get("domain")), grp.c.grp)
        statement = statement.where(is_exactly(grp.c.username, username))
        with self.session.reading() as connection:
            rows = connection.execute(statement).all()
        return tuple(
            sorted({group for its_domain, group in rows if not domain or self.same(its_domain, domain)})
        )

    def spellings(self) -> Mapping[str, tuple[str, ...]]:
        """All domains: each folded domain with all its spellings, the canonical one first.

        Raises:
            StoreError: the database could not be read.
        """
        return self._spellings(self.tables.domain)

    def group_spellings(self) -> Mapping[str, tuple[str, ...]]:
        """The same for the domains of memberships."""
        grp = self.tables.grp
        counts = grp is not None and self.tables.domain is not None
        return self._spellings(grp.c.get("domain") if grp is not None and counts else None)

    def _spellings(self, domain: sa.ColumnElement[str] | None) -> Mapping[str, tuple[str, ...]]:
        if domain is None:
            return {}
        known: dict[str, list[str]] = {}
        with self.session.reading() as connection:
            for name in connection.scalars(sa.select(exact(domain)).distinct()):
                known.setdefault(fold_realm(name), []).append(name)
        return {
            folded: tuple(sorted(names, key=lambda name: (name != folded, name)))
            for folded, names in known.items()
        }

    # -- changes --

    def delete_user(self, username: str, domain: str) -> bool:
        """Deletes a subscriber and its group memberships; returns False if there is no such subscriber.

        Raises:
            ConfigError: the database cannot be written.
        """
        self._require_utf_8(username + domain)
        found = 0
        with self.session.changing() as connection:
            for each in self._stored_domains(username, domain):
                statement = sa.delete(self.tables.subscriber).where(self.tables.is_user(username, each))
                found += connection.execute(statement).rowcount
            self._delete_groups(connection, username, domain)
        return found > 0

    def delete_group(self, username: str, domain: str, group: str) -> bool:
        """Removes a user from a group; returns False if it was not a member.

        Raises:
            ConfigError: the database cannot be written.
        """
        self._require_utf_8(username + domain + group)
        with self.session.changing() as connection:
            return self._delete_groups(connection, username, domain, group) > 0

    def _delete_groups(
        self, connection: sa.Connection, username: str, domain: str, group: str | None = None
    ) -> int:
        grp = self.tables.grp
        if grp is None or not is_text(username + domain):
            return 0
        of_user = is_exactly(grp.c.username, username)
        which = of_user if group is None else sa.and_(of_user, is_exactly(grp.c.grp, group))
        if "domain" not in grp.c:
            return connection.execute(sa.delete(grp).where(which)).rowcount
        domains = connection.scalars(sa.select(grp.c.domain).where(which)).all()
        return sum(
            connection.execute(sa.delete(grp).where(which, is_exactly(grp.c.domain, each))).rowcount
            for each in {each for each in domains if self.same(each, domain)}
        )

    # -- the steps of a change, inside Session.changing(); csvimport uses them, too --

    def spelling_for(self, domain: str) -> str:
        """The spelling of a domain with which HA1 is computed and new rows are stored.

        It is the canonical spelling, which challenges have. A new realm gets its folded spelling.
        """
        folded = fold_realm(domain)
        column = self.tables.domain
        if column is None:
            return folded
        statement = sa.select(sa.literal(1)).select_from(self.tables.subscriber)
        with self.session.reading() as connection:
            if connection.scalar(statement.where(is_exactly(column, folded)).limit(1)) is not None:
                return folded
        known = self.spellings().get(folded)
        return known[0] if known else folded

    def stored_domain(self, username: str, domain: str) -> str | None:
        """The domain of an existing user as its row spells it; None if there is no such user.

        If several rows match, the one with the folded spelling is taken.

        Raises:
            ConfigError: domains do not count, and several rows have the username.
        """
        found = self._stored_domains(username, domain)
        return found[0] if found else None

    def _stored_domains(self, username: str, domain: str) -> Sequence[str]:
        if not is_text(username + domain):
            return ()
        tables = self.tables
        statement = sa.select(column_or_nothing(tables.stored_domain))
        with self.session.reading() as connection:
            found = connection.scalars(statement.where(is_exactly(tables.username, username))).all()
        if tables.domain is None:
            if len(found) > 1:
                raise ConfigError(
                    f"{self.session.name}: {len(found)} rows have the username {username!r}; domains tell"
                    " them apart, so leave --no-domain out"
                )
            return found
        folded = fold_realm(domain)
        same = [each for each in found if fold_realm(each) == folded]
        return sorted(same, key=lambda each: (each != folded, each))

    @property
    def stored_algorithms(self) -> tuple[str, ...]:
        """The algorithms for which the table can store an HA1, the weakest first."""
        if self.config.calculate_ha1:
            return tuple(HA1_COLUMNS)
        counts = self.tables.columns.secrets
        return tuple(name for name, column in HA1_COLUMNS.items() if counts[column] is not None)

    def put(self, username: str, domain: str, hashes: Hashes, password: str = "", *, exists: bool) -> None:
        """Writes the row with exactly these names; nothing is left of an existing user's former password."""
        tables = self.tables
        contents = dict(zip(tables.written, tables.contents(hashes, password), strict=True))
        connection = self.session.connection
        if exists:
            statement = sa.update(tables.subscriber).where(tables.is_user(username, domain))
            connection.execute(statement.values(contents))
            return
        names = {tables.username.name: username}
        if tables.stored_domain is not None:
            names[tables.stored_domain.name] = domain
        try:
            connection.execute(sa.insert(tables.subscriber).values(names | contents))
        except sa.exc.DBAPIError as error:
            why = self.needs_a_value(error)
            if why is None and isinstance(error, sa.exc.IntegrityError):
                alike = self.alike(username, domain)
                why = None if alike is None else ConfigError(f"{self.session.name}: {alike}")
            raise why or error from None

    def needs_a_value(self, error: sa.exc.DBAPIError) -> ConfigError | None:
        """Why a new row was refused, if the reason is a column that is not ours; else None."""
        tables = self.tables
        names = [column.name for column in (tables.username, tables.stored_domain) if column is not None]
        needed = tables.needed({*names, *tables.written})
        arguments = error.orig.args if error.orig is not None else ()
        refused = isinstance(error, sa.exc.IntegrityError) or arguments[:1] == (_NO_DEFAULT,)
        if not needed or not refused:
            return None
        return ConfigError(
            f"{self.session.name}: table {self.config.table!r} needs a value in column {needed[0]!r}; give"
            " that column a default"
        )

    def alike(self, username: str, domain: str) -> str | None:
        """That the table's collation takes this user for another one, as a sentence; None if it does not."""
        tables = self.tables
        columns = [tables.username, column_or_nothing(tables.stored_domain)]
        statement = sa.select(*columns).where(tables.username == username)
        if tables.domain is not None:
            statement = statement.where(tables.domain == domain)
        try:
            with self.session.reading() as connection:
                row = connection.execute(statement).first()
        except (ConfigError, StoreError):  # of PostgreSQL: a transaction that failed reads nothing
            return None
        if row is None or row[0] == username:
            return None
        return (
            f"to the collation of table {self.config.table!r}, {account(username, domain)} is the same user"
            f" as {account(row[0], row[1])}"
        )

    def put_group(self, username: str, domain: str, group: str) -> bool:
        """Writes a row of ``grp`` unless it exists; returns whether it was written."""
        grp = self.require_groups()
        if group in self.groups(username, domain):
            return False
        values: dict[str, Any] = {"username": username, "grp": group}
        if "domain" in grp.c:
            values["domain"] = domain
        if "last_modified" in grp.c:
            values["last_modified"] = self.session.now()
        self.session.connection.execute(sa.insert(grp).values(values))
        return True

    def require_groups(self) -> sa.Table:
        """The table of memberships.

        Raises:
            ConfigError: there is none.
        """
        if self.tables.grp is None:
            raise ConfigError(
                f"{self.session.name}: has no table {self.config.group_table!r}; see --group-table, or let"
                " auth-diameter db upgrade create it"
            )
        return self.tables.grp

    # -- many at once, see `bulk` --

    def contents(self, hashes: Hashes, password: str) -> tuple[str, ...]:
        """As `Subscribers.contents`."""
        return self.tables.contents(hashes, password)

    def secrets(self, row: Row) -> Mapping[str, str]:
        """As `Subscribers.secrets`."""
        contents = dict(zip(self.tables.written, row.contents, strict=True))
        return {name: contents[its] if its else "" for name, its in self.tables.columns.secrets.items()}

    def rows(self) -> Iterator[Row]:
        """As `Subscribers.rows`."""
        return bulk.all_rows(self)

    def find(self, names: Sequence[Name]) -> list[Row]:
        """As `Subscribers.find`."""
        return bulk.find(self, names)

    def insert(self, users: Sequence[User]) -> None:
        """As `Subscribers.insert`."""
        try:
            bulk.insert(self, users)
        except sa.exc.DBAPIError as error:
            raise self.needs_a_value(error) or error from None

    def replace(self, users: Sequence[User]) -> None:
        """As `Subscribers.replace`."""
        bulk.replace(self, users)

    def delete(self, names: Sequence[Name], spellings: Spellings) -> int:
        """As `Subscribers.delete`."""
        return bulk.delete(self, names, spellings)

    def memberships(self, names: Iterable[Name], spellings: Spellings) -> list[Member]:
        """As `Subscribers.memberships`."""
        return bulk.memberships(self, names, spellings)

    def insert_members(self, members: Sequence[Member]) -> None:
        """As `Subscribers.insert_members`."""
        bulk.insert_members(self, members)


def _named(name: DatabaseName | str | os.PathLike[str]) -> DatabaseName:
    return name if isinstance(name, DatabaseName) else database_name(os.fspath(name))


def _in_order(*columns: sa.ColumnElement[str] | None) -> list[sa.ColumnElement[str]]:
    return [exact(column) for column in columns if column is not None]
