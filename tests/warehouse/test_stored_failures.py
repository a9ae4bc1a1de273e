"""The rows that fail a data test, where an analyst can select them.

Locks out: rows of an earlier failure that still stand there when the test passes, and a table for every test.
"""

from pathlib import Path

from tests.support.known_mix import BUDGET, DECLINING, GROWING, STABLE, TRAVELERS, known_mix
from tests.support.published_months import NOVEMBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

WITHOUT_A_DATE = "select transaction_key from test_failures.every_fact_has_a_date"


def stored(pipeline: Pipeline) -> set[str]:
    found = pipeline.rows("select table_name from duckdb_tables() where schema_name = 'test_failures'")
    return {name for (name,) in found}


def test_they_are_there_while_the_test_fails_and_nothing_else(tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "segmentation.duckdb") as pipeline:
        pipeline.load(known_mix(NOVEMBER, dict.fromkeys((TRAVELERS, DECLINING, GROWING, BUDGET, STABLE), 3)))
        pipeline.dbt(NOVEMBER, select="path:models/staging")
        assert stored(pipeline) == set()
        pipeline.execute("create table kept as from gold.fct_transactions order by transaction_key limit 2")
        for broken in (2, 1):  # the rows of this failure, not those of the one before
            pipeline.execute(
                "update gold.fct_transactions set transaction_date = null where transaction_key in"
                f" (select transaction_key from kept order by transaction_key limit {broken})"
            )
            pipeline.dbt(NOVEMBER, select="every_fact_has_a_date")
            assert stored(pipeline) == {"every_fact_has_a_date"}
            assert len(pipeline.rows(WITHOUT_A_DATE)) == broken
            pipeline.execute(
                "update gold.fct_transactions as facts set transaction_date = kept.transaction_date from kept"
                " where facts.transaction_key = kept.transaction_key"
            )
        pipeline.dbt(NOVEMBER, select="every_fact_has_a_date")
        assert stored(pipeline) == set()
