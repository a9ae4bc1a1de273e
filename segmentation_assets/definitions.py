"""What exists: every asset, check, job, schedule, sensor and resource, in one list."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import dagster as dg

from segmentation_assets.alerts.sensor import SENSOR as ALERTS
from segmentation_assets.alerts.sensor import alert_sensor
from segmentation_assets.assets import outcomes, program
from segmentation_assets.assets.checks import audit_checks
from segmentation_assets.assets.exports import export_assets
from segmentation_assets.assets.outcomes import outcomes_asset
from segmentation_assets.assets.program import program_asset
from segmentation_assets.assets.report import report_asset
from segmentation_assets.assets.stages import dbt_asset_definitions
from segmentation_assets.assets.star_schema import star_schema_assets
from segmentation_assets.automation.catch_up import catch_up_sensor
from segmentation_assets.automation.claims import CATCH_UP
from segmentation_assets.automation.dead_runs import in_process_with_lock
from segmentation_assets.automation.dead_runs_sensor import SENSOR as DEAD_RUNS
from segmentation_assets.automation.dead_runs_sensor import dead_runs_sensor
from segmentation_assets.automation.erase_job import erase_job
from segmentation_assets.automation.freshness import with_freshness
from segmentation_assets.automation.jobs import monthly_job
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.automation.restate import SENSOR as RESTATE
from segmentation_assets.automation.restate import restatement_sensor
from segmentation_assets.automation.schedule import SCHEDULE_NAME, monthly_schedule
from segmentation_assets.dbt.project import Project
from segmentation_assets.dbt.runner import InProcessDbt
from segmentation_assets.exports.store import ExportStore
from segmentation_assets.private import keep_to_owner
from segmentation_assets.settings import Settings, load_env_file
from segmentation_assets.warehouse.resource import as_resource
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
    settings: Settings | None = None,
    *,
    key_prefix: str | Sequence[str] = (),
    resources: Mapping[str, Any] | None = None,
    loggers: Mapping[str, dg.LoggerDefinition] | None = None,
    project: Project | None = None,
) -> dg.Definitions:
    """A fresh graph of one portfolio, to be loaded alone or merged with other definitions (docs/your_dagster.md).

    `settings` are those of the environment unless they are given; `key_prefix` goes in front of every key and name.
    `resources` replace `dbt`, `warehouse` or `exports`. A `project` is loaded settings, rules and prefix.
    """
    # Every process that runs something of this graph has loaded it.
    keep_to_owner()
    project = project or Project.load(settings, key_prefix)
    settings, portfolio = project.settings, project.portfolio
    provided: dict[str, Any] = {
        "dbt": InProcessDbt(),
        "warehouse": warehouse(settings),
        "exports": ExportStore(settings.export_uri),
        **(resources or {}),
    }
    own = dg.with_source_code_references(
        [
            *star_schema_assets(project),
            *export_assets(project),
            outcomes_asset(project),
            program_asset(project),
            report_asset(project),
        ]
    )
    # Dagster types what it gives back more widely than what it takes.
    assets = [*dbt_asset_definitions(project), *cast("list[dg.AssetsDefinition | dg.AssetSpec]", own)]
    audits = audit_checks(project)
    made = [one for one in assets if isinstance(one, dg.AssetsDefinition)]
    checks = [spec for one in [*made, audits] for spec in one.check_specs]
    job = monthly_job(project, [key for one in made for key in one.keys], [spec.key for spec in checks])
    what_if = what_if_job(project)
    erasing = erase_job(project, {one.NAME: one.NAMES for one in (outcomes, program)})
    ticking = map(portfolio.name, (SCHEDULE_NAME, ALERTS, CATCH_UP, RESTATE, DEAD_RUNS))
    own_runs = OwnRuns.of(portfolio, assets, checks, jobs=(job.name, what_if.name, erasing.name), instigators=ticking)
    opened = provided["warehouse"]
    provided["warehouse"] = as_resource(opened)
    # No executor: it would be that of whatever these definitions are merged with. Each of our jobs names its own.
    return dg.Definitions(
        assets=with_freshness(assets, settings),
        asset_checks=[audits],
        jobs=[job, what_if, erasing],
        schedules=[monthly_schedule(job, opened, project, own_runs)],
        sensors=[
            alert_sensor(settings, own_runs),
            catch_up_sensor(job, opened, project, own_runs),
            restatement_sensor(job, opened, own_runs),
            dead_runs_sensor(settings, own_runs),
        ],
        loggers=loggers,
        resources={portfolio.resource_key(name): resource for name, resource in provided.items()},
    )


@dg.definitions
def defs() -> dg.Definitions:
    """The portfolio of the environment, as a code location of its own."""
    load_env_file()
    settings = Settings.from_environment()
    found = build_defs(settings)
    if not settings.autostart:
        return found
    # Of a deployment of ours: assets that somebody chooses in the UI run in one process too.
    return dg.Definitions.merge(found, dg.Definitions(executor=in_process_with_lock))
