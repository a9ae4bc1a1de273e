"""Sessions on the engine that is named. No SQL of the pipeline belongs here."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from filelock import FileLock, Timeout

from segmentation_assets.errors import WarehouseBusyError
from segmentation_assets.settings import Settings
from segmentation_assets.text import without_addresses
from segmentation_assets.warehouse.columns import Column, Statement
from segmentation_assets.warehouse.duckdb import DuckDBSession, DuckDBWarehouse
from segmentation_assets.warehouse.snowflake import SnowflakeWarehouse


class Session(Protocol):
    """One open connection."""

    edit_distance: str  # the engine's name for the Levenshtein distance of two texts
    gold: str  # the schema of what is published
    silver: str  # the schema of what that is made of
    folds_names: bool  # whether a name without quotes means the same in upper case, and another one than in quotes

    @property
    def engine_error(self) -> type[Exception]:
        """What the engine's driver raises."""
        ...

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None: ...

    def in_one_transaction(self, table: str, statements: Sequence[Statement]) -> None:
        """All of them or none, whatever becomes of this process. `table` of gold is what they write to."""
        ...

    def show_readers(self, table: str) -> None:
        """Lets the readers' role read a table of gold that holds nothing of a person, as dbt does with its own."""
        ...

    def kept(self, name: str, sql: str) -> str:
        """What to select from for the result of a query that is asked for often in this session."""
        ...

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        """The result, one dict per row with lower-case column names."""
        ...

    def rows_once(self, sql: str) -> list[dict[str, Any]]:
        """The same, asked for once until this session writes."""
        ...

    def types(self, sql: str) -> dict[str, str]:
        """Column -> type of a query's result, both in small letters, as the engine calls it. Raises engine_error."""
        ...

    def size_of(self, schema: str, table: str) -> str | None:
        """Rows and bytes of a table, where they can be told without a warehouse; `schema` is SQL. None elsewhere."""
        ...

    def columns(self, schema: str) -> list[Column]:
        """Of every table and view in a schema, in their order; none where there is no such schema."""
        ...


def first_line(error: Exception) -> str:
    """Of what an engine says, without the full stop."""
    return without_addresses((str(error).splitlines() or [type(error).__name__])[0]).rstrip(". ")


def first_line_of_a_row(error: Exception) -> str:
    """The same of an error in some row, without its values, which an engine quotes: they may be a person's."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", first_line(error))


Warehouse = DuckDBWarehouse | SnowflakeWarehouse


def warehouse(settings: Settings | None = None) -> Warehouse:
    """The one that the settings name; without any, that of the environment as it is now."""
    settings = settings or Settings.from_environment()
    if settings.target == "duckdb":
        return DuckDBWarehouse(path=str(settings.duckdb_path), gold=settings.gold_schema, silver=settings.silver_schema)
    return SnowflakeWarehouse(settings.snowflake, settings.gold_schema, settings.silver_schema)


@contextmanager
def try_session(warehouse: Warehouse) -> Iterator[Session | None]:
    """A session that reads; None where no DuckDB file has been made yet. Raises WarehouseBusyError instead of waiting.

    `Warehouse.session` waits for minutes for a run or a notebook, which is longer than Dagster lets a tick take.
    """
    if not isinstance(warehouse, DuckDBWarehouse):
        with warehouse.session(read_only=True) as session:
            yield session
        return
    import duckdb

    try:
        with FileLock(f"{warehouse.path}.lock", is_singleton=True, thread_local=False).acquire(timeout=0):
            connection = duckdb.connect(warehouse.path, read_only=True)
            try:
                connection.execute("set TimeZone = 'UTC'")
                yield DuckDBSession(connection, warehouse.gold, warehouse.silver)
            finally:
                connection.close()
    except Timeout as error:
        raise WarehouseBusyError("A run has the DuckDB file open.") from error
    except (duckdb.IOException, duckdb.ConnectionException) as error:
        told = str(error)
        if "does not exist" in told:
            yield None
        elif "Could not set lock" in told or "different configuration" in told:
            raise WarehouseBusyError("Another process has the DuckDB file open.") from error
        else:
            raise
