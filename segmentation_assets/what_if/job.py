"""The job `segmentation_what_if`: a what-if from the Dagster UI. It has no partitions and materialises no asset."""

from typing import Any

import dagster as dg
from pydantic import Field

from segmentation_assets.alerts.events import NO_ALERTS
from segmentation_assets.automation.dead_runs import in_process_with_lock
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import as_failure
from segmentation_assets.warehouse.session import Warehouse
from segmentation_assets.what_if import calibration
from segmentation_assets.what_if import compute as what_if


class WhatIfConfig(dg.Config):
    set: str = Field(
        default="",
        description="Changes, separated by commas: Declining.spend_change_pct=-25,churn_prevention.cap=500",
    )
    rules: str = Field(default="", description="Path of a YAML file whose rules are taken instead of today's.")
    first_month: str = Field(default="", description="As 2025-11 or 2025-11-01; the newest published month if empty.")
    calibrate: bool = Field(
        default=False,
        description="The shares of the months instead, the last 12 closed ones if none is named, and per segment the"
        " bound that would bring it to the middle of its band.",
    )
    last_month: str = Field(default="", description="The same, included; all from first_month on if empty.")


WHAT_IF = "segmentation_what_if"


def what_if_job(project: Project) -> dg.JobDefinition:
    portfolio = project.portfolio

    @dg.op(
        name=portfolio.name("segmentation_recompute_with_changed_rules"),
        required_resource_keys=portfolio.resource_keys("warehouse"),
        pool=portfolio.pool,
        description="Months under changed rules, against what is published of them. Publishes nothing.",
    )
    def recompute_with_changed_rules(context: dg.OpExecutionContext, config: WhatIfConfig) -> None:
        from segmentation_assets.what_if import tables as what_if_tables

        warehouse: Warehouse = portfolio.resource(context, "warehouse")
        typed = (config.set, config.rules, config.first_month, config.last_month)
        names = "first_month last_month"
        if config.calibrate:
            with as_failure():
                found = calibration.calibrate(project, warehouse, *typed, names=names)
            told = what_if_tables.markdown_calibration(found)
            context.add_output_metadata({name: dg.MetadataValue.md(text) for name, text in told.items()})
            return
        with as_failure():
            months = what_if.compute(project, warehouse, *typed, names=names)
        metadata: dict[str, Any] = {
            name: dg.MetadataValue.md(what_if_tables.markdown(months, name))
            for name in ("segments", "migrations", "audiences")
        }
        context.add_output_metadata(
            {
                "notes": dg.MetadataValue.md(what_if_tables.markdown_notes(months)),
                **metadata,
                "customers_who_move": sum(month.moved for month in months),
                "months_that_would_be_blocked": sum(not month.is_publishable for month in months),
            }
        )

    @dg.job(
        name=portfolio.name(WHAT_IF),
        description="Recompute months with changed rules and show what would change, or calibrate the rules. Publishes"
        " nothing.",
        executor_def=in_process_with_lock,
        tags={NO_ALERTS: "true", **portfolio.tags},
    )
    def job() -> None:
        recompute_with_changed_rules()

    return job
