"""Ranges of months: which months they are, how a run and a step are told them, and what a person reads.

Locks out: a range that misses an end or a year's turn, a step that computes other months than the run was asked for,
and a run of months whose tags say so to nobody.
"""

from datetime import date

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test

from segmentation_assets.months import MonthError, MonthRange, rollup_vars

OCTOBER, NOVEMBER, FEBRUARY = date(2025, 10, 1), date(2025, 11, 1), date(2026, 2, 1)
PARTITIONS = dg.MonthlyPartitionsDefinition(start_date="2025-01-01", end_date="2026-06-01")


def test_a_range_holds_both_its_ends_and_all_between() -> None:
    months = MonthRange(NOVEMBER, FEBRUARY)
    assert list(months) == [NOVEMBER, date(2025, 12, 1), date(2026, 1, 1), FEBRUARY]
    assert all(month in months for month in months)
    for other in (OCTOBER, date(2026, 3, 1), date(2025, 11, 2), "2025-11-01"):
        assert other not in months
    assert list(MonthRange.single(NOVEMBER)) == [NOVEMBER]
    assert months.as_of == date(2026, 3, 1)


def test_a_range_is_never_empty() -> None:
    with pytest.raises(MonthError, match=r"The last month 2025-10-01 lies before the first, 2025-11-01\."):
        MonthRange(NOVEMBER, OCTOBER)


def test_around_is_from_the_earliest_to_the_latest() -> None:
    assert MonthRange.around([FEBRUARY, NOVEMBER, NOVEMBER]) == MonthRange(NOVEMBER, FEBRUARY)
    assert MonthRange.around(iter([NOVEMBER])) == MonthRange.single(NOVEMBER)
    assert MonthRange.around([]) is None


def test_a_person_and_dbt_read_its_ends() -> None:
    months, month = MonthRange(NOVEMBER, FEBRUARY), MonthRange.single(NOVEMBER)
    assert (months.label, month.label) == ("2025-11-01 to 2026-02-01", "2025-11-01")
    assert f"of {months}" == "of 2025-11-01 to 2026-02-01"
    assert months.dbt_vars() == {"first_month": "2025-11-01", "last_month": "2026-02-01"}


@pytest.mark.parametrize("months", [MonthRange.single(NOVEMBER), MonthRange(OCTOBER, FEBRUARY)], ids=str)
def test_a_run_of_a_range_is_told_its_months_and_so_are_its_steps(months: MonthRange) -> None:
    seen: list[MonthRange] = []

    @dg.asset(partitions_def=PARTITIONS, backfill_policy=dg.BackfillPolicy.single_run())
    def asset(context: dg.AssetExecutionContext) -> None:
        seen.append(MonthRange.from_context(context))
        seen.append(MonthRange.from_context(context.op_execution_context))

    @dg.asset_check(asset=asset, partitions_def=PARTITIONS)
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        seen.append(MonthRange.from_context(context))
        return dg.AssetCheckResult(passed=True)

    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(
            [asset], asset_checks=[check], jobs=[dg.define_asset_job("job", partitions_def=PARTITIONS)]
        ).resolve_job_def("job")
        result = job.execute_in_process(
            instance=instance, partition_key=months.partition_key, tags=months.run_tags(), raise_on_error=True
        )
        assert seen == [months] * 3
        assert MonthRange.from_run(result.dagster_run) == months
        materialized = [event.partition for event in result.get_asset_materialization_events()]
    assert sorted(map(str, materialized)) == [str(month) for month in months]


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"dagster/partition": "north"},
        {"dagster/asset_partition_range_start": "2025-11-01", "dagster/asset_partition_range_end": "2025-10-01"},
    ],
)
def test_a_run_that_is_not_of_months_has_none(tags: dict[str, str]) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert MonthRange.from_run(create_run_for_test(instance, tags=tags)) is None


def test_an_earlier_month_to_roll_up_from_reaches_dbt_and_a_later_one_does_not() -> None:
    with dg.DagsterInstance.ephemeral() as instance:

        def told(rollup_from: date | None) -> dict[str, str]:
            tags = MonthRange(NOVEMBER, FEBRUARY).run_tags(rollup_from)
            return rollup_vars(create_run_for_test(instance, tags=tags))

        assert told(OCTOBER) == {"rollup_from": "2025-10-01"}
        assert told(NOVEMBER) == told(FEBRUARY) == told(None) == {}
