"""What only a real account can show; tests/system/test_snowflake.py takes these tests in for `make test-snowflake`.

Locks out: a role that is refused without its name, money that comes back as a float, tables that a service
keeps in order for credits, and query history that cannot be read per run and month.
"""

import json
from typing import Any

import pytest

from segmentation_assets.errors import WarehouseError
from segmentation_assets.warehouse.snowflake import SETTINGS, SnowflakeWarehouse
from tests.support.account_checks import CHECKS, FINDINGS, NEEDS_ROLES, Place
from tests.support.account_report import NOT_ASKED, PROVED, figures, history_of, remember
from tests.support.snowflake_account import own, session_on


def test_a_role_that_is_not_granted_is_named(account: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS.values():
        monkeypatch.delenv(name, raising=False)
    for name, value in {**account, "SNOWFLAKE_ROLE": "segmentation_no_such_role"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(WarehouseError, match="SNOWFLAKE_ROLE") as caught, SnowflakeWarehouse().session():
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_money_is_a_number_and_no_table_is_clustered(account: dict[str, str], run: Any) -> None:
    assert run.told["backfill"]["success"]
    with session_on(account) as session:
        types = session.rows(
            "select distinct data_type, numeric_scale from information_schema.columns"
            " where lower(table_schema) in ('gold', 'silver') and lower(column_name) in"
            " ('spend', 'lifetime_value', 'spend_last_90_days', 'spend_prior_90_days')"
        )
        assert types == [{"data_type": "NUMBER", "numeric_scale": 2}]
        keys = session.rows(
            "select clustering_key from information_schema.tables where lower(table_name) in"
            " ('customer_period_spend', 'customer_segment_history', 'segment_assignments')"
        )
    assert len(keys) == 3
    assert not [row for row in keys if row["clustering_key"]]


def test_query_history_names_the_run_and_its_months(account: dict[str, str], run: Any) -> None:
    with session_on(account) as session:
        tags = session.rows(
            "select distinct query_tag from table(information_schema.query_history(result_limit => 10000))"
            " where query_tag like '%first_month%'"
        )
    by_run = {tag["run_id"]: tag for tag in (json.loads(row["query_tag"]) for row in tags)}
    rerun = by_run[run.told["rerun"]["run_id"]]
    assert rerun["first_month"] == rerun["last_month"] == run.told["rerun"]["published"][1][0]


@pytest.mark.parametrize("name", CHECKS)
def test_the_account_settles_what_the_documentation_leaves_open(
    account: dict[str, str], run: Any, name: str, record_property: Any
) -> None:
    """After the pipeline, whose tables some of them look at."""
    assert run.told["backfill"]["success"]
    place = Place(account, own[0].setup, own[0].admin) if own else Place(account)
    try:
        found = CHECKS[name](place)
    except AssertionError as error:
        if str(error) != NEEDS_ROLES:
            raise
        record_property(NOT_ASKED, f"{name}: {NEEDS_ROLES}")
        return
    record_property(PROVED, f"{name}: {found} (finding {', '.join(map(str, FINDINGS[name]))})")


def test_statements_and_credits_are_told(account: dict[str, str], run: Any) -> None:
    """Last: of everything before it."""
    history = history_of(account)
    month = [row for row in history if run.told["month"]["run_id"] in str(row["query_tag"])]
    assert month
    remember([*figures(history), *(f"of them dbt's of a month more: {line}" for line in figures(month))])
