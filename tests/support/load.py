"""Many backfills at once and the month that is due, asked of a real Dagster daemon with the settings of `make`.

Every backfill computes the same two published months again; meanwhile the daemon finds by itself that the month after
them is due, and runs it. All of them want the one DuckDB file.
"""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import duckdb
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES, PartitionBackfill

import segmentation_assets
from segmentation_assets.cli.home import dagster_home, dagster_instance
from segmentation_assets.definitions import build_defs
from segmentation_assets.months import as_of_date, last_closed_month, month_after
from segmentation_assets.sources import synthetic
from tests.support.command_line import settings
from tests.support.crashes import CUSTOMERS, FILE, Damage, Runs, copied, damage, must_succeed, state

COMPUTED = ("metrics", "segments_candidate", "segments_published")
PUBLISHED = COMPUTED[-1:]  # these alone are replaced too, in half the time
SECONDS_A_RUN = 240


@dataclass(frozen=True)
class Load:
    """What came of it. `overlapping` counts runs that began before the one before them had ended."""

    statuses: Counter[str]
    months: Counter[str]  # of the runs: how often each range was run
    overlapping: int
    versions: list[tuple[date, int]]
    damage: Damage


def at_once(runs: Runs, folder: Path, backfills: int, groups: Sequence[str] = COMPUTED) -> Load:
    """`backfills` backfills and the month that is due, in a daemon of their own; compared with one undisturbed run.

    `groups` are the tables that each backfill computes.
    """
    due = last_closed_month()
    first, last = month_after(due, -2), month_after(due, -1)
    start = folder / "start"
    start.mkdir(parents=True)
    with duckdb.connect(str(start / FILE)) as connection:
        synthetic.build(
            connection,
            "gold",
            customers=CUSTOMERS,
            first_month=month_after(due, -10),
            last_month=due,
            sized_at=due,
        )
        connection.execute("delete from gold.fct_transactions where transaction_date >= ?", [as_of_date(due)])
    must_succeed(runs, start, first, last=str(last))
    undisturbed = copied(start, folder / "undisturbed")
    must_succeed(runs, undisturbed, due, last=str(due))
    loaded = copied(start, folder / "loaded")
    shutil.rmtree(loaded / "home")
    with daemon(loaded) as instance:
        for _ in range(backfills):
            instance.add_backfill(backfill(instance, [str(first), str(last)], groups))
        wait(instance, backfills, str(due), time.monotonic() + SECONDS_A_RUN * (backfills + 1))
        records = sorted(instance.get_run_records(), key=lambda record: record.start_time or 0)
        months = Counter(months_of(record.dagster_run) for record in records)
        statuses = Counter(
            [record.dagster_run.status.value for record in records]
            + [found.status.value for found in instance.get_backfills()]
        )
        overlapping = sum(
            (later.start_time or 0) < (earlier.end_time or 0) for earlier, later in itertools.pairwise(records)
        )
    with duckdb.connect(str(loaded / FILE), read_only=True) as connection:
        versions = connection.execute("select snapshot_month, version from gold.segment_publications order by all")
        found = [(month, int(version)) for month, version in versions.fetchall()]
    return Load(statuses, months, overlapping, found, damage(state(loaded), state(undisturbed)))


def months_of(run: dg.DagsterRun) -> str:
    tags = run.tags
    if "dagster/partition" in tags:
        return tags["dagster/partition"]
    return f"{tags['dagster/asset_partition_range_start']} to {tags['dagster/asset_partition_range_end']}"


def backfill(instance: dg.DagsterInstance, months: Sequence[str], groups: Sequence[str]) -> PartitionBackfill:
    """As the UI asks for one: of the tables of some groups, for these months."""
    graph = build_defs().get_repository_def().asset_graph
    return PartitionBackfill.from_asset_partitions(
        backfill_id=uuid.uuid4().hex[:8],
        asset_graph=graph,
        partition_names=months,
        asset_selection=sorted(dg.AssetSelection.groups(*groups).resolve(graph)),
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )


def environment(folder: Path) -> dict[str, str]:
    return {
        "SEGMENTATION_SOURCE": "warehouse",
        "SEGMENTATION_DUCKDB_PATH": str(folder / FILE),
        "SEGMENTATION_EXPORT_URI": str(folder / "exports"),
        "DAGSTER_HOME": str(folder / "home"),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "SEGMENTATION_AUTOSTART": "1",
    }


@contextmanager
def daemon(folder: Path) -> Iterator[dg.DagsterInstance]:
    """A Dagster daemon with a new home in the folder, and its instance; ended with all that it started."""
    own = environment(folder)
    with mock.patch.dict(os.environ, own):
        home = dagster_home()
        # As in a deployment of ours: one run at a time.
        shutil.copy(Path(segmentation_assets.__file__).parent / "dagster_home" / "dagster.yaml", home)
        with dagster_instance(home) as instance, (folder / "daemon.log").open("w") as log:
            dagster_daemon = ["-W", "ignore", "-m", "dagster._daemon", "run", "-m", "segmentation_assets.definitions"]
            process: subprocess.Popen[Any] = subprocess.Popen(
                [sys.executable, *dagster_daemon],
                cwd=folder,
                env=settings(**own),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            try:
                yield instance
            finally:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait(30)


def wait(instance: dg.DagsterInstance, backfills: int, due: str, until: float) -> None:
    """Until every backfill, its run, and the run of the month that is due have ended."""
    while True:
        ended = [found for found in instance.get_backfills() if found.status in BULK_ACTION_TERMINAL_STATUSES]
        runs = instance.get_runs()
        finished = [run for run in runs if run.is_finished]
        if len(ended) == backfills and len(finished) == len(runs) and due in {months_of(run) for run in runs}:
            return
        if time.monotonic() > until:
            told = Counter(f"{months_of(run)} {run.status.value}" for run in runs)
            raise AssertionError(f"Not done in time: {len(ended)} backfills of {backfills} ended; runs: {dict(told)}")
        time.sleep(1)
