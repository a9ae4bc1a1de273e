"""Customers who are merged and split, and facts that move, come late, change or go, between two months.

Locks out: a rollup that remembers who somebody was; an audit and a restatement that compare totals of a month, and so
see nothing that moved between customers; an incremental result that is not the one computed from nothing; facts of a
version that dim_customer lacks counting for nobody in silence.
"""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from segmentation_assets.publication import restatements
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.identity import (
    MODELS,
    OPERATIONS,
    compare,
    compute,
    find,
    make_two_months,
    merged,
)
from tests.support.published_months import NO_TESTS, NOVEMBER, OCTOBER, SEPTEMBER
from tests.support.warehouse_fixture import Pipeline


@pytest.fixture(scope="module")
def two_months(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_two_months(tmp_path_factory.mktemp("two_months"))


@pytest.fixture
def from_two_months(pipeline: Pipeline, two_months: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    monkeypatch.setenv("SEGMENTATION_RULES", str(two_months.with_name("rules.yml")))
    shutil.copy(two_months, pipeline.path)
    return pipeline


@pytest.mark.parametrize(
    "changes",
    [
        [(name, 3 * number, 3 * number + 1, 7) for number, name in enumerate(sorted(OPERATIONS))],
        [(name, 4 + number % 2, 5 - number % 2, 7 + number) for number, name in enumerate(sorted(OPERATIONS))],
    ],
    ids=["each to others", "all to the same two"],
)
def test_the_incremental_result_is_the_one_computed_from_nothing(
    from_two_months: Pipeline, two_months: Path, changes: Sequence[tuple[str, int, int, int]]
) -> None:
    """Every kind of change once; `make soak` draws any number of others."""
    compare(from_two_months, two_months, changes)


def test_a_merge_is_found_and_put_right_where_no_total_changed(from_two_months: Pipeline) -> None:
    pipeline = from_two_months
    assert find(pipeline) is None
    pipeline.execute(merged(1, 2, 1))
    found = find(pipeline)
    assert found is not None
    assert (found.changed, found.outdated) == ({}, (SEPTEMBER, OCTOBER))
    differing = pipeline.rows("select snapshot_month, customers, transaction_count from silver.outdated_months")
    # Who is there no more, and who has the sums of two; nothing was lost.
    assert sorted(differing) == [(SEPTEMBER, 2, 0), (OCTOBER, 2, 0)]
    compute(pipeline, found.months.first, found.months.last, found.rollup_from)
    assert find(pipeline) is None


def test_facts_that_moved_between_customers_fail_the_audit_and_are_told(from_two_months: Pipeline) -> None:
    """Plain dbt rolls up no month but those it is asked for and those that are missing."""
    pipeline = from_two_months
    pipeline.execute(
        "update gold.fct_transactions set customer_key = customer_key % 20 + 1 where transaction_date between"
        " '2025-08-01' and '2025-08-31'"
    )
    succeeded, said = pipeline.dbt(NOVEMBER, select=MODELS, arguments=NO_TESTS)
    assert succeeded, said
    audit = "select measured, passed from silver.segment_audits where audit = 'rollup_equals_the_facts'"
    assert pipeline.rows(f"{audit} and snapshot_month = '{NOVEMBER}'") == [(1, False)]
    found = find(pipeline)
    assert found is not None
    assert found.message()[0] == (
        "2025-08-01: count and spend of the facts are those of the rollup, but single facts are of another customer,"
        " category, day or amount."
    )


def test_facts_of_nobody_block_every_month_that_counts_them_until_their_version_is_there(
    from_two_months: Pipeline,
) -> None:
    """Two years back: no window reaches it, the lifetimes do."""
    pipeline = from_two_months
    pipeline.execute(
        "update gold.fct_transactions set customer_key = 9999 where transaction_key in (select transaction_key"
        " from gold.fct_transactions where transaction_date < '2024-01-01' order by transaction_key limit 3)"
    )
    found = find(pipeline)
    assert found is not None
    compute(pipeline, found.months.first, found.months.last, found.rollup_from)
    audit = (
        "select snapshot_month, measured, failed_rows, passed from silver.segment_audits"
        " where audit = 'every_fact_belongs_to_a_customer' order by 1"
    )
    assert pipeline.rows(audit) == [(SEPTEMBER, 3, 3, False), (OCTOBER, 3, 3, False)]
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        told = restatements.facts_of_nobody(session)
    assert sum(int(line.split(": ")[1].split()[0]) for line in told) == 3
    pipeline.execute("insert into gold.dim_customer values (9999, 'Late', null, null, null, '2023-01-01', null, true)")
    compute(pipeline, SEPTEMBER, OCTOBER)
    assert pipeline.rows(audit) == [(SEPTEMBER, 0, 0, True), (OCTOBER, 0, 0, True)]
    assert find(pipeline) is None


def test_a_rollup_of_an_earlier_version_is_made_anew(from_two_months: Pipeline) -> None:
    """It knew customers, not their versions, and kept cents."""
    pipeline = from_two_months
    rollup_rows = "select * from silver.customer_period_spend order by all"
    pipeline.execute(
        "create or replace table silver.customer_period_spend as select 'C001' as customer_id, period_start,"
        " transaction_count, cast(spend as decimal(18, 2)) as spend, category_groups_hash"
        " from silver.customer_period_spend"
    )
    found = find(pipeline)
    assert found is not None
    assert found.message() == [
        "The rollup was made by an earlier version: it is made anew, and so is every published month."
    ]
    assert (found.months.first, found.months.last) == (SEPTEMBER, OCTOBER)
    compute(pipeline, NOVEMBER, NOVEMBER)
    assert find(pipeline) is None
    made_anew = pipeline.rows(rollup_rows)
    compute(pipeline, SEPTEMBER, NOVEMBER, date(2023, 1, 1))
    assert pipeline.rows(rollup_rows) == made_anew != []
