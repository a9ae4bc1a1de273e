"""Sensor that recomputes published months whose facts changed, as `make restate` does."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from segmentation_assets.automation.logins import sensor_session
from segmentation_assets.automation.own_runs import FINISHED, OwnRuns
from segmentation_assets.errors import WarehouseBusyError
from segmentation_assets.publication import restatements
from segmentation_assets.publication.published import NotPublishedError, versions
from segmentation_assets.warehouse.session import Warehouse

SENSOR = "segmentation_restate"
# It reads every fact: once a day finds a correction by the next morning.
INTERVAL_SECONDS = 24 * 3600


def request(found: restatements.Restatement, published: Mapping[date, int]) -> dg.RunRequest:
    """The run for what was found. Its key says what differs and from which versions: the same is asked for once, so a
    month that fails its audits is not run every day.
    """
    noted = repr((sorted(found.changed.items()), found.outdated, sorted(published.items())))
    digest = hashlib.sha256(noted.encode()).hexdigest()[:16]
    return dg.RunRequest(
        run_key=f"{SENSOR} {found.months.first} {digest}",
        partition_key=found.months.partition_key,
        tags=found.months.run_tags(found.rollup_from),
    )


def evaluate(instance: dg.DagsterInstance, own_runs: OwnRuns, warehouse: Warehouse) -> dg.RunRequest | dg.SkipReason:
    unfinished = [status for status in dg.DagsterRunStatus if status not in FINISHED]
    if any(own_runs.owns(run) for run in instance.get_runs(dg.RunsFilter(statuses=unfinished))):
        return dg.SkipReason("A run is under way: looked at again at the next tick.")
    now = datetime.now(tz=UTC)
    try:
        with sensor_session(own_runs.portfolio.notes(instance), warehouse, now) as session:
            found = restatements.find(session) if session else None
            noted = versions(session) if session and found else {}
    except (WarehouseBusyError, NotPublishedError) as reason:
        return dg.SkipReason(str(reason))
    if found is None:
        return dg.SkipReason("Nothing differs: every published month is what its facts make of it.")
    return request(found, noted)


def restatement_sensor(job: Any, warehouse: Warehouse, own_runs: OwnRuns) -> dg.SensorDefinition:
    @dg.sensor(
        job=job,
        name=own_runs.portfolio.name(SENSOR),
        minimum_interval_seconds=INTERVAL_SECONDS,
        # History changes under its readers only where somebody decided that it may.
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Recomputes published months whose facts changed, as `make restate` does. Off until switched on.",
    )
    def restate(context: dg.SensorEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        return evaluate(context.instance, own_runs.at(context), warehouse)

    return restate
