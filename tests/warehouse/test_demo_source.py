"""A demo source fills what is empty or its own, and nothing else.

Locks out: `make month` with SEGMENTATION_SOURCE forgotten, which replaced 235,007 facts of a person's own star schema
by the demo's; and a name of a database or schema that works at one door and not at the next.
"""

from datetime import date
from pathlib import Path

import duckdb
import pytest

from segmentation_assets.assets import star_schema
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import last_closed_month, month_after
from segmentation_assets.rules.source_contract import DEMO_TABLES
from segmentation_assets.settings import Settings
from segmentation_assets.sources import SourceError, synthetic
from segmentation_assets.sources.mark import MARK
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import warehouse
from tests.support import command_line, portfolios
from tests.support.warehouse_fixture import Pipeline

MONTH = date(2026, 9, 1)


def dump(path: Path) -> list[tuple[object, ...]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("select schema_name, table_name from duckdb_tables() order by all").fetchall()
        return [
            (*table, *connection.execute('select count(*), sum(hash(t)) from "{}"."{}" as t'.format(*table)).fetchall())
            for table in tables
        ]


@pytest.mark.parametrize(
    ("command", "source"),
    [
        (("month", "2025-11-01"), ""),
        (("month", "2025-11-01"), "synthetic"),
        (("month", "2017-11-01"), "completejourney"),
        (("backfill", "2025-10-01", "2025-11-01"), ""),
        (("run",), ""),
        (("run",), "completejourney"),
    ],
)
def test_a_star_schema_of_a_persons_own_is_refused_in_a_line_and_nothing_is_touched(
    pipeline: Pipeline, tmp_path: Path, command: tuple[str, ...], source: str
) -> None:
    pipeline.load(portfolios.threshold_portfolio(date(2025, 11, 1)))
    before = dump(pipeline.path)
    code, out, err = command_line.in_process(
        tmp_path, *command, SEGMENTATION_DUCKDB_PATH=str(pipeline.path), SEGMENTATION_SOURCE=source
    )
    assert code == 2, out + err
    (line,) = err.strip().splitlines()
    assert line.startswith("error: SEGMENTATION_SOURCE is ")
    assert "tables that no demo made: dim_customer, dim_date, dim_merchant_category, fct_transactions" in line
    assert "Nothing was touched. Set SEGMENTATION_SOURCE=warehouse" in line
    assert dump(pipeline.path) == before


@pytest.mark.parametrize("table", DEMO_TABLES)
@pytest.mark.parametrize("kind", ["table", "view"])
@pytest.mark.usefixtures("pipeline")
def test_one_table_or_view_of_ones_own_is_enough(table: str, kind: str) -> None:
    settings = Settings.from_environment({"SEGMENTATION_CUSTOMERS": "2"})
    with warehouse().session() as session:
        assert star_schema.fill(session, settings).startswith("Filled")
        session.execute(f"drop table gold.{table}")
        session.execute(f"create {kind} gold.{table.upper()} as select 1 as mine")
        with pytest.raises(SourceError, match=f"tables that no demo made: {table}[.]|holds tables"):
            star_schema.fill(session, settings)
        assert session.rows(f"select * from gold.{table}") == [{"mine": 1}]


@pytest.mark.usefixtures("pipeline")
def test_a_portfolio_keeps_its_size_and_is_given_the_months_that_closed_since(monkeypatch: pytest.MonkeyPatch) -> None:
    three, unsaid = Settings.from_environment({"SEGMENTATION_CUSTOMERS": "3"}), Settings.from_environment({})
    with warehouse().session() as session:
        assert star_schema.fill(session, three).startswith("Filled the star schema (synthetic, 3 customers, ")
        assert star_schema.fill(session, three).startswith("The star schema is complete already")
        assert star_schema.fill(session, unsaid).startswith("The star schema is complete already (synthetic, 3 cust")
        comments = session.rows("select comment from duckdb_tables() where schema_name = 'gold'")
        assert {row["comment"].startswith(MARK) for row in comments} == {True}
        # One of a version that marked the facts alone is known as well.
        for table in DEMO_TABLES:
            session.execute(f"comment on table gold.{table} is null")
        session.execute(f"comment on table gold.fct_transactions is '{star_schema.recipe(three)}'")
        assert star_schema.fill(session, unsaid).startswith("The star schema is complete already")
        next_month = month_after(last_closed_month())
        monkeypatch.setattr(star_schema, "last_closed_month", lambda: next_month)
        assert star_schema.fill(session, unsaid).startswith("Filled the star schema (synthetic, 3 customers, ")
        (newest,) = session.rows("select max(transaction_date) as day from gold.fct_transactions")
        assert newest["day"] >= next_month


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SEGMENTATION_CUSTOMERS": "4"}, "holds a portfolio of 3 customers .* SEGMENTATION_CUSTOMERS is 4[.] Nothing"),
        ({"SEGMENTATION_SOURCE": "completejourney"}, "holds the demo source 'synthetic' .* is 'completejourney'[.] No"),
    ],
)
def test_a_portfolio_of_another_size_or_source_is_not_replaced(
    pipeline: Pipeline, given: dict[str, str], told: str
) -> None:
    with warehouse().session() as session:
        star_schema.fill(session, Settings.from_environment({"SEGMENTATION_CUSTOMERS": "3"}))
    before = dump(pipeline.path)
    settings = Settings.from_environment({**given, "SEGMENTATION_DUCKDB_PATH": str(pipeline.path)})
    with pytest.raises(SourceError, match=told):
        star_schema.refuse_to_replace(warehouse(), settings)
    with warehouse().session() as session, pytest.raises(SourceError, match=told):
        star_schema.fill(session, settings)
    assert dump(pipeline.path) == before


@pytest.mark.parametrize("is_published", [False, True])
def test_a_file_that_somebody_keeps_tables_in_is_not_filled_by_a_demo_that_nobody_asked_for(
    pipeline: Pipeline, is_published: bool
) -> None:
    """SEGMENTATION_SOURCE and SEGMENTATION_RULES forgotten in a new terminal: the demo went into a company's file."""
    pipeline.execute("create schema mart; create table mart.purchases as select 1 as id")
    if is_published:
        pipeline.execute("create schema gold; create table gold.segment_publications as select 1 as version")
    before = dump(pipeline.path)
    for given in ({}, {"SEGMENTATION_SOURCE": "synthetic"} if is_published else {}):
        settings = Settings.from_environment({**given, "SEGMENTATION_DUCKDB_PATH": str(pipeline.path)})
        with pytest.raises(SourceError, match=r"holds tables that no demo made: mart\.purchases.*Nothing was touched"):
            star_schema.refuse_to_replace(warehouse(), settings)
    assert dump(pipeline.path) == before


@pytest.mark.parametrize(("file", "schema"), [("select.duckdb", "My schema-ü"), ("a b-ü.v2.duckdb", "order")])
def test_a_name_that_needs_quotes_works_at_every_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, schema: str
) -> None:
    path = tmp_path / file
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
    monkeypatch.setenv("SEGMENTATION_SOURCE_SCHEMA", schema)
    with duckdb.connect(str(path)) as connection:
        synthetic.build(connection, schema, customers=30, first_month=date(2026, 1, 1), last_month=MONTH)
    pipeline = Pipeline(path)
    star_schema.check_source(DuckDBWarehouse(path=str(path)), Project.load(), [(None, date(2026, 10, 1))])
    succeeded, said = pipeline.dbt(MONTH, select="path:models/staging path:models/metrics", command="run")
    assert succeeded, said
    assert pipeline.rows("select count(*) > 0 from silver.transaction_window_metrics") == [(True,)]
