"""Collects alertable events from Dagster's storage: failed checks, runs and ticks, missed and overdue months.

Runs are polled by when they changed, with an overlap, and read once they have finished. Dagster's run-failure sensors
move on before they know that a message arrived, and never fire for a check that fails in a run that succeeds. The event
log's own cursor cannot be used: on SQLite, ids repeat between runs.
"""

import re
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from segmentation_assets.alerts import messages
from segmentation_assets.alerts.outbox import Alert, Outbox
from segmentation_assets.assets.checks import SHARED_VERDICT
from segmentation_assets.automation import catch_up
from segmentation_assets.automation.own_runs import FINISHED, OwnRuns
from segmentation_assets.months import MonthRange, parse_month

# Longer than the clocks of two machines differ, and than a run's last write takes to be seen.
OVERLAP_SECONDS = 3600
# At the first tick ever, what failed since yesterday is still news; at any later one, all since the tick before.
FIRST_TICK_SECONDS = 86400
# Runs with this tag are nobody's news: whoever started one sits in front of it.
NO_ALERTS = "segmentation/no_alerts"
_READ = {
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.RUN_FAILURE,
}


def collect(outbox: Outbox, own_runs: OwnRuns, ui: str, now: float | None = None) -> int:
    """Put everything new of our own runs in the outbox and save it; how many alerts that were. `ui` is the address of
    the Dagster UI.
    """
    instance, now = outbox.notes.instance, time.time() if now is None else now
    since = now - FIRST_TICK_SECONDS if outbox.watermark is None else outbox.watermark - OVERLAP_SECONDS
    added = 0
    records = instance.get_run_records(
        dg.RunsFilter(updated_after=datetime.fromtimestamp(since, tz=UTC), statuses=list(FINISHED))
    )
    for record in sorted(records, key=lambda one: one.update_timestamp):
        run = record.dagster_run
        if run.run_id in outbox.read_runs or NO_ALERTS in run.tags:
            continue
        if not own_runs.owns(run) and not own_runs.has_part_of(run):
            continue
        for alert in of_run(outbox, run, own_runs, ui):
            added += outbox.add(alert)
        outbox.read_runs[run.run_id] = record.update_timestamp.replace(tzinfo=UTC).timestamp()
    for alert in [*of_ticks(instance, own_runs, since, ui), *of_months(outbox, ui)]:
        added += outbox.add(alert)
    outbox.watermark = now
    # A run that changed before the next tick's horizon is not listed again.
    outbox.read_runs = {key: at for key, at in outbox.read_runs.items() if at >= now - 2 * OVERLAP_SECONDS}
    outbox.save()
    return added


def of_run(outbox: Outbox, run: dg.DagsterRun, own_runs: OwnRuns, ui: str) -> Iterator[Alert]:
    """Of a run that somebody else's assets are in too, our checks alone: what failed it may be theirs."""
    logs = outbox.notes.instance.all_logs(run.run_id, of_type=_READ)
    events = [entry.dagster_event for entry in logs if entry.dagster_event]
    asked = MonthRange.from_run(run)
    for evaluation in evaluations(events):
        if evaluation.asset_key not in own_runs.assets:
            continue
        of_months = evaluation.asset_check_key in own_runs.checks_of_months or evaluation.partition is not None
        months = [evaluation.partition] if evaluation.partition else [*map(str, asked or ())] if of_months else []
        yield from of_check(outbox, run.run_id, evaluation, months or [""], asked.label if asked else "", ui)
    if run.status == dg.DagsterRunStatus.FAILURE and own_runs.owns(run):
        again = run.tags.get("dagster/will_retry", "").lower() == "true"
        asked_label = asked.label if asked else ""
        yield messages.failed_run(run.run_id, run.job_name, asked_label, reason(events), ui, tried_again=again)


def evaluations(events: Sequence[dg.DagsterEvent]) -> list[dg.AssetCheckEvaluation]:
    """The last one of each check and month. Where a range run recorded its months, its overall result is none."""
    last: dict[tuple[dg.AssetCheckKey, str | None], dg.AssetCheckEvaluation] = {}
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if SHARED_VERDICT in evaluation.metadata:
                continue
            last[evaluation.asset_check_key, evaluation.partition] = evaluation
    by_month = {check for check, month in last if month is not None}
    return [evaluation for (check, month), evaluation in last.items() if month is not None or check not in by_month]


def of_check(
    outbox: Outbox, run_id: str, evaluation: dg.AssetCheckEvaluation, months: Sequence[str], asked: str, ui: str
) -> Iterator[Alert]:
    """The failure, or the recovery once none of the months that one message told of is left."""
    name = f"{evaluation.asset_key.to_user_string()}|{evaluation.check_name}"
    if not evaluation.passed:
        alert = messages.failed_check(run_id, label(months) or asked, evaluation, ui)
        for month in months:
            outbox.open[f"{name}|{month}"] = f"{alert.severity} {alert.reference}"
        yield alert
        return
    passed: dict[str, list[str]] = {}
    for month in months:
        cause = outbox.open.pop(f"{name}|{month}", None)
        if cause is not None:
            passed.setdefault(cause, []).append(month)
    for cause, recovered in passed.items():
        if cause not in outbox.open.values():
            severity, reference = cause.split()
            yield messages.recovered_check(
                run_id,
                evaluation.asset_key,
                evaluation.check_name,
                label(recovered) or asked,
                "error" if severity == "error" else "warn",
                reference,
                ui,
            )


def of_ticks(instance: dg.DagsterInstance, own_runs: OwnRuns, since: float, ui: str) -> Iterator[Alert]:
    """Ticks of our schedules and sensors that ended in an error. One that never was is a missed month (catch_up)."""
    from dagster._core.scheduler.instigation import TickStatus

    for state in instance.all_instigator_state():
        if not own_runs.has_ticks_of(state):
            continue
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=since, statuses=[TickStatus.FAILURE]
        )
        for day, error in {datetime.fromtimestamp(tick.timestamp, tz=UTC).date(): tick.error for tick in ticks}.items():
            yield messages.failed_tick(state.instigator_name, str(day), innermost(error), ui)


def of_months(outbox: Outbox, ui: str) -> Iterator[Alert]:
    """What the catch-up sensor found out about months."""
    found = catch_up.Months.load(outbox.notes)
    for month, tick in found.missed.items():
        yield messages.missed_month(month, tick, ui)
    for month, late in found.overdue.items():
        yield messages.overdue_month(month, late["since"], late["missing"], ui)
    for month in found.published_late:
        yield messages.published_after_all(month, ui)


def reason(events: Sequence[dg.DagsterEvent]) -> str:
    """The first failed step's own words, else what ended the run."""
    for event in events:
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            data = event.step_failure_data
            told = data.user_failure_data.description if data.user_failure_data else None
            return f"Step {event.step_key}: {told or innermost(data.error)}"
    ended = [event for event in events if event.event_type == dg.DagsterEventType.RUN_FAILURE]
    return ended[-1].message or "" if ended else ""


def innermost(error: Any) -> str:
    while error is not None and error.cause is not None:
        error = error.cause
    # Without the Python class in front: `dagster._core.errors.DagsterAssetCheckFailedError: ...`.
    return re.sub(r"\A(?:\w+\.)+\w+: ", "", error.message.strip()) if error is not None else ""


def label(months: Sequence[str]) -> str:
    """Of the months that are named; an evaluation without a month has an empty name for it."""
    named = MonthRange.around(parse_month(month) for month in months if month)
    return named.label if named else ""
