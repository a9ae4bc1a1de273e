"""dbt's tests of the facts look at the months of the run, in the job too.

Locks out: tests of the source that pass because they were asked about a month nobody computed, and months of a range
that show a test as skipped.
"""

from datetime import date

import dagster as dg
import pytest

from segmentation_assets.alerts.events import evaluations
from tests.support.published_months import NOVEMBER, OCTOBER, recorded_verdicts
from tests.support.warehouse_fixture import Pipeline


def verdicts(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}


@pytest.mark.parametrize(("first", "last"), [(NOVEMBER, NOVEMBER), (OCTOBER, NOVEMBER)], ids=["a month", "a range"])
def test_an_unheard_of_status_in_the_months_of_the_run_is_warned_of(
    published: Pipeline, first: date, last: date
) -> None:
    published.execute(
        "update gold.fct_transactions set transaction_status = 'held' where transaction_key ="
        " (select min(transaction_key) from gold.fct_transactions"
        f" where transaction_date >= '{first}' and transaction_status = 'declined')"
    )
    result = published.run(first, last, select=["silver/stg_transactions"])
    assert verdicts(result)["transaction_status_is_known"] is False
    assert result.success, "a warning does not block"
    # In the UI each of the months shows it, and an alert tells of it once.
    failed = recorded_verdicts(published.instance, "transaction_status_is_known", "star_schema/fct_transactions")
    passed = recorded_verdicts(published.instance, "every_fact_is_loaded_once", "star_schema/fct_transactions")
    for month in {str(first), str(last)}:
        assert (failed[month], passed[month]) == ("FAILED", "SUCCEEDED")
    told = [found.check_name for found in evaluations(result.all_events) if not found.passed]
    assert told == ["transaction_status_is_known"]


def test_one_outside_of_them_is_not(published: Pipeline) -> None:
    published.execute(
        "update gold.fct_transactions set transaction_status = 'held' where transaction_key ="
        " (select min(transaction_key) from gold.fct_transactions"
        " where transaction_date < '2025-09-01' and transaction_status = 'declined')"
    )
    assert verdicts(published.run(NOVEMBER, select=["silver/stg_transactions"]))["transaction_status_is_known"]
