"""What exists: every asset, check, job, schedule and resource, in one list."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from segmentation_assets.assets.segmentation import dbt_asset_definitions
from segmentation_assets.assets.star_schema import star_schema_assets
from segmentation_assets.checks import audit_checks
from segmentation_assets.dbt import InProcessDbt
from segmentation_assets.schedules import monthly_job, monthly_schedule
from segmentation_assets.warehouse import warehouse


def build_defs(
    resources: Mapping[str, Any] | None = None, loggers: Mapping[str, dg.LoggerDefinition] | None = None
) -> dg.Definitions:
    """A fresh graph; `resources` replace those named the same."""
    job = monthly_job()
    return dg.Definitions(
        assets=[*star_schema_assets(), *dbt_asset_definitions()],
        asset_checks=[audit_checks()],
        jobs=[job],
        schedules=[monthly_schedule(job)],
        # Every step reads and writes one warehouse: in one process it is opened, and dbt imported, once.
        loggers=loggers,
        executor=dg.in_process_executor,
        resources={"dbt": InProcessDbt(), "warehouse": warehouse(), **(resources or {})},
    )


@dg.definitions
def defs() -> dg.Definitions:
    return build_defs()
