"""A copy of the published tables for readers, who cannot open the DuckDB file while a run has it.

It holds schema gold without the star schema, and without the names and addresses of customers: it is for counting, and
whom to contact is in the exports. It appears all at once, so that nobody reads half of one.
"""

import glob
import shutil
import stat
from pathlib import Path

from segmentation_assets.atomic import PARTIAL, atomically
from segmentation_assets.errors import WarehouseError
from segmentation_assets.sources.contract import CONTRACT
from segmentation_assets.warehouse.catalog import GOLD
from segmentation_assets.warehouse.duckdb import DuckDBSession, DuckDBWarehouse

CONTACT_COLUMNS = {"email", "first_name", "last_name"}
DUCKDB_MAGIC = (8, b"DUCK")
ALIAS = "snapshot_of_published"


def take(warehouse: DuckDBWarehouse, to: Path) -> int:
    """Replace the file `to`; how many tables and views are in it. Waits for the run that has the database.

    The file is for its owner's eyes only; where there was one before, the new one is for those the old one was for.
    Raises WarehouseError for a place where it cannot or must not be written, and where nothing is published.
    """
    _refuse(Path(warehouse.path), to)
    try:
        mode = stat.S_IMODE(to.stat().st_mode) if to.exists() else 0o600
        to.parent.mkdir(parents=True, exist_ok=True)
        with warehouse.session(read_only=True) as session:
            # One is taken at a time, as the database is locked: whatever lies there is of one that was killed.
            for left in to.parent.glob(f".{glob.escape(to.name)}.*{PARTIAL}"):
                shutil.rmtree(left)
            with atomically(to, mode=mode) as partial:
                copied = _copy(session, partial)
    except OSError as error:
        raise WarehouseError(f"The snapshot cannot be written to {to}: {error.strerror}. Name another file.") from error
    return copied


def _refuse(database: Path, to: Path) -> None:
    if to.is_dir():
        raise WarehouseError(f"The snapshot cannot be written to {to}, which is a folder: name a file in it.")
    if to.exists() and to.samefile(database):
        raise WarehouseError(f"{to} is the database itself: name another file for its snapshot.")
    if to.exists():
        with to.open("rb") as file:
            file.seek(DUCKDB_MAGIC[0])
            if file.read(4) != DUCKDB_MAGIC[1]:
                raise WarehouseError(f"{to} is there and no DuckDB file: name another file for the snapshot.")


def _copy(session: DuckDBSession, partial: Path) -> int:
    found = session.rows(
        "select table_name, table_type from information_schema.tables where table_catalog = current_database()"
        " and table_schema = ? order by table_type, table_name",
        (GOLD,),
    )
    names = [(row["table_name"], row["table_type"] == "VIEW") for row in found if row["table_name"] not in CONTRACT]
    if "customer_segment_history" not in dict(names):
        raise WarehouseError("Nothing is published yet, so there is nothing to take a snapshot of: `make run` first.")
    here = session.rows("select current_database() as name")[0]["name"]
    quoted = str(partial).replace("'", "''")
    session.execute(f"attach '{quoted}' as {ALIAS} (read_write)")
    session.execute(f"create schema {ALIAS}.{GOLD}")
    for name, is_view in names:
        if not is_view:
            session.execute(
                f'create table {ALIAS}.{GOLD}."{name}" as select {_columns(session, name)} from {GOLD}."{name}"'
            )
    views = session.rows("select view_name, sql from duckdb_views() where schema_name = ? and not internal", (GOLD,))
    # Their SQL names no database, and so reads the tables of the one it stands in.
    session.execute(f"use {ALIAS}")
    for view in views:
        session.execute(view["sql"])
    session.execute(f'use "{here}"')
    session.execute(f"detach {ALIAS}")
    return len(names)


def _columns(session: DuckDBSession, table: str) -> str:
    rows = session.rows(
        "select column_name from information_schema.columns where table_catalog = current_database()"
        " and table_schema = ? and table_name = ? order by ordinal_position",
        (GOLD, table),
    )
    return ", ".join(f'"{row["column_name"]}"' for row in rows if row["column_name"] not in CONTACT_COLUMNS)
