"""Dagster's event log in SQLite, without a checkpoint after every event.

Dagster opens and closes a connection for each event it stores. When the last connection to a file is closed, SQLite
copies its write-ahead log into the file, flushes both to the disk and deletes the log: more than half of what storing
an event costs, and most of the time of a run over many months. One idle connection per file leaves that to SQLite's
own rhythm (every 1,000 pages). What is stored, and when it is safe on the disk, is as before.

Named in dagster.yaml; it reaches into one private method, so the version is pinned. Postgres needs none of this.
"""

import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData

# The index and the runs under way; the webserver reads a file per run.
MOST_FILES = 8


class KeptOpenSqliteEventLogStorage(SqliteEventLogStorage):
    """SqliteEventLogStorage at its usual place in DAGSTER_HOME, its newest files kept open."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._idle: OrderedDict[str, sqlite3.Connection] = OrderedDict()
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

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Any]:
        with super()._connect(shard) as connection:  # also the lock that keeps threads apart
            self._keep_open(shard)
            yield connection

    def _keep_open(self, shard: str) -> None:
        if shard in self._idle:
            self._idle.move_to_end(shard)
            return
        idle = sqlite3.connect(self.path_for_shard(shard), check_same_thread=False, timeout=60)
        idle.execute(
            "select 1 from sqlite_master limit 1"
        ).fetchone()  # a connection opens the file with its first read
        self._idle[shard] = idle
        while len(self._idle) > MOST_FILES:
            self._idle.popitem(last=False)[1].close()

    def dispose(self) -> None:
        while self._idle:
            self._idle.popitem()[1].close()
        super().dispose()
