"""A month is complete when its days are, not when its last one is; what is usual follows from the weeks before.

Locks out: days that were never loaded in the middle of a month, a month that counts as arrived because of one
post-dated fact, a small portfolio that is blocked for its natural gaps, a wait that judges otherwise than the audit.
"""

from datetime import date

import pytest

from segmentation_assets.dbt.project import Project
from segmentation_assets.publication import readiness
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import NO_TESTS, NOVEMBER, RECOMPUTED
from tests.support.warehouse_fixture import Pipeline

CANDIDATE = f"{RECOMPUTED} fact_days"
MIDDLE = "delete from gold.fct_transactions where transaction_date between '2025-11-10' and '2025-11-20'"
BUT_FOR_ONE = (
    "delete from gold.fct_transactions where transaction_date between '2025-11-21' and '2025-11-30' and"
    " transaction_key <> (select min(transaction_key) from silver.stg_transactions"
    " where transaction_date = '2025-11-30')"
)
# Three in a hundred of the customers: about a dozen facts a day.
FEW = (
    "delete from gold.fct_transactions where customer_key not in"
    " (select customer_key from silver.stg_customers where hash(customer_id) % 100 < 3)"
)


def judged(pipeline: Pipeline, *changes: str) -> dict[str, float]:
    """What the audits of completeness measure, for those that failed."""
    for change in changes:
        pipeline.execute(change)
    assert pipeline.dbt(NOVEMBER, select=CANDIDATE, arguments=NO_TESTS)[0]
    return dict(
        pipeline.rows(
            "select audit, measured from silver.segment_audits where not passed and audit in"
            " ('no_usual_day_is_without_facts', 'days_are_as_full_as_before', 'facts_reach_the_end_of_the_month')"
            f" and snapshot_month = '{NOVEMBER}'"
        )
    )


def waits_for(pipeline: Pipeline, month: date = NOVEMBER) -> str | None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMENTATION_SOURCE", "warehouse")
        with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
            return readiness.missing_facts(session, month, Project.load())


def test_a_whole_month_is_complete(published: Pipeline) -> None:
    assert judged(published) == {}
    assert waits_for(published) is None


def test_days_that_were_never_loaded_block_the_month(published: Pipeline) -> None:
    assert judged(published, MIDDLE) == {"no_usual_day_is_without_facts": 11}
    assert published.rows(
        f"select min(fact_day), max(fact_day), count(*) from silver.fact_days where is_absent"
        f" and snapshot_month = '{NOVEMBER}'"
    ) == [(date(2025, 11, 10), date(2025, 11, 20), 11)]
    assert waits_for(published) == (
        "The facts of 2025-11-01 lack 11 days that usually have some, from 2025-11-10 to 2025-11-20."
    )
    # The month waits for them, and nothing else holds it back.
    with DuckDBWarehouse(path=str(published.path)).session() as session:
        assert readiness.only_facts_were_missing(session, NOVEMBER)


def test_one_fact_on_the_last_day_does_not_stand_for_the_days_before_it(published: Pipeline) -> None:
    assert judged(published, BUT_FOR_ONE) == {"no_usual_day_is_without_facts": 9}
    assert waits_for(published) == (
        "The facts of 2025-11-01 lack 9 days that usually have some, from 2025-11-21 to 2025-11-29."
    )


def test_a_month_after_one_that_lacks_days_is_still_judged(published: Pipeline) -> None:
    """The median of eight weeks outlasts two that are gone."""
    lost = "delete from gold.fct_transactions where transaction_date between '2025-10-10' and '2025-10-20'"
    assert judged(published, lost, MIDDLE) == {"no_usual_day_is_without_facts": 11}


def test_days_loaded_in_part_warn(published: Pipeline) -> None:
    part = (
        "delete from gold.fct_transactions where transaction_date between '2025-11-04' and '2025-11-07'"
        " and transaction_key % 10 > 1"
    )
    assert judged(published, part) == {"days_are_as_full_as_before": 4}
    assert waits_for(published) is None


def test_a_small_portfolio_may_have_gaps(published: Pipeline) -> None:
    november = "silver.stg_transactions where transaction_date >= '2025-11-01'"
    (count,) = published.rows(f"select count(*) / 30 from {november}")[0]
    assert count > 20, "the portfolio would be small without the change"
    assert judged(published, FEW, MIDDLE) == {}
    assert waits_for(published) is None


def test_nothing_is_expected_before_four_weeks_are_known(published: Pipeline) -> None:
    assert judged(published, "delete from gold.fct_transactions where transaction_date < '2025-11-01'", MIDDLE) == {}
