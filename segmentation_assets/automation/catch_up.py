"""Sensor that runs due months, oldest first, once their facts have arrived.

The schedule asks once, at 02:00 on the 1st. A tick that skipped is not repeated, and of those missed during a downtime
Dagster evaluates only the newest: the months before it would stay missed. This sensor compares the months that should
be published with those that are. What it knows is kept in Dagster's storage, where the alert sensor reads it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from segmentation_assets.automation.claims import CATCH_UP, SCHEDULE, asked_lately, claim, was_looked_at
from segmentation_assets.automation.due_months import (
    Decision,
    Unpublished,
    deadline,
    decide,
    due,
    expected_months,
    newest_due,
)
from segmentation_assets.automation.jobs import monthly_segmentation
from segmentation_assets.automation.logins import sensor_session
from segmentation_assets.automation.own_runs import FINISHED, OwnRuns
from segmentation_assets.automation.start import sensor_status
from segmentation_assets.dagster_home.key_values import Notes
from segmentation_assets.dbt.project import Project
from segmentation_assets.errors import WarehouseBusyError
from segmentation_assets.months import TIME_ZONE, MonthRange
from segmentation_assets.portfolio import Portfolio
from segmentation_assets.publication import published as publications
from segmentation_assets.publication.readiness import missing_facts, only_facts_were_missing
from segmentation_assets.sources.star_schema import StarSchema
from segmentation_assets.warehouse.session import Session, Warehouse, try_session

DOCUMENT = "months"
ASKED_BY = "segmentation/asked_by"
# The schedule's own tick comes first.
PATIENCE = timedelta(minutes=30)
# How often facts that have not arrived are looked for: on Snowflake each look wakes a warehouse for a minute, unless
# the catalogue says that the table is as it was. Once the month is overdue the pauses double, up to the longest.
RETRY, LONGEST_RETRY = timedelta(minutes=30), timedelta(hours=6)
# How often it is looked for what a person did who is awaited. A run that they start shows in Dagster's own records, and
# is looked at at once.
PERSON_RETRY = timedelta(days=1)
# Read at once; there may be any number of pages.
RUNS_PER_PAGE = 500
# Among the latest, for one of ours: another project of the same Dagster may run something every minute.
RUNS_LOOKED_AT = 50
# How often a month is run again because its facts had not arrived when it ran.
LATE_RUNS = 3
# A retry that Dagster announced and has not started by then is not coming.
RETRY_STARTS_WITHIN = timedelta(hours=1)

# The newest runs of each month, newest first.
RunsByMonth = Mapping[date, Sequence[dg.RunRecord]]


@dataclass
class Months:
    """What the sensor knows. One writer, the sensor."""

    in_service_since: str | None = None
    complete_through: str | None = None
    next_look: str | None = None
    # How often in a row an overdue month's facts were looked for; the newest month due and our newest run at that look.
    late_looks: int = 0
    at_last_look: str | None = None
    # What the catalogue said of the table of facts when it was last read because facts were awaited, and when.
    facts_size: str | None = None
    facts_read_at: str | None = None
    words: str = ""  # of the last look
    # Month -> when its tick should have been.
    missed: dict[str, str] = field(default_factory=dict)
    # Month -> {"since": its deadline, "missing": why it is not published}.
    overdue: dict[str, dict[str, str]] = field(default_factory=dict)
    published_late: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, notes: Notes) -> "Months":
        return cls(**json.loads(notes.get(DOCUMENT) or "{}"))

    def save(self, notes: Notes) -> None:
        notes.put(DOCUMENT, json.dumps(asdict(self)))

    @property
    def looks_again(self) -> str:
        return f"Looked for again at {self.next_look}."

    def facts_are_as_read(self, size: str | None, seen: str, newest: date, now: datetime) -> bool:
        """Whether reading them again would say what it said. At times they are read all the same: a correction may
        leave a table as large as it was."""
        if size is None or (size, seen) != (self.facts_size, self.at_last_look) or self.facts_read_at is None:
            return False
        is_newly_overdue = now >= deadline(newest) and str(newest) not in self.overdue
        return now - datetime.fromisoformat(self.facts_read_at) < LONGEST_RETRY and not is_newly_overdue

    def note_overdue(self, held_back: Mapping[date, str], now: datetime) -> None:
        for month, reason in held_back.items():
            if now >= deadline(month) and str(month) not in self.overdue:
                self.overdue[str(month)] = {"since": str(deadline(month).date()), "missing": reason}

    def note_published(self, published: set[date]) -> None:
        for late in [month for month in self.overdue if date.fromisoformat(month) in published]:
            del self.overdue[late]
            self.published_late.append(late)

    def note_missed(self, months: Sequence[date]) -> None:
        for month in months:
            self.missed.setdefault(str(month), due(month).strftime("%Y-%m-%d %H:%M"))


@dataclass(frozen=True)
class Surroundings:
    """Where a tick looks: the instance, which of its runs count, the warehouse, and what it should hold."""

    instance: dg.DagsterInstance
    own_runs: OwnRuns
    warehouse: Warehouse
    project: Project

    @property
    def notes(self) -> Notes:
        return self.project.portfolio.notes(self.instance)


def evaluate(place: Surroundings, now: datetime) -> tuple[date | None, str]:
    """The month to run now, and what to show; what was found out is saved. Raises what the warehouse raises."""
    known = Months.load(place.notes)
    known.in_service_since = known.in_service_since or now.isoformat()
    month, message = _evaluate(known, place, now)
    known.save(place.notes)
    return month, message


def _evaluate(known: Months, place: Surroundings, now: datetime) -> tuple[date | None, str]:
    since = datetime.fromisoformat(known.in_service_since or now.isoformat())
    considered = now - PATIENCE
    settings = place.project.settings
    newest = newest_due(considered, settings)
    if known.complete_through and known.complete_through >= str(newest):
        return None, f"Every month is published through {known.complete_through}."
    seen = f"{newest}; {_newest_run(place)}"
    waits = known.next_look is not None and now < datetime.fromisoformat(known.next_look)
    if waits and known.at_last_look == seen:
        return None, f"{known.words}\n{known.looks_again}"
    try:
        with sensor_session(place.notes, place.warehouse, now) as session:
            if session is None:
                return None, "Nothing has been published yet."
            size = _size_of_facts(session, place.project)
            if known.facts_are_as_read(size, seen, newest, now):
                known.next_look = (now + RETRY).isoformat(timespec="seconds")
                return None, f"{known.words}\nNo fact has come or gone since ({size}).\n{known.looks_again}"
            published, runs = set(publications.months(session)), runs_by_month(place)
            expected = expected_months(published, since, considered, settings)
            missing = [month for month in expected if month not in published]
            decision = decide(observe(place, session, missing, runs, now, asker=CATCH_UP), now)
    except WarehouseBusyError as busy:
        return None, f"{busy} Looked at again at the next tick."
    except Exception:
        # The tick fails, and is told as such; that the month is late is told none the less.
        if newest in expected_months(set(), since, considered, settings):
            known.note_overdue({newest: "The warehouse cannot be looked at: see the failed tick."}, now)
        known.save(place.notes)
        raise
    known.note_overdue(decision.held_back, now)
    known.note_published(published)
    if not missing:
        known.complete_through = str(newest)
    # A run under way shows in Dagster's own records at the next tick, and costs no look to speak of.
    waits = bool(missing) and decision.month is None and not decision.runs
    pause = _pause(known, decision, now)
    known.next_look = (now + pause).isoformat(timespec="seconds") if waits else None
    known.at_last_look = seen
    known.facts_size, known.facts_read_at = (size, now.isoformat()) if decision.awaits_facts else (None, None)
    known.words = decision.message
    if decision.month is not None:
        known.note_missed(_missed(place.notes, missing, runs, decision))
        claim(place.notes, decision.month, CATCH_UP, now)
    return decision.month, decision.message


def _size_of_facts(session: Session, project: Project) -> str | None:
    is_theirs = project.settings.source == "warehouse"
    return StarSchema(session, project.settings, project.rules).size_of_facts() if is_theirs else None


def _pause(known: Months, decision: Decision, now: datetime) -> timedelta:
    if not decision.awaits_facts:
        known.late_looks = 0
        return PERSON_RETRY
    is_late = any(now >= deadline(month) for month in decision.held_back)
    known.late_looks = known.late_looks + 1 if is_late else 0
    return min(RETRY * 2 ** max(min(known.late_looks, 10) - 1, 0), LONGEST_RETRY)


def _newest_run(place: Surroundings) -> str | None:
    """Ours, with how far it is, of the latest that Dagster has; nobody's warehouse is asked."""
    for record in place.instance.get_run_records(limit=RUNS_LOOKED_AT):
        if place.own_runs.owns(record.dagster_run):
            return f"{record.dagster_run.run_id} {record.dagster_run.status.value}"
    return None


def observe(
    place: Surroundings,
    session: Session,
    months: Sequence[date],
    runs: RunsByMonth,
    now: datetime,
    *,
    asker: str,
) -> Iterator[Unpublished]:
    """What is known of each month, found out when it is asked for."""
    for month in months:
        records = runs.get(month, ())
        under_way = [record.dagster_run.run_id[:8] for record in records if _is_under_way(record, now)]
        asked_by = asked_lately(place.notes, month, now)
        if under_way or (asked_by and asked_by != asker):
            yield Unpublished(month, under_way=under_way[0] if under_way else None, is_asked_for=not under_way)
            continue
        tried = [record.dagster_run for record in records if _was_tried(record, place.project.portfolio)]
        missing = missing_facts(session, month, place.project)
        yield Unpublished(
            month,
            failure=f"Its run {tried[0].run_id[:8]} ended as {tried[0].status.value}." if tried else None,
            may_run_again=bool(tried) and not missing and _may_run_again(session, month, tried),
            missing_facts=missing,
        )


def _is_under_way(record: dg.RunRecord, now: datetime) -> bool:
    run = record.dagster_run
    if run.status not in FINISHED:
        return True
    announced = run.status == dg.DagsterRunStatus.FAILURE and run.tags.get("dagster/will_retry") == "true"
    started = "dagster/auto_retry_run_id" in run.tags
    return announced and not started and now - _utc(record.update_timestamp) < RETRY_STARTS_WITHIN


def _was_tried(record: dg.RunRecord, portfolio: Portfolio) -> bool:
    """By a run of everything; somebody's run of a few assets says nothing about the month."""
    run = record.dagster_run
    of_everything = (monthly_segmentation, portfolio.name(monthly_segmentation))
    return run.job_name in of_everything and run.status in (
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    )


def _may_run_again(session: Session, month: date, tried: Sequence[dg.DagsterRun]) -> bool:
    """It ran before its facts were there, which they are now."""
    asked = sum(run.tags.get(ASKED_BY) == CATCH_UP for run in tried)
    return asked < LATE_RUNS and only_facts_were_missing(session, month)


def _utc(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=ZoneInfo("UTC"))


def _missed(notes: Notes, missing: Sequence[date], runs: RunsByMonth, decision: Decision) -> list[date]:
    """Months from the one decided on that no tick of the schedule ever looked at, and nobody ran."""
    assert decision.month is not None
    return [
        month
        for month in missing
        if month >= decision.month
        and month not in decision.held_back
        and month not in runs
        and not was_looked_at(notes, month)
    ]


def runs_by_month(place: Surroundings) -> RunsByMonth:
    """Every run of ours, newest first, by each month it was asked for: a month run long ago was run."""
    found: dict[date, list[dg.RunRecord]] = {}
    cursor: str | None = None
    while page := place.instance.get_run_records(limit=RUNS_PER_PAGE, cursor=cursor):
        for record in page:
            asked = MonthRange.from_run(record.dagster_run) if place.own_runs.owns(record.dagster_run) else None
            for month in asked or ():
                found.setdefault(month, []).append(record)
        cursor = page[-1].dagster_run.run_id
    return found


def reason_to_skip(
    place: Surroundings | None, warehouse: Warehouse, project: Project, month: date, now: datetime
) -> str | None:
    """Why the schedule's tick does not ask for the month: what is missing, or which months come first.

    It asks where it cannot name anything: a demo source, no tables yet. The run then says what is wrong. Without an
    instance, as when a tick is only tried out, there are no runs to look at and the facts alone decide.
    """
    if place and asked_lately(place.notes, month, now) == CATCH_UP:
        return f"The run of {month} was asked for by {CATCH_UP} already."
    try:
        with _session(place, warehouse, now) as session:
            if session is None:
                return None
            before = _months_that_come_first(place, session, month, now) if place else None
            missing = before or missing_facts(session, month, project)
            return f"{missing} {CATCH_UP} looks again every {RETRY.seconds // 60} minutes." if missing else None
    except WarehouseBusyError as busy:
        waits = project.settings.source == "warehouse"
        return f"{busy} {CATCH_UP} looks whether {month} is ready." if waits else None


def _session(place: Surroundings | None, warehouse: Warehouse, now: datetime) -> AbstractContextManager[Session | None]:
    return sensor_session(place.notes, warehouse, now) if place else try_session(warehouse)


def _months_that_come_first(place: Surroundings, session: Session, month: date, now: datetime) -> str | None:
    published, noted = set(publications.months(session)), Months.load(place.notes).in_service_since
    since = datetime.fromisoformat(noted) if noted else now
    expected = expected_months(published, since, now, place.project.settings)
    earlier = [other for other in expected if other < month and other not in published]
    first = decide(observe(place, session, earlier, runs_by_month(place), now, asker=SCHEDULE), now)
    if first.month is not None:
        return f"{first.month} is not published yet and is run before {month}."
    awaited = [f"{other}: {reason}" for other, reason in first.held_back.items() if now < deadline(other)]
    if first.runs:
        awaited.append(first.message)
    return f"{month} comes after a month before it. {' '.join(awaited)}" if awaited else None


def catch_up_sensor(job: Any, warehouse: Warehouse, project: Project, own_runs: OwnRuns) -> dg.SensorDefinition:
    @dg.sensor(
        job=job,
        name=project.portfolio.name(CATCH_UP),
        minimum_interval_seconds=60,
        default_status=sensor_status(project.settings),
        description="Runs a month once its facts are there: late ones, and those missed while nothing was running.",
    )
    def catch_up(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        now = datetime.now(tz=ZoneInfo(TIME_ZONE))
        place = Surroundings(context.instance, own_runs.at(context), warehouse, project)
        month, message = evaluate(place, now)
        if month is None:
            return dg.SkipReason(message)
        return dg.RunRequest(
            run_key=f"{month} at {now.isoformat(timespec='seconds')}",
            partition_key=str(month),
            tags={ASKED_BY: CATCH_UP},
        )

    return catch_up
