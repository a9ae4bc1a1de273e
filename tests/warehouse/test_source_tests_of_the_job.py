"""dbt's tests of the facts look at the months of the run, in the job too.

Locks out: tests of the source that pass because they were asked about a month nobody computed, a check of months on a
table without any, which a validation of the definitions refuses, and an alert that does not say of which months it is.
"""

from datetime import date

import dagster as dg
import pytest

from segmentation_assets.alerts.events import evaluations, of_run
from segmentation_assets.alerts.outbox import Outbox
from segmentation_assets.dagster_home.key_values import Notes
from tests.support.own_runs import own_runs
from tests.support.published_months import NOVEMBER, OCTOBER, recorded_verdicts
from tests.support.warehouse_fixture import Pipeline

FACTS = "star_schema/fct_transactions"


def notes(pipeline: Pipeline) -> Notes:
    return own_runs().portfolio.notes(pipeline.instance)


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
    # The table knows no months, so the verdict is the table's; an alert tells it of the months of the run, once.
    for check, verdict in (("transaction_status_is_known", "FAILED"), ("every_fact_is_loaded_once", "SUCCEEDED")):
        assert recorded_verdicts(published.instance, check, FACTS) == {None: verdict}
        assert dg.AssetCheckKey(dg.AssetKey(FACTS.split("/")), check) in own_runs().checks_of_months
    told_of = [alert.title for alert in of_run(Outbox(notes(published)), result.dagster_run, own_runs(), "http://ui")]
    months = str(first) if first == last else f"{first} to {last}"
    assert told_of == [f"[warn] transaction_status_is_known on fct_transactions failed of {months}"]
    told = [found.check_name for found in evaluations(result.all_events) if not found.passed]
    assert told == ["transaction_status_is_known"]


def test_one_outside_of_them_is_not(published: Pipeline) -> None:
    published.execute(
        "update gold.fct_transactions set transaction_status = 'held' where transaction_key ="
        " (select min(transaction_key) from gold.fct_transactions"
        " where transaction_date < '2025-09-01' and transaction_status = 'declined')"
    )
    assert verdicts(published.run(NOVEMBER, select=["silver/stg_transactions"]))["transaction_status_is_known"]
