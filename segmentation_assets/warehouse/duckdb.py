"""DuckDB: sessions on a database file, and waiting for whoever has it open."""

import glob
import logging
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from filelock import FileLock, Timeout

from segmentation_assets.atomic import PARTIAL, atomically
from segmentation_assets.errors import WarehouseError
from segmentation_assets.private import make_folder, tighten
from segmentation_assets.warehouse.columns import Column, Statement

# As long as dbt waits for it (profiles.yml).
FOREIGN_LOCK_SECONDS = 240
# Somebody who waits longer is told for whom.
PATIENCE_SECONDS = 2.0

logger = logging.getLogger(__name__)

_open: list[Any] = []  # connections of sessions under way


def cancel_statements() -> None:
    """Those that sessions of this process have under way, in whatever thread."""
    import duckdb

    for connection in list(_open):
        with suppress(duckdb.Error):  # closed meanwhile
            connection.interrupt()


class DuckDBSession:
    edit_distance = "levenshtein"
    folds_names = False

    def __init__(self, connection: Any, gold: str = "gold", silver: str = "silver") -> None:
        self._connection, self.gold, self.silver = connection, gold, silver
        # DuckDB works out the columns of every view anew, however few are asked for: a tenth of a second for a schema.
        self._columns: dict[str, list[Column]] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}  # of rows_once

    @property
    def connection(self) -> Any:
        """DuckDB's own. Whoever takes it may change anything."""
        self._forget()
        return self._connection

    def _forget(self) -> None:
        self._columns.clear()
        self._rows.clear()

    @property
    def engine_error(self) -> type[Exception]:
        import duckdb

        return duckdb.Error

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> None:
        self._forget()
        self._connection.execute(sql, list(parameters))

    def show_readers(self, table: str) -> None:
        """A file has no roles."""

    def kept(self, name: str, sql: str) -> str:
        """The query's result as it is now, for as long as the session lasts."""
        self._connection.execute(f"create or replace temp table {name} as {sql}")
        return name

    def in_one_transaction(self, table: str, statements: Sequence[Statement]) -> None:
        del table  # the file has one writer
        self.execute("begin transaction")
        try:
            for sql, parameters in statements:
                self.execute(sql, parameters)
            self.execute("commit")
        except BaseException:
            self.execute("rollback")
            raise

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
        result = self._connection.execute(sql, list(parameters))
        names = [column[0].lower() for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def rows_once(self, sql: str) -> list[dict[str, Any]]:
        if sql not in self._rows:
            self._rows[sql] = self.rows(sql)
        return self._rows[sql]

    def types(self, sql: str) -> dict[str, str]:
        rows = self._connection.execute(f"describe {sql}").fetchall()
        return {name.lower(): kind.lower() for name, kind, *_ in rows}

    def size_of(self, schema: str, table: str) -> str | None:
        """To read the facts costs nobody anything here."""
        del schema, table

    def columns(self, schema: str) -> list[Column]:
        """As they were when first asked for, or when this session last changed anything."""
        if schema not in self._columns:
            rows = self._connection.execute(
                "select lower(schema_name), lower(table_name), lower(column_name),"
                " lower(split_part(data_type, '(', 1)), numeric_precision, numeric_scale,"
                " not is_nullable and column_default is null"
                " from duckdb_columns() where database_name = current_database() and lower(schema_name) = lower(?)"
                " order by table_name, column_index",
                [schema],
            ).fetchall()
            self._columns[schema] = [Column(*row) for row in rows]
        return self._columns[schema]


@dataclass
class DuckDBWarehouse:
    """A DuckDB file. One process at a time may have it open for writing.

    Nothing of Dagster is imported here: a command that asks one question would wait longer for it than for the answer.
    """

    path: str
    gold: str = "gold"
    silver: str = "silver"
    events_held_seconds: ClassVar[float] = 0.0  # shown as they happen
    _kept: Any = field(default=None, init=False, repr=False, compare=False)

    @contextmanager
    def kept_open(self) -> Iterator["DuckDBWarehouse"]:
        """Open once for all steps of a run and for dbt: what they write goes from the log into the file at its end."""
        import duckdb

        with ExitStack() as stack:
            if Path(self.path).exists():
                # What is in the way is for the step that needs the file: it waits, or says in its own words what to do.
                with suppress(WarehouseError, duckdb.Error):
                    stack.enter_context(self.exclusive())
                    self._kept = stack.enter_context(closing(duckdb.connect(self.path)))
            try:
                yield self
            finally:
                self._kept = None

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[DuckDBSession]:
        path = Path(self.path)
        if read_only and not path.exists():
            raise WarehouseError(
                f"There is no DuckDB file at {path}: run `make run` first, or correct SEGMENTATION_DUCKDB_PATH."
            )
        with self.exclusive():
            connection = self._kept.cursor() if self._kept is not None else self._connect(path, read_only)
            _open.append(connection)
            try:
                connection.execute("set TimeZone = 'UTC'")
                yield DuckDBSession(connection, self.gold, self.silver)
            finally:
                _open.remove(connection)
                connection.close()

    def _connect(self, path: Path, read_only: bool) -> Any:
        """Waits for a process that is no run of this pipeline, such as a notebook, to let go of the file."""
        import duckdb

        began = time.monotonic()
        told_at, given_up_at = began + PATIENCE_SECONDS, began + FOREIGN_LOCK_SECONDS
        while True:
            try:
                return duckdb.connect(str(path), read_only=read_only)
            except duckdb.Error as error:
                told = str(error).splitlines()[0]
                if "Could not set lock" not in told:
                    advice = "Name another file, or move this one away and let the pipeline make it anew."
                    if "replaying WAL" in told:
                        # Its last blocks never reached the disk. What stands in the file itself is whole.
                        advice = (
                            f"Move {path.name}.wal away, not the database, which is whole without it: as it was before"
                            " the run that was cut off. Then run the same months again."
                        )
                elif time.monotonic() > given_up_at:
                    advice = "Close the other process."
                else:
                    if time.monotonic() > told_at:
                        told_at = given_up_at + 1
                        logger.warning(
                            "Waiting for %s to close %s ... (close or end it, or stop here with Ctrl-C)",
                            _named_in(told),
                            path,
                        )
                    time.sleep(0.5)
                    continue
                raise WarehouseError(
                    f"SEGMENTATION_DUCKDB_PATH is {path}, which DuckDB cannot open: {told} {advice}"
                ) from error

    def writing(self, holder: str) -> AbstractContextManager[None]:
        """The file has one writer, whoever it is."""
        del holder
        return self.exclusive()

    def write_anew(self) -> tuple[int, int]:
        """Copies the database into a new file, which replaces it in one step: what was deleted stands in free blocks
        and in the log until then. Bytes before and after. Nobody may have it open.

        A copy that a killed process left is removed; it holds what the database does.
        """
        import duckdb

        path = Path(self.path)
        with self.exclusive():
            for left in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
                shutil.rmtree(left)
            before = path.stat().st_size
            with closing(self._connect(path, read_only=False)) as connection:
                connection.execute("checkpoint")
                (name,) = connection.execute("select current_database()").fetchone()
                with atomically(path, mode=path.stat().st_mode & 0o777) as partial:
                    quoted = str(partial).replace("'", "''")
                    connection.execute(f"attach '{quoted}' as written_anew")
                    try:
                        connection.execute(f'copy from database "{name}" to written_anew')
                        connection.execute("checkpoint written_anew")
                        connection.execute("detach written_anew")
                    except duckdb.Error as error:
                        raise WarehouseError(f"{path} cannot be written anew: {error}. It is as it was.") from error
                    connection.close()
                    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)
            return before, path.stat().st_size

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Wait for the other runs on this file. DuckDB's own lock refuses at once instead of waiting.

        Re-entrant within a thread; the operating system frees the lock of a killed process.
        """
        path = Path(self.path)
        try:
            make_folder(path.parent)
            lock = FileLock(f"{path}.lock", is_singleton=True, thread_local=False)
            try:
                lock.acquire(timeout=PATIENCE_SECONDS)
            except Timeout:
                logger.warning(
                    "Waiting for %s, which has %s open ... (this goes on when it ends; Ctrl-C stops it here)",
                    _holder(Path(lock.lock_file)),
                    path,
                )
                lock.acquire()
            tighten(files_of(path))
        except OSError as error:
            raise WarehouseError(
                f"SEGMENTATION_DUCKDB_PATH is {path}, whose folder cannot be written: {error.strerror}."
                " Name one that can."
            ) from error
        try:
            yield
        finally:
            lock.release()


def files_of(path: Path) -> list[Path]:
    """The database, its log, its lock, and where copies of it for readers are."""
    return [path, *(path.with_name(f"{path.name}.{end}") for end in ("wal", "lock", "copies"))]


def _holder(lock: Path) -> str:
    """Who has the file locked, as Linux says it; elsewhere another run."""
    try:
        inode = str(lock.stat().st_ino)
        rows = [line.split() for line in Path("/proc/locks").read_text(encoding="utf-8").splitlines()]
        pid = next(row[4] for row in rows if row[1] != "->" and row[5].rpartition(":")[2] == inode)
        words = Path("/proc", pid, "cmdline").read_text(encoding="utf-8").split("\0")
    except (OSError, StopIteration, IndexError):
        return "another run"
    # What it does, not where Python lies.
    command = " ".join(" ".join(word.rpartition("/")[2] for word in words).split())[:80]
    return f"process {pid} ({command})"


def _named_in(told: str) -> str:
    """The process that DuckDB says holds the file."""
    found = re.search(r"held in (?P<program>\S+) \(PID (?P<pid>\d+)\)", told)
    return f"process {found['pid']} ({found['program'].rpartition('/')[2]})" if found else "another process"
