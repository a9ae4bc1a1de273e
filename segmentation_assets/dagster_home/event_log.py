"""Dagster's event log in SQLite, without an engine, a checkpoint and several commits for every event.

For each event it stores, Dagster makes a SQLAlchemy engine, compiles its statements, and closes the connection. When
the last connection to a file is closed, SQLite copies its write-ahead log into the file, flushes both to the disk and
deletes the log. Together that is most of what storing an event costs, and much of the time of a run. One engine per
file, with its connection kept, leaves the checkpoint to SQLite's own rhythm (every 1,000 pages) and compiles a
statement once.

An event goes into two files, a check's result in three transactions, each of which SQLite flushes to the disk. Here it
is one in each file; and what Dagster hands over as one batch (all that a run plans, all months of one asset or check)
is stored as one. What is stored is as before, and it is safe on the disk when storing it returns.

Named in dagster.yaml; it reaches into private members, so the version is pinned. Postgres needs none of this.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME, SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

from segmentation_assets.settings import set_variable, variable

# The index and the runs under way; the webserver reads a file per run.
MOST_FILES = 8
# Of a larger batch so many events are committed together: others may write in between.
BATCH_SIZE = 200


@contextmanager
def _begun(engine: sqlalchemy.Engine) -> Iterator[sqlalchemy.Connection]:
    with engine.connect() as connection, connection.begin():
        yield connection


class KeptOpenSqliteEventLogStorage(SqliteEventLogStorage):
    """SqliteEventLogStorage at its usual place in DAGSTER_HOME, its newest files kept open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept: OrderedDict[str, tuple[int, sqlalchemy.Engine]] = OrderedDict()
        self._keeping = threading.Lock()
        self._of_thread = threading.local()
        self._has_index_columns: bool | None = None
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "KeptOpenSqliteEventLogStorage":
        del config_value
        home = variable("DAGSTER_HOME")
        if not home:
            raise dg.DagsterInvariantViolationError(
                "DAGSTER_HOME is not set: it names the folder of the dagster.yaml that this instance was read from, and"
                " its event log lies in it."
            )
        # Unless it is set, Dagster stores the events of a batch one by one. It reads it whenever there is one.
        set_variable("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE), unless_set=True)
        return cls(str(Path(home, "history", "runs")), inst_data)

    @cached_property
    def supports_asset_checks(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Asked before every check result is stored; the answer changes only with `dagster instance migrate`."""
        return super().supports_asset_checks

    def _has_asset_key_index_cols_on_connection(self, conn: Any) -> bool:
        """Asked before every asset event is stored; the answer changes only with `dagster instance migrate`."""
        if self._has_index_columns is None:
            self._has_index_columns = super()._has_asset_key_index_cols_on_connection(conn)
        return self._has_index_columns

    def has_table(self, table_name: str) -> bool:
        """Asked, with an engine of its own, whenever an asset's event has tags. A table that is there stays there."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def store_event(self, event: EventLogEntry) -> None:
        with self._one_transaction(event.run_id):
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        for run_id, grouped in groupby(events, key=lambda event: event.run_id):
            events_of_run = list(grouped)
            with self._one_transaction(run_id):
                self._of_thread.replaced = _replaced(events_of_run)
                for event in events_of_run:
                    super().store_event(event)

    def _store_asset_event(self, conn: Any, event: EventLogEntry, event_id: int) -> None:
        """What an asset's row says of its last event, with all its metadata: of a batch's months the last one's."""
        if id(event) not in getattr(self._of_thread, "replaced", ()):
            super()._store_asset_event(conn, event, event_id)

    @contextmanager
    def _one_transaction(self, run_id: str) -> Iterator[None]:
        """What this thread stores meanwhile is committed at its end: in the run's file, then in the index."""
        with self._keeping:
            index, run = self._engine(INDEX_SHARD_NAME), self._engine(run_id)
        with self._db_lock, _begun(index) as in_index, _begun(run) as in_run:
            self._of_thread.open = {INDEX_SHARD_NAME: in_index, run_id: in_run}
            try:
                yield
            finally:
                self._of_thread.open, self._of_thread.replaced = {}, frozenset[int]()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        if already_open := getattr(self._of_thread, "open", {}):
            yield already_open[shard]
            return
        with self._keeping:
            engine = self._engine(shard)
        with self._db_lock, _begun(engine) as connection:
            yield connection

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        path = Path(self.path_for_shard(shard))
        if shard in self._kept:
            inode, engine = self._kept[shard]
            if path.exists() and path.stat().st_ino == inode:
                self._kept.move_to_end(shard)
                return engine
            # Wiped, perhaps by another process: what is written to a deleted file is lost.
            self._kept.pop(shard)[1].dispose()
            self._initialized_dbs.discard(shard)
        with super()._connect(shard):
            pass  # the tables are there
        engine = sqlalchemy.create_engine(
            self.conn_string_for_shard(shard), connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS}
        )
        self._kept[shard] = path.stat().st_ino, engine
        while len(self._kept) > MOST_FILES:
            self._kept.popitem(last=False)[1][1].dispose()
        return engine

    def dispose(self) -> None:
        while self._kept:
            self._kept.popitem()[1][1].dispose()
        super().dispose()


def _replaced(events: Sequence[EventLogEntry]) -> frozenset[int]:
    """Identities of the events behind which another of the same kind is about the same asset."""
    last: dict[tuple[Any, Any], EventLogEntry] = {}
    replaced: set[int] = set()
    for event in events:
        asset = event.dagster_event and event.dagster_event.asset_key
        if asset is None:
            continue
        before = last.get((event.dagster_event_type, asset))
        if before is not None:
            replaced.add(id(before))
        last[event.dagster_event_type, asset] = event
    return frozenset(replaced)
