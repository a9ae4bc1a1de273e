"""The monthly schedule. Whether the month is ready is asked in catch_up.py."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from segmentation_assets.automation.catch_up import Surroundings, reason_to_skip
from segmentation_assets.automation.claims import CATCH_UP, SCHEDULE, claim
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.automation.start import schedule_status
from segmentation_assets.dbt.project import Project
from segmentation_assets.months import TIME_ZONE, last_closed_month
from segmentation_assets.warehouse.session import Warehouse

SCHEDULE_NAME = "monthly_segmentation_schedule"


def monthly_schedule(job: Any, warehouse: Warehouse, project: Project, own_runs: OwnRuns) -> dg.ScheduleDefinition:
    """02:00 on the 1st asks for the month that has just closed, unless its facts or a month before it are missing."""

    @dg.schedule(
        job=job,
        name=project.portfolio.name(SCHEDULE_NAME),
        cron_schedule="0 2 1 * *",
        execution_timezone=TIME_ZONE,
        default_status=schedule_status(project.settings),
        description="02:00 on the 1st, New York: the month that has just closed. If it is not ready,"
        f" {CATCH_UP} waits.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        month, now = last_closed_month(context.scheduled_execution_time), datetime.now(tz=ZoneInfo(TIME_ZONE))
        place = Surroundings(context.instance, own_runs, warehouse, project) if context.instance_ref else None
        reason = reason_to_skip(place, warehouse, project, month, now)
        if place:
            claim(place.notes, month, SCHEDULE, now, asks=reason is None)
        return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=str(month), partition_key=str(month))

    return schedule
