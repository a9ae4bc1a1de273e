"""Alert sensor: collects what failed (events.py), renders it (messages.py) and sends it from the outbox (outbox.py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from segmentation_assets.alerts.events import collect
from segmentation_assets.alerts.outbox import Outbox
from segmentation_assets.alerts.receivers import VARIABLE, receivers
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.automation.start import sensor_status
from segmentation_assets.dagster_home.key_values import Notes
from segmentation_assets.errors import UserError
from segmentation_assets.settings import Settings

# Dagster gives a tick 60 s; one more message may begin just before this and wait for its time-out.
SENDING_SECONDS = 30.0
SENSOR = "segmentation_alerts"


class AnotherTickError(UserError):
    """Another process is sending at this moment."""


@contextmanager
def one_at_a_time(notes: Notes) -> Iterator[None]:
    """A tick that somebody tests in the UI while the daemon's own is under way would send everything twice."""
    try:
        with FileLock(Path(notes.instance.root_directory) / f"segmentation-alerts-{notes.portfolio}.lock").acquire(
            timeout=0
        ):
            yield
    except Timeout as error:
        raise AnotherTickError from error


def evaluate(instance: dg.DagsterInstance, settings: Settings, own_runs: OwnRuns) -> tuple[str, list[str]]:
    """Collect what happened and send what is due: a sentence for the tick, and a line per trouble."""
    found, troubles = receivers(settings.alert_urls.get_secret_value())
    if not found and not troubles:
        return f"{VARIABLE} names no address: nobody is told of failures.", []
    try:
        notes = own_runs.portfolio.notes(instance)
        with one_at_a_time(notes):
            outbox = Outbox.load(notes)
            news = collect(outbox, own_runs, settings.ui_url)
            arrived, undelivered = outbox.deliver(found, seconds=SENDING_SECONDS, close=not troubles)
    except AnotherTickError:
        return "Another tick is under way.", []
    return f"{news} new, {arrived} delivered, {len(outbox.pending)} waiting.", [*troubles, *undelivered]


def alert_sensor(settings: Settings, own_runs: OwnRuns) -> dg.SensorDefinition:
    @dg.sensor(
        name=own_runs.portfolio.name(SENSOR),
        minimum_interval_seconds=30,
        default_status=sensor_status(settings),
        description=f"Tells the addresses of {VARIABLE} of failed checks and runs, missed ticks and overdue months.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        said, troubles = evaluate(context.instance, settings, own_runs.at(context))
        for trouble in troubles:
            context.log.error(trouble)
        return dg.SkipReason("\n".join([said, *troubles]))

    return alerts
