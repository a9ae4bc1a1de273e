"""Several backfills and the month that is due, asked for at once of a real Dagster daemon.

Locks out: two runs on the DuckDB file at once; a run that fails because another has the file; a month lost or doubled,
or logged as published once per run. `make soak` asks for twenty, of everything that is computed.
"""

from collections import Counter
from pathlib import Path

from segmentation_assets.months import last_closed_month, month_after
from tests.support.crashes import Damage, started_runs
from tests.support.load import PUBLISHED, at_once

BACKFILLS = 2


def test_backfills_and_the_month_that_is_due_at_once(tmp_path: Path) -> None:
    with started_runs() as runs:
        load = at_once(runs, tmp_path, BACKFILLS, PUBLISHED)
    due = last_closed_month()
    published = [month_after(due, -2), month_after(due, -1), due]
    assert load.months == Counter({f"{published[0]} to {published[1]}": BACKFILLS, str(due): 1})
    assert load.statuses == Counter({"SUCCESS": BACKFILLS + 1, "COMPLETED_SUCCESS": BACKFILLS})
    assert load.overlapping == 0, "DuckDB has one writer: the queue lets one run go at a time"
    assert load.versions == [(month, 1) for month in published]
    assert load.damage == Damage(0, 0, ())
