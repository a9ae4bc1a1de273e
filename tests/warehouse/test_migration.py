"""A database that an earlier version made: without the columns and the views that have come since.

Locks out: published history that is refused or emptied because the pipeline was updated; a column filled in with what
nobody can know; a command or a sensor that breaks off where a view is missing; lists that are exported although nobody
can say which version they were made from.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from segmentation_assets.automation import restate
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import WarehouseError
from segmentation_assets.exports.audience import read_audience
from segmentation_assets.exports.store import ExportError
from segmentation_assets.publication import acceptances, migration, published, readiness, restatements
from segmentation_assets.settings import Settings
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.own_runs import own_runs
from tests.support.published_months import NOVEMBER, OCTOBER, pipeline_at
from tests.support.warehouse_fixture import Pipeline

RULES = Project.load().rules
VIEWS = (
    "customer_contacts",
    "fact_days",
    "outdated_months",
    "rollup_differences",
    "segment_audit_verdicts",
    "segment_gate",
)
STAMPED = (
    "gold.segment_summary",
    "gold.segment_transitions",
    "silver.audience_candidates",
    "gold.audience_waterfall",
    "gold.audience_exclusions",
    "gold.campaign_outcome_groups",
    *(f"gold.audience_{campaign.name}" for campaign in RULES.campaigns),
)
AUDIENCES = ["silver/audience_candidates", *(table.replace(".", "/") for table in STAMPED if ".audience_" in table)]


def stamps(pipeline: Pipeline, table: str) -> list[str]:
    rows = pipeline.rows(f"select column_name from (describe {table}) where ends_with(column_name, 'content_hash')")
    return sorted(name for (name,) in rows)


def views(pipeline: Pipeline) -> set[str]:
    rows = pipeline.rows("select table_name from information_schema.tables where table_type = 'VIEW'")
    return {name for (name,) in rows} & set(VIEWS)


def unstamped(pipeline: Pipeline, table: str) -> list[tuple[Any, ...]]:
    return pipeline.rows(f"select * exclude ({', '.join(stamps(pipeline, table))}) from {table} order by all")


@pytest.fixture
def old(audiences_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    """Three published months with their audiences, as the version before made them."""
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", audiences_file) as pipeline:
        for view in VIEWS:
            pipeline.execute(f"drop view silver.{view}")
        for table in STAMPED:
            for stamp in stamps(pipeline, table):
                pipeline.execute(f"alter table {table} drop column {stamp}")
        yield pipeline


def warehouse_of(pipeline: Pipeline) -> DuckDBWarehouse:
    return DuckDBWarehouse(path=str(pipeline.path))


def test_what_is_missing_is_added_once_and_what_was_published_stays(old: Pipeline) -> None:
    before = {table: old.rows(f"select * from {table} order by all") for table in STAMPED}
    migration.bring_up_to_date(warehouse_of(old), Project.load())
    assert views(old) == set(VIEWS)
    for table in STAMPED:
        added = stamps(old, table)
        assert "content_hash" in added, table
        assert unstamped(old, table) == before[table], table
        # Which version the rows were made from is what nobody can know.
        for stamp in added:
            assert old.rows(f"select count(*) from {table} where {stamp} is not null") == [(0,)], table
    assert stamps(old, "gold.segment_transitions") == ["content_hash", "previous_content_hash"]
    migrated = {table: old.rows(f"select * from {table} order by all") for table in STAMPED}
    migration.bring_up_to_date(warehouse_of(old), Project.load())
    assert {table: old.rows(f"select * from {table} order by all") for table in STAMPED} == migrated


def test_a_run_of_the_audiences_alone_migrates_and_only_its_month_can_be_exported(old: Pipeline) -> None:
    assert old.run(NOVEMBER, select=AUDIENCES).success
    campaign = RULES.campaigns[0]
    with warehouse_of(old).session(read_only=True) as session:
        assert not published.outdated(session, ["audience_waterfall", f"audience_{campaign.name}"], NOVEMBER)
        assert read_audience(session, campaign, NOVEMBER, StarSchema(session, Settings.from_environment(), RULES)).rows
        with pytest.raises(ExportError, match=f"{campaign.name}, {OCTOBER}, was not made from the month as it is"):
            read_audience(session, campaign, OCTOBER, StarSchema(session, Settings.from_environment(), RULES))


def test_commands_and_sensors_say_what_is_missing_or_make_it(old: Pipeline, empty_home: Path, tmp_path: Path) -> None:
    home = shutil.copytree(empty_home, tmp_path / "home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        asked = restate.evaluate(instance, own_runs(), warehouse_of(old))
    assert isinstance(asked, dg.SkipReason)
    assert asked.skip_message == (
        "silver.rollup_differences and silver.outdated_months are not there yet: the next run makes what an earlier"
        " version did not have, and so does `make restate`."
    )
    with warehouse_of(old).session() as session:
        # Held back by what? It runs again, and that run can tell.
        assert readiness.only_facts_were_missing(session, NOVEMBER)
    migration.bring_up_to_date(warehouse_of(old), Project.load())
    with warehouse_of(old).session() as session:
        assert restatements.find(session) is None
        assert not readiness.only_facts_were_missing(session, NOVEMBER)
        with pytest.raises(acceptances.AcceptanceError, match="to be accepted: none"):
            acceptances.accept(session, NOVEMBER, "rollup_equals_the_facts", None, "Ann", "Winter")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("alter table gold.segment_publications drop column content_hash", "segment_publications lacks column content"),
        (
            "alter table gold.segment_transitions add column more integer default 0;"
            " alter table gold.segment_transitions alter more set not null;"
            " alter table gold.segment_transitions alter more drop default",
            "segment_transitions has the unknown column more, which may not be NULL and has no default",
        ),
    ],
)
def test_what_nobody_can_know_is_refused_before_anything_is_changed(old: Pipeline, change: str, told: str) -> None:
    old.execute(change)
    with pytest.raises(WarehouseError, match=rf"made by another version of this pipeline: gold\.{told}"):
        migration.bring_up_to_date(warehouse_of(old), Project.load())
    assert views(old) == set()
    assert stamps(old, "gold.segment_summary") == []


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pipeline_at(tmp_path / "segmentation.duckdb") as pipeline:
        migration.bring_up_to_date(warehouse_of(pipeline), Project.load())
        assert not pipeline.path.exists()
        duckdb.connect(str(pipeline.path)).close()
        migration.bring_up_to_date(warehouse_of(pipeline), Project.load())
        assert pipeline.rows("select count(*) from information_schema.tables") == [(0,)]
