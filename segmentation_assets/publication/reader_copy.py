"""A copy of the published tables for readers, who cannot open the DuckDB file while a run has it.

It holds the models of the dbt project that are published, and of them the columns they declare, less names and
addresses of customers: it is for counting, and whom to contact is in the exports. Whatever else lies in the schema
stays where it is. The copy appears all at once, so that nobody reads half of one.
"""

import glob
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segmentation_assets.atomic import PARTIAL, atomically
from segmentation_assets.dbt.campaign_models import HELD_BY_LISTS
from segmentation_assets.dbt.personal_data import CONTACT_DETAILS, tag_of
from segmentation_assets.dbt.project import Entry, Project
from segmentation_assets.errors import WarehouseError
from segmentation_assets.publication import ownership
from segmentation_assets.warehouse.catalog import GOLD
from segmentation_assets.warehouse.duckdb import DuckDBSession, DuckDBWarehouse, files_of

DUCKDB_MAGIC = (8, b"DUCK")
ALIAS = "snapshot_of_published"
# On one table of every copy: by it the next one knows what it may replace.
MARKED, MARK = "customer_segment_history", "A copy for readers, made by customer-segmentation (make snapshot)"


@dataclass(frozen=True)
class Published:
    """A table or view that readers may have, and the columns of it."""

    name: str
    columns: tuple[str, ...]
    parents: frozenset[str] = frozenset()
    hides: bool = False  # columns that its model declares and readers do not get


def published_models(entries: Iterable[Entry]) -> list[Published]:
    """Of the manifest: its models in the published schema, each with the columns that are about nobody's name."""
    found: list[Published] = []
    entries = list(entries)
    name_of: dict[str, str] = {entry["unique_id"]: entry["name"] for entry in entries}
    for entry in entries:
        if entry["resource_type"] == "model" and entry["config"]["schema"] == GOLD:
            shown = tuple(name for name, column in entry["columns"].items() if tag_of(name, column) != CONTACT_DETAILS)
            nodes: list[str] = entry["depends_on"]["nodes"]
            parents = frozenset(name_of.get(node, node) for node in nodes)
            found.append(Published(entry["alias"], shown, parents, len(shown) < len(entry["columns"])))
    return found


def _former_lists(session: DuckDBSession, project: Project) -> list[Published]:
    """Of campaigns that the rules no longer have."""
    declared = ownership.declared(project)
    names = ownership.with_former_lists(session, declared, session.gold)
    return [
        Published(
            table[1],
            tuple(one for one in columns if tag_of(one, HELD_BY_LISTS.get(one, {})) != CONTACT_DETAILS),
            hides=True,
        )
        for table, columns in names.items()
        if table not in declared
    ]


def take(
    warehouse: DuckDBWarehouse,
    to: Path,
    project: Project | None = None,
    further: Mapping[str, Sequence[str]] | None = None,
) -> int:
    """Replace the file `to`; how many tables and views are in it. Waits for the run that has the database.

    `further` are tables of the pipeline that are no models, with their columns. The file is for its owner's eyes only;
    where there was one before, the new one is for those the old one was for. Raises WarehouseError for a place where it
    cannot or must not be written, and where nothing is published.
    """
    _refuse(Path(warehouse.path), to)
    project = project or Project.load()
    published = published_models(project.entries.values())
    published += [Published(name, tuple(columns)) for name, columns in (further or {}).items()]
    try:
        mode = stat.S_IMODE(to.stat().st_mode) if to.exists() else 0o600
        to.parent.mkdir(parents=True, exist_ok=True)
        with warehouse.session(read_only=True) as session:
            published += _former_lists(session, project)
            # One is taken at a time, as the database is locked: whatever lies there of one that was killed.
            for left in to.parent.glob(f".{glob.escape(to.name)}.*{PARTIAL}"):
                shutil.rmtree(left)
            with atomically(to, mode=mode) as partial:
                copied = _copy(session, partial, published)
            _note(warehouse, to)
    except OSError as error:
        raise WarehouseError(f"The snapshot cannot be written to {to}: {error.strerror}. Name another file.") from error
    return copied


def known(warehouse: DuckDBWarehouse) -> list[Path]:
    """Where copies were taken to, beside the database: an erasure takes them anew."""
    noted = _noted_in(warehouse)
    return [Path(line) for line in noted.read_text(encoding="utf-8").splitlines()] if noted.exists() else []


def _noted_in(warehouse: DuckDBWarehouse) -> Path:
    return files_of(Path(warehouse.path))[-1]


def _note(warehouse: DuckDBWarehouse, to: Path) -> None:
    places = dict.fromkeys([*map(str, known(warehouse)), str(to.absolute())])
    with atomically(_noted_in(warehouse), mode=0o600) as partial:
        partial.write_text("".join(f"{place}\n" for place in places), encoding="utf-8")


def _refuse(database: Path, to: Path) -> None:
    if to.is_dir():
        raise WarehouseError(f"The snapshot cannot be written to {to}, which is a folder: name a file in it.")
    if not to.exists():
        return
    if to.samefile(database):
        raise WarehouseError(f"{to} is the database itself: name another file for its snapshot.")
    with to.open("rb") as file:
        file.seek(DUCKDB_MAGIC[0])
        if file.read(4) != DUCKDB_MAGIC[1]:
            raise WarehouseError(f"{to} is there and no DuckDB file: name another file for the snapshot.")
    if not _is_copy(to):
        raise WarehouseError(
            f"{to} is a database that `make snapshot` did not make (or an earlier version did, without a mark):"
            " name another file, or move this one away."
        )


def _is_copy(to: Path) -> bool:
    """By the mark inside. A file that cannot be opened, or has a log beside it, is somebody's who writes to it."""
    import duckdb

    if to.with_name(f"{to.name}.wal").exists():
        return False
    try:
        with duckdb.connect(str(to), read_only=True) as connection:
            marks = connection.execute("select comment from duckdb_tables() where table_name = ?", [MARKED]).fetchall()
    except duckdb.Error:
        return False
    return marks == [(MARK,)]


def _copy(session: DuckDBSession, partial: Path, published: Sequence[Published]) -> int:
    found = session.rows(
        "select table_name, table_type from information_schema.tables where table_catalog = current_database()"
        " and table_schema = ? order by table_type, table_name",
        (session.gold,),
    )
    is_view = {row["table_name"].lower(): row["table_type"] == "VIEW" for row in found}
    wanted = [one for one in published if one.name.lower() in is_view]
    if MARKED not in {one.name for one in wanted}:
        raise WarehouseError("Nothing is published yet, so there is nothing to take a snapshot of: `make run` first.")
    whole = {one.name for one in wanted if not one.hides and not is_view[one.name.lower()]}
    # A view stays one where all that it reads is there, whole; else readers get its rows.
    views = [one for one in wanted if is_view[one.name.lower()] and not one.hides and one.parents <= whole]
    here = session.rows("select current_database() as name")[0]["name"]
    quoted = str(partial).replace("'", "''")
    session.execute(f"attach '{quoted}' as {ALIAS} (read_write)")
    session.execute(f"create schema {ALIAS}.{session.gold}")
    for one in wanted:
        if one not in views:
            columns = _columns(session, one)
            table = f'{session.gold}."{one.name}"'
            session.execute(f"create table {ALIAS}.{table} as select {columns} from {table}")
    session.execute(f"comment on table {ALIAS}.{session.gold}.{MARKED} is '{MARK}'")
    sql = {
        row["view_name"]: row["sql"]
        for row in session.rows(
            "select view_name, sql from duckdb_views() where database_name = current_database() and schema_name = ?"
            " and not internal",
            (session.gold,),
        )
    }
    # Their SQL names no database, and so reads the tables of the one it stands in.
    session.execute(f"use {ALIAS}")
    for view in views:
        session.execute(sql[view.name])
    session.execute(f'use "{here}"')
    session.execute(f"detach {ALIAS}")
    return len(wanted)


def _columns(session: DuckDBSession, table: Published) -> str:
    """Those there are: a table made by an earlier version may lack the newest."""
    rows = session.rows(
        "select column_name from information_schema.columns where table_catalog = current_database()"
        " and table_schema = ? and lower(table_name) = lower(?) order by ordinal_position",
        (session.gold, table.name),
    )
    shown = {name.lower() for name in table.columns}
    return ", ".join(f'"{row["column_name"]}"' for row in rows if row["column_name"].lower() in shown)
