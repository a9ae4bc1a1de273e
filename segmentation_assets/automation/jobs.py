"""The monthly job. What it does is in the assets; when it runs, in schedule.py and catch_up.py."""

from typing import Any

import dagster as dg

from segmentation_assets.assets.star_schema import GROUP
from segmentation_assets.automation.dead_runs import in_process_with_lock
from segmentation_assets.partitions import monthly_partitions
from segmentation_assets.settings import Settings

monthly_segmentation = "monthly_segmentation"


def monthly_job(settings: Settings) -> Any:
    """Everything, for one month or a range of months in one run; a demo source that lacks a month is filled first."""
    selection = dg.AssetSelection.all()
    if settings.source == "warehouse":
        selection = selection - dg.AssetSelection.groups(GROUP)
    return dg.define_asset_job(
        monthly_segmentation,
        selection=selection,
        description="Measure, assign, audit and publish the month; then its audiences, their files and outcomes due.",
        executor_def=in_process_with_lock,
        partitions_def=monthly_partitions(settings),
    )
