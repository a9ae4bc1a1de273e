"""The jobs and when they run. What a job does is in the assets; what is due and ready is in catch_up and readiness."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from segmentation_assets import catch_up, sources
from segmentation_assets.assets.star_schema import GROUP
from segmentation_assets.partitions import TIME_ZONE, last_closed_month, monthly_partitions
from segmentation_assets.run_locks import in_process_with_lock
from segmentation_assets.warehouse import Warehouse

monthly_segmentation = "monthly_segmentation"


def monthly_job() -> Any:
    """Everything, for one month or a range of months in one run; a demo source that lacks a month is filled first."""
    selection = dg.AssetSelection.all()
    if sources.source() == "warehouse":
        selection = selection - dg.AssetSelection.groups(GROUP)
    return dg.define_asset_job(
        monthly_segmentation,
        selection=selection,
        description="Measure, assign, audit and publish the month; then its audiences, their files and outcomes due.",
        executor_def=in_process_with_lock,
        partitions_def=monthly_partitions(),
    )


def monthly_schedule(job: Any, warehouse: Warehouse) -> dg.ScheduleDefinition:
    """02:00 on the 1st asks for the month that has just closed, unless its facts or a month before it are missing."""

    @dg.schedule(
        job=job,
        name="monthly_segmentation_schedule",
        cron_schedule="0 2 1 * *",
        execution_timezone=TIME_ZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="02:00 on the 1st, New York: the month that has just closed. If it is not ready, catch_up waits.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        month, now = last_closed_month(context.scheduled_execution_time), datetime.now(tz=ZoneInfo(TIME_ZONE))
        instance = context.instance if context.instance_ref else None
        reason = catch_up.reason_to_skip(instance, warehouse, month, now)
        if instance:
            catch_up.claim(instance, month, catch_up.SCHEDULE, now, asks=reason is None)
        return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=str(month), partition_key=str(month))

    return schedule
