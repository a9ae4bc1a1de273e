"""Runs killed with SIGKILL, one after the other on the same file, and the run that comes after them.

Locks out: a month that is half replaced for whoever reads it; a run that does not start, or fails, until somebody has
cleaned up after the killed one; rows lost or doubled by the second attempt; an export that differs from the one of an
undisturbed run; a database that does not open after a power-off. `make soak` kills far more, each on a fresh copy.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from segmentation_assets.errors import WarehouseError
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.byte_search import hits
from tests.support.crashes import (
    FILE,
    KILLED,
    Damage,
    Portfolio,
    Runs,
    copied,
    damage,
    logs_of,
    must_succeed,
    neither_old_nor_new,
    portfolio,
    power_off,
    started_runs,
    state,
    tables,
    torn_exports,
)

# In the order of a run, so that each run gets further than the one before it.
KILLS: dict[str, dict[str, Any]] = {
    "during the rollup": {
        "at": "statement", "matches": r"create\s+temporary table.*customer_period_spend", "milliseconds": 2,
    },
    "between delete and insert of the published month": {
        "at": "statement", "matches": r'insert into .*"customer_segment_history"',
    },
    "between two published tables": {"at": "statement", "matches": r'drop table .*"customer_segments"'},
    "between drop and insert of a table that is replaced": {
        "at": "statement", "matches": r'insert into .*"customer_segments"',
    },
    "while rows and columns are asked for": {"at": "metadata", "nth": 14},
    "while an export is written": {"at": "touch", "under": "exports", "nth": 48},
}  # fmt: skip
# Of the log that DuckDB has not yet written into its file: what a power-off may have kept.
KEPT = (1.0, 0.9, 0.3)
# A file with one month, and beside it a log with the next: the process ends without closing either.
TWO_MONTHS = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("create table published as select 1 as month, unnest(range(10000)) as customer")
connection.execute("checkpoint")
for month in (2, 3):
    connection.execute(f"insert into published select {month}, customer from published where month = 1")
os._exit(0)
"""

# The same of an erasure.
KILLS_OF_ERASURE: dict[str, dict[str, Any]] = {
    "before the list of the erased": {"at": "session", "matches": "create table if not exists silver.erased"},
    "before somebody is on it": {"at": "session", "matches": "insert into silver.erased_customers"},
    "before a view looks at it": {"at": "statement", "matches": r"create\s+(or replace\s+)?view.*stg_customers"},
    "before the first export is written": {"at": "touch", "under": "exports", "nth": 2},
    "between files of an export": {"at": "touch", "under": "exports", "nth": 40},
    "before a log is replaced": {"at": "touch", "under": "home/.notes.log.", "nth": 2},
    "between two tables": {"at": "session", "matches": "delete from gold.customer_segment_history"},
    "before the log of publications": {"at": "session", "matches": "insert into gold.segment_publications"},
    "before the tables are committed": {"at": "session", "matches": "^commit"},
    "before the file is replaced": {"at": "touch", "under": f".{FILE}.", "nth": 2},
}
SUMS = ("segment_summary", "segment_transitions", "hero_metrics", "campaign_outcome_groups")
OF_THE_SOURCE = {f"gold.{table}" for table in ("dim_customer", "fct_transactions", "marketing_suppressions")}


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with started_runs() as runs:
        yield runs


@pytest.fixture(scope="module")
def found(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Portfolio:
    return portfolio(runs, tmp_path_factory.mktemp("crashes"))


def test_killed_runs_leave_whole_months_and_the_next_run_finishes(runs: Runs, found: Portfolio, tmp_path: Path) -> None:
    folder = copied(found.start, tmp_path / "killed")
    powered_off = 0
    for moment, fault in KILLS.items():
        if "under" in fault:
            fault = {**fault, "under": str(folder / fault["under"])}
        code = runs.run(folder, fault=fault)
        assert code == KILLED, f"the run was not killed {moment}: {(folder / 'run.log').read_text()[-2000:]}"
        for kept in KEPT if logs_of(folder / FILE) else KEPT[:1]:
            left = tables(power_off(folder / FILE, tmp_path / "power-off", kept))
            assert neither_old_nor_new(left, found.old.tables, found.new.tables) == [], f"{moment}, log kept: {kept}"
            powered_off += kept < 1
        assert torn_exports(folder / "exports", found.old, found.new) == [], moment
    assert powered_off, "no kill left a log to tear"
    must_succeed(runs, folder)
    assert damage(state(folder), found.new) == Damage(0, 0, ())


def test_the_comparison_sees_a_lost_row_a_doubled_row_and_half_a_month(found: Portfolio) -> None:
    history = "gold.customer_segment_history"
    row = next(iter(found.new.tables[history]))
    fewer = {**found.new.tables, history: found.new.tables[history].copy()}
    fewer[history][row] -= 1
    more = {**found.new.tables, history: found.new.tables[history].copy()}
    more[history][row] += 1
    of_new = type(found.new)
    assert damage(of_new(fewer, found.new.files), found.new).lost == 1
    assert damage(of_new(more, found.new.files), found.new).doubled == 1
    assert damage(of_new(found.new.tables, {}), found.new).words != ()
    assert neither_old_nor_new(fewer, found.old.tables, found.new.tables) != []
    out_of_step = {**found.old.tables, history: found.new.tables[history]}
    assert neither_old_nor_new(out_of_step, found.old.tables, found.new.tables) != []


def test_a_log_that_is_damaged_and_not_cut_short_is_told_with_what_saves_the_months(tmp_path: Path) -> None:
    """Blocks that the file system promised and never wrote: DuckDB opens the file without its log only."""
    path = tmp_path / FILE
    subprocess.run([sys.executable, "-c", TWO_MONTHS, str(path)], check=True)
    (log,) = logs_of(path)
    with log.open("r+b") as file:
        file.seek(log.stat().st_size // 4)
        file.write(bytes(4096))
    warehouse = DuckDBWarehouse(path=str(path))
    with (
        pytest.raises(WarehouseError, match=r"Move segmentation\.duckdb\.wal away, not the database"),
        warehouse.session(),
    ):
        pass
    log.rename(tmp_path / "damaged.wal")
    with duckdb.connect(str(path)) as connection:
        assert connection.execute("select month, count(*) from published group by all").fetchall() == [(1, 10000)]


def test_an_erasure_killed_at_ten_moments_completes_and_no_total_ever_moves(
    runs: Runs, found: Portfolio, tmp_path: Path
) -> None:
    folder = copied(found.start, tmp_path / "erasing")
    with duckdb.connect(str(folder / FILE)) as connection:
        people = connection.execute(
            "select customer_id, any_value(email), any_value(first_name), any_value(last_name)"
            " from gold.audience_core_retention where treatment_group = 'target'"
            " group by 1 order by count(*) desc, 1 limit 1"
        ).fetchall()
    (folder / "home" / "notes.log").write_text(f"{people[0][1]} of {people[0][0]}\n", encoding="utf-8")
    arguments, before = ["erase", "--customer", people[0][0]], sums(folder)
    for moment, fault in KILLS_OF_ERASURE.items():
        if "under" in fault:
            fault = {**fault, "under": str(folder / fault["under"])}
        code = runs.run(folder, fault=fault, arguments=arguments)
        assert code == KILLED, f"not killed {moment}: {(folder / 'run.log').read_text()[-2000:]}"
        assert sums(folder) == before, moment
        whole_exports(folder / "exports")
    assert runs.run(folder, arguments=arguments) == 0, (folder / "run.log").read_text()[-2000:]
    assert sums(folder) == before
    assert whole_exports(folder / "exports") > 10
    left = {hit.rpartition(": ")[2].rpartition(".")[0] for hit in hits(people, folder / FILE) if ": " in hit}
    assert left <= OF_THE_SOURCE
    assert hits(people, folder / "exports", folder / "home") == []
    assert not list(folder.glob(".*.partial"))


def sums(folder: Path) -> dict[str, list[tuple[Any, ...]]]:
    stamps = ("content_hash", "previous_content_hash", "base_content_hash")
    with duckdb.connect(str(folder / FILE)) as connection:
        return {
            table: connection.execute(
                f"select columns(lambda c: c not in {stamps}) from gold.{table} order by all"
            ).fetchall()
            for table in SUMS
        }


def whole_exports(folder: Path) -> int:
    """Every file that a manifest names is what it says; how many there are."""
    store, files = ExportStore(str(folder)), 0
    for campaign in store.campaigns():
        for month in store.exported_months(campaign):
            manifest = store.manifest(campaign, month)
            assert manifest is not None
            files += len([store.file(campaign, month, manifest, name) for name in manifest["files"]])
    return files
