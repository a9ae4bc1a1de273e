"""What there is in the warehouse: the names of our schemas, tables and columns asked for by name, names as SQL."""

from collections.abc import Collection, Iterable
from typing import Any

from segmentation_assets.settings import PLAIN_NAME
from segmentation_assets.warehouse.columns import Column
from segmentation_assets.warehouse.session import Session

GOLD, SILVER = "gold", "silver"


def quoted(session: Session, name: str) -> str:
    """A name that a person gave, as SQL: the only way for one into a statement.

    On Snowflake a plain name stays without quotes, as dbt writes it: in quotes, gold would not be GOLD.
    """
    if session.folds_names and PLAIN_NAME.fullmatch(name):
        return name
    return '"' + name.replace('"', '""') + '"'


def table_exists(session: Session, schema: str, table: str) -> bool:
    """Whether there is a table or view of that name."""
    return bool(columns_of(session, schema, table))


def rows_if_there(session: Session, schema: str, table: str, sql: str) -> list[dict[str, Any]]:
    """Of a query of a table that may not be there yet, asked for once; none where it is not. The catalogue is looked at
    only where the query fails."""
    try:
        return session.rows_once(sql)
    except session.engine_error:
        if table_exists(session, schema, table):
            raise
        return []


def columns_of(session: Session, schema: str, table: str) -> list[str]:
    """The columns of a table or view, in lower case and in order; none where there is no such table."""
    return [column.name for column in session.columns(schema) if column.table == table.lower()]


def types_of(session: Session, schema: str, table: str) -> dict[str, str]:
    """Column -> its type in words that both engines share: number (whole), money, double, boolean, date or text."""
    return {
        column.name: _type_in_words(column.data_type, column.scale)
        for column in session.columns(schema)
        if column.table == table.lower()
    }


def _type_in_words(data_type: str, scale: int | None) -> str:
    if data_type in ("number", "decimal"):
        return "money" if scale else "number"
    return {"bigint": "number", "float": "double"}.get(data_type, data_type)


def tables_of(session: Session, schemas: Collection[str]) -> dict[tuple[str, str], set[str]]:
    """(schema, name) -> columns, of every table and view in the schemas, all in lower case."""
    return _by_table(column for schema in schemas for column in session.columns(schema))


def required_columns_of(session: Session, schemas: Collection[str]) -> dict[tuple[str, str], set[str]]:
    """Those without which no row can be inserted: they may not be NULL, and have no default."""
    return _by_table(column for schema in schemas for column in session.columns(schema) if column.is_required)


def _by_table(columns: Iterable[Column]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for column in columns:
        found.setdefault((column.schema, column.table), set()).add(column.name)
    return found
