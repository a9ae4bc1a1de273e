"""What of an instance is the pipeline's under test, as its definitions have it."""

from dataclasses import replace
from functools import cache

import dagster as dg

from segmentation_assets.automation.catch_up import Surroundings
from segmentation_assets.automation.own_runs import OwnRuns
from segmentation_assets.dbt.project import Project
from segmentation_assets.definitions import build_defs
from segmentation_assets.portfolio import Portfolio
from segmentation_assets.settings import Settings
from segmentation_assets.warehouse.session import Warehouse


def portfolio() -> Portfolio:
    """Of the environment as it is now."""
    return Portfolio.of(Settings.from_environment())


@cache
def _of_definitions() -> OwnRuns:
    repository = build_defs().get_repository_def()
    assets = {id(found): found for found in repository.assets_defs_by_key.values()}.values()
    checks = {
        spec.key: spec
        for found in [*assets, *repository.asset_checks_defs_by_key.values()]
        for spec in found.check_specs
    }
    ticking = [*(one.name for one in repository.schedule_defs), *(one.name for one in repository.sensor_defs)]
    return OwnRuns.of(portfolio(), assets, checks.values(), repository.job_names, ticking)


def own_runs() -> OwnRuns:
    """The names do not depend on the environment, whose tables they are does."""
    return replace(_of_definitions(), portfolio=portfolio())


def surroundings(instance: dg.DagsterInstance, warehouse: Warehouse) -> Surroundings:
    return Surroundings(instance, own_runs(), warehouse, Project.load())


def alert_tick(instance: dg.DagsterInstance) -> str:
    """The alert sensor under the variables as they are now, as the daemon evaluates it; what it says."""
    from segmentation_assets.alerts.sensor import alert_sensor

    with dg.build_sensor_context(instance=instance) as context:
        said = alert_sensor(Settings.from_environment(), own_runs()).evaluate_tick(context).skip_message
    assert said is not None
    return said
