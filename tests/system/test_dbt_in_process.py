"""dbt in the run's own process tells Dagster what the stock resource would.

Locks out: an upgrade of dagster-dbt or dbt after which materialisations, checks or metadata are missing or different, a
failed build that looks green, an interrupted one that goes on writing or blocks the next, and connections that dbt
closes under whoever still reads what it built.
"""

import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError  # what Dagster raises in a run that is stopped
from dagster_dbt import DbtCliResource, DbtProject, dbt_assets

from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import InProcessDbt
from segmentation_assets.dbt.translator import SegmentationTranslator
from segmentation_assets.months import MonthRange
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.sources import synthetic
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from tests.support.warehouse_fixture import CANDIDATE

MONTH = date(2026, 9, 1)
ROLLUP = "path:models/staging customer_period_spend"
# Differ between any two builds.
OF_THE_MOMENT = {"invocation_id", "Execution Duration", "dagster_dbt/completed_at_timestamp", "execution_duration"}

# The stock resource also puts the columns of the tested table on each check, at a query per check.
OF_THE_TABLE = {"dagster/column_schema", "dagster/column_lineage"}

Build = Callable[[dg.AssetExecutionContext, DuckDBWarehouse], Iterator[Any]]


def in_process(context: dg.AssetExecutionContext, warehouse: DuckDBWarehouse) -> Iterator[Any]:
    translator = SegmentationTranslator(Project.load())
    with InProcessDbt().build(context, warehouse, MonthRange.single(MONTH), translator) as built:
        yield from built.stream()


def stock(context: dg.AssetExecutionContext, warehouse: DuckDBWarehouse) -> Iterator[Any]:
    months = {"first_month": str(MONTH), "last_month": str(MONTH), "run_id": context.run.run_id}
    months["run_date"] = str(date.today())
    project = Project.load()
    arguments = ["build", *project.vars_arguments(months), "--exclude-resource-type", "unit_test"]
    executable = str(Path(sys.executable).with_name("dbt"))
    dbt = DbtCliResource(project_dir=DbtProject(Project.load().dbt_dir), target="duckdb", dbt_executable=executable)
    with project.environment():
        invocation = dbt.cli(
            [*arguments, "--indirect-selection", "buildable"],
            context=context,
            target_path=Path(warehouse.path).parent / "target",
        )
        yield from invocation.stream().fetch_column_metadata()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "segmentation.duckdb"
    with duckdb.connect(str(path)) as connection:
        synthetic.build(connection, "gold", customers=600, first_month=date(2025, 6, 1), last_month=MONTH)
        # An unheard-of status is a warning, in every build below.
        connection.execute(
            "update gold.fct_transactions set transaction_status = 'held' where transaction_status = 'declined'"
        )
    return path


def materialize(
    folder: Path, source: Path, build: Build, select: str, spoil: str | None = None
) -> dg.ExecuteInProcessResult:
    path = folder / "segmentation.duckdb"
    folder.mkdir(exist_ok=True)
    shutil.copy(source, path)
    if spoil:
        with duckdb.connect(str(path)) as connection:
            connection.execute(spoil)

    project = Project.load()

    @dbt_assets(
        manifest=project.manifest_path,
        project=DbtProject(Project.load().dbt_dir), select=select, partitions_def=monthly_partitions(),
        dagster_dbt_translator=SegmentationTranslator(project), name="compared",
    )  # fmt: skip
    def compared(context: dg.AssetExecutionContext) -> Iterator[Any]:
        yield from build(context, DuckDBWarehouse(path=str(path)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEGMENTATION_DUCKDB_PATH", str(path))
        return dg.materialize([compared], partition_key=str(MONTH), raise_on_error=False)


def told(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    """Everything Dagster has recorded of a build but moments and ids, in an order of its own."""
    materializations = {
        event.asset_key.to_user_string(): without(OF_THE_MOMENT, event.materialization.metadata)
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    checks = {
        (check.asset_key.to_user_string(), check.check_name): (
            check.passed, check.severity, check.partition, without(OF_THE_MOMENT | OF_THE_TABLE, check.metadata),
        )
        for check in result.get_asset_check_evaluations()
    }  # fmt: skip
    return {"success": result.success, "materializations": materializations, "checks": checks}


def without(keys: set[str], metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key not in keys}


def error_of(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event for event in result.all_events if event.event_type_value == "STEP_FAILURE"]
    error = failure.step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None
    return error.message


A_FACT_TWICE = (
    f"insert into gold.fct_transactions from gold.fct_transactions where transaction_date = '{MONTH}' limit 1"
)


@pytest.mark.parametrize(("select", "spoil"), [(CANDIDATE, None), (ROLLUP, A_FACT_TWICE)], ids=["good", "failing"])
def test_it_tells_what_the_stock_resource_tells(tmp_path: Path, source: Path, select: str, spoil: str | None) -> None:
    ours, theirs = (
        materialize(tmp_path / build.__name__, source, build, select, spoil) for build in (in_process, stock)
    )
    found, expected = told(ours), told(theirs)
    assert found["success"] == expected["success"] == (spoil is None)
    assert list(found) == list(expected)
    for kind in ("materializations", "checks"):
        assert found[kind].keys() == expected[kind].keys()
        for key, event in expected[kind].items():
            assert found[kind][key] == event, f"{kind} of {key}"
    warned = [
        name for (_, name), check in found["checks"].items() if check[1] == dg.AssetCheckSeverity.WARN and not check[0]
    ]
    assert "transaction_status_is_known" in warned
    if spoil is None:
        again = told(materialize(tmp_path / "again", source, in_process, select))
        assert again["materializations"] == found["materializations"], (
            "lineage that is known differs from lineage found"
        )
        assignments = found["materializations"]["silver/segment_assignments"]
        columns = {column.name for column in assignments["dagster/column_schema"].value.columns}
        assert {"customer_id", "customer_segment", "spend_change_pct"} <= columns
        assert assignments["dagster/column_lineage"].value.deps_by_column["lifetime_value"]
    else:
        skipped = {"silver/stg_transactions", "silver/customer_period_spend"}
        assert not skipped & set(found["materializations"]), "what follows a failed test is skipped"
        assert [name for (_, name), check in found["checks"].items() if not check[0] and name not in warned] == [
            "every_fact_is_loaded_once"
        ]
        # The first line names the process and the folder; colours and seconds are no part of what dbt said.
        ours_said, theirs_said = (
            re.sub(r"\x1b\[\d+m| in \d+\.\d+s", "", error_of(result).partition("Errors parsed from dbt logs:")[2])
            for result in (ours, theirs)
        )
        # Ours says what was found where the stock one says how many tests were run before.
        (found_first, *ours_rest), (counted, *theirs_rest) = (
            said.strip().splitlines() for said in (ours_said, theirs_said)
        )
        assert found_first.startswith("every_fact_is_loaded_once: fct_transactions: transaction_key: 2 rows")
        assert re.match(r"\d+ of \d+ FAIL 1 every_fact_is_loaded_once", counted)
        assert ours_rest == theirs_rest


def test_an_interrupted_build_stops_and_the_next_one_works(tmp_path: Path, source: Path) -> None:
    seen: list[str] = []

    def interrupted(context: dg.AssetExecutionContext, warehouse: DuckDBWarehouse) -> Iterator[Any]:
        translator = SegmentationTranslator(Project.load())
        with InProcessDbt().build(context, warehouse, MonthRange.single(MONTH), translator) as built:
            for event in built.stream():
                yield event
                if isinstance(event, dg.Output):
                    seen.append(event.output_name)
                    raise DagsterExecutionInterruptedError
        raise AssertionError("it went on")

    result = materialize(tmp_path / "interrupted", source, interrupted, ROLLUP)
    assert not result.success
    assert len(seen) == 1
    assert not [thread for thread in threading.enumerate() if thread.name == "dbt"], "dbt goes on"
    again = materialize(tmp_path / "again", source, in_process, ROLLUP)
    assert again.success


def test_dbt_ends_when_all_it_built_is_read(tmp_path: Path, source: Path) -> None:
    """At its end it closes every connection, also one through which the last table's columns are being asked for."""
    goes_on: list[bool] = []

    def slow(context: dg.AssetExecutionContext, warehouse: DuckDBWarehouse) -> Iterator[Any]:
        translator = SegmentationTranslator(Project.load())
        nothing_after = ("--exclude-resource-type", "test")
        with InProcessDbt().build(
            context, warehouse, MonthRange.single(MONTH), translator, extra=nothing_after
        ) as built:
            for event in built.stream():
                yield event
                if isinstance(event, dg.Output) and event.output_name == "silver__customer_period_spend":
                    time.sleep(3)  # far longer than dbt takes to end after its last node
                    goes_on.append("dbt" in {thread.name for thread in threading.enumerate()})

    result = materialize(tmp_path / "slow", source, slow, ROLLUP)
    assert result.success, error_of(result)
    assert goes_on == [True]
