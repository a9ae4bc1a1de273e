"""The gate where the candidate itself is wrong, where one month of several is bad, and where the audits are outdated.

Locks out: a customer with two segments or none, or in the wrong one, in marketing's tables; one bad month that holds up
a year of good ones, or slips through between them; audits that still vouch for a candidate that was computed anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.assets.checks import CANDIDATE
from segmentation_assets.definitions import build_defs
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.publication import audits
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.published_months import (
    CANDIDATE_ASSETS,
    NAMED_TESTS_ONLY,
    NO_TESTS,
    NOVEMBER,
    OCTOBER,
    PUBLICATION,
    PUBLISHED_ASSETS,
    SEPTEMBER,
    audit_evaluations,
    pipeline_at,
    published_tables,
    recorded_verdicts,
    refusal,
)
from tests.support.warehouse_fixture import Pipeline

ASSIGNED_ONCE, CRITERIA, DAYS = (
    "every_customer_is_assigned_once",
    "members_meet_their_criteria",
    "facts_reach_the_end_of_the_month",
)
# Between the candidate and its audits: one customer twice; one gone and one without a segment; and three misplaced, one
# who misses the criteria, one who meets those of a segment before, one in a segment that there is not.
PLANTED = [
    "insert into silver.segment_assignments select * from silver.segment_assignments"
    " where snapshot_month = '2025-09-01' order by customer_id limit 1",
    "delete from silver.segment_assignments where snapshot_month = '2025-10-01' and customer_id ="
    " (select min(customer_id) from silver.segment_assignments where snapshot_month = '2025-10-01')",
    "update silver.segment_assignments set customer_segment = null"
    " where snapshot_month = '2025-10-01' and customer_id ="
    " (select max(customer_id) from silver.segment_assignments where snapshot_month = '2025-10-01')",
    *(
        f"update silver.segment_assignments set customer_segment = '{wrong}'"
        f" where snapshot_month = '2025-11-01' and customer_id ="
        f" (select {which}(customer_id) from silver.segment_assignments where snapshot_month = '2025-11-01'"
        f" and customer_segment = '{right}')"
        for right, wrong, which in (
            ("Stable Mid-Spenders", "Declining", "min"),
            ("High-Value Travelers", "Stable Mid-Spenders", "min"),
            ("Budget-Conscious", "Budget-conscious", "max"),
        )
    ),
]
SENTENCES = {
    SEPTEMBER: {ASSIGNED_ONCE: ["2025-09-01: {}: 1 customer not assigned exactly once (allowed: 0)."]},
    OCTOBER: {ASSIGNED_ONCE: ["2025-10-01: {}: 2 customers not assigned exactly once (allowed: 0)."]},
    NOVEMBER: {
        CRITERIA: [
            "2025-11-01: {}, Budget-conscious: 1 member that does not belong (allowed: 0).",
            "2025-11-01: {}, Declining: 1 member that does not belong (allowed: 0).",
            "2025-11-01: {}, Stable Mid-Spenders: 1 member that does not belong (allowed: 0).",
        ]
    },
}


@dataclass(frozen=True)
class Planted:
    instance: dg.DagsterInstance
    checks: dict[date, dict[str, dg.AssetCheckEvaluation]]
    alone: dg.ExecuteInProcessResult
    plain: tuple[bool, list[str]]
    before: dict[str, list[tuple[Any, ...]]]
    after: dict[str, list[tuple[Any, ...]]]


def checks_alone(pipeline: Pipeline, month: date) -> dg.ExecuteInProcessResult:
    """The audits' checks without the candidate, which would be computed anew and lose what was planted."""
    keys = [dg.AssetCheckKey(dg.AssetKey(CANDIDATE), audit.name) for audit in audits.AUDITS]
    job = dg.define_asset_job("audits", selection=dg.AssetSelection.checks(*keys), partitions_def=monthly_partitions())
    definitions = dg.Definitions.merge(
        build_defs(resources={"warehouse": DuckDBWarehouse(path=str(pipeline.path))}), dg.Definitions(jobs=[job])
    )
    tags = {"dagster/asset_partition_range_start": str(month), "dagster/asset_partition_range_end": str(month)}
    return definitions.resolve_job_def("audits").execute_in_process(
        instance=pipeline.instance, tags=tags, raise_on_error=False
    )


@pytest.fixture(scope="module")
def planted(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    with pipeline_at(tmp_path_factory.mktemp("planted") / "segmentation.duckdb", published_file) as pipeline:
        before = published_tables(pipeline)
        for fault in PLANTED:
            pipeline.execute(fault)
        audited, said = pipeline.dbt(SEPTEMBER, NOVEMBER, select="segment_audits", arguments=NO_TESTS)
        assert audited, said
        checks = {month: audit_evaluations(checks_alone(pipeline, month)) for month in SENTENCES}
        alone = pipeline.run(SEPTEMBER, NOVEMBER, select=PUBLISHED_ASSETS[:1])
        plain = pipeline.dbt(SEPTEMBER, NOVEMBER, select=PUBLICATION, arguments=NAMED_TESTS_ONLY)
        yield Planted(pipeline.instance, checks, alone, plain, before, published_tables(pipeline))


@pytest.mark.parametrize("month", SENTENCES, ids=str)
def test_a_wrong_candidate_fails_its_check_in_words(planted: Planted, month: date) -> None:
    failed = {name: found for name, found in planted.checks[month].items() if not found.passed}
    assert set(failed) == set(SENTENCES[month])
    for audit, sentences in SENTENCES[month].items():
        assert failed[audit].severity is dg.AssetCheckSeverity.ERROR
        *told, advice = (failed[audit].description or "").splitlines()
        assert told == [sentence.format(audit) for sentence in sentences]
        assert advice == audits.BY_NAME[audit].advice


def test_a_range_of_one_month_shows_the_verdict_on_its_month(planted: Planted) -> None:
    """Such a run has no partition, and neither has its check's evaluation: the month would stay planned for ever."""
    assigned_once, criteria = (recorded_verdicts(planted.instance, audit) for audit in (ASSIGNED_ONCE, CRITERIA))
    assert [assigned_once[str(month)] for month in SENTENCES] == ["FAILED", "FAILED", "SUCCEEDED"]
    assert [criteria[str(month)] for month in SENTENCES] == ["SUCCEEDED", "SUCCEEDED", "FAILED"]


def test_a_wrong_candidate_is_refused_by_every_way_to_publish(planted: Planted) -> None:
    assert not planted.alone.success
    told = refusal(planted.alone)
    assert told.startswith("Not published: 2025-09-01, 2025-10-01, 2025-11-01. ")
    for month, failed in SENTENCES.items():
        for audit, sentences in failed.items():
            for sentence in sentences:
                assert f"- {sentence.format(audit)}" in told.splitlines(), month
    assert not planted.plain[0]
    for table, rows in planted.before.items():
        assert planted.after[table] == rows, table


@dataclass(frozen=True)
class Backfill:
    instance: dg.DagsterInstance
    result: dg.ExecuteInProcessResult
    before: dict[str, list[tuple[Any, ...]]]
    after: dict[str, list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def backfill(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfill]:
    """September to November in one run, October without the facts of its last two days."""
    with pipeline_at(tmp_path_factory.mktemp("backfill") / "segmentation.duckdb", published_file) as pipeline:
        before = published_tables(pipeline)
        pipeline.execute("delete from gold.fct_transactions where transaction_date in ('2025-10-30', '2025-10-31')")
        result = pipeline.run(SEPTEMBER, NOVEMBER, select=CANDIDATE_ASSETS + PUBLISHED_ASSETS)
        yield Backfill(pipeline.instance, result, before, published_tables(pipeline))


def rows_of(tables: dict[str, list[tuple[Any, ...]]], table: str, month: date) -> list[tuple[Any, ...]]:
    return [row for row in tables[table] if row[0] == month]


def test_good_months_of_a_range_are_published_and_the_bad_one_keeps_its_version(backfill: Backfill) -> None:
    for table in ("customer_segment_history", "segment_summary", "segment_publications"):
        assert rows_of(backfill.after, table, OCTOBER) == rows_of(backfill.before, table, OCTOBER), table
        assert rows_of(backfill.after, table, SEPTEMBER) == rows_of(backfill.before, table, SEPTEMBER), table
        assert rows_of(backfill.after, table, NOVEMBER) != rows_of(backfill.before, table, NOVEMBER), table
    assert [row[1:] for row in rows_of(backfill.after, "customer_segment_history", NOVEMBER)] == (
        backfill.after["customer_segments"]
    )
    versions = [(row[0], row[1]) for row in backfill.after["segment_publications"]]
    assert versions == [(SEPTEMBER, 1), (OCTOBER, 1), (NOVEMBER, 1), (NOVEMBER, 2)]


def test_the_run_of_a_range_fails_and_names_the_bad_month(backfill: Backfill) -> None:
    assert not backfill.result.success
    told = refusal(backfill.result)
    assert told.startswith("Not published: 2025-10-01. ")
    assert f"- 2025-10-01: {DAYS}: 2 days without facts before the as-of date (allowed: 0)." in told
    check = audit_evaluations(backfill.result)[DAYS]
    assert not check.passed
    assert check.metadata["failed_months"].value == "2025-10-01"


def test_every_month_of_a_range_has_a_verdict_of_its_own(backfill: Backfill) -> None:
    verdicts = recorded_verdicts(backfill.instance, DAYS)
    assert {str(month): verdicts[str(month)] for month in SENTENCES} == {
        "2025-09-01": "SUCCEEDED", "2025-10-01": "FAILED", "2025-11-01": "SUCCEEDED",
    }  # fmt: skip
    for audit in audits.AUDITS:
        assert {str(month) for month in SENTENCES} <= set(recorded_verdicts(backfill.instance, audit.name)), audit.name


def test_audits_of_an_earlier_candidate_cannot_publish(published: Pipeline) -> None:
    before = published_tables(published)
    candidate = published.run(NOVEMBER, select=["silver/segment_assignments"])
    assert not candidate.success
    for found in audit_evaluations(candidate).values():
        assert "There are no audits for this month." in (found.description or "")
    assert not published.rows("select * from silver.segment_audits where snapshot_month = '2025-11-01'")
    assert published.rows("select * from silver.segment_audits where snapshot_month = '2025-10-01'")

    alone = published.run(NOVEMBER, select=PUBLISHED_ASSETS[:1])
    assert not alone.success
    told = refusal(alone)
    assert told.startswith("Not published: 2025-11-01. Each keeps its last published version, if it has one.\n")
    assert "- 2025-11-01: there are no audits of the present candidate (content hash " in told
    assert told.endswith("(make month MONTH=2025-11-01).")
    plain, said = published.dbt(NOVEMBER, select=PUBLICATION, arguments=NAMED_TESTS_ONLY)
    assert not plain, said
    assert published_tables(published) == before
