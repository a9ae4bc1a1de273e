"""A source that breaks its contract is refused by the Dagster job before anything is computed, and nothing is lost.

Locks out: views and a candidate month built from a source that lacks a column or changed a type, a retry of what no
retry can mend, and a refusal that reads like a database error.
"""

from datetime import date

import dagster as dg
import pytest

from tests.support import portfolios
from tests.support.warehouse_fixture import CANDIDATE, Pipeline
from tests.warehouse.test_parity import NO_TESTS

MONTH = date(2025, 11, 1)


def refusals(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    """What each failed step said for a person to read; nothing where it only has a traceback."""
    failed = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    said = {str(event.step_key): event.step_failure_data.user_failure_data for event in failed}
    return {step: (data.description or "") if data else "" for step, data in said.items()}


@pytest.mark.parametrize(
    ("breakage", "finding"),
    [
        (
            "alter table gold.fct_transactions alter column transaction_amount set data type varchar",
            "- fct_transactions.transaction_amount: expected DECIMAL, found VARCHAR.",
        ),
        (
            "drop table gold.dim_date",
            "- dim_date: the table is missing (SEGMENTATION_SOURCE_SCHEMA says where to look, SEGMENTATION_RULES may"
            " map it: docs/your_data.md).",
        ),
    ],
)
def test_the_job_refuses_before_it_computes(pipeline: Pipeline, breakage: str, finding: str) -> None:
    pipeline.load(portfolios.threshold_portfolio(MONTH))
    pipeline.execute(f"create schema silver; create table silver.segment_assignments as select 1 as kept; {breakage}")

    whole = pipeline.run(MONTH)
    # The candidate may be asked for alone, with the views already there.
    candidate = pipeline.run(MONTH, select=["silver/customer_period_spend", "silver/segment_assignments"])

    for result, step in ((whole, "segmentation_staging"), (candidate, "segmentation_candidate")):
        assert not result.success
        told = refusals(result)
        assert list(told) == [step]
        first, line = told[step].splitlines()
        assert first == "The star schema in schema 'gold' breaks the source contract; nothing was computed."
        assert line.startswith(finding)
        assert not any(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)
    assert pipeline.rows("select kept from silver.segment_assignments") == [(1,)]
    made = pipeline.rows("select table_name from information_schema.tables where table_schema = 'silver'")
    assert made == [("segment_assignments",)]


def test_a_fact_that_no_month_can_be_made_of_is_refused_before_any_is(pipeline: Pipeline) -> None:
    """Facts are read where they are rolled up: the views on them are there by then, and nothing is in a table."""
    pipeline.load(portfolios.threshold_portfolio(MONTH))
    pipeline.execute("update gold.fct_transactions set customer_key = null where transaction_key = 1")
    for select in (None, ["silver/customer_period_spend", "silver/segment_assignments"]):
        result = pipeline.run(MONTH, select=select)
        assert not result.success
        told = refusals(result)
        assert list(told) == ["segmentation_candidate"]
        first, line = told["segmentation_candidate"].splitlines()
        assert first == "The star schema in schema 'gold' breaks the source contract; nothing was computed."
        assert line.startswith("- fct_transactions.customer_key: expected a value in every row, found NULL in 1 of ")
        assert not any(event.event_type_value == "STEP_UP_FOR_RETRY" for event in result.all_events)
    made = "select table_name from duckdb_tables() where schema_name = 'silver'"
    assert not {"customer_period_spend", "segment_assignments"} & {name for (name,) in pipeline.rows(made)}


def test_what_was_computed_before_stays(pipeline: Pipeline) -> None:
    pipeline.load(portfolios.threshold_portfolio(MONTH))
    succeeded, said = pipeline.dbt(MONTH, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    # But for the hash of the facts as they were loaded.
    assignments = "select * exclude (rollup_hash) from silver.segment_assignments order by all"
    before = pipeline.rows(assignments)
    pipeline.execute("insert into gold.dim_customer select * from gold.dim_customer limit 1")
    assert not pipeline.run(MONTH).success
    assert pipeline.rows(assignments) == before != []


def test_a_failed_test_says_which_column_how_many_rows_of_which_months_and_where_they_are(pipeline: Pipeline) -> None:
    """dbt's line ended behind the colon."""
    pipeline.load(portfolios.threshold_portfolio(MONTH))
    pipeline.execute("update gold.fct_transactions set transaction_status = null where transaction_key % 50 = 0")
    pipeline.execute("update gold.fct_transactions set transaction_status = 'held' where transaction_key % 60 = 1")
    of_month = f"from gold.fct_transactions where date_trunc('month', transaction_date) = '{MONTH}'"
    ((nulls, held),) = pipeline.rows(
        f"select count(*) - count(transaction_status), count(*) filter (transaction_status = 'held') {of_month}"
    )
    assert nulls > 1
    assert held > 1

    result = pipeline.run(MONTH, select=["silver/stg_transactions"])

    assert not result.success
    complete = (
        f"every_fact_is_complete: fct_transactions: transaction_status is NULL in {nulls} rows (2025-11-01: {nulls});"
        " the rows are in test_failures.every_fact_is_complete."
    )
    told = {check.check_name: check.description for check in result.get_asset_check_evaluations() if not check.passed}
    assert told == {
        "every_fact_is_complete": complete,
        "transaction_status_is_known": (
            f"transaction_status_is_known: fct_transactions: transaction_status: {held} rows (2025-11-01: {held});"
            " the rows are in test_failures.transaction_status_is_known."
        ),
    }
    (failed,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    cause = failed.step_failure_data.error
    while cause is not None and cause.cause is not None:
        cause = cause.cause
    assert cause is not None
    assert complete in cause.message
    assert pipeline.rows("select count(*) from test_failures.every_fact_is_complete") == [(nulls,)]


def test_keys_of_two_kinds_meet(pipeline: Pipeline) -> None:
    """The contract lets text and numbers in, and DuckDB compares no number with a text."""
    pipeline.load(portfolios.threshold_portfolio(MONTH))
    succeeded, said = pipeline.dbt(MONTH, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    # But for the hash of the facts as they were loaded.
    assignments = "select * exclude (rollup_hash) from silver.segment_assignments order by all"
    before = pipeline.rows(assignments)
    pipeline.execute("alter table gold.fct_transactions alter column merchant_category_key set data type varchar")
    pipeline.execute("drop schema silver cascade")
    succeeded, said = pipeline.dbt(MONTH, select=CANDIDATE, arguments=NO_TESTS)
    assert succeeded, said
    assert pipeline.rows(assignments) == before != []
