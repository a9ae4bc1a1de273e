"""Erasure in what is no table: Dagster's storage, logs, and the files of builds.

By design nobody is named there. What an engine says of a value that it refuses may quote it all the same, and a person
may have typed an id where a reason was asked for.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy

from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import WarehouseError
from segmentation_assets.privacy.search import Search, clean_file
from segmentation_assets.settings import variable

SQLITE = b"SQLite format 3\x00"
_BESIDE = ("-wal", "-shm", "-journal")
# Of dbt's project: they hold no value of any table, and words of theirs may be somebody's id.
_OF_THE_PROJECT = ("manifest.json", "partial_parse.msgpack", "semantic_manifest.json", "graph.gpickle")
_PROJECTS = ("projects", "manifests")
# What is written of runs, by Dagster, dbt and this pipeline. Whatever else lies there may be somebody else's.
_WRITTEN_OF_RUNS = (".log", ".out", ".err", ".sql", ".json")
_WAIT_SECONDS = 30


@dataclass
class Cleaned:
    stored: int = 0  # values in Dagster's storage
    files: int = 0
    not_ours: list[str] = field(default_factory=list)  # files that name somebody, and stay as they are


def clean(project: Project, search: Search, instance: Any = None) -> Cleaned:
    """`instance` is Dagster's, where it keeps its storage elsewhere than in DAGSTER_HOME. Raises WarehouseError for a
    database that somebody keeps locked."""
    done = Cleaned()
    for path in _files(project):
        if path.name.endswith(_BESIDE):
            continue
        try:
            with path.open("rb") as file:
                is_sqlite = file.read(len(SQLITE)) == SQLITE
            if is_sqlite:
                done.stored += _clean_sqlite(path, search)
            elif path.suffix in _WRITTEN_OF_RUNS and _is_text(path):
                done.files += bool(clean_file(path, search))
            elif search.finds(path.read_bytes()):
                done.not_ours.append(str(path))
        except FileNotFoundError:
            continue  # a run under way has removed it
    for engine in _engines(instance):
        done.stored += _clean_engine(engine, search)
    return done


def _files(project: Project) -> Iterator[Path]:
    logs, target = variable("DBT_LOG_PATH"), project.target_dir
    for folder in (project.settings.dagster_home, target, *([Path(logs)] if logs else [])):
        if folder.is_dir():
            for path in sorted(folder.rglob("*")):
                is_project = path.name in _OF_THE_PROJECT or any(target / one in path.parents for one in _PROJECTS)
                if path.is_file() and not path.is_symlink() and not is_project:
                    yield path


def _is_text(path: Path) -> bool:
    """Replaced in anything else, a word of another length leaves a file that nobody can read."""
    try:
        path.read_bytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def _clean_sqlite(path: Path, search: Search) -> int:
    if not search.finds(path.read_bytes()) and not _log_holds_somebody(path, search):
        return 0
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("pragma secure_delete = on")
            connection.execute("begin immediate")
            places = sum(_clean_table(connection, name, search) for name in _tables(connection))
            connection.execute("commit")
            connection.execute("pragma wal_checkpoint(truncate)")
            if search.finds(path.read_bytes()) or _log_holds_somebody(path, search):
                connection.execute("vacuum")  # in free pages, of what was deleted before
                connection.execute("pragma wal_checkpoint(truncate)")
    except sqlite3.OperationalError as error:
        raise WarehouseError(
            f"{path} cannot be cleaned: {error}. End what has it open (make ui, dagster-daemon), then erase again:"
            " what is done stays done."
        ) from error
    return places


def _log_holds_somebody(path: Path, search: Search) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and search.finds(log.read_bytes())


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")
    return [name for (name,) in rows.fetchall()]


def _clean_table(connection: sqlite3.Connection, table: str, search: Search) -> int:
    name = table.replace('"', '""')
    columns = [row[1] for row in connection.execute(f'pragma table_info("{name}")')]
    places = 0
    for row in connection.execute(f'select rowid, * from "{name}"').fetchall():
        for column, value in zip(columns, row[1:], strict=True):
            cleaned = _cleaned(value, search)
            if cleaned is not None:
                connection.execute(f'update "{name}" set "{column}" = ? where rowid = ?', (cleaned, row[0]))
                places += 1
    return places


def _cleaned(value: object, search: Search) -> str | bytes | None:
    """None where there is nobody in it."""
    if isinstance(value, str):
        cleaned, places = search.without(value.encode())
        return cleaned.decode() if places else None
    if isinstance(value, bytes):
        cleaned, places = search.without(value)
        return cleaned if places else None
    return None


def _engines(instance: Any) -> list[Any]:
    """SQLAlchemy's, of a storage in a database server."""
    found: dict[str, Any] = {}
    for storage in (getattr(instance, name, None) for name in ("run_storage", "event_log_storage", "schedule_storage")):
        engine = getattr(storage, "_engine", None)  # of a file there is none, or one for each, which is found above
        if isinstance(engine, sqlalchemy.Engine) and engine.dialect.name != "sqlite":
            found[str(engine.url)] = engine
    return list(found.values())


def _clean_engine(engine: Any, search: Search) -> int:
    places = 0
    metadata = sqlalchemy.MetaData()
    metadata.reflect(bind=engine)
    with engine.begin() as connection:
        for table in metadata.tables.values():
            keys = list(table.primary_key.columns)
            texts = [column for column in table.columns if isinstance(column.type, sqlalchemy.String)]
            if not keys or not texts:
                continue
            rows = (
                connection.execution_options(stream_results=True).execute(sqlalchemy.select(*keys, *texts)).fetchall()
            )
            for row in rows:
                values = {
                    column.name: cleaned
                    for column, value in zip(texts, row[len(keys) :], strict=True)
                    if (cleaned := _cleaned(value, search)) is not None
                }
                if values:
                    same = [key == value for key, value in zip(keys, row[: len(keys)], strict=True)]
                    connection.execute(table.update().where(*same).values(**values))
                    places += len(values)
    return places
