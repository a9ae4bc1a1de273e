"""Data tests of one table are asked together, and each answers for itself.

Locks out: a statement per test, a failure told of another test or stored under its name, and a severity that is lost.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.published_months import NOVEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

TABLE = "segment_audits"


@contextmanager
def statements() -> Iterator[list[str]]:
    """What dbt sends meanwhile, on its way to the database."""
    from dbt.adapters.sql.connections import SQLConnectionManager

    sent: list[str] = []
    send = SQLConnectionManager.add_query

    def listening(self: Any, sql: str, *arguments: Any, **named: Any) -> Any:
        sent.append(sql)
        return send(self, sql, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SQLConnectionManager, "add_query", listening)
        yield sent


def asked_among(sent: list[str]) -> list[str]:
    return [sql for sql in sent if "should_warn" in sql]


def test_one_statement_asks_for_all_of_a_table(published: Pipeline) -> None:
    with statements() as sent:
        succeeded, said = published.dbt(
            NOVEMBER, select=f"{TABLE},test_type:generic", command="test", arguments=("--threads", "1")
        )
    assert succeeded, said
    (asked,) = asked_among(sent)
    assert asked.count("should_warn") > 2 * len(asked_among(sent))  # several tests in it
    # A run of one test asks for that one.
    with statements() as sent:
        assert published.dbt(NOVEMBER, select="unique_dim_customer", command="test")[0]
    assert len(asked_among(sent)) <= 1


def test_each_fails_under_its_own_name_and_severity_and_stores_its_own_rows(
    audiences_file: Path, tmp_path: Path
) -> None:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        pipeline.execute(
            "update gold.audience_core_retention set audience_rank = audience_rank + 1, email = 'nobody'"
            f" where snapshot_month = '{NOVEMBER}' and audience_rank > 2"
        )
        listed = "select count(*) from gold.audience_core_retention where audience_rank > 2 and snapshot_month ="
        ((broken,),) = pipeline.rows(f"{listed} '{NOVEMBER}'")
        with statements() as sent:
            succeeded, said = pipeline.dbt(
                NOVEMBER,
                select="audience_core_retention,test_type:generic",
                command="test",
                arguments=("--threads", "1"),
            )
        assert not succeeded
        found = {
            name
            for (name,) in pipeline.rows("select table_name from duckdb_tables() where schema_name = 'test_failures'")
        }
        deliverable = "audience_addresses_are_deliverable_audience_core_retention_"
        assert {deliverable, "audience_ranks_run_from_one_audience_core_retention_"} <= found
        assert "audience_is_within_its_cap_audience_core_retention_" not in found
        assert pipeline.rows(f"select count(*) from test_failures.{deliverable}") == [(broken,)]
        assert any("audience_ranks_run_from_one_audience_core_retention_" in line for line in said)
        assert not any("unique_combination_of_columns_audience_core" in line for line in said)
        # Those that read the list alone, those that read the history too, and one of the objections.
        assert len(asked_among(sent)) == 3, asked_among(sent)
