"""The same graph with dbt through the stock DbtCliResource: what the in-process one is measured against.

Everything else is ours: assets, checks, gate, audiences, exports, one process for the steps.
"""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import DbtCliInvocation, DbtCliResource, DbtProject

from segmentation_assets.assets import stages
from segmentation_assets.assets.materializations import MaterializationNumbers
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import DagsterEvent, DbtBuild, InProcessDbt, Model, Shown
from segmentation_assets.dbt.translator import SegmentationTranslator
from segmentation_assets.definitions import build_defs
from segmentation_assets.months import MonthRange
from segmentation_assets.warehouse.duckdb import DuckDBWarehouse
from segmentation_assets.warehouse.session import Warehouse


class StockBuild(DbtBuild):
    """The stock invocation in our stages: it adds the columns and counts of its tables itself."""

    def __init__(self, invocation: DbtCliInvocation) -> None:
        self._invocation = invocation

    def stream(self) -> Iterator[DagsterEvent]:
        yield from self._invocation.stream().fetch_row_counts().fetch_column_metadata()

    def batches(self, seconds: float) -> Iterator[list[DagsterEvent]]:
        del seconds
        yield from ([event] for event in self.stream())

    def model_of(self, event: dg.Output[object]) -> Model:
        del event  # nothing is asked of it
        return {}


class StockDbt(InProcessDbt):
    """Starts dbt in a process of its own, as dagster-dbt does."""

    @contextmanager
    def build(
        self,
        context: dg.AssetExecutionContext,
        warehouse: Warehouse,
        months: MonthRange,
        translator: SegmentationTranslator,
        *,
        extra: Sequence[str] = (),
        variables: Mapping[str, Any] | None = None,
        prepare: Callable[[], Shown] = dict,
    ) -> Iterator[DbtBuild]:
        del warehouse
        prepare()
        project = translator.project
        names = {**months.dbt_vars(), "run_id": context.run_id, **(variables or {})}
        dbt = DbtCliResource(
            project_dir=DbtProject(project.dbt_dir),
            target=project.settings.target,
            dbt_executable=str(Path(sys.executable).parent / "dbt"),
        )
        from dbt.adapters.duckdb.connections import DuckDBConnectionManager
        from dbt.adapters.factory import reset_adapters

        with project.environment():
            invocation = dbt.cli(
                [
                    # The project with the models of the rules; the assets name the one without them.
                    "build", "--project-dir", str(project.dbt_dir), "--profiles-dir", str(project.dbt_dir),
                    *project.vars_arguments({**names, "run_date": str(date.today())}),
                    "--exclude-resource-type", "unit_test", "--indirect-selection", "buildable", *extra,
                ],
                context=context,
                target_path=Path(os.environ["DBT_TARGET_PATH"], "stock", f"{context.op_handle.name}-{context.run_id}"),
            )  # fmt: skip
            yield StockBuild(invocation)
            # It keeps the file open, which the next step's process of dbt could not open then.
            DuckDBConnectionManager.close_all_connections()
            reset_adapters()


class NoNumbers(MaterializationNumbers):
    """Ours ask through our build's connection; the stock one has none while its process has the file."""

    def count(self, models: Sequence[Model]) -> None:
        del models

    def put_on(self, event: dg.Output[object], model: Model) -> Iterator[dg.Output[object] | dg.AssetObservation]:
        del model
        yield event


stages.MaterializationNumbers = NoNumbers  # pyright: ignore[reportAttributeAccessIssue]


class OpenedByTheStep(DuckDBWarehouse):
    """Ours is open a whole run long, and the process of the stock dbt could not open it then."""


@dg.definitions
def defs() -> dg.Definitions:
    project = Project.load()
    opened = OpenedByTheStep(path=str(project.settings.duckdb_path))
    return build_defs(resources={"dbt": StockDbt(), "warehouse": opened}, project=project)
