"""Drift against the mean of up to six earlier published months, beside a second computation in Python.

Locks out: a month that drifts away from itself, an empty segment that divides by zero and so never warns, a month that
was refused and yet sets the standard for the next, and a baseline of the wrong months.
"""

import math
from collections.abc import Mapping
from datetime import date

import pytest

from segmentation_assets.months import month_after
from tests.support.known_mix import SEGMENTS
from tests.support.published_months import NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER
from tests.support.warehouse_fixture import Pipeline

Shares = Mapping[str, float]
MIXES = (
    (12, 8, 12, 23, 45), (30, 5, 5, 20, 40), (10, 10, 10, 10, 60), (12, 8, 12, 23, 45),
    (25, 0, 15, 20, 40), (5, 5, 5, 5, 80), (20, 20, 20, 20, 20), (40, 10, 10, 10, 30),
)  # fmt: skip


def shares(pipeline: Pipeline, table: str) -> dict[date, dict[str, float]]:
    counts: dict[date, dict[str, float]] = {}
    for month, segment, customers in pipeline.rows(
        f"select snapshot_month, customer_segment, count(*) from {table} group by all"
    ):
        counts.setdefault(month, dict.fromkeys(SEGMENTS, 0.0))[segment] = customers
    return {
        month: {name: 100 * n / sum(found.values()) for name, n in found.items()} for month, found in counts.items()
    }


def expected(month: date, mixes: Mapping[date, Shares], looking_back: int = 6) -> tuple[float, float]:
    """PSI (an empty bin counts as 0.01 %) and the largest change in points against the newest months before."""
    base_months = sorted(other for other in mixes if other < month)[-looking_back:]
    base = {name: sum(mixes[other][name] for other in base_months) / len(base_months) for name in SEGMENTS}
    pairs = [(max(mixes[month][name], 0.01) / 100, max(base[name], 0.01) / 100) for name in SEGMENTS]
    return (
        sum((now - then) * math.log(now / then) for now, then in pairs),
        max(abs(mixes[month][name] - base[name]) for name in SEGMENTS),
    )


def measured(pipeline: Pipeline, first: date, last: date | None = None) -> dict[date, tuple[float, float]]:
    succeeded, said = pipeline.dbt(first, last, select="segment_audits", arguments=NO_TESTS)
    assert succeeded, said
    rows = pipeline.rows(
        "select snapshot_month, max(measured) filter (audit = 'segment_mix_is_stable'),"
        " max(measured) filter (audit = 'no_segment_moved_far') from silver.segment_audits group by 1 order by 1"
    )
    return {month: (psi, points) for month, psi, points in rows}


def publish_mix(pipeline: Pipeline, month: date, mix: tuple[int, ...]) -> None:
    """A published month of 100 customers, of whom the audits see nothing but the segment."""
    pipeline.execute(f"delete from gold.customer_segment_history where snapshot_month = '{month}'")
    for segment, customers in zip(SEGMENTS, mix, strict=True):
        pipeline.execute(
            "insert into gold.customer_segment_history by name select"
            f" date '{month}' as snapshot_month, '{segment}' || i as customer_id, 0 as customer_key,"
            f" '{segment}' as customer_segment, date '{month_after(month)}' as segment_assigned_date,"
            " 0 as total_transactions, 0 as lifetime_value, 0 as spend_last_90_days, 0 as spend_prior_90_days,"
            f" 0 as avg_monthly_spend, false as is_active from range({customers}) as numbers (i)"
        )


def test_the_first_month_has_nothing_to_drift_from_and_the_next_look_back(published: Pipeline) -> None:
    """September to November were audited in one run, in which each month's predecessors were not published yet."""
    mixes = shares(published, "gold.customer_segment_history")
    found = measured(published, SEPTEMBER, NOVEMBER)
    assert found[SEPTEMBER] == (None, None)
    assert found[OCTOBER] == pytest.approx(expected(OCTOBER, mixes), abs=1e-9)
    assert found[NOVEMBER] == pytest.approx(expected(NOVEMBER, mixes), abs=1e-9)
    assert found[NOVEMBER][0] > 0
    passed = published.rows(
        "select audit, passed from silver.segment_audits"
        " where snapshot_month = '2025-09-01' and measured is null order by 1"
    )
    assert passed == [("no_segment_moved_far", True), ("segment_mix_is_stable", True)]


def test_the_baseline_is_the_mean_of_the_six_newest_published_months(published: Pipeline) -> None:
    """Eleven months are published; one of the six that count has an empty segment, and May never was published."""
    months = [date(2024, 12, 1), *(date(2025, number, 1) for number in (1, 2, 3, 4, 6, 7, 8))]
    for month, mix in zip(months, MIXES, strict=True):
        publish_mix(published, month, mix)
    mixes = shares(published, "gold.customer_segment_history")
    assert len(mixes) == 11
    assert measured(published, NOVEMBER)[NOVEMBER] == pytest.approx(expected(NOVEMBER, mixes), abs=1e-9)
    for others in (5, 7):
        assert expected(NOVEMBER, mixes, others) != pytest.approx(expected(NOVEMBER, mixes), abs=1e-6), others


def test_an_identical_month_does_not_drift_and_an_empty_segment_divides_nothing(published: Pipeline) -> None:
    published.execute("delete from gold.customer_segment_history where snapshot_month < '2025-10-01'")
    published.execute("delete from gold.customer_segment_history where snapshot_month = '2025-10-01'")
    published.execute(
        "insert into gold.customer_segment_history select * replace (date '2025-10-01' as snapshot_month)"
        " from gold.customer_segment_history where snapshot_month = '2025-11-01'"
    )
    assert measured(published, NOVEMBER)[NOVEMBER] == (0.0, 0.0)

    # Nobody declined in the month before: its bin is empty.
    publish_mix(published, OCTOBER, (20, 0, 20, 20, 40))
    mixes = shares(published, "gold.customer_segment_history")
    found = measured(published, NOVEMBER)[NOVEMBER]
    assert math.isfinite(found[0])
    assert found == pytest.approx(expected(NOVEMBER, mixes), abs=1e-9)

    # Nobody declines now either: two empty bins are alike.
    published.execute(
        "update silver.segment_assignments set customer_segment = 'Stable Mid-Spenders'"
        " where snapshot_month = '2025-11-01' and customer_segment = 'Declining'"
    )
    mixes[NOVEMBER] = shares(published, "silver.segment_assignments")[NOVEMBER]
    assert mixes[NOVEMBER]["Declining"] == 0
    assert measured(published, NOVEMBER)[NOVEMBER] == pytest.approx(expected(NOVEMBER, mixes), abs=1e-9)


def test_a_month_that_failed_never_enters_the_baseline(published: Pipeline) -> None:
    """October collapses. Its last published version counts in its place; without one, October counts for nothing."""
    published.execute(
        "update silver.segment_assignments set customer_segment = 'Declining'"
        " where snapshot_month = '2025-10-01' and customer_segment = 'Stable Mid-Spenders'"
    )
    mixes = shares(published, "gold.customer_segment_history")
    candidate = {**mixes, OCTOBER: shares(published, "silver.segment_assignments")[OCTOBER]}
    found = measured(published, OCTOBER, NOVEMBER)
    assert found[NOVEMBER] == pytest.approx(expected(NOVEMBER, mixes), abs=1e-9)
    assert found[NOVEMBER] != pytest.approx(expected(NOVEMBER, candidate), abs=1e-6)
    assert found[OCTOBER] == pytest.approx(expected(OCTOBER, candidate), abs=1e-9)

    published.execute("delete from gold.customer_segment_history where snapshot_month = '2025-10-01'")
    del mixes[OCTOBER]
    assert measured(published, OCTOBER, NOVEMBER)[NOVEMBER] == pytest.approx(expected(NOVEMBER, mixes), abs=1e-9)
