"""What exists: every asset, check, job, schedule, sensor and resource, in one list."""

import warnings
from collections.abc import Mapping
from typing import Any, cast

import dagster as dg

from segmentation_assets.alerts.sensor import alert_sensor
from segmentation_assets.assets.checks import audit_checks
from segmentation_assets.assets.exports import export_assets
from segmentation_assets.assets.outcomes import outcomes_asset
from segmentation_assets.assets.report import report_asset
from segmentation_assets.assets.stages import dbt_asset_definitions
from segmentation_assets.assets.star_schema import star_schema_assets
from segmentation_assets.automation.catch_up import catch_up_sensor
from segmentation_assets.automation.dead_runs import dead_runs_sensor, in_process_with_lock
from segmentation_assets.automation.freshness import with_freshness
from segmentation_assets.automation.jobs import monthly_job
from segmentation_assets.automation.restate import restatement_sensor
from segmentation_assets.automation.schedule import monthly_schedule
from segmentation_assets.dbt.runner import InProcessDbt
from segmentation_assets.exports.store import ExportStore, export_uri
from segmentation_assets.warehouse.session import warehouse
from segmentation_assets.what_if.job import what_if_job

# Features of the pinned Dagster that it calls preview or beta; a user can act on none of these lines.
for _message in (
    "Specifying a partitions_def on an AssetCheckSpec",
    "Parameter `backfill_policy`",
    "Parameter `pool`",
    "Class `(CodeReferencesMetadataValue|LocalFileCodeReference)`",
    "Function `with_source_code_references`",
):
    warnings.filterwarnings("ignore", message=_message, category=dg.PreviewWarning)
    warnings.filterwarnings("ignore", message=_message, category=dg.BetaWarning)


def build_defs(
    resources: Mapping[str, Any] | None = None, loggers: Mapping[str, dg.LoggerDefinition] | None = None
) -> dg.Definitions:
    """A fresh graph; `resources` replace those named the same."""
    job = monthly_job()
    provided: dict[str, Any] = {
        "dbt": InProcessDbt(),
        "warehouse": warehouse(),
        "exports": ExportStore(export_uri()),
        **(resources or {}),
    }
    own = dg.with_source_code_references([*star_schema_assets(), *export_assets(), outcomes_asset(), report_asset()])
    return dg.Definitions(
        # Dagster types what it gives back more widely than what it takes.
        assets=with_freshness([*dbt_asset_definitions(), *cast("list[dg.AssetsDefinition | dg.AssetSpec]", own)]),
        asset_checks=[audit_checks()],
        jobs=[job, what_if_job()],
        schedules=[monthly_schedule(job, provided["warehouse"])],
        sensors=[
            alert_sensor(),
            catch_up_sensor(job, provided["warehouse"]),
            restatement_sensor(job, provided["warehouse"]),
            dead_runs_sensor(),
        ],
        # Every step reads and writes one warehouse: in one process it is opened, and dbt imported, once.
        loggers=loggers,
        executor=in_process_with_lock,
        resources=provided,
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_defs()
