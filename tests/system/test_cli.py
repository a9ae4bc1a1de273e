"""`segmentation run` as a person meets it: a process of its own.

Locks out: a first run that needs something nobody mentioned, a second one that changes published tables, runs that
leave no history behind, and a mistake that ends in a traceback or in a green exit code.
"""

import re
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pandas as pd
import pytest

from segmentation_assets.rules.load import load_rules
from segmentation_assets.settings import Settings
from segmentation_assets.sources import completejourney
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBSession
from tests.support import oracle
from tests.support.command_line import CHECKOUT, segmentation
from tests.support.portfolio import CONTRACT, Portfolio
from tests.warehouse.test_parity import assert_same

DEMO = {"SEGMENTATION_SOURCE": "synthetic", "SEGMENTATION_CUSTOMERS": "1200"}
SEGMENTS = ["High-Value Travelers", "Declining", "New & Growing", "Budget-Conscious", "Stable Mid-Spenders"]


# Drift and loosened bounds are measured against the months published before, of which a first run has none.
COMPARED = "where severity = 'error' and audit <> 'no_blocking_bound_was_loosened'"


# Which run made a row.
OF_THE_RUN = {
    "silver.audience_candidates": "exclude (run_id)",
    "silver.objections_at_last_lists": "exclude (run_id, made_at)",
}


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        names = connection.execute(
            "select schema_name || '.' || table_name from duckdb_tables()"
            " where schema_name in ('silver', 'gold') order by 1"
        ).fetchall()
        return {
            name: connection.execute(
                f"select * {OF_THE_RUN.get(name, '')} from {name}"
                f" {COMPARED if name.endswith('audits') else ''} order by all"
            ).fetchall()
            for (name,) in names
        }


def runs(home: Path) -> list[dg.DagsterRun]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        with dg.DagsterInstance.get() as instance:
            return list(instance.get_runs())


def test_a_first_run_and_a_second(tmp_path: Path) -> None:
    # A manifest of its own, as in a new clone: parsing the project is what makes libraries loud.
    new_clone = {**DEMO, "DBT_TARGET_PATH": str(tmp_path / "target")}
    code, out, err = segmentation(tmp_path, "run", **new_clone)
    assert code == 0, out + err
    assert err == ""
    assert len(out.splitlines()) < 45, out
    table = out[out.index("Segments of ") :].splitlines()
    shown = [line for line in table if any(line.lstrip().startswith(name) for name in SEGMENTS)]
    assert [line.split("  ")[0].strip() for line in shown] == SEGMENTS
    assert all("%" in line for line in shown)
    assert re.search(r"^ *\d+\.\d s  audiences: 16 of 16 tables, \d+ checks passed", out, re.MULTILINE), out
    assert re.search(r"^Done(?: with \d+ warnings?)? in \d+ s[.:]$", out, re.MULTILINE), out
    assert re.search(r"^Published: \S+ to \S+ \(version 1\)\.$", out, re.MULTILINE), out
    assert out.splitlines()[-1].startswith("Next: make ui")
    assert "make why CUSTOMER=" in out
    for noise in ("DEBUG", "INFO", "WARNING", "Traceback", "Warning", "nanobind", "uses_shipped_segments", "\x1b"):
        assert noise not in out + err, err
    first = tables(tmp_path / "data" / "segmentation.duckdb")
    assert len({row[0] for row in first["gold.customer_segment_history"]}) == 12
    assert [run.status for run in runs(tmp_path / ".dagster")] == [dg.DagsterRunStatus.SUCCESS]

    code, out, err = segmentation(tmp_path, "run", **new_clone)
    assert code == 0, out + err
    second = tables(tmp_path / "data" / "segmentation.duckdb")
    versions = [
        {row[0]: row for row in found.pop("gold.segment_publications") if row[1] == 1} for found in (first, second)
    ]
    assert versions[0] == versions[1], "what was logged stays"
    # A month may be published again because drift could not be measured the first time; nobody moves by that.
    restated = [found.pop("gold.segment_restatements") for found in (first, second)]
    assert restated[0] == []
    assert all(from_segment == to_segment for _, _, from_segment, to_segment, _ in restated[1])
    # Every run has its own rows in the log of lists.
    lists = [{(*row[:2], *row[4:]) for row in found.pop("gold.audience_log")} for found in (first, second)]
    assert lists[0] == lists[1]
    assert list(first) == list(second)
    for name, rows in first.items():
        assert rows == second[name], f"{name} differs"
    assert [run.status for run in runs(tmp_path / ".dagster")] == [dg.DagsterRunStatus.SUCCESS] * 2


def test_a_mistake_ends_the_process_with_its_line(tmp_path: Path) -> None:
    code, out, err = segmentation(tmp_path, "run", SEGMENTATION_TARGET="oracle")
    assert (code, out) == (2, "")
    assert err.startswith("error: SEGMENTATION_TARGET is 'oracle'; ") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_complete_journey_is_published_as_the_oracle_computes_it(tmp_path: Path) -> None:
    code, out, err = segmentation(tmp_path, "run", SEGMENTATION_SOURCE="completejourney")
    assert code == 0, out + err
    project = CHECKOUT / "dbt_models"
    rules = load_rules(project, project / "rules" / "completejourney.yml")
    columns = ", ".join(oracle.HISTORY_COLUMNS)
    with duckdb.connect(str(tmp_path / "data" / "completejourney.duckdb"), read_only=True) as connection:
        connection.execute("set TimeZone = 'UTC'")
        star = StarSchema(DuckDBSession(connection), Settings.given(source="completejourney"), rules)
        for table, kinds in CONTRACT.items():
            read = {column: f"cast({column} as {kind})" for column, kind in kinds.items()}
            if table == "fct_transactions":
                read["transaction_key"] = "row_number() over ()"
            selected = ", ".join(f"{sql} as {column}" for column, sql in read.items())
            connection.execute(f"create temp table {table} as select {selected} from {star.sql(table)}")
        portfolio = Portfolio.read(connection, "temp")
        found = connection.execute(f"select {columns} from gold.customer_segment_history").df()
        lists = connection.execute(
            "select campaign, step, min(customers) from gold.audience_waterfall group by 1, 2"
        ).fetchall()
        addresses = [
            connection.execute(f"select count(email), count(*) from gold.audience_{campaign.name}").fetchone()
            for campaign in rules.campaigns
        ]
    months = [
        month.date() for month in pd.date_range(completejourney.FIRST_MONTH, completejourney.LAST_MONTH, freq="MS")
    ]
    assert len(months) == 7
    expected = [
        oracle.assign_segments(portfolio, month, rules.raw["segments"], rules.raw["category_groups"])
        for month in months
    ]
    assert_same(found, pd.concat(expected))
    # By letter, as there are no addresses: nobody is lost to one, and every month has somebody to write to.
    sizes = {(campaign, step): customers for campaign, step, customers in lists}
    for campaign in rules.campaigns:
        before, asked, after = (
            sizes[campaign.name, step] for step in ("is_customer", "deliverable_email", "one_per_email")
        )
        assert before == asked == after > 0
        assert sizes[campaign.name, "sent"] > 0
    assert all(found and found[0] == 0 < found[1] for found in addresses)
