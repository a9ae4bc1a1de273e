"""Months: the partitions, the as-of date of a month, and which month was closed last. Nothing reads a table here."""

import os
import re
from datetime import date, datetime
from functools import cache
from zoneinfo import ZoneInfo

import dagster as dg

TIME_ZONE = "America/New_York"
DEFAULT_START_MONTH = date(2024, 1, 1)


class MonthError(ValueError):
    """A month that cannot be asked for; one line with the value and what to give instead."""


def parse_month(text: str, name: str = "month") -> date:
    if not re.fullmatch(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-01", text):
        raise MonthError(f"{name} is {text!r}; it has to be the first day of a month, as 2025-11-01.")
    return date.fromisoformat(text)


def month_after(month: date, months: int = 1) -> date:
    number = month.year * 12 + month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def as_of_date(snapshot_month: date) -> date:
    """The first day of the next month: nothing on or after it counts."""
    return month_after(snapshot_month)


def last_closed_month(now: datetime | None = None) -> date:
    today = (now or datetime.now(tz=ZoneInfo(TIME_ZONE))).astimezone(ZoneInfo(TIME_ZONE)).date()
    return month_after(today.replace(day=1), -1)


def months_between(first: date, last: date) -> list[date]:
    """Both included."""
    months = [first]
    while months[-1] < last:
        months.append(month_after(months[-1]))
    return months


def source_bounds() -> tuple[date, date | None]:
    """First month that can be asked for, and the last where the source ends for good."""
    from segmentation_assets.sources import source

    if source() == "completejourney":
        from segmentation_assets.sources.completejourney import FIRST_MONTH, LAST_MONTH

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


def check_months(first: date, last: date) -> None:
    """Raises MonthError for a range that is empty, before the first partition or not closed yet."""
    keys = monthly_partitions().get_partition_keys()
    if last < first:
        raise MonthError(f"The last month {last} lies before the first, {first}.")
    for month in (first, last):
        if str(month) not in keys:
            raise MonthError(
                f"Month {month} cannot be computed: the months on offer are {keys[0]} to {keys[-1]}"
                " (SEGMENTATION_START_MONTH says where they begin; a month ends before it can be asked for)."
            )
