"""Metrics of one's own on Snowflake, by dbt-snowflake on the emulator: equal to Python that reads the facts one by one.

Locks out: SQL that only DuckDB knows or reads otherwise, and types that make another number of the same sum.
"""

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import hypothesis
import pytest
import yaml

from segmentation_assets.sources.snowflake_load import copy_tables
from tests.support import metric_oracle, snowflake_account
from tests.support.metric_oracle import is_same
from tests.support.snowflake_account import environment, session_on
from tests.support.warehouse_fixture import CANDIDATE

MONTH = date(2024, 2, 1)


@hypothesis.settings(
    max_examples=1,
    derandomize=True,
    phases=[hypothesis.Phase.generate],
    suppress_health_check=list(hypothesis.HealthCheck),
)
@hypothesis.given(metric_oracle.rules(20))
def test_drawn_definitions_equal_the_facts_read_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, drawn: dict[str, Any]
) -> None:
    rules = tmp_path_factory.mktemp("rules") / "rules.yml"
    rules.write_text(yaml.safe_dump(drawn, sort_keys=False), encoding="utf-8")
    portfolio = metric_oracle.portfolio([MONTH], drawn["windows"])
    with snowflake_account.account() as variables, session_on(variables, variables["SNOWFLAKE_DATABASE"]) as session:
        with duckdb.connect() as local:
            portfolio.load(local)
            copy_tables(session, local, "gold", is_emulator=True)
        command = ["dbt", "--month", str(MONTH)[:7], "run", "--select", CANDIDATE]
        built = subprocess.run(
            [str(Path(sys.executable).with_name("segmentation")), *command],
            env={**environment(variables), "SEGMENTATION_RULES": str(rules), "SEGMENTATION_SOURCE": "warehouse"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert built.returncode == 0, built.stdout[-3000:] + built.stderr[-1000:]
        rows = session.rows("select * from silver.segment_assignments")
    expected = metric_oracle.measure(portfolio, MONTH, drawn)
    assert {row["customer_id"] for row in rows} == set(expected["lifetime_value"])
    wrong = [
        f"{name} of {row['customer_id']}: {row[name]!r}, expected {values[row['customer_id']]!r}"
        for row in rows
        for name, values in expected.items()
        if not is_same(row[name], values[row["customer_id"]])
    ]
    assert not wrong, f"{len(wrong)} values differ:\n" + "\n".join(wrong[:8])
