"""Facts that came late or were corrected: which published months they touch, and what became of those.

Locks out: a corrected month beside later ones that still hold the old facts; a restated history that differs from one
computed from the corrected facts; months nobody asked for in the published history; a version whose moves nobody can
look up; history that is published again and again though nothing differs; a stopped restatement that is forgotten.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest

from segmentation_assets.automation import restate as restate_sensor
from segmentation_assets.automation.jobs import monthly_segmentation
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs
from segmentation_assets.months import MonthRange
from segmentation_assets.publication import restatements
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.command_line import in_process
from tests.support.own_runs import own_runs
from tests.support.published_months import (
    CANDIDATE_AND_PUBLISHED,
    CANDIDATE_ASSETS,
    NO_TESTS,
    NOVEMBER,
    OCTOBER,
    PUBLISHED_ASSETS,
    SEPTEMBER,
    pipeline_at,
    published_tables,
    refusal,
)
from tests.support.warehouse_fixture import Pipeline
from tests.warehouse.test_memberships import assert_views_follow

MARCH = date(2025, 3, 1)
# Forty customers turn to travel in September, one fact of March is worth more, some of October never were.
CORRECTIONS = (
    "insert into gold.fct_transactions by name select 9000000 + row_number() over (order by customer_id)"
    " as transaction_key, customer_key, 1 as merchant_category_key, date '2025-09-30' as transaction_date,"
    " 20000 as transaction_amount, 'approved' as transaction_status from gold.customer_segment_history"
    f" where snapshot_month = '{SEPTEMBER}' and customer_segment <> 'High-Value Travelers'"
    " order by customer_id limit 40",
    "update gold.fct_transactions set transaction_amount = transaction_amount + 500 where transaction_key ="
    " (select min(transaction_key) from silver.stg_transactions where transaction_date >= '2025-03-01'"
    " and transaction_date < '2025-04-01')",
    "delete from gold.fct_transactions where transaction_date >= '2025-10-01' and transaction_date < '2025-11-01'"
    " and transaction_key % 50 = 0",
)
# With the dimension: somebody became a customer later than it said, somebody else earlier.
OTHER_CUSTOMERS = (
    "update gold.dim_customer set valid_from = '2025-10-15' where customer_id = (select min(customer_id)"
    f" from gold.customer_segment_history where snapshot_month = '{SEPTEMBER}')",
    "insert into gold.dim_customer by name (select * replace (9000000 as customer_key, 'CUST99999999' as customer_id)"
    " from gold.dim_customer where is_current and valid_from < '2025-01-01' limit 1)",
)
COMPUTED = ("customer_segment_history", "customer_segments", "segment_summary", "segment_transitions")
RESTATED = "select * from gold.segment_restatements order by all"


@contextmanager
def copy(file: Path, folder: Path) -> Iterator[Pipeline]:
    with pipeline_at(folder / "segmentation.duckdb", file) as pipeline:
        yield pipeline


def restate(folder: Path) -> tuple[int, str, str]:
    """`make restate` on the folder's warehouse."""
    return in_process(
        folder,
        "restate",
        SEGMENTATION_SOURCE="warehouse",
        SEGMENTATION_DUCKDB_PATH="segmentation.duckdb",
        SEGMENTATION_EXPORT_URI="memory://exports",
    )


def find(pipeline: Pipeline) -> restatements.Restatement | None:
    with DuckDBWarehouse(path=str(pipeline.path)).session(read_only=True) as session:
        return restatements.find(session)


def evaluate(instance: dg.DagsterInstance, pipeline: Pipeline) -> dg.RunRequest | dg.SkipReason:
    return restate_sensor.evaluate(instance, own_runs(), DuckDBWarehouse(path=str(pipeline.path)))


def history(pipeline: Pipeline) -> pd.DataFrame:
    return pipeline.frame("select snapshot_month, customer_id, customer_segment from gold.customer_segment_history")


@dataclass(frozen=True)
class Restated:
    folder: Path
    before: pd.DataFrame
    found: restatements.Restatement
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def restated(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Restated:
    folder = tmp_path_factory.mktemp("restated")
    with copy(published_file, folder) as pipeline:
        before = history(pipeline)
        assert find(pipeline) is None
        for correction in (*CORRECTIONS, *OTHER_CUSTOMERS):
            pipeline.execute(correction)
        found = find(pipeline)
    assert found is not None
    return Restated(folder, before, found, *restate(folder))


def test_every_month_that_differs_is_found_and_every_published_one_after_it(restated: Restated) -> None:
    assert set(restated.found.changed) == {MARCH, SEPTEMBER, OCTOBER}
    assert restated.found.changed[MARCH] == (0, 500)
    assert restated.found.changed[SEPTEMBER] == (40, 800_000)
    assert restated.found.changed[OCTOBER][0] < 0
    # March to August were never published: their facts are rolled up anew, and they stay unpublished.
    assert restated.found.months == MonthRange(SEPTEMBER, NOVEMBER)
    assert restated.found.rollup_from == MARCH


def test_the_restated_tables_are_those_of_a_pipeline_that_only_ever_saw_the_corrected_facts(
    restated: Restated, tmp_path: Path
) -> None:
    assert restated.code == 0, restated.out + restated.err
    with pipeline_at(restated.folder / "segmentation.duckdb") as pipeline:
        found = published_tables(pipeline)
        rollup = pipeline.rows("select * from silver.customer_period_spend order by all")
    with copy(restated.folder / "segmentation.duckdb", tmp_path) as undisturbed:
        undisturbed.execute("drop schema silver cascade")
        for name, kind in undisturbed.rows(
            "select table_name, table_type from information_schema.tables where table_schema = 'gold'"
            " and regexp_matches(table_name, '^(segment|customer|audience|campaign)_')"
        ):
            undisturbed.execute(f"drop {'view' if kind == 'VIEW' else 'table'} if exists gold.{name} cascade")
        succeeded, said = undisturbed.dbt(SEPTEMBER, NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert succeeded, said
        expected = published_tables(undisturbed)
        assert rollup == undisturbed.rows("select * from silver.customer_period_spend order by all")
    for table in COMPUTED:
        assert found[table] == expected[table] != [], table
    assert {row[:2] for row in found["segment_publications"]} == {
        (month, version) for month in (SEPTEMBER, OCTOBER, NOVEMBER) for version in (1, 2)
    }
    assert expected["segment_restatements"] == [], "the first version of a month restates nothing"


def moves(before: pd.DataFrame, after: pd.DataFrame) -> list[tuple[Any, ...]]:
    """What segment_restatements should hold for version 2 of every month."""
    both = before.merge(after, how="outer", on=["snapshot_month", "customer_id"], suffixes=("_before", "_after"))
    from_segment = both["customer_segment_before"].fillna("Not in the version before")
    to_segment = both["customer_segment_after"].fillna("Not in this version")
    counts = both.groupby([both["snapshot_month"].dt.date, from_segment, to_segment]).size()
    return sorted((month, 2, old, new, count) for (month, old, new), count in counts.to_dict().items())  # pyright: ignore[reportGeneralTypeIssues]


def test_the_restatements_are_the_moves_between_the_old_and_the_new_history(restated: Restated) -> None:
    with pipeline_at(restated.folder / "segmentation.duckdb") as pipeline:
        expected = moves(restated.before, history(pipeline))
        assert pipeline.rows(RESTATED) == expected
    for month in (SEPTEMBER, OCTOBER, NOVEMBER):
        moved = sum(count for when, _, old, new, count in expected if when == month and old != new)
        assert moved > 0, "a later month holds the facts of September too"
        assert f"{month}: published again as version 2; {moved:,} of " in restated.out
    assert any(row[2] == "Not in the version before" for row in expected)
    assert any(row[3] == "Not in this version" for row in expected)


def test_memberships_moves_and_the_feed_are_those_of_what_was_restated(restated: Restated) -> None:
    with pipeline_at(restated.folder / "segmentation.duckdb") as pipeline:
        with pipeline.connection() as connection:
            assert_views_follow(connection)
        entered = pipeline.rows(
            f"select count(*) from gold.segment_moves where snapshot_month = '{OCTOBER}' and to_segment ="
            " 'High-Value Travelers'"
        )
        assert entered[0][0] > 0
        for campaign in Project.load().rules.campaigns:
            said = pipeline.rows(
                f"select external_id from gold.audience_feed where campaign = '{campaign.name}' qualify is_listed and"
                " row_number() over (partition by external_id order by updated_at desc) = 1 order by 1"
            )
            listed = pipeline.rows(
                f"select customer_id from gold.audience_{campaign.name} where treatment_group = 'target'"
                f" and snapshot_month = '{NOVEMBER}' order by 1"
            )
            assert said == listed and said


def test_the_command_says_what_differed(restated: Restated) -> None:
    lines = restated.out.splitlines()
    assert lines[0] == "2025-03-01: the facts hold +0 transactions and +500.00 of spend against the rollup."
    assert lines[1].startswith("2025-09-01: the facts hold +40 transactions and +800,000.00 of spend")
    # By the dimension alone: the rollup holds what the facts did until they changed.
    assert lines[3] == "Published from an older rollup, or of other customers: 2025-09-01, 2025-10-01, 2025-11-01."
    assert lines[4] == "Recomputed are all published months these touch: 2025-09-01 to 2025-11-01."
    assert "Traceback" not in restated.out + restated.err


def test_restating_again_changes_nothing_and_says_so(restated: Restated) -> None:
    with pipeline_at(restated.folder / "segmentation.duckdb") as pipeline:
        before = published_tables(pipeline)
    code, out, err = restate(restated.folder)
    assert (code, err) == (0, "")
    assert out == "Nothing differs: every published month is what its facts make of it. Nothing was computed.\n"
    with pipeline_at(restated.folder / "segmentation.duckdb") as pipeline:
        assert published_tables(pipeline) == before


def test_the_sensor_asks_for_the_same_once_and_a_month_that_fails_its_audits_keeps_its_version(
    published: Pipeline, empty_home: Path, tmp_path: Path
) -> None:
    """The last days of September turn out never to have been loaded: September is blocked, the later months go on."""
    home = shutil.copytree(empty_home, tmp_path / "home")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        nothing = evaluate(instance, published)
        assert isinstance(nothing, dg.SkipReason)
        assert (nothing.skip_message or "").startswith("Nothing differs")
        before = published_tables(published)
        published.execute(
            "delete from gold.fct_transactions where transaction_date between '2025-09-29' and '2025-09-30'"
        )
        asked, again = evaluate(instance, published), evaluate(instance, published)
        assert isinstance(asked, dg.RunRequest)
        assert isinstance(again, dg.RunRequest)
        assert asked.run_key == again.run_key
        assert asked.tags["dagster/asset_partition_range_start"] == str(SEPTEMBER)
        assert asked.tags["dagster/asset_partition_range_end"] == str(NOVEMBER)
        instance.add_run(
            dg.DagsterRun(
                "monthly_segmentation",
                status=dg.DagsterRunStatus.STARTED,
                tags={**asked.tags, **own_runs().portfolio.tags},
            )
        )
        waits = evaluate(instance, published)
        assert isinstance(waits, dg.SkipReason)
        assert (waits.skip_message or "").startswith("A run is under way")
    job = build_defs(resources={"warehouse": DuckDBWarehouse(path=str(published.path))}).resolve_job_def(
        monthly_segmentation
    )
    result = job.execute_in_process(
        asset_selection=[dg.AssetKey(key.split("/")) for key in CANDIDATE_ASSETS + PUBLISHED_ASSETS],
        tags=dict(asked.tags),
        raise_on_error=False,
    )
    assert not result.success
    told = refusal(result)
    assert told.startswith("Not published: 2025-09-01. Each keeps its last published version, if it has one.")
    assert "facts_reach_the_end_of_the_month: 2 days without facts" in told
    after = published_tables(published)

    def of(tables: dict[str, list[tuple[Any, ...]]], month: date) -> list[tuple[Any, ...]]:
        return [row for row in tables["customer_segment_history"] if row[0] == month]

    assert of(after, SEPTEMBER) == of(before, SEPTEMBER)
    assert [row[:2] for row in after["segment_publications"]] == [
        (SEPTEMBER, 1), (OCTOBER, 1), (OCTOBER, 2), (NOVEMBER, 1), (NOVEMBER, 2),
    ]  # fmt: skip
    assert {row[0] for row in after["segment_restatements"]} == {OCTOBER, NOVEMBER}
    # It is not forgotten: what is published of September is not what the facts make of it.
    found = find(published)
    assert found is not None
    assert (found.changed, found.outdated) == ({}, (SEPTEMBER,))


def test_a_restatement_that_was_stopped_halfway_is_found_again(published: Pipeline) -> None:
    """The rollup is right, and the months after the recomputed one were never published anew."""
    published.execute(CORRECTIONS[0])
    succeeded, said = published.dbt(SEPTEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
    assert succeeded, said
    found = find(published)
    assert found is not None
    assert found.changed == {}
    assert found.outdated == (OCTOBER, NOVEMBER)
    assert found.months == MonthRange(OCTOBER, NOVEMBER)


def test_a_month_whose_numbers_changed_and_nobody_moved_has_the_diagonal(published: Pipeline) -> None:
    published.execute(
        "update gold.fct_transactions set transaction_amount = transaction_amount + 0.01 where transaction_key ="
        " (select min(transaction_key) from silver.stg_transactions where transaction_date >= '2025-11-01')"
    )
    before = history(published)
    for _ in range(2):
        succeeded, said = published.dbt(NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
        assert succeeded, said
    rows = published.rows(RESTATED)
    counts = before[before["snapshot_month"].dt.date == NOVEMBER]["customer_segment"].value_counts().to_dict()
    assert rows == sorted((NOVEMBER, 2, segment, segment, count) for segment, count in counts.items())


def test_a_category_that_was_corrected_differs_too(published: Pipeline) -> None:
    published.execute(
        "update gold.fct_transactions set merchant_category_key = 1 where transaction_key = (select max("
        "transaction_key) from silver.stg_transactions join silver.stg_merchant_categories using (category_key)"
        " where category_group is null and amount > 0 and transaction_date < '2025-11-01')"
    )
    found = find(published)
    assert found is not None
    ((month, difference),) = found.changed.items()
    assert difference == (0, 0)
    assert (
        f"{month}: count and spend of the facts are those of the rollup, their categories are not." in found.message()
    )


def test_a_month_and_its_restatement_are_written_together_or_not_at_all(published: Pipeline) -> None:
    published.execute(CORRECTIONS[0].replace("2025-09-30", "2025-11-30"))
    published.execute("alter table gold.segment_restatements rename column customers to people")
    before = published_tables(published)
    succeeded, said = published.dbt(
        NOVEMBER, select="path:models/metrics segment_assignments segment_audits customer_segment_history",
        arguments=NO_TESTS,
    )  # fmt: skip
    assert not succeeded
    assert any("customers" in line for line in said), said
    assert published_tables(published) == before


def largest_step(pipeline: Pipeline) -> int:
    """Of a look for outdated months: the most rows that any step of it gave."""

    def rows(step: dict[str, Any]) -> Iterator[int]:
        yield int(step["intermediate_rows"])
        for child in step.get("children", ()):
            yield from rows(child)

    ((_, plan),) = pipeline.rows("explain (analyze, format json) select * from silver.outdated_months")
    return max(most for step in json.loads(plan)["operator"] for most in rows(step))


def test_a_look_at_all_of_history_joins_no_period_with_every_month_after_it(published: Pipeline) -> None:
    """Each period with the months of its windows, seven at most, and each customer once a month."""
    published.execute(
        "insert into gold.customer_segment_history by name select history.* replace ("
        " cast(snapshot_month + to_months(cast(month as integer)) as date) as snapshot_month,"
        " cast(segment_assigned_date + to_months(cast(month as integer)) as date) as segment_assigned_date)"
        " from gold.customer_segment_history as history, range(1, 37) as later(month)"
        f" where snapshot_month = '{NOVEMBER}'"
    )
    ((customer_months,),) = published.rows("select count(*) from gold.customer_segment_history")
    ((periods,),) = published.rows("select count(*) from silver.customer_period_spend")
    ((months,),) = published.rows("select count(distinct snapshot_month) from gold.customer_segment_history")
    allowed = 7 * periods + 3 * customer_months
    assert allowed < months * periods / 2, "what a join of every month with all periods before it would take"
    assert 0 < largest_step(published) <= allowed


def test_nothing_published_is_one_line(tmp_path: Path) -> None:
    code, out, err = in_process(tmp_path, "restate", SEGMENTATION_SOURCE="warehouse")
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: There is no DuckDB file at ")
    assert not list(tmp_path.glob("**/*.duckdb")), "a look made a database"
