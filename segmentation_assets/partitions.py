"""Partitions: one per closed month of the source. The arithmetic of months is in months.py."""

from datetime import date, datetime
from functools import cache

import dagster as dg

from segmentation_assets.errors import SettingsError
from segmentation_assets.months import TIME_ZONE, MonthError, MonthRange, last_closed_month, month_after
from segmentation_assets.settings import Settings
from segmentation_assets.sources.completejourney import FIRST_MONTH, LAST_MONTH

DEFAULT_START_MONTH = date(2024, 1, 1)


def source_bounds(settings: Settings | None = None) -> tuple[date, date | None]:
    """First month that can be asked for, and the last where the source ends for good.

    Raises SettingsError for a SEGMENTATION_START_MONTH that leaves no month at all.
    """
    settings = settings or Settings.from_environment()
    if settings.source == "completejourney":
        first, last = FIRST_MONTH, LAST_MONTH
    else:
        first, last = DEFAULT_START_MONTH, None
    if settings.start_month is None:
        return first, last
    newest = last or last_closed_month()
    if settings.start_month > newest:
        raise SettingsError(
            f"SEGMENTATION_START_MONTH is {str(settings.start_month)!r}, and the newest month of the source"
            f" {settings.source!r} that is over is {newest}: name that one or one before it."
        )
    return settings.start_month, last


def monthly_partitions(settings: Settings | None = None) -> dg.MonthlyPartitionsDefinition:
    """One partition per closed month; a month is asked for by its first day."""
    return _between(*source_bounds(settings))


@cache
def _between(first: date, last: date | None) -> dg.MonthlyPartitionsDefinition:
    # One object for one range: Dagster works out the keys of each anew.
    return dg.MonthlyPartitionsDefinition(
        start_date=datetime(first.year, first.month, 1),
        end_date=None if last is None else datetime(*month_after(last).timetuple()[:3]),
        timezone=TIME_ZONE,
    )


def check_months(months: MonthRange, settings: Settings | None = None) -> None:
    """Raises MonthError for a range that begins before the first partition or is not closed yet."""
    keys = monthly_partitions(settings).get_partition_keys()
    for month in (months.first, months.last):
        if str(month) not in keys:
            raise MonthError(
                f"Month {month} cannot be computed: the months on offer are {keys[0]} to {keys[-1]}"
                " (SEGMENTATION_START_MONTH says where they begin; a month ends before it can be asked for)."
            )
