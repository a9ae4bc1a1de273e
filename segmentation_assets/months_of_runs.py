"""Which months a run was asked for, and which runs a month has had. Nothing is started here."""

from collections.abc import Mapping
from datetime import date

import dagster as dg

from segmentation_assets.partitions import MonthError, months_between, parse_month

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# The earliest month that a run rolls up anew, where that is before the first one it was asked for.
ROLLUP_FROM = "segmentation/rollup_from"
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
# A service makes about one run a month: years of them, and a limit for one that makes more.
RUNS_LOOKED_AT = 500


def months_of_run(run: dg.DagsterRun) -> list[str]:
    """In order; none for a run without months."""
    first = run.tags.get(RANGE_START) or run.tags.get(PARTITION)
    last = run.tags.get(RANGE_END) or first
    if not first or not last:
        return []
    try:
        return [str(month) for month in months_between(parse_month(first), parse_month(last))]
    except MonthError:
        return [first]


def tags_of_months(first: date, last: date, rollup_from: date | None = None) -> dict[str, str]:
    """The tags that make a run one of these months; a single month also wants its partition key."""
    months = {RANGE_START: str(first), RANGE_END: str(last)} if first < last else {}
    return {**months, **({ROLLUP_FROM: str(rollup_from)} if rollup_from and rollup_from < first else {})}


def rollup_vars(tags: Mapping[str, str]) -> dict[str, str]:
    return {"rollup_from": tags[ROLLUP_FROM]} if ROLLUP_FROM in tags else {}


def runs_by_month(instance: dg.DagsterInstance) -> dict[str, list[dg.RunRecord]]:
    """The newest RUNS_LOOKED_AT runs, newest first, by each month they were asked for."""
    found: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(limit=RUNS_LOOKED_AT):
        for month in months_of_run(record.dagster_run):
            found.setdefault(month, []).append(record)
    return found
