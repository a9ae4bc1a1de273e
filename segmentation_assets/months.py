"""Month arithmetic, and the range of months that a run or a step is about. Nothing is started, no table is read."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from segmentation_assets.errors import UserError

if TYPE_CHECKING:
    import dagster as dg  # which takes half a second, and a command that asks for a month needs none of it

TIME_ZONE = "America/New_York"
PARTITION = "dagster/partition"
RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
# The earliest month that a run rolls up anew, where that is before the first one it was asked for.
ROLLUP_FROM = "segmentation/rollup_from"


class MonthError(UserError):
    """A month that cannot be asked for; one line with the value and what to give instead."""


def parse_month(text: str, name: str = "month") -> date:
    """The first day of the month that `text` names: 2025-11, or any day of it. Raises MonthError."""
    if re.fullmatch(r"(?!0000)[0-9]{4}-[0-9]{2}(-[0-9]{2})?", text):
        try:
            return date.fromisoformat(text if len(text) > len("2025-11") else f"{text}-01").replace(day=1)
        except ValueError:  # no such day
            pass
    raise MonthError(f"{name} is {text!r}; it has to be a month, as 2025-11, or a day of it, as 2025-11-01.")


def month_after(month: date, months: int = 1) -> date:
    number = month.year * 12 + month.month - 1 + months
    return date(number // 12, number % 12 + 1, 1)


def as_of_date(snapshot_month: date) -> date:
    """The first day of the next month: nothing on or after it counts."""
    return month_after(snapshot_month)


def last_closed_month(now: datetime | None = None) -> date:
    today = (now or datetime.now(tz=ZoneInfo(TIME_ZONE))).astimezone(ZoneInfo(TIME_ZONE)).date()
    return month_after(today.replace(day=1), -1)


@dataclass(frozen=True)
class MonthRange:
    """The months from the first to the last, both included, each named by its first day. It is never empty."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise MonthError(f"The last month {self.last} lies before the first, {self.first}.")

    @classmethod
    def single(cls, month: date) -> "MonthRange":
        return cls(month, month)

    @classmethod
    def around(cls, months: Iterable[date]) -> "MonthRange | None":
        """From the earliest to the latest of `months`; None where there are none."""
        found = sorted(months)
        return cls(found[0], found[-1]) if found else None

    @classmethod
    def from_context(
        cls, context: "dg.AssetExecutionContext | dg.AssetCheckExecutionContext | dg.OpExecutionContext"
    ) -> "MonthRange":
        """The partitions that a step was asked for. A step of a single-run backfill is asked for a range."""
        import dagster as dg

        step = context.op_execution_context if isinstance(context, dg.AssetCheckExecutionContext) else context
        keys = step.partition_key_range
        return cls(parse_month(keys.start), parse_month(keys.end))

    @classmethod
    def from_run(cls, run: "dg.DagsterRun") -> "MonthRange | None":
        """The months in a run's tags; None for a run without months."""
        first = run.tags.get(RANGE_START) or run.tags.get(PARTITION)
        last = run.tags.get(RANGE_END) or first
        try:
            return cls(parse_month(first), parse_month(last)) if first and last else None
        except MonthError:
            return None

    def __iter__(self) -> Iterator[date]:
        month = self.first
        while month <= self.last:
            yield month
            month = month_after(month)

    def __contains__(self, month: object) -> bool:
        return isinstance(month, date) and self.first <= month <= self.last and month.day == 1

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """`2025-11-01`, or `2025-09-01 to 2025-11-01`."""
        return str(self.first) if self.is_single else f"{self.first} to {self.last}"

    @property
    def is_single(self) -> bool:
        return self.first == self.last

    @property
    def as_of(self) -> date:
        """The as-of date of the last month, on which none of the months has any facts left."""
        return as_of_date(self.last)

    def dbt_vars(self) -> dict[str, str]:
        return {"first_month": str(self.first), "last_month": str(self.last)}

    @property
    def partition_key(self) -> str | None:
        """Of a run of these months: a run of a single one is that partition's, and its checks then carry the month."""
        return str(self.first) if self.is_single else None

    def run_tags(self, rollup_from: date | None = None) -> dict[str, str]:
        """The tags that make a run one of these months; a single month wants its partition key instead."""
        months = {} if self.is_single else {RANGE_START: str(self.first), RANGE_END: str(self.last)}
        return {**months, **({ROLLUP_FROM: str(rollup_from)} if rollup_from and rollup_from < self.first else {})}


def rollup_from(run: "dg.DagsterRun") -> date | None:
    return parse_month(run.tags[ROLLUP_FROM], ROLLUP_FROM) if ROLLUP_FROM in run.tags else None


def rollup_vars(run: "dg.DagsterRun") -> dict[str, str]:
    return {"rollup_from": run.tags[ROLLUP_FROM]} if ROLLUP_FROM in run.tags else {}
