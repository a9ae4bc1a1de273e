"""The jobs and when they run. What a job does is in the assets."""

from typing import Any

import dagster as dg

from segmentation_assets import sources
from segmentation_assets.assets.star_schema import GROUP
from segmentation_assets.partitions import TIME_ZONE, monthly_partitions

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
        executor_def=dg.in_process_executor,
        partitions_def=monthly_partitions(),
    )


def monthly_schedule(job: Any) -> dg.ScheduleDefinition:
    """02:00 on the 1st asks for the month that has just closed."""

    @dg.schedule(
        job=job,
        name="monthly_segmentation_schedule",
        cron_schedule="0 2 1 * *",
        execution_timezone=TIME_ZONE,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="02:00 on the 1st, New York: the month that has just closed.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        from segmentation_assets.partitions import last_closed_month

        month = str(last_closed_month(context.scheduled_execution_time))
        return dg.RunRequest(run_key=month, partition_key=month)

    return schedule
