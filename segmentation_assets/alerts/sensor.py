"""Alert sensor: collects what failed (events.py), renders it (messages.py) and sends it from the outbox (outbox.py)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
from filelock import FileLock, Timeout

from segmentation_assets.alerts.events import collect
from segmentation_assets.alerts.outbox import Outbox
from segmentation_assets.alerts.receivers import VARIABLE, receivers
from segmentation_assets.errors import UserError

# Dagster gives a tick 60 s; one more message may begin just before this and wait for its time-out.
SENDING_SECONDS = 30.0


class AnotherTickError(UserError):
    """Another process is sending at this moment."""


@contextmanager
def one_at_a_time(instance: dg.DagsterInstance) -> Iterator[None]:
    """A tick that somebody tests in the UI while the daemon's own is under way would send everything twice."""
    try:
        with FileLock(Path(instance.root_directory) / "alerts.lock").acquire(timeout=0):
            yield
    except Timeout as error:
        raise AnotherTickError from error


def evaluate(
    instance: dg.DagsterInstance, partitioned: frozenset[dg.AssetCheckKey] = frozenset()
) -> tuple[str, list[str]]:
    """Collect what happened and send what is due: a sentence for the tick, and a line per trouble."""
    found, troubles = receivers()
    if not found and not troubles:
        return f"{VARIABLE} names no address: nobody is told of failures.", []
    try:
        with one_at_a_time(instance):
            outbox = Outbox.load(instance)
            news = collect(outbox, partitioned)
            arrived, undelivered = outbox.deliver(found, seconds=SENDING_SECONDS, close=not troubles)
    except AnotherTickError:
        return "Another tick is under way.", []
    return f"{news} new, {arrived} delivered, {len(outbox.pending)} waiting.", [*troubles, *undelivered]


def checks_of_months(repository: dg.RepositoryDefinition | None) -> frozenset[dg.AssetCheckKey]:
    if repository is None:
        return frozenset()
    graph = repository.asset_graph
    return frozenset(key for key in graph.asset_check_keys if graph.get(key).partitions_def is not None)


def alert_sensor() -> dg.SensorDefinition:
    @dg.sensor(
        name="alerts",
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Tells the addresses of {VARIABLE} of failed checks and runs, missed ticks and overdue months.",
    )
    def alerts(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        said, troubles = evaluate(context.instance, checks_of_months(context.repository_def))
        for trouble in troubles:
            context.log.error(trouble)
        return dg.SkipReason("\n".join([said, *troubles]))

    return alerts
