"""What is left open after a run: nothing of the DuckDB file, and nothing of Dagster's SQLite files.

Locks out: a connection that lives until the garbage collector comes. Until then the newest tables stand in the
write-ahead log only and a copy of the file lacks them, nobody opens the file under another configuration, and SQLite
complains of a connection that another thread closes.
"""

import gc
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
import pytest

import segmentation_assets
from segmentation_assets.cli.home import dagster_home, dagster_instance
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import close_connections
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.what_if import compute as what_if
from tests.support.published_months import CANDIDATE_ASSETS, NO_TESTS, NOVEMBER, PUBLISHED_ASSETS
from tests.support.warehouse_fixture import Pipeline


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def open_files(folder: Path) -> list[str]:
    """Below the folder, as the operating system sees it; a lock is no connection."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            path = str(descriptor.readlink())
            if path.startswith(str(folder)) and not path.endswith((".lock", ".out", ".err")):
                found.append(path)
    return sorted(found)


def open_connections() -> set[int]:
    """Of DuckDB and SQLite, in all threads of this process."""
    found = set()
    for one in gc.get_objects():
        if isinstance(one, duckdb.DuckDBPyConnection):
            with suppress(duckdb.ConnectionException):
                one.cursor().close()
                found.add(id(one))
        elif isinstance(one, sqlite3.Connection):
            with suppress(sqlite3.ProgrammingError):
                one.interrupt()  # asks nothing of the file, may be called from any thread, and fails where it is closed
                found.add(id(one))
    return found


@pytest.fixture
def quiet(published: Pipeline, tmp_path: Path) -> Iterator[Pipeline]:
    """Nothing that other tests left is counted, and nothing is collected meanwhile. In a Dagster home of our settings:
    with its own, Dagster keeps a telemetry log open."""
    home = Path(os.environ["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(segmentation_assets.__file__).parent / "dagster_home" / "dagster.yaml", home)
    with without_collector():
        before = open_connections()
        yield published
        assert open_connections() - before == set()
        assert open_files(tmp_path) == []
        assert not published.path.with_name(f"{published.path.name}.wal").exists(), "the file lacks what is in its log"


def test_a_run_leaves_nothing_open(quiet: Pipeline) -> None:
    with dagster_instance(dagster_home()) as quiet.instance:
        assert quiet.run(NOVEMBER, select=CANDIDATE_ASSETS + PUBLISHED_ASSETS).success


def test_a_run_that_fails_leaves_nothing_open(quiet: Pipeline) -> None:
    quiet.execute("delete from gold.fct_transactions where transaction_date >= '2025-11-29'")
    with dagster_instance(dagster_home()) as quiet.instance:
        assert not quiet.run(NOVEMBER, select=CANDIDATE_ASSETS + PUBLISHED_ASSETS).success


def test_a_what_if_leaves_nothing_open(quiet: Pipeline) -> None:
    warehouse = DuckDBWarehouse(path=str(quiet.path))
    assert what_if.compute(
        Project.load(), warehouse, "Declining.spend_change_pct=-25", "", str(NOVEMBER), str(NOVEMBER)
    )


def test_plain_dbt_leaves_nothing_open(quiet: Pipeline) -> None:
    assert quiet.dbt(NOVEMBER, select="segment_summary", arguments=NO_TESTS)[0]


def test_what_a_thread_of_dbt_still_holds_is_closed_with_the_build(quiet: Pipeline) -> None:
    """As after a thread that was interrupted, or whose closing failed: dbt's own clearing up knows it no more."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from dbt.adapters.duckdb.environments.local import LocalEnvironment

    with Project.load().environment():
        DuckDBConnectionManager._ENV = LocalEnvironment(
            DuckDBCredentials(path=str(quiet.path), database="segmentation", schema="gold")
        )
        held = []
        thread = threading.Thread(target=lambda: held.append(DuckDBConnectionManager.env().handle()))
        thread.start()
        thread.join()
        held[0].cursor().execute("create table gold.left_in_the_log as select 1 as n")
        assert open_files(quiet.path.parent)
        close_connections()
    assert open_files(quiet.path.parent) == []
    assert quiet.rows("select n from gold.left_in_the_log") == [(1,)]
