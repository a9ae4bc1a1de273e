"""What there is in the warehouse: the names of our schemas, tables and columns asked for by name, names as SQL."""

from collections.abc import Collection

from segmentation_assets.settings import PLAIN_NAME
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
    """Whether there is a table or view of that name. Both are asked: not every engine counts views among tables."""
    named = "lower(table_schema) = lower(?) and lower(table_name) = lower(?)"
    rows = session.rows(
        f"select (select count(*) from information_schema.tables where {named})"
        f" + (select count(*) from information_schema.views where {named}) as n",
        (schema, table, schema, table),
    )
    return bool(rows[0]["n"])


def columns_of(session: Session, schema: str, table: str) -> list[str]:
    """The columns of a table or view, in lower case and in order; none where there is no such table."""
    rows = session.rows(
        "select lower(column_name) as name from information_schema.columns"
        " where lower(table_schema) = lower(?) and lower(table_name) = lower(?) order by ordinal_position",
        (schema, table),
    )
    return [row["name"] for row in rows]


def types_of(session: Session, schema: str, table: str) -> dict[str, str]:
    """Column -> its type in words that both engines share: number (whole), money, double, boolean, date or text."""
    rows = session.rows(
        "select lower(column_name) as name, lower(data_type) as data_type, numeric_scale"
        " from information_schema.columns"
        " where lower(table_schema) = lower(?) and lower(table_name) = lower(?)",
        (schema, table),
    )
    return {row["name"]: _type_in_words(row["data_type"], row["numeric_scale"]) for row in rows}


def _type_in_words(data_type: str, scale: int | None) -> str:
    name = data_type.partition("(")[0]
    if name in ("number", "decimal", "numeric"):
        return "money" if scale else "number"
    return {"bigint": "number", "float": "double"}.get(name, name)


def tables_of(session: Session, schemas: Collection[str]) -> dict[tuple[str, str], set[str]]:
    """(schema, name) -> columns, of every table and view in the schemas, all in lower case."""
    return _columns_by_table(session, schemas, "")


def required_columns_of(session: Session, schemas: Collection[str]) -> dict[tuple[str, str], set[str]]:
    """Those without which no row can be inserted: they may not be NULL, and have no default."""
    return _columns_by_table(session, schemas, " and is_nullable = 'NO' and column_default is null")


def _columns_by_table(session: Session, schemas: Collection[str], further: str) -> dict[tuple[str, str], set[str]]:
    rows = session.rows(
        "select lower(table_schema) as schema_name, lower(table_name) as name, lower(column_name) as column_name"
        f" from information_schema.columns where lower(table_schema) in ({', '.join('?' * len(schemas))}){further}",
        tuple(schemas),
    )
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        found.setdefault((row["schema_name"], row["name"]), set()).add(row["column_name"])
    return found
