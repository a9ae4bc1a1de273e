"""Sensor that ends our runs whose process is gone. How such a run is known is in dead_runs.py."""

import dagster as dg

from segmentation_assets.automation.dead_runs import fail_dead_runs
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.automation.start import sensor_status
from segmentation_assets.settings import Settings

SENSOR = "segmentation_runs_left_started"


def dead_runs_sensor(settings: Settings, own_runs: OwnRuns) -> dg.SensorDefinition:
    @dg.sensor(
        name=own_runs.portfolio.name(SENSOR),
        minimum_interval_seconds=30,
        default_status=sensor_status(settings),
        description="Fails our runs whose process is gone, which stay STARTED for ever otherwise, and frees their"
        " place. Nobody else's run is touched.",
    )
    def runs_left_started(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        ended = fail_dead_runs(context.instance, own_runs.at(context).owns)
        return dg.SkipReason(
            f"Failed {', '.join(ended)}: no process is left of {'it' if len(ended) == 1 else 'them'}."
            if ended
            else "Every started run has its process."
        )

    return runs_left_started
