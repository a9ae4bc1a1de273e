"""Which months are due, and which of them to run now. It decides on what was found out, and asks nobody."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from segmentation_assets.months import TIME_ZONE, MonthRange, as_of_date, last_closed_month, month_after
from segmentation_assets.partitions import source_bounds
from segmentation_assets.settings import Settings

DUE_TIME = time(2)
# Through the 1st and 2nd: from 00:00 on the 3rd a month that is not published is overdue.
GRACE_DAYS = 2


def due(month: date) -> datetime:
    return datetime.combine(as_of_date(month), DUE_TIME, ZoneInfo(TIME_ZONE))


def deadline(month: date) -> datetime:
    return datetime.combine(as_of_date(month) + timedelta(days=GRACE_DAYS), time(0), ZoneInfo(TIME_ZONE))


def newest_due(now: datetime, settings: Settings) -> date:
    newest, last = last_closed_month(now), source_bounds(settings)[1]
    if due(newest) > now:
        newest = month_after(newest, -1)
    return min(newest, last or newest)


def expected_months(published: set[date], in_service_since: datetime, now: datetime, settings: Settings) -> list[date]:
    """Every month due by now since the service began, or since the first one published from a real warehouse.

    Demo months are published to try things out: nobody expects those between them.
    """
    first, newest = source_bounds(settings)[0], newest_due(now, settings)
    since = last_closed_month(in_service_since)
    if due(since) < in_service_since:
        since = month_after(since)
    if published and settings.source == "warehouse":
        since = min(since, min(published))
    since = max(since, first)
    return list(MonthRange(since, newest)) if since <= newest else []


@dataclass(frozen=True)
class Unpublished:
    """A due month that is not published, as it was found."""

    month: date
    # The id of its run that has not ended, or that Dagster is about to start again.
    under_way: str | None = None
    # Somebody else asked for its run within the last hour.
    is_asked_for: bool = False
    # How its newest run of everything ended, in a sentence, where it did not succeed.
    failure: str | None = None
    # It failed for nothing but facts that had not arrived, and not too often.
    may_run_again: bool = False
    # What of its facts has not arrived, in a sentence.
    missing_facts: str | None = None


@dataclass(frozen=True)
class Decision:
    """The month to run now, if any, and what to show."""

    month: date | None
    message: str
    # Months that nothing is being done about, and why.
    held_back: dict[date, str]
    # A run is under way, or about to be.
    runs: bool = False
    # Facts are awaited; where none are, whatever is held back waits for a person.
    awaits_facts: bool = False


def decide(unpublished: Iterable[Unpublished], now: datetime) -> Decision:
    """The oldest month that can be run. One at a time: drift is measured against the months published before.

    A month whose facts are awaited holds later ones back until it is overdue; one whose run failed is a person's. Later
    months than the one decided on are not taken from `unpublished`: finding out about each costs the warehouse a query.
    """
    held_back: dict[date, str] = {}
    awaits_facts = False
    for found in unpublished:
        month, missing = found.month, found.missing_facts
        awaits_facts |= missing is not None
        if found.under_way:
            return Decision(None, f"{month}: Its run {found.under_way} is under way.", held_back, runs=True)
        if found.is_asked_for:
            return Decision(None, f"{month}: Its run was asked for within the last hour.", held_back, runs=True)
        if found.failure and (missing or not found.may_run_again):
            held_back[month] = f"{found.failure} {missing or ''}".strip()
        elif missing is None:
            return Decision(month, f"{month} is run.", held_back)
        else:
            held_back[month] = missing
            if now < deadline(month):
                break
    message = "\n".join(f"{month}: {reason}" for month, reason in held_back.items())
    return Decision(None, message or "Every month that is due is published.", held_back, awaits_facts=awaits_facts)
