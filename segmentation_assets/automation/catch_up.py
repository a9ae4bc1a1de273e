"""Months that are due and not published: waited for until their facts are there, then run, oldest first.

The schedule asks once, at 02:00 on the 1st, and Dagster never repeats a tick that was skipped or missed. This sensor
compares the months that should be published with those that are. What it knows is kept in Dagster's storage, where the
alert sensor reads it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from segmentation_assets.dagster_home.key_values import get, put
from segmentation_assets.errors import WarehouseBusyError
from segmentation_assets.months import (
    FINISHED,
    TIME_ZONE,
    as_of_date,
    last_closed_month,
    month_after,
    months_between,
    months_of_run,
)
from segmentation_assets.partitions import source_bounds
from segmentation_assets.publication.published import months as months_published
from segmentation_assets.publication.readiness import missing_facts, only_facts_were_missing
from segmentation_assets.settings import Settings
from segmentation_assets.warehouse.session import Session, Warehouse, try_session

DOCUMENT = "segmentation/months"
ASKED = "segmentation/asked/"
ASKED_BY = "segmentation/asked_by"
CATCH_UP, SCHEDULE = "catch_up", "schedule"
DUE_TIME = time(2)
# The schedule's own tick comes first; a tick that was asked for shows up as a run well within the hour.
PATIENCE, CLAIM = timedelta(minutes=30), timedelta(hours=1)
# How often facts that have not arrived are looked for: on Snowflake each look wakes a warehouse for a minute.
RETRY = timedelta(minutes=30)
# Through the 1st and 2nd: from 00:00 on the 3rd a month that is not published is overdue.
GRACE_DAYS = 2
# A service makes about one run a month: years of them, and a limit for one that makes more.
RUNS_LOOKED_AT = 500
# How often a month is run again because its facts had not arrived when it ran.
LATE_RUNS = 3
# A retry that Dagster announced and has not started by then is not coming.
RETRY_STARTS_WITHIN = timedelta(hours=1)


@dataclass
class Months:
    """What the sensor knows. One writer, the sensor."""

    in_service_since: str | None = None
    complete_through: str | None = None
    next_look: str | None = None
    words: str = ""
    # Month -> when its tick should have been.
    missed: dict[str, str] = field(default_factory=dict)
    # Month -> {"since": its deadline, "missing": why it is not published}.
    overdue: dict[str, dict[str, str]] = field(default_factory=dict)
    published_late: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, instance: dg.DagsterInstance) -> "Months":
        return cls(**json.loads(get(instance, DOCUMENT) or "{}"))

    def save(self, instance: dg.DagsterInstance) -> None:
        put(instance, DOCUMENT, json.dumps(asdict(self)))


@dataclass(frozen=True)
class Plan:
    """The month to run now, if any, and what to show."""

    month: date | None
    words: str
    # Months that nothing is being done about, and why.
    held_back: dict[date, str]
    # A run is under way, or about to be.
    runs: bool = False


def due(month: date) -> datetime:
    return datetime.combine(as_of_date(month), DUE_TIME, ZoneInfo(TIME_ZONE))


def deadline(month: date) -> datetime:
    return datetime.combine(as_of_date(month) + timedelta(days=GRACE_DAYS), time(0), ZoneInfo(TIME_ZONE))


def newest_due(now: datetime) -> date:
    newest, last = last_closed_month(now), source_bounds()[1]
    if due(newest) > now:
        newest = month_after(newest, -1)
    return min(newest, last or newest)


def expected_months(published: set[date], in_service_since: datetime, now: datetime) -> list[date]:
    """Every month due by now since the service began, or since the first one published from a real warehouse.

    Demo months are published to try things out: nobody expects those between them.
    """
    first, newest = source_bounds()[0], newest_due(now)
    since = last_closed_month(in_service_since)
    if due(since) < in_service_since:
        since = month_after(since)
    if published and Settings.from_environment().source == "warehouse":
        since = min(since, min(published))
    since = max(since, first)
    return months_between(since, newest) if since <= newest else []


def plan(instance: dg.DagsterInstance, session: Session, missing: Sequence[date], now: datetime, *, asker: str) -> Plan:
    """The oldest month that can be run. One at a time: drift is measured against the months published before.

    A month whose facts are awaited holds later ones back until it is overdue; one whose run failed is a person's.
    """
    runs, held_back = runs_by_month(instance), dict[date, str]()
    for month in missing:
        records = runs.get(str(month), [])
        under_way = [record.dagster_run for record in records if _is_under_way(record, now)]
        if under_way:
            return Plan(None, f"{month}: Its run {under_way[0].run_id[:8]} is under way.", held_back, runs=True)
        asked = asked_lately(instance, month, now)
        if asked and asked != asker:
            return Plan(None, f"{month}: Its run was asked for within the last hour.", held_back, runs=True)
        tried = [record.dagster_run for record in records if _was_tried(record)]
        waiting = missing_facts(session, month)
        if tried and (waiting or not _may_run_again(session, month, tried)):
            held_back[month] = (
                f"Its run {tried[0].run_id[:8]} ended as {tried[0].status.value}. {waiting or ''}".strip()
            )
        elif waiting is None:
            return Plan(month, f"{month} is run.", held_back)
        else:
            held_back[month] = waiting
            if now < deadline(month):
                break
    words = "\n".join(f"{month}: {reason}" for month, reason in held_back.items())
    return Plan(None, words or "Every month that is due is published.", held_back)


def _is_under_way(record: dg.RunRecord, now: datetime) -> bool:
    run = record.dagster_run
    if run.status not in FINISHED:
        return True
    announced = run.status == dg.DagsterRunStatus.FAILURE and run.tags.get("dagster/will_retry") == "true"
    started = "dagster/auto_retry_run_id" in run.tags
    return announced and not started and now - _utc(record.update_timestamp) < RETRY_STARTS_WITHIN


def _was_tried(record: dg.RunRecord) -> bool:
    """By a run of everything; somebody's run of a few assets says nothing about the month."""
    run = record.dagster_run
    return run.job_name == "monthly_segmentation" and run.status in (
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    )


def _may_run_again(session: Session, month: date, tried: Sequence[dg.DagsterRun]) -> bool:
    """It ran before its facts were there, which they are now."""
    asked = sum(run.tags.get(ASKED_BY) == CATCH_UP for run in tried)
    return asked < LATE_RUNS and only_facts_were_missing(session, month)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo("UTC"))


def runs_by_month(instance: dg.DagsterInstance) -> dict[str, list[dg.RunRecord]]:
    """The newest RUNS_LOOKED_AT runs, newest first, by each month they were asked for."""
    found: dict[str, list[dg.RunRecord]] = {}
    for record in instance.get_run_records(limit=RUNS_LOOKED_AT):
        for month in months_of_run(record.dagster_run):
            found.setdefault(month, []).append(record)
    return found


def look(instance: dg.DagsterInstance, warehouse: Warehouse, now: datetime) -> tuple[date | None, str]:
    """The month to run now, and what to show; what was found out is saved. Raises what the warehouse raises."""
    known = Months.load(instance)
    known.in_service_since = known.in_service_since or now.isoformat()
    month, known.words = _look(known, instance, warehouse, now)
    known.save(instance)
    return month, known.words


def _look(known: Months, instance: dg.DagsterInstance, warehouse: Warehouse, now: datetime) -> tuple[date | None, str]:
    since = datetime.fromisoformat(known.in_service_since or now.isoformat())
    # The schedule's tick comes first.
    considered = now - PATIENCE
    newest = newest_due(considered)
    if known.complete_through and known.complete_through >= str(newest):
        return None, f"Every month is published through {known.complete_through}."
    if known.next_look and now < datetime.fromisoformat(known.next_look):
        return None, f"{known.words}\nLooked for again at {known.next_look}."
    try:
        with try_session(warehouse) as session:
            if session is None:
                return None, "Nothing has been published yet."
            published = set(months_published(session))
            expected = expected_months(published, since, considered)
            missing = [month for month in expected if month not in published]
            found = plan(instance, session, missing, now, asker=CATCH_UP)
    except WarehouseBusyError as busy:
        return None, f"{busy} Looked at again at the next tick."
    except Exception:
        # The tick fails, and is told as such; that the month is late is told none the less.
        if newest in expected_months(set(), since, considered):
            note_overdue(known, {newest: "The warehouse cannot be looked at: see the failed tick."}, now)
        known.save(instance)
        raise
    note_overdue(known, found.held_back, now)
    for late in [month for month in known.overdue if date.fromisoformat(month) in published]:
        del known.overdue[late]
        known.published_late.append(late)
    if not missing:
        known.complete_through = str(newest)
    # A run under way shows in Dagster's own records at the next tick, and costs no look to speak of.
    waits = missing and found.month is None and not found.runs
    known.next_look = (now + RETRY).isoformat(timespec="seconds") if waits else None
    if found.month is not None:
        note_missed(known, instance, [month for month in missing if month >= found.month], found.held_back)
        claim(instance, found.month, CATCH_UP, now)
    return found.month, found.words


def note_overdue(known: Months, held_back: dict[date, str], now: datetime) -> None:
    for month, reason in held_back.items():
        if now >= deadline(month) and str(month) not in known.overdue:
            known.overdue[str(month)] = {"since": str(deadline(month).date()), "missing": reason}


def note_missed(
    known: Months, instance: dg.DagsterInstance, missing: Sequence[date], held_back: dict[date, str]
) -> None:
    """Months that no tick of the schedule ever looked at, and nobody ran."""
    runs = runs_by_month(instance)
    for month in missing:
        if month not in held_back and not get(instance, ASKED + str(month)) and str(month) not in runs:
            known.missed.setdefault(str(month), due(month).strftime("%Y-%m-%d %H:%M"))


def claim(instance: dg.DagsterInstance, month: date, by: str, now: datetime, *, asks: bool = True) -> None:
    """Note that a month was looked at, and whether its run was asked for: the other asker does not ask as well."""
    put(instance, ASKED + str(month), json.dumps({"by": by, "at": now.isoformat(), "asks": asks}))


def asked_lately(instance: dg.DagsterInstance, month: date, now: datetime) -> str | None:
    """Who asked for the month within the last hour."""
    noted: dict[str, Any] = json.loads(get(instance, ASKED + str(month)) or "{}")
    if not noted.get("asks") or abs(now - datetime.fromisoformat(noted["at"])) > CLAIM:
        return None
    return noted["by"]


def reason_to_skip(instance: dg.DagsterInstance | None, warehouse: Warehouse, month: date, now: datetime) -> str | None:
    """Why the schedule's tick does not ask for the month: what is missing, or which months come first.

    It asks where it cannot name anything: a demo source, no tables yet. The run then says what is wrong. Without an
    instance, as when a tick is only tried out, there are no runs to look at and the facts alone decide.
    """
    if instance and asked_lately(instance, month, now) == CATCH_UP:
        return f"The run of {month} was asked for by {CATCH_UP} already."
    try:
        with try_session(warehouse) as session:
            if session is None:
                return None
            before = _months_that_come_first(instance, session, month, now) if instance else None
            missing = before or missing_facts(session, month)
            return f"{missing} {CATCH_UP} looks again every {RETRY.seconds // 60} minutes." if missing else None
    except WarehouseBusyError as busy:
        return (
            f"{busy} {CATCH_UP} looks whether {month} is ready."
            if Settings.from_environment().source == "warehouse"
            else None
        )


def _months_that_come_first(instance: dg.DagsterInstance, session: Session, month: date, now: datetime) -> str | None:
    published, since = set(months_published(session)), Months.load(instance).in_service_since
    expected = expected_months(published, datetime.fromisoformat(since) if since else now, now)
    earlier = [other for other in expected if other < month and other not in published]
    first = plan(instance, session, earlier, now, asker=SCHEDULE)
    if first.month is not None:
        return f"{first.month} is not published yet and is run before {month}."
    awaited = [f"{other}: {reason}" for other, reason in first.held_back.items() if now < deadline(other)]
    if first.runs:
        awaited.append(first.words)
    return f"{month} comes after a month before it. {' '.join(awaited)}" if awaited else None


def catch_up_sensor(job: Any, warehouse: Warehouse) -> dg.SensorDefinition:
    @dg.sensor(
        job=job,
        name=CATCH_UP,
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs a month once its facts are there: late ones, and those missed while nothing was running.",
    )
    def catch_up(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = datetime.now(tz=ZoneInfo(TIME_ZONE))
        month, words = look(context.instance, warehouse, now)
        if month is None:
            return dg.SkipReason(words)
        return dg.RunRequest(
            run_key=f"{month} at {now.isoformat(timespec='seconds')}",
            partition_key=str(month),
            tags={ASKED_BY: CATCH_UP},
        )

    return catch_up
