"""The monthly schedule. Whether the month is ready is asked in catch_up.py."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from segmentation_assets.automation.catch_up import reason_to_skip
from segmentation_assets.automation.claims import SCHEDULE, claim
from segmentation_assets.months import TIME_ZONE, last_closed_month
from segmentation_assets.warehouse.session import Warehouse


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
        reason = reason_to_skip(instance, warehouse, month, now)
        if instance:
            claim(instance, month, SCHEDULE, now, asks=reason is None)
        return dg.SkipReason(reason) if reason else dg.RunRequest(run_key=str(month), partition_key=str(month))

    return schedule
