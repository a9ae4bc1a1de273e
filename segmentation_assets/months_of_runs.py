"""Which months a run was asked for, and which runs a month has had. Nothing is started here."""

import dagster as dg

from segmentation_assets.partitions import MonthError, months_between, parse_month

PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
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


def runs_by_month(instance: dg.DagsterInstance) -> dict[str, list[dg.RunRecord]]:
    """The newest RUNS_LOOKED_AT runs, newest first, by each month they were asked for."""
    found: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(limit=RUNS_LOOKED_AT):
        for month in months_of_run(record.dagster_run):
            found.setdefault(month, []).append(record)
    return found
