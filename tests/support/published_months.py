"""Published months to start from, computed once and copied by each test: three synthetic ones, one counted by hand."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from segmentation_assets.sources import synthetic
from tests.support.known_mix import BUDGET, DECLINING, GROWING, STABLE, TRAVELERS, known_mix
from tests.support.once import once
from tests.support.warehouse_fixture import Pipeline

SEPTEMBER, OCTOBER, NOVEMBER, DECEMBER = (date(2025, month, 1) for month in (9, 10, 11, 12))
TABLES = (
    "customer_segment_history",
    "customer_segments",
    "segment_summary",
    "segment_transitions",
    "segment_publications",
    "segment_restatements",
)

# What plain dbt and Dagster are asked for.
CANDIDATE_AND_PUBLISHED = "path:models/staging path:models/metrics path:models/segments"
RECOMPUTED = "path:models/metrics segment_assignments segment_audits"
VIEWS = ("segment_explanations", "segment_memberships", "segment_moves")
PUBLICATION = " ".join((*TABLES, *VIEWS)) + " asked_months_are_published"
NO_TESTS = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
NAMED_TESTS_ONLY = ("--indirect-selection", "empty")
CANDIDATE_ASSETS = [
    f"silver/{name}"
    for name in (
        "customer_period_spend", "transaction_window_metrics", "category_shares",
        "segment_assignments", "segment_audits", "segment_audit_verdicts", "segment_gate", "facts_by_day",
        "rollup_differences", "fact_days",
    )
]  # fmt: skip
PUBLISHED_ASSETS = [*(f"gold/{table}" for table in (*TABLES, *VIEWS)), "silver/outdated_months"]

FILE = "segmentation.duckdb"
ON_THE_FLOOR = {TRAVELERS: 50, DECLINING: 50, GROWING: 50, BUDGET: 50, STABLE: 800}


@contextmanager
def pipeline_at(
    path: Path, copied_from: Path | None = None, instance: dg.DagsterInstance | None = None
) -> Iterator[Pipeline]:
    """A pipeline on a file. Its name is always the same: the compiled project calls the database after it.

    What Dagster has recorded is gone with it, unless it was given an instance that goes on.
    """
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        own = instance or stack.enter_context(dg.DagsterInstance.ephemeral())
        path.parent.mkdir(parents=True, exist_ok=True)
        if copied_from is not None:
            shutil.copy(copied_from, path)
        patch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
        yield Pipeline(path, own)


def published_tables(pipeline: Pipeline) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of what consumers read."""
    return {table: pipeline.rows(f"select * from gold.{table} order by all") for table in TABLES}


def audit_evaluations(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    """The checks on segment_assignments that read segment_audits, by name."""
    return {
        evaluation.check_name: evaluation
        for evaluation in result.get_asset_check_evaluations()
        if "failed_months" in evaluation.metadata
    }


def materialized(result: dg.ExecuteInProcessResult) -> set[str]:
    return {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}


def refusal(result: dg.ExecuteInProcessResult) -> str:
    """What the run's dg.Failure says."""
    (event,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    assert event.step_failure_data.user_failure_data, "the step did not fail with a dg.Failure"
    return event.step_failure_data.user_failure_data.description or ""


def recorded_verdicts(
    instance: dg.DagsterInstance, check: str, asset: str = "silver/segment_assignments"
) -> dict[str | None, str]:
    """Per month, the newest verdict in Dagster's own log: PLANNED, SUCCEEDED or FAILED. Under None: of a run."""
    key = dg.AssetCheckKey(dg.AssetKey(asset.split("/")), check)
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    return {record.partition: record.status.value for record in sorted(records, key=lambda record: record.id)}


@dataclass(frozen=True)
class Attempt:
    """A fault in the data, and what the three ways to publish made of it."""

    path: Path
    instance: dg.DagsterInstance
    job: dg.ExecuteInProcessResult  # everything, in one run
    alone: dg.ExecuteInProcessResult  # the published tables, in a run of their own
    plain: tuple[bool, list[str]]  # the same by plain dbt
    before: dict[str, list[tuple[Any, ...]]]
    after: dict[str, list[tuple[Any, ...]]]


def attempt(pipeline: Pipeline, month: date, faults: Sequence[str], *, everything: bool) -> Attempt:
    before = published_tables(pipeline)
    for fault in faults:
        pipeline.execute(fault)
    job = pipeline.run(month, select=None if everything else CANDIDATE_ASSETS + PUBLISHED_ASSETS)
    alone = pipeline.run(month, select=PUBLISHED_ASSETS if everything else PUBLISHED_ASSETS[:1])
    plain = pipeline.dbt(month, select=PUBLICATION, arguments=NAMED_TESTS_ONLY)
    return Attempt(pipeline.path, pipeline.instance, job, alone, plain, before, published_tables(pipeline))


@pytest.fixture(scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dagster home whose tables are there: making them takes longer than most tests that want one of their own."""

    def make(home: Path) -> None:
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.get_runs_count()
            instance.all_instigator_state()

    return once(tmp_path_factory, "empty_home", make)


@pytest.fixture(scope="session")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1,000 customers, published September to November 2025 by one plain dbt build; no fact lies in the future."""

    def make(folder: Path) -> None:
        with pipeline_at(folder / FILE) as pipeline:
            with pipeline.connection() as connection:
                synthetic.build(
                    connection,
                    "gold",
                    customers=1000,
                    first_month=date(2025, 1, 1),
                    last_month=NOVEMBER,
                    sized_at=NOVEMBER,
                )
                connection.execute("delete from gold.fct_transactions where transaction_date >= '2025-12-01'")
            succeeded, said = pipeline.dbt(SEPTEMBER, NOVEMBER, select=CANDIDATE_AND_PUBLISHED, arguments=NO_TESTS)
            assert succeeded, said

    return once(tmp_path_factory, "published_months", make) / FILE


@pytest.fixture
def published(published_file: Path, tmp_path: Path) -> Iterator[Pipeline]:
    with pipeline_at(tmp_path / "copy" / "segmentation.duckdb", published_file) as pipeline:
        yield pipeline


@pytest.fixture(scope="session")
def audiences_file(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with the audiences of the three months, made as the shipped rules say."""

    def make(folder: Path) -> None:
        with pipeline_at(folder / FILE, published_file) as pipeline:
            succeeded, said = pipeline.dbt(SEPTEMBER, NOVEMBER, select="path:models/audiences", arguments=NO_TESTS)
            assert succeeded, said

    return once(tmp_path_factory, "published_months_with_audiences", make) / FILE


@pytest.fixture(scope="session")
def december(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dg.ExecuteInProcessResult]:
    """December published by the job: four segments at exactly 5 %, and every audit that only warns failing."""
    with pipeline_at(tmp_path_factory.mktemp("december") / "segmentation.duckdb", published_file) as pipeline:
        pipeline.load(known_mix(DECEMBER, ON_THE_FLOOR))
        pipeline.execute("delete from silver.customer_period_spend")  # rolled up from the portfolio before
        # 2 % of the spend in a category nobody knows, and one fact in two thousand dated years ahead.
        pipeline.execute(
            "update gold.fct_transactions set merchant_category_key = 99 where transaction_key in"
            " (select max(transaction_key) from gold.fct_transactions where transaction_amount = 9000"
            " group by customer_key order by customer_key limit 20)"
        )
        pipeline.execute(
            "insert into gold.fct_transactions by name (select * replace (transaction_key + 1000000 as transaction_key,"
            " date '2199-01-01' as transaction_date) from gold.fct_transactions where transaction_amount = 10 limit 20)"
        )
        result = pipeline.run(DECEMBER, select=CANDIDATE_ASSETS + PUBLISHED_ASSETS)
    return pipeline.path, result


@pytest.fixture(scope="session")
def below_the_floor(
    december: tuple[Path, dg.ExecuteInProcessResult], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attempt]:
    """December once more: nobody travels, one customer fewer declines, and exactly 5 % still grow."""
    moves = [
        "update gold.fct_transactions set merchant_category_key = 7"
        " where merchant_category_key = 1 and transaction_date >= '2025-12-01'",
        "update gold.fct_transactions set transaction_amount = 9000 where transaction_amount = 100 and customer_key ="
        " (select customer_key from gold.dim_customer where customer_id = 'Declining 7')",
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        with pipeline_at(tmp_path_factory.mktemp("floor") / FILE, december[0], instance) as pipeline:
            found = attempt(pipeline, DECEMBER, moves, everything=False)
        yield found


@pytest.fixture(scope="session")
def fact_of_nobody(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempt]:
    """November once more, after one of its facts went to a customer_key that dim_customer does not know."""
    moved = (
        "update gold.fct_transactions set customer_key = 999999999, transaction_amount = 12.50 where transaction_key ="
        " (select min(transaction_key) from silver.stg_transactions where transaction_date >= '2025-11-01')"
    )
    with dg.DagsterInstance.ephemeral() as instance:
        with pipeline_at(tmp_path_factory.mktemp("nobody") / FILE, published_file, instance) as pipeline:
            found = attempt(pipeline, NOVEMBER, [moved], everything=True)
        yield found


@pytest.fixture(scope="session")
def without_its_last_days(published_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempt]:
    """November once more, without the facts of its last two days."""
    cut = "delete from gold.fct_transactions where transaction_date >= '2025-11-29'"
    with dg.DagsterInstance.ephemeral() as instance:
        with pipeline_at(tmp_path_factory.mktemp("days") / FILE, published_file, instance) as pipeline:
            found = attempt(pipeline, NOVEMBER, [cut], everything=False)
        yield found
