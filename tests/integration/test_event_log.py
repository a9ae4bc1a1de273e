"""Dagster's event log with its files kept open stores what Dagster's own does, readable by it at any moment.

Locks out: events lost with a killed process, a reader that waits for the writer, files that stay open for ever.
"""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

import segmentation_assets
from segmentation_assets.event_log import MOST_FILES, KeptOpenSqliteEventLogStorage

# Materialises ten months, says so, and is killed before it can close anything.
KILLED = """
import os, signal
import dagster as dg

@dg.asset(partitions_def=dg.StaticPartitionsDefinition([str(n) for n in range(10)]))
def months(context) -> None:
    for n in range(10):
        context.log_event(dg.AssetMaterialization("months", partition=str(n)))
    os.kill(os.getpid(), signal.SIGKILL)

with dg.DagsterInstance.get() as instance:
    dg.materialize([months], instance=instance, partition_key="0")
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(Path(segmentation_assets.__file__).with_name("dagster.yaml"), tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    return tmp_path


def test_the_shipped_settings_use_it_where_dagster_would_keep_its_log(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, KeptOpenSqliteEventLogStorage)
        assert instance.event_log_storage.path_for_shard("index") == str(home / "history" / "runs" / "index.db")
    (home / "dagster.yaml").unlink()
    with dg.DagsterInstance.get() as stock:
        assert type(stock.event_log_storage) is SqliteEventLogStorage
        assert stock.event_log_storage.path_for_shard("index") == str(home / "history" / "runs" / "index.db")


def test_nothing_is_lost_with_a_killed_process(home: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, done.stderr
    (home / "dagster.yaml").unlink()  # read with Dagster's own storage
    with dg.DagsterInstance.get() as stock:
        records = stock.fetch_materializations(dg.AssetKey("months"), limit=100).records
        assert {record.partition_key for record in records} == {str(number) for number in range(10)}


def test_dagsters_own_storage_reads_along(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        reader = SqliteEventLogStorage(str(home / "history" / "runs"))
        reader.register_instance(instance)
        for number in range(20):
            instance.report_runless_asset_event(dg.AssetMaterialization("seen", partition=str(number)))
            assert len(reader.get_materialized_partitions(dg.AssetKey("seen"))) == number + 1


def test_only_the_newest_files_stay_open(home: Path) -> None:
    storage = KeptOpenSqliteEventLogStorage(str(home / "history" / "runs"))
    for number in range(3 * MOST_FILES):
        with storage.run_connection(f"run-{number}"):
            pass
    opened = {Path(link.readlink()).name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()}
    runs = {name for name in opened if name.startswith("run-") and name.endswith(".db")}
    assert runs == {f"run-{number}.db" for number in range(2 * MOST_FILES, 3 * MOST_FILES)}
    storage.dispose()


def test_a_log_that_another_process_wiped_is_made_anew(home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        instance.report_runless_asset_event(dg.AssetMaterialization("seen"))
        for path in (home / "history" / "runs").glob("index.db*"):
            path.unlink()
        instance.report_runless_asset_event(dg.AssetMaterialization("seen", partition="after"))
        assert storage.get_materialized_partitions(dg.AssetKey("seen")) == {"after"}
        stock = SqliteEventLogStorage(str(home / "history" / "runs"))
        stock.register_instance(instance)
        assert stock.get_materialized_partitions(dg.AssetKey("seen")) == {"after"}


@pytest.mark.usefixtures("home")
def test_threads_store_side_by_side() -> None:
    with dg.DagsterInstance.get() as instance, ThreadPoolExecutor(8) as threads:
        made = [f"{thread}-{number}" for thread in range(8) for number in range(5)]
        for done in [
            threads.submit(instance.report_runless_asset_event, dg.AssetMaterialization("seen", partition=one))
            for one in made
        ]:
            done.result()
        assert instance.event_log_storage.get_materialized_partitions(dg.AssetKey("seen")) == set(made)
