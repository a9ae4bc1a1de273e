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
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
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
