"""Dagster's event log with its files kept open stores what Dagster's own does, readable by it at any moment.

Locks out: events lost with a killed process, half a batch, a reader that waits for the writer, files that stay open for
ever.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._check import CheckError
from dagster._core.events import StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite import SqliteEventLogStorage

import segmentation_assets
from segmentation_assets.dagster_home.event_log import MOST_FILES, KeptOpenSqliteEventLogStorage

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
    shutil.copy(Path(segmentation_assets.__file__).parent / "dagster_home" / "dagster.yaml", tmp_path / "dagster.yaml")
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


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(list("abc")), backfill_policy=dg.BackfillPolicy.single_run())
def letters() -> None: ...


@dg.asset_check(asset=letters)
def letters_are_read() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True, metadata={"letters": 3})


def stored(home: Path) -> list[list[tuple[Any, ...]]]:
    """What lies in the run's file and in the index, without ids and times."""
    events = "select dagster_event_type, step_key, asset_key, partition from event_logs"
    checks = "select asset_key, check_name, partition, execution_status from asset_check_executions"
    last = "$.event_log_entry.dagster_event.event_specific_data.materialization.partition"
    assets = f"select asset_key, json_extract(last_materialization, '{last}'), last_run_id is not null from asset_keys"
    index = home / "history" / "runs" / "index.db"
    (run,) = set(index.parent.glob("*.db")) - {index}
    found = []
    for path, query in ((run, events), (index, events), (index, checks), (index, assets)):
        with closing(sqlite3.connect(path)) as connection:
            found.append(connection.execute(query).fetchall())
    return found


def test_a_run_of_several_months_stores_what_dagsters_own_log_stores(home: Path) -> None:
    def run() -> list[list[tuple[Any, ...]]]:
        job = dg.define_asset_job("job", selection=dg.AssetSelection.all(), executor_def=dg.in_process_executor)
        definitions = dg.Definitions(assets=[letters], asset_checks=[letters_are_read], jobs=[job])
        tags = {"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "c"}
        with dg.DagsterInstance.get() as instance:
            assert definitions.resolve_job_def("job").execute_in_process(instance=instance, tags=tags).success
        return stored(home)

    ours = run()
    assert sorted(row[3] for row in ours[1] if row[0] == "ASSET_MATERIALIZATION") == ["a", "b", "c"]
    assert {row[1] for row in ours[2]} == {"letters_are_read"}
    last = [row[3] for row in ours[1] if row[0] == "ASSET_MATERIALIZATION"][-1]
    assert [row[1] for row in ours[3]] == [last]
    shutil.rmtree(home / "history")
    (home / "dagster.yaml").unlink()
    assert run() == ours


@pytest.mark.usefixtures("home")
def test_a_batch_is_stored_whole_or_not_at_all() -> None:
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        seen = dg.AssetKey("seen")

        def event(partition: str, run_id: str = "a-run") -> EventLogEntry:
            return EventLogEntry(
                error_info=None, level="info", user_message="", run_id=run_id, timestamp=1.0, job_name="job",
                dagster_event=dg.DagsterEvent(
                    event_type_value="ASSET_MATERIALIZATION", job_name="job",
                    event_specific_data=StepMaterializationData(dg.AssetMaterialization(seen, partition=partition)),
                ),
            )  # fmt: skip

        with pytest.raises(CheckError):
            storage.store_event_batch([event("a"), event("b"), SimpleNamespace(run_id="a-run", dagster_event=None)])  # pyright: ignore
        assert storage.get_materialized_partitions(seen) == set()
        assert len(storage.get_logs_for_run("a-run")) == 0
        storage.store_event_batch([event("a"), event("b"), event("c", "another-run")])
        assert storage.get_materialized_partitions(seen) == {"a", "b", "c"}
        assert [len(storage.get_logs_for_run(run_id)) for run_id in ("a-run", "another-run")] == [2, 1]
