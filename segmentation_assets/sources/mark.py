"""The mark on the tables of a demo source: a comment that says who made them, and of what. Only these are replaced."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from segmentation_assets.rules.source_contract import DEMO_TABLES
from segmentation_assets.settings import Settings
from segmentation_assets.sources import SourceError
from segmentation_assets.warehouse.catalog import quoted, table_exists
from segmentation_assets.warehouse.duckdb import DuckDBSession
from segmentation_assets.warehouse.session import Session

if TYPE_CHECKING:
    import duckdb

MARK = "Made by customer-segmentation: "
# What versions before the mark wrote, on the fact table alone.
_EARLIER = re.compile(r"synthetic, [0-9]+ customers, [0-9]{4}-[0-9]{2}-01 to [0-9]{4}-[0-9]{2}-01|completejourney")
# The first of the tables of each demo, which says for all of them what they were made of.
FACTS = ("fct_transactions", "receipt_lines")
# Every name that a demo gives a table: those of the source contract, and the Complete Journey's own.
NAMES = (*DEMO_TABLES, "receipt_lines", "products", "households")


def put(connection: "duckdb.DuckDBPyConnection", schema: str, recipe: str, tables: Iterable[str] = DEMO_TABLES) -> None:
    """On every table of a demo, in the transaction that makes them; `schema` is SQL."""
    for table in tables:
        connection.execute(f"comment on table {schema}.{table} is '{MARK}{recipe}'")


def recorded(session: Session, schema: str) -> str | None:
    """What the facts were made of; None where they are not there or not ours."""
    comments = _comments(session, schema)
    found = [comments[table] for table in FACTS if _is_ours(comments.get(table))]
    return str(found[-1]).removeprefix(MARK) if found else None


def drop_earlier(connection: "duckdb.DuckDBPyConnection", schema: str) -> None:
    """The tables under the contract's names that an earlier version made of this demo."""
    rows = connection.execute(
        "select table_name, comment from duckdb_tables() where database_name = current_database() and schema_name = ?",
        [schema],
    ).fetchall()
    for table, comment in rows:
        if table in DEMO_TABLES and _is_ours(comment):
            connection.execute(f'drop table "{schema}".{table}')


def tables_of_demo(session: Session, settings: Settings) -> list[str]:
    """The tables of the star schema that a demo made."""
    comments = _comments(session, settings.source_schema)
    whole = any(_EARLIER.fullmatch(comments.get(table) or "") for table in FACTS)
    return sorted(table for table, comment in comments.items() if whole or _is_ours(comment))


def customers_of(recipe: str) -> int:
    """Of a synthetic portfolio."""
    return int(recipe.split()[1])


def refuse_foreign_tables(session: Session, settings: Settings) -> None:
    """Raises SourceError where a demo would replace a table that no demo made, or another demo's portfolio, which the
    published months are of. Reads only."""
    comments = _comments(session, settings.source_schema)
    found = next((str(comments[table]) for table in FACTS if _is_ours(comments.get(table))), "")
    if found:
        _refuse_another_portfolio(found.removeprefix(MARK), settings)
    if _EARLIER.fullmatch(found):
        return
    foreign = sorted(table for table, comment in comments.items() if not _is_ours(comment))
    if foreign:
        given = f"is {settings.source!r}" if settings.named_source else f"is not set, which means {settings.source!r}"
        raise SourceError(
            f"SEGMENTATION_SOURCE {given}, a demo that fills the star schema, and schema {settings.source_schema!r}"
            f" holds tables that no demo made: {', '.join(foreign)}. Nothing was touched. Set"
            " SEGMENTATION_SOURCE=warehouse to read them, or SEGMENTATION_SOURCE_SCHEMA to a schema that is free for a"
            " demo."
        )
    if not found:
        _refuse_somebodys_file(session, settings)


def _refuse_somebodys_file(session: Session, settings: Settings) -> None:
    """A DuckDB file that no demo has filled, and that somebody keeps tables in: SEGMENTATION_SOURCE was forgotten, or
    the months that are published in it are of those tables."""
    if not isinstance(session, DuckDBSession):
        return  # there a demo is never what is meant without a word
    ours = {settings.source_schema, settings.gold_schema, settings.silver_schema, "test_failures"}
    rows = session.rows(
        "select schema_name || '.' || table_name as name, lower(schema_name) as place from duckdb_tables()"
        " where database_name = current_database() and not internal and not temporary union all"
        " select schema_name || '.' || view_name, lower(schema_name) from duckdb_views()"
        " where database_name = current_database() and not internal and not temporary order by 1"
    )
    kept = {schema.lower() for schema in ours} | {f"{settings.silver_schema.lower()}_test_failures"}
    others = [row["name"] for row in rows if row["place"] not in kept and not row["place"].startswith("what_if_")]
    published = table_exists(session, session.gold, "segment_publications")
    if others and (published or not settings.named_source):
        given = f"is {settings.source!r}" if settings.named_source else f"is not set, which means {settings.source!r}"
        months = ", and months that were published of other data" if published else ""
        raise SourceError(
            f"SEGMENTATION_SOURCE {given}, a demo that fills the star schema, and the DuckDB file"
            f" {settings.duckdb_path} holds tables that no demo made: {', '.join(others[:5])}"
            f"{f' and {len(others) - 5} more' if len(others) > 5 else ''}{months}. Nothing was touched. Set"
            " SEGMENTATION_SOURCE=warehouse (and SEGMENTATION_RULES to the file with star_schema) to read them, or"
            " SEGMENTATION_DUCKDB_PATH to a file of its own for a demo."
        )


def _refuse_another_portfolio(recipe: str, settings: Settings) -> None:
    source = recipe.partition(",")[0]
    place = (
        f"The DuckDB file {settings.duckdb_path}"
        if settings.target == "duckdb"
        else f"Schema {settings.source_schema!r}"
    )
    if source != settings.source:
        raise SourceError(
            f"{place} holds the demo source {source!r} and the months published of it, and SEGMENTATION_SOURCE is"
            f" {settings.source!r}. Nothing was touched. Name another file (SEGMENTATION_DUCKDB_PATH, which without a"
            f" value is one of its own for each source) or schema (SEGMENTATION_SOURCE_SCHEMA), or set"
            f" SEGMENTATION_SOURCE={source}."
        )
    if settings.customers is not None and source == "synthetic" and customers_of(recipe) != settings.customers:
        raise SourceError(
            f"{place} holds a portfolio of {customers_of(recipe):,} customers and the months published of it, and"
            f" SEGMENTATION_CUSTOMERS is {settings.customers}. Nothing was touched. Leave SEGMENTATION_CUSTOMERS away"
            " to go on with that portfolio, or give the new one a file of its own (SEGMENTATION_DUCKDB_PATH)."
            " make clean removes what the demo made in this folder."
        )


def write(session: Session, schema: str, recipe: str, tables: Iterable[str]) -> None:
    """On every table, when all are filled."""
    for table in tables:
        session.execute(f"comment on table {quoted(session, schema)}.{table} is '{MARK}{recipe}'")


def _is_ours(comment: str | None) -> bool:
    return bool(comment) and (str(comment).startswith(MARK) or _EARLIER.fullmatch(str(comment)) is not None)


def _comments(session: Session, schema: str) -> dict[str, str | None]:
    """Comment of each table or view of the schema that has the name of one of a demo's."""
    if isinstance(session, DuckDBSession):
        query = """
            select table_name, comment from duckdb_tables()
            where database_name = current_database() and lower(schema_name) = lower(?)
            union all
            select view_name, comment from duckdb_views()
            where database_name = current_database() and lower(schema_name) = lower(?)
        """
        rows = session.rows(query, (schema, schema))
    else:
        rows = session.rows(
            "select table_name, comment from information_schema.tables where lower(table_schema) = lower(?)", (schema,)
        )
    return {row["table_name"].lower(): row["comment"] for row in rows if row["table_name"].lower() in NAMES}
