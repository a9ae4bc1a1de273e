"""Tables of a local DuckDB copied into Snowflake: how a demo source gets there.

Which rows they hold is the source's own business. An account takes Parquet through a stage. The emulator cannot (its
`copy into` from a stage never ends), so it takes the rows inside the statement; which of the two is decided before
anything is sent.
"""

import json
import tempfile
from pathlib import Path

import duckdb

from segmentation_assets.sources.mark import MARK
from segmentation_assets.warehouse.catalog import quoted
from segmentation_assets.warehouse.snowflake import SnowflakeSession

# Snowflake reads files of 100-250 MB in parallel; an emulator takes any length of statement.
FILE_SIZE = "128MB"
ROWS_PER_STATEMENT = 20_000


def copy_tables(
    session: SnowflakeSession,
    local: duckdb.DuckDBPyConnection,
    schema: str,
    *,
    is_emulator: bool,
    has_tags: bool = False,
) -> None:
    """Replace each table of the local `schema` in Snowflake's schema of the same name, one after the other.

    A table is replaced by another one of the same name. Where the account has tags, the columns keep theirs, and with
    them their mask; only then do readers keep their grants, too.
    """
    kept = " copy grants copy tags" if has_tags and not is_emulator else ""
    _create_schema(session, schema)
    for (table,) in local.execute(
        "select table_name from information_schema.tables where table_schema = ? order by table_name", [schema]
    ).fetchall():
        columns = local.execute(
            "select column_name, data_type from information_schema.columns"
            " where table_schema = ? and table_name = ? order by ordinal_position",
            [schema, table],
        ).fetchall()
        defined = ", ".join(f"{name} {kind}" for name, kind in columns)
        # The mark comes with the table: one that is left half-filled is known as ours by the next run.
        session.execute(
            f"create or replace table {quoted(session, schema)}.{table} ({defined}){kept}"
            f" comment = '{MARK}being filled'"
        )
        copy = _insert_rows if is_emulator else _copy_files
        copy(session, local, schema, table, columns)


def _create_schema(session: SnowflakeSession, schema: str) -> None:
    # Asked for first: `create schema if not exists` needs the right to create one even where it exists.
    found = session.rows(
        "select 1 as n from information_schema.schemata where lower(schema_name) = lower(?)", (schema,)
    )
    if not found:
        session.execute(f"create schema {quoted(session, schema)}")


def _copy_files(
    session: SnowflakeSession, local: duckdb.DuckDBPyConnection, schema: str, table: str, columns: list[tuple[str, str]]
) -> None:
    """Parquet files to the table's own stage, then `copy into`, which removes them."""
    del columns  # matched by name
    stage = f"@{quoted(session, schema)}.%{table}"
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "files"
        local.execute(f"copy \"{schema}\".{table} to '{files}' (format parquet, file_size_bytes '{FILE_SIZE}')")
        session.execute(f"put 'file://{files.as_posix()}/*.parquet' '{stage}' auto_compress = false overwrite = true")
    session.execute(
        f"copy into {quoted(session, schema)}.{table} from '{stage}'"
        " file_format = (type = parquet use_logical_type = true) match_by_column_name = case_insensitive purge = true"
    )


def _insert_rows(
    session: SnowflakeSession, local: duckdb.DuckDBPyConnection, schema: str, table: str, columns: list[tuple[str, str]]
) -> None:
    """Rows as one JSON text per statement: a list of VALUES takes the emulator thirty times as long to parse."""
    values = ", ".join(f"row_.value[{i}]::{kind}" for i, (_, kind) in enumerate(columns))
    # Text for everything JSON has no exact form for.
    texts = ", ".join(f"cast({name} as varchar)" for name, _ in columns)
    rows = local.execute(f'select {texts} from "{schema}".{table}')
    while batch := rows.fetchmany(ROWS_PER_STATEMENT):
        document = json.dumps(batch).replace("\\", "\\\\").replace("'", "''")
        source = f"table(flatten(input => parse_json('{document}'))) as row_"
        session.execute(f"insert into {quoted(session, schema)}.{table} select {values} from {source}")
