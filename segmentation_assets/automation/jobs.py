"""The monthly job. What it does is in the assets; when it runs, in schedule.py and catch_up.py."""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from segmentation_assets.automation.dead_runs import in_process_with_lock
from segmentation_assets.dbt.project import Project

monthly_segmentation = "monthly_segmentation"


def monthly_job(project: Project, assets: Iterable[dg.AssetKey], checks: Iterable[dg.AssetCheckKey]) -> Any:
    """All `assets` and `checks`, for one month or a range of months in one run; a demo source that lacks a month is
    filled first.

    By name, never "all": definitions merged with ours may hold other assets, and other checks on ours.
    """
    own_assets = dg.AssetSelection.assets(*sorted(assets)).without_checks()
    return dg.define_asset_job(
        project.portfolio.name(monthly_segmentation),
        selection=own_assets | dg.AssetSelection.checks(*sorted(checks, key=str)),
        description="Measure, assign, audit and publish the month; then its audiences, their files and outcomes due.",
        # Every step reads and writes one warehouse: in one process it is opened, and dbt imported, once.
        executor_def=in_process_with_lock,
        tags=project.portfolio.tags,
    )
