"""How a store is opened, whatever database it is in."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from auth_diameter._core import ConfigError
from auth_diameter.standard import StandardConfig
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.sqlite import SqliteStore
from auth_diameter.store.url import DatabaseName

if TYPE_CHECKING:
    from auth_diameter.store.delegated import DelegatedStore
    from auth_diameter.store.dialect import Dialect
    from auth_diameter.store.server import ServerStore
    from auth_diameter.store.subscribers import Subscribers


OpenStore: TypeAlias = "SqliteStore | ServerStore | DelegatedStore"


async def open_store(
    name: DatabaseName,
    config: StoreConfig,
    standard: StandardConfig | None = None,
    *,
    in_background: bool = True,
) -> OpenStore:
    """Opens a store for lookups, and connects to its database; the caller closes it.

    Args:
        name: the database.
        config: the names of the tables and of their columns, and the time limits.
        standard: for ``cx://``, who we are in Diameter.
        in_background: whether the event loop goes on between fetches.

    Raises:
        ConfigError: the database cannot be used. The message is one line.
    """
    store = new_store(name, config, standard, in_background=in_background)
    if not isinstance(store, SqliteStore):
        try:
            await store.open()
        except BaseException:
            store.close()
            raise
    return store


def open_subscribers(name: DatabaseName, config: StoreConfig, *, writable: bool = False) -> Subscribers:
    """Opens a database for the operator's commands; the caller closes it.

    That of PostgreSQL or MariaDB must be opened inside :func:`auth_diameter.store.engines.run`.

    Args:
        name: the database.
        config: the names of its tables and columns, and which secret counts.
        writable: whether to open it for writing. A missing file of SQLite is created then.

    Raises:
        ConfigError: the database cannot be used. The message is one line with the database, the cause and a
            remedy.
    """
    if name.kind == "cx":
        raise ConfigError(f"{name}: an HSS has its own commands for its users")
    if name.kind == "redis":
        from auth_diameter.store.redis_accounts import RedisAccounts

        return RedisAccounts.open(name, config, writable=writable)
    from auth_diameter.store.accounts import Accounts

    return Accounts.open(name, config, writable=writable)


def new_store(
    name: DatabaseName,
    config: StoreConfig,
    standard: StandardConfig | None = None,
    *,
    in_background: bool = True,
) -> OpenStore:
    """As `open_store`, but a database server is connected to when it is first asked.

    Raises:
        ConfigError: an SQLite file cannot be used, or a setting does not apply to such a database.
    """
    if name.kind == "sqlite":
        return SqliteStore.open(name.text, config)
    if name.kind == "cx":
        from auth_diameter.store.delegated import DelegatedStore

        return DelegatedStore(name, config, standard)
    from auth_diameter.store.server import ServerStore

    return ServerStore(_dialect(name, config), name, config, in_background=in_background)


def _dialect(name: DatabaseName, config: StoreConfig) -> Dialect:
    """The kind of server, with its driver, which is imported now.

    Raises:
        ConfigError: a setting does not apply to it.
    """
    if name.kind == "postgresql":
        from auth_diameter.store.postgresql_lookups import PostgreSql

        return PostgreSql()
    if name.kind == "mysql":
        from auth_diameter.store.mysql_lookups import MySql

        return MySql()
    assert name.kind == "redis"
    from auth_diameter.store.redis import require_no_tables
    from auth_diameter.store.redis_lookups import Redis

    require_no_tables(name, config)
    return Redis()
