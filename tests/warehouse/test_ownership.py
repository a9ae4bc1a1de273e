"""What this pipeline did not make, it does not write to; what is its own can be named, and named otherwise.

Locks out: somebody's gold.customer_segments dropped by a first run, columns added to a table of theirs, a schema of our
names that nobody can move, and a list of what is ours that names what is not.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from segmentation_assets.assets import star_schema
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import WarehouseError
from segmentation_assets.publication import migration, ownership
from segmentation_assets.settings import Settings
from segmentation_assets.warehouse.session import warehouse
from tests.support.command_line import in_process
from tests.support.known_mix import known_mix
from tests.support.published_months import CANDIDATE_AND_PUBLISHED, NO_TESTS, NOVEMBER, ON_THE_FLOOR, materialized
from tests.support.warehouse_fixture import Pipeline

FOREIGN = {
    "a table": "create table gold.customer_segments as select 'C1' as customer, 'VIP' as segment",
    "a view": "create view gold.customer_segments as select 'C1' as customer, 'VIP' as segment",
    "with some of our columns": "create table gold.hero_metrics as select date '2025-11-01' as snapshot_month, 1 as x",
    "an intermediate one": "create schema silver; create table silver.stg_customers as select 1 as id",
    "of a python step": "create table gold.campaign_outcomes as select 'x' as campaign, 1 as lift",
    "with a comment of its own": "create table gold.segment_rules as select 1 as rule;"
    " comment on table gold.segment_rules is 'Rules of the risk team'",
}


def everything(pipeline: Pipeline) -> list[tuple[object, ...]]:
    return pipeline.rows(
        "select schema_name, table_name, column_name, data_type, comment from duckdb_columns() where not internal"
        " order by all"
    )


@pytest.mark.parametrize("what", FOREIGN)
def test_what_somebody_else_made_is_refused_by_name_at_every_door(
    pipeline: Pipeline, tmp_path: Path, what: str
) -> None:
    pipeline.load(known_mix(NOVEMBER, ON_THE_FLOOR))
    pipeline.execute(FOREIGN[what])
    before = everything(pipeline)
    ((name,),) = [re.findall(r"(?:table|view) (\w+\.\w+)", FOREIGN[what])[:1]]
    told = rf"{name}: this pipeline did not make it, and would write there\. Nothing was touched\."

    with pytest.raises(WarehouseError, match=told):
        migration.bring_up_to_date(warehouse(), Project.load())
    code, out, err = in_process(
        tmp_path, "month", "2025-11", SEGMENTATION_SOURCE="warehouse", SEGMENTATION_DUCKDB_PATH=str(pipeline.path)
    )
    assert (code, out) == (2, ""), out + err
    assert re.search(told, err)
    if what != "of a python step":  # which plain dbt does not write
        succeeded, said = pipeline.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert not succeeded
        assert re.search(told, " ".join(said))
    assert everything(pipeline) == before


@pytest.fixture
def moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    """A warehouse in which gold and silver are somebody's, and the settings name others."""
    path = tmp_path / "segmentation.duckdb"
    monkeypatch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
    monkeypatch.setenv("SEGMENTATION_GOLD_SCHEMA", "seg_gold")
    monkeypatch.setenv("SEGMENTATION_SILVER_SCHEMA", "Seg_Silver")
    pipeline = Pipeline(path)
    pipeline.load(known_mix(NOVEMBER, ON_THE_FLOOR))
    pipeline.execute(FOREIGN["a table"])
    pipeline.execute(FOREIGN["an intermediate one"])
    yield pipeline


def test_schemas_of_other_names_hold_everything_and_the_first_ones_stay_as_they_were(
    moved: Pipeline, tmp_path: Path
) -> None:
    theirs = [row for row in everything(moved) if row[0] in ("gold", "silver")]
    result = moved.run(NOVEMBER)
    assert result.success, [event.message for event in result.all_events if event.is_failure]
    assert [row for row in everything(moved) if row[0] in ("gold", "silver")] == theirs
    assert moved.rows("select count(*) > 0 from seg_gold.customer_segments") == [(True,)]
    schemas = {schema for (schema,) in moved.rows("select schema_name from duckdb_tables() where not internal")}
    assert schemas <= {"gold", "silver", "seg_gold", "Seg_Silver", "Seg_Silver_test_failures"}
    assert "gold/customer_segments" in materialized(result), "keys are the same in every warehouse"
    ((customer,),) = moved.rows("select min(customer_id) from seg_gold.customer_segments")
    given = {
        "SEGMENTATION_DUCKDB_PATH": str(moved.path), "SEGMENTATION_SOURCE": "warehouse",
        "SEGMENTATION_GOLD_SCHEMA": "seg_gold", "SEGMENTATION_SILVER_SCHEMA": "Seg_Silver",
    }  # fmt: skip
    code, out, err = in_process(tmp_path, "why", customer, **given)
    assert code == 0, err
    assert customer in out

    code, out, err = in_process(tmp_path, "uninstall", "--list", **given)
    assert code == 0, err
    dropped = [line for line in out.splitlines() if line.startswith("drop ")]
    assert "drop table if exists seg_gold.customer_segments;" in dropped
    assert not [line for line in dropped if re.search(r"exists (gold|silver)\.|fct_transactions|dim_", line)]
    for statement in dropped:
        moved.execute(statement)
    assert [row[0] for row in everything(moved) if row[0] not in ("gold", "silver")] == []
    assert [row for row in everything(moved) if row[0] in ("gold", "silver")] == theirs


@pytest.mark.usefixtures("published")
def test_every_table_and_view_of_a_run_is_marked() -> None:
    project = Project.load()
    with warehouse().session(read_only=True) as session:
        present = ownership.found(session, ownership.declared(project))
    assert len(present) > 20
    assert [one.name for one in present if not one.is_marked] == []


def test_what_was_killed_before_it_was_marked_or_made_by_an_earlier_version_is_ours(published: Pipeline) -> None:
    for schema, name, kind in published.rows(
        "select schema_name, table_name, 'table' from duckdb_tables() where schema_name in ('gold', 'silver') union all"
        " select schema_name, view_name, 'view' from duckdb_views() where schema_name in ('gold', 'silver')"
    ):
        published.execute(f'comment on {kind} {schema}."{name}" is null')
    migration.bring_up_to_date(warehouse(), Project.load())
    published.execute("alter table gold.segment_summary drop column content_hash")
    ownership.refuse_foreign(warehouse(), Project.load())
    # Of somebody else's the log beside it makes nothing ours, however many columns have the same names.
    for theirs in ("1 as id", "snapshot_month, customer_segment, 'ours' as note from silver.segment_assignments"):
        published.execute("drop table gold.segment_summary")
        published.execute(f"create table gold.segment_summary as select {theirs}")
        with pytest.raises(WarehouseError, match=r"gold\.segment_summary: this pipeline did not make it"):
            ownership.refuse_foreign(warehouse(), Project.load())
        succeeded, said = published.dbt(NOVEMBER, select="segment_summary", arguments=NO_TESTS)
        assert not succeeded
        assert "gold.segment_summary: this pipeline did not make it" in " ".join(said)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"SEGMENTATION_GOLD_SCHEMA": "my gold"}, "SEGMENTATION_GOLD_SCHEMA is 'my gold'; the name of a schema that"),
        ({"SEGMENTATION_SILVER_SCHEMA": "order"}, "is no reserved word"),
        (
            {"SEGMENTATION_SILVER_SCHEMA": "gold"},
            "SEGMENTATION_SILVER_SCHEMA is 'gold', which another schema is called",
        ),
        ({"SEGMENTATION_GOLD_SCHEMA": "seg", "SEGMENTATION_DUCKDB_PATH": "seg.duckdb"}, "[(]SEGMENTATION_GOLD_SCHEMA"),
    ],
)
def test_a_schema_that_cannot_be_is_said_at_once(given: dict[str, str], told: str) -> None:
    from segmentation_assets.errors import SettingsError

    with pytest.raises(SettingsError, match=told):
        Settings.from_environment(given)


def test_a_demo_in_a_foreign_schema_writes_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.execute("create schema gold")
    pipeline.execute(FOREIGN["a table"])
    before = everything(pipeline)
    code, _, err = in_process(
        tmp_path, "run", SEGMENTATION_SOURCE="synthetic", SEGMENTATION_CUSTOMERS="2",
        SEGMENTATION_DUCKDB_PATH=str(pipeline.path),
    )  # fmt: skip
    assert code == 2
    assert "gold.customer_segments: this pipeline did not make it" in err
    assert everything(pipeline) == before
    assert star_schema.TABLES
