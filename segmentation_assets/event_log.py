"""Dagster's event log in SQLite, without an engine and a checkpoint for every event.

For each event it stores, Dagster makes a SQLAlchemy engine, compiles its statements, and closes the connection. When
the last connection to a file is closed, SQLite copies its write-ahead log into the file, flushes both to the disk and
deletes the log. Together that is most of what storing an event costs, and much of the time of a run. One engine per
file, with its connection kept, leaves the checkpoint to SQLite's own rhythm (every 1,000 pages) and compiles a
statement once. What is stored, and when it is safe on the disk, is as before.

Named in dagster.yaml; it reaches into private members, so the version is pinned. Postgres needs none of this.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

# The index and the runs under way; the webserver reads a file per run.
MOST_FILES = 8


class KeptOpenSqliteEventLogStorage(SqliteEventLogStorage):
    """SqliteEventLogStorage at its usual place in DAGSTER_HOME, its newest files kept open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._kept: OrderedDict[str, tuple[int, sqlalchemy.Engine]] = OrderedDict()
        self._keeping = threading.Lock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> Mapping[str, Any]:
        return {}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "KeptOpenSqliteEventLogStorage":
        del config_value
        home = os.environ.get("DAGSTER_HOME")
        if not home:
            raise dg.DagsterInvariantViolationError(
                "DAGSTER_HOME is not set: it names the folder of the dagster.yaml that this instance was read from, and"
                " its event log lies in it."
            )
        return cls(str(Path(home, "history", "runs")), inst_data)

    @cached_property
    def supports_asset_checks(self) -> bool:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Asked before every check result is stored; the answer changes only with `dagster instance migrate`."""
        return super().supports_asset_checks

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        with self._keeping:
            engine = self._engine(shard)
        with self._db_lock, engine.connect() as connection, connection.begin():
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
