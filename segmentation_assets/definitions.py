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
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import InProcessDbt
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.private import keep_to_owner
from segmentation_assets.settings import load_env_file
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
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    project: Project | None = None,
) -> dg.Definitions:
    """A fresh graph; `resources` replace those named the same. Without a project, that of the environment as it is."""
    # Every process that runs something of this graph has loaded it.
    keep_to_owner()
    project = project or Project.load()
    settings = project.settings
    job = monthly_job(settings)
    provided: dict[str, Any] = {
        "dbt": InProcessDbt(),
        "warehouse": warehouse(settings),
        "exports": ExportStore(settings.export_uri),
        **(resources or {}),
    }
    own = dg.with_source_code_references(
        [*star_schema_assets(project), *export_assets(project), outcomes_asset(project), report_asset(project)]
    )
    return dg.Definitions(
        # Dagster types what it gives back more widely than what it takes.
        assets=with_freshness(
            [*dbt_asset_definitions(project), *cast("list[dg.AssetsDefinition | dg.AssetSpec]", own)], settings
        ),
        asset_checks=[audit_checks(project)],
        jobs=[job, what_if_job(project)],
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
    load_env_file()
    return build_defs()
