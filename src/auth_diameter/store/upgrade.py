"""What a database lacks for all that DISC can do, and the statements that add it.

An operator's tables are altered here alone, and only when ``auth-diameter db upgrade`` is told to:

- tables that are missing;
- the columns for HA1 by SHA-2, which OpenSIPS has and Kamailio ignores;
- in PostgreSQL, triggers that notify DISC of a change (``LISTEN auth_diameter``).

Every statement leaves what Kamailio and OpenSIPS need as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.schema import CreateColumn

from auth_diameter._core import ConfigError
from auth_diameter.store.config import StoreConfig
from auth_diameter.store.creation import creating
from auth_diameter.store.engines import Session
from auth_diameter.store.tables import SHA_2_COLUMNS, find_table, new_tables, rows_of, sha_2_column

#: The channel of PostgreSQL on which DISC listens.
CHANNEL: Final = "auth_diameter"
#: The name of the function and of the triggers.
_TRIGGER: Final = "auth_diameter_changed"


class Step(NamedTuple):
    """A change of a database.

    Attributes:
        what: what it does, in words.
        statements: the SQL that does it.
    """

    what: str
    statements: Sequence[str]


def plan(session: Session, config: StoreConfig, *, notify: bool = True) -> list[Step]:
    """What is to be done. Nothing is changed.

    Args:
        session: the open database.
        config: the names of its tables and columns.
        notify: whether PostgreSQL is to have triggers.

    Raises:
        ConfigError: the database could not be read.
    """
    with session.reading(ConfigError) as connection:
        steps = [*_tables(connection, config), *_columns(connection, config)]
        if notify and connection.dialect.name == "postgresql":
            steps += _triggers(connection, config)
    return steps


def apply(session: Session, steps: Sequence[Step]) -> None:
    """Does it: all or nothing, except in MariaDB, which commits each statement.

    Args:
        session: the open database.
        steps: what `plan` said.

    Raises:
        ConfigError: the database cannot be changed.
    """
    session.denied = "only the owner of the tables may alter them, and make new ones in their schema"
    with session.changing() as connection:
        for step in steps:
            for statement in step.statements:
                connection.exec_driver_sql(statement)


def _tables(connection: sa.Connection, config: StoreConfig) -> Iterator[Step]:
    tables = new_tables(config)
    missing = [
        name for name in ("subscriber", "grp") if find_table(connection, _stored(name, config)) is None
    ]
    has_versions = find_table(connection, "version") is not None
    if "subscriber" in missing and not has_versions:  # so that Kamailio can use the new tables
        missing.insert(0, "version")
        has_versions = True
    for name in missing:
        yield Step(f"create table {_stored(name, config)}", creating(tables[name], connection.dialect))
    for row in rows_of(missing if has_versions else [], config):
        insertion = (
            sa.insert(tables["version"])
            .values(row)
            .compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
        )
        yield Step(f"note the version of table {row['table_name']}", [str(insertion)])


def _stored(name: str, config: StoreConfig) -> str:
    return {"subscriber": config.table, "grp": config.group_table}.get(name, name)


def _columns(connection: sa.Connection, config: StoreConfig) -> Iterator[Step]:
    found = find_table(connection, config.table)
    if found is None or config.calculate_ha1:  # HA1 is calculated for every algorithm
        return
    table = connection.dialect.identifier_preparer.format_table(new_tables(config)["subscriber"])
    for name in SHA_2_COLUMNS:
        if name not in found.columns:
            column = sha_2_column(name)
            column.table = new_tables(config)["subscriber"]
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            yield Step(
                f"add column {name} to table {config.table}", [f"ALTER TABLE {table} ADD COLUMN {definition}"]
            )


def _triggers(connection: sa.Connection, config: StoreConfig) -> Iterator[Step]:
    """The triggers that tables of PostgreSQL lack; a view cannot have them."""
    quote = connection.dialect.identifier_preparer.quote_identifier
    functions: set[str] = set()
    for name in (config.table, config.group_table):
        quoted = ".".join(map(quote, name.split(".")))
        relation = connection.execute(_RELATION, {"name": quoted, "trigger": _TRIGGER}).first()
        exists = relation is not None
        schema = relation.nspname if relation is not None else _schema_of(connection, name)
        if exists and (relation is None or relation.relkind not in ("r", "p") or relation.has_trigger):
            continue
        function = f"{quote(schema)}.{_TRIGGER}"
        statements = [
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_notify('{CHANNEL}', ''); RETURN NULL; END $$",
            f"CREATE TRIGGER {_TRIGGER} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {quoted}"
            f" FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
        ]
        yield Step(f"notify DISC of changes of table {name}", statements[function in functions :])
        functions.add(function)


def _schema_of(connection: sa.Connection, name: str) -> str:
    """The schema in which a new table will be."""
    schema = name.rpartition(".")[0]
    return schema or str(connection.scalar(sa.select(sa.func.current_schema())))


_RELATION: Final = sa.text(
    "SELECT n.nspname, c.relkind::text AS relkind, EXISTS (SELECT FROM pg_trigger AS t"
    " WHERE t.tgrelid = c.oid AND t.tgname = :trigger) AS has_trigger"
    " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(:name)"
)
