"""Month arithmetic, and the months that a run was asked for. Nothing is started here, and no table is read."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from zoneinfo import ZoneInfo

import dagster as dg

from segmentation_assets.errors import UserError

TIME_ZONE = "America/New_York"
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# The earliest month that a run rolls up anew, where that is before the first one it was asked for.
ROLLUP_FROM = "segmentation/rollup_from"
FINISHED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


class MonthError(UserError):
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


def months_of_run(run: dg.DagsterRun) -> list[str]:
    """In order; none for a run without months."""
    first = run.tags.get(RANGE_START) or run.tags.get(PARTITION)
    last = run.tags.get(RANGE_END) or first
    if not first or not last:
        return []
    try:
        return [str(month) for month in months_between(parse_month(first), parse_month(last))]
    except MonthError:
        return [first]


def tags_of_months(first: date, last: date, rollup_from: date | None = None) -> dict[str, str]:
    """The tags that make a run one of these months; a single month also wants its partition key."""
    months = {RANGE_START: str(first), RANGE_END: str(last)} if first < last else {}
    return {**months, **({ROLLUP_FROM: str(rollup_from)} if rollup_from and rollup_from < first else {})}


def rollup_from(tags: Mapping[str, str]) -> date | None:
    return parse_month(tags[ROLLUP_FROM], ROLLUP_FROM) if ROLLUP_FROM in tags else None


def rollup_vars(tags: Mapping[str, str]) -> dict[str, str]:
    return {"rollup_from": tags[ROLLUP_FROM]} if ROLLUP_FROM in tags else {}
