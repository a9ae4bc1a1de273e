"""Partitions: one per closed month of the source. The arithmetic of months is in months.py."""

import os
from datetime import date, datetime
from functools import cache

import dagster as dg

from segmentation_assets.months import TIME_ZONE, MonthError, MonthRange, month_after, parse_month
from segmentation_assets.sources import source
from segmentation_assets.sources.completejourney import FIRST_MONTH, LAST_MONTH

DEFAULT_START_MONTH = date(2024, 1, 1)


def source_bounds() -> tuple[date, date | None]:
    """First month that can be asked for, and the last where the source ends for good."""
    if source() == "completejourney":
        first, last = FIRST_MONTH, LAST_MONTH
    else:
        first, last = DEFAULT_START_MONTH, None
    named = os.environ.get("SEGMENTATION_START_MONTH", "").strip()
    return (parse_month(named, "SEGMENTATION_START_MONTH") if named else first), last


@cache
def monthly_partitions() -> dg.MonthlyPartitionsDefinition:
    """One partition per closed month; a month is asked for by its first day."""
    first, last = source_bounds()
    return dg.MonthlyPartitionsDefinition(
        start_date=datetime(first.year, first.month, 1),
        end_date=None if last is None else datetime(*month_after(last).timetuple()[:3]),
        timezone=TIME_ZONE,
    )


def check_months(months: MonthRange) -> None:
    """Raises MonthError for a range that begins before the first partition or is not closed yet."""
    keys = monthly_partitions().get_partition_keys()
    for month in (months.first, months.last):
        if str(month) not in keys:
            raise MonthError(
                f"Month {month} cannot be computed: the months on offer are {keys[0]} to {keys[-1]}"
                " (SEGMENTATION_START_MONTH says where they begin; a month ends before it can be asked for)."
            )
