"""What only a real account can show; tests/system/test_snowflake.py takes these tests in for `make test-snowflake`.

Locks out: a role that is refused without its name, money that comes back as a float, tables that a service
keeps in order for credits, and query history that cannot be read per run and month.
"""

import json
from typing import Any

import pytest

from segmentation_assets.errors import WarehouseError
from segmentation_assets.warehouse.snowflake import SETTINGS, SnowflakeWarehouse
from tests.support.snowflake_account import session_on


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
